/** What the HTTP gateway is told, and what its parts hand on to one another. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AgentHealth, HealthView } from '../machines/heartbeats.ts';
import type { JsonObject } from '../machines/json.ts';
import type { MetricFamily } from '../machines/metrics.ts';
import type { ServedVerb } from './control-socket.ts';
import type { GatewayNames } from './gateway-guard.ts';

/** What counts heartbeats. Its errors are RuntimeErrors. */
export interface HeartbeatPort {
  ready(): Promise<void>;
  beat(
    agentId: string,
    input: { cellId?: string | undefined; metadata?: JsonObject; responseTimeMs: number },
  ): { atMs: number; intervalMs: number };
  agent(agentId: string, cellId?: string): AgentHealth;
  all(): HealthView;
}

export interface GatewayLog {
  info(fields: Record<string, unknown>, message: string): void;
  warn(fields: Record<string, unknown>, message: string): void;
}

export interface GatewayOptions extends GatewayNames {
  /** 0: any that is free. */
  port: number;
  /** False: another port serves when this one is taken. */
  isAskedFor: boolean;
  token: string;
  heartbeats: HeartbeatPort;
  /** Those that may be called from outside. */
  verbs: readonly ServedVerb[];
  /** Whether commands may come in with a verb's input; may change while it runs. */
  remoteCommands: () => boolean;
  /** Why the node takes no work at present; undefined while it does. */
  trouble: () => string | undefined;
  /** Of this build: MCP clients are told. */
  version?: string;
  /** Whether MCP clients may decide what people decide; may change while it runs. Default: they may not. */
  mcpApprovals?: () => boolean;
  /** What `/metrics` shows; without it there is no such route. */
  metrics?: () => Promise<MetricFamily[]>;
  log: GatewayLog;
  limits?: Partial<GatewayLimits>;
}

export interface GatewayLimits {
  /** Default 256. */
  connections: number;
  /** Default 128. */
  requestsInFlight: number;
  /** Default 64 KiB. */
  bodyBytes: number;
  /** Of a verb or an MCP message, from who showed the token: a whole mission fits. Default 1 MiB. */
  verbBodyBytes: number;
  /** For all headers of a request. Default 10,000. */
  headersTimeoutMs: number;
  /** For the whole of a request, body included. Default 20,000. */
  requestTimeoutMs: number;
  /** How long an idle connection is kept. Default 5,000. */
  keepAliveMs: number;
}

export interface RouterOptions extends GatewayOptions {
  isLoopback: boolean;
  limits: GatewayLimits;
  /** Paths that are others' (gateway-mounts.ts). */
  mounted: () => readonly string[];
}

export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

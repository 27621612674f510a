/** The HTTP gateway of one node: its heartbeats, its numbers, and those of its verbs that make sense from another machine. */
import { openGateway } from '../bus/gateway.ts';
import type { Gateway, GatewayLimits, GatewayLog } from '../bus/gateway.ts';
import { httpToken } from './http-token.ts';
import { nodeMetrics } from './metrics.ts';
import type { MissionNode, OpenDoor } from './node.ts';
import { remoteVerbs } from './served-verbs.ts';

export interface HttpDoorOptions {
  host: string;
  port: number;
  /** Somebody wants this port and no other. */
  isAskedFor: boolean;
  log: GatewayLog;
  limits?: Partial<GatewayLimits>;
}

/** Others may open their doors on its port (`gateway.mount`) to who shows the same token. */
export interface HttpDoor extends OpenDoor {
  gateway: Gateway;
  token: string;
}

/** Throws RuntimeError CONFLICT when the address that was asked for cannot be had. */
export async function openHttpDoor(
  node: MissionNode,
  { log, ...options }: HttpDoorOptions,
): Promise<HttpDoor> {
  const path = node.layout.httpToken;
  const { token, replaced } = await httpToken(path);
  if (replaced !== null) log.warn({ path, why: replaced }, 'the HTTP token was made anew');
  const gateway = await openGateway({
    ...options,
    token,
    log,
    heartbeats: node.health.heartbeats,
    verbs: remoteVerbs(node, { door: 'http', nobody: 'bearer of the token' }),
    version: node.version,
    remoteCommands: () => node.config.values.remote_commands,
    allowedHosts: () => node.config.values.http_allowed_hosts,
    mcpApprovals: () => node.config.values.mcp_approvals,
    metrics: () => nodeMetrics(node),
    trouble: () => node.trouble,
  });
  log.info({ http: gateway.url, http_token_file: path }, 'HTTP gateway open');
  return {
    gateway,
    token,
    nodeFile: { http: gateway.url, http_token_file: path },
    close: () => gateway.close(),
  };
}

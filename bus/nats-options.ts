/** How a NATS server is reached: what the bus is told, and what the client is told of it. */
import { RuntimeError } from '../machines/errors.ts';
import { natsServers, withoutUser } from '../machines/nats-url.ts';
import type { BusLog, StreamDefinition } from './bus.ts';
import { credsAuthenticator } from './nats-client.ts';
import type { ConnectionOptions } from './nats-client.ts';
import { identityCheck, readTls } from './nats-tls.ts';
import type { TlsFiles, TlsMaterial } from './nats-tls.ts';
import type { Attempt } from './nats-trouble.ts';

export type Credentials =
  | { kind: 'none' }
  | { kind: 'user'; user: string; password: string }
  | { kind: 'token'; token: string }
  /** Content of a `.creds` file. */
  | { kind: 'creds'; content: string };

export interface NatsOptions {
  /** `nats://host:port`, `tls://host:port`; several separated by commas. Credentials stand apart. */
  url: string;
  /** Asked at each try; throws RuntimeError when they cannot be read. */
  credentials: () => Credentials;
  /** Where they come from, for people: `/etc/lazarus/nats.creds`. Null: there are none. */
  credentialsFrom: string | null;
  tls?: TlsFiles;
  /** Of this node: the same over restarts, and nobody else's. */
  nodeId: string;
  /** It counts as up when these are there. */
  streams: readonly StreamDefinition[];
  log: BusLog;
  intervals?: Partial<BusIntervals>;
}

export interface BusIntervals {
  /** Of one try to connect, the handshake of TLS included. Default 5000. */
  connectMs: number;
  /** In which the server answers, or has not. Default 5000. */
  ackMs: number;
  /** Between two tries of what failed, unless the connection is back before. Default 1000. */
  retryMs: number;
  /** Between the client's own tries of a connection that was lost. Default 250. */
  reconnectMs: number;
  /** C7: what nobody acknowledged, because we were killed, comes again after so long. Default 5000. */
  redeliveryMs: number;
  /** Of one read, when nothing comes. Default 5000, at least 1000. */
  readMs: number;
}

export const INTERVALS: BusIntervals = {
  connectMs: 5000,
  ackMs: 5000,
  retryMs: 1000,
  reconnectMs: 250,
  redeliveryMs: 5000,
  readMs: 5000,
};

/** A connection that was lost is tried by the client itself, quickly and so often; then by us (C3 of nats.ts). */
const RECONNECTS = 8;
const PING_MS = 5000;

/** Of one try, and what is to be known of it when it fails. */
export function connectionOptions(
  options: Omit<NatsOptions, 'streams' | 'log' | 'intervals'>,
  { connectMs, reconnectMs }: BusIntervals,
): [ConnectionOptions, Attempt] {
  const { url, credentials: read, credentialsFrom, nodeId } = options;
  const servers = serversOf(url);
  const credentials = read();
  const files = readTls(options.tls ?? {}); // anew for each try (C3)
  const isWanted = options.tls !== undefined || url.split(',').some((one) => /^\s*tls:/.test(one));
  const tls = isWanted ? files : undefined;
  const connecting: ConnectionOptions = {
    servers,
    name: `lazarus ${nodeId}`,
    timeout: connectMs,
    maxReconnectAttempts: RECONNECTS,
    reconnectTimeWait: reconnectMs,
    reconnectJitter: reconnectMs / 2,
    reconnectJitterTLS: reconnectMs / 2, // a second would be its default
    pingInterval: PING_MS,
    maxPingOut: 2,
    ...(tls && { tls: securedBy(tls, servers) }),
    ...(credentials.kind === 'user' && { user: credentials.user, pass: credentials.password }),
    ...(credentials.kind === 'token' && { token: credentials.token }),
    ...(credentials.kind === 'creds' && {
      authenticator: credsAuthenticator(Buffer.from(credentials.content)),
    }),
  };
  return [connecting, { servers, credentialsFrom, tls }];
}

/** The client hands on what its own types do not name. */
function securedBy(tls: TlsMaterial, servers: readonly string[]): TlsMaterial {
  const secured = { ...tls, checkServerIdentity: identityCheck(servers) };
  return secured;
}

/** What the client takes: hosts and ports. Throws INVALID_ARGUMENT. */
export function serversOf(url: string): string[] {
  const servers = natsServers(url);
  if (servers !== undefined) return servers;
  throw new RuntimeError(`${withoutUser(url)} is not the address of a NATS server`, {
    code: 'INVALID_ARGUMENT',
    hint: 'It looks like nats://127.0.0.1:4222',
  });
}

/**
 * One connection to a Redis server, for as long as it lasts: the client's own reconnecting is off, since what was missed
 * in between must be known. The only file that knows the package `@redis/client`; it is loaded with the first connection.
 *
 * R1 What a server sends arrives as bytes: whether it is text is for others to say.
 * R2 A server that is there and says nothing is given up after `pingMs + silentMs`.
 * R3 The password of the URL is in no error that leaves this file.
 */
import type { RedisClient } from '@redis/client';
import { setTimeout as sleep } from 'node:timers/promises';
import { redisPlace, withoutSecrets } from '../machines/redis-url.ts';

export type RedisReply = Buffer | string | number | null | RedisReply[];

export interface RedisConnection {
  /** Rejects when the server refuses it, with the server's words, or when the connection ends first. */
  send(args: readonly string[]): Promise<RedisReply>;
  /** From the moment it resolves: every message of the channel, in order. `listener` must not throw. */
  subscribe(channel: string, listener: (raw: Buffer) => void): Promise<void>;
  /** Resolves, with the reason, when the connection is no more. */
  readonly ended: Promise<string>;
  /** When the server last showed that it is there, epoch ms. */
  lastSignAt(): number;
  /** What the server sent before it heard of this has arrived when it resolves; after a while it resolves anyway. */
  caughtUp(): Promise<void>;
  close(): void;
}

export interface RedisOptions {
  url: string;
  /** For the server's CLIENT LIST: no spaces. */
  name: string;
  /** Default 5000. */
  connectMs?: number;
  /** Default 5000. */
  pingMs?: number;
  /** Default 10,000. */
  silentMs?: number;
}

const CATCH_UP_MS = 500;

/** Throws an Error whose message says why there is no connection. */
export async function connectRedis(options: RedisOptions): Promise<RedisConnection> {
  const { url, name, connectMs = 5000, pingMs = 5000, silentMs = 10_000 } = options;
  const { RESP_TYPES } = await import('@redis/client');
  const typeMapping = { [RESP_TYPES.BLOB_STRING]: Buffer }; // R1
  const settings = {
    url,
    name,
    ...RESP2,
    socket: {
      reconnectStrategy: false as const,
      connectTimeout: connectMs,
      socketTimeout: silentMs,
    },
    pingInterval: pingMs, // R2: it pings again only when it was answered, so that an idle socket is a silent peer
    disableOfflineQueue: true,
    disableClientInfo: true,
    maintNotifications: 'disabled' as const,
  };
  const client = (await clients())(settings);
  const secrets = redisPlace(url)?.secrets ?? [];
  const clean = (error: unknown): string => withoutSecrets(reasonOf(error), secrets); // R3
  const ended = Promise.withResolvers<string>();
  const refuse = (error: unknown): never => {
    throw new Error(clean(error)); // without its cause, which may quote the password
  };
  let lastSignAt = Date.now();
  const sign = (): void => void (lastSignAt = Date.now());
  client.on('error', (error: unknown) => ended.resolve(clean(error)));
  client.on('end', () => ended.resolve('the connection was closed'));
  client.on('ping-interval', sign);
  await client.connect().catch((error: unknown) => {
    client.destroy();
    refuse(error);
  });
  sign();
  return {
    ended: ended.promise,
    lastSignAt: () => lastSignAt,
    async send(args) {
      const reply = await client.sendCommand<RedisReply>(args, { typeMapping }).catch(refuse);
      sign();
      return reply;
    },
    async subscribe(channel, listener) {
      const heard = (raw: Buffer): void => {
        sign();
        listener(raw);
      };
      await client.subscribe(channel, heard, true).catch(refuse);
    },
    async caughtUp() {
      const ping = client.sendCommand(['PING']).catch(() => undefined);
      await Promise.race([ping, sleep(CATCH_UP_MS, undefined, { ref: false })]);
    },
    close() {
      client.destroy();
      ended.resolve('closed by this node');
    },
  };
}

/** What every version of the server speaks. */
const RESP2 = { RESP: 2 } as const;

/** Made once: it takes 10 ms. */
async function clients() {
  const { RedisClient } = await import('@redis/client');
  return (makeClient ??= RedisClient.factory(RESP2));
}
let makeClient: ReturnType<typeof RedisClient.factory> | undefined;

/** Several addresses that were tried give an error without a message; the first of them has one. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return reasonOf(error.errors[0]);
  const text = error instanceof Error ? error.message || error.name : String(error);
  return text.slice(0, 300);
}

/** A real redis-server on a free loopback port, in a temporary folder: for tests and the bench, which end it by its pid. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createClient } from '@redis/client';
import type { RedisClientType } from '@redis/client';

const PATIENCE_MS = 10_000;

export interface RedisServer {
  readonly port: number;
  readonly url: string;
  readonly pid: number;
  /** A client of its own, closed with the server. */
  client(): Promise<RedisClientType>;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** On the same port and folder. */
  start(): Promise<void>;
  /** SIGSTOP and SIGCONT: it is there and says nothing. */
  freeze(): void;
  thaw(): void;
  /** Ends it, and removes its folder. */
  dispose(): Promise<void>;
}

export interface RedisServerOptions {
  password?: string;
  /** Default: any that is free. */
  port?: number;
  /** More of its configuration: `['--appendonly', 'yes']`. */
  args?: string[];
}

/** Whoever opens it disposes of it. */
export async function openRedis({
  password,
  port: asked,
  args = [],
}: RedisServerOptions = {}): Promise<RedisServer> {
  const folder = mkdtempSync(join(tmpdir(), 'lazarus-redis-'));
  const port = asked ?? (await freePort());
  const auth = password === undefined ? [] : ['--requirepass', password];
  const fixed = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', ''];
  let child: ChildProcess;
  const clients: RedisClientType[] = [];
  const url = `redis://${password === undefined ? '' : `:${encodeURIComponent(password)}@`}127.0.0.1:${port}`;
  const server: RedisServer = {
    port,
    url,
    get pid() {
      return child.pid ?? 0;
    },
    async client() {
      const client = createClient({ url, RESP: 2 }) as unknown as RedisClientType;
      client.on('error', () => undefined); // it connects again by itself
      await client.connect();
      clients.push(client);
      return client;
    },
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    },
    async start() {
      child = spawn('redis-server', [...fixed, ...auth, ...args], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await untilReady(child);
    },
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    async dispose() {
      for (const client of clients) client.destroy();
      server.thaw();
      await server.kill();
      rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
    },
  };
  await server.start();
  return server;
}

/** Sends commands as fast as the server takes them, from a process of its own; resolves when all are answered. */
export async function flood({ port }: RedisServer, commands: Iterable<readonly string[]>) {
  const pipe = spawn('redis-cli', ['-p', String(port), '--pipe'], {
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  const exited = once(pipe, 'exit');
  await pipeline(Readable.from(encoded(commands)), pipe.stdin);
  await exited;
}

function* encoded(commands: Iterable<readonly string[]>): Generator<string> {
  let text = '';
  for (const words of commands) {
    text += `*${words.length}\r\n`;
    for (const word of words) text += `$${Buffer.byteLength(word)}\r\n${word}\r\n`;
    if (text.length < 1 << 16) continue;
    yield text;
    text = '';
  }
  yield text;
}

/** Nobody listens there, as far as one can know. */
export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}

async function untilReady(child: ChildProcess): Promise<void> {
  const ready = Promise.withResolvers<void>();
  let said = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-10_000);
    if (said.includes('Ready to accept connections')) ready.resolve();
  });
  child.once('error', () => ready.reject(new Error('needed: apt-get install redis-server')));
  child.once('exit', () => ready.reject(new Error(`redis-server ended: ${said}`)));
  const timer = setTimeout(() => ready.reject(new Error(`not ready: ${said}`)), PATIENCE_MS);
  await ready.promise.finally(() => clearTimeout(timer));
}

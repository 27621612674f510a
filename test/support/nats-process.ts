/**
 * A nats-server that is nobody's child but ours: killed and started again when a test says so, with bounds that a test can
 * reach, and with its monitoring port, which tells who is connected and what they listen to.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'nats';
import type { NatsConnection } from 'nats';
import { onTestFinished } from 'vitest';
import { findNatsServer } from '../../bus/nats-server.ts';
import type { JsonObject } from '../../machines/json.ts';
import { eventually } from './eventually.ts';
import { freePort } from './redis-server.ts';

export interface NatsProcess {
  /** As `--nats` takes it. */
  readonly url: string;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** SIGSTOP: it is there and says nothing. */
  freeze(): void;
  /** On the same port and store; resolves when it takes clients. */
  start(): Promise<void>;
  /** With every right; closed with the test. */
  client(): Promise<NatsConnection>;
  /** What its monitoring says: `/varz`, `/connz?subs=1`. */
  look(path: string): Promise<JsonObject>;
}

/** Ended and removed with the test. `more`: of its configuration. */
export async function startNatsProcess(more: JsonObject = {}): Promise<NatsProcess> {
  const binary = findNatsServer();
  if (binary === undefined)
    throw new Error('these tests need nats-server: apt-get install nats-server');
  const folder = mkdtempSync(join(tmpdir(), 'lazarus-nats-'));
  const [port, monitor] = [await freePort(), await freePort()];
  const file = join(folder, 'nats.conf');
  const config = {
    listen: `127.0.0.1:${port}`,
    http: `127.0.0.1:${monitor}`,
    max_payload: 8 << 20,
    jetstream: { store_dir: join(folder, 'store') },
    ...more,
  };
  writeFileSync(file, JSON.stringify(config));
  let child: ChildProcess | undefined;
  const look = async (path: string): Promise<JsonObject> =>
    (await (await fetch(`http://127.0.0.1:${monitor}${path}`)).json()) as JsonObject;
  const server: NatsProcess = {
    url: `nats://127.0.0.1:${port}`,
    look,
    async kill() {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    },
    freeze: () => void child?.kill('SIGSTOP'),
    async start() {
      child = spawn(binary, ['-c', file], { stdio: 'ignore' });
      const healthy = async (): Promise<void> => {
        const { status, error } = await look('/healthz');
        if (status !== 'ok') throw new Error(`nats-server: ${JSON.stringify(error)}`);
      };
      await eventually(healthy, { timeoutMs: 10_000 });
    },
    async client() {
      const client = await connect({
        servers: `127.0.0.1:${port}`,
        maxReconnectAttempts: -1,
        reconnectTimeWait: 50,
      });
      onTestFinished(() => client.close());
      return client;
    },
  };
  onTestFinished(async () => {
    await server.kill();
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  });
  await server.start();
  return server;
}

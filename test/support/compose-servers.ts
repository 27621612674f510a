/** nats-server and redis-server as docker-compose.yml configures them, on free ports and folders of this machine. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { findProgram } from '../../actors/doctor/probe.ts';
import { findNatsServer } from '../../bus/nats-server.ts';
import { temporaryFolder } from './cell-files.ts';
import { configOf } from './compose.ts';
import type { Compose, Variables } from './compose.ts';
import { freePort } from './redis-server.ts';

/** As `.env` would have them. */
export const PASSWORDS: Variables = Object.fromEntries(
  ['NATS_RUNTIME', 'NATS_OPERATOR', 'NATS_OBSERVER', 'NATS_AGENT', 'REDIS'].map((name, index) => [
    `${name}_PASSWORD`,
    `${index}e7${'0123456789abcdef'.repeat(3)}`, // all digits and hex: what a parser might take for a number
  ]),
);

export interface ComposedServer {
  port: number;
  /** For clients, without credentials. */
  url: string;
  /** Where its health is asked for. */
  healthPort: number;
  stop(): Promise<void>;
}

export const hasProgram = (name: string): boolean => findProgram(name) !== null;

export async function composedNats(compose: Compose): Promise<ComposedServer> {
  const folder = temporaryFolder();
  const [port, healthPort] = [await freePort(), await freePort()];
  const config = replaced(configOf(compose, 'nats'), {
    '0.0.0.0:4222': `127.0.0.1:${port}`,
    '127.0.0.1:8222': `127.0.0.1:${healthPort}`,
    '/data': join(folder, 'data'),
  });
  const stop = run(
    folder,
    findNatsServer() ?? 'nats-server',
    config,
    compose.services['nats']?.command,
  );
  return { port, healthPort, url: `nats://127.0.0.1:${port}`, stop };
}

export async function composedRedis(compose: Compose): Promise<ComposedServer> {
  const folder = temporaryFolder();
  const port = await freePort();
  const config = replaced(configOf(compose, 'redis'), {
    'bind * -::*': 'bind 127.0.0.1',
    'port 6379': `port ${port}`,
    'dir /data': `dir ${folder}`,
  });
  const stop = run(folder, 'redis-server', config, compose.services['redis']?.command);
  return { port, healthPort: port, url: `redis://127.0.0.1:${port}`, stop };
}

/** The command of the service, with its file of configuration where we have put it. */
function run(
  folder: string,
  program: string,
  config: string,
  [, ...args]: readonly string[] = [],
): () => Promise<void> {
  const file = join(folder, 'server.conf');
  writeFileSync(file, config, { mode: 0o600 });
  const argv = args.map((arg) => (arg.startsWith('/etc/lazarus/') ? file : arg));
  const child = spawn(program, argv, { cwd: folder, stdio: 'ignore' });
  const ended = once(child, 'exit');
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    await ended;
  };
  onTestFinished(stop);
  return stop;
}

/** Exit status of the service's health check, asked of where the server is here. */
export function natsHealth(compose: Compose, { healthPort }: ComposedServer): number | null {
  const [, ...argv] = compose.services['nats']?.healthcheck?.test ?? [];
  return statusOf(argv.map((arg) => arg.replace('127.0.0.1:8222', `127.0.0.1:${healthPort}`)));
}

export function redisHealth(compose: Compose, { healthPort }: ComposedServer): number | null {
  const { healthcheck, environment } = compose.services['redis'] ?? {};
  const [, program = '', ...args] = healthcheck?.test ?? [];
  return statusOf([program, '-p', String(healthPort), ...args], environment);
}

export function statusOf(argv: readonly string[], env: Variables = {}): number | null {
  const [program = '', ...args] = argv;
  const environment = { PATH: process.env['PATH'] ?? '', ...env };
  return spawnSync(program, args, { env: environment, stdio: 'ignore', timeout: 10_000 }).status;
}

/** Each has to be there: a file that changed must not be run on the ports and folders it names. */
function replaced(text: string, changes: Readonly<Record<string, string>>): string {
  for (const [from, to] of Object.entries(changes)) {
    if (!text.includes(from)) throw new Error(`no ${from} in: ${text}`);
    text = text.replaceAll(from, to);
  }
  return text;
}

/**
 * The image of the runtime without a Docker engine: its Dockerfile is read, laid out in a folder as a build would, and its
 * entry command is run there with the environment that docker-compose.yml gives it.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { delimiter, dirname, join } from 'node:path';
import { validate } from 'dockerfile-utils';
import { connect } from 'nats';
import type { NatsConnection } from 'nats';
import { expect, onTestFinished, test } from 'vitest';
import { callVerb } from '../../bus/control-client.ts';
import { temporaryFolder } from '../support/cell-files.ts';
import { readCompose, ROOT } from '../support/compose.ts';
import type { Variables } from '../support/compose.ts';
import { composedNats, composedRedis, PASSWORDS, statusOf } from '../support/compose-servers.ts';
import type { ComposedServer } from '../support/compose-servers.ts';
import { buildContext, DOCKERFILE, layOut, readImage } from '../support/dockerfile.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/redis-server.ts';

const image = readImage();
const compose = readCompose(PASSWORDS);
const { environment = {}, healthcheck, volumes, user, ports } = compose.services['lazarus'] ?? {};

test('its Dockerfile has no problem that its checker knows', () => {
  const text = readFileSync(DOCKERFILE, 'utf8');
  expect(validate(text)).toEqual([]);
  expect(validate(text.replace('WORKDIR', 'WORKDIRR'))).not.toEqual([]);
});

test('begins with the Node we need, and is run by nobody special', () => {
  expect(image.base).toBe('node:24-bookworm-slim');
  expect(image.user).toBe('node'); // 1000 in that image
  expect(user).toBe('1000:1000');
  expect(readFileSync(DOCKERFILE, 'utf8')).toContain('npm ci --omit=dev');
});

test('docker-compose.yml speaks of the same port, folder and health check', () => {
  expect(image.env).toMatchObject({ LAZARUS_HTTP: '0.0.0.0:8080' });
  expect(ports).toEqual(['127.0.0.1:8080:8080']);
  expect(volumes).toEqual([
    `missions:${image.env['LAZARUS_MISSIONS']}`,
    `homelab:${environment['RUNTIME_PATH']}`,
  ]);
  expect(healthcheck?.test).toEqual(['CMD', ...image.healthcheck]);
});

test('nothing but what is copied gets to whoever builds', () => {
  const copied = image.copies.map(({ source }) => source);
  expect(buildContext().sort()).toEqual([...copied, 'package-lock.json'].sort());
  for (const name of copied) expect(existsSync(join(ROOT, name))).toBe(true);
});

test('its entry command runs with nats and redis beside it: it is healthy, does a mission and ends with 0 on SIGTERM', async () => {
  const [nats, redis] = [await composedNats(compose), await composedRedis(compose)];
  const app = temporaryFolder();
  layOut(image, app);
  const { missions, port, env } = await contained({
    'nats:4222': nats.url.replace('nats://', ''),
    'redis:6379': redis.url.replace('redis://', ''),
  });
  const check = image.healthcheck.map((word) => word.replaceAll(':8080', `:${port}`));
  expect(statusOf(check, env)).not.toBe(0);

  const [program = '', ...args] = [...image.entrypoint, ...image.cmd];
  const child = spawn(program, args, { cwd: app, env, stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const exited = once(child, 'exit');
  onTestFinished(() => void child.kill('SIGKILL'));
  const nodeFile = join(missions, '.lazarus/node.json');
  const node = await eventually(() => read(nodeFile), { timeoutMs: 20_000 });
  expect(node, said).toMatchObject({ pid: child.pid, missions });
  expect(statusOf(check, env), said).toBe(0);

  const neighbour = await calledBy('lazarus:8080', port, missions);
  expect(neighbour).toEqual([200, 200, 401]);
  expect(await calledBy('evil.example', port, missions)).toEqual([403, 403, 403]);

  const status = async (): Promise<unknown> => callVerb(String(node['control']), 'status', {});
  const up = { state: 'up' };
  const parts = { nats: up, redis: up };
  await eventually(async () => expect(await status()).toMatchObject({ parts }), {
    timeoutMs: 20_000,
  });
  const person = await operator(nats);
  const heard: string[] = [];
  person.subscribe('missions.>', { callback: (_error, { subject }) => void heard.push(subject) });
  await person.flush();
  cpSync(join(app, 'examples/hello.json'), join(missions, 'hello.json'));
  const hello = { mission_name: 'Hello', status: 'completed' };
  await eventually(
    async () => {
      const { cells } = (await status()) as { cells: object[] };
      expect(cells).toContainEqual(expect.objectContaining(hello));
    },
    { timeoutMs: 20_000 },
  );

  await eventually(() =>
    expect(heard).toContainEqual(expect.stringMatching(/\.agents\..*\.events$/)),
  );
  const answer = await person.request('svc.lazarus.status', '{}', { timeout: 10_000 });
  expect(answer.json()).toMatchObject({ cells: expect.any(Array) as unknown });

  child.kill('SIGTERM');
  expect(await exited, said).toEqual([0, null]);
  expect(existsSync(nodeFile)).toBe(false);
  expect(statusOf(check, env)).not.toBe(0);
});

/** As another container asks that knows ours by this name: for its health; for its metrics with and without the token. */
async function calledBy(host: string, port: number, missions: string): Promise<number[]> {
  const token = readFileSync(join(missions, '.lazarus/http-token'), 'utf8').trim();
  const ask = async (path: string, headers: Record<string, string>): Promise<number> => {
    const sent = request({ host: '127.0.0.1', port, path, headers: { host, ...headers } }).end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    response.resume();
    return response.statusCode ?? 0;
  };
  const authorization = `Bearer ${token}`;
  return [
    await ask('/healthz', {}),
    await ask('/metrics', { authorization }),
    await ask('/metrics', {}),
  ];
}

/** With the password of `.env`; closed with the test. */
async function operator({ url }: ComposedServer): Promise<NatsConnection> {
  const pass = PASSWORDS['NATS_OPERATOR_PASSWORD'] ?? '';
  const client = await connect({ servers: url, user: 'operator', pass });
  onTestFinished(() => client.close());
  return client;
}

/** What the container would have, on folders and ports of this machine. */
async function contained(
  servers: Variables,
): Promise<{ missions: string; port: number; env: Variables }> {
  const home = temporaryFolder();
  const missions = join(home, 'missions');
  mkdirSync(missions);
  const port = await freePort();
  const env: Record<string, string> = {
    PATH: `${dirname(process.execPath)}${delimiter}/usr/bin${delimiter}/bin`,
    ...image.env,
    ...environment,
    HOME: home,
    LAZARUS_MISSIONS: missions,
    RUNTIME_PATH: join(home, 'homelab'),
    LAZARUS_HTTP: `0.0.0.0:${port}`,
  };
  for (const [name, value] of Object.entries(env))
    for (const [there, here] of Object.entries(servers))
      env[name] = (env[name] ?? value).replace(`@${there}`, `@${here}`);
  return { missions, port, env };
}

const read = (file: string): Record<string, unknown> =>
  JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;

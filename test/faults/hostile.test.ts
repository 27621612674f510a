/**
 * Malformed, oversized and hostile messages to everything that listens. What listens is asked of the node and of the servers,
 * so that what is added later is covered here without a line: subjects of the runtime's connection, streams it consumes,
 * channels of Redis, routes of the gateway, verbs, tools.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { NatsConnection } from 'nats';
import { expect, test } from 'vitest';
import { REDIS_STREAM } from '../../actors/redis-door.ts';
import type { JsonObject } from '../../machines/json.ts';
import { startDoorsProcess } from '../support/doors-process.ts';
import type { DoorsProcess } from '../support/doors-process.ts';
import { eventually } from '../support/eventually.ts';
import { BODIES, hostileInputs, HOSTILE_NAMES } from '../support/hostile.ts';
import { startNatsProcess } from '../support/nats-process.ts';
import type { NatsProcess } from '../support/nats-process.ts';
import { dropInto, mission, temporaryMissions } from '../support/node.ts';
import { startRedis } from '../support/redis-server.ts';
import type { RedisServer } from '../support/redis-process.ts';

const PATIENCE = { timeoutMs: 30_000 };
/** In MB. Five times as many messages cost no more: it is what the collector leaves lying, not what is kept. */
const MOST_GROWTH = 500;
/** Under way at once: fewer than what is BUSY. */
const AT_ONCE = 16;

interface Target {
  node: DoorsProcess;
  nats: NatsProcess;
  redis: RedisServer;
  missions: string;
  /** What no answer may hold. */
  secret: string;
  before: number;
}

async function start(): Promise<Target> {
  const [nats, redis] = [await startNatsProcess(), await startRedis()];
  const missions = temporaryMissions();
  dropInto(missions, mission('m', [], { success_criteria: [{ name: 'looks good' }] }));
  const node = await startDoorsProcess(missions, { nats: nats.url, redis: redis.url });
  await eventually(async () => {
    expect(await node.part('nats')).toMatchObject({ state: 'up' });
    expect(await node.part('redis')).toMatchObject({ state: 'up' });
    expect((await node.verb('cell.list'))['cells']).toHaveLength(1);
  }, PATIENCE);
  const secret = node.authorization.slice('Bearer '.length);
  return { node, nats, redis, missions, secret, before: node.memory().now };
}

/** Nobody noticed but who asked: the node, its servers and its folder are what they were. */
async function isUnharmed({ node, missions, before }: Target): Promise<void> {
  expect(await node.part('nats')).toMatchObject({ state: 'up', reconnects: 0 });
  expect(await node.part('redis')).toMatchObject({ state: 'up' });
  expect(await node.verb('cell.show', { cell: 'm' })).toMatchObject({ cell_id: 'm' });
  expect(node.memory().peak - before).toBeLessThan(MOST_GROWTH);
  expect(node.warnings.filter((line) => / failed/.test(line))).toEqual([]);
  const names = readdirSync(missions);
  expect(
    names.filter((name) => !/^(\.lazarus|[A-Za-z0-9][A-Za-z0-9_-]{0,63})$/.test(name)),
  ).toEqual([]);
  for (const place of [join(missions, '../escaped'), '/tmp/escaped'])
    expect(existsSync(place)).toBe(false);
}

/** An answer is JSON, says what was wrong in the words that are documented, and tells nothing of the inside. */
function isDecent(what: string, answer: string, { secret }: Target): JsonObject {
  expect(answer, what).not.toContain(secret);
  expect(answer, what).not.toMatch(/\\n +at |node_modules|"INTERNAL"/);
  return JSON.parse(answer) as JsonObject;
}

async function each<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const rest = items.values();
  const worker = async (): Promise<void> => {
    for (const item of rest) await work(item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

interface Endpoint {
  subject: string;
  metadata: { input?: string };
}

/** What the runtime's own connections listen to, as the server has it. */
async function subscribed({ nats }: Target): Promise<string[]> {
  const { connections } = (await nats.look('/connz?subs=1')) as unknown as {
    connections: { name?: string; subscriptions_list?: string[] }[];
  };
  const ours = connections.filter(({ name }) => name?.startsWith('lazarus '));
  return [...new Set(ours.flatMap(({ subscriptions_list: list = [] }) => list))];
}

/** Of the streams that the runtime reads. */
async function consumed(client: NatsConnection): Promise<string[]> {
  const manager = await client.jetstreamManager();
  return eventually(async () => {
    const subjects: string[] = [];
    for await (const { config: stream } of manager.streams.list())
      for await (const { config } of manager.consumers.list(stream.name))
        subjects.push(config.filter_subject ?? '>');
    expect(subjects).toContain('ops.inject.>'); // it begins when all missions are known
    return subjects;
  }, PATIENCE);
}

const concrete = (pattern: string): string[] =>
  /[*>]/.test(pattern)
    ? HOSTILE_NAMES.map((name) => pattern.replaceAll('*', name).replace(/>$/, name))
    : [pattern];

test('every subject that is answered: each bad message has an answer, and none of them a defect', async () => {
  const target = await start();
  const client = await target.nats.client();
  const subjects = (await subscribed(target)).filter((subject) => !subject.startsWith('_INBOX.'));
  expect(subjects).toContain('svc.lazarus.cell.create');
  const bodies = subjects
    .flatMap(concrete)
    .flatMap((subject) => BODIES.map(([what, body]) => ({ subject, what, body })));
  const info = await client.request('$SRV.INFO.lazarus');
  const { endpoints } = info.json<{ endpoints: Endpoint[] }>();
  expect(endpoints.length).toBeGreaterThan(30);
  const inputs = endpoints.flatMap(({ subject, metadata: { input = '{}' } }) =>
    hostileInputs(JSON.parse(input) as JsonObject).flatMap((given) => {
      const body = JSON.stringify(given);
      return concrete(subject).map((name) => ({ subject: name, what: body.slice(0, 200), body }));
    }),
  );
  await each([...bodies, ...inputs], async ({ subject, what, body }) => {
    const answered = await client.request(subject, body, { timeout: 20_000 });
    const answer = isDecent(`${subject}: ${what}`, answered.string(), target);
    const code = answered.headers?.get('Nats-Service-Error-Code') ?? '';
    if (code === '') return;
    expect(code, `${subject}: ${what}`).toMatch(/^4\d\d$/);
    expect(answer).toMatchObject({ error: { code: expect.any(String) as string } });
  });
  for (const subject of await subscribed(target))
    if (subject.startsWith('_INBOX.'))
      for (const [, body] of BODIES) client.publish(subject.replace('*', 'x'), body);
  await client.flush();
  await isUnharmed(target);
}, 120_000);

test('every subject of a stream that is read: each bad message is a dead letter', async () => {
  const target = await start();
  const client = await target.nats.client();
  const subjects = await consumed(client);
  const places = subjects.flatMap((pattern) => pattern.replace(/>$/, 'm'));
  for (const subject of places) for (const [, body] of BODIES) client.publish(subject, body);
  await client.flush();
  const sent = places.length * BODIES.length;
  const manager = await client.jetstreamManager();
  await eventually(async () => {
    const { state } = await manager.streams.info('DLQ');
    expect(state).toMatchObject({ messages: sent });
  }, PATIENCE);
  await isUnharmed(target);
}, 120_000);

test('every channel of Redis, and the stream: each bad message is counted and kept as a dead letter', async () => {
  const target = await start();
  const client = await target.redis.client();
  const channels = await client.pubSubChannels();
  expect(channels.length).toBeGreaterThan(1);
  let sent = 0;
  for (const [, body] of BODIES) {
    for (const channel of channels) await client.publish(channel, Buffer.from(body));
    await client.xAdd(REDIS_STREAM, '*', { data: Buffer.from(body) });
    sent += channels.length + 1;
  }
  await eventually(
    async () => expect(await target.node.part('redis')).toMatchObject({ heard: 0, refused: sent }),
    PATIENCE,
  );
  await isUnharmed(target);
}, 120_000);

/** `GET /agent/<agentId>`, as the gateway itself lists them. */
async function routes({ node }: Target): Promise<[method: string, path: string][]> {
  const { body } = await send(node, 'GET', '/no-such-route');
  const { error } = JSON.parse(body) as { error: { hint: string } };
  const list = [...error.hint.matchAll(/(GET|POST|PUT|DELETE|PATCH) (\/[^\s,]*[^\s,.])/g)];
  return list.map(([, method = '', path = '']) => [method, path]);
}

const CONNECTIONS = new Agent({ keepAlive: true, maxSockets: AT_ONCE });

/** With the token, so that nothing is refused for the want of it. */
function send(
  { file, authorization }: DoorsProcess,
  method: string,
  path: string,
  body: string | Buffer = '',
): Promise<{ status: number; type: string; body: string }> {
  const { port } = new URL(file.http);
  const headers = {
    authorization,
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'content-length': Buffer.byteLength(body),
  };
  return new Promise((resolve, reject) => {
    const answered = async (response: IncomingMessage): Promise<void> => {
      const type = response.headers['content-type'] ?? '';
      resolve({ status: response.statusCode ?? 0, type, body: await text(response) });
    };
    request({ host: '127.0.0.1', port, method, path, headers, agent: CONNECTIONS }, (response) => {
      answered(response).catch(reject);
    })
      .on('error', reject)
      .end(body);
  });
}

test('every route: each bad request has an answer, and none of them a defect', async () => {
  const target = await start();
  const { node } = target;
  const all = await routes(target);
  expect(all.map((route) => route.join(' '))).toEqual(
    expect.arrayContaining(['POST /verbs/<name>', 'POST /mcp', 'GET /metrics', 'GET /inspect']),
  );
  const docs = readFileSync(join(import.meta.dirname, '../../docs/http.md'), 'utf8');
  expect(all.filter((route) => !docs.includes(`\`${route.join(' ')}\``))).toEqual([]);
  const { result: verbs } = JSON.parse((await send(node, 'GET', '/verbs')).body) as {
    result: { name: string; input: JsonObject }[];
  };
  expect(verbs.length).toBeGreaterThan(30);
  const names = ['status', 'cell.create', ...HOSTILE_NAMES];
  const paths = all.flatMap(([method, path]) =>
    (path.includes('<name>') ? names : path.includes('<') ? HOSTILE_NAMES : ['']).map(
      (name): [string, string] => [method, path.replace(/<\w+>/, name)],
    ),
  );
  const bodies = paths.flatMap(([method, path]) =>
    BODIES.map(([what, body]) => ({ method, path, what, body: method === 'GET' ? '' : body })),
  );
  const methods = paths.flatMap(([, path]) =>
    ['PUT', 'PATCH', 'OPTIONS', 'DELETE', 'PROPFIND'].map((method) => {
      return { method, path, what: 'method', body: '{}' };
    }),
  );
  const places = all.flatMap(([method, path]) =>
    ['?cell=m&cell=../..', '?cell=%00', '/../../etc/passwd', '/%2e%2e/', '//'].map((end) => {
      return { method, path: path.replace(/<\w+>/, 'm') + end, what: 'place', body: '' };
    }),
  );
  const inputs = verbs.flatMap(({ name, input }) =>
    hostileInputs(input).map((given) => {
      const body = JSON.stringify(given);
      return { method: 'POST', path: `/verbs/${name}`, what: body.slice(0, 200), body };
    }),
  );
  await each(
    [...bodies, ...methods, ...places, ...inputs],
    async ({ method, path, what, body }) => {
      const answer = await send(node, method, path, body);
      const asked = `${method} ${path.slice(0, 100)}: ${what}`;
      expect(answer.status, asked).toBeLessThan(500);
      if (answer.type.includes('json')) isDecent(asked, answer.body, target);
      else expect(answer.body, asked).not.toContain(target.secret);
    },
  );
  await isUnharmed(target);
}, 120_000);

interface Rpc {
  error?: { code: number; message: string };
  result?: { isError?: boolean; _meta?: JsonObject; content: { text: string }[] };
}

test('every MCP tool: each bad call has an answer, and none of them a defect', async () => {
  const target = await start();
  const { node } = target;
  const rpc = async (method: string, params: unknown): Promise<Rpc> => {
    const message = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
    const { status, body } = await send(node, 'POST', '/mcp', message);
    expect(status, message.slice(0, 200)).toBeLessThan(500);
    return isDecent(message.slice(0, 200), body, target);
  };
  const { result } = (await rpc('tools/list', {})) as unknown as {
    result: { tools: { name: string; inputSchema: JsonObject }[] };
  };
  expect(result.tools.length).toBeGreaterThan(8);
  const calls = result.tools.flatMap(({ name, inputSchema }) => [
    ...hostileInputs(inputSchema).map((args): [string, unknown] => [name, args]),
    ...[null, 5, 'x', [], [{}], undefined].map((args): [string, unknown] => [name, args]),
  ]);
  await each(calls, async ([name, args]) => {
    const { result: answer, error } = await rpc('tools/call', { name, arguments: args });
    if (error) expect(error.message).not.toMatch(/^INTERNAL/);
    else if (answer?.isError) expect(answer.content[0]?.text).toMatch(/^[A-Z_]+: /);
  });
  for (const name of HOSTILE_NAMES)
    for (const method of ['tools/call', 'resources/read', 'prompts/get', name])
      await rpc(method, { name, uri: `lazarus://cell/${name}`, arguments: {} });
  await isUnharmed(target);
}, 120_000);

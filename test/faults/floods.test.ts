/** Clients that ask for more than a node can do, by each door: it stays small, says BUSY, and serves the others. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { missionsLayout } from '../../cells/layout.ts';
import type { JsonObject } from '../../machines/json.ts';
import { startDoorsProcess } from '../support/doors-process.ts';
import type { DoorsProcess } from '../support/doors-process.ts';
import { eventually } from '../support/eventually.ts';
import { startNatsProcess } from '../support/nats-process.ts';
import { WireClient } from '../support/nats-wire.ts';
import { dropInto, mission, temporaryMissions } from '../support/node.ts';
import { startRedis } from '../support/redis-server.ts';

const PATIENCE = { timeoutMs: 30_000 };
const CELLS = 20;
/** What a flood may cost, in MB; what it brings is many times as much. */
const MOST_GROWTH = 250;

interface Flooded {
  node: DoorsProcess;
  nats: string;
}

/** A node with some missions, so that its status is not nothing. */
async function start(missions = temporaryMissions()): Promise<Flooded> {
  const [nats, redis] = [await startNatsProcess(), await startRedis()];
  for (let n = 0; n < CELLS; n += 1)
    dropInto(missions, mission(`m${n}`, [], { success_criteria: [{ name: 'looks good' }] }));
  const node = await startDoorsProcess(missions, { nats: nats.url, redis: redis.url });
  await eventually(async () => {
    expect((await node.verb('cell.list'))['cells']).toHaveLength(CELLS);
    expect(await node.part('nats')).toMatchObject({ state: 'up' });
  }, PATIENCE);
  return { node, nats: nats.url };
}

/** Nobody was cut off, nothing was said to be a defect, and the memory is what it was. */
async function isAsBefore({ node }: Flooded, before: number): Promise<void> {
  expect(node.memory().peak - before).toBeLessThan(MOST_GROWTH);
  expect(await node.part('nats')).toMatchObject({ state: 'up', reconnects: 0 });
  expect(await node.part('redis')).toMatchObject({ state: 'up' });
  expect((await node.verb('cell.list'))['cells']).toHaveLength(CELLS);
  expect(node.warnings.filter((line) => line.startsWith('request failed'))).toEqual([]);
}

const requests = (count: number, verb: string, body: string): Buffer =>
  Buffer.from(`PUB svc.lazarus.${verb} answers ${body.length}\r\n${body}\r\n`.repeat(count));

/** Asks again for as long as the answer is BUSY. */
async function askPolitely(client: WireClient, verb: string): Promise<JsonObject> {
  for (;;) {
    const { headers, data } = await client.request(`svc.lazarus.${verb}`, '{}');
    const answer = JSON.parse(data.toString()) as JsonObject;
    if (headers['nats-service-error'] === undefined) return answer;
    expect(answer).toMatchObject({ error: { code: 'BUSY', retryable: true } });
    await sleep(20);
  }
}

test('given requests on the bus by the ten thousand, from one who reads and one who does not, then the rest is BUSY and others are served', async () => {
  const flooded = await start();
  const open = (): Promise<WireClient> => WireClient.open({ url: flooded.nats });
  const [reader, stalled, polite] = [await open(), await open(), await open()];
  const before = flooded.node.memory().now;
  for (const hostile of [reader, stalled]) hostile.subscribe('answers');
  stalled.stall();
  stalled.raw(requests(5000, 'status', '{}'));
  reader.raw(requests(15_000, 'status', '{}'));
  expect((await askPolitely(polite, 'cell.list'))['cells']).toHaveLength(CELLS);
  await eventually(() => {
    if (reader.messages.length < 15_000) throw new Error(`${reader.messages.length} answers`);
  }, PATIENCE);
  const codes = new Set(reader.messages.map(({ headers }) => headers['nats-service-error']));
  expect(codes).toEqual(new Set([undefined, 'BUSY: too many requests are under way']));
  await isAsBefore(flooded, before);
}, 90_000);

test('given long requests on the bus, one behind the other, then they are refused and nothing of them is kept', async () => {
  const flooded = await start();
  const hostile = await WireClient.open({ url: flooded.nats });
  const polite = await WireClient.open({ url: flooded.nats });
  const before = flooded.node.memory().now;
  hostile.subscribe('answers');
  const tasks = [{ task_id: 't', title: 'x'.repeat(900_000) }];
  hostile.raw(requests(150, 'cell.create', JSON.stringify({ mission_name: 'x', tasks })));
  hostile.raw(requests(10, 'cell.create', JSON.stringify({ mission_name: 'x'.repeat(2 << 20) })));
  expect((await askPolitely(polite, 'cell.list'))['cells']).toHaveLength(CELLS);
  await eventually(() => expect(hostile.messages).toHaveLength(160), PATIENCE);
  for (const { headers } of hostile.messages)
    expect(headers['nats-service-error']).toMatch(/^(INVALID_ARGUMENT|TOO_LARGE|BUSY): /);
  await isAsBefore(flooded, before);
}, 90_000);

const CALL = { name: 'list_cells', arguments: {} };
const RPC = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: CALL });
const HTTP: [what: string, path: string, body: string][] = [
  ['verbs', '/verbs/status', '{}'],
  ['MCP calls', '/mcp', RPC],
];
const CONNECTIONS = 60;
const PIPELINED = 120;

test.each(HTTP)(
  'given a flood of %s by HTTP, from some who read and some who do not, then the rest is BUSY and others are served',
  async (_what, path, body) => {
    const flooded = await start();
    const { file, authorization } = flooded.node;
    const before = flooded.node.memory().now;
    const codes = new Map<number, number>();
    const one = [
      `POST ${path} HTTP/1.1`,
      'Host: localhost',
      `Authorization: ${authorization}`,
      'Content-Type: application/json',
      'Accept: application/json, text/event-stream',
      `Content-Length: ${body.length}`,
      '',
      body,
    ].join('\r\n');
    for (let n = 0; n < CONNECTIONS; n += 1) {
      const socket = await dial(file.http);
      if (n % 3 === 0) socket.pause();
      else socket.on('data', (chunk: Buffer) => count(codes, chunk.toString('latin1')));
      socket.write(one.repeat(PIPELINED));
    }
    await eventually(async () => {
      const response = await fetch(`${file.http}/health`);
      await response.text();
      expect(response.status).toBe(200);
    }, PATIENCE);
    await eventually(() => expect(codes.get(200)).toBeGreaterThan(0), PATIENCE);
    await eventually(() => expect(codes.get(503)).toBeGreaterThan(0), PATIENCE);
    expect(new Set(codes.keys())).toEqual(new Set([200, 503]));
    await isAsBefore(flooded, before);
  },
  90_000,
);

test('given heartbeats under ever new names, then above a bound they are refused, and those that are known beat on', async () => {
  const missions = temporaryMissions();
  const earlier = Array.from({ length: 9900 }, (_, n): [string, object] => [`earlier-${n}`, {}]);
  const { own, guests } = missionsLayout(missions);
  mkdirSync(own, { mode: 0o700 });
  writeFileSync(guests, JSON.stringify({ agents: Object.fromEntries(earlier) }));
  const flooded = await start(missions);
  const { http } = flooded.node.file;
  const before = flooded.node.memory().now;
  const beat = async (id: string): Promise<number> => {
    const response = await fetch(`${http}/heartbeat/${id}`, { method: 'POST' });
    await response.text();
    return response.status;
  };
  expect(await beat('friend')).toBe(200);
  const codes = new Map<number, number>();
  for (let n = 0; n < 400; n += 50) {
    const some = Array.from({ length: 50 }, (_, more) => beat(`guest-${n + more}`));
    for (const code of await Promise.all(some)) codes.set(code, (codes.get(code) ?? 0) + 1);
  }
  expect(Object.fromEntries(codes)).toEqual({ 200: 99, 429: 301 });
  expect([await beat('friend'), await beat('one-more')]).toEqual([200, 429]);
  await isAsBefore(flooded, before);
}, 90_000);

async function dial(url: string): Promise<Socket> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.on('error', () => undefined); // it is shut where there is no room
  onTestFinished(() => void socket.destroy());
  await new Promise((resolve) => socket.once('connect', resolve));
  return socket;
}

function count(codes: Map<number, number>, text: string): void {
  for (const [, code] of text.matchAll(/HTTP\/1\.1 (\d{3})/g))
    codes.set(Number(code), (codes.get(Number(code)) ?? 0) + 1);
}

/**
 * Several nodes on one NATS server: an event goes to the node that has the mission, once, wherever the mission is and whoever is
 * away; one for nobody ends as one dead letter; a request is answered by who knows, and every answer says who that was.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { runVerb } from '../../actors/control.ts';
import type { MissionNode } from '../../actors/node.ts';
import type { JsonObject } from '../../machines/json.ts';
import { withBus } from '../support/bus.ts';
import { eventually } from '../support/eventually.ts';
import { startNats } from '../support/nats-server.ts';
import { jsonOf } from '../support/nats-wire.ts';
import type { WireClient } from '../support/nats-wire.ts';
import { gate, mission, startNode, step, task, temporaryMissions } from '../support/node.ts';
import type { TestNode } from '../support/node.ts';

const LONG = { timeoutMs: 20_000 };

interface Injected {
  taken: number;
  refused: number;
  waiting: number;
}

const injected = ({ node }: TestNode): Injected =>
  (node.status().parts['nats'] as unknown as { injected: Injected }).injected;

const waitingMission = (id: string): JsonObject => mission(id, [task('t', [step('a', gate('g'))])]);

async function nodeWith(url: string, ...cells: string[]): Promise<TestNode> {
  const at = await startNode({ openDoors: withBus(url) });
  await isUp(at);
  await runs(at, ...cells);
  return at;
}

async function runs(at: TestNode, ...cells: string[]): Promise<void> {
  for (const id of cells) at.drop(waitingMission(id));
  for (const id of cells) await at.waitsAt(id, 'g');
}

const isUp = ({ node }: TestNode): Promise<void> =>
  eventually(() => expect(node.status().parts['nats']).toMatchObject({ state: 'up' }), LONG);

/** They know each other, and nothing waits. */
async function knowEachOther(client: WireClient, ...nodes: TestNode[]): Promise<void> {
  await eventually(async () => {
    const { consumers } = await client.ask('$JS.API.CONSUMER.NAMES.OPS', '{}');
    expect(new Set(consumers as string[])).toEqual(
      new Set(nodes.map(({ node }) => `lazarus-${node.nodeId}`)),
    );
  }, LONG);
}

async function publish(client: WireClient, subject: string, event: JsonObject): Promise<number> {
  const { seq } = await client.ask(subject, JSON.stringify(event));
  return Number(seq);
}

interface Stored {
  subject: string;
  node: string;
  body: JsonObject;
}

async function storedIn(client: WireClient, stream: string): Promise<Stored[]> {
  const { state } = await client.ask(`$JS.API.STREAM.INFO.${stream}`);
  const { first_seq: first, last_seq: last } = state as { first_seq: number; last_seq: number };
  const found: Stored[] = [];
  for (let seq = first; seq > 0 && seq <= last; seq += 1) {
    const got = await client.ask(`$JS.API.STREAM.MSG.GET.${stream}`, JSON.stringify({ seq }));
    const { subject = '', hdrs = '', data = '' } = got['message'] as Record<string, string>;
    const text = (base64: string): string => Buffer.from(base64, 'base64').toString();
    const node = /Lazarus-Node: (\S+)/.exec(text(hdrs))?.[1] ?? '';
    found.push({ subject, node, body: JSON.parse(text(data)) as JsonObject });
  }
  return found;
}

/** Events of public types that a mission took in, in order, each with the node that took it; those refused are marked. */
async function tookIn(client: WireClient, cellId: string): Promise<[string, string][]> {
  const stored = await storedIn(client, 'MISSIONS');
  return stored
    .filter(({ subject }) => subject === `missions.${cellId}.events`)
    .filter(({ body }) => /^(cell|task)\.(pause|resume|cancel|retry)$/.test(String(body['type'])))
    .map(({ node, body }) => [`${String(body['type'])}${body['error'] ? ' refused' : ''}`, node]);
}

const letters = async (client: WireClient): Promise<[string, string][]> =>
  (await storedIn(client, 'DLQ')).map(({ subject, body }) => [
    subject,
    String((body['data'] as { error: JsonObject }).error['code']),
  ]);

async function nothingWaits(...nodes: TestNode[]): Promise<void> {
  for (const at of nodes) await eventually(() => expect(injected(at).waiting).toBe(0), LONG);
}

describe('an event for a mission', () => {
  test('is applied once, by the node that has it, and nobody else has anything against it', async () => {
    const { url, client: connect } = await startNats();
    const [a, b] = [await nodeWith(url, 'one'), await nodeWith(url, 'two')];
    const client = await connect();
    await knowEachOther(client, a, b);
    for (const type of ['cell.pause', 'cell.resume', 'cell.pause'])
      for (const cell of ['one', 'two']) await publish(client, `ops.inject.${cell}`, { type });
    const expected = (at: TestNode): [string, string][] =>
      ['cell.pause', 'cell.resume', 'cell.pause'].map((type) => [type, at.node.nodeId]);
    await eventually(async () => {
      expect(await tookIn(client, 'one')).toEqual(expected(a));
      expect(await tookIn(client, 'two')).toEqual(expected(b));
    }, LONG);
    await nothingWaits(a, b);
    expect(await letters(client)).toEqual([]);
    expect([injected(a).taken, injected(b).taken]).toEqual([3, 3]);
  }, 60_000);

  test('that nobody has is one dead letter; so is one that is no good', async () => {
    const { url, client: connect } = await startNats();
    const [a, b] = [await nodeWith(url, 'one'), await nodeWith(url, 'two')];
    const client = await connect();
    await knowEachOther(client, a, b);
    const nobody = await publish(client, 'ops.inject.nobody', { type: 'cell.pause' });
    const bad = await publish(client, 'ops.inject.one', { type: 'nonsense' });
    const own = await publish(client, 'ops.inject.one', {
      type: 'task.retry',
      data: { task_id: '?' },
    });
    await eventually(async () => {
      expect(new Set(await letters(client))).toEqual(
        new Set([
          [`dlq.inject.${nobody}`, 'ACTOR_UNKNOWN'],
          [`dlq.inject.${bad}`, 'EVENT_NOT_PUBLIC'],
          [`dlq.inject.${own}`, 'NOT_FOUND'],
        ]),
      );
    }, LONG);
    await nothingWaits(a, b);
    expect(await letters(client)).toHaveLength(3);
    expect(injected(a).refused + injected(b).refused).toBe(3);
  }, 60_000);

  test('whose node is away waits for it, in its order, over a restart of the other', async () => {
    const { url, client: connect } = await startNats();
    const [a, b] = [await nodeWith(url, 'one'), await nodeWith(url, 'two')];
    const client = await connect();
    await knowEachOther(client, a, b);
    await a.stop();
    await publish(client, 'ops.inject.one', { type: 'cell.pause' });
    await publish(client, 'ops.inject.two', { type: 'cell.pause' });
    await publish(client, 'ops.inject.one', { type: 'cell.resume' });
    await b.cellIs('two', 'paused'); // nobody waits behind those who wait
    await eventually(() => expect(injected(b).waiting).toBe(2), LONG);
    await b.restart({ openDoors: withBus(url) });
    expect(injected(b).waiting).toBe(2);
    await a.restart({ openDoors: withBus(url) });
    const id = a.node.nodeId;
    await eventually(async () => {
      const expected = [
        ['cell.pause', id],
        ['cell.resume', id],
      ];
      expect(await tookIn(client, 'one')).toEqual(expected);
    }, LONG);
    await nothingWaits(a, b);
    expect(await letters(client)).toEqual([]);
  }, 60_000);
});

describe('a mission that moves from node to node', () => {
  test('takes what came before, on the way and after, each once and in order', async () => {
    const { url, client: connect } = await startNats();
    const [a, b] = [await nodeWith(url, 'm'), await nodeWith(url)];
    const client = await connect();
    await knowEachOther(client, a, b);
    const there = (type: string): Promise<number> => publish(client, 'ops.inject.m', { type });
    await there('cell.pause');
    await a.cellIs('m', 'paused');
    await nothingWaits(a, b); // b has heard from a that this one was taken, while a could still say so
    const away = join(temporaryMissions(), 'm');
    await runVerb(a.node, 'cell.export', { cell: 'm', to: away });
    await there('cell.resume');
    await there('cell.pause');
    await eventually(() => {
      expect(injected(a).waiting).toBe(2);
      expect(injected(b).waiting).toBe(2);
    }, LONG);
    await runVerb(b.node, 'cell.import', { path: away });
    await there('cell.resume');
    const [from, to] = [a.node.nodeId, b.node.nodeId];
    await eventually(async () => {
      expect(await tookIn(client, 'm')).toEqual([
        ['cell.pause', from],
        ['cell.resume', to],
        ['cell.pause', to],
        ['cell.resume', to],
      ]);
    }, LONG);
    await nothingWaits(a, b);
    expect(await letters(client)).toEqual([]);
  }, 60_000);
});

describe('a node', () => {
  test('that the server has forgotten goes on from where it was: nothing twice, nothing left out', async () => {
    const { url, client: connect } = await startNats();
    const a = await nodeWith(url, 'm');
    const client = await connect();
    const reader = `lazarus-${a.node.nodeId}`;
    await knowEachOther(client, a);
    const info = await client.ask(`$JS.API.CONSUMER.INFO.OPS.${reader}`);
    const { inactive_threshold: forgottenAfter } = info['config'] as Record<string, number>;
    expect(forgottenAfter).toBe(14 * 24 * 3600 * 1e9);
    await publish(client, 'ops.inject.m', { type: 'cell.pause' });
    const refused = await publish(client, 'ops.inject.nobody', { type: 'cell.pause' });
    await eventually(() => expect(injected(a)).toMatchObject({ taken: 1, refused: 1 }), LONG);
    await a.stop();
    await client.ask(`$JS.API.CONSUMER.DELETE.OPS.${reader}`);
    await publish(client, 'ops.inject.m', { type: 'cell.resume' });
    await a.restart({ openDoors: withBus(url) });
    const id = a.node.nodeId;
    const both = [
      ['cell.pause', id],
      ['cell.resume', id],
    ];
    await eventually(async () => expect(await tookIn(client, 'm')).toEqual(both), LONG);
    // Also when its own file is older than what it did.
    await a.stop();
    await client.ask(`$JS.API.CONSUMER.DELETE.OPS.${reader}`);
    const place = JSON.parse(readFileSync(a.node.layout.injected, 'utf8')) as JsonObject;
    writeFileSync(a.node.layout.injected, JSON.stringify({ ...place, seq: 0 }));
    await a.restart({ openDoors: withBus(url) });
    await publish(client, 'ops.inject.m', { type: 'cell.pause' });
    await eventually(
      async () => expect(await tookIn(client, 'm')).toEqual([...both, ['cell.pause', id]]),
      LONG,
    );
    expect(await letters(client)).toEqual([[`dlq.inject.${refused}`, 'ACTOR_UNKNOWN']]);
  }, 60_000);

  test('that is new on a server leaves alone what others have had', async () => {
    const { url, client: connect } = await startNats();
    const a = await nodeWith(url, 'm');
    const client = await connect();
    await publish(client, 'ops.inject.m', { type: 'cell.pause' });
    await a.cellIs('m', 'paused');
    const b = await nodeWith(url);
    await knowEachOther(client, a, b);
    await a.stop(); // the mission goes with it, and b cannot ask whose that event was
    await publish(client, 'ops.inject.nobody', { type: 'cell.pause' });
    await eventually(() => expect(injected(b).waiting).toBe(1), LONG);
    expect(await letters(client)).toEqual([]);
    // Gone for good: the server forgets it in time, or is told to.
    await client.ask(`$JS.API.CONSUMER.DELETE.OPS.lazarus-${a.node.nodeId}`);
    await eventually(
      async () => expect(await letters(client)).toEqual([['dlq.inject.2', 'ACTOR_UNKNOWN']]),
      { timeoutMs: 30_000 },
    );
    await nothingWaits(b);
  }, 60_000);

  test('finds a stream that was made anew, and takes all that is in it', async () => {
    const { url, client: connect } = await startNats();
    const [a, b] = [await nodeWith(url, 'one'), await nodeWith(url, 'two')];
    const client = await connect();
    await knowEachOther(client, a, b);
    await publish(client, 'ops.inject.one', { type: 'cell.pause' });
    await a.cellIs('one', 'paused');
    await eventually(
      () => expect(a.node.status().parts['nats']).toMatchObject({ other_nodes: [b.node.nodeId] }),
      LONG,
    );
    await a.stop();
    await b.stop();
    await client.ask('$JS.API.STREAM.DELETE.OPS');
    const { error } = await client.ask(
      '$JS.API.STREAM.CREATE.OPS',
      JSON.stringify({
        name: 'OPS',
        subjects: ['ops.inject.>'],
        retention: 'limits',
        storage: 'file',
        num_replicas: 1,
        max_consumers: -1,
        max_msgs: -1,
        max_bytes: 1 << 20,
        discard: 'old',
      }),
    );
    expect(error).toBeUndefined();
    await publish(client, 'ops.inject.two', { type: 'cell.pause' });
    await publish(client, 'ops.inject.one', { type: 'cell.resume' });
    await a.restart({ openDoors: withBus(url) });
    await b.restart({ openDoors: withBus(url) });
    await a.cellIs('one', 'active');
    await b.cellIs('two', 'paused');
    await nothingWaits(a, b);
    expect(await letters(client)).toEqual([]);
  }, 60_000);

  test('whose own place cannot be read says so, and reads nothing until it can', async () => {
    const { url } = await startNats();
    const a = await nodeWith(url, 'm');
    await a.stop();
    writeFileSync(a.node.layout.injected, '{"half');
    await a.restart({ openDoors: withBus(url) });
    expect(a.node.status().parts['nats']).toMatchObject({
      injected: { held: expect.stringContaining('injected.json') as string },
    });
    await a.stop();
    rmSync(a.node.layout.injected);
    await a.restart({ openDoors: withBus(url) });
    await isUp(a);
    expect(injected(a)).toMatchObject({ taken: 0, held: null });
  }, 60_000);
});

/** Everybody's answers within a while. */
async function answers(client: WireClient, subject: string, count: number): Promise<string[]> {
  const inbox = client.inbox();
  client.subscribe(inbox);
  client.publish(subject, '', inbox);
  await eventually(() => expect(client.on(inbox)).toHaveLength(count), LONG);
  return client.on(inbox).map(({ headers }) => headers['lazarus-node'] ?? '');
}

describe('a request', () => {
  test('about a mission is answered by the node that has it, whoever is asked', async () => {
    const { url, client: connect } = await startNats();
    const [a, b] = [await nodeWith(url, 'one'), await nodeWith(url, 'two')];
    const client = await connect();
    await knowEachOther(client, a, b);
    const ids = { one: a.node.nodeId, two: b.node.nodeId };
    for (let n = 0; n < 6; n += 1)
      for (const cell of ['one', 'two'] as const) {
        const shown = await client.request('svc.lazarus.cell.show', JSON.stringify({ cell }));
        expect(shown.headers['nats-service-error']).toBeUndefined();
        expect(shown.headers['lazarus-node']).toBe(ids[cell]);
        const type = n % 2 === 0 ? 'cell.pause' : 'cell.resume';
        const event = JSON.stringify({ to: `cell/${cell}`, event: { type } });
        expect(await client.ask('svc.lazarus.inject', event)).toMatchObject({ ok: true });
      }
    await eventually(async () => {
      const nodes = (await tookIn(client, 'one')).map(([, node]) => node);
      expect(nodes).toEqual(Array(6).fill(ids.one)); // the answer may come before the bus has it
    }, LONG);
    const nobody = await client.request('svc.lazarus.cell.pause', '{"cell": "nobody"}');
    expect(nobody.headers).toMatchObject({
      'nats-service-error-code': '404',
      'lazarus-node': expect.stringMatching(new RegExp(`^(${ids.one}|${ids.two})$`)) as string,
    });
    await a.stop();
    const away = await client.request('svc.lazarus.cell.show', '{"cell": "one"}');
    expect(away.headers).toMatchObject({ 'lazarus-node': ids.two });
    expect(jsonOf(away)).toMatchObject({ error: { code: 'NOT_FOUND' } });
  }, 60_000);

  test('can be asked of one node, or of each of them', async () => {
    const { url, client: connect } = await startNats();
    const [a, b] = [await nodeWith(url, 'one'), await nodeWith(url, 'two')];
    const client = await connect();
    await knowEachOther(client, a, b);
    const idOf = ({ node }: { node: MissionNode }): string => node.nodeId;
    for (const at of [a, b, a, b]) {
      const status = await client.ask(`svc.lazarus.node.${idOf(at)}.status`);
      expect(status).toMatchObject({ node: { node_id: idOf(at) } });
      const list = await client.request(`svc.lazarus.node.${idOf(at)}.cell.show`, '{"cell":"one"}');
      expect(list.headers['nats-service-error-code']).toBe(at === a ? undefined : '404');
    }
    const each = await answers(client, 'svc.lazarus.each.status', 2);
    expect(new Set(each)).toEqual(new Set([idOf(a), idOf(b)]));
    const services = await answers(client, '$SRV.INFO.lazarus', 2);
    expect(services).toHaveLength(2);
    await eventually(
      () => expect(a.node.status().parts['nats']).toMatchObject({ other_nodes: [idOf(b)] }),
      LONG,
    );
  }, 60_000);
});

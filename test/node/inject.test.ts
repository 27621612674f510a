/**
 * Events from outside, by every way in: the verb, the request on the bus, the subject on the bus. What is let in is applied
 * once, what is not is answered or ends as a dead letter, and the node goes on in each case.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { runVerb } from '../../actors/control.ts';
import type { MissionNode } from '../../actors/node.ts';
import { RecordReader } from '../../actors/outbox-records.ts';
import { decodeRecord } from '../../actors/records.ts';
import { newestFirst } from '../../actors/why/newest-first.ts';
import { readSegments } from '../../cells/journal-reader.ts';
import type { JournalRecordLine } from '../../cells/journal-reader.ts';
import { cellAddress, SYSTEM_CELL_ID } from '../../machines/addresses.ts';
import type { CellContext } from '../../machines/cell-context.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { PUBLIC_EVENTS } from '../../machines/public-events.ts';
import { busIsUp, withBus } from '../support/bus.ts';
import { eventually } from '../support/eventually.ts';
import { startNats } from '../support/nats-server.ts';
import { jsonOf, wireTo } from '../support/nats-wire.ts';
import type { WireClient } from '../support/nats-wire.ts';
import {
  agent,
  dropInto,
  gate,
  mission,
  NEVER,
  startNode,
  step,
  task,
  temporaryMissions,
} from '../support/node.ts';
import type { TestNode } from '../support/node.ts';

/** `broken` has failed, `a` waits at the gate `g`, `later` waits for `a`. */
const waiting = mission(
  'm',
  [
    task('broken', [step('x', 'exit 1', NEVER)], { assigned_to: 'other' }),
    task('a', [step('a', gate('g'))], { assigned_to: 'lead' }),
    task('later', [step('b')], { dependencies: ['a'] }),
  ],
  { agents: [agent('lead'), agent('other')] },
);

/** A node with a bus, and the mission `m` at its gate. */
async function atWork(nats?: string): Promise<TestNode> {
  const fixture = await startNode({ openDoors: withBus(nats) });
  fixture.drop(waiting);
  await fixture.waitsAt('m', 'g');
  await fixture.taskIs('m', 'broken', 'failed');
  await busIsUp(fixture.node);
  return fixture;
}

const injected = (node: MissionNode): { taken: number; refused: number } =>
  (node.status().parts['nats'] as { injected: { taken: number; refused: number } }).injected;

/** What the mission took in of the types that may come from outside, in order; refused ones have their error. */
function taken(node: MissionNode, address = 'cell/m'): string[] {
  const reader = new RecordReader();
  const lines: JournalRecordLine[] = [...readSegments(node.layout.journal)];
  const records = [...lines.flatMap((line) => reader.next(line)), ...reader.end()];
  const types = new Set(PUBLIC_EVENTS.map(({ type }) => type));
  return records
    .filter((record) => record.address === address && types.has(record.event.type))
    .map(({ event, error }) => (error ? `${event.type} refused` : event.type));
}

/** The same, wherever its records are by now: in the journal or in the mission's own folder. */
function everTaken({ node, missions }: TestNode, address = 'cell/m'): string[] {
  const cellDirs = [join(missions, 'm')];
  const source = { journalFolder: node.layout.journal, cellDirs, toLsn: Infinity };
  const types = new Set(PUBLIC_EVENTS.map(({ type }) => type));
  const bySeq = new Map<number, string>();
  for (const { line, address: of } of newestFirst(source)) {
    const record = decodeRecord(line);
    if (of !== address) continue;
    if (record.k === 'rejected') bySeq.set(record.of, ' refused');
    else if (record.k === undefined && types.has(record.e.type) && !isNamed(bySeq.get(record.n)))
      bySeq.set(record.n, `${record.e.type}${bySeq.get(record.n) ?? ''}`);
  }
  const inOrder = [...bySeq].toSorted(([a], [b]) => a - b).map(([, type]) => type);
  return inOrder.filter(isNamed);
}
const isNamed = (type: string | undefined): boolean => type !== undefined && !type.startsWith(' ');

const codeOf = async (doing: Promise<unknown>): Promise<string> =>
  doing.then(
    () => 'done',
    (error: unknown) => (error instanceof RuntimeError ? error.code : String(error)),
  );

/** Public events in an order in which each of them changes something. */
const EVENTS: [to: string, type: string, data: JsonObject | undefined, then: JsonObject][] = [
  ['cell/m', 'cell.pause', undefined, { phase: 'paused' }],
  ['cell/m', 'cell.resume', {}, { phase: 'working' }],
  ['cell/m/agent/lead', 'agent.pause', undefined, { paused: true }],
  ['cell/m/agent/lead', 'agent.resume', undefined, { paused: false }],
  ['cell/m', 'task.retry', { task_id: 'broken' }, {}],
  ['cell/m', 'task.cancel', { task_id: 'later', reason: 'not wanted' }, { later: 'failed' }],
  ['cell/m', 'cell.cancel', { reason: 'enough' }, { phase: 'failed' }],
];

function seen(node: MissionNode): JsonObject {
  const context = node.kernel.system.read(cellAddress('m')).snapshot.context as CellContext;
  return {
    phase: context.phase,
    paused: context.agents['lead']?.pausedByPerson ?? false,
    later: context.tasks['later']?.status ?? null,
  };
}

type Way = (at: TestNode, client: WireClient, to: string, event: JsonObject) => Promise<void>;

const subjectOf = (to: string): string => {
  const [, cellId = '', , agentId] = to.split('/');
  return `ops.inject.${cellId}${agentId === undefined ? '' : `.${agentId}`}`;
};

const WAYS: [name: string, way: Way][] = [
  [
    'the verb',
    async (at, _client, to, event) => {
      expect(await runVerb(at.node, 'inject', { to, event })).toMatchObject({ ok: true });
    },
  ],
  [
    'a request on the bus',
    async (_at, client, to, event) => {
      const { headers, data } = await client.request(
        'svc.lazarus.inject',
        JSON.stringify({ to, event }),
      );
      expect(headers['nats-service-error']).toBeUndefined();
      expect(JSON.parse(data.toString())).toEqual({
        ok: true,
        to: 'cell/m',
        seq: expect.any(Number) as number,
      });
    },
  ],
  [
    'its subject on the bus',
    async (at, client, to, event) => {
      const before = injected(at.node).taken;
      client.publish(subjectOf(to), JSON.stringify(event));
      await eventually(() => expect(injected(at.node).taken).toBe(before + 1));
    },
  ],
];

describe('every event of a public type', () => {
  test.each(WAYS)('is applied when it comes by %s', async (_name, inject) => {
    const at = await atWork();
    const client = await wireTo(at.node);
    expect(EVENTS.map(([, type]) => type).toSorted()).toEqual(
      PUBLIC_EVENTS.map(({ type }) => type).toSorted(),
    );
    for (const [to, type, data, then] of EVENTS) {
      await inject(at, client, to, { type, ...(data && { data }) });
      await eventually(() => expect(seen(at.node), type).toMatchObject(then));
    }
    expect(taken(at.node)).toEqual(EVENTS.map(([, type]) => type));
    expect(injected(at.node).refused).toBe(0);
  });
});

const NOT_PUBLIC: [to: string, event: JsonObject][] = [
  ['cell/m', { type: 'task.finished', data: {} }],
  ['cell/m', { type: 'xstate.done.actor.step' }],
  ['cell/m', { type: 'xstate.init' }],
  ['cell/m', { type: 'agent.pause' }],
  ['cell/m/agent/lead', { type: 'cell.pause' }],
  ['cell/m/agent/lead', { type: 'task.assigned' }],
  ['system/lazarus/m/lead', { type: 'cell.pause' }],
  ['system/bridge/redis', { type: 'bridge.heard' }],
  [`cell/${SYSTEM_CELL_ID}`, { type: 'cell.pause' }],
  ['node', { type: 'cell.pause' }],
  ['cell/m/agent/lead/x', { type: 'agent.pause' }],
];

test('the events of docs/nats.md are those that may come in', () => {
  const docs = readFileSync(join(import.meta.dirname, '../../docs/nats.md'), 'utf8');
  const told = docs
    .split('\n')
    .map((line) => /^\| `((?:cell|task|agent)\.\w+)` +\| (\w+) +\| (.*?) *\|$/.exec(line))
    .flatMap((row) => (row ? [row.slice(1)] : []));
  const given = PUBLIC_EVENTS.map(({ type, of, data }) => {
    const { properties, required } = data as { properties: JsonObject; required: string[] };
    const names = Object.keys(properties).map(
      (name) => `\`${name}\`${required.includes(name) ? '' : '?'}`,
    );
    return [type, of === 'cell' ? 'mission' : 'agent', names.join(', ')];
  });
  expect(told).toEqual(given);
});

describe('what is not public', () => {
  test('is refused to the verb and to a request, whatever the address, and changes nothing', async () => {
    const at = await atWork();
    const client = await wireTo(at.node);
    for (const [to, event] of NOT_PUBLIC) {
      expect(await codeOf(runVerb(at.node, 'inject', { to, event })), to).toBe('EVENT_NOT_PUBLIC');
      const { headers } = await client.request('svc.lazarus.inject', JSON.stringify({ to, event }));
      expect(headers).toMatchObject({
        'nats-service-error-code': '403',
        'nats-service-error': expect.stringMatching(/^EVENT_NOT_PUBLIC: /) as string,
      });
    }
    expect(taken(at.node)).toEqual([]);
    expect(seen(at.node)).toMatchObject({ phase: 'working' });
  });
});

/** Dead letters so far, oldest first. */
async function deadLetters(client: WireClient, count: number): Promise<JsonObject[]> {
  return eventually(
    async () => {
      const { state } = await client.ask('$JS.API.STREAM.INFO.DLQ');
      const { last_seq: last } = state as { last_seq: number };
      if (last < count) throw new Error(`${last} dead letters, not ${count}`);
      const letters: JsonObject[] = [];
      for (let seq = 1; seq <= last; seq += 1) {
        const { message } = await client.ask('$JS.API.STREAM.MSG.GET.DLQ', `{"seq":${seq}}`);
        const { data } = message as { data: string };
        letters.push(JSON.parse(Buffer.from(data, 'base64').toString()) as JsonObject);
      }
      return letters;
    },
    { timeoutMs: 20_000 },
  );
}

const deep = (depth: number): string => `${'['.repeat(depth)}${']'.repeat(depth)}`;
const pause = '{"type": "cell.pause"}';

const BAD: [what: string, subject: string, body: string | Uint8Array, code: string][] = [
  ['no JSON', 'ops.inject.m', '{"type": "cell.pa', 'INVALID_ARGUMENT'],
  ['nothing', 'ops.inject.m', '', 'INVALID_ARGUMENT'],
  ['another kind of JSON', 'ops.inject.m', '"cell.pause"', 'INVALID_ARGUMENT'],
  ['null', 'ops.inject.m', 'null', 'INVALID_ARGUMENT'],
  ['a list', 'ops.inject.m', `[${pause}]`, 'INVALID_ARGUMENT'],
  ['no type', 'ops.inject.m', '{"data": {}}', 'INVALID_ARGUMENT'],
  ['a type that is no text', 'ops.inject.m', '{"type": 1}', 'INVALID_ARGUMENT'],
  [
    'a field of its own',
    'ops.inject.m',
    '{"type": "cell.pause", "cellId": "x"}',
    'INVALID_ARGUMENT',
  ],
  ['a prototype', 'ops.inject.m', '{"type":"cell.pause","__proto__":{"x":1}}', 'INVALID_ARGUMENT'],
  [
    'data it does not take',
    'ops.inject.m',
    '{"type":"cell.pause","data":{"x":1}}',
    'INVALID_ARGUMENT',
  ],
  [
    'data of another kind',
    'ops.inject.m',
    '{"type":"task.retry","data":{"task_id":1}}',
    'INVALID_ARGUMENT',
  ],
  ['data left out', 'ops.inject.m', '{"type":"task.retry"}', 'INVALID_ARGUMENT'],
  [
    'an id without end',
    'ops.inject.m',
    `{"type":"cell.pause","id":"${'i'.repeat(5000)}"}`,
    'INVALID_ARGUMENT',
  ],
  ['a time that is none', 'ops.inject.m', '{"type":"cell.pause","at":"soon"}', 'INVALID_ARGUMENT'],
  [
    'deeply nested',
    'ops.inject.m',
    `{"type":"cell.pause","data":${deep(60_000)}}`,
    'INVALID_ARGUMENT',
  ],
  [
    'nested too deeply',
    'ops.inject.m',
    `{"type":"cell.pause","data":${deep(100)}}`,
    'INVALID_ARGUMENT',
  ],
  ['no UTF-8', 'ops.inject.m', Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22]), 'INVALID_ARGUMENT'],
  ['zero bytes', 'ops.inject.m', Buffer.alloc(1000), 'INVALID_ARGUMENT'],
  ['too long', 'ops.inject.m', `{"type":"cell.pause","id":"${'x'.repeat(1 << 20)}"}`, 'TOO_LARGE'],
  ['of a type that is not public', 'ops.inject.m', '{"type": "task.finished"}', 'EVENT_NOT_PUBLIC'],
  ['of XState', 'ops.inject.m', '{"type": "xstate.stop"}', 'EVENT_NOT_PUBLIC'],
  ['for the runtime', `ops.inject.${SYSTEM_CELL_ID}`, pause, 'EVENT_NOT_PUBLIC'],
  ['for the runtime’s agents', `ops.inject.${SYSTEM_CELL_ID}.x`, pause, 'EVENT_NOT_PUBLIC'],
  ['for nobody', 'ops.inject.nobody', pause, 'ACTOR_UNKNOWN'],
  ['for an agent that is not there', 'ops.inject.m.nobody', '{"type":"agent.pause"}', 'NOT_FOUND'],
  [
    'for a task that is not there',
    'ops.inject.m',
    '{"type":"task.retry","data":{"task_id":"?"}}',
    'NOT_FOUND',
  ],
  ['for too many', 'ops.inject.m.lead.x', pause, 'INVALID_ARGUMENT'],
  ['for a path', 'ops.inject.%2E%2E%2Fm', pause, 'EVENT_NOT_PUBLIC'],
  ['for a name of bad bytes', 'ops.inject.%FF', pause, 'INVALID_ARGUMENT'],
];

describe('a bad message on the bus', () => {
  test('ends as a dead letter with its reason, is not seen again, and harms nothing', async () => {
    const at = await atWork();
    const client = await wireTo(at.node);
    for (const [, subject, body] of BAD) client.publish(subject, body);
    const letters = await deadLetters(client, BAD.length);
    expect(
      letters.map(({ source, data }) => [source, (data as { error: JsonObject }).error['code']]),
    ).toEqual(BAD.map(([, subject, , code]) => [subject, code]));
    for (const [n, letter] of letters.entries()) {
      const [, , body = ''] = BAD[n] ?? [];
      const { error, bytes, text, base64 } = letter['data'] as Record<string, JsonValue>;
      expect(error).toMatchObject({ message: expect.stringMatching(/./) as string });
      expect(bytes).toBe(Buffer.from(body).length);
      const kept = Buffer.from((text ?? base64) as string, text === undefined ? 'base64' : 'utf8');
      expect(kept).toEqual(Buffer.from(body).subarray(0, 16 * 1024));
    }
    // Nothing waits to come again, and the next good one is taken.
    client.publish('ops.inject.m', pause);
    await at.cellIs('m', 'paused');
    await eventually(() =>
      expect(injected(at.node)).toMatchObject({ taken: 1, refused: BAD.length }),
    );
    expect(taken(at.node).filter((type) => !type.endsWith('refused'))).toEqual(['cell.pause']);
    expect((await deadLetters(client, BAD.length)).length).toBe(BAD.length);
    expect(at.node.status().parts['nats']).toMatchObject({ state: 'up', reconnects: 0 });
  });

  test('longer than the server takes closes that client, and nobody else', async () => {
    const at = await atWork();
    const hostile = await wireTo(at.node);
    hostile.raw(`PUB ops.inject.m ${64 << 20}\r\n`);
    await eventually(() => expect(hostile.closed).toBe(true));
    const broken = await wireTo(at.node);
    broken.raw(Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 7919) % 256)));
    await eventually(() => expect(broken.closed).toBe(true));
    const client = await wireTo(at.node);
    client.publish('ops.inject.m', pause);
    await at.cellIs('m', 'paused');
  });
});

describe('an event with an id', () => {
  test('is taken once, whichever ways it comes, also after a restart', async () => {
    const at = await atWork();
    const client = await wireTo(at.node);
    const event = {
      type: 'cell.pause',
      id: 'once',
      at: new Date().toISOString(),
      source: 'a test',
    };
    const first = (await runVerb(at.node, 'inject', { to: 'cell/m', event })) as JsonObject;
    const again = await client.ask('svc.lazarus.inject', JSON.stringify({ to: 'cell/m', event }));
    expect(again).toEqual({ ...first, duplicate: true });
    client.publish('ops.inject.m', JSON.stringify(event));
    client.publish('ops.inject.m', JSON.stringify({ ...event, type: 'cell.resume', id: 'two' }));
    await at.cellIs('m', 'active');
    expect(taken(at.node)).toEqual(['cell.pause', 'cell.resume']);
    await at.restart({ openDoors: withBus() });
    const later = await runVerb(at.node, 'inject', { to: 'cell/m', event });
    expect(later).toMatchObject({ duplicate: true });
    expect(taken(at.node)).toEqual([]); // the journal of that life: the records before are in the cell
  });

  test('without one, each message on the bus is an event of its own', async () => {
    const at = await atWork();
    const client = await wireTo(at.node);
    for (let n = 0; n < 3; n += 1) client.publish('ops.inject.m', pause);
    await eventually(() => expect(injected(at.node).taken).toBe(3));
    expect(taken(at.node)).toEqual(['cell.pause', 'cell.pause', 'cell.pause']);
  });
});

const entry = fileURLToPath(new URL('../support/bus-child.ts', import.meta.url));
const hook = fileURLToPath(new URL('../crash/hook.ts', import.meta.url));

/** A node in a process of its own that kills itself at this visit of a fault point. */
async function nodeThatDies(missions: string, nats: string, at: string) {
  const preload = `${hook}?log=${encodeURIComponent(join(missions, 'killed'))}&at=host:${at}`;
  const flags = ['--disable-warning=ExperimentalWarning', '--import', preload];
  const child = spawn(process.execPath, [...flags, entry, missions, nats], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const exited = once(child, 'exit');
  await once(child.stdout, 'data');
  return { exited };
}

const toggles = (count: number, from = 0): string[] =>
  Array.from({ length: count }, (_, n) => ((n + from) % 2 === 0 ? 'cell.pause' : 'cell.resume'));

describe('an event published while no node runs', () => {
  test('is applied when one does, once, and in its order', async () => {
    const { url, client: connect } = await startNats();
    const at = await atWork(url);
    const client = await connect();
    await at.stop();
    for (const type of toggles(6))
      expect(await client.ask('ops.inject.m', JSON.stringify({ type }))).toMatchObject({
        stream: 'OPS',
      });
    await at.restart({ openDoors: withBus(url) });
    await eventually(() => expect(taken(at.node)).toEqual(toggles(6)), { timeoutMs: 20_000 });
    await at.restart({ openDoors: withBus(url) });
    client.publish('ops.inject.m', '{"type": "cell.cancel"}');
    await at.cellIs('m', 'failed');
    expect(taken(at.node)).toEqual(['cell.cancel']); // the journal of that life
  });
});

describe('a runtime that is killed between the commit of an event and its acknowledgement', () => {
  test('has applied it once, and none that came behind it is lost or overtaken', async () => {
    const { url, client: connect } = await startNats();
    const missions = temporaryMissions();
    const client = await connect();
    const dying = await nodeThatDies(missions, url, 'inject.after-commit:3');
    dropInto(missions, waiting);
    client.subscribe('missions.m.>');
    await eventually(() =>
      expect(client.on('missions.m.').map((message) => jsonOf(message)['type'])).toContain(
        'actor.spawned',
      ),
    );
    for (const type of toggles(6)) client.publish('ops.inject.m', JSON.stringify({ type }));
    await dying.exited;
    client.publish('ops.inject.m', JSON.stringify({ type: 'cell.pause' }));
    await client.flush();
    const at = await startNode({ openDoors: withBus(url) }, missions);
    await eventually(() => expect(everTaken(at)).toEqual(toggles(7)), { timeoutMs: 25_000 });
    const info = await client.ask(`$JS.API.CONSUMER.INFO.OPS.lazarus-${at.node.nodeId}`);
    await eventually(async () =>
      expect(await client.ask(`$JS.API.CONSUMER.INFO.OPS.${String(info['name'])}`)).toMatchObject({
        num_pending: 0,
        num_ack_pending: 0,
      }),
    );
  }, 60_000);

  test('on a server of its own: the same', async () => {
    const missions = temporaryMissions();
    const first = await startNode({ openDoors: withBus() }, missions);
    first.drop(waiting);
    await first.waitsAt('m', 'g');
    await first.stop();
    const dying = await nodeThatDies(missions, 'embedded', 'inject.after-commit:1');
    const client = await wireTo(first.node);
    client.publish('ops.inject.m', pause);
    await dying.exited;
    const at = await startNode({ openDoors: withBus() }, missions);
    const again = await wireTo(at.node);
    again.publish('ops.inject.m', '{"type": "cell.resume"}');
    await eventually(() => expect(everTaken(at)).toEqual(['cell.pause', 'cell.resume']), {
      timeoutMs: 25_000,
    });
  }, 60_000);
});

describe('a runtime that is killed between the commit of a refusal and its dead letter', () => {
  test('writes it when it is back, once', async () => {
    const { url, client: connect } = await startNats();
    const missions = temporaryMissions();
    const client = await connect();
    const dying = await nodeThatDies(missions, url, 'inject.after-refusal:1');
    dropInto(missions, waiting);
    client.subscribe('missions.m.>');
    await eventually(() =>
      expect(client.on('missions.m.').map((message) => jsonOf(message)['type'])).toContain(
        'actor.spawned',
      ),
    );
    client.publish('ops.inject.m', '{"type": "task.retry", "data": {"task_id": "?"}}');
    await dying.exited;
    expect(await client.ask('$JS.API.STREAM.INFO.DLQ')).toMatchObject({ state: { messages: 0 } });
    const at = await startNode({ openDoors: withBus(url) }, missions);
    client.publish('ops.inject.m', pause);
    await eventually(() => expect(everTaken(at)).toEqual(['task.retry refused', 'cell.pause']), {
      timeoutMs: 25_000,
    });
    const [letter] = await deadLetters(client, 1);
    expect(letter).toMatchObject({
      source: 'ops.inject.m',
      data: {
        error: { code: 'NOT_FOUND', message: expect.stringContaining('?') as string },
        text: '{"type": "task.retry", "data": {"task_id": "?"}}',
      },
    });
    await at.restart({ openDoors: withBus(url) });
    client.publish('ops.inject.m', '{"type": "cell.resume"}');
    await at.cellIs('m', 'active');
    expect(await deadLetters(client, 1)).toHaveLength(1);
  }, 60_000);
});

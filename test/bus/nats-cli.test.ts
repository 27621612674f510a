/**
 * What the NATS CLI does, against the server of a real node: the bytes that its commands send (seen with `nats-server -DV`),
 * and the fields that it reads of the answers. With the CLI itself where it is on PATH.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { VERBS } from '../../actors/control.ts';
import { openNatsDoor } from '../../actors/nats-door.ts';
import type { MissionNode } from '../../actors/node.ts';
import { BUS_ROLES } from '../../bus/nats-users.ts';
import type { NatsOptions } from '../../machines/daemon-config.ts';
import type { JsonObject } from '../../machines/json.ts';
import { busIsUp } from '../support/bus.ts';
import { eventually } from '../support/eventually.ts';
import { jsonOf, wireTo } from '../support/nats-wire.ts';
import type { WireClient } from '../support/nats-wire.ts';
import { gate, mission, startNode, step, task } from '../support/node.ts';
import type { TestNode, Warning } from '../support/node.ts';
import { ownConfigHome } from '../support/xdg.ts';

const VERSION = '1.2.3';

async function atWork(options: NatsOptions = { context: false }): Promise<TestNode> {
  const warnings: Warning[] = [];
  const log = {
    info: () => undefined,
    warn: (fields: object, message: string) =>
      void warnings.push({ message, fields: { ...fields } }),
  };
  const fixture = await startNode({
    version: VERSION,
    openDoors: async (node) => [await openNatsDoor(node, { nats: 'embedded', options, log })],
  });
  fixture.warnings.push(...warnings);
  fixture.drop(mission('m', [task('t', [step('a', gate('g'))])]));
  await fixture.waitsAt('m', 'g');
  await busIsUp(fixture.node);
  return fixture;
}

const SNAPPY = { 'Accept-Encoding': 'snappy' };
const text = expect.any(String) as string;
const number = expect.any(Number) as number;
const nodeOf = ({ node }: TestNode): string => node.nodeId;

/** Everything that answers within a while after the first. */
async function answersTo(
  client: WireClient,
  subject: string,
  body: string,
  headers: Record<string, string>,
): Promise<JsonObject[]> {
  const inbox = client.inbox();
  client.subscribe(inbox);
  client.publishWith(headers, subject, body, inbox);
  await eventually(() => expect(client.on(inbox).length).toBeGreaterThan(0));
  await client.flush();
  return client.on(inbox).map((message) => jsonOf(message) as JsonObject);
}

const remoteNames = VERBS.filter(({ remote }) => remote).map(({ name }) => name);

/** ADR-32: what every answer of a service has. */
function isOfService(answer: JsonObject, type: string, at: TestNode): void {
  expect(answer).toMatchObject({
    type: `io.nats.micro.v1.${type}`,
    name: 'lazarus',
    id: expect.stringMatching(/^\S+$/) as string,
    version: expect.stringMatching(/^\d+\.\d+\.\d+/) as string,
    metadata: { node: nodeOf(at), epoch: text, role: 'node' },
  });
  for (const value of Object.values(answer['metadata'] as JsonObject))
    expect(typeof value).toBe('string');
}

describe('nats micro', () => {
  test('ls and info show the service, its endpoints and what each of them is', async () => {
    const at = await atWork();
    const client = await wireTo(at.node);
    const [info, ...others] = await answersTo(client, '$SRV.INFO', '{}', SNAPPY);
    expect(others).toEqual([]);
    if (!info) throw new Error('one answer');
    isOfService(info, 'info_response', at);
    expect(info['description']).toEqual(text);
    const endpoints = info['endpoints'] as JsonObject[];
    expect(new Set(endpoints.map(({ subject }) => subject))).toEqual(
      new Set([
        ...remoteNames.map((name) => `svc.lazarus.${name}`),
        `svc.lazarus.node.${nodeOf(at)}.>`,
      ]),
    );
    for (const { name, queue_group: queue, metadata } of endpoints) {
      if (name === 'node') continue; // no request by itself
      expect(name).toMatch(/^[A-Za-z0-9_-]+$/);
      expect(queue).toEqual(text);
      expect(metadata).toEqual({
        summary: text,
        rights: expect.stringMatching(/^(read|operate|approve)$/) as string,
        input: text,
      });
      expect(JSON.parse((metadata as { input: string }).input)).toMatchObject({ type: 'object' });
    }
    const [named] = await answersTo(client, '$SRV.INFO.lazarus', '{}', SNAPPY);
    expect(named).toEqual(info);
  });

  test('stats and ping count requests by endpoint', async () => {
    const at = await atWork();
    const client = await wireTo(at.node);
    await client.ask('svc.lazarus.status');
    await client.request('svc.lazarus.cell.show', '{}');
    await client.request('svc.lazarus.cell.show', '{"cell": "nobody"}');
    const { id } = await client.ask('$SRV.PING.lazarus');
    for (const subject of [
      '$SRV.STATS',
      '$SRV.STATS.lazarus',
      `$SRV.STATS.lazarus.${String(id)}`,
    ]) {
      const [stats] = await answersTo(client, subject, '{}', SNAPPY);
      if (!stats) throw new Error('one answer');
      isOfService(stats, 'stats_response', at);
      expect(new Date(stats['started'] as string).toISOString()).toBe(stats['started']);
      const endpoints = stats['endpoints'] as JsonObject[];
      const named = (name: string): JsonObject | undefined =>
        endpoints.find(({ subject: of }) => of === `svc.lazarus.${name}`);
      expect(named('status')).toMatchObject({
        name: 'status',
        num_requests: 1,
        num_errors: 0,
        last_error: '',
        processing_time: number,
        average_processing_time: number,
      });
      expect(named('status')?.['processing_time']).toBeGreaterThan(0);
      expect(named('cell.show')).toMatchObject({
        num_requests: 2,
        num_errors: 2,
        last_error: expect.stringMatching(/^NOT_FOUND: .*nobody/) as string,
      });
    }
    isOfService((await client.ask('$SRV.PING', '')) as JsonObject, 'ping_response', at);
  });
});

describe('nats stream and nats kv', () => {
  test('stream ls lists the streams with what they are for; kv ls finds no bucket', async () => {
    const at = await atWork();
    const client = await wireTo(at.node);
    const list = await client.ask('$JS.API.STREAM.LIST', '{"offset":0}');
    expect(list).toMatchObject({
      type: 'io.nats.jetstream.api.v1.stream_list_response',
      total: 5,
      offset: 0,
      limit: number,
    });
    const streams = list['streams'] as { config: JsonObject; state: JsonObject; created: string }[];
    expect(streams.map(({ config }) => [config['name'], config['subjects']])).toEqual([
      ['ACTIONS', ['actions.>']],
      ['DLQ', ['dlq.>']],
      ['HOMELAB', ['homelab.>']],
      ['MISSIONS', ['missions.>']],
      ['OPS', ['ops.inject.>']],
    ]);
    for (const { config, state, created } of streams) {
      expect(config).toMatchObject({ description: expect.stringMatching(/\w{4}/) as string });
      expect(config['max_bytes']).toBeGreaterThan(0);
      expect(state).toMatchObject({ messages: number, bytes: number, last_seq: number });
      expect(created).toEqual(text);
      expect(config['name']).not.toMatch(/^KV_/); // kv ls shows those
    }
    const bucket = await client.ask('$JS.API.STREAM.INFO.KV_cells');
    expect(bucket).toMatchObject({ error: { code: 404, err_code: 10_059 } });
  });

  test('stream get gives a stored message with its headers, account info the limits', async () => {
    const at = await atWork();
    const client = await wireTo(at.node);
    const message = await eventually(async () => {
      const got = await client.ask('$JS.API.STREAM.MSG.GET.MISSIONS', '{"seq":1}');
      expect(got).toMatchObject({ message: { seq: 1 } });
      return got['message'] as Record<string, string>;
    });
    expect(message['subject']).toMatch(/^missions\..+\.events$/);
    const headers = Buffer.from(message['hdrs'] ?? '', 'base64').toString();
    expect(headers).toContain(`Nats-Msg-Id: ${nodeOf(at)}:`);
    expect(headers).toContain(`Lazarus-Node: ${nodeOf(at)}`);
    expect(JSON.parse(Buffer.from(message['data'] ?? '', 'base64').toString())).toMatchObject({
      id: text,
      type: text,
      at: text,
      source: text,
    });
    const last = { last_by_subj: 'missions.m.events' };
    expect(await client.ask('$JS.API.STREAM.MSG.GET.MISSIONS', JSON.stringify(last))).toMatchObject(
      { message: { subject: 'missions.m.events' } },
    );
    expect(await client.ask('$JS.API.INFO')).toMatchObject({ streams: 5, limits: {} });
  });
});

describe('nats sub, pub and req', () => {
  test('sub shows what missions take in, pub with and without headers and -J is taken', async () => {
    const at = await atWork();
    const client = await wireTo(at.node);
    client.subscribe('missions.>');
    await client.flush();
    client.publish('ops.inject.m', '{"type":"cell.pause"}');
    await at.cellIs('m', 'paused');
    client.publishWith({ 'X-By': 'somebody' }, 'ops.inject.m', '{"type":"cell.resume"}');
    await at.cellIs('m', 'active');
    const inbox = client.inbox();
    client.subscribe(`${inbox}.*`); // -J
    client.publish('ops.inject.m.lead', '{"type":"agent.pause"}', `${inbox}.token`);
    await eventually(() => expect(client.on(inbox).length).toBe(1));
    expect(client.on(inbox).map(jsonOf)).toEqual([{ stream: 'OPS', seq: 3 }]);
    await eventually(() => {
      const types = client.on('missions.m.events').map((message) => jsonOf(message)['type']);
      expect(types.filter((type) => /^(cell|agent)\.(pause|resume)$/.test(String(type)))).toEqual([
        'cell.pause',
        'cell.resume',
        'agent.pause',
      ]);
    });
  });

  test('pub with Nats-Msg-Id is stored once', async () => {
    const at = await atWork();
    const client = await wireTo(at.node);
    const id = { 'Nats-Msg-Id': 'x' };
    const first = await client.ask('ops.inject.m', '{"type":"cell.pause"}', id);
    expect(await client.ask('ops.inject.m', '{"type":"cell.pause"}', id)).toEqual({
      ...first,
      duplicate: true,
    });
  });

  test('req gives JSON, and errors where the CLI looks for them', async () => {
    const at = await atWork();
    const client = await wireTo(at.node);
    const { headers, data } = await client.request('svc.lazarus.status', '');
    expect(headers).toEqual({ 'lazarus-node': nodeOf(at) });
    expect(JSON.parse(data.toString())).toMatchObject({ node: { state: 'running' } });
    const wrong = await client.request('svc.lazarus.cell.show', '{"cell": "nobody"}');
    expect(wrong.headers).toMatchObject({
      'lazarus-node': nodeOf(at),
      'nats-service-error': expect.stringMatching(/^NOT_FOUND: /) as string,
      'nats-service-error-code': '404',
    });
    expect(jsonOf(wrong)).toMatchObject({ error: { code: 'NOT_FOUND', message: text } });
  });
});

const HOSTILE: [what: string, body: string | Uint8Array][] = [
  ['no JSON', '{"cell":'],
  ['a list', '[1,2]'],
  ['null', 'null'],
  ['fields it does not take', '{"nonsense": true, "__proto__": {"x": 1}}'],
  ['deeply nested', `${'['.repeat(100_000)}${']'.repeat(100_000)}`],
  ['no UTF-8', Buffer.from([0xff, 0xfe, 0x00])],
  ['2 MB', JSON.stringify({ cell: 'x'.repeat(2 << 20) })],
];

describe('every remote verb', () => {
  test('answers a request with a result or a typed error', async () => {
    const at = await atWork();
    const client = await wireTo(at.node);
    for (const name of remoteNames) {
      const { headers, data } = await client.request(`svc.lazarus.${name}`, '{}');
      const answer: unknown = JSON.parse(data.toString());
      if (headers['nats-service-error'] === undefined) expect(answer, name).toBeTypeOf('object');
      else
        expect(answer, name).toMatchObject({
          error: { code: expect.not.stringMatching(/^INTERNAL$/) as string, message: text },
        });
    }
    expect(at.node.status().node.state).toBe('running');
  });

  test.each(HOSTILE)('answers %s with a typed error, and goes on', async (_what, body) => {
    const at = await atWork();
    const client = await wireTo(at.node);
    for (const name of remoteNames) {
      const { headers } = await client.request(`svc.lazarus.${name}`, body);
      expect(headers['nats-service-error'], name).toMatch(/^(INVALID_ARGUMENT|TOO_LARGE): /);
      expect(headers['nats-service-error-code'], name).toMatch(/^4\d\d$/);
    }
    expect(await client.ask('svc.lazarus.cell.list')).toBeTypeOf('object');
  });

  test('given a name that is none, then the answer names what is near', async () => {
    const at = await atWork();
    const client = await wireTo(at.node);
    const { headers, data } = await client.request('svc.lazarus.cell.pauze', '');
    expect(headers['nats-service-error']).toMatch(/^NOT_FOUND: /);
    expect(JSON.parse(data.toString())).toMatchObject({
      error: { hint: expect.stringContaining('cell.pause') as string },
    });
    for (const { name } of VERBS.filter(({ remote }) => !remote)) {
      const refused = await client.request(`svc.lazarus.${name}`, '{}');
      expect(refused.headers['nats-service-error'], name).toMatch(/^FORBIDDEN: /);
    }
  });

  test('is asked of this node, or of each node, by subjects of their own', async () => {
    const at = await atWork();
    const client = await wireTo(at.node);
    const own = `svc.lazarus.node.${nodeOf(at)}`;
    for (const subject of [`${own}.status`, 'svc.lazarus.each.status'])
      expect(await client.ask(subject), subject).toMatchObject({ node: { node_id: nodeOf(at) } });
    expect(await client.ask(`${own}.cell.pause`, '{"cell": "m"}')).toMatchObject({ cell_id: 'm' });
    await at.cellIs('m', 'paused');
    for (const [subject, code] of [
      [`${own}.cell.pauze`, 'NOT_FOUND'],
      ['svc.lazarus.node.another.status', 'NOT_FOUND'],
      ['svc.lazarus.each.cell.pause', 'FORBIDDEN'],
      ['svc.lazarus.each.nonsense', 'NOT_FOUND'],
    ] as const) {
      const { headers } = await client.request(subject, '{"cell": "m"}');
      expect(headers['nats-service-error'], subject).toMatch(new RegExp(`^${code}: `));
    }
  });

  test('commands are refused unless the configuration allows them', async () => {
    const at = await atWork();
    const client = await wireTo(at.node);
    const input = { cell: 'm', task_id: 'x', title: 'X', steps: [{ name: 's', run: ['id'] }] };
    const { headers } = await client.request('svc.lazarus.task.add', JSON.stringify(input));
    expect(headers['nats-service-error']).toMatch(/^FORBIDDEN: .*\/steps/);
    expect(at.exists('m', 'tasks/x.json')).toBe(false);
  });
});

const contextsIn = (home: string): string => join(home, 'nats/context');

describe('the contexts of the CLI', () => {
  test('name the server and the credentials of each role, for this user alone', async () => {
    const home = ownConfigHome();
    const at = await atWork({});
    const folder = contextsIn(home);
    expect(readdirSync(folder).toSorted()).toEqual([
      'lazarus-agent.json',
      'lazarus-observer.json',
      'lazarus.json',
    ]);
    const { nats } = JSON.parse(readFileSync(at.node.layout.node, 'utf8')) as {
      nats: { url: string; user: string; token_file: string };
    };
    for (const role of BUS_ROLES) {
      const file = join(folder, role === 'operator' ? 'lazarus.json' : `lazarus-${role}.json`);
      expect(statSync(file).mode & 0o777).toBe(0o600);
      const token = readFileSync(join(at.node.layout.nats, `${role}.token`), 'utf8').trim();
      expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({
        description: text,
        url: nats.url,
        user: role,
        password: token,
      });
    }
    expect(nats).toMatchObject({ user: 'operator', token_file: operatorFile(at.node) });
    expect(statSync(nats.token_file).mode & 0o777).toBe(0o600);
  });

  test('that are somebody else’s are left alone, and ours are renewed under another name too', async () => {
    const home = ownConfigHome();
    mkdirSync(contextsIn(home), { recursive: true });
    const foreign = join(contextsIn(home), 'ours.json');
    const unreadable = join(contextsIn(home), 'ours-agent.json');
    writeFileSync(foreign, '{"description": "production", "url": "nats://far"}');
    writeFileSync(unreadable, 'no JSON');
    writeFileSync(
      join(contextsIn(home), 'ours-observer.json'),
      '{"description": "Lazarus (written by `lazarus up`): observer", "url": "nats://old"}',
    );
    const at = await atWork({ context: 'ours' });
    expect(readFileSync(foreign, 'utf8')).toBe(
      '{"description": "production", "url": "nats://far"}',
    );
    expect(readFileSync(unreadable, 'utf8')).toBe('no JSON');
    const observer = join(contextsIn(home), 'ours-observer.json');
    expect(readFileSync(observer, 'utf8')).not.toContain('nats://old');
    expect(statSync(observer).mode & 0o777).toBe(0o600);
    const told = at.warnings.filter(({ message }) => message.includes('not ours'));
    expect(new Set(told.map(({ fields }) => fields['file']))).toEqual(
      new Set([unreadable, foreign]),
    );
  });

  test('are not written when the configuration says so', async () => {
    const home = ownConfigHome();
    await atWork({ context: false });
    expect(readdirSync(home)).toEqual([]);
  });
});

const operatorFile = (node: MissionNode): string => join(node.layout.nats, 'operator.token');

const hasCli = spawnSync('nats', ['--version']).status === 0;
if (!hasCli)
  console.warn('There is no NATS CLI on PATH: what it sends is tried, the program itself is not.');

describe.skipIf(!hasCli)('the NATS CLI itself', () => {
  test('finds the node by its context and does all of this', async () => {
    ownConfigHome();
    const at = await atWork({});
    const nats = (...args: string[]): string => {
      const { status, stdout, stderr } = spawnSync('nats', ['--context', 'lazarus', ...args], {
        encoding: 'utf8',
      });
      expect(status, `${args.join(' ')}: ${stderr}`).toBe(0);
      return stdout;
    };
    expect(nats('micro', 'ls')).toContain('lazarus');
    expect(nats('micro', 'info', 'lazarus')).toContain('svc.lazarus.status');
    expect(nats('micro', 'stats', 'lazarus')).toContain('status');
    expect(nats('stream', 'ls')).toContain('MISSIONS');
    expect(nats('stream', 'get', 'MISSIONS', '1')).toContain('missions.');
    nats('kv', 'ls');
    expect(JSON.parse(nats('req', '--raw', 'svc.lazarus.status', ''))).toBeTypeOf('object');
    nats('pub', 'ops.inject.m', '{"type": "cell.pause"}');
    await at.cellIs('m', 'paused');
  });
});

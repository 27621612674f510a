/** Who is heard: missions of a real node, beats, and a clock that the test moves. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { AgentDirectory } from '../../actors/agent-directory.ts';
import { GuestFile } from '../../actors/guest-file.ts';
import { Heartbeats } from '../../actors/heartbeats.ts';
import { cellAddress } from '../../machines/addresses.ts';
import type { JsonObject } from '../../machines/json.ts';
import { eventually } from '../support/eventually.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { agent, gate, mission, startNode, step, task, temporaryMissions } from '../support/node.ts';
import type { TestNode } from '../support/node.ts';

const log = { info: () => {}, warn: () => {} };
const remote = (id: string, more: JsonObject = {}): JsonObject =>
  agent(id, { runner: { kind: 'remote' }, gateway: 'gw', ...more });
/** A mission that waits for a person, so it runs for ever. */
const lasting = (id: string, agents: JsonObject[]): JsonObject =>
  mission(id, [], { agents, success_criteria: [{ name: 'a person confirms' }] });

interface Listening {
  heartbeats: Heartbeats;
  directory: AgentDirectory;
  clock: ManualClock;
  guests: GuestFile;
}

async function listen(
  node: TestNode,
  { maxGuests = 10_000, file = 'test-guests.json' } = {},
): Promise<Listening> {
  const directory = new AgentDirectory(node.node.kernel.system);
  const clock = new ManualClock();
  const guests = new GuestFile(join(node.node.layout.own, file), log);
  const { workers } = node.node;
  const pollIntervalMs = (): number => 30_000;
  const heartbeats = new Heartbeats({
    directory,
    workers,
    guests,
    clock,
    maxGuests,
    pollIntervalMs,
  });
  onTestFinished(() => directory.close());
  await heartbeats.ready();
  return { heartbeats, directory, clock, guests };
}

const codeOf = (work: () => unknown): unknown => {
  try {
    work();
    return 'no error';
  } catch (error) {
    return (error as { code?: unknown }).code;
  }
};
const beat = { responseTimeMs: 2.5 };

describe('a remote agent', () => {
  test('given beats, misses and a beat again, then it is unknown, healthy, degraded, unhealthy, healthy', async () => {
    const node = await startNode();
    node.drop(lasting('c', [remote('far')]));
    await node.cellIs('c', 'active');
    const { heartbeats, clock } = await listen(node);
    const states = [heartbeats.agent('far').status];
    heartbeats.beat('far', beat);
    expect(heartbeats.agent('far')).toEqual({
      agent_id: 'far',
      cell_id: 'c',
      kind: 'remote',
      status: 'healthy',
      last_heartbeat: 1_800_000_001,
      last_response: 1_800_000_001,
      consecutive_failures: 0,
      response_time: 0.0025,
      error_message: null,
      metadata: {},
    });
    for (const seconds of [0, 29, 1, 30, 30]) {
      clock.pass(seconds);
      states.push(heartbeats.agent('far').status);
    }
    expect(heartbeats.agent('far')).toMatchObject({
      consecutive_failures: 3,
      error_message: 'no heartbeat for 90 s',
      last_heartbeat: 1_800_000_001,
    });
    heartbeats.beat('far', beat);
    states.push(heartbeats.agent('far').status);
    expect(states).toEqual([
      'unknown',
      'healthy',
      'healthy',
      'degraded',
      'degraded',
      'unhealthy',
      'healthy',
    ]);
  });

  test('given a new life of the node, then it is unknown for an interval and not unhealthy at once', async () => {
    const node = await startNode();
    node.drop(lasting('c', [remote('far')]));
    await node.cellIs('c', 'active');
    const { heartbeats, clock } = await listen(node);
    heartbeats.beat('far', beat);
    clock.pass(3600);
    heartbeats.overslept();
    expect(heartbeats.agent('far').status).toBe('unknown');
    clock.pass(30);
    expect(heartbeats.agent('far').status).toBe('degraded');
    clock.pass(60);
    expect(heartbeats.agent('far').status).toBe('unhealthy');
  });

  test('given its mission has ended, then its silence is nobody to worry about', async () => {
    const node = await startNode();
    const done = task('t', [step('s')], { assigned_to: 'lead' });
    node.drop(mission('c', [done], { agents: [agent('lead'), remote('far')] }));
    await node.cellIs('c', 'completed');
    const { heartbeats, clock } = await listen(node);
    clock.pass(1000);
    expect(heartbeats.agent('far')).toMatchObject({ status: 'unknown', error_message: null });
    heartbeats.beat('far', beat);
    expect(heartbeats.agent('far').status).toBe('healthy');
  });

  test('given a gateway that is polled, then the time between two polls is no miss, and its silence is', async () => {
    const node = await startNode();
    node.drop(lasting('c', [remote('far')]));
    await node.cellIs('c', 'active');
    const { heartbeats, directory, clock } = await listen(node);
    const far = directory.find('c', 'far');
    if (!far) throw new Error('no agent');
    heartbeats.polled(far, { ageMs: 25_000, responseTimeMs: 12 });
    expect(heartbeats.agent('far')).toMatchObject({ status: 'healthy', response_time: 0.012 });
    clock.pass(29);
    expect(heartbeats.agent('far').status).toBe('healthy');
    heartbeats.pollFailed(far, 'gateway gw: ECONNREFUSED');
    expect(heartbeats.agent('far')).toMatchObject({
      status: 'healthy',
      error_message: 'gateway gw: ECONNREFUSED',
    });
    clock.pass(61);
    expect(heartbeats.agent('far')).toMatchObject({
      status: 'unhealthy',
      consecutive_failures: 3,
      error_message: 'no heartbeat for 90 s; gateway gw: ECONNREFUSED',
    });
    heartbeats.polled(far, { ageMs: 40_000, responseTimeMs: 12 });
    expect(heartbeats.agent('far').status).toBe('degraded');
  });
});

describe('which agent is meant', () => {
  test('given an id in two cells, then it is ambiguous, names the cells, and ?cell= selects', async () => {
    const node = await startNode();
    node.drop(lasting('c1', [remote('twin')]));
    node.drop(lasting('c2', [remote('twin'), remote('other')]));
    await node.cellIs('c1', 'active');
    await node.cellIs('c2', 'active');
    const { heartbeats } = await listen(node);
    for (const work of [() => heartbeats.beat('twin', beat), () => heartbeats.agent('twin')])
      expect(work).toThrow(
        expect.objectContaining({
          code: 'AMBIGUOUS_ID',
          details: expect.objectContaining({ cells: ['c1', 'c2'] }),
        }),
      );
    heartbeats.beat('twin', { ...beat, cellId: 'c2' });
    expect(heartbeats.agent('twin', 'c2').status).toBe('healthy');
    expect(heartbeats.agent('twin', 'c1').status).toBe('unknown');
    expect(Object.keys(heartbeats.all().agents).toSorted()).toEqual([
      'c1/twin',
      'c2/twin',
      'other',
    ]);
    expect(codeOf(() => heartbeats.beat('other', { ...beat, cellId: 'c1' }))).toBe('NOT_FOUND');
    expect(codeOf(() => heartbeats.beat('other', { ...beat, cellId: 'nowhere' }))).toBe(
      'NOT_FOUND',
    );
    expect(codeOf(() => heartbeats.beat('other', { ...beat, cellId: '../c1' }))).toBe(
      'INVALID_ARGUMENT',
    );
  });

  test('given one of the two is removed, then the bare id serves again', async () => {
    const node = await startNode();
    node.drop(lasting('c1', [remote('twin')]));
    node.drop(lasting('c2', [remote('twin')]));
    await node.cellIs('c1', 'active');
    await node.cellIs('c2', 'active');
    const { heartbeats } = await listen(node);
    await node.node.kernel.system.stop(cellAddress('c1'), 'removed');
    heartbeats.beat('twin', beat);
    expect(heartbeats.agent('twin')).toMatchObject({ cell_id: 'c2', status: 'healthy' });
    heartbeats.sweep();
    expect(heartbeats.agent('twin').status).toBe('healthy');
  });

  test.each(['_x', '', 'a b', 'ä', 'x'.repeat(65), '../x', '__proto__'])(
    'given %j, then it is no id',
    async (id) => {
      const { heartbeats } = await listen(await startNode());
      expect(codeOf(() => heartbeats.beat(id, beat))).toBe('INVALID_ARGUMENT');
      expect(codeOf(() => heartbeats.agent(id))).toBe('INVALID_ARGUMENT');
    },
  );
});

describe('a local agent', () => {
  test('given a beat by HTTP in its name, then it is refused and changes nothing', async () => {
    const node = await startNode();
    node.drop(lasting('c', [agent('here')]));
    await node.cellIs('c', 'active');
    const { heartbeats } = await listen(node);
    const before = heartbeats.all();
    expect(() => heartbeats.beat('here', { ...beat, metadata: { role: 'x' } })).toThrow(
      expect.objectContaining({
        code: 'CONFLICT',
        message: expect.stringContaining('own channel'),
      }),
    );
    expect(heartbeats.all()).toEqual(before);
    expect(before.agents['here']).toMatchObject({ kind: 'local', status: 'unknown', metadata: {} });
  });

  test('given a worker, then its own beats make it healthy; given it failed, then it is unhealthy', async () => {
    const node = await startNode();
    const works = task('t', [step('s', gate('g'))], { assigned_to: 'lead' });
    node.drop(
      mission('c', [works], { isolation_level: 'level_1', policies: { auto_revive: 'no' } }),
    );
    await node.waitsAt('c', 'g');
    const { heartbeats } = await listen(node);
    await eventually(() =>
      expect(heartbeats.agent('lead')).toMatchObject({
        kind: 'local',
        status: 'healthy',
        consecutive_failures: 0,
        last_heartbeat: expect.any(Number),
      }),
    );
    await node.killWorker('c');
    await eventually(() => {
      const { status, consecutive_failures: failures, error_message } = heartbeats.agent('lead');
      expect({ status, failures }).toEqual({ status: 'unhealthy', failures: 1 });
      expect(error_message).toContain('SIGKILL');
    });
  });
});

describe('a guest', () => {
  test('given a first beat, then it is registered, its metadata merged, and it stays over a restart as unknown', async () => {
    const node = await startNode();
    const first = await listen(node);
    first.heartbeats.beat('guest', { ...beat, metadata: { role: 'lead', n: 1 } });
    first.heartbeats.beat('guest', { ...beat, metadata: { n: 2, more: [1] } });
    expect(first.heartbeats.agent('guest')).toMatchObject({
      kind: 'guest',
      cell_id: null,
      status: 'healthy',
      metadata: { role: 'lead', n: 2, more: [1] },
    });
    await first.guests.flush();
    const next = await listen(node);
    expect(next.heartbeats.agent('guest')).toMatchObject({
      status: 'unknown',
      last_heartbeat: null,
      metadata: { role: 'lead', n: 2, more: [1] },
    });
    next.heartbeats.unregister('guest');
    await next.guests.flush();
    expect(codeOf(() => next.heartbeats.agent('guest'))).toBe('NOT_FOUND');
    expect(codeOf(() => next.heartbeats.unregister('guest'))).toBe('NOT_FOUND');
    expect((await listen(node)).heartbeats.all().agents).toEqual({});
  });

  test('given as many as the bound, then a new one is refused and known ones are not', async () => {
    const { heartbeats } = await listen(await startNode(), { maxGuests: 3 });
    for (const id of ['a', 'b', 'c']) heartbeats.beat(id, beat);
    expect(codeOf(() => heartbeats.beat('d', beat))).toBe('BUSY');
    heartbeats.beat('a', beat);
    heartbeats.unregister('b');
    heartbeats.beat('d', beat);
    expect(Object.keys(heartbeats.all().agents)).toEqual(['a', 'c', 'd']);
  });

  test('given metadata beyond its bounds, then the beat is refused and the guest is not registered', async () => {
    const { heartbeats } = await listen(await startNode());
    const big = { metadata: { text: 'x'.repeat(70_000) } };
    const deep = { metadata: JSON.parse(`{"a":${'['.repeat(40)}${']'.repeat(40)}}`) as JsonObject };
    expect(codeOf(() => heartbeats.beat('a', { ...beat, ...big }))).toBe('TOO_LARGE');
    expect(codeOf(() => heartbeats.beat('a', { ...beat, ...deep }))).toBe('INVALID_ARGUMENT');
    expect(heartbeats.all().agents).toEqual({});
    // Fields of earlier beats count: nobody grows beat by beat.
    heartbeats.beat('a', { ...beat, metadata: { one: 'x'.repeat(40_000) } });
    const more = { metadata: { two: 'x'.repeat(40_000) } };
    expect(codeOf(() => heartbeats.beat('a', { ...beat, ...more }))).toBe('TOO_LARGE');
    expect(Object.keys(heartbeats.agent('a').metadata)).toEqual(['one']);
  });

  test('given all of them together reach the bound of memory, then more is refused until some are gone', async () => {
    const { heartbeats } = await listen(await startNode());
    const metadata = { text: 'x'.repeat(65_000) };
    let taken = 0;
    while (codeOf(() => heartbeats.beat(`g${taken}`, { ...beat, metadata })) === 'no error')
      taken += 1;
    expect(taken * 65_000).toBeLessThanOrEqual(32 << 20);
    expect(codeOf(() => heartbeats.beat('small', beat))).toBe('no error');
    heartbeats.unregister('g0');
    expect(codeOf(() => heartbeats.beat('again', { ...beat, metadata }))).toBe('no error');
  });

  test('given a mission takes its id, then the mission is meant and the guest is forgotten', async () => {
    const node = await startNode();
    const { heartbeats } = await listen(node);
    heartbeats.beat('far', { ...beat, metadata: { of: 'guest' } });
    node.drop(lasting('c', [remote('far')]));
    await node.cellIs('c', 'active');
    const meant = { kind: 'remote', status: 'unknown', metadata: {} };
    await eventually(() => expect(heartbeats.agent('far')).toMatchObject(meant)); // the agent comes after its cell
    heartbeats.sweep();
    expect(codeOf(() => heartbeats.unregister('far'))).toBe('CONFLICT');
    await node.node.kernel.system.stop(cellAddress('c'), 'removed');
    // Its agents are stopped after it.
    await eventually(() => expect(codeOf(() => heartbeats.agent('far'))).toBe('NOT_FOUND'));
  });

  test('given a file that cannot be read, then it is kept aside, said, and the node goes on', () => {
    const path = join(temporaryMissions(), 'guests.json');
    writeFileSync(path, '{"agents": {"a": {');
    const warned: object[] = [];
    const file = new GuestFile(path, { ...log, warn: (fields) => void warned.push(fields) });
    expect(file.load()).toEqual([]);
    expect(warned).toMatchObject([{ kept: `${path}.unreadable` }]);
    expect(existsSync(path)).toBe(false);
    expect(readFileSync(`${path}.unreadable`, 'utf8')).toBe('{"agents": {"a": {');
  });
});

/** A node is stopped, killed, started again; a cell's folder is copied, renamed, taken away and brought back. */
import { cpSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../machines/json.ts';
import { eventually } from '../support/eventually.ts';
import { agent, dropInto, gate, leftUnclean, mission, NEVER } from '../support/node.ts';
import { startNode, startNodeProcess, step, task } from '../support/node.ts';
import { temporaryMissions, threeSteps } from '../support/node.ts';
import type { TestNode } from '../support/node.ts';

const LEVELS = ['none', 'level_1'] as const;

/** A missions folder on which nodes have been running for so many days. */
function missionsAged(days: number): string {
  const missions = temporaryMissions();
  mkdirSync(join(missions, '.lazarus'));
  const clock = { at: Date.now(), up: days * 24 * 3_600_000 };
  writeFileSync(join(missions, '.lazarus/uptime.json'), JSON.stringify(clock));
  return missions;
}

async function atGates(at: TestNode, b: JsonObject = {}): Promise<void> {
  for (const level of LEVELS) at.drop(mission(level, threeSteps(b), { isolation_level: level }));
  for (const level of LEVELS) await at.waitsAt(level, 'g');
}

describe('a clean stop', () => {
  test('waits for the step in hand, writes everything down, and the next life goes on', async () => {
    const at = await startNode({ drainMs: 5000 });
    await atGates(at, NEVER);
    const stopping = at.stop();
    for (const level of LEVELS) at.open(level, 'g');
    await stopping;
    expect(existsSync(join(at.missions, '.lazarus/node.json'))).toBe(false);
    for (const level of LEVELS) {
      expect(at.json(level, '.lazarus/owner.json')).toMatchObject({ clean: true });
      expect(at.counts(level)).toEqual({ 't/a': 1, 't/b': 1 });
    }
    await at.restart();
    for (const level of LEVELS) await at.cellIs(level, 'completed');
    for (const level of LEVELS) expect(at.counts(level)).toEqual({ 't/a': 1, 't/b': 1, 't/c': 1 });
  });

  test('ends a step that takes too long: a safe one runs again, another one is in doubt', async () => {
    const at = await startNode();
    await atGates(at);
    const slow = task('t', [step('b', gate('g'), NEVER)]);
    at.drop(mission('never', [slow], { isolation_level: 'level_1' }));
    await at.waitsAt('never', 'g');
    await at.restart();
    await eventually(() => expect(at.doubt('never').step).toBe('b'));
    for (const level of LEVELS) at.open(level, 'g');
    for (const level of LEVELS) await at.cellIs(level, 'completed');
    for (const level of LEVELS) expect(at.counts(level)).toEqual({ 't/a': 1, 't/b': 2, 't/c': 1 });
    await at.settle('never', 'done');
    await at.cellIs('never', 'completed');
    expect(at.counts('never')).toEqual({ 't/b': 1 });
  });

  test('leaves files that say what is so, and nothing is written after it', async () => {
    const at = await startNode();
    at.drop(mission('c', [task('t', [step('a', gate('g'))]), task('u', [step('a')])]));
    await at.waitsAt('c', 'g');
    at.edit('c', 'tasks/u.json', { title: 'Edited at the last moment' });
    await at.stop();
    const before = ['cell.json', 'tasks/t.json', 'tasks/u.json'].map((f) => at.text('c', f));
    await expect.poll(() => existsSync(join(at.missions, '.lazarus/node.json'))).toBe(false);
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(['cell.json', 'tasks/t.json', 'tasks/u.json'].map((f) => at.text('c', f))).toEqual(
      before,
    );
    await at.restart();
    await eventually(() => expect(at.task('c', 'u').title).toBe('Edited at the last moment'));
  });
});

describe('a killed node', () => {
  test('the next one goes on: finished steps stay finished, what may have run is in doubt', async () => {
    const missions = temporaryMissions();
    const node = await startNodeProcess(missions);
    for (const level of LEVELS)
      dropInto(missions, mission(level, threeSteps(), { isolation_level: level }));
    const slow = task('t', [step('b', gate('g'), NEVER)]);
    dropInto(missions, mission('never', [slow], { isolation_level: 'level_1' }));
    const ids = [...LEVELS, 'never'];
    await eventually(() => {
      for (const id of ids) if (!existsSync(join(missions, id, 'artifacts/g.waiting'))) throw id;
    });
    await node.crash();
    const at = await startNode({}, missions);
    await eventually(() => expect(at.doubt('never').step).toBe('b'));
    for (const level of LEVELS) at.open(level, 'g');
    for (const level of LEVELS) await at.cellIs(level, 'completed');
    for (const level of LEVELS) expect(at.counts(level)).toEqual({ 't/a': 1, 't/b': 2, 't/c': 1 });
    await at.settle('never', 'not_started');
    at.open('never', 'g');
    await at.cellIs('never', 'completed');
    expect(at.counts('never')).toEqual({ 't/b': 2 });
  });
});

describe('a cell in another missions folder', () => {
  test('after a clean stop a copy goes on from its checkpoints, whatever the clocks of the two nodes say', async () => {
    const at = await startNode();
    await atGates(at);
    await at.tell('none', { type: 'cell.pause' });
    await at.cellIs('none', 'paused');
    await at.stop();
    const missions = missionsAged(90);
    for (const level of LEVELS) cpSync(at.path(level), join(missions, level), { recursive: true });
    const there = await startNode({}, missions);
    await there.cellIs('none', 'paused');
    for (const level of LEVELS) there.open(level, 'g');
    await there.tell('none', { type: 'cell.resume' });
    for (const level of LEVELS) await there.cellIs(level, 'completed');
    for (const level of LEVELS)
      expect(there.counts(level)).toEqual({ 't/a': 1, 't/b': 2, 't/c': 1 });
    const before = at.json('none', '.lazarus/owner.json');
    const after = there.json('none', '.lazarus/owner.json');
    expect(after['epoch']).toBeGreaterThan(Number(before['epoch']));
    expect(after['node']).not.toBe(before['node']);
  });

  test('a timeout in a copy counts what was used before, also when the old node was the older one', async () => {
    const at = await startNode({}, missionsAged(90));
    const limit = { timeout: 1, policies: { max_retries: 0 } };
    at.drop(mission('c', [task('t', [step('a', gate('g'))])], limit));
    await at.waitsAt('c', 'g');
    await at.stop();
    const there = await startNode();
    cpSync(at.path('c'), there.path('c'), { recursive: true });
    await there.cellIs('c', 'failed');
    expect(there.cell('c').reason).toBe('timeout: ran longer than 1 s');
  });

  test('a copy of a cell that was not left cleanly is held, with the reason', async () => {
    const { path } = await leftUnclean();
    const there = await startNode();
    cpSync(path, there.path('c'), { recursive: true });
    await eventually(() =>
      expect(there.node.status().held).toMatchObject([
        { what: 'c', reason: expect.stringContaining('did not stop cleanly') },
      ]),
    );
    await eventually(() =>
      expect(there.text('c', 'cell.json.error')).toContain('this cell is held: it was last run by'),
    );
    expect(there.counts('c')).toEqual({ 't/a': 1, 't/b': 1 });
    expect(there.node.status().cells).toEqual([]);
    rmSync(there.path('c'), { recursive: true });
    await eventually(() => expect(there.node.status().held).toEqual([]));
  });
});

describe('a folder', () => {
  test('that is renamed while its steps run goes on under its new name', async () => {
    const at = await startNode();
    await atGates(at, NEVER);
    for (const level of LEVELS) renameSync(at.path(level), at.path(`${level}-renamed`));
    for (const level of LEVELS)
      await eventually(() => expect(at.cell(level).path).toBe(at.path(`${level}-renamed`)));
    for (const level of LEVELS) at.open(`${level}-renamed`, 'g');
    for (const level of LEVELS)
      await at.fileSays(`${level}-renamed`, 'cell.json', { status: 'completed' });
    for (const level of LEVELS) {
      expect(at.counts(`${level}-renamed`)).toEqual({ 't/a': 1, 't/b': 1, 't/c': 1 });
      expect(existsSync(at.path(level))).toBe(false);
    }
    await at.restart();
    expect(at.cell('none').path).toBe(join(at.missions, 'none-renamed'));
    expect(at.cell('none').status).toBe('completed');
  });

  test('that is taken away ends its work; brought back, it repeats nothing that was finished', async () => {
    const at = await startNode();
    const elsewhere = temporaryMissions();
    await atGates(at);
    for (const level of LEVELS) renameSync(at.path(level), join(elsewhere, level));
    await eventually(() => expect(at.node.status().cells).toEqual([]));
    for (const level of LEVELS) expect(existsSync(at.path(level))).toBe(false);
    for (const level of LEVELS) {
      writeFileSync(join(elsewhere, level, 'artifacts/g.open'), '');
      renameSync(join(elsewhere, level), at.path(level));
    }
    for (const level of LEVELS) await at.cellIs(level, 'completed');
    for (const level of LEVELS) expect(at.counts(level)).toMatchObject({ 't/a': 1, 't/c': 1 });
  });
});

test('a folder that was taken away before a restart is held when it comes back, until the loss is accepted', async () => {
  const at = await startNode();
  const elsewhere = temporaryMissions();
  at.drop(mission('c', threeSteps()));
  await at.waitsAt('c', 'g');
  renameSync(at.path('c'), join(elsewhere, 'c'));
  await eventually(() => expect(at.node.status().cells).toEqual([]));
  await at.restart();
  await at.restart();
  renameSync(join(elsewhere, 'c'), at.path('c'));
  await eventually(() =>
    expect(at.text('c', 'cell.json.error')).toContain('newest records are gone'),
  );
  expect(at.node.status().held).toMatchObject([{ what: 'c' }]);
  expect(at.counts('c')).toEqual({ 't/a': 1, 't/b': 1 });
  rmSync(at.path('c', '.lazarus/owner.json'));
  at.open('c', 'g');
  await at.cellIs('c', 'completed');
  await eventually(() => expect(at.exists('c', 'cell.json.error')).toBe(false));
});

test('an agent that waits for a person is still waiting after its cell has moved', async () => {
  const at = await startNode();
  const more = {
    isolation_level: 'level_1',
    policies: { auto_revive: 'ask' },
    agents: [agent('lead')],
  };
  at.drop(mission('c', [task('t', [step('a', gate('g'))])], more));
  await at.waitsAt('c', 'g');
  await at.killWorker('c');
  await eventually(() => expect(at.revival('c').status).toBe('pending_approval'));
  await at.stop();
  const there = await startNode();
  cpSync(at.path('c'), join(there.missions, 'c'), { recursive: true });
  await eventually(() => expect(there.agent('c').status).toBe('failed'));
  await eventually(() => expect(there.revival('c').status).toBe('pending_approval'));
  there.open('c', 'g');
  await there.tellLazarus('c', { type: 'revival.approve', by: 'me' });
  await there.cellIs('c', 'completed');
});

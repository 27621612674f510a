/** A mission from its first file to its last: what an author sees in the folder. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CELL, put } from '../support/cell-files.ts';
import { eventually } from '../support/eventually.ts';
import { agent, gate, mission, startNode, step, task, temporaryMissions } from '../support/node.ts';

describe('a mission runs to completion', () => {
  test('as a folder, written file by file with cell.json first', async () => {
    const at = await startNode();
    const folder = join(at.missions, 'by-hand');
    mkdirSync(join(folder, 'agents'), { recursive: true });
    mkdirSync(join(folder, 'tasks'));
    put(folder, 'cell.json', { ...CELL, cell_id: 'by-hand', isolation_level: 'none' });
    put(folder, 'agents/lead.json', agent('lead'));
    put(folder, 'tasks/first.json', task('first', [step('one'), step('two')]));
    put(folder, 'tasks/second.json', task('second', [step('one')], { dependencies: ['first'] }));
    await at.cellIs('by-hand', 'completed');
    expect(at.runs('by-hand')).toEqual(['first/one', 'first/two', 'second/one']);
  });

  test('as one dropped file, which is kept', async () => {
    const at = await startNode();
    at.drop(mission('dropped', [task('only', [step('one')])]));
    await at.cellIs('dropped', 'completed');
    expect(at.runs('dropped')).toEqual(['only/one']);
    expect(readdirSync(join(at.missions, '.lazarus/dropped'))).toEqual(['dropped.json']);
    expect(at.exists('', 'dropped.json')).toBe(false);
  });

  test('as many files dropped at the moment the node starts, each taken once', async () => {
    const at = await startNode();
    const names = Array.from({ length: 6 }, (_, i) => `m${i}`);
    for (const name of names) at.drop(mission(name, [task('t', [step('one')])]));
    const { door } = at.node;
    const files = new Set(names.map((name) => `${name}.json`));
    await Promise.all([door.lookAtTop(files), door.lookAtTop(null), door.scanAll()]);
    for (const name of names) await at.cellIs(name, 'completed');
    for (const name of names) expect(at.runs(name)).toEqual(['t/one']);
    expect(readdirSync(at.missions).filter((name) => name.endsWith('.error'))).toEqual([]);
  });

  test('the files tell how it went, and keep what people wrote in its order', async () => {
    const at = await startNode();
    const only = {
      task_id: 'only',
      note: 'mine',
      status: 'pending',
      'x-team': { colour: 'blue' },
      title: 'Make it',
      artifacts: ['made.txt'],
      steps: [step('make', 'echo made > artifacts/made.txt'), step('wait', gate('g'))],
    };
    at.drop(mission('files', [only], { 'x-owner': [1, 'two'] }));
    await at.waitsAt('files', 'g');
    await at.fileSays('files', 'agents/lead.json', { status: 'active', current_task: 'only' });
    await at.taskIs('files', 'only', 'in_progress');
    at.open('files', 'g');
    await at.cellIs('files', 'completed');

    const file = await at.fileSays('files', 'tasks/only.json', { status: 'completed' });
    expect(file).toMatchObject({
      'x-team': { colour: 'blue' },
      assigned_to: 'lead',
      attempts: 1,
      artifacts: ['made.txt'],
      result: { stepsDone: 2, exitCode: 0, artifacts: ['made.txt'] },
    });
    expect(Object.keys(file).slice(0, 7)).toEqual(Object.keys(only));
    expect(Date.parse(String(file['completed_at']))).toBeGreaterThan(Date.now() - 60_000);
    expect(file['_rev']).toBeGreaterThan(1);
    expect(at.json('files', 'cell.json')).toMatchObject({
      'x-owner': [1, 'two'],
      status: 'completed',
    });

    const lead = await at.fileSays('files', 'agents/lead.json', {
      status: 'idle',
      current_task: null,
    });
    const context = at.text('files', 'checkpoints/lead/context.json');
    const hash = createHash('sha256').update(context).digest('hex');
    expect(lead['checkpoint']).toMatchObject({ context_hash: hash });
    expect(JSON.parse(context)).toMatchObject({ agent_id: 'lead', task_id: 'only', steps_done: 2 });
    await eventually(() =>
      expect(at.text('files', 'logs/mission.log')).toContain('task only: completed'),
    );
    expect(at.text('files', 'logs/lead.log')).toContain('only/make');
  });
});

describe('a file that cannot be accepted', () => {
  test('changes nothing, says why beside itself, and is taken in when it is mended', async () => {
    const at = await startNode();
    at.drop(mission('bad', [task('good', [step('one')])]));
    await at.cellIs('bad', 'completed');
    writeFileSync(at.path('bad', 'tasks/next.json'), '{"task_id": "next", "titel": 1');
    await eventually(() => expect(at.exists('bad', 'tasks/next.json.error')).toBe(true));
    expect(at.text('bad', 'tasks/next.json.error')).toContain('tasks/next.json');
    expect(at.cell('bad').tasks.map(({ task_id: id }) => id)).toEqual(['good']);
    at.write('bad', 'tasks/next.json', task('next', [step('one')]));
    await at.taskIs('bad', 'next', 'completed');
    await eventually(() => expect(at.exists('bad', 'tasks/next.json.error')).toBe(false));
    await at.cellIs('bad', 'completed');
  });

  test('leaves an earlier good version in force, also over a restart', async () => {
    const at = await startNode();
    at.drop(mission('kept', [task('t', [step('one', gate('g'))])]));
    await at.waitsAt('kept', 'g');
    await at.taskIs('kept', 't', 'in_progress');
    const before = at.json('kept', 'tasks/t.json');
    writeFileSync(at.path('kept', 'tasks/t.json'), 'not json');
    await eventually(() => expect(at.exists('kept', 'tasks/t.json.error')).toBe(true));
    at.open('kept', 'g');
    await eventually(() => expect(at.task('kept', 't').status).toBe('completed'));
    await at.restart();
    expect(at.task('kept', 't').status).toBe('completed');
    expect(at.text('kept', 'tasks/t.json')).toBe('not json');
    at.write('kept', 'tasks/t.json', { ...before, title: 'Mended' });
    await at.fileSays('kept', 'tasks/t.json', { title: 'Mended', status: 'completed' });
    await eventually(() => expect(at.exists('kept', 'tasks/t.json.error')).toBe(false));
    expect(at.counts('kept')).toEqual({ 't/one': 1 });
  });
});

test('what is being built when the node accepts work is left alone; what an earlier life left is removed', async () => {
  const missions = temporaryMissions();
  const [old, fresh] = ['.old.1234.building', '.demo.new.building'].map((name) =>
    join(missions, name),
  );
  mkdirSync(old ?? '', { recursive: true });
  const at = await startNode(
    {
      openDoors: () => {
        mkdirSync(join(fresh ?? '', 'agents'), { recursive: true });
        return Promise.resolve([]);
      },
    },
    missions,
  );
  await at.node.scanned;
  await at.node.door.scanAll();
  expect([old, fresh].map((path) => existsSync(path ?? ''))).toEqual([false, true]);
  expect(existsSync(join(fresh ?? '', 'agents'))).toBe(true);
});

/** `lazarus cell export|import` and `cell create --from`, as a person runs them: with the node up, and with it down. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { lockMissions } from '../../cells/lock.ts';
import { cellIs, lazarus, missionsFolder, nodeFileOf, slowStep } from '../support/cli.ts';
import { statusAt, up, writeCell } from '../support/cli.ts';
import type { Ended, Running } from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';
import { startNode } from '../support/node.ts';

const ran = (cell: string): string => readFileSync(join(cell, 'artifacts/ran.txt'), 'utf8');
const until = (check: () => unknown): Promise<unknown> => eventually(check, { timeoutMs: 15_000 });

/** A mission of three steps of which the second waits for the file `go`. */
function threeSteps(missions: string): string {
  const wait = 'echo two >> artifacts/ran.txt; while [ ! -e artifacts/go ]; do sleep 0.05; done';
  return writeCell(missions, 'c', {
    tasks: [
      {
        task_id: 't',
        steps: [
          slowStep('one', 0, 'never'),
          { name: 'two', run: ['sh', '-c', wait], retry: 'safe' },
          slowStep('three', 0, 'never'),
        ],
      },
    ],
  });
}

async function stopped(node: Running): Promise<void> {
  node.child.kill('SIGTERM');
  await node.ended;
}

async function well(asked: Promise<Ended>): Promise<Record<string, unknown>> {
  const { code, err, json } = await asked;
  expect(err).toBe('');
  expect(code).toBe(0);
  return json();
}

describe('a mission that moves', () => {
  test('given both nodes are up, when it is exported into the other folder, then it goes on there', async () => {
    const [here, there] = [missionsFolder(), missionsFolder()];
    const cell = threeSteps(here);
    await Promise.all([up(here), up(there)]);
    await until(() => expect(ran(cell)).toBe('one\ntwo\n'));
    writeFileSync(join(cell, 'artifacts/go'), ''); // the step in hand ends within the drain
    const answer = await well(lazarus(here, 'cell', 'export', 'c', '--to', there, '--json'));
    expect(answer).toMatchObject({ cell_id: 'c', fenced: true, to: join(there, 'c') });
    await cellIs(there, 'c', 'completed');
    expect(ran(join(there, 'c'))).toBe('one\ntwo\nthree\n');
    const status = await lazarus(here, 'status');
    expect(status.out).toContain('it was exported to');
    expect((await lazarus(here, 'cell', 'list', '--json')).json()).toEqual({ cells: [] });
  });

  test('given no node runs, when it is exported and imported by visits, then the next node goes on with it', async () => {
    const [here, there] = [missionsFolder(), missionsFolder()];
    const cell = threeSteps(here);
    const node = await startNode({}, here); // one that does not wait ten seconds for the step in hand
    await until(() => expect(ran(cell)).toBe('one\ntwo\n'));
    await node.stop();
    await well(lazarus(here, 'cell', 'export', 'c', '--json'));
    expect((await lazarus(here, 'fsck')).out).toContain('0 warnings');
    const down = (await lazarus(here, 'status', '--json')).json();
    expect(down).toMatchObject({
      node: { state: 'stopped' },
      cells: [],
      held: [{ what: 'c', reason: expect.stringContaining('it was exported at') }],
    });
    const answer = await lazarus(there, 'cell', 'import', cell);
    expect(answer).toMatchObject({ code: 0, err: '' });
    expect(answer.out).toContain(`cell c: ${join(there, 'c')}`);
    expect(answer.out).toContain('cannot be fenced');
    writeFileSync(join(there, 'c/artifacts/go'), '');
    await up(there);
    await cellIs(there, 'c', 'completed');
    expect(ran(join(there, 'c'))).toBe('one\ntwo\ntwo\nthree\n');
    await up(here);
    await until(async () => expect(await statusAt(here)).toMatchObject({ held: [{ what: 'c' }] }));
    expect(ran(cell)).toBe('one\ntwo\n');
  });

  test('given its node was killed, then an import says what is missing, and how to go on without', async () => {
    const [here, there] = [missionsFolder(), missionsFolder()];
    const cell = threeSteps(here);
    const node = await up(here);
    await until(() => expect(ran(cell)).toBe('one\ntwo\n'));
    node.child.kill('SIGKILL');
    await node.ended;
    const refused = await lazarus(there, 'cell', 'import', cell);
    expect(refused.code).toBe(1);
    expect(refused.err).toMatch(/Error: cell c is not complete: node .* did not stop cleanly/);
    expect(refused.err).toMatch(/Try: .*lazarus cell import .* --accept-loss/);
    expect(existsSync(join(there, 'c'))).toBe(false);
    const taken = await lazarus(there, 'cell', 'import', cell, '--accept-loss');
    expect(taken.err).toBe('');
    expect(taken.out).toContain('given up: node');
    writeFileSync(join(there, 'c/artifacts/go'), '');
    await up(there);
    await cellIs(there, 'c', 'completed');
    expect(ran(join(there, 'c')).match(/one|three/g)).toEqual(['one', 'three']);
  });
});

test('given the folder of a mission that was run, when another is created from it, then that one begins at the beginning', async () => {
  const missions = missionsFolder();
  const step = slowStep('one', 0, 'never');
  writeCell(missions, 'old', {
    agents: ['worker', 'helper'],
    tasks: [
      { task_id: 'wished', assigned_to: 'helper', steps: [step] },
      { task_id: 'free', dependencies: ['wished'], steps: [step] },
    ],
  });
  const node = await up(missions);
  await cellIs(missions, 'old', 'completed');
  await stopped(node);
  await well(
    lazarus(missions, 'cell', 'create', '--from', join(missions, 'old'), '--id', 'new', '--json'),
  );
  const read = (path: string): Record<string, unknown> =>
    JSON.parse(readFileSync(join(missions, 'new', path), 'utf8')) as Record<string, unknown>;
  expect(read('cell.json')).toMatchObject({ cell_id: 'new', status: 'active' });
  const ofARun = ['status', 'completed_at', 'blocked_reason', 'attempts', 'result', '_rev'];
  for (const path of ['tasks/wished.json', 'tasks/free.json'])
    for (const field of ofARun) expect(read(path)).not.toHaveProperty(field);
  expect(read('tasks/wished.json')['assigned_to']).toBe('helper');
  expect(read('tasks/free.json')).not.toHaveProperty('assigned_to');
  for (const field of ['status', 'current_task', 'checkpoint', '_rev'])
    expect(read('agents/helper.json')).not.toHaveProperty(field);
  expect(existsSync(join(missions, 'new/artifacts/logs'))).toBe(false);
  expect(existsSync(join(missions, 'new/checkpoints/helper'))).toBe(false);
  await up(missions);
  await until(() => expect(read('cell.json')['status']).toBe('completed'));
  expect(ran(join(missions, 'new'))).toBe('one\none\none\none\n'); // two of them came with the model
});

test('given a node that has the lock and no node.json yet, then the status says that it is starting', async () => {
  const missions = missionsFolder();
  writeCell(missions, 'c', { tasks: [{ task_id: 't' }] });
  await stopped(await up(missions));
  expect((await lazarus(missions, 'status', '--json')).json()).toMatchObject({
    running: false,
    node: { state: 'stopped' },
  });
  const lock = lockMissions(join(missions, '.lazarus/lock'), nodeFileOf(missions));
  onTestFinished(() => lock.release());
  expect((await lazarus(missions, 'status', '--json')).json()).toMatchObject({
    running: false,
    node: { state: 'starting', pid: null },
    cells: [{ cell_id: 'c' }],
  });
  expect((await lazarus(missions, 'status')).out).toContain('starting');
});

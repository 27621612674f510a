/** The same verbs while no node runs: looking changes nothing, and asking is a visit under the lock. */
import { cpSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, expect, test } from 'vitest';
import { hashArgv } from '../../actors/step-files.ts';
import { cellIs, lazarus, missionsFolder, slowStep, up, writeCell } from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';

/** Path, size and time of change of everything below a folder, but for what a dying worker may still put aside for V8. */
function picture(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(
      (entry) =>
        !entry.isSocket() && !join(entry.parentPath, entry.name).includes('/compile-cache'),
    )
    .filter((entry) => entry.name !== '.lazarus')
    .map((entry) => {
      const path = join(entry.parentPath, entry.name);
      const { size, mtimeMs } = statSync(path);
      return `${relative(folder, path)} ${size} ${mtimeMs}`;
    })
    .toSorted();
}

/** A step that leaves a line each time it runs, and then waits for the file `go`. */
const send = {
  name: 'send',
  run: [
    'sh',
    '-c',
    'echo send >> artifacts/ran.txt; while [ ! -e artifacts/go ]; do sleep 0.05; done',
  ],
  retry: 'never',
};

/** A node that was killed in the middle of the step `send`. */
async function killedInStep(): Promise<{ missions: string; cell: string }> {
  const missions = missionsFolder();
  const cell = writeCell(missions, 'c', {
    tasks: [{ task_id: 't', steps: [send, slowStep('after', 0, 'safe')] }],
  });
  const node = await up(missions);
  await eventually(() => expect(ran(cell)).toBe('send\n'), { timeoutMs: 15_000 });
  node.child.kill('SIGKILL');
  await node.ended;
  return { missions, cell };
}

const ran = (cell: string): string => readFileSync(join(cell, 'artifacts/ran.txt'), 'utf8');

describe('after the node was killed in the middle of a step', () => {
  test('the status shows nothing as running, lists the doubt, and writes nothing', async () => {
    const { missions } = await killedInStep();
    const before = picture(missions);
    const status = await lazarus(missions, 'status', '--json');
    expect(status.code).toBe(0);
    expect(status.json()).toMatchObject({
      running: false,
      node: { state: 'stopped', pid: null },
      cells: [
        {
          cell_id: 'c',
          agents: [{ status: 'idle', pid: null, current_task: 't' }],
          tasks: [{ status: 'in_progress', steps_done: 0, steps_total: 2, current_step: 'send' }],
        },
      ],
      in_doubt: [{ task_id: 't', step: 'send', choices: ['done', 'retry', 'fail'] }],
    });
    expect((await lazarus(missions, 'status')).out).toContain('idle (not running)');
    for (const words of [
      ['cell', 'list'],
      ['cell', 'show', 'c'],
      ['doubt', 'list'],
      ['events'],
      ['logs', 'c'],
    ])
      expect(await lazarus(missions, ...words)).toMatchObject({ code: 0, err: '' });
    expect(picture(missions)).toEqual(before);
  });

  test.each([
    ['done', 'send\nafter\n', 'completed'],
    ['retry', 'send\nsend\nafter\n', 'completed'],
    ['fail', 'send\n', 'failed'],
  ] as const)('a doubt settled as %s counts at the next start', async (answer, expected, end) => {
    const { missions, cell } = await killedInStep();
    const settled = await lazarus(missions, 'doubt', answer, 't', '--json');
    expect(settled).toMatchObject({ code: 0, err: '' });
    expect(settled.json()).toMatchObject({ settled: answer, step: 'send' });
    expect((await lazarus(missions, 'doubt', 'list')).out).toContain('Nothing is in doubt');
    writeFileSync(join(cell, 'artifacts/go'), '');
    await up(missions);
    await cellIs(missions, 'c', end);
    expect((await lazarus(missions, 'status', '--json')).json()).toMatchObject({
      cells: [{ tasks: [{ status: end }] }],
      in_doubt: [],
    });
    expect(ran(cell)).toBe(expected);
  });

  test('a step whose worker wrote down how it ended is not in doubt', async () => {
    const { missions, cell } = await killedInStep();
    const { in_doubt: doubts } = (
      await lazarus(missions, 'status', '--json')
    ).json() as unknown as {
      in_doubt: { key: string }[];
    };
    const outcome = {
      key: doubts[0]?.key,
      argv_sha256: hashArgv(send.run),
      attempt: 1,
      exit_code: 0,
      signal: null,
      timed_out: false,
      started_at: '2026-01-01T00:00:00Z',
      finished_at: '2026-01-01T00:00:01Z',
    };
    writeFileSync(join(cell, 'artifacts/logs/t/send.1.outcome.json'), JSON.stringify(outcome));
    expect((await lazarus(missions, 'doubt', 'list', '--json')).json()).toEqual({ in_doubt: [] });
    expect((await lazarus(missions, 'doubt', 'done', 't')).code).toBe(1);
    await up(missions);
    await cellIs(missions, 'c', 'completed');
    expect(ran(cell)).toBe('send\nafter\n');
  });

  test('killing a worker needs a node', async () => {
    const { missions } = await killedInStep();
    const { code, err } = await lazarus(missions, 'agent', 'kill', 'worker');
    expect(code).toBe(1);
    expect(err).toContain('no node runs');
  });
});

describe('before any node ran', () => {
  test('a mission that was made is listed, and waits for the first start', async () => {
    const missions = missionsFolder();
    expect((await lazarus(missions, 'status')).out).toContain('No missions');
    expect((await lazarus(missions, 'cell', 'create', 'New', '--id', 'new')).out).toContain(
      'next `lazarus up`',
    );
    cpSync(join(import.meta.dirname, '../../examples/hello.json'), join(missions, 'hello.json'));
    const status = await lazarus(missions, 'status', '--json');
    expect(status.json()).toMatchObject({
      cells: [{ cell_id: 'new', status: 'active' }],
      held: [{ what: 'hello.json' }],
    });
    expect(existsSync(join(missions, '.lazarus'))).toBe(false);
  });

  test('a pause asked for by a visit holds at the next start', async () => {
    const missions = missionsFolder();
    const cell = writeCell(missions, 'c', {
      tasks: [{ task_id: 't', steps: [slowStep('go', 0, 'safe')] }],
    });
    expect((await lazarus(missions, 'cell', 'pause', 'c', '--json')).json()).toMatchObject({
      status: 'paused',
    });
    expect(JSON.parse(readFileSync(join(cell, 'cell.json'), 'utf8'))).toMatchObject({
      status: 'paused',
    });
    await up(missions);
    expect((await lazarus(missions, 'status', '--json')).json()).toMatchObject({
      cells: [{ status: 'paused' }],
    });
    expect(existsSync(join(cell, 'artifacts/ran.txt'))).toBe(false);
    expect((await lazarus(missions, 'cell', 'resume', 'c')).code).toBe(0);
    await cellIs(missions, 'c', 'completed');
  });

  test('a missions folder that is not there is said to be missing, and is not made', async () => {
    const missions = join(missionsFolder(), 'none');
    for (const words of [['status'], ['cell', 'pause', 'c'], ['events']]) {
      const { code, err } = await lazarus(missions, ...words);
      expect(code).toBe(1);
      expect(err).toContain(`there is no missions folder ${missions}`);
    }
    expect(existsSync(missions)).toBe(false);
  });
});

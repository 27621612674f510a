/** Every verb against a node that runs. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { lazarus, missionsFolder, Running, slowStep } from '../support/cli.ts';
import { statusAt, up, writeCell } from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';

interface Agent {
  agent_id: string;
  status: string;
  pid: number | null;
  revivals: number;
}
interface Task {
  task_id: string;
  status: string;
  current_step: string | null;
  blocked_reason: string | null;
}
interface Cell {
  cell_id: string;
  status: string;
  agents: Agent[];
  tasks: Task[];
}
interface Status {
  node: { state: string };
  cells: Cell[];
  in_doubt: { key: string; task_id: string; choices: string[] }[];
  revivals: { status: string }[];
}

const statusOf = (missions: string): Promise<Status> => statusAt<Status>(missions);
async function taskOf(missions: string, cellId: string, taskId: string): Promise<Task> {
  const { cells } = await statusOf(missions);
  const cell = cells.find(({ cell_id: id }) => id === cellId);
  return cell?.tasks.find(({ task_id: id }) => id === taskId) as Task;
}
const until = (check: () => Promise<unknown>) => eventually(check, { timeoutMs: 15_000 });

describe('with a node that runs', () => {
  test('missions, agents and tasks are made, looked at, paused, resumed and cancelled', async () => {
    const missions = missionsFolder();
    await up(missions);
    const run = async (...args: string[]) => {
      const { code, err, json } = await lazarus(missions, ...args, '--json');
      expect(err).toBe('');
      expect(code).toBe(0);
      return json();
    };
    expect(await run('cell', 'create', 'A mission', '--id', 'made')).toMatchObject({
      cell_id: 'made',
      path: join(missions, 'made'),
      taken_in: true,
    });
    expect(await run('agent', 'add', 'made', 'worker', '--role', 'lead')).toMatchObject({
      taken_in: true,
    });
    expect(await run('cell', 'pause', 'made')).toMatchObject({ status: 'paused' });
    const step = ['--step', 'hello=echo hello > artifacts/hello.txt', '--retry', 'safe'];
    expect(await run('task', 'add', 'made', 'say', '--assign', 'worker', ...step)).toMatchObject({
      task_id: 'say',
      taken_in: true,
    });
    expect(await run('agent', 'pause', 'worker')).toMatchObject({ status: 'paused' });
    expect(await run('cell', 'resume', 'made')).toMatchObject({ status: 'active' });
    expect(await run('task', 'cancel', 'say', '--reason', 'not yet')).toMatchObject({
      status: 'failed',
    });
    expect(await run('agent', 'resume', 'worker')).toMatchObject({ agent_id: 'worker' });
    expect(await run('task', 'retry', 'made/say')).toMatchObject({ task_id: 'say' });
    await until(async () =>
      expect(await taskOf(missions, 'made', 'say')).toMatchObject({ status: 'completed' }),
    );
    expect(readFileSync(join(missions, 'made/artifacts/hello.txt'), 'utf8')).toBe('hello\n');
    expect(await run('cell', 'list')).toMatchObject({
      cells: [{ cell_id: 'made', tasks_completed: 1 }],
    });
    expect(await run('cell', 'show', 'made')).toMatchObject({
      cell_id: 'made',
      status: 'completed',
      in_doubt: [],
    });
    expect((await lazarus(missions, 'cell', 'cancel', 'made')).code).toBe(1); // completed: nothing to cancel
    expect((await lazarus(missions, 'status')).out).toContain('1/1 tasks');
  });

  test('a bare id that stands in two missions names both, one that stands in none names what is near', async () => {
    const missions = missionsFolder();
    writeCell(missions, 'first', { agents: ['writer'] });
    writeCell(missions, 'second', { agents: ['writer'] });
    await up(missions);
    await until(async () => expect((await statusOf(missions)).cells).toHaveLength(2));
    const ambiguous = await lazarus(missions, 'agent', 'pause', 'writer', '--json');
    expect(ambiguous.code).toBe(2);
    expect(ambiguous.err).toContain('first/writer, second/writer');
    expect(ambiguous.json()).toMatchObject({ error: { code: 'AMBIGUOUS_ID' } });
    expect(await lazarus(missions, 'agent', 'pause', 'first/writer')).toMatchObject({ code: 0 });
    const unknown = await lazarus(missions, 'agent', 'pause', 'second/writter');
    expect(unknown.code).toBe(1);
    expect(unknown.err).toBe(
      'Error: cell second has no agent writter\nTry: Did you mean writer?\n',
    );
    expect((await lazarus(missions, 'cell', 'show', 'seco')).code).toBe(0); // the beginning of one id
    expect((await lazarus(missions, 'cell', 'show', 'thrid')).code).toBe(1);
  });

  test('a killed worker: the policy asks, a person revives, and its step that may have run is settled', async () => {
    const missions = missionsFolder();
    const cell = writeCell(missions, 'c', {
      tasks: [
        { task_id: 't', steps: [slowStep('send', 3, 'never'), slowStep('after', 0, 'safe')] },
      ],
    });
    await up(missions);
    const inStep = async () =>
      expect(await taskOf(missions, 'c', 't')).toMatchObject({ current_step: 'send' });
    await until(inStep);
    await until(async () =>
      expect(readFileSync(join(cell, 'artifacts/ran.txt'), 'utf8')).toBe('send\n'),
    );
    expect((await lazarus(missions, 'agent', 'revive', 'worker')).err).toContain('has not failed');
    const killed = await lazarus(missions, 'agent', 'kill', 'worker', '--json');
    expect(killed.json()).toMatchObject({ agent_id: 'worker', pid: expect.any(Number) });
    await until(async () => {
      const { in_doubt: doubts, revivals } = await statusOf(missions);
      expect(doubts).toMatchObject([{ task_id: 't', choices: ['done', 'retry', 'fail'] }]);
      expect(revivals).toMatchObject([{ status: 'pending_approval' }]);
    });
    const { out } = await lazarus(missions, 'status');
    expect(out).toContain('lazarus doubt done|retry|fail t');
    expect(out).toContain('lazarus revivals show worker');
    const again = await lazarus(missions, 'agent', 'kill', 'worker');
    expect(again).toMatchObject({
      code: 1,
      err: expect.stringContaining('has no worker that runs'),
    });
    expect((await lazarus(missions, 'agent', 'revive', 'worker')).code).toBe(0);
    expect((await lazarus(missions, 'doubt', 'list')).out).toContain('send');
    const settled = await lazarus(missions, 'doubt', 'done', 't', '--json');
    expect(settled.json()).toMatchObject({
      settled: 'done',
      step: 'send',
      by: expect.stringContaining('command line'),
    });
    await until(async () =>
      expect(await taskOf(missions, 'c', 't')).toMatchObject({ status: 'completed' }),
    );
    expect(readFileSync(join(cell, 'artifacts/ran.txt'), 'utf8')).toBe('send\nafter\n');
    expect((await lazarus(missions, 'doubt', 'done', 't')).code).toBe(1);
    expect((await statusOf(missions)).cells[0]?.agents[0]).toMatchObject({ revivals: 1 });
  });

  test('a success criterion without a command waits for a person', async () => {
    const missions = missionsFolder();
    writeCell(missions, 'c', {
      tasks: [{ task_id: 't', steps: [{ name: 'go', run: ['true'], retry: 'safe' }] }],
      more: { success_criteria: [{ name: 'The editor likes it' }] },
    });
    await up(missions);
    const waits = 'criterion The editor likes it waits for a person to confirm it';
    await until(async () =>
      expect((await statusOf(missions)).cells).toMatchObject([{ reason: waits }]),
    );
    expect((await lazarus(missions, 'status')).out).toContain('lazarus cell show c');
    expect((await lazarus(missions, 'cell', 'show', 'c')).out).toContain(
      'lazarus cell confirm c "The editor likes it"',
    );
    const confirmed = await lazarus(
      missions,
      'cell',
      'confirm',
      'c',
      'The editor likes it',
      '--json',
    );
    expect(confirmed.json()).toMatchObject({ cell_id: 'c', status: 'completed' });
  });

  test('events are followed record by record, logs line by line', async () => {
    const missions = missionsFolder();
    await up(missions);
    const events = Running.of(missions, 'events', '-f', '--json');
    const logs = Running.of(missions, 'logs', '-f');
    const watch = Running.of(missions, 'status', '--watch');
    await until(async () => expect(watch.out).toContain('node: running'));
    writeCell(missions, 'c', {
      tasks: [{ task_id: 't', steps: [{ name: 'go', run: ['echo', 'said'], retry: 'safe' }] }],
    });
    await until(async () => {
      expect(events.out).toContain('"type":"task.finished"');
      expect(logs.out).toContain('task t: completed');
      expect(watch.out).toContain('mission "c": completed');
    });
    const seqs = new Map<string, number>();
    for (const line of events.lines()) {
      const { address, seq } = JSON.parse(line) as { address: string; seq: number };
      expect(seq).toBe((seqs.get(address) ?? 0) + 1);
      seqs.set(address, seq);
    }
    const agentLog = await lazarus(missions, 'logs', 'c', 'worker', '--json');
    const lines = (agentLog.json() as unknown as { lines: { text: string }[] }).lines;
    expect(lines.map(({ text }) => text).join('\n')).toContain('out| said');
    const past = await lazarus(missions, 'events', 'c');
    const document = await lazarus(missions, 'events', 'c', '--json');
    const history = (document.json() as unknown as { events: { type: string }[] }).events;
    expect(history.map(({ type }) => type)).toContain('task.finished');
    expect(past.out.trim().split('\n').length).toBeGreaterThan(5);
    for (const { child } of [events, logs, watch]) child.kill('SIGINT');
    for (const { ended } of [events, logs, watch]) expect((await ended).code).toBe(0);
  });
});

describe('files that people write', () => {
  test('are checked without a node: file, line, place and what to write instead', async () => {
    const missions = missionsFolder();
    const cell = writeCell(missions, 'c', { tasks: [{ task_id: 't', dependencies: ['nobody'] }] });
    const good = await lazarus(null, 'cell', 'validate', cell, '--json');
    expect(good).toMatchObject({ code: 0 });
    expect(good.json()).toMatchObject({
      valid: true,
      warnings: ['task t: waits for nobody, which does not exist'],
    });
    writeFileSync(
      join(cell, 'tasks/bad.json'),
      '{\n "task_id": "bad",\n "title": "x",\n "priority": "hihg"\n}',
    );
    const bad = await lazarus(null, 'cell', 'validate', cell, '--json');
    expect(bad.code).toBe(2);
    expect(bad.json()).toMatchObject({
      valid: false,
      problems: [{ file: join(cell, 'tasks/bad.json'), line: 4, pointer: '/priority' }],
    });
    const text = await lazarus(null, 'cell', 'validate', join(cell, 'tasks/bad.json'));
    expect(text).toMatchObject({
      code: 2,
      out: expect.stringContaining('tasks/bad.json:4 /priority'),
    });
  });

  test('never take the place of others, and bad ones are not written', async () => {
    const missions = missionsFolder();
    writeCell(missions, 'c');
    expect(await lazarus(missions, 'cell', 'create', 'Other', '--id', 'c')).toMatchObject({
      code: 1,
    });
    expect(await lazarus(missions, 'agent', 'add', 'c', 'worker')).toMatchObject({ code: 1 });
    expect(await lazarus(missions, 'task', 'add', 'c', '../t')).toMatchObject({ code: 2 });
    expect(await lazarus(missions, 'task', 'add', 'c', 't', '--step', 'nonsense')).toMatchObject({
      code: 2,
    });
    expect(await lazarus(missions, 'cell', 'create')).toMatchObject({ code: 2 });
    expect(
      await lazarus(missions, 'cell', 'create', '--from', join(missions, 'none')),
    ).toMatchObject({ code: 2 });
    const made = await lazarus(missions, 'cell', 'create', '--template', 'release-notes', '--json');
    const { cell_id: id } = made.json() as { cell_id: string };
    const copy = JSON.parse(readFileSync(join(missions, id, 'cell.json'), 'utf8')) as object;
    expect(copy).toMatchObject({ cell_id: id, status: 'active' });
    expect((await lazarus(null, 'cell', 'validate', join(missions, id))).code).toBe(0);
  });
});

describe('usage', () => {
  const VERBS = [
    ...['up', 'demo', 'status', 'logs', 'events'].map((name) => [name]),
    ...['create', 'list', 'show', 'pause', 'resume', 'cancel', 'validate'].map((name) => [
      'cell',
      name,
    ]),
    ...['add', 'revive', 'kill', 'pause', 'resume'].map((name) => ['agent', name]),
    ...['add', 'retry', 'cancel'].map((name) => ['task', name]),
    ...['list', 'done', 'retry', 'fail'].map((name) => ['doubt', name]),
  ];

  test('every verb has help with an example', async () => {
    for (let at = 0; at < VERBS.length; at += 4)
      await Promise.all(
        VERBS.slice(at, at + 4).map(async (words) => {
          const { code, out } = await lazarus(null, ...words, '--help');
          expect(code).toBe(0);
          expect(out).toContain(`$ lazarus ${words.join(' ')}`);
          expect(out).toContain('--json');
        }),
      );
  });

  test.each([
    [[], 'a verb is missing'],
    [['stat'], 'Did you mean status?'],
    [['cell'], 'a verb is missing'],
    [['cell', 'mend'], "unknown command 'mend'"],
    [['cell', 'show'], "missing required argument 'cell'"],
    [['status', '--frob'], "unknown option '--frob'"],
  ])('%j is told what is wrong and exits 2', async (words, message) => {
    const { code, err } = await lazarus(null, ...words);
    expect(code).toBe(2);
    if (words.length === 0) return expect(err).toContain('Usage: lazarus');
    expect(err).toContain(message);
    expect(err).toMatch(/Error: .*\nTry: lazarus/);
  });
});

import { describe, expect, test } from 'vitest';
import { agentAddress, cellAddress } from '../../machines/addresses.ts';
import { mergeChange } from '../../machines/cell-files.ts';
import { changedPaths, projectFiles } from '../../machines/projection.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { FileChange } from '../../machines/mission.ts';
import { CELL, EXIT_0, EXIT_2, MachineWorld, SMOOTH } from '../support/machine-world.ts';
import { agentFile, cellFile, configFile, gone, taskFile } from '../support/machine-world.ts';

const cell = cellAddress(CELL);
const a = agentAddress(CELL, 'a');
const SAFE = { steps: [{ name: 'only', run: ['true'], retry: 'safe' }] };
const TWO_STEPS = { steps: ['one', 'two'].map((name) => ({ name, run: [name] })) };

function worldOf(...changes: FileChange[]): MachineWorld {
  const world = new MachineWorld();
  world.files(...changes);
  return world;
}

/** The file as it is now, with a person's change: made from the present projection. */
function edited(world: MachineWorld, change: FileChange, edit: JsonObject): FileChange {
  return { ...change, content: { ...world.file(change.path), ...edit } };
}

/** Brings an agent with a task to the point where its step runs. */
function beginStep(world: MachineWorld, agentId = 'a'): void {
  world.done(agentAddress(CELL, agentId), 'beginContext', SMOOTH.beginContext);
}

describe('a mission from files to completion', () => {
  test('given a cell, agents and tasks, work is given out in order until all is completed', () => {
    const world = worldOf(
      cellFile(),
      agentFile('a'),
      taskFile('second', { dependencies: ['first'] }),
      taskFile('first'),
    );
    expect(world.task('first')).toMatchObject({ status: 'in_progress', assigned_to: 'a' });
    expect(world.task('second')).toMatchObject({ status: 'pending', assigned_to: null });
    world.run({ ...SMOOTH, step: EXIT_0 });
    expect(world.file('cell.json')['status']).toBe('completed');
    expect(world.task('second')).toMatchObject({
      status: 'completed',
      attempts: 1,
      completed_at: new Date(world.clock.at).toISOString(),
    });
    expect(world.file('agents/a.json')).toMatchObject({ status: 'idle', current_task: null });
  });

  test('files in any order and in events of their own come to the same end', () => {
    const world = worldOf(taskFile('t'));
    world.files(agentFile('a'));
    expect(world.actor(cell).value).toBe('loading');
    world.files(cellFile());
    expect(world.task('t')['status']).toBe('in_progress');
  });

  test('a cell without tasks is not completed', () => {
    expect(worldOf(cellFile(), agentFile('a')).file('cell.json')['status']).toBe('active');
  });

  test('two agents share the work, one task at a time each (C1)', () => {
    const world = worldOf(
      cellFile(),
      agentFile('a'),
      agentFile('b'),
      ...['1', '2', '3'].map((id) => taskFile(id)),
    );
    expect(['1', '2', '3'].map((id) => world.task(id)['assigned_to'])).toEqual(['a', 'b', null]);
  });

  test('a task without steps hands the task to the agent’s command', () => {
    const runner = { kind: 'command', run: ['./work'] };
    const world = worldOf(
      cellFile(),
      agentFile('a', { runner }),
      taskFile('t', { steps: [], extra: 7 }),
    );
    beginStep(world);
    const input = world.agent('a').running.get('step')?.input;
    expect(input?.['step']).toEqual({ name: 'run', run: ['./work'], retry: 'never' });
    expect(JSON.parse(String(input?.['stdin']))).toMatchObject({
      task_id: 't',
      extra: 7,
      attempt: 1,
    });
  });

  test('more agents than max_agents: the rest is not started, and starts when there is room', () => {
    const world = worldOf(cellFile({ max_agents: 1 }), agentFile('a'), agentFile('b'));
    expect(world.actors.has(agentAddress(CELL, 'b'))).toBe(false);
    expect(world.file('agents/b.json')['status_reason']).toContain('max_agents is 1');
    world.files(gone(agentFile('a')));
    expect(world.actors.has(agentAddress(CELL, 'b'))).toBe(true);
    expect(world.file('agents/b.json')['status_reason']).toBeUndefined();
  });
});

describe('what was there before is taken as it is', () => {
  test('a completed task stays completed and its dependants go on', () => {
    const world = worldOf(
      cellFile(),
      agentFile('a'),
      taskFile('done', { status: 'completed', completed_at: '2026-01-01T00:00:00Z' }),
      taskFile('next', { dependencies: ['done'] }),
    );
    expect(world.task('done')).toMatchObject({
      status: 'completed',
      completed_at: '2026-01-01T00:00:00Z',
    });
    expect(world.task('next')['status']).toBe('in_progress');
  });

  test.each<[string, JsonObject, string]>([
    ['paused', { status: 'paused' }, 'paused'],
    ['completed', { status: 'completed' }, 'completed'],
    ['failed', { status: 'failed' }, 'failed'],
  ])('a cell that was %s stays so, with its tasks untouched', (_, file, status) => {
    const world = worldOf(cellFile(file), agentFile('a'), taskFile('t'));
    expect(world.file('cell.json')['status']).toBe(status);
    expect(world.task('t')['status']).toBe('pending');
  });

  test('a new task makes a completed cell active again (F3)', () => {
    const world = worldOf(cellFile({ status: 'completed' }), agentFile('a'));
    world.files(taskFile('more'));
    expect(world.file('cell.json')['status']).toBe('active');
    expect(world.task('more')['status']).toBe('in_progress');
  });
});

describe('failure of a task', () => {
  test('given only safe steps, it is tried again up to max_retries, then failed for good', () => {
    const world = worldOf(
      cellFile({ policies: { max_retries: 2 } }),
      agentFile('a'),
      taskFile('t', SAFE),
    );
    world.run({ ...SMOOTH, step: EXIT_2 });
    expect(world.task('t')).toMatchObject({
      status: 'failed',
      attempts: 3,
      blocked_reason: 'step only exited with code 2',
    });
    expect(world.file('cell.json')).toMatchObject({
      status: 'failed',
      status_reason: 'task t failed (step only exited with code 2) and nothing else can go on',
    });
  });

  test('given a step that is not safe, it is not tried again by itself', () => {
    const world = worldOf(cellFile(), agentFile('a'), taskFile('t'));
    world.run({ ...SMOOTH, step: EXIT_2 });
    expect(world.task('t')).toMatchObject({ status: 'failed', attempts: 1 });
  });

  test('while another task can go on, the cell is not failed', () => {
    const world = worldOf(cellFile(), agentFile('a'), taskFile('1'), taskFile('2'));
    beginStep(world);
    world.done(a, 'step', EXIT_2);
    expect(world.file('cell.json')['status']).toBe('active');
    expect(world.task('2')['status']).toBe('in_progress');
  });

  test('what waits for it says so, and goes on when a retry succeeds', () => {
    const world = worldOf(
      cellFile(),
      agentFile('a'),
      taskFile('1'),
      taskFile('2', { dependencies: ['1'] }),
    );
    world.run({ ...SMOOTH, step: EXIT_2 });
    expect(world.task('2')['blocked_reason']).toBe('waits for 1, which failed');
    world.tell({ type: 'task.retry', taskId: '1' });
    expect(world.task('1')).toMatchObject({ status: 'in_progress', attempts: 2 });
    expect(world.task('2')['blocked_reason']).toBeUndefined();
    world.run({ ...SMOOTH, step: EXIT_0 });
    expect(world.file('cell.json')['status']).toBe('completed');
  });

  test('a retry keeps the steps that are done, unless they were edited (C4)', () => {
    const task = taskFile('t', TWO_STEPS);
    const world = worldOf(cellFile(), agentFile('a'), task);
    const failSecond = (): void => {
      beginStep(world);
      world.done(a, 'step', EXIT_0);
      world.done(a, 'step', EXIT_2);
    };
    failSecond();
    world.tell({ type: 'task.retry', taskId: 't' });
    beginStep(world);
    expect(world.agent('a').running.get('step')?.input['stepIndex']).toBe(1);
    world.done(a, 'step', EXIT_2);
    world.files(
      edited(world, task, { steps: [{ name: 'one', run: ['new'] }, TWO_STEPS.steps[1] ?? {}] }),
    );
    world.tell({ type: 'task.retry', taskId: 't' });
    beginStep(world);
    expect(world.agent('a').running.get('step')?.input['stepIndex']).toBe(0);
  });

  test('a retry by a person counts on, and gives new automatic retries', () => {
    const world = worldOf(
      cellFile({ policies: { max_retries: 1 } }),
      agentFile('a'),
      taskFile('t', SAFE),
    );
    world.run({ ...SMOOTH, step: EXIT_2 });
    expect(world.task('t')['attempts']).toBe(2);
    world.tell({ type: 'task.retry', taskId: 't' });
    world.run({ ...SMOOTH, step: EXIT_2 });
    expect(world.task('t')).toMatchObject({ status: 'failed', attempts: 4 });
  });
});

describe('refused requests change nothing', () => {
  const finished = (): MachineWorld => {
    const world = worldOf(cellFile(), agentFile('a'), taskFile('t'));
    world.run({ ...SMOOTH, step: EXIT_0 });
    return world;
  };
  test.each<[string, Parameters<MachineWorld['tell']>[0], string]>([
    ['retry of a completed task', { type: 'task.retry', taskId: 't' }, 'CONFLICT'],
    ['cancel of a completed task', { type: 'task.cancel', taskId: 't', reason: 'x' }, 'CONFLICT'],
    ['retry of an unknown task', { type: 'task.retry', taskId: 'x' }, 'NOT_FOUND'],
    ['pause of an unknown agent', { type: 'agent.pause', agentId: 'x' }, 'NOT_FOUND'],
    ['pause of a completed cell', { type: 'cell.pause' }, 'CONFLICT'],
    ['resume of a completed cell', { type: 'cell.resume' }, 'CONFLICT'],
    ['cancel of a completed cell', { type: 'cell.cancel', reason: 'x' }, 'CONFLICT'],
    [
      'confirming an unknown criterion',
      { type: 'criterion.confirm', name: 'x', by: 'me' },
      'NOT_FOUND',
    ],
  ])('%s', (_, event, code) => {
    const world = finished();
    const before = world.persisted();
    expect(() => world.tell(event)).toThrowError(expect.objectContaining({ code }));
    expect(world.persisted()).toEqual(before);
  });
});

describe('cancel', () => {
  test('a pending task fails at once; one in progress is withdrawn from its agent', () => {
    const world = worldOf(cellFile(), agentFile('a'), taskFile('1'), taskFile('2'));
    world.tell({ type: 'task.cancel', taskId: '2', reason: 'not needed' });
    expect(world.task('2')).toMatchObject({
      status: 'failed',
      blocked_reason: 'cancelled: not needed',
    });
    beginStep(world);
    world.tell({ type: 'task.cancel', taskId: '1', reason: 'wrong' });
    expect(world.agent('a').running.has('step')).toBe(false);
    expect(world.file('agents/a.json')).toMatchObject({ status: 'idle', current_task: null });
  });

  test('of a cell: what runs is taken back, an unsafe step under way is not known to be done (C3)', () => {
    const world = worldOf(
      cellFile(),
      agentFile('a'),
      agentFile('b'),
      taskFile('1'),
      taskFile('2', SAFE),
    );
    beginStep(world, 'a');
    beginStep(world, 'b');
    world.tell({ type: 'cell.cancel', reason: 'enough' });
    expect(world.file('cell.json')).toMatchObject({
      status: 'failed',
      status_reason: 'cancelled: enough',
    });
    expect(world.task('1')).toMatchObject({
      status: 'failed',
      blocked_reason: expect.stringContaining('whether that step is done is not known'),
    });
    expect(world.task('2')['status']).toBe('pending');
    world.tell({ type: 'cell.resume' });
    expect(world.task('2')['status']).toBe('in_progress');
  });
});

describe('pause', () => {
  test('no new work while paused; the step under way finishes; resume goes on', () => {
    const world = worldOf(cellFile(), agentFile('a'), taskFile('1', TWO_STEPS), taskFile('2'));
    beginStep(world);
    world.tell({ type: 'cell.pause' });
    expect(world.file('cell.json')['status']).toBe('paused');
    world.done(a, 'step', EXIT_0);
    expect(world.agent('a').running.has('step')).toBe(false);
    expect(world.task('1')['status']).toBe('in_progress');
    world.tell({ type: 'cell.resume' });
    world.run({ ...SMOOTH, step: EXIT_0 });
    expect(world.file('cell.json')['status']).toBe('completed');
  });

  test('an agent that a person paused stays paused when the cell goes on', () => {
    const world = worldOf(cellFile(), agentFile('a'), taskFile('1'));
    world.tell({ type: 'agent.pause', agentId: 'a' });
    world.tell({ type: 'cell.pause' });
    world.tell({ type: 'cell.resume' });
    expect(world.file('agents/a.json')['status']).toBe('paused');
    world.tell({ type: 'agent.resume', agentId: 'a' });
    expect(world.file('agents/a.json')['status']).toBe('active');
  });

  test('asking twice is fine', () => {
    const world = worldOf(cellFile());
    world.tell({ type: 'cell.pause' });
    world.tell({ type: 'cell.pause' });
    world.tell({ type: 'cell.resume' });
    world.tell({ type: 'cell.resume' });
    expect(world.file('cell.json')['status']).toBe('active');
  });
});

describe('the timeout counts active time only (C8)', () => {
  const deadline = (world: MachineWorld) => world.actor(cell).running.get('deadline')?.input['up'];

  test('a pause stops the clock', () => {
    const world = worldOf(cellFile({ timeout: 100 }));
    expect(deadline(world)).toBe(100_000);
    world.pass(30_000);
    world.tell({ type: 'cell.pause' });
    expect(deadline(world)).toBeUndefined();
    world.pass(1_000_000);
    world.tell({ type: 'cell.resume' });
    expect(deadline(world)).toBe(1_030_000 + 70_000);
  });

  test('an edited timeout moves the deadline', () => {
    const world = worldOf(cellFile({ timeout: 100 }));
    world.pass(30_000);
    world.files(edited(world, cellFile(), { timeout: 50 }));
    expect(deadline(world)).toBe(50_000);
  });

  test('when it is over the cell fails, running work is taken back, and a retry starts a new clock', () => {
    const world = worldOf(cellFile({ timeout: 100 }), agentFile('a'), taskFile('1'), taskFile('2'));
    beginStep(world);
    world.pass(100_000);
    world.done(cell, 'deadline');
    expect(world.file('cell.json')).toMatchObject({
      status: 'failed',
      status_reason: 'timeout: ran longer than 100 s',
    });
    expect(world.agent('a').running.has('step')).toBe(false);
    world.tell({ type: 'task.retry', taskId: '1' });
    expect(world.file('cell.json')['status']).toBe('active');
    expect(deadline(world)).toBe(200_000);
  });
});

describe('success criteria (C7)', () => {
  const criteria = [{ name: 'tests', run: ['npm', 'test'] }, { name: 'reviewed' }];
  const done = (): MachineWorld => {
    const world = worldOf(cellFile({ success_criteria: criteria }), agentFile('a'), taskFile('t'));
    world.run({ ...SMOOTH, step: EXIT_0 });
    return world;
  };

  test('commands are checked first, then a person confirms the rest', () => {
    const world = done();
    expect(world.actor(cell).running.get('criteria')?.input).toEqual({
      cellId: CELL,
      criteria: [criteria[0]],
    });
    world.done(cell, 'criteria', [{ name: 'tests', ok: true, detail: '' }]);
    expect(world.file('cell.json')).toMatchObject({
      status: 'active',
      status_reason: 'criterion reviewed waits for a person to confirm it',
    });
    world.tell({ type: 'criterion.confirm', name: 'reviewed', by: 'ann' });
    expect(world.file('cell.json')['status']).toBe('completed');
  });

  test('one that does not hold fails the cell; resuming checks again', () => {
    const world = done();
    world.done(cell, 'criteria', [{ name: 'tests', ok: false, detail: 'exit 1' }]);
    expect(world.file('cell.json')).toMatchObject({
      status: 'failed',
      status_reason: 'criterion tests does not hold: exit 1',
    });
    world.tell({ type: 'cell.resume' });
    expect(world.actor(cell).running.has('criteria')).toBe(true);
  });

  test('a check that cannot be made does not count as passed', () => {
    const world = done();
    world.fails(cell, 'criteria', 'no worker');
    expect(world.file('cell.json')['status']).toBe('failed');
  });

  test('a new task in the middle of a check stops it', () => {
    const world = done();
    world.files(taskFile('more'));
    expect(world.actor(cell).running.has('criteria')).toBe(false);
    expect(world.file('cell.json')['status']).toBe('active');
  });
});

describe('held (P9)', () => {
  test('a level this host does not have holds the cell until the host or the file fits', () => {
    const world = worldOf(cellFile({ isolation_level: 'level_2' }), agentFile('a'), taskFile('t'));
    expect(world.actor(cell).value).toBe('held');
    expect(world.cell.reason).toContain('level_2 is not available');
    expect(world.actors.size).toBe(1);
    const levels = ['none' as const, 'level_1' as const, 'level_2' as const];
    world.tell({ type: 'host.probed', capabilities: { levels, limits: [] } });
    expect(world.task('t')['status']).toBe('in_progress');
    expect(world.agent('a').snapshot.context.level).toBe('level_2');
  });

  test('a limit that cannot be enforced holds it, unless the file says to show it', () => {
    const isolation = configFile('isolation', { network_isolation: true });
    const world = worldOf(cellFile(), isolation);
    expect(world.cell.reason).toContain('cannot enforce network');
    world.files(configFile('isolation', { network_isolation: true, on_unavailable: 'show' }));
    expect(world.file('cell.json')['status']).toBe('active');
  });

  test('given running work, a removed cell.json stops new steps and its return goes on', () => {
    const world = worldOf(cellFile(), agentFile('a'), taskFile('t', TWO_STEPS));
    beginStep(world);
    world.files(gone(cellFile()));
    expect(world.actor(cell).value).toBe('held');
    expect(world.cell.reason).toBe('cell.json was removed');
    expect(projectFiles(world.cell)['cell.json']).toBeUndefined();
    world.done(a, 'step', EXIT_0);
    expect(world.agent('a').running.has('step')).toBe(false);
    world.files(cellFile());
    world.run({ ...SMOOTH, step: EXIT_0 });
    expect(world.file('cell.json')['status']).toBe('completed');
  });

  test('the runtime holds and releases', () => {
    const world = worldOf(cellFile());
    world.tell({ type: 'cell.hold', reason: 'another owner' });
    expect(world.cell.reason).toBe('another owner');
    expect(() => world.tell({ type: 'cell.resume' })).toThrowError(
      expect.objectContaining({ code: 'CELL_HELD' }),
    );
    world.tell({ type: 'cell.release', reason: 'accepted' });
    expect(world.actor(cell).value).toEqual({ active: 'working' });
  });
});

describe('edits of files', () => {
  test.each<
    [string, (world: MachineWorld) => FileChange, (world: MachineWorld) => unknown, unknown]
  >([
    [
      'cell paused',
      (w) => edited(w, cellFile(), { status: 'paused' }),
      (w) => w.actor(cell).value,
      'paused',
    ],
    [
      'agent paused',
      (w) => edited(w, agentFile('a'), { status: 'paused' }),
      (w) => w.file('agents/a.json')['status'],
      'paused',
    ],
    [
      'task failed (cancel)',
      (w) => edited(w, taskFile('t'), { status: 'failed' }),
      (w) => w.task('t')['status'],
      'failed',
    ],
    [
      'task moved to another agent',
      (w) => edited(w, taskFile('zlater'), { assigned_to: 'b' }),
      (w) => w.task('zlater')['assigned_to'],
      'b',
    ],
  ])('a request by file is obeyed: %s', (_, change, got, want) => {
    const world = worldOf(cellFile(), agentFile('a'), taskFile('t'), taskFile('zlater'));
    world.files(change(world));
    expect(got(world)).toEqual(want);
    expect(world.cell.notes).toEqual([]);
  });

  test.each<[string, string, JsonObject]>([
    ['cell.json', 'completed by request', { status: 'completed' }],
    ['agents/a.json', 'failed by request', { status: 'failed' }],
    ['tasks/t.json', 'completed by request', { status: 'completed' }],
    ['tasks/t.json', 'moved while in progress', { assigned_to: 'b' }],
    ['tasks/t.json', 'attempts rewritten', { attempts: 0 }],
  ])('a request that does not fit is noted and not obeyed: %s %s', (path, _, edit) => {
    const world = worldOf(cellFile(), agentFile('a'), taskFile('t'));
    const change = [cellFile(), agentFile('a'), taskFile('t')].find((file) => file.path === path);
    if (!change) throw new Error(path);
    const before = world.file(path);
    world.files(edited(world, change, edit));
    expect(world.file(path)).toEqual(before);
    expect(world.cell.notes.at(-1)?.text).toContain(path);
  });

  test('a projection of ours that comes back has no effect (G3)', () => {
    const world = worldOf(cellFile(), agentFile('a'), taskFile('t', { note: { x: 1 } }));
    const early = projectFiles(world.cell);
    world.run({ ...SMOOTH, step: EXIT_0 });
    for (const projected of [early, projectFiles(world.cell)])
      for (const known of [cellFile(), agentFile('a'), taskFile('t')]) {
        const content = projected[known.path] ?? null;
        expect(mergeChange(world.cell, { ...known, content }).changed).toBe(false);
      }
  });

  test('unknown fields and the order of fields are kept, `_rev` rises with each change (D2)', () => {
    const world = worldOf(cellFile(), taskFile('t', { zebra: 1, status: 'pending', apple: 2 }));
    expect(Object.keys(world.task('t'))).toEqual([
      'task_id',
      'title',
      'steps',
      'zebra',
      'status',
      'apple',
      'assigned_to',
      'completed_at',
      'artifacts',
      'blocked_reason',
      '_rev',
    ]);
    const before = world.cell;
    world.files(agentFile('a'));
    expect(changedPaths(before, world.cell).sort()).toEqual(['agents/a.json', 'tasks/t.json']);
    expect(world.task('t')['_rev']).toBe(2);
  });

  test('permissions taken away before the first step take the task away too', () => {
    const world = new MachineWorld();
    const [assigned] = [cellFile(), agentFile('a'), taskFile('t')];
    if (!assigned) throw new Error('no file');
    const driver = world.actor(cell);
    const files = [cellFile(), agentFile('a'), taskFile('t')];
    driver.deliver(Object.assign({ type: 'files.changed' }, { changes: files }));
    const denied = [configFile('permissions', { a: { execute: [] } })];
    driver.deliver(Object.assign({ type: 'files.changed' }, { changes: denied }));
    expect(world.task('t')['status']).toBe('in_progress');
    const started = { agentId: 'a', taskId: 't', attempt: 1, stepsDone: 0, step: null };
    const { sent } = driver.deliver(Object.assign({ type: 'task.progressed' }, started));
    expect(sent.map(({ event }) => event.type)).toEqual(['task.withdrawn']);
    expect(world.task('t')).toMatchObject({
      status: 'pending',
      blocked_reason: expect.stringContaining('agent a has no right to execute t'),
    });
  });

  test('a task file that goes takes its work along, and dependants say what is missing (F2)', () => {
    const world = worldOf(
      cellFile(),
      agentFile('a'),
      taskFile('1'),
      taskFile('2', { dependencies: ['1'] }),
    );
    beginStep(world);
    world.files(gone(taskFile('1')));
    expect(world.agent('a').running.has('step')).toBe(false);
    expect(projectFiles(world.cell)['tasks/1.json']).toBeUndefined();
    expect(world.task('2')['blocked_reason']).toBe('waits for 1, which does not exist');
  });

  test('an agent file that goes frees its task for another agent', () => {
    const world = worldOf(cellFile(), agentFile('a'), agentFile('b'), taskFile('1', SAFE));
    beginStep(world);
    world.files(gone(agentFile('a')));
    expect(world.actors.has(a)).toBe(false);
    expect(world.task('1')).toMatchObject({ status: 'in_progress', assigned_to: 'b', attempts: 2 });
  });

  test('agents called like members of every object are agents like others', () => {
    const world = worldOf(cellFile(), agentFile('constructor'), taskFile('toString'));
    expect(world.task('toString')['assigned_to']).toBe('constructor');
  });

  test('a changed policy reaches the agents, and only then', () => {
    const world = worldOf(cellFile(), agentFile('a'));
    const told = () => world.log.filter(({ event }) => event.type === 'agent.configured').length;
    world.files(taskFile('t'));
    expect(told()).toBe(1);
    world.files(configFile('policies', { auto_revive: 'yes' }));
    expect(told()).toBe(2);
    expect(world.agent('a').snapshot.context.policies.auto_revive).toBe('yes');
  });
});

describe('reports of agents', () => {
  test('a stale report of an earlier attempt is ignored (C5)', () => {
    const world = worldOf(cellFile(), agentFile('a'), taskFile('t', SAFE));
    beginStep(world);
    world.done(a, 'step', EXIT_2);
    const before = world.persisted();
    world.tell({
      type: 'task.finished',
      agentId: 'a',
      taskId: 't',
      attempt: 1,
      outcome: 'completed',
      result: { stepsDone: 1, exitCode: 0, artifacts: [] },
      error: null,
      retryable: false,
    });
    expect(world.persisted()).toEqual(before);
  });

  test('a step in doubt is shown until it is settled', () => {
    const world = worldOf(cellFile(), agentFile('a'), taskFile('t'));
    beginStep(world);
    const doubt = { type: 'task.doubted', agentId: 'a', taskId: 't', attempt: 1 } as const;
    world.tell({ ...doubt, reason: 'the worker died' });
    expect(world.task('t')).toMatchObject({
      status: 'in_progress',
      blocked_reason: 'in doubt: the worker died',
    });
    world.tell({ ...doubt, reason: null });
    expect(world.task('t')['blocked_reason']).toBeUndefined();
  });
});

test('hundreds of tasks on ten agents are all done, each once', () => {
  const tasks = Array.from({ length: 300 }, (_, i) =>
    taskFile(`t${i}`, i < 10 ? {} : { dependencies: [`t${i - 10}`] }),
  );
  const world = worldOf(
    cellFile(),
    ...'a b c d e f g h i j'.split(' ').map((id) => agentFile(id)),
    ...tasks,
  );
  world.run({ ...SMOOTH, step: EXIT_0 });
  expect(world.file('cell.json')['status']).toBe('completed');
  expect(Object.values(world.cell.tasks).every(({ attempt }) => attempt === 1)).toBe(true);
});

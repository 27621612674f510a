/**
 * What happens when trying again is futile: a substitute takes the task over with what is known of it, never beside the
 * one that failed; or a person is asked (revival-questions.test.ts). The mission is that of breaking-agents.ts, and `b`.
 */
import { describe, expect, test } from 'vitest';
import { agentAddress } from '../../machines/addresses.ts';
import type { FileChange } from '../../machines/mission.ts';
import type { JsonObject } from '../../machines/json.ts';
import { agentFile, CELL, cellFile, configFile, EXIT_0, gone } from '../support/machine-world.ts';
import { KILLED, SAVED, taskFile, VERIFIED } from '../support/machine-world.ts';
import type { MachineWorld } from '../support/machine-world.ts';
import { A, answer, BREAKS, caseOf, comeBack, entryOf } from '../support/breaking-agents.ts';
import { failUntilFutile, finishTask, handoffPolicies } from '../support/breaking-agents.ts';
import { LAZARUS_A, MANUAL, missionWith, S, safeSteps } from '../support/breaking-agents.ts';
import { startWorker, waitOut } from '../support/breaking-agents.ts';

const B = agentAddress(CELL, 'b');

const story = (world: MachineWorld): string => caseOf(world).story.join('\n');
const assignedTo = (world: MachineWorld, task = 'root'): unknown => world.task(task)['assigned_to'];

describe('the same failure without progress', () => {
  test('given auto handoff, the substitute gets the task with what is known of it, and all of it is written down', () => {
    const world = missionWith();
    world.done(A, 'step', EXIT_0);
    failUntilFutile(world);
    expect(world.task('root')).toMatchObject({
      status: 'in_progress',
      assigned_to: 'b',
      attempts: 2,
    });
    expect(world.agent('b').running.get('beginContext')?.input).toMatchObject({
      taskId: 'root',
      stepsDone: 1,
      step: 'two',
      handover: { from: 'a', checkpoint: SAVED },
    });
    expect(entryOf(world)).toMatchObject({
      status: 'failed',
      outcome: 'substituted',
      substitute: 'b',
      because: 'b took over task root',
      attempts: 0,
      asked: false,
    });
    expect(world.file('agents/a.json')).toMatchObject({
      status: 'failed',
      current_task: null,
      status_reason: expect.stringContaining('b took over task root'),
    });
    expect(world.cell.notes.at(-1)?.text).toMatch(
      /root was handed over from a to b: the worker was ended/,
    );
    startWorker(world, B);
    world.done(B, 'beginContext', SAVED);
    expect(world.agent('b').running.get('step')?.input).toMatchObject({ stepIndex: 1 });
    finishTask(world, B);
    expect(world.task('root')).toMatchObject({ status: 'completed', assigned_to: 'b' });
  });

  test('as long as it is worth trying nobody takes over: two revivals, then the substitute (F1)', () => {
    const world = missionWith();
    failUntilFutile(world);
    expect(world.agent('a').snapshot.context).toMatchObject({ failures: 3, revivals: 2 });
    expect(caseOf(world).history.map(({ outcome }) => outcome)).toEqual([
      'revived',
      'revived',
      'substituted',
    ]);
  });

  test('the same fault is futile after three revivals, whatever max_retries says (F2)', () => {
    const world = missionWith(handoffPolicies({ max_retries: 50 }));
    failUntilFutile(world);
    expect(story(world)).toContain('handing the task over to b');
    expect(world.agent('a').snapshot.context.failures).toBe(4);
    expect(caseOf(world).reason).toBe('b took over task root');
  });

  test('more revivals than the intensity allows are futile although each made progress (F3)', () => {
    const steps = Array.from({ length: 9 }, (_, i) => ({
      name: `s${i}`,
      run: ['x'],
      retry: 'safe',
    }));
    const world = missionWith(
      cellFile({ policies: { auto_revive: 'yes' }, restart: { intensity: 2, period: 60 } }),
      taskFile('root', { steps, assigned_to: 'a' }),
    );
    for (let i = 0; i < 2; i += 1) {
      world.done(A, 'worker', KILLED);
      startWorker(world);
      world.done(A, 'verify', VERIFIED);
      world.done(LAZARUS_A, 'ledger');
      world.done(A, 'step', EXIT_0);
    }
    world.done(A, 'worker', KILLED);
    expect(entryOf(world)).toMatchObject({
      outcome: 'asking',
      because: 'more than 2 revivals within 60 s',
    });
  });

  test('while the substitute works, what is behind the task waits as ever, and the rest goes on', () => {
    const world = missionWith();
    failUntilFutile(world);
    expect(world.task('middle')).toMatchObject({ status: 'pending' });
    expect(world.task('middle')['blocked_reason']).toBeUndefined();
    startWorker(world, B);
    world.done(B, 'beginContext', SAVED);
    finishTask(world, B);
    expect(world.task('middle')['blocked_reason']).toBe('waits for agent a, which failed');
    expect(world.task('leaf')['blocked_reason']).toBe('waits for middle, which is blocked');
    finishTask(world, S);
    expect(world.task('later')['status']).toBe('in_progress');
    expect(world.file('cell.json')['status']).toBe('active');
  });

  test('the substitute fails too: its own case, and nobody hands the task back to one that failed', () => {
    const world = missionWith(handoffPolicies({ max_retries: 0, substitute_agents: ['a', 'b'] }));
    world.done(A, 'worker', KILLED);
    world.done(LAZARUS_A, 'ledger');
    startWorker(world, B);
    world.done(B, 'beginContext', SAVED);
    world.done(B, 'worker', KILLED);
    expect(entryOf(world, 'b')).toMatchObject({
      outcome: 'asking',
      because: expect.stringMatching(/; agent a failed; b is the agent that failed$/),
    });
    expect(world.task('middle')['blocked_reason']).toBe('waits for root, whose agent b failed');
  });

  test('the one it was taken from comes back by a person’s word, without the task', () => {
    const world = missionWith();
    failUntilFutile(world);
    world.done(LAZARUS_A, 'ledger');
    answer(world, 'approve');
    comeBack(world);
    expect(entryOf(world)).toMatchObject({ outcome: 'revived', approved_by: 'ann', attempts: 1 });
    expect(world.file('agents/a.json')).toMatchObject({ status: 'idle', current_task: null });
    expect(assignedTo(world)).toBe('b');
  });

  test('a silent one that is heard again after it was substituted has recovered, without the task', () => {
    const world = missionWith(handoffPolicies({ max_retries: 0 }));
    world.send(A, Object.assign({ type: 'agent.silent' }, { message: 'no sign of life' }));
    expect(assignedTo(world)).toBe('b');
    expect(world.agent('a').running.has('worker')).toBe(false);
    world.send(A, { type: 'agent.heard' });
    expect(entryOf(world)).toMatchObject({ outcome: 'recovered', status: 'revived' });
    expect(world.file('agents/a.json')['status']).toBe('idle');
    expect(assignedTo(world)).toBe('b');
  });
});

describe('who may take over (H1)', () => {
  const permissions = (grants: JsonObject): FileChange => configFile('permissions', grants);
  const all = { execute: ['root', 'middle', 'leaf'], read: [], write: [] };

  test.each<[string, FileChange[], RegExp]>([
    ['is not there', [gone(agentFile('b'))], /there is no agent b/],
    [
      'is the one that failed',
      [handoffPolicies({ substitute_agents: ['a'] })],
      /a is the agent that failed/,
    ],
    ['is paused', [agentFile('b', { status: 'paused' })], /agent b is paused/],
    [
      'was not started',
      [
        cellFile({ ...handoffPolicies({ substitute_agents: ['z'] }).content, max_agents: 3 }),
        agentFile('z'),
      ],
      /agent z was not started: max_agents is 3/,
    ],
    ['only reads', [agentFile('b', { role: 'read' })], /agent b has no right to execute root/],
    [
      'has another role than the task requires',
      [taskFile('root', { steps: safeSteps(), assigned_to: 'a', requires: { role: 'audit' } })],
      /agent b has role lead, not audit/,
    ],
    [
      'lacks a capability',
      [
        taskFile('root', {
          steps: safeSteps(),
          assigned_to: 'a',
          requires: { capabilities: ['go'] },
        }),
      ],
      /agent b lacks go/,
    ],
    [
      'is not allowed by the one that hands over',
      [permissions({ a: { ...all, handoff_to: ['s'] } })],
      /a may not hand off to b/,
    ],
    [
      'does not allow it itself',
      [permissions({ b: { ...all, handoff_from: ['s'] } })],
      /b may not take over from a/,
    ],
    [
      'may take over but not execute',
      [permissions({ b: { execute: [], handoff_from: ['a'] } })],
      /agent b has no right to execute root: config\/permissions.json does not list it/,
    ],
  ])('given a substitute that %s, a person is asked and told so', (_, extra, reason) => {
    const world = missionWith(...extra);
    failUntilFutile(world);
    expect(entryOf(world)).toMatchObject({
      outcome: 'asking',
      because: expect.stringMatching(reason),
    });
    expect(entryOf(world).because).toContain('2 revivals brought no finished step (max_retries)');
    expect(assignedTo(world)).toBe('a');
    expect(world.task('root')['status']).toBe('in_progress');
  });

  test('both sides allow it by name: it is handed over', () => {
    const world = missionWith(
      permissions({ a: { ...all, handoff_to: ['b'] }, b: { ...all, handoff_from: ['a'] } }),
    );
    failUntilFutile(world);
    expect(assignedTo(world)).toBe('b');
  });

  test('the first is refused, the second takes it', () => {
    const world = missionWith(
      handoffPolicies({ substitute_agents: ['x', 'r', 'b'] }),
      agentFile('r', { role: 'read' }),
    );
    failUntilFutile(world);
    expect(assignedTo(world)).toBe('b');
    expect(entryOf(world)).toMatchObject({ outcome: 'substituted', substitute: 'b' });
  });

  test('one that is busy takes it when it is free', () => {
    const world = missionWith(handoffPolicies({ substitute_agents: ['s'] }));
    failUntilFutile(world);
    expect(world.task('root')).toMatchObject({ status: 'pending', assigned_to: 's' });
    expect(world.task('root')['blocked_reason']).toBeUndefined();
    finishTask(world, S);
    const current = world.file('agents/s.json')['current_task'];
    world.done(S, 'beginContext', SAVED);
    finishTask(world, S);
    const taken = new Set([current, world.file('agents/s.json')['current_task']]);
    expect(taken).toEqual(new Set(['later', 'root']));
  });

  test.each<[string, JsonObject, string[]]>([
    ['none is named', { substitute_agents: [] }, ['substitute']],
    ['handoff needs a person', { handoff_approval: 'manual' }, ['substitute']],
    ['handoff is not allowed', { handoff_allowed: false }, []],
  ])('given that %s, a person is asked at once', (_, change, offered) => {
    const world = missionWith(handoffPolicies(change));
    failUntilFutile(world);
    expect(world.log.some(({ event }) => event.type === 'agent.substitute')).toBe(false);
    const { outcome, choices } = entryOf(world);
    expect(outcome).toBe('asking');
    const others = choices.map(({ choice }) => choice).filter((choice) => choice === 'substitute');
    expect(others).toEqual(offered);
  });
});

const UNSAFE = taskFile('root', {
  assigned_to: 'a',
  steps: [
    { name: 'one', run: ['one'], retry: 'safe' },
    { name: 'two', run: ['two'], retry: 'never' },
  ],
});

describe('what must not be left behind (H2)', () => {
  test('a step in flight that may not run again keeps the task where it is', () => {
    const world = missionWith(UNSAFE);
    world.done(A, 'step', EXIT_0);
    failUntilFutile(world);
    expect(entryOf(world).because).toContain(
      'step two of task root may have run and does not say that it may run again',
    );
    expect(world.task('root')).toMatchObject({ status: 'in_progress', assigned_to: 'a' });
    expect(world.agent('a').running.has('step')).toBe(true); // it waits to be settled
  });

  test('neither does a person’s word move it, and the doubt is named; settled, it can go', () => {
    const world = missionWith(UNSAFE, MANUAL);
    world.done(A, 'step', EXIT_0);
    failUntilFutile(world);
    const doubt = { type: 'task.doubted', agentId: 'a', taskId: 'root', attempt: 1 } as const;
    world.tell({ ...doubt, reason: 'nobody knows how step two ended' });
    world.done(LAZARUS_A, 'ledger');
    answer(world, 'substitute', { agentId: 'b' });
    expect(entryOf(world)).toMatchObject({
      outcome: 'asking',
      answered: null,
      because: expect.stringContaining('task root is in doubt: nobody knows how step two ended'),
    });
    world.done(A, 'step', { ...EXIT_0, adopted: true });
    answer(world, 'substitute', { agentId: 'b' });
    expect(assignedTo(world)).toBe('b');
    expect(world.agent('b').running.get('beginContext')?.input).toMatchObject({ stepsDone: 2 });
  });

  test('an agent that goes on working although its machine rejects events keeps its task (H4)', () => {
    const world = missionWith();
    BREAKS.event_rejected.cause(world);
    expect(entryOf(world).choices.map(({ choice }) => choice)).not.toContain('substitute');
    answer(world, 'substitute', { agentId: 'b' });
    expect(entryOf(world).because).toContain('agent a has not stopped working at root');
    expect(assignedTo(world)).toBe('a');
  });

  test('an agent whose actor is held may be at work: no policy and no person hands its task over (L7)', () => {
    const world = missionWith(handoffPolicies({ max_retries: 0 }));
    BREAKS.actor_held.cause(world);
    expect(entryOf(world).choices.map(({ choice }) => choice)).toEqual(['retry', 'give_up']);
    answer(world, 'substitute', { agentId: 'b' });
    world.pass(30_000);
    world.done(LAZARUS_A, 'patience');
    expect(entryOf(world).because).toContain('a did not let go of its task');
    expect(assignedTo(world)).toBe('a');
    answer(world, 'approve');
    comeBack(world);
    expect(world.file('agents/a.json')).toMatchObject({ status: 'active', current_task: 'root' });
  });
});

describe('a revival that takes too long', () => {
  /** It is called back, and its new worker does not answer. */
  function callBack(...extra: FileChange[]): MachineWorld {
    const world = missionWith(handoffPolicies({ revive_timeout: 10 }), ...extra);
    world.done(A, 'worker', KILLED);
    expect(world.agent('a').running.has('worker')).toBe(true);
    world.pass(10_000);
    world.done(LAZARUS_A, 'deadline');
    return world;
  }

  test.each(['starting', 'verifying'])(
    'given auto handoff and a worker that is %s, that is ended first; only then does the substitute begin (L7)',
    (when) => {
      const world = missionWith(handoffPolicies({ revive_timeout: 10 }));
      world.done(A, 'worker', KILLED);
      if (when === 'verifying') startWorker(world);
      world.pass(10_000);
      world.done(LAZARUS_A, 'deadline');
      expect(assignedTo(world)).toBe('a');
      expect(world.agent('a').running.has('endWorker')).toBe(true);
      world.done(A, 'endWorker');
      expect(assignedTo(world)).toBe('a');
      world.done(A, 'worker', KILLED);
      expect(assignedTo(world)).toBe('b');
      expect(world.agent('a').running.has('worker')).toBe(false);
      expect(entryOf(world)).toMatchObject({ outcome: 'substituted', attempts: 1 });
      expect(story(world)).toContain('its revival is called off');
    },
  );

  test('a worker that cannot be ended keeps the task: after a while a person is asked', () => {
    const world = callBack();
    world.fails(A, 'endWorker', 'not permitted');
    world.pass(30_000);
    world.done(LAZARUS_A, 'patience');
    expect(entryOf(world)).toMatchObject({
      outcome: 'asking',
      because: 'the agent did not come back within revive_timeout; a did not let go of its task',
    });
    expect(assignedTo(world)).toBe('a');
  });

  test('given manual handoff, a person is asked, and a revival that comes late counts after all', () => {
    const world = callBack(handoffPolicies({ revive_timeout: 10, handoff_approval: 'manual' }));
    expect(entryOf(world)).toMatchObject({
      outcome: 'asking',
      because: 'the agent did not come back within revive_timeout',
    });
    world.done(LAZARUS_A, 'ledger');
    startWorker(world);
    world.pass(5_000);
    world.done(A, 'verify', VERIFIED);
    expect(entryOf(world)).toMatchObject({
      revival_id: 'c1.a.1',
      outcome: 'revived',
      asked: true,
      answered: null,
      took_ms: 15_000,
    });
    expect(world.file('agents/a.json')).toMatchObject({ status: 'active', current_task: 'root' });
    world.done(LAZARUS_A, 'ledger');
    expect(() => answer(world, 'approve', { revivalId: 'c1.a.1' })).toThrowError(
      expect.objectContaining({ code: 'CONFLICT' }),
    );
  });

  test('a person wants a substitute while the late revival is still under way: it is called off first', () => {
    const world = callBack(handoffPolicies({ revive_timeout: 10, handoff_approval: 'manual' }));
    startWorker(world);
    answer(world, 'substitute', { agentId: null });
    expect(assignedTo(world)).toBe('a');
    world.done(A, 'endWorker');
    world.done(A, 'worker', KILLED);
    expect(assignedTo(world)).toBe('b');
  });

  test('a cell that is held answers late: the handover counts all the same', () => {
    const world = missionWith();
    const cell = `cell/${CELL}`;
    for (let i = 0; i < 2; i += 1) {
      world.done(A, 'worker', KILLED);
      waitOut(world);
      startWorker(world);
      world.done(A, 'verify', VERIFIED);
      world.done(LAZARUS_A, 'ledger');
    }
    world.hold(cell);
    world.done(A, 'worker', KILLED);
    world.pass(30_000);
    world.done(LAZARUS_A, 'patience');
    expect(entryOf(world).because).toContain('the cell did not say who could take the task over');
    world.release(cell);
    expect(assignedTo(world)).toBe('b');
    expect(entryOf(world)).toMatchObject({ outcome: 'substituted', substitute: 'b' });
  });
});

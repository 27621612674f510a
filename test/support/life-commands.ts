/**
 * Any life of a mission, for property tests: files, requests, outcomes, failures of every kind and answers of people, in
 * any order. A life is a list of commands; machine-life.ts carries them out.
 */
import fc from 'fast-check';
import type { CellEvent } from '../../machines/events.ts';
import type { FileChange } from '../../machines/mission.ts';
import type { JsonObject } from '../../machines/json.ts';
import { agentFile, cellFile, configFile, gone, taskFile } from './machine-world.ts';

type AnswerKind = 'retry' | 'roll_back' | 'substitute' | 'give_up';
type Fault = 'silent' | 'heard' | 'held' | 'faulted' | 'strayed';

export type Command =
  | { kind: 'tell'; event: CellEvent }
  | { kind: 'edit'; path: string; field: string; value: string }
  /** `pick`: which of those that run; `how`: 0 is well, anything else one of the ways in which it can fail. */
  | { kind: 'effect'; pick: number; how: number }
  | {
      kind: 'answer';
      agentId: string;
      answer: AnswerKind;
      substitute: string | null;
      stale: boolean;
    }
  | { kind: 'fault'; agentId: string; fault: Fault }
  | { kind: 'pass'; ms: number };

export const AGENTS = ['a', 'b', 'c'];
/** Few restarts, so that every bound is met within a short life. It stays the same through a life. */
export const RESTART = { intensity: 2, period: 60 };

const agentId = fc.constantFrom(...AGENTS);
const taskId = fc.constantFrom('1', '2', '3', '4');
const step = fc.record({
  name: fc.constantFrom('x', 'y'),
  run: fc.constant<string[]>(['run']),
  retry: fc.constantFrom('safe', 'safe', 'never'),
});

const policies: fc.Arbitrary<JsonObject> = fc.record(
  {
    auto_revive: fc.constantFrom('yes', 'yes', 'no', 'ask'),
    max_retries: fc.constantFrom(0, 1, 3),
    revive_timeout: fc.constantFrom(1, 300),
    ask_expires: fc.constantFrom(60, 86_400),
    handoff_allowed: fc.constantFrom(true, true, false),
    handoff_approval: fc.constantFrom('auto', 'auto', 'manual'),
    substitute_agents: fc.uniqueArray(agentId),
    checkpoint_required: fc.boolean(),
  },
  { requiredKeys: ['auto_revive'] },
);
const cell = fc
  .record({
    policies,
    max_agents: fc.constantFrom(1, 10, 10),
    isolation_level: fc.constantFrom('level_1', 'level_1', 'none', 'level_2'),
  })
  .map((extra) => cellFile({ ...extra, restart: RESTART }));

const file: fc.Arbitrary<FileChange> = fc.oneof(
  cell,
  fc
    .tuple(agentId, fc.constantFrom('lead', 'write', 'read'), fc.option(policies))
    .map(([id, role, own]) => agentFile(id, { role, ...(own && { policies: own }) })),
  fc
    .tuple(
      taskId,
      fc.uniqueArray(step, { selector: (s) => s.name, minLength: 1 }),
      fc.uniqueArray(taskId, { maxLength: 2 }),
    )
    .map(([id, steps, dependencies]) => taskFile(id, { steps, dependencies })),
  fc
    .tuple(agentId, fc.uniqueArray(taskId), fc.uniqueArray(agentId), fc.uniqueArray(agentId))
    .map(([id, execute, to, from]) =>
      configFile('permissions', { [id]: { execute, handoff_to: to, handoff_from: from } }),
    ),
  taskId.map((id) => gone(taskFile(id))),
  agentId.map((id) => gone(agentFile(id))),
  fc.constant(gone(cellFile())),
  fc.constant(gone(configFile('permissions', {}))),
);

const request: fc.Arbitrary<CellEvent> = fc.oneof(
  fc.constantFrom<CellEvent>(
    { type: 'cell.pause' },
    { type: 'cell.resume' },
    { type: 'cell.resume' },
    { type: 'cell.cancel', reason: 'x' },
    { type: 'cell.hold', reason: 'x' },
    { type: 'cell.release', reason: 'x' },
  ),
  agentId.map((id) => ({ type: 'agent.pause' as const, agentId: id })),
  agentId.map((id) => ({ type: 'agent.resume' as const, agentId: id })),
  taskId.map((id) => ({ type: 'task.retry' as const, taskId: id })),
  taskId.map((id) => ({ type: 'task.cancel' as const, taskId: id, reason: 'x' })),
);

const effect = fc.record({
  kind: fc.constant('effect' as const),
  pick: fc.nat(1000),
  how: fc.constantFrom(0, 0, 0, 0, 0, 1, 2, 3),
});
const answer = fc.record({
  kind: fc.constant('answer' as const),
  agentId,
  answer: fc.constantFrom<AnswerKind>('retry', 'roll_back', 'substitute', 'give_up'),
  substitute: fc.option(agentId),
  stale: fc.constantFrom(false, false, true),
});
const fault = fc.record({
  kind: fc.constant('fault' as const),
  agentId,
  fault: fc.constantFrom<Fault>('silent', 'heard', 'held', 'faulted', 'strayed'),
});
const passing = fc.nat(100_000).map((ms) => ({ kind: 'pass' as const, ms }));

/** What happens in a mission with all sorts of edits and requests. */
const anything: fc.Arbitrary<Command> = fc.oneof(
  { weight: 3, arbitrary: file.map((f) => tell({ type: 'files.changed', changes: [f] })) },
  { weight: 2, arbitrary: request.map(tell) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('edit' as const),
      path: fc.constantFrom('cell.json', 'agents/a.json', 'tasks/1.json', 'tasks/2.json'),
      field: fc.constantFrom('status', 'assigned_to', 'title'),
      value: fc.constantFrom('paused', 'idle', 'active', 'failed', 'pending', 'completed', 'b'),
    }),
  },
  { weight: 12, arbitrary: effect },
  { weight: 2, arbitrary: answer },
  { weight: 1, arbitrary: fault },
  { weight: 1, arbitrary: passing },
);
/** What happens in a mission whose files nobody touches: mostly failures and what comes of them. */
const failures: fc.Arbitrary<Command> = fc.oneof(
  { weight: 16, arbitrary: effect },
  { weight: 3, arbitrary: answer },
  { weight: 2, arbitrary: fault },
  { weight: 1, arbitrary: passing },
);

const START = [
  cellFile({ restart: RESTART }),
  agentFile('a'),
  agentFile('b', { role: 'write' }),
  taskFile('1'),
  taskFile('2'),
];
const begin = fc.oneof(
  { weight: 3, arbitrary: fc.constant(START) },
  { weight: 1, arbitrary: fc.shuffledSubarray(START) },
);

export const life: fc.Arbitrary<Command[]> = fc
  .tuple(begin, fc.array(anything, { minLength: 10, maxLength: 80, size: 'max' }))
  .map(([changes, commands]) => [tell({ type: 'files.changed', changes }), ...commands]);

const steps = [...Array<string>(6).fill('safe'), 'never'].map((retry, i) => ({
  name: `s${i}`,
  run: ['x'],
  retry,
}));

/** Such that a failure is soon futile, and mostly somebody may take over. */
const impatient: fc.Arbitrary<JsonObject> = fc.record({
  auto_revive: fc.constantFrom('yes', 'yes', 'yes', 'ask', 'no'),
  max_retries: fc.constantFrom(0, 0, 0, 1, 3),
  revive_timeout: fc.constantFrom(1, 300),
  ask_expires: fc.constantFrom(60, 86_400),
  handoff_allowed: fc.constantFrom(true, true, true, true, false),
  handoff_approval: fc.constantFrom('auto', 'auto', 'auto', 'auto', 'manual'),
  substitute_agents: fc.shuffledSubarray(AGENTS, { minLength: 2 }),
  checkpoint_required: fc.constantFrom(true, true, false),
});

/** Three agents and long tasks, mostly of safe steps: there is always somebody to fail, and somebody to take over. */
export const troubledLife: fc.Arbitrary<Command[]> = fc
  .tuple(
    impatient,
    fc.constantFrom('level_1', 'level_1', 'none'),
    fc.array(effect.map(wellEnded), { maxLength: 12, size: 'max' }), // the work is under way
    fc.array(failures, { minLength: 20, maxLength: 100, size: 'max' }),
  )
  .map(([held, level, progress, commands]) => [
    tell({
      type: 'files.changed',
      changes: [
        cellFile({ restart: RESTART, policies: held, isolation_level: level }),
        ...AGENTS.map((id) => agentFile(id)),
        ...['1', '2'].map((id) => taskFile(id, { steps })), // so that somebody is free
        taskFile('3', { steps, dependencies: ['1', '2'] }),
      ],
    }),
    ...progress,
    ...commands,
  ]);

export const anyLife: fc.Arbitrary<Command[]> = fc.oneof(
  { weight: 1, arbitrary: life },
  { weight: 2, arbitrary: troubledLife },
);

function wellEnded(command: Extract<Command, { kind: 'effect' }>): Command {
  return { ...command, how: 0 };
}

export function tell(event: CellEvent): Command {
  return { kind: 'tell', event };
}

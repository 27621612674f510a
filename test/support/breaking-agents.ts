/**
 * One mission in which agent `a` breaks, in every way an agent can, at any place of its chain of tasks; and the ways in
 * which such a world goes on. Who else is there: `s`, which has tasks of its own that must not care.
 *
 *     root -> middle -> leaf     (a)
 *     aside -> later             (s)
 */
import { expect } from 'vitest';
import { agentAddress, lazarusAddress } from '../../machines/addresses.ts';
import type { LazarusContext, LedgerEntry } from '../../machines/lazarus-context.ts';
import type { FileChange } from '../../machines/mission.ts';
import type { JsonObject } from '../../machines/json.ts';
import { agentFile, CELL, cellFile, EXIT_0, KILLED, SAVED, taskFile } from './machine-world.ts';
import { MachineWorld, SMOOTH, VERIFIED } from './machine-world.ts';
import type { WorldOptions } from './machine-world.ts';

export const A = agentAddress(CELL, 'a');
export const S = agentAddress(CELL, 's');
export const LAZARUS_A = lazarusAddress(CELL, 'a');

export type Position = 'root' | 'middle' | 'leaf' | 'idle';
export const POSITIONS: readonly Position[] = ['root', 'middle', 'leaf', 'idle'];

const TWO_SAFE = ['one', 'two'].map((name) => ({ name, run: [name], retry: 'safe' }));

/** The mission, with `extra` files over those of the same path. */
export function mission(
  extra: readonly FileChange[] = [],
  options: WorldOptions = {},
): MachineWorld {
  const world = new MachineWorld(options);
  const chain = ['root', 'middle', 'leaf'].map((id, i, ids) =>
    taskFile(id, {
      steps: TWO_SAFE,
      assigned_to: 'a',
      dependencies: ids.slice(Math.max(0, i - 1), i),
    }),
  );
  const files = [
    cellFile(),
    agentFile('a'),
    agentFile('s'),
    ...chain,
    taskFile('aside', { steps: TWO_SAFE, assigned_to: 's' }),
    taskFile('later', { steps: TWO_SAFE, assigned_to: 's', dependencies: ['aside'] }),
  ];
  const changed = new Map([...files, ...extra].map((file) => [file.path, file]));
  world.files(...changed.values());
  return world;
}

export function startWorker(world: MachineWorld, agent = A): void {
  world.send(agent, Object.assign({ type: 'worker.started' }, { pid: 7 }));
}

/** `a` is at the first step of the task at this place, or idle with its worker to spare; `s` is at its own. */
export function bringTo(world: MachineWorld, position: Position): void {
  startWorker(world, S);
  world.done(S, 'beginContext', SAVED);
  startWorker(world);
  for (const task of ['root', 'middle', 'leaf']) {
    if (task === position) return;
    world.done(A, 'beginContext', SAVED);
    finishTask(world, A);
  }
}

/** From the step under way to the end of the task. */
export function finishTask(world: MachineWorld, agent: string): void {
  while (world.actor(agent).running.has('step')) world.done(agent, 'step', EXIT_0);
  world.done(agent, 'endContext', SAVED);
  world.done(agent, 'finish', SMOOTH.finish);
}

export type Breaking =
  | 'worker_exit (code)'
  | 'worker_exit (signal)'
  | 'worker_start'
  | 'worker_hung'
  | 'no_progress'
  | 'effect_error'
  | 'silent'
  | 'unverified'
  | 'actor_held'
  | 'event_rejected';

export interface Break {
  /** Whether it can happen to an agent without a task. */
  idle: boolean;
  /** It happens to an agent that is being revived, so the policy was asked before. */
  reviving?: true;
  /** What the failure is called, for a person; the place is added when there is a task. */
  message: string;
  signature: string;
  /** The world is where `bringTo` left it. */
  cause: (world: MachineWorld) => void;
}

const stepping = (world: MachineWorld): void => {
  if (world.agent('a').running.has('beginContext')) world.done(A, 'beginContext', SAVED);
};
const lose = (output: object) => (world: MachineWorld) => {
  stepping(world);
  world.done(A, 'worker', output);
};

export const BREAKS: Record<Breaking, Break> = {
  'worker_exit (code)': {
    idle: true,
    message: 'the worker exited with code 3',
    signature: 'worker_exit:3',
    cause: lose({ code: 3, signal: null }),
  },
  'worker_exit (signal)': {
    idle: true,
    message: 'the worker was ended by SIGKILL',
    signature: 'worker_exit:SIGKILL',
    cause: lose(KILLED),
  },
  worker_start: {
    idle: true,
    reviving: true,
    message: 'spawn failed',
    signature: 'worker_start:EAGAIN',
    cause(world) {
      lose(KILLED)(world);
      approveIfAsked(world);
      world.fails(A, 'worker', 'spawn failed', 'EAGAIN');
    },
  },
  worker_hung: {
    idle: true,
    message: 'the worker was hung (no heartbeat for 3.1 s)',
    signature: 'worker_hung:hung',
    cause: lose({ ...KILLED, cause: 'hung', detail: 'no heartbeat for 3.1 s' }),
  },
  no_progress: {
    idle: false,
    message: 'the worker was stuck (no output for 60 s)',
    signature: 'no_progress:stuck',
    cause: lose({ ...KILLED, cause: 'stuck', detail: 'no output for 60 s' }),
  },
  effect_error: {
    idle: false,
    message: 'read-only file system',
    signature: 'effect_error:EROFS',
    cause: (world) => world.fails(A, 'beginContext', 'read-only file system', 'EROFS'),
  },
  silent: {
    idle: true,
    message: 'no sign of life for 300 s',
    signature: 'silent:silent',
    cause(world) {
      stepping(world);
      const message = 'no sign of life for 300 s';
      world.send(A, Object.assign({ type: 'agent.silent' }, { message }));
    },
  },
  unverified: {
    idle: true,
    reviving: true,
    message: 'the context cannot be mended',
    signature: 'unverified:EIO',
    cause(world) {
      lose(KILLED)(world);
      approveIfAsked(world);
      startWorker(world);
      world.fails(A, 'verify', 'the context cannot be mended', 'EIO');
      world.done(A, 'endWorker');
      world.done(A, 'worker', KILLED);
    },
  },
  actor_held: {
    idle: true,
    message: 'its actor is held: a hole in its records',
    signature: 'actor_held:x',
    cause(world) {
      stepping(world);
      world.hold(A);
      world.report('a', 'agent.failed', 'its actor is held: a hole in its records');
    },
  },
  event_rejected: {
    idle: true,
    message: 'its machine rejected task.progressed: x',
    signature: 'event_rejected:x',
    cause(world) {
      stepping(world);
      const times = world.agent('a').snapshot.context.restart.intensity + 1;
      for (let i = 0; i < times; i += 1)
        world.report('a', 'agent.faulted', 'its machine rejected task.progressed: x');
    },
  },
};

export const caseOf = (world: MachineWorld, agentId = 'a'): LazarusContext =>
  world.lazarus(agentId).snapshot.context;

export const entryOf = (world: MachineWorld, agentId = 'a'): LedgerEntry =>
  world.lazarus(agentId).running.get('ledger')?.input['entry'] as unknown as LedgerEntry;

export const isAsking = (world: MachineWorld, agentId = 'a'): boolean =>
  caseOf(world, agentId).outcome === 'asking';

/** A person answers the request at hand, and its file is put where the answer belongs. */
export function answer(world: MachineWorld, what: string, fields: JsonObject = {}, id = 'a'): void {
  const address = lazarusAddress(CELL, id);
  world.send(address, Object.assign({ type: `revival.${what}` }, { by: 'ann', ...fields }));
  if (world.actor(address).running.has('answer')) world.done(address, 'answer');
}

function approveIfAsked(world: MachineWorld): void {
  const { outcome } = caseOf(world);
  if (outcome === 'asking' || outcome === 'refused') answer(world, 'approve');
}

/** Lazarus' pause before the next try, if there is one, passes. */
export function waitOut(world: MachineWorld, agentId = 'a'): void {
  const { running } = world.lazarus(agentId);
  if (!running.has('backoff')) return;
  world.pass(Math.max(0, caseOf(world, agentId).dueAt - world.clock.at));
  world.done(lazarusAddress(CELL, agentId), 'backoff');
}

/** All that a revival under way needs comes about: the actor released, the worker started, the agent heard, verified. */
export function comeBack(world: MachineWorld): void {
  waitOut(world);
  if (world.lazarus('a').running.has('release')) {
    world.release(A);
    world.done(LAZARUS_A, 'release');
  }
  const agent = world.agent('a');
  world.pass(40);
  if (agent.snapshot.context.lost?.failure.reason === 'silent')
    return world.send(A, { type: 'agent.heard' });
  if (agent.running.has('worker') && agent.snapshot.context.pid === null) startWorker(world);
  if (agent.snapshot.context.lost?.failure.reason === 'effect_error')
    world.done(A, 'beginContext', SAVED);
  expect(agent.running.has('verify'), 'it is being verified').toBe(true);
  world.done(A, 'verify', VERIFIED);
}

/** The rest of the mission, with nothing going wrong any more. */
export function finish(world: MachineWorld): void {
  for (const agent of [A, S])
    if (world.agent(agent === A ? 'a' : 's').snapshot.context.pid === null)
      startWorker(world, agent);
  world.run({ ...SMOOTH, step: EXIT_0 });
}

/** Revived twice without a finished step, then `b` takes over without a person. */
export const handoffPolicies = (extra: JsonObject = {}): FileChange =>
  cellFile({
    policies: {
      auto_revive: 'yes',
      max_retries: 2,
      handoff_approval: 'auto',
      substitute_agents: ['b'],
      ...extra,
    },
  });
export const MANUAL = handoffPolicies({ handoff_approval: 'manual' });

/** `a` is at the first step of `root`; `b` stands by. */
export function missionWith(...extra: FileChange[]): MachineWorld {
  const world = mission([handoffPolicies(), agentFile('b'), ...extra]);
  bringTo(world, 'root');
  world.done(A, 'beginContext', SAVED);
  return world;
}

/** It dies, and again each time it is back, until Lazarus does something else about it. */
export function failUntilFutile(world: MachineWorld): void {
  for (let i = 0; i < 10; i += 1) {
    world.done(A, 'worker', KILLED);
    if (caseOf(world).decision?.kind !== 'revive') return;
    waitOut(world);
    startWorker(world);
    world.done(A, 'verify', VERIFIED);
    world.done(LAZARUS_A, 'ledger');
  }
  throw new Error('it is revived for ever');
}

export const safeSteps = (): JsonObject[] => TWO_SAFE.map((step) => ({ ...step }));

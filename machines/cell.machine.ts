/**
 * Life of one mission cell. The states follow the phase that `settle` (cell-settle.ts) computes after every event; what
 * they add is the effects that a phase needs and the clock of active time.
 *
 * C1 An agent has at most one task in progress, a task in progress exactly one agent. (cell-tasks.ts)
 * C2 A finished task never runs again without a request. (cell-tasks.ts)
 * C3 A step with an unknown outcome is never repeated by the cell itself. (cell-tasks.ts)
 * C4 A finished step is kept across attempts. (cell-tasks.ts)
 * C5 Late and stale reports change nothing. (cell-reports.ts)
 * C6 Work is given out in phase `working` only, never without the right to execute it. (cell-settle.ts, permissions.ts)
 * C7 Completed means: a task exists, all are completed, all criteria hold. (cell-settle.ts)
 * C8 The timeout counts time in `active` only; each span adds what it used to `usedMs`. A new node begins a new span.
 */
import { fromPromise, setup } from 'xstate';
import type { CellEvent, EffectDone, EffectFailed, SendParams, SpawnParams } from './events.ts';
import type { Stamp, StopParams } from './events.ts';
import type { Criterion } from './mission.ts';
import { cellFileOf, freshCell } from './cell-context.ts';
import type { CellContext, CellInput, CheckResult, Phase } from './cell-context.ts';
import { CellDraft } from './cell-draft.ts';
import { changeFiles } from './cell-files.ts';
import { agentCheckpointed, agentReported } from './cell-reports.ts';
import { taskDoubted, taskFinished, taskProgressed } from './cell-reports.ts';
import { substituteAgent, syncAgent } from './cell-handover.ts';
import { cancelTask } from './cell-tasks.ts';
import { cancelCell, confirmCriterion, endCell, pauseAgent, pauseCell } from './cell-verbs.ts';
import { resumeAgent, resumeCell, retry } from './cell-verbs.ts';
import { settle } from './cell-settle.ts';
import { spanEnd, stampOf } from './time.ts';
import { typeOnly, unbound } from './unbound.ts';

/** `checkCriteria`: runs the criteria that have a command. */
export interface CheckCriteriaInput {
  cellId: string;
  criteria: Criterion[];
}

type Delivered =
  | (CellEvent & Stamp)
  | EffectDone<'criteria', CheckResult[]>
  | EffectFailed<'criteria'>
  | EffectDone<'deadline'>;

const cell = setup({
  types: {
    context: typeOnly<CellContext>(),
    input: typeOnly<CellInput & Pick<Stamp, 'at' | 'up'>>(),
    events: typeOnly<Delivered>(),
  },
  actors: {
    checkCriteria: fromPromise<CheckResult[], CheckCriteriaInput>(async () =>
      unbound('checkCriteria'),
    ),
    waitUntil: fromPromise<void, { up: number }>(async () => unbound('waitUntil')),
  },
  actions: {
    send: (_args, _params: SendParams) => {},
    spawn: (_args, _params: SpawnParams) => {},
    stop: (_args, _params: StopParams) => {},
  },
  guards: {
    phaseIs: ({ context }, { phase }: { phase: Phase }) => context.phase === phase,
    isActive: ({ context }) => ACTIVE.includes(context.phase),
    timeoutChanged: ({ context }) => cellFileOf(context).timeout !== context.armedTimeout,
  },
});

/** Phases within the state `active`, in which the cell's clock runs. */
const ACTIVE: readonly Phase[] = ['working', 'verifying', 'confirming'];

/** Applies the event to a draft, settles the cell and sends what came of it. */
const apply = cell.enqueueActions(({ context, event, enqueue }) => {
  const draft = new CellDraft(context, stampOf(event));
  if (change(draft, event) === 'settle') settle(draft);
  const next = draft.finish();
  if (next !== context) enqueue.assign(() => next);
  for (const { type, params } of draft.outbox) {
    if (type === 'send') enqueue({ type, params });
    else if (type === 'spawn') enqueue({ type, params });
    else enqueue({ type, params });
  }
});

/** What an event says, into the draft. Reports that change nothing about who does what need no settling. */
function change(draft: CellDraft, event: Delivered): 'settle' | 'settled' {
  switch (event.type) {
    case 'task.progressed':
      return taskProgressed(draft, event) === 'withdrawn' ? 'settle' : 'settled';
    case 'task.doubted':
      taskDoubted(draft, event);
      return 'settled';
    case 'agent.checkpointed':
      agentCheckpointed(draft, event);
      return 'settled';
    case 'files.changed':
      changeFiles(draft, event.changes);
      break;
    case 'host.probed':
      draft.patch({ host: event.capabilities });
      break;
    case 'daemon.configured':
      draft.patch({
        daemonPolicies: event.policies,
        daemonRestart: event.restart,
        hasModels: event.models ?? false,
      });
      break;
    case 'agent.substitute':
      substituteAgent(draft, event);
      break;
    case 'agent.strayed':
      syncAgent(draft, event.agentId);
      return 'settled';
    case 'agent.reported':
      agentReported(draft, event);
      break;
    case 'task.finished':
      taskFinished(draft, event);
      break;
    case 'xstate.done.actor.criteria':
      draft.patch({ checks: event.output });
      break;
    case 'xstate.error.actor.criteria':
      draft.patch({ checks: [{ name: 'check', ok: false, detail: event.error.message }] });
      break;
    case 'xstate.done.actor.deadline':
      timeOut(draft);
      break;
    case 'node.changed':
      return 'settled'; // concerns the clocks alone
    default:
      obey(draft, event);
  }
  return 'settle';
}

type Verb = Extract<Delivered, { type: (typeof VERBS)[number] }>;

/** Requests: these may throw, and then nothing has changed. */
function obey(draft: CellDraft, event: Verb): void {
  switch (event.type) {
    case 'cell.pause':
      return pauseCell(draft);
    case 'cell.resume':
      return resumeCell(draft);
    case 'cell.cancel':
      return cancelCell(draft, event.reason);
    case 'cell.hold':
      return draft.patch({ runtimeHold: event.reason });
    case 'cell.release':
      return draft.patch({ runtimeHold: null });
    case 'agent.pause':
      return pauseAgent(draft, event.agentId);
    case 'agent.resume':
      return resumeAgent(draft, event.agentId);
    case 'task.retry':
      return retry(draft, event.taskId);
    case 'task.cancel':
      return cancelTask(draft, event.taskId, event.reason);
    case 'criterion.confirm':
      return confirmCriterion(draft, event.name, event.by);
    default:
      event satisfies never;
  }
}

const VERBS = [
  'cell.pause',
  'cell.resume',
  'cell.cancel',
  'cell.hold',
  'cell.release',
  'agent.pause',
  'agent.resume',
  'task.retry',
  'task.cancel',
  'criterion.confirm',
] as const;

function timeOut(draft: CellDraft): void {
  const { timeout } = cellFileOf(draft.context);
  endCell(draft, { reason: `timeout: ran longer than ${timeout} s`, timedOut: true });
}

/** C8 */
const startClock = cell.assign(({ context, event }) => ({
  activeSince: stampOf(event).up,
  armedTimeout: cellFileOf(context).timeout,
}));
const stopClock = cell.assign(({ context, event }) => ({
  usedMs: context.usedMs + spanEnd(event) - (context.activeSince ?? spanEnd(event)),
  activeSince: null,
}));

/** When the active time is used up, on the clock of active time. */
function deadlineOf(context: CellContext): number {
  return (context.activeSince ?? 0) + context.armedTimeout * 1000 - context.usedMs;
}

/** Out of a state as soon as the phase is another one. */
const leavingTo = (top: string) =>
  ({
    held: { guard: { type: 'phaseIs', params: { phase: 'held' } }, target: `${top}.held` },
    paused: { guard: { type: 'phaseIs', params: { phase: 'paused' } }, target: `${top}.paused` },
    completed: {
      guard: { type: 'phaseIs', params: { phase: 'completed' } },
      target: `${top}.completed`,
    },
    failed: { guard: { type: 'phaseIs', params: { phase: 'failed' } }, target: `${top}.failed` },
    active: { guard: 'isActive', target: `${top}.active` },
  }) as const;

const to = leavingTo('#cell@1');

export const cellMachine = cell
  .extend({ actions: { apply, startClock, stopClock } })
  .createMachine({
    id: 'cell@1',
    context: ({ input }) => freshCell(input),
    initial: 'loading',
    on: {
      'files.changed': { actions: 'apply' },
      'host.probed': { actions: 'apply' },
      'daemon.configured': { actions: 'apply' },
      'agent.substitute': { actions: 'apply' },
      'agent.strayed': { actions: 'apply' },
      'cell.pause': { actions: 'apply' },
      'cell.resume': { actions: 'apply' },
      'cell.cancel': { actions: 'apply' },
      'cell.hold': { actions: 'apply' },
      'cell.release': { actions: 'apply' },
      'agent.pause': { actions: 'apply' },
      'agent.resume': { actions: 'apply' },
      'task.retry': { actions: 'apply' },
      'task.cancel': { actions: 'apply' },
      'criterion.confirm': { actions: 'apply' },
      'agent.reported': { actions: 'apply' },
      'agent.checkpointed': { actions: 'apply' },
      'task.progressed': { actions: 'apply' },
      'task.doubted': { actions: 'apply' },
      'task.finished': { actions: 'apply' },
    },
    states: {
      loading: { always: [to.held, to.paused, to.completed, to.failed, to.active] },
      held: { always: [to.paused, to.completed, to.failed, to.active] },
      active: {
        entry: 'startClock',
        exit: 'stopClock',
        on: { 'node.changed': { target: 'active', reenter: true } },
        invoke: {
          id: 'deadline',
          src: 'waitUntil',
          input: ({ context }) => ({ up: deadlineOf(context) }),
          onDone: { target: 'failed', actions: 'apply' },
        },
        always: [
          to.held,
          to.paused,
          to.completed,
          to.failed,
          { guard: 'timeoutChanged', target: 'active', reenter: true },
        ],
        initial: 'working',
        states: {
          working: {
            always: [
              { guard: { type: 'phaseIs', params: { phase: 'verifying' } }, target: 'verifying' },
              { guard: { type: 'phaseIs', params: { phase: 'confirming' } }, target: 'confirming' },
            ],
          },
          verifying: {
            invoke: {
              id: 'criteria',
              src: 'checkCriteria',
              input: ({ context }) => ({
                cellId: context.cellId,
                criteria: cellFileOf(context).success_criteria.filter((c) => c.run !== undefined),
              }),
              onDone: { target: 'working', actions: 'apply' },
              onError: { target: 'working', actions: 'apply' },
            },
            always: {
              guard: { type: 'phaseIs', params: { phase: 'working' } },
              target: 'working',
            },
          },
          confirming: {
            always: [
              { guard: { type: 'phaseIs', params: { phase: 'working' } }, target: 'working' },
              { guard: { type: 'phaseIs', params: { phase: 'verifying' } }, target: 'verifying' },
            ],
          },
        },
      },
      paused: { always: [to.held, to.completed, to.failed, to.active] },
      completed: { always: [to.held, to.paused, to.failed, to.active] },
      failed: { always: [to.held, to.paused, to.completed, to.active] },
    },
  });

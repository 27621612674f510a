/**
 * The guards and actions of the agent machine, by name; agent.machine.ts is the table that uses them and holds the
 * numbered invariants cited here.
 */
import { fromPromise, setup } from 'xstate';
import type { CellEvent, Failure, LazarusEvent, SendParams, SpawnParams } from './events.ts';
import type { Stamp, StopParams } from './events.ts';
import type { PlainError } from './errors.ts';
import { jsonEqual } from './json.ts';
import { lazarusAddress } from './addresses.ts';
import { toCell, toLazarus } from './outgoing.ts';
import {
  artifactsMissing,
  causeOfError,
  causeOfExit,
  failed,
  failureOf,
  finished,
  lostReviving,
} from './agent-context.ts';
import { freshAgentContext, nextStep, progressed, statusOf, stepFailed } from './agent-context.ts';
import { timedOut } from './agent-context.ts';
import type { AgentContext, AgentInput, Cause, Ending } from './agent-context.ts';
import type {
  DeliveredToAgent,
  EndWorkerInput,
  FinishedTask,
  FinishTaskInput,
  RunStepInput,
  RunWorkerInput,
  StepOutput,
  VerifiedRevival,
  VerifyRevivalInput,
  WorkerGone,
  WriteContextInput,
  WrittenContext,
} from './agent-effects.ts';
import { spanEnd, stampOf } from './time.ts';
import { typeOnly, unbound } from './unbound.ts';

/** How long a worker is kept after its last task, in ms. */
export const SPARE_MS = 30_000;

export const agent = setup({
  types: {
    context: typeOnly<AgentContext>(),
    input: typeOnly<AgentInput & Pick<Stamp, 'at' | 'up'>>(),
    events: typeOnly<DeliveredToAgent>(),
  },
  actors: {
    runWorker: fromPromise<WorkerGone, RunWorkerInput>(async () => unbound('runWorker')),
    runStep: fromPromise<StepOutput, RunStepInput>(async () => unbound('runStep')),
    finishTask: fromPromise<FinishedTask, FinishTaskInput>(async () => unbound('finishTask')),
    writeContext: fromPromise<WrittenContext, WriteContextInput>(async () =>
      unbound('writeContext'),
    ),
    verifyRevival: fromPromise<VerifiedRevival, VerifyRevivalInput>(async () =>
      unbound('verifyRevival'),
    ),
    endWorker: fromPromise<void, EndWorkerInput>(async () => unbound('endWorker')),
    waitUntil: fromPromise<void, { up: number }>(async () => unbound('waitUntil')),
  },
  actions: {
    send: (_args, _params: SendParams) => {},
    spawn: (_args, _params: SpawnParams) => {},
    stop: (_args, _params: StopParams) => {},
  },
  guards: {
    isPaused: ({ context }) => context.paused,
    isRunning: ({ context }) => !context.paused,
    needsWorker: ({ context }) =>
      hasWorker(context) && context.assignment !== null && !context.resting,
    needsNoWorker: ({ context }) => !keepsWorker(context),
    keepsWorker: ({ context }) => keepsWorker(context),
    isOut: ({ context }) => isOut(context),
    hasNoWorkers: ({ context }) => !hasWorker(context) || isSilent(context),
    canVerify: ({ context }) =>
      context.revivalId !== null &&
      !isSilent(context) &&
      !isUnsaved(context) &&
      (!hasWorker(context) || context.pid !== null),
    isRecalled: ({ context, event }) =>
      event.type === 'agent.recall' &&
      event.revivalId === context.revivalId &&
      context.condemned === null,
    nothingToVerify: ({ context }) => context.revivalId === null,
    isSilent: ({ context }) => isSilent(context),
    isSameAttempt: ({ context, event }) =>
      event.type === 'agent.synced' &&
      jsonEqual(assignmentKey(event.assignment), assignmentKey(context.assignment)),
    isBehind: ({ context, event }) =>
      event.type === 'agent.synced' && (event.assignment?.stepsDone ?? 0) > context.stepsDone,
    hasTask: ({ event }) => event.type === 'agent.synced' && event.assignment !== null,
    notBegun: ({ context }) => !context.begun,
    stepsLeft: ({ context }) => nextStep(context) !== null,
    clockRuns: ({ context }) => isClockRunning(context),
    clockStands: ({ context }) => !isClockRunning(context),
    checkpointOptional: ({ context }) => !context.policies.checkpoint_required,
    isThisTask: ({ context, event }) =>
      event.type === 'task.withdrawn' && event.taskId === context.assignment?.taskId,
    stepDone: ({ event }) =>
      event.type === 'xstate.done.actor.step' &&
      event.output.exitCode === 0 &&
      event.output.signal === null &&
      !event.output.timedOut,
    artifactsPresent: ({ event }) =>
      event.type === 'xstate.done.actor.finish' && event.output.missing.length === 0,
  },
});

const isSilent = ({ lost }: AgentContext): boolean => lost?.failure.reason === 'silent';

const hasWorker = (context: AgentContext): boolean => context.level !== 'none';

/** One that is there stays for as long as it is at a task or being verified. */
const keepsWorker = (context: AgentContext): boolean =>
  hasWorker(context) &&
  ((context.assignment !== null && !context.resting) || context.revivalId !== null);

/** A11. (One that is condemned ends by itself.) */
const isOut = ({ lost, assignment, revivalId, condemned }: AgentContext): boolean =>
  lost !== null && assignment === null && revivalId === null && condemned === null;

/** It failed because its context could not be written, and that has not been made up for. */
const isUnsaved = ({ lost, assignment, contextHash, policies }: AgentContext): boolean =>
  lost?.failure.reason === 'effect_error' &&
  assignment !== null &&
  contextHash === null &&
  policies.checkpoint_required;

/** A6 */
const isClockRunning = ({ assignment, resting, inDoubt, queued, lost }: AgentContext): boolean =>
  assignment !== null && !resting && !inDoubt && !queued && lost === null;

type Enqueue = Parameters<Parameters<typeof agent.enqueueActions>[0]>[0]['enqueue'];

function tellCell(enqueue: Enqueue, context: AgentContext, event: CellEvent | null): void {
  if (event) enqueue(toCell(context.cellId, event));
}
function tellLazarus(enqueue: Enqueue, context: AgentContext, event: LazarusEvent): void {
  enqueue(toLazarus(context.cellId, context.agentId, event));
}
/** A7 */
const report = agent.enqueueActions(({ context, enqueue }) => {
  const status = statusOf(context);
  if (jsonEqual(status, context.told)) return;
  enqueue.assign({ told: status });
  tellCell(enqueue, context, {
    type: 'agent.reported',
    agentId: context.agentId,
    currentTask: context.assignment?.taskId ?? null,
    ...status,
  });
});

const configure = agent.assign(({ event }) =>
  event.type === 'agent.configured'
    ? {
        agent: event.agent,
        policies: event.policies,
        restart: event.restart,
        level: event.level,
      }
    : {},
);
const pause = agent.assign({ paused: true });
const resume = agent.assign({ paused: false });
const rest = agent.assign({ resting: true });
const unrest = agent.assign({ resting: false });

const take = agent.assign(({ context, event }) => {
  const isGiven = event.type === 'task.assigned' || event.type === 'agent.synced';
  const assignment = isGiven ? event.assignment : null;
  if (!assignment) return {};
  return {
    assignment,
    stepsDone: Math.min(assignment.stepsDone, assignment.steps.length),
    exitCode: null,
    begun: false,
    usedMs: 0,
    inDoubt: false,
    contextHash: null,
    told: takenAs(context, 'active'),
  };
});
/** A9: steps that the cell knows to be done are not done again. */
const catchUp = agent.assign(({ event }) =>
  event.type === 'agent.synced' && event.assignment
    ? {
        stepsDone: Math.min(event.assignment.stepsDone, event.assignment.steps.length),
        inDoubt: false,
      }
    : {},
);
const drop = agent.assign(({ context }) => ({
  assignment: null,
  inDoubt: false,
  told: takenAs(context, 'idle'),
}));

/** A7: what the cell makes of an assignment or its end, if it has not been told of something else. */
function takenAs(context: AgentContext, status: 'active' | 'idle'): AgentContext['told'] {
  const { told } = context;
  return told.status === 'active' || told.status === 'idle' ? { ...told, status } : told;
}

/** A task while another is in hand: the cell gets it back at once. */
const giveBack = agent.enqueueActions(({ context, event, enqueue }) => {
  if (event.type !== 'task.assigned') return;
  const { assignment } = event;
  if (jsonEqual(assignmentKey(assignment), assignmentKey(context.assignment))) return;
  const message = `agent ${context.agentId} is at task ${context.assignment?.taskId ?? '?'}`;
  tellCell(enqueue, context, {
    type: 'task.finished',
    agentId: context.agentId,
    taskId: assignment.taskId,
    attempt: assignment.attempt,
    outcome: 'cancelled',
    result: { stepsDone: assignment.stepsDone, exitCode: null, artifacts: [] },
    error: { name: 'RuntimeError', code: 'CONFLICT', message },
    retryable: true,
  });
});
const assignmentKey = (assignment: AgentContext['assignment']) =>
  assignment && { taskId: assignment.taskId, attempt: assignment.attempt };

const announceTask = agent.enqueueActions(({ context, enqueue }) => {
  tellCell(enqueue, context, progressed(context, null));
});
const announceStep = agent.enqueueActions(({ context, enqueue }) => {
  tellCell(enqueue, context, progressed(context, nextStep(context)?.name ?? null));
});
const countStep = agent.enqueueActions(({ context, event, enqueue }) => {
  if (event.type !== 'xstate.done.actor.step') return;
  const progress = context.progress + 1;
  const { exitCode } = event.output;
  enqueue.assign({ stepsDone: context.stepsDone + 1, progress, exitCode, inDoubt: false });
  if (context.revivals > 0) tellLazarus(enqueue, context, { type: 'agent.progressed', progress });
});
const begin = agent.assign({ begun: true });
/** A6 */
const noteDoubt = agent.assign(({ context, event }) => {
  if (event.type !== 'step.doubted') return {};
  const { taskId, attempt } = event;
  const isThis = jsonEqual({ taskId, attempt }, assignmentKey(context.assignment));
  return isThis ? { inDoubt: event.inDoubt } : {};
});

const saved = agent.enqueueActions(({ context, event, enqueue }) => {
  enqueue.assign({ savedAt: stampOf(event).up });
  if (!('output' in event) || !isWrittenContext(event.output)) return;
  enqueue.assign({ contextHash: event.output.context_hash });
  tellCell(enqueue, context, {
    type: 'agent.checkpointed',
    agentId: context.agentId,
    checkpoint: event.output,
  });
});
function isWrittenContext(output: unknown): output is WrittenContext {
  return typeof output === 'object' && output !== null && 'context_hash' in output;
}
/** The next regular writing tries again. */
const notSaved = agent.assign(({ event }) => ({ savedAt: stampOf(event).up }));

/** A3: the end of an attempt; the status that the cell derives from it is `idle`. */
const end = agent.enqueueActions(({ context, event, enqueue }) => {
  const ending = endingOf(context, event);
  const exitCode =
    event.type === 'xstate.done.actor.step' ? event.output.exitCode : context.exitCode;
  tellCell(enqueue, context, finished({ ...context, exitCode }, ending));
  enqueue.assign({ assignment: null, inDoubt: false, told: takenAs(context, 'idle') });
});

function endingOf(context: AgentContext, event: DeliveredToAgent): Ending {
  switch (event.type) {
    case 'xstate.done.actor.step':
      return stepFailed(context, event.output);
    case 'xstate.done.actor.deadline':
      return timedOut(context);
    case 'xstate.done.actor.finish': {
      const { artifacts, missing } = event.output;
      if (missing.length > 0) return artifactsMissing(context, missing);
      return { outcome: 'completed', artifacts };
    }
    default:
      return failed(context, errorOf(event));
  }
}
function errorOf(event: DeliveredToAgent): PlainError {
  return 'error' in event ? event.error : { name: 'Error', message: `ended by ${event.type}` };
}

/** The age of what was saved is kept, on the clock of the new node. */
const keepAge = agent.assign(({ context, event }) => ({
  savedAt: stampOf(event).up - (spanEnd(event) - context.savedAt),
}));
const startClock = agent.assign(({ event }) => ({ activeSince: stampOf(event).up }));
const stopClock = agent.assign(({ context, event }) => ({
  usedMs: context.usedMs + spanEnd(event) - (context.activeSince ?? spanEnd(event)),
  activeSince: null,
}));

/** A5: the loss itself, told to the cell and to Lazarus. */
const lose = agent.enqueueActions(({ context, event, enqueue }) => {
  const isGone = event.type.endsWith('.actor.worker');
  if (context.condemned && !isGone) return; // that is told when its worker is gone, and says why
  const failure = context.condemned ?? failureIn(context, event);
  const lost = { failure, reason: failure.message };
  const isUnwritten = failure.reason === 'effect_error'; // what stands on disk is not known to be whole
  const next = {
    ...context,
    lost,
    revivalId: null,
    condemned: null,
    queued: isGone ? false : context.queued,
    contextHash: isUnwritten ? null : context.contextHash,
    pid: isGone ? null : context.pid,
    failures: context.failures + 1,
  };
  enqueue.assign(() => ({ ...next, told: statusOf(next) }));
  tellCell(enqueue, context, {
    type: 'agent.reported',
    agentId: context.agentId,
    currentTask: context.assignment?.taskId ?? null,
    ...statusOf(next),
  });
  callLazarus(enqueue, context, failure);
});

function failureIn(context: AgentContext, event: DeliveredToAgent): Failure {
  return event.type === 'agent.recall'
    ? event.failure
    : failureOf(context, causeOf(context, event));
}

function causeOf(context: AgentContext, event: DeliveredToAgent): Cause {
  switch (event.type) {
    case 'xstate.done.actor.worker':
      return causeOfExit(event.output, context.pid !== null);
    case 'xstate.error.actor.worker':
      return causeOfError(context.pid === null ? 'worker_start' : 'worker_exit', event.error);
    case 'xstate.error.actor.verify':
      return causeOfError('unverified', event.error);
    case 'agent.silent':
      return { reason: 'silent', signature: 'silent', text: event.message };
    default:
      return causeOfError('effect_error', errorOf(event));
  }
}

/** It came back, but not whole: its worker is ended, and then it is lost for this reason. */
const condemn = agent.assign(({ context, event }) => ({
  condemned: failureOf(context, causeOf(context, event)),
}));

/** Its revival is called off: its worker is ended, and then it is lost for the reason it was lost for before. */
const recall = agent.assign(({ context: { lost }, event }) => {
  if (event.type !== 'agent.recall') return {};
  const reason = `${event.failure.message}; its revival is called off`;
  return { condemned: event.failure, revivalId: null, lost: lost && { ...lost, reason } };
});

function callLazarus(enqueue: Enqueue, context: AgentContext, failure: Failure): void {
  const { cellId, agentId, policies, restart } = context;
  const address = lazarusAddress(cellId, agentId);
  enqueue({ type: 'spawn', params: { address, machine: 'lazarus', input: { cellId, agentId } } });
  tellLazarus(enqueue, context, { type: 'agent.failed', failure, policies, restart });
}

/** Another node has a Lazarus of its own, who knows nothing of this loss. */
const callAgain = agent.enqueueActions(({ context, enqueue }) => {
  if (context.lost) callLazarus(enqueue, context, context.lost.failure);
});

const abandon = agent.assign(({ context, event }) =>
  context.lost && event.type === 'agent.abandoned'
    ? { lost: { ...context.lost, reason: event.reason } }
    : {},
);
/** Lazarus knows nothing of a worker that was waiting before it asked. */
const startReviving = agent.enqueueActions(({ context, event, enqueue }) => {
  if (event.type !== 'agent.revive') return;
  const { revivalId, attempt } = event;
  const next = { ...context, revivalId, attempt };
  enqueue.assign({ revivalId, attempt, lost: lostReviving(next) });
  if (context.queued) tellLazarus(enqueue, context, { type: 'agent.queued', revivalId });
});
/** A12: it waits its turn, or does so no more. */
const setQueued = (queued: boolean) =>
  agent.enqueueActions(({ context, enqueue }) => {
    if (context.queued === queued) return; // an effect that ran again after a restart says it again
    const { lost, revivalId } = context;
    const isLatest = lost?.reason === lostReviving(context)?.reason; // else a person is asked meanwhile
    enqueue.assign({ queued, lost: isLatest ? lostReviving({ ...context, queued }) : lost });
    if (revivalId === null) return;
    const type = queued ? 'agent.queued' : 'agent.starting';
    tellLazarus(enqueue, context, { type, revivalId });
  });
const workerStarted = agent.assign(({ event }) =>
  event.type === 'worker.started' ? { pid: event.pid } : {},
);
const workerStopped = agent.assign({ pid: null, queued: false });

/** A10: verified. Lazarus and the cell hear of it. */
const revived = agent.enqueueActions(({ context, event, enqueue }) => {
  const { revivalId, pid } = context;
  if (revivalId === null) return;
  enqueue.assign({ lost: null, revivalId: null, revivals: context.revivals + 1 });
  const { repaired, contextHash } =
    event.type === 'xstate.done.actor.verify'
      ? event.output
      : { repaired: [], contextHash: context.contextHash };
  if (contextHash !== null) enqueue.assign({ contextHash });
  if (event.type === 'xstate.done.actor.verify' && event.output.written) {
    const { agentId } = context;
    const checkpoint = event.output.written;
    tellCell(enqueue, context, { type: 'agent.checkpointed', agentId, checkpoint });
  }
  tellLazarus(enqueue, context, { type: 'agent.revived', revivalId, pid, repaired });
});
/** A remote agent is heard again: nobody brought it back, so there is nothing to verify. */
const recovered = agent.enqueueActions(({ context, enqueue }) => {
  const { revivalId, pid } = context;
  enqueue.assign({ lost: null, revivalId: null });
  if (revivalId === null) tellLazarus(enqueue, context, { type: 'agent.recovered' });
  else tellLazarus(enqueue, context, { type: 'agent.revived', revivalId, pid });
});

const remove = agent.enqueueActions(({ context, enqueue }) => {
  if (context.failures > 0) tellLazarus(enqueue, context, { type: 'agent.removed' });
  const { cellId, agentId, level } = context;
  enqueue.assign(({ event }) =>
    freshAgentContext({ cellId, agentId, level, up: stampOf(event).up }),
  );
});

export const agentActions = {
  report,
  configure,
  pause,
  resume,
  rest,
  unrest,
  take,
  drop,
  giveBack,
  announceTask,
  announceStep,
  countStep,
  begin,
  saved,
  notSaved,
  end,
  startClock,
  stopClock,
  catchUp,
  noteDoubt,
  lose,
  condemn,
  recall,
  recovered,
  callAgain,
  keepAge,
  abandon,
  startReviving,
  workerQueued: setQueued(true),
  workerStarting: setQueued(false),
  workerStarted,
  workerStopped,
  revived,
  remove,
};

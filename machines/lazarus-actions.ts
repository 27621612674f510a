/** The guards and actions of the Lazarus machine, by name; lazarus.machine.ts is the table that uses them. */
import { fromPromise, setup } from 'xstate';
import type { EffectDone, EffectFailed, LazarusEvent } from './events.ts';
import type { SendParams, SpawnParams, Stamp, StopParams } from './events.ts';
import { toAgent, toCell } from './outgoing.ts';
import { conflict } from './errors.ts';
import { answered, conclude, forgetRequest, freshLazarus, leftQueue } from './lazarus-context.ts';
import { ledgerEntry, queuedIn, startRevival, takeUp, tell } from './lazarus-context.ts';
import type { Answer, LazarusContext, LazarusInput, LedgerEntry } from './lazarus-context.ts';
import type { ReportedFailure, RevivalOutcome } from './lazarus-context.ts';
import { NOT_PUT_BACK } from './revival-choices.ts';
import { hasStopped, substitutesOf } from './revival-policy.ts';
import { recordRestart } from './restart-intensity.ts';
import { stampOf } from './time.ts';
import { typeOnly, unbound } from './unbound.ts';

/** Whom the effects on an agent's own actor are about. */
export interface ActorOfAgent {
  cellId: string;
  agentId: string;
  revivalId: string;
}

type Delivered =
  | (LazarusEvent & Stamp)
  | EffectDone<'ledger' | 'answer' | 'release' | 'rollBack'>
  | EffectFailed<'ledger' | 'answer' | 'release' | 'rollBack'>
  | EffectDone<'backoff' | 'deadline' | 'ledgerRetry' | 'expiry' | 'patience'>;

/** Tries to write a ledger entry, with growing pauses of 1 s, 2 s, 4 s ... */
const LEDGER_TRIES = 8;
/** How long the cell may take to say who takes a task over, in ms. It answers in its next turn, unless it is held. */
export const SUBSTITUTION_MS = 30_000;
/** How long an agent may wait its turn to start a worker before it is asked whether it still does, in ms. */
export const TURN_MS = 300_000;

export const lazarus = setup({
  types: {
    context: typeOnly<LazarusContext>(),
    input: typeOnly<LazarusInput & Pick<Stamp, 'at' | 'up'>>(),
    events: typeOnly<Delivered>(),
  },
  actors: {
    writeLedger: fromPromise<void, { entry: LedgerEntry }>(async () => unbound('writeLedger')),
    fileRequest: fromPromise<void, { entry: LedgerEntry }>(async () => unbound('fileRequest')),
    releaseActor: fromPromise<void, ActorOfAgent>(async () => unbound('releaseActor')),
    rollBackActor: fromPromise<{ toSeq: number }, ActorOfAgent>(async () =>
      unbound('rollBackActor'),
    ),
    waitUntil: fromPromise<void, { at: number } | { up: number }>(async () => unbound('waitUntil')),
  },
  actions: {
    send: (_args, _params: SendParams) => {},
    spawn: (_args, _params: SpawnParams) => {},
    stop: (_args, _params: StopParams) => {},
  },
  guards: {
    decidedTo: ({ context }, { kind }: { kind: 'revive' | 'ask' | 'refuse' }) =>
      context.decision?.kind === kind,
    dueNow: ({ context }) => context.decision?.kind === 'revive' && context.decision.delayMs === 0,
    hasSubstitutes: ({ context }) => context.substitutes.length > 0,
    isThisRevival: ({ context, event }) =>
      'revivalId' in event && event.revivalId === context.revivalId,
    isAnswer: ({ context, event }) =>
      'revivalId' in event
        ? event.revivalId === undefined || event.revivalId === context.revivalId
        : true,
    wantsSubstitute: ({ context }) => context.answer?.kind === 'substitute',
    gaveUp: ({ context }) => context.answer?.kind === 'give_up',
    mayBeAtWork: ({ context }) => mayBeAtWork(context),
    hasStopped: ({ event }) => event.type === 'agent.failed' && hasStopped(event.failure),
    isHeld: ({ context }) => context.current?.failure.reason === 'actor_held',
    rollsBack: ({ context }) =>
      context.answer?.kind === 'roll_back' && context.rolledBackTo === null,
    failureQueued: ({ context }) => context.queued !== null,
    ledgerTriesLeft: ({ context }) => context.ledgerTries < LEDGER_TRIES,
    tooManyFaults: ({ context, event }) =>
      event.type === 'agent.faulted' &&
      recordRestart(context.faults, stampOf(event).at, event.restart).exceeded,
  },
});

/** L7: it was called back, or its actor is held and says nothing. */
const mayBeAtWork = ({ called, current }: LazarusContext): boolean =>
  called || current?.failure.reason === 'actor_held';

const reported = (event: Delivered): ReportedFailure | null => {
  if (event.type !== 'agent.failed' && event.type !== 'agent.faulted') return null;
  const { failure, policies, restart } = event;
  return { failure, policies, restart, ...timeOf(event) };
};

function timeOf(event: Delivered): Pick<Stamp, 'at' | 'up'> {
  const { at, up } = stampOf(event);
  return { at, up };
}

const takeFailure = lazarus.assign(({ context, event }) => {
  const failure = reported(event);
  return failure ? takeUp(context, failure) : {};
});
/** The same agent, failed once more while its case is closed or waits for a person: the case is about this failure now. */
const noteFailure = lazarus.assign(({ context, event }) => {
  const failure = reported(event);
  if (!failure) return {};
  const called = context.called && !hasStopped(failure.failure);
  const next = { ...context, current: failure, called };
  return tell(next, failure.at, `failed: ${failure.failure.message}`);
});
/** L1 */
const queueFailure = lazarus.assign(({ event }) => ({ queued: reported(event) }));
const takeQueued = lazarus.assign(({ context }) =>
  context.queued ? takeUp(forgetRequest(context), context.queued) : {},
);
/** Its actor could not be released: that is the same failure again. */
const takeHeld = lazarus.assign(({ context, event }) =>
  context.current ? takeUp(context, { ...context.current, ...timeOf(event) }) : {},
);
/** L6 */
const noteFault = lazarus.assign(({ context, event }) => {
  if (event.type !== 'agent.faulted') return {};
  const { at } = stampOf(event);
  const { restarts: faults } = recordRestart(context.faults, at, event.restart);
  return tell({ ...context, faults }, at, event.failure.message);
});
const forget = lazarus.assign(({ context }) => forgetRequest(context));

/** `revive_timeout` is over: as futile as one that cannot be tried again. */
const runOutOfTime = lazarus.assign(({ context }) => {
  const { current } = context;
  return {
    reason: 'the agent did not come back within revive_timeout',
    substitutes: current ? substitutesOf(current) : [],
  };
});
const noteRolledBack = lazarus.assign(({ context, event }) => {
  if (event.type !== 'xstate.done.actor.rollBack') return {};
  const { toSeq } = event.output as { toSeq: number };
  const line = `its state was put back to the checkpoint at seq ${toSeq}`;
  return tell({ ...context, rolledBackTo: toSeq }, stampOf(event).at, line);
});

const begin = lazarus.assign(({ context, event }) => startRevival(context, stampOf(event).at));
const callAgent = lazarus.enqueueActions(({ context, enqueue }) => {
  const { cellId, agentId, attempts: attempt } = context;
  const revivalId = context.revivalId ?? '';
  enqueue.assign({ called: true });
  enqueue(toAgent(cellId, agentId, { type: 'agent.revive', revivalId, attempt }));
});
const noteQueued = lazarus.assign(({ context, event }) => queuedIn(context, stampOf(event)));
const countQueued = lazarus.assign(({ context, event }) => leftQueue(context, stampOf(event).up));
const noteStarting = lazarus.assign(({ context, event }) => {
  const { at, up } = stampOf(event);
  return tell(leftQueue(context, up), at, 'its worker starts');
});
/** L7 */
const recallAgent = lazarus.enqueueActions(({ context, event, enqueue }) => {
  const { cellId, agentId, revivalId, current } = context;
  if (!current || revivalId === null) return;
  enqueue.assign(() => tell(context, stampOf(event).at, 'its revival is called off'));
  enqueue(toAgent(cellId, agentId, { type: 'agent.recall', revivalId, failure: current.failure }));
});
/** Its state was put back, so the cell tells it what it has in hand. */
const callStrayed = lazarus.enqueueActions(({ context: { cellId, agentId }, enqueue }) => {
  enqueue(toCell(cellId, { type: 'agent.strayed', agentId }));
});
const seekSubstitute = lazarus.enqueueActions(({ context, event, enqueue }) => {
  const { cellId, agentId, revivalId, substitutes } = context;
  const reason = context.current?.failure.message ?? 'failed';
  const { at } = stampOf(event);
  enqueue.assign(() => tell(context, at, `handing the task over to ${substitutes.join(' or ')}`));
  enqueue(
    toCell(cellId, {
      type: 'agent.substitute',
      agentId,
      substitutes,
      revivalId: revivalId ?? '',
      reason,
    }),
  );
});

/** L4: a person's answer. A request that is not at hand cannot be answered: the sender hears of it. */
const takeAnswer = lazarus.assign(({ context, event }) => {
  const answer = answerOf(event);
  return answer ? answered(context, answer, stampOf(event).up) : {};
});
function answerOf(event: Delivered): Answer | null {
  const { at } = stampOf(event);
  switch (event.type) {
    case 'revival.approve':
      return { kind: event.rollBack === true ? 'roll_back' : 'retry', by: event.by, at };
    case 'revival.substitute':
      return { kind: 'substitute', by: event.by, at, agentId: event.agentId };
    case 'revival.reject':
      return { kind: 'give_up', by: event.by, at };
    default:
      return null;
  }
}
const refuseAnswer = lazarus.enqueueActions(({ context, event }) => {
  const { agentId, revivalId } = context;
  const asked = 'revivalId' in event ? event.revivalId : undefined;
  if (asked !== undefined && asked !== revivalId)
    throw conflict(
      `revival ${asked} does not wait for an answer any more`,
      'See what does: `lazarus revivals list`.',
    );
  throw conflict(
    context.current === null
      ? `agent ${agentId} has not failed; there is nothing to be answered`
      : `revival ${revivalId ?? '?'} of agent ${agentId} ${standing(context)}: it waits for no answer`,
  );
});
const standing = ({ outcome }: LazarusContext): string =>
  outcome === null ? 'is under way' : `is closed (${outcome})`;

/** L3: the outcome, told to the agent too, for its cell shows people why it stands still. */
const concludeAs = (outcome: RevivalOutcome) =>
  lazarus.enqueueActions(({ context, event, enqueue }) => {
    const { at } = stampOf(event);
    const next = conclude(withSubstitute(context, event), {
      outcome,
      reason: reasonOf(context, event, outcome),
      at,
    });
    enqueue.assign(() => next);
    if (outcome === 'revived' || outcome === 'recovered' || outcome === 'removed') return;
    const { cellId, agentId } = context;
    const reason = `${context.current?.failure.message ?? 'failed'}; ${advice(next)}`;
    enqueue(toAgent(cellId, agentId, { type: 'agent.abandoned', reason }));
  });

function withSubstitute(context: LazarusContext, event: Delivered): LazarusContext {
  if (event.type === 'agent.revived' && event.repaired && event.repaired.length > 0)
    return tell(context, stampOf(event).at, `written anew: ${event.repaired.join(', ')}`);
  if (event.type !== 'substitution.done') return context;
  const { substitute: agentId, taskId } = event;
  return { ...context, substitute: { agentId, taskId } };
}

function reasonOf(context: LazarusContext, event: Delivered, outcome: RevivalOutcome): string {
  if (outcome === 'revived' || outcome === 'recovered') return '';
  switch (event.type) {
    case 'xstate.done.actor.expiry':
      return 'nobody answered in time';
    case 'xstate.done.actor.patience':
      return mayBeAtWork(context)
        ? `${context.reason}; ${context.agentId} did not let go of its task`
        : `${context.reason}; the cell did not say who could take the task over`;
    case 'substitution.refused':
      return `${context.reason === '' ? 'a substitute was asked for' : context.reason}; ${event.reason}`;
    case 'substitution.done':
      return `${event.substitute} took over task ${event.taskId}`;
    case 'xstate.error.actor.rollBack':
      return `${NOT_PUT_BACK}: ${event.error.message}`;
    case 'agent.removed':
      return 'the agent was removed';
    case 'agent.faulted':
      return `its machine rejects events: ${event.failure.message}`;
    default:
      return outcome === 'rejected' ? `given up by ${context.answer?.by ?? '?'}` : context.reason;
  }
}

function advice(context: LazarusContext): string {
  const { cellId, agentId, outcome, reason, revivalId } = context;
  if (outcome === 'asking')
    return `waits for a person (${reason}): \`lazarus revivals show ${revivalId}\``;
  if (outcome === 'substituted') return reason;
  return `not revived: ${reason}; to try all the same: \`lazarus agent revive ${cellId}/${agentId}\``;
}

const countLedgerTry = lazarus.assign(({ context, event }) => ({
  ledgerTries: context.ledgerTries + 1,
  ledgerRetryAt: stampOf(event).at + 1000 * 2 ** context.ledgerTries,
}));
const progress = lazarus.assign(({ context, event }) =>
  event.type === 'agent.progressed' && event.progress > context.lastProgress
    ? { lastProgress: event.progress, withoutProgress: 0, sameSignature: 0, tried: 0 }
    : {},
);
/** A new agent under the old id starts without the old one's record; numbers of revivals are never used twice. */
const startOver = lazarus.assign(({ context }) => ({
  ...freshLazarus(context),
  count: context.count,
  timesRevived: context.timesRevived,
  history: context.history,
  story: context.story, // how it ended, until there is a new one to tell
  queued: context.queued,
}));

export const entryInput = ({ context }: { context: LazarusContext }) => ({
  entry: ledgerEntry(context),
});
export const actorInput = ({ context }: { context: LazarusContext }): ActorOfAgent => {
  const { cellId, agentId, revivalId } = context;
  return { cellId, agentId, revivalId: revivalId ?? '' };
};

export const lazarusActions = {
  takeFailure,
  noteFailure,
  queueFailure,
  takeQueued,
  takeHeld,
  noteFault,
  forget,
  runOutOfTime,
  noteRolledBack,
  begin,
  callAgent,
  noteQueued,
  countQueued,
  noteStarting,
  callStrayed,
  recallAgent,
  seekSubstitute,
  takeAnswer,
  refuseAnswer,
  concludeAsking: concludeAs('asking'),
  concludeRefused: concludeAs('refused'),
  concludeExpired: concludeAs('expired'),
  concludeRejected: concludeAs('rejected'),
  concludeRemoved: concludeAs('removed'),
  concludeRevived: concludeAs('revived'),
  concludeRecovered: concludeAs('recovered'),
  concludeSubstituted: concludeAs('substituted'),
  countLedgerTry,
  progress,
  startOver,
};

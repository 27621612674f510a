/**
 * Lazarus, for one agent: hears that it failed, decides by policy whether and when it comes back, sees the revival
 * through and writes down how it went.
 *
 * L1 No failure is lost: one that comes during a revival is a further attempt of it, one that comes while an outcome is
 *    being recorded waits until that is done.
 * L2 One revival at a time; `agent.revived` counts only for the one under way, or the last that was given up.
 * L3 Every request ends in the ledger: revived, refused, given up or rejected; one that waits for a person stands there too.
 * L4 A person's approval overrides policy and counters, once; there must be a failure to approve.
 * L5 Intensity and retries without progress are bounded (revival-policy.ts); so are story, history and ledger retries.
 */
import { fromPromise, setup } from 'xstate';
import type { EffectDone, EffectFailed, LazarusEvent, SendParams, SpawnParams } from './events.ts';
import type { Stamp, StopParams } from './events.ts';
import { toAgent } from './outgoing.ts';
import { conflict } from './errors.ts';
import { approve, conclude, forgetRequest, freshLazarus, ledgerEntry } from './lazarus-context.ts';
import { startRevival, takeUp, tell } from './lazarus-context.ts';
import type { LazarusContext, LazarusInput, LedgerEntry } from './lazarus-context.ts';
import type { ReportedFailure, RevivalOutcome } from './lazarus-context.ts';
import { stampOf } from './time.ts';
import { typeOnly, unbound } from './unbound.ts';

type Delivered =
  | (LazarusEvent & Stamp)
  | EffectDone<'ledger'>
  | EffectFailed<'ledger'>
  | EffectDone<'backoff'>
  | EffectDone<'deadline'>
  | EffectDone<'ledgerRetry'>
  | EffectDone<'expiry'>;

/** A request that nobody answers is given up after this long, in ms. It can still be approved later. */
const ASK_EXPIRES_MS = 24 * 3_600_000;
/** Tries to write a ledger entry, with growing pauses of 1 s, 2 s, 4 s ... */
const LEDGER_TRIES = 8;

const lazarus = setup({
  types: {
    context: typeOnly<LazarusContext>(),
    input: typeOnly<LazarusInput & Pick<Stamp, 'at' | 'up'>>(),
    events: typeOnly<Delivered>(),
  },
  actors: {
    writeLedger: fromPromise<void, { entry: LedgerEntry }>(async () => unbound('writeLedger')),
    waitUntil: fromPromise<void, { at: number }>(async () => unbound('waitUntil')),
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
    isThisRevival: ({ context, event }) =>
      event.type === 'agent.revived' && event.revivalId === context.revivalId,
    failureQueued: ({ context }) => context.queued !== null,
    ledgerTriesLeft: ({ context }) => context.ledgerTries < LEDGER_TRIES,
  },
});

const reported = (event: Delivered): ReportedFailure | null => {
  if (event.type !== 'agent.failed') return null;
  const { failure, policies, restart } = event;
  return { failure, policies, restart, at: stampOf(event).at };
};

const takeFailure = lazarus.assign(({ context, event }) => {
  const failure = reported(event);
  return failure ? takeUp(context, failure) : {};
});
/** The same agent, failed once more while its case is closed or waits for a person: the case is about this failure now. */
const noteFailure = lazarus.assign(({ context, event }) => {
  const failure = reported(event);
  if (!failure) return {};
  return tell({ ...context, current: failure }, failure.at, `failed: ${failure.failure.message}`);
});
/** L1 */
const queueFailure = lazarus.assign(({ event }) => ({ queued: reported(event) }));
const takeQueued = lazarus.assign(({ context }) =>
  context.queued ? takeUp(forgetRequest(context), context.queued) : {},
);
const forget = lazarus.assign(({ context }) => forgetRequest(context));

const begin = lazarus.enqueueActions(({ context, event, enqueue }) => {
  const next = startRevival(context, stampOf(event).at);
  enqueue.assign(() => next);
  const { cellId, agentId, revivalId } = next;
  enqueue(toAgent(cellId, agentId, { type: 'agent.revive', revivalId: revivalId ?? '' }));
});

/** L4: without a failure there is nothing to approve. */
const approveNow = lazarus.assign(({ context, event }) =>
  event.type === 'revival.approve' ? approve(context, event.by, stampOf(event).at) : {},
);
const refuseRequest = lazarus.enqueueActions(({ context, event }) => {
  const answer = event.type === 'revival.reject' ? 'rejected' : 'approved';
  throw conflict(
    context.current === null
      ? `agent ${context.agentId} has not failed; there is nothing to be ${answer}`
      : `revival ${context.revivalId ?? '?'} of agent ${context.agentId} cannot be ${answer} now`,
  );
});

/** L3: the outcome, told to the agent too, for its cell shows people why it stands still. */
const concludeAs = (outcome: RevivalOutcome) =>
  lazarus.enqueueActions(({ context, event, enqueue }) => {
    const { at } = stampOf(event);
    const next = conclude(context, { outcome, reason: reasonOf(context, event, outcome), at });
    enqueue.assign(() => next);
    if (outcome === 'revived' || outcome === 'removed') return;
    const { cellId, agentId } = context;
    const reason = `${context.current?.failure.message ?? 'failed'}; ${advice(next)}`;
    enqueue(toAgent(cellId, agentId, { type: 'agent.abandoned', reason }));
  });

function reasonOf(context: LazarusContext, event: Delivered, outcome: RevivalOutcome): string {
  if (outcome === 'revived') return '';
  if (event.type === 'revival.reject') return `rejected by ${event.by}`;
  if (event.type === 'xstate.done.actor.deadline')
    return `the agent did not come back within revive_timeout`;
  if (event.type === 'xstate.done.actor.expiry') return 'nobody answered within 24 hours';
  if (event.type === 'agent.removed') return 'the agent was removed';
  return context.reason;
}

function advice({ cellId, agentId, outcome, reason, revivalId }: LazarusContext): string {
  const approve = `\`lazarus agent revive ${cellId}/${agentId}\``;
  return outcome === 'asking'
    ? `revival ${revivalId} waits for a person: ${approve}`
    : `not revived: ${reason}; to try all the same: ${approve}`;
}

const countLedgerTry = lazarus.assign(({ context, event }) => ({
  ledgerTries: context.ledgerTries + 1,
  ledgerRetryAt: stampOf(event).at + 1000 * 2 ** context.ledgerTries,
}));
const progress = lazarus.assign(({ context, event }) =>
  event.type === 'agent.progressed' && event.progress > context.lastProgress
    ? { lastProgress: event.progress, withoutProgress: 0, sameSignature: 0 }
    : {},
);
/** A new agent under the old id starts without the old one's record; numbers of revivals are never used twice. */
const startOver = lazarus.assign(({ context }) => ({
  ...freshLazarus(context),
  count: context.count,
  history: context.history,
  queued: context.queued,
}));

/**
 * The ledger entry is written, with retries, and then `resting`. (Not a final state with `onDone`: that event would come
 * from XState itself and carry no stamp.)
 */
const recording = {
  invoke: {
    id: 'ledger',
    src: 'writeLedger',
    input: ({ context }: { context: LazarusContext }) => ({ entry: ledgerEntry(context) }),
    onDone: 'resting',
    onError: [
      { guard: 'ledgerTriesLeft', target: 'retrying', actions: 'countLedgerTry' },
      { target: 'resting' },
    ],
  },
} as const;
const retrying = {
  invoke: {
    id: 'ledgerRetry',
    src: 'waitUntil',
    input: ({ context }: { context: LazarusContext }) => ({ at: context.ledgerRetryAt }),
    onDone: 'recording',
  },
} as const;

/** A case that only a person can open again. */
const closed = {
  initial: 'recording',
  on: {
    'agent.failed': { actions: 'noteFailure' },
    'agent.removed': 'withdrawn',
    'revival.approve': { target: 'reviving', actions: 'approveNow' },
  },
  states: { recording, retrying, resting: {} },
} as const;

export const lazarusMachine = lazarus
  .extend({
    actions: {
      takeFailure,
      noteFailure,
      queueFailure,
      takeQueued,
      forget,
      begin,
      approveNow,
      refuseRequest,
      concludeAsking: concludeAs('asking'),
      concludeRefused: concludeAs('refused'),
      concludeGivenUp: concludeAs('gave_up'),
      concludeRejected: concludeAs('rejected'),
      concludeRemoved: concludeAs('removed'),
      concludeRevived: concludeAs('revived'),
      countLedgerTry,
      progress,
      startOver,
    },
  })
  .createMachine({
    id: 'lazarus@1',
    context: ({ input }) => freshLazarus(input),
    initial: 'watching',
    on: {
      'agent.progressed': { actions: 'progress' },
      'agent.removed': { target: '.watching', actions: 'startOver' },
      'revival.approve': { actions: 'refuseRequest' },
      'revival.reject': { actions: 'refuseRequest' },
    },
    states: {
      watching: { on: { 'agent.failed': { target: 'deciding', actions: 'takeFailure' } } },
      deciding: {
        always: [
          { guard: 'dueNow', target: 'reviving' },
          { guard: { type: 'decidedTo', params: { kind: 'revive' } }, target: 'backingOff' },
          {
            guard: { type: 'decidedTo', params: { kind: 'ask' } },
            target: 'asking',
            actions: 'concludeAsking',
          },
          {
            guard: { type: 'decidedTo', params: { kind: 'refuse' } },
            target: 'refused',
            actions: 'concludeRefused',
          },
          {
            target: 'gaveUp',
            actions: 'concludeGivenUp',
          },
        ],
      },
      backingOff: {
        invoke: {
          id: 'backoff',
          src: 'waitUntil',
          input: ({ context }) => ({ at: context.dueAt }),
          onDone: 'reviving',
        },
        on: {
          'agent.failed': { actions: 'noteFailure' },
          'agent.removed': { target: 'withdrawn', actions: 'concludeRemoved' },
          'revival.approve': { target: 'reviving', actions: 'approveNow' },
          'revival.reject': {
            target: 'rejected',
            actions: 'concludeRejected',
          },
        },
      },
      reviving: {
        entry: 'begin',
        invoke: {
          id: 'deadline',
          src: 'waitUntil',
          input: ({ context }) => ({ at: context.deadlineAt }),
          onDone: {
            target: 'gaveUp',
            actions: 'concludeGivenUp',
          },
        },
        on: {
          'agent.failed': { target: 'deciding', actions: 'takeFailure' },
          'agent.removed': { target: 'withdrawn', actions: 'concludeRemoved' },
          'agent.revived': {
            guard: 'isThisRevival',
            target: 'revived',
            actions: 'concludeRevived',
          },
        },
      },
      revived: {
        initial: 'recording',
        on: {
          'agent.failed': { actions: 'queueFailure' },
          'agent.removed': 'withdrawn',
        },
        states: {
          recording,
          retrying,
          resting: {
            always: [
              { guard: 'failureQueued', target: '#lazarus@1.deciding', actions: 'takeQueued' },
              { target: '#lazarus@1.watching', actions: 'forget' },
            ],
          },
        },
      },
      asking: {
        initial: 'recording',
        invoke: {
          id: 'expiry',
          src: 'waitUntil',
          input: ({ context }) => ({ at: context.endedAt + ASK_EXPIRES_MS }),
          onDone: {
            target: 'gaveUp',
            actions: 'concludeGivenUp',
          },
        },
        on: {
          'agent.failed': { actions: 'noteFailure' },
          'agent.removed': {
            target: 'withdrawn',
            actions: 'concludeRemoved',
          },
          'revival.approve': { target: 'reviving', actions: 'approveNow' },
          'revival.reject': {
            target: 'rejected',
            actions: 'concludeRejected',
          },
        },
        states: { recording, retrying, resting: {} },
      },
      refused: closed,
      rejected: closed,
      gaveUp: {
        ...closed,
        on: {
          ...closed.on,
          'agent.revived': {
            guard: 'isThisRevival',
            target: 'revived',
            actions: 'concludeRevived',
          },
        },
      },
      withdrawn: {
        initial: 'recording',
        on: { 'agent.failed': { actions: 'queueFailure' }, 'agent.removed': {} },
        states: {
          recording,
          retrying,
          resting: {
            always: [
              {
                guard: 'failureQueued',
                target: '#lazarus@1.deciding',
                actions: ['startOver', 'takeQueued'],
              },
              { target: '#lazarus@1.watching', actions: 'startOver' },
            ],
          },
        },
      },
    },
  });

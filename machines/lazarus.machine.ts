/**
 * Lazarus, for one agent: hears that it failed, decides by policy whether and when it comes back, sees the revival
 * through, and when trying again is futile hands its task over or asks a person. It writes down how each case went.
 *
 * L1 No failure is lost: one that comes during a revival is a further attempt of it, one that comes while an outcome is
 *    being recorded waits until that is done.
 * L2 One revival at a time; `agent.revived` counts only for the one under way, or the last that nobody has answered yet.
 * L3 Every request ends in the ledger: revived, recovered, refused, substituted, rejected or expired; one that waits for a
 *    person stands there too, and has a file.
 * L4 A person's answer overrides policy and counters, once; there must be a failure to answer for.
 * L5 Intensity and retries without progress are bounded (futility.ts); so are story, history and ledger retries.
 * L6 Events that the agent's machine threw are counted in the same window as restarts; more than it allows, and a person
 *    is asked.
 * L7 A task is handed over only once its agent has surely stopped: one that may be coming back is recalled first.
 * L8 `revive_timeout` counts neither the time in which the agent's worker waits its turn to start, for then nothing was tried,
 *    nor that in which no node runs.
 */
import { freshLazarus, reviveDeadline } from './lazarus-context.ts';
import type { LazarusContext } from './lazarus-context.ts';
import { actorInput, entryInput, lazarus, lazarusActions } from './lazarus-actions.ts';
import { SUBSTITUTION_MS, TURN_MS } from './lazarus-actions.ts';
import { stampOf } from './time.ts';

/**
 * The ledger entry is written, with retries, and then `resting`. (Not a final state with `onDone`: that event would come
 * from XState itself and carry no stamp.)
 */
const recording = {
  invoke: {
    id: 'ledger',
    src: 'writeLedger',
    input: entryInput,
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
    input: ({ context }: { context: { ledgerRetryAt: number } }) => ({ at: context.ledgerRetryAt }),
    onDone: 'recording',
  },
} as const;

/** L8: armed anew wherever the time of a revival goes on. */
const deadline = {
  id: 'deadline',
  src: 'waitUntil',
  input: ({ context }: { context: LazarusContext }) => ({ up: reviveDeadline(context) }),
  onDone: { target: '#lazarus@1.futile', actions: 'runOutOfTime' },
} as const;
const waitsItsTurn = {
  'agent.queued': { guard: 'isThisRevival', target: 'queued', actions: 'noteQueued' },
} as const;

/** What a person may say wherever a case waits for one, or is closed. */
const answers = {
  'revival.approve': { guard: 'isAnswer', target: '#lazarus@1.answering', actions: 'takeAnswer' },
  'revival.substitute': {
    guard: 'isAnswer',
    target: '#lazarus@1.answering',
    actions: 'takeAnswer',
  },
} as const;
const comesBack = {
  'agent.revived': {
    guard: 'isThisRevival',
    target: '#lazarus@1.revived',
    actions: 'concludeRevived',
  },
  'agent.recovered': { target: '#lazarus@1.revived', actions: 'concludeRecovered' },
} as const;
const isGone = {
  'agent.removed': { target: '#lazarus@1.withdrawn', actions: 'concludeRemoved' },
} as const;
const handedOver = {
  'substitution.done': {
    guard: 'isThisRevival',
    target: '#lazarus@1.substituted',
    actions: 'concludeSubstituted',
  },
} as const;
const givesUp = {
  'revival.reject': { guard: 'isAnswer', target: '#lazarus@1.answering', actions: 'takeAnswer' },
} as const;

/** A case that only a person, or the agent itself, can open again. */
const closed = {
  initial: 'recording',
  on: {
    ...answers,
    ...comesBack,
    'agent.failed': { actions: 'noteFailure' },
    'agent.removed': '#lazarus@1.withdrawn',
  },
  states: { recording, retrying, resting: {} },
} as const;

const ask = { target: '#lazarus@1.asking', actions: 'concludeAsking' } as const;

export const lazarusMachine = lazarus.extend({ actions: lazarusActions }).createMachine({
  id: 'lazarus@1',
  context: ({ input }) => freshLazarus(input),
  initial: 'watching',
  on: {
    'agent.progressed': { actions: 'progress' },
    'agent.removed': { target: '.watching', actions: 'startOver' },
    'agent.faulted': { actions: 'noteFault' },
    'revival.approve': { actions: 'refuseAnswer' },
    'revival.substitute': { actions: 'refuseAnswer' },
    'revival.reject': { actions: 'refuseAnswer' },
  },
  states: {
    watching: {
      on: {
        'agent.failed': { target: 'deciding', actions: 'takeFailure' },
        'agent.faulted': [
          { guard: 'tooManyFaults', target: 'asking', actions: ['takeFailure', 'concludeAsking'] },
          { actions: ['noteFault', 'callStrayed'] },
        ],
      },
    },
    deciding: {
      always: [
        { guard: 'dueNow', target: 'reviving' },
        { guard: { type: 'decidedTo', params: { kind: 'revive' } }, target: 'backingOff' },
        { guard: { type: 'decidedTo', params: { kind: 'ask' } }, ...ask },
        {
          guard: { type: 'decidedTo', params: { kind: 'refuse' } },
          target: 'refused',
          actions: 'concludeRefused',
        },
        'futile',
      ],
    },
    futile: { always: [{ guard: 'hasSubstitutes', target: 'substituting' }, ask] },
    backingOff: {
      invoke: {
        id: 'backoff',
        src: 'waitUntil',
        input: ({ context }) => ({ at: context.dueAt }),
        onDone: 'reviving',
      },
      on: {
        ...answers,
        ...givesUp,
        ...isGone,
        'agent.recovered': comesBack['agent.recovered'],
        'agent.failed': { actions: 'noteFailure' },
      },
    },
    reviving: {
      entry: 'begin',
      on: {
        ...comesBack,
        ...isGone,
        'agent.failed': { target: 'deciding', actions: 'takeFailure' },
      },
      initial: 'preparing',
      states: {
        preparing: {
          always: [
            { guard: 'isHeld', target: 'releasing' },
            { guard: 'rollsBack', target: 'rollingBack' },
            { target: 'calling' },
          ],
        },
        releasing: {
          on: { 'agent.failed': { actions: 'noteFailure' } }, // it is held again: the effect says so too
          invoke: [
            deadline,
            {
              id: 'release',
              src: 'releaseActor',
              input: actorInput,
              onDone: [{ guard: 'rollsBack', target: 'rollingBack' }, { target: 'calling' }],
              onError: { target: '#lazarus@1.deciding', actions: 'takeHeld' },
            },
          ],
        },
        rollingBack: {
          invoke: [
            deadline,
            {
              id: 'rollBack',
              src: 'rollBackActor',
              input: actorInput,
              onDone: { target: 'calling', actions: ['noteRolledBack', 'callStrayed'] },
              onError: ask,
            },
          ],
        },
        calling: { entry: 'callAgent', invoke: deadline, on: waitsItsTurn },
        /** L8. It ends at its turn, or with whatever becomes of the agent; one that forgot about it is asked. */
        queued: {
          invoke: {
            id: 'turn',
            src: 'waitUntil',
            input: ({ event }) => ({ up: stampOf(event).up + TURN_MS }),
            onDone: { target: 'calling', actions: 'countQueued' },
          },
          on: {
            'agent.starting': {
              guard: 'isThisRevival',
              target: 'starting',
              actions: 'noteStarting',
            },
          },
        },
        starting: { invoke: deadline, on: waitsItsTurn },
      },
    },
    substituting: {
      invoke: {
        id: 'patience',
        src: 'waitUntil',
        input: ({ event }) => ({ at: stampOf(event).at + SUBSTITUTION_MS }),
        onDone: ask,
      },
      on: {
        ...comesBack,
        ...isGone,
        ...handedOver,
        'agent.failed': { actions: 'noteFailure' },
        'substitution.refused': { guard: 'isThisRevival', ...ask },
      },
      initial: 'choosing',
      states: {
        choosing: { always: [{ guard: 'mayBeAtWork', target: 'recalling' }, 'seeking'] },
        recalling: {
          entry: 'recallAgent',
          on: {
            'agent.failed': { guard: 'hasStopped', target: 'seeking', actions: 'noteFailure' },
          },
        },
        seeking: { entry: 'seekSubstitute' },
      },
    },
    asking: {
      initial: 'recording',
      invoke: {
        id: 'expiry',
        src: 'waitUntil',
        input: ({ context }) => ({ at: context.expiresAt }),
        onDone: { target: 'expired', actions: 'concludeExpired' },
      },
      on: {
        ...answers,
        ...givesUp,
        ...comesBack,
        ...isGone,
        ...handedOver, // the cell's answer came after all
        'agent.failed': { actions: 'noteFailure' },
      },
      states: { recording, retrying, resting: {} },
    },
    /** The request's file goes where the answer belongs, so that nobody answers it twice. */
    answering: {
      invoke: {
        id: 'answer',
        src: 'fileRequest',
        input: entryInput,
        onDone: 'answered',
        onError: 'answered', // the outcome's own entry puts it there once more
      },
      on: { ...comesBack, ...isGone, 'agent.failed': { actions: 'noteFailure' } },
    },
    answered: {
      always: [
        { guard: 'gaveUp', target: 'rejected', actions: 'concludeRejected' },
        { guard: 'wantsSubstitute', target: 'substituting' },
        { target: 'reviving' },
      ],
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
    refused: closed,
    rejected: closed,
    expired: closed,
    substituted: closed,
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

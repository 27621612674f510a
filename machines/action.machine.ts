/**
 * Life of one action, from its proposal to what came of it. People and other programs move its file from folder to folder;
 * the actor follows, and does of its own accord only what was approved.
 *
 * A1 Nothing runs that was not approved: `running` is entered from `claiming` alone, that from an approval that names the
 *    very content, is not used and has not lapsed; and our own move from approved/ to running/ must have come about (P7).
 * A2 The folder beats what the file says of itself, and what we remember: whatever is found is judged anew.
 * A3 Nothing is written into a file in pending/ but the file itself, by who proposes it.
 * A4 What is seen first in approved/ or running/, or was changed after it was approved, is held until a person says more.
 * A5 An approval is used once: by our claim, or by another executor's.
 * A6 While a move is under way, what is found is only noted: the move itself tells how it ended.
 * A7 A run that began goes on to its end and is told, wherever its file is.
 */
import { freshAction } from './action-context.ts';
import type { ActionContext } from './action-context.ts';
import { actionActions } from './action-actions.ts';
import { escalateInput, healthInput, moveInput, planInput } from './action-inputs.ts';
import { runInput, verifyUntil, writeInput } from './action-inputs.ts';
import { action } from './action-setup.ts';

const judging = '#action@1.judging';

/** A6. */
const onlyNoted = {
  'action.found': { actions: 'notePlace' },
  'action.missing': { actions: 'noteMissing' },
  'action.unreadable': { actions: 'noteUnreadable' },
} as const;
const move = { id: 'move', src: 'moveFile', input: moveInput } as const;

/** A move that a person asked for, or that time asks for: wherever the file is then, it is judged by that. */
const personal = {
  tags: ['moving'],
  on: onlyNoted,
  invoke: {
    ...move,
    onDone: { target: judging, actions: 'noteMoved' },
    onError: { target: judging, actions: 'noteFailure' },
  },
} as const;

/** A7. */
const atWork = { 'action.found': {}, 'action.missing': {}, 'action.unreadable': {} } as const;

const ends = {
  'action.cancel': { target: '#action@1.cancelling', actions: 'takeCancel' },
} as const;
const answers = {
  ...ends,
  'action.approve': { target: '#action@1.approving', actions: 'takeApproval' },
  'action.reject': { target: '#action@1.rejecting', actions: 'takeRejection' },
} as const;

const failed = {
  target: '#action@1.underway.finishing',
  actions: ['noteOutcome', 'prepareFail'],
} as const;
const well = {
  target: '#action@1.underway.finishing',
  actions: ['noteVerified', 'prepareComplete'],
} as const;

export const actionMachine = action.extend({ actions: actionActions }).createMachine({
  id: 'action@1',
  context: ({ input }) => freshAction(input.actionId ?? ''),
  initial: 'empty',
  on: {
    'action.propose': { actions: 'answerProposal' },
    'action.found': { target: '.judging', actions: 'notePlace' },
    'action.missing': { target: '.judging', actions: 'noteMissing' },
    'action.unreadable': { target: '.judging', actions: 'noteUnreadable' },
    'action.approve': { actions: 'refuse' },
    'action.reject': { actions: 'refuse' },
    'action.cancel': { actions: 'refuse' },
  },
  states: {
    empty: {
      on: {
        'action.propose': { target: 'writing', actions: 'takeProposal' },
        'action.missing': {},
      },
    },
    writing: {
      tags: ['moving'],
      on: { ...onlyNoted, 'action.propose': {} },
      invoke: {
        id: 'write',
        src: 'writePending',
        input: writeInput,
        onDone: [
          {
            guard: 'wasWritten',
            target: 'judging',
            actions: ['noteMoved', 'noteProposed', 'tellDurable'],
          },
          { target: 'judging', actions: ['noteMoved', 'tellTaken'] },
        ],
        onError: { target: 'empty', actions: 'tellFailed' },
      },
    },
    /** A2. */
    judging: {
      always: [
        { guard: { type: 'judgedAs', params: { kind: 'pending' } }, target: 'pending' },
        { guard: { type: 'judgedAs', params: { kind: 'cleared' } }, target: 'underway' },
        {
          guard: { type: 'judgedAs', params: { kind: 'lapsed' } },
          target: 'expiring',
          actions: 'prepareExpire',
        },
        { guard: { type: 'judgedAs', params: { kind: 'following' } }, target: 'following' },
        { guard: { type: 'judgedAs', params: { kind: 'held' } }, target: 'held' },
        { target: 'settled' },
      ],
    },
    pending: { entry: ['dropApproval', 'becomePending'], on: answers },
    /** A4. */
    held: { entry: 'becomeHeld', on: answers },
    approving: {
      ...personal,
      invoke: {
        ...personal.invoke,
        onError: { target: 'judging', actions: ['noteFailure', 'dropApproval'] },
      },
    },
    rejecting: personal,
    cancelling: personal,
    expiring: {
      tags: ['moving'],
      on: onlyNoted,
      invoke: {
        ...move,
        onDone: { target: 'judging', actions: 'noteMoved' },
        onError: { target: 'held', actions: 'noteFailure' },
      },
    },
    /** Another executor has it: we run nothing and see how it ends (A5). */
    following: {
      entry: ['useApproval', 'becomeRunning', 'tellGateElsewhere'],
      exit: 'leaveGate',
      on: {
        'action.found': [
          { guard: 'stands', actions: 'notePlace' },
          { target: 'judging', actions: 'notePlace' },
        ],
      },
    },
    underway: {
      tags: ['underway'],
      entry: ['becomeApproved', 'askGate'],
      exit: 'leaveGate',
      initial: 'waiting',
      on: {
        'action.found': [
          { guard: 'isAsApproved', actions: 'notePlace' },
          { target: judging, actions: 'notePlace' },
        ],
        'gate.refused': { actions: 'noteRefused' },
        'gate.granted': { actions: 'noteGranted' },
      },
      states: {
        waiting: {
          always: [{ guard: 'wasGranted', target: 'planning' }],
          on: {
            ...ends,
            'gate.refused': [
              { guard: 'wantsRehearsal', target: 'rehearsing', actions: 'noteRefused' },
              { actions: 'noteRefused' },
            ],
          },
          invoke: {
            id: 'expiry',
            src: 'waitUntil',
            input: ({ context }) => ({ at: context.approval?.expiresAt ?? 0 }),
            onDone: { target: '#action@1.expiring', actions: 'prepareExpire' },
          },
        },
        /** A dry run: what would run is looked up and written down. */
        rehearsing: {
          on: ends,
          invoke: {
            id: 'plan',
            src: 'planRun',
            input: runInput,
            onDone: { target: 'noting', actions: 'prepareRehearsal' },
            onError: { target: 'noting', actions: 'prepareRehearsal' },
          },
        },
        noting: {
          tags: ['moving'],
          on: onlyNoted,
          invoke: {
            ...move,
            onDone: [
              { guard: 'wasMoved', target: 'waiting', actions: ['noteMoved', 'noteRehearsed'] },
              { target: judging, actions: 'noteMoved' },
            ],
            onError: { target: 'waiting', actions: ['noteFailure', 'noteRehearsed'] },
          },
        },
        planning: {
          on: ends,
          always: [{ guard: 'hasLapsed', target: '#action@1.expiring', actions: 'prepareExpire' }],
          invoke: {
            id: 'plan',
            src: 'planRun',
            input: runInput,
            onDone: { target: 'claiming', actions: ['notePlan', 'prepareClaim'] },
            onError: {
              target: 'finishing',
              actions: ['noteOutcome', 'useApproval', 'prepareFail'],
            },
          },
        },
        /** A1. */
        claiming: {
          tags: ['moving'],
          on: onlyNoted,
          invoke: {
            ...move,
            onDone: [
              {
                guard: 'wasMoved',
                target: 'running',
                actions: ['noteMoved', 'useApproval', 'becomeRunning', 'begin'],
              },
              { target: judging, actions: 'noteMoved' },
            ],
            onError: { target: '#action@1.held', actions: 'noteFailure' },
          },
        },
        running: {
          on: atWork,
          invoke: {
            id: 'run',
            src: 'runAction',
            input: planInput,
            onDone: [{ guard: 'hasRunWell', target: 'ran', actions: 'noteOutcome' }, failed],
            onError: failed,
          },
        },
        ran: {
          always: [
            { guard: 'verifies', target: 'verifying' },
            { target: 'finishing', actions: 'prepareComplete' },
          ],
        },
        verifying: {
          entry: 'watchService',
          exit: 'unwatchService',
          on: { ...atWork, 'service.reported': { guard: 'isTold', ...well } },
          invoke: [
            {
              id: 'deadline',
              src: 'waitUntil',
              input: ({ context }: { context: ActionContext }) => ({ at: verifyUntil(context) }),
              onDone: { target: 'finishing', actions: ['noteUnverified', 'prepareFail'] },
            },
            { id: 'health', src: 'awaitHealthy', input: healthInput, onDone: well, onError: {} },
          ],
        },
        finishing: {
          tags: ['moving'],
          on: atWork,
          invoke: {
            ...move,
            onDone: { target: '#action@1.finished', actions: 'noteFinished' },
            onError: [
              { guard: 'mayRetry', target: 'retrying', actions: ['noteFailure', 'countFinish'] },
              {
                target: '#action@1.finished',
                actions: ['noteFailure', 'giveUpFinish', 'noteFinished'],
              },
            ],
          },
        },
        retrying: {
          on: atWork,
          invoke: {
            id: 'retry',
            src: 'waitUntil',
            input: ({ context }) => ({ at: context.retryAt }),
            onDone: 'finishing',
          },
        },
      },
    },
    finished: {
      entry: 'becomeSettled',
      always: [{ guard: 'hasFailed', target: 'escalating' }, { target: 'settled' }],
    },
    escalating: {
      on: atWork,
      invoke: {
        id: 'escalate',
        src: 'escalate',
        input: escalateInput,
        onDone: { target: 'settled', actions: 'noteEscalated' },
        onError: { target: 'settled', actions: 'noteFailure' },
      },
    },
    settled: {
      tags: ['settled'],
      entry: ['becomeSettled', 'settle'],
      on: {
        'action.found': [
          { guard: 'stands', actions: 'notePlace' },
          { target: 'judging', actions: ['startOver', 'notePlace'] },
        ],
        'action.missing': {},
        'action.unreadable': {},
      },
    },
  },
});

/**
 * One host or service that is not as it should be: says what should be done, proposes it where the policy says so, sees what
 * became of it, and is over when the supervisor says that the drift is gone and nothing is in hand.
 *
 * D1 One action at a time, and none while somebody has said no, or after one that did not help, until the drift was gone.
 * D2 The action writes its own file under a name that follows from the recommendation. Asked again it is asked the same; who
 *    does not answer is asked again, for its file may be there.
 * D3 The policy's word is passed on only about a file that says that no person is needed, only while that is pending, and each
 *    that is not used is given back; the action itself refuses it for a file that is not what was proposed (P7).
 * D4 After an action that failed, or after which the drift was still there, or when the policy has approved as many as it may for
 *    one target, a person has to look: that is told.
 * D5 Verified is only what went while its action ran, or in time after it.
 * D6 Only what is pending is withdrawn; what was approved or runs goes on to its end, and the drift with it.
 * D7 Each step is told in order, and holds nothing else up; one that cannot be told is given up after some tries.
 */
import { driftActions } from './drift-actions.ts';
import { freshDrift } from './drift-context.ts';
import { drift, patience } from './drift-setup.ts';

const at = (state: string) => `#drift@1.remedy.${state}`;

const COMPLETED = ['completed'] as const;
const FAILED = ['failed'] as const;
const ended = (as: readonly ['completed'] | readonly ['failed'], gone?: true) =>
  ({ type: 'hasEnded', params: { as, ...(gone && { gone }) } }) as const;

/** What came of an action that was let run, by whomever. */
const ran = [
  { guard: ended(COMPLETED, true), target: at('over'), actions: ['noteEnded', 'endGone'] },
  { guard: ended(COMPLETED), target: at('verifying'), actions: ['noteEnded', 'startVerifying'] },
  { guard: ended(FAILED, true), target: at('over'), actions: ['noteEnded', 'endFailed'] },
  { guard: ended(FAILED), target: at('escalated'), actions: ['noteEnded', 'escalateFailed'] },
] as const;

/** It is over without us: by a person's word. */
const settles = [
  ...ran,
  {
    guard: { type: 'hasEnded', params: { as: ['rejected', 'cancelled'], gone: true } },
    target: at('over'),
    actions: 'noteWithdrawn',
  },
  { guard: 'isMine', target: at('declined'), actions: 'decline' },
] as const;

const UNDERWAY = { type: 'isMineAt', params: { at: ['approved', 'running'] } } as const;
const PENDING = { type: 'isMineAt', params: { at: ['pending'] } } as const;
const underway = { guard: UNDERWAY, target: at('acting'), actions: 'noteApproved' } as const;
const withdrawing = { target: at('withdrawing'), actions: 'resetTries' } as const;

/** It stands anew. */
const anew = { 'drift.stands': { target: at('recommended'), actions: 'begin' } } as const;

const ends = { 'drift.gone': { target: at('over'), actions: 'noteGone' } } as const;

export const driftMachine = drift.extend({ actions: driftActions }).createMachine({
  id: 'drift@1',
  context: ({ input }) => freshDrift(input),
  type: 'parallel',
  states: {
    remedy: {
      initial: 'idle',
      on: {
        'drift.stands': { actions: 'restand' },
        'drift.decided': { actions: 'takeRuling' },
        'drift.gone': { actions: 'noteGone' },
        'remedy.approve': { guard: 'isNotMine', actions: 'giveBack' },
      },
      states: {
        idle: {
          on: { ...anew, 'drift.gone': { target: 'done', actions: 'noteGone' } },
        },
        recommended: {
          always: [
            { guard: 'isWornOut', target: 'escalated', actions: 'escalateWornOut' },
            { guard: 'wantsProposal', target: 'proposing', actions: 'prepareAsking' },
          ],
          on: ends,
        },
        /** D2. */
        proposing: {
          entry: 'propose',
          on: {
            'proposal.durable': [
              {
                guard: 'isAskedAndOutdated',
                target: 'withdrawing',
                actions: ['noteDurable', 'resetTries'],
              },
              { guard: 'isAsked', target: 'proposed', actions: 'noteDurable' },
            ],
            'proposal.taken': [
              { guard: 'isAskedAndGone', target: 'over', actions: 'noteUnwritten' },
              {
                guard: 'isTakenAndMayTryAgain',
                target: 'proposing',
                reenter: true,
                actions: 'takeAnotherName',
              },
              { guard: 'isAsked', target: 'unwritten', actions: 'noteUnwritten' },
            ],
            'proposal.failed': [
              { guard: 'isAskedAndGone', target: 'over', actions: 'noteUnwritten' },
              { guard: 'isAsked', target: 'unwritten', actions: 'noteUnwritten' },
            ],
          },
          invoke: {
            id: 'patience',
            src: 'waitUntil',
            input: patience,
            onDone: { target: 'proposing', reenter: true },
          },
        },
        unwritten: {
          on: ends,
          invoke: {
            id: 'pause',
            src: 'waitUntil',
            input: ({ context }) => ({ at: context.unwritten?.retryAt ?? 0 }),
            onDone: 'recommended',
          },
        },
        proposed: {
          entry: 'sayReady',
          on: {
            'remedy.approve': { guard: 'isApprovable', target: 'approving', actions: 'noteGrant' },
            'action.moved': [
              underway,
              { guard: PENDING, target: 'proposed', reenter: true, actions: 'notePlace' },
              { guard: 'isMine', actions: 'noteHeld' },
            ],
            'action.settled': settles,
            'drift.gone': { target: 'withdrawing', actions: ['noteGone', 'resetTries'] },
            'drift.stands': [
              {
                guard: 'isOtherRemedy',
                target: 'withdrawing',
                actions: ['restand', 'resetTries'],
              },
              { actions: 'restand' },
            ],
          },
        },
        /** D3. */
        approving: {
          entry: 'approve',
          on: {
            'action.moved': [
              underway,
              { guard: PENDING, target: 'notApproved', actions: 'noteNotApproved' },
              { guard: 'isMine', actions: 'notePlace' },
            ],
            'action.settled': settles,
          },
          invoke: {
            id: 'patience',
            src: 'waitUntil',
            input: patience,
            onDone: { target: 'approving', reenter: true },
          },
        },
        notApproved: {
          always: [{ guard: 'isOutdated', ...withdrawing }, { target: 'proposed' }],
        },
        /** D6. */
        acting: {
          on: {
            'action.moved': [
              { guard: PENDING, target: 'notApproved', actions: 'noteLapsed' },
              { guard: 'isMine', actions: 'notePlace' },
            ],
            'action.settled': settles,
          },
        },
        verifying: {
          on: {
            'drift.gone': [
              { guard: 'isResolved', target: 'over', actions: ['noteGone', 'endVerified'] },
              { target: 'over', actions: ['noteGone', 'endWithdrawn'] },
            ],
          },
          invoke: {
            id: 'deadline',
            src: 'waitUntil',
            input: ({ context }) => ({ at: context.verifyUntil }),
            onDone: { target: 'escalated', actions: 'escalateNotVerified' },
          },
        },
        /** D1. */
        declined: { on: ends },
        escalated: { on: ends },
        /** D6: who was quicker wins. */
        withdrawing: {
          entry: 'withdraw',
          on: {
            'action.moved': [
              underway,
              {
                guard: PENDING,
                ...withdrawing,
                reenter: true,
                actions: ['notePlace', 'resetTries'],
              },
              { guard: 'isMine', actions: 'notePlace' },
            ],
            'action.settled': [
              ...ran,
              {
                guard: { type: 'hasEnded', params: { as: ['rejected', 'cancelled'], gone: true } },
                target: 'over',
                actions: 'noteWithdrawn',
              },
              {
                guard: { type: 'hasEnded', params: { as: ['cancelled'] } },
                target: 'recommended',
                actions: ['noteWithdrawn', 'standRecommended'],
              },
              { guard: 'isMine', target: 'declined', actions: 'decline' },
            ],
          },
          invoke: {
            id: 'patience',
            src: 'waitUntil',
            input: patience,
            onDone: { target: 'withdrawing', reenter: true },
          },
        },
        over: {
          entry: 'resolve',
          always: { guard: 'allTold', target: 'done' },
          on: { ...anew, 'drift.gone': {} },
        },
        done: { entry: 'sayDone', on: { ...anew, 'drift.gone': {} } },
      },
    },
    /** D7. */
    telling: {
      initial: 'silent',
      states: {
        silent: { always: { guard: 'hasTelling', target: 'writing' } },
        writing: {
          invoke: {
            id: 'telling',
            src: 'tell',
            input: ({ context }) => {
              const [first] = context.tellings;
              if (first === undefined) throw new Error('there is something to be told');
              return first;
            },
            onDone: { target: 'silent', actions: 'nextTelling' },
            onError: [
              { guard: 'tellTriesLeft', target: 'waiting', actions: 'countTellTry' },
              { target: 'silent', actions: 'nextTelling' },
            ],
          },
        },
        waiting: {
          invoke: {
            id: 'tellAgain',
            src: 'waitUntil',
            input: ({ context }) => ({ at: context.tellAt }),
            onDone: 'writing',
          },
        },
      },
    },
  },
});

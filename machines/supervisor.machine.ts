/**
 * The supervisor: keeps the drifts that stand, has an actor of its own look after each, says by the policy how far that one may
 * go, and gives the policy's approvals one by one.
 *
 * S1 A look is applied as a whole: what closes, then what opens or changes, then what is decided otherwise, then who is served.
 * S2 Told twice equals once: what stands as it is told to is not told on, and what does not stand is not closed.
 * S3 What the policy approves at once and within an hour never exceeds its limits, in whatever order things happen: an approval
 *    is counted in the very event that gives it, and freed when its action is over.
 * S4 What is earned is counted from how actions ended, and lost with one that failed; what a person took back stays so.
 * S5 It stops the actor of a drift only when that one has nothing in hand; one that stands again meanwhile stays.
 * S6 Bounded: drifts, what waits, what is remembered of approvals and of what was earned (P8).
 */
import { supervisorActions } from './supervisor-actions.ts';
import { freshSupervisor } from './supervisor-context.ts';
import { supervisor } from './supervisor-setup.ts';

export const supervisorMachine = supervisor.extend({ actions: supervisorActions }).createMachine({
  id: 'supervisor@1',
  context: freshSupervisor,
  initial: 'resting',
  on: {
    'supervisor.looked': { actions: 'noteLook' },
    'supervisor.skipped': { actions: 'noteSkipped' },
    'supervisor.configured': { actions: 'configure' },
    'supervisor.frozen': { actions: 'freeze' },
    'remedy.ready': { actions: 'queueUp' },
    'remedy.ended': { actions: 'endRemedy' },
    'drift.moved': { actions: 'noteMoved' },
    'drift.done': { actions: 'dismiss' },
    'autonomy.revoked': { actions: 'changeLedger' },
    'autonomy.cleared': { actions: 'changeLedger' },
  },
  states: {
    resting: { entry: 'disarm', always: { guard: 'waitsForTime', target: 'timed' } },
    /** Until a window opens, or an hour is over. */
    timed: {
      entry: 'arm',
      always: { guard: 'waitsForAnother', target: 'resting' },
      invoke: {
        id: 'look',
        src: 'waitUntil',
        input: ({ context }) => ({ at: context.lookAt ?? 0 }),
        onDone: { target: 'resting', actions: 'serveAll' },
      },
    },
  },
});

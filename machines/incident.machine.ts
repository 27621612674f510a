/**
 * One host and service of the homelab of which something bad was heard: has the event diagnosed, proposes an action, and is
 * quiet for a while. What comes meanwhile is counted into the incident that is open.
 *
 * I1 One diagnosis at a time, and one event answered at a time; after a failed one the newest of those that came meanwhile
 *    has its turn.
 * I2 The action writes its own file; its name comes from the event, so the same event never gets two. A name that is taken
 *    by something else gets a number behind it.
 * I3 The cooldown begins when the file is durable, or with an `ignore`; it is absolute and in the journal. A diagnosis or a
 *    file that failed begins none. What a rule of the policy decided quiets the type of its event alone, and the others have
 *    their turn (incident-turns.ts).
 * I4 After the cooldown the next event is diagnosed anew, also while an earlier proposal still waits for a person.
 * I5 Other programs hear by event files of what was proposed and how it ended; these are written in order, each once, and
 *    hold nothing else up.
 * I6 It goes only when nothing is in hand: nothing to be written, no action of its own that somebody may still answer.
 */
import { freshIncident } from './incident-context.ts';
import { incident, incidentActions, PATIENCE_MS } from './incident-actions.ts';
import type { JsonValue } from './json.ts';
import { stampOf } from './time.ts';

type Version = 1 | 2;

/** What was heard meanwhile has its turn; else it is quiet. */
const giveUp = <const Actions extends readonly string[]>(version: Version, actions: Actions) =>
  [
    {
      guard: 'hasWaiting',
      target: `#incident@${version}.life.diagnosing`,
      reenter: true,
      actions: [...actions, 'takeWaiting'],
    },
    { target: `#incident@${version}.life.quiet`, actions: [...actions] },
  ] as const;

/** No file will come of what was proposed. */
const refused = (version: Version) =>
  [
    {
      guard: 'isProposedAndWaiting',
      target: `#incident@${version}.life.diagnosing`,
      actions: ['noteWriteFailed', 'forgetUnanswered', 'takeWaiting'],
    },
    {
      guard: 'isProposed',
      target: `#incident@${version}.life.quiet`,
      actions: ['noteWriteFailed', 'forgetUnanswered'],
    },
  ] as const;

/** The file is durable. */
const durable = {
  guard: 'isProposed',
  target: 'cooling',
  actions: ['conclude', 'cool'],
} as const;
const toDiagnose = { target: 'diagnosing', actions: ['open', 'group', 'take'] } as const;

/** What the second version changed: rules quiet a type of events, and not the service. */
const table = {
  1: { heard: toDiagnose, reset: {}, late: durable, diagnosed: [], written: durable },
  2: {
    heard: [{ guard: 'isQuieted', actions: ['open', 'group'] }, toDiagnose],
    reset: { 'cooldown.reset': { actions: 'resetCooldown' } },
    late: [{ guard: 'isProposedByRule', actions: ['quieten', 'conclude'] }, durable],
    diagnosed: [
      {
        guard: 'isIgnoredByRuleAndOthersWait',
        target: 'diagnosing',
        reenter: true,
        actions: ['noteIgnored', 'takeWaiting'],
      },
      { guard: 'isIgnoredByRule', target: 'quiet', actions: 'noteIgnored' },
    ],
    written: [
      {
        guard: 'isProposedByRuleAndOthersWait',
        target: 'diagnosing',
        actions: ['quieten', 'conclude', 'takeWaiting'],
      },
      { guard: 'isProposedByRule', target: 'quiet', actions: ['quieten', 'conclude'] },
      durable,
    ],
  },
} as const;

const incidentOf = <const V extends Version>(version: V) =>
  incident.extend({ actions: incidentActions }).createMachine({
    id: `incident@${version}`,
    context: ({ input }) => freshIncident(input),
    type: 'parallel',
    states: {
      life: {
        initial: 'quiet',
        on: {
          'incident.recovered': { actions: 'noteRecovered' },
          'action.settled': { actions: 'noteSettled' },
          'proposal.durable': { guard: 'isProposed', actions: 'conclude' }, // late
        },
        states: {
          quiet: {
            on: {
              'incident.event': table[version].heard,
              'incident.dismiss': { guard: 'isAtRest', actions: 'sayDismissed' },
              'proposal.durable': table[version].late,
              ...table[version].reset,
            },
          },
          /** I1. */
          diagnosing: {
            on: { 'incident.event': { actions: ['group', 'queue'] } },
            invoke: {
              id: 'diagnosis',
              src: 'diagnose',
              input: ({ context }) => {
                if (context.current === null) throw new Error('there is an event to be diagnosed');
                return { event: context.current.event };
              },
              onDone: [
                ...table[version].diagnosed,
                { guard: 'isIgnored', target: 'cooling', actions: 'noteIgnored' },
                { target: 'proposing', actions: 'noteDiagnosis' },
              ],
              onError: giveUp(version, ['noteLlmFailed']),
            },
          },
          proposing: {
            entry: 'propose',
            on: {
              'incident.event': { actions: ['group', 'queue'] },
              'proposal.durable': table[version].written,
              'proposal.taken': [
                {
                  guard: 'isTakenAndMayTryAgain',
                  target: 'proposing',
                  reenter: true,
                  actions: 'countTaken',
                },
                ...refused(version),
              ],
              'proposal.failed': refused(version),
            },
            invoke: {
              id: 'patience',
              src: 'waitUntil',
              input: ({ event }) => ({ up: stampOf(event).up + PATIENCE_MS }),
              onDone: [
                { guard: 'mayAskAgain', target: 'proposing', reenter: true, actions: 'countAsk' },
                ...giveUp(version, ['noteWriteFailed']),
              ],
            },
          },
          /** I3. */
          cooling: {
            on: {
              'incident.event': { actions: 'group' },
              'cooldown.reset': { target: 'quiet', actions: 'resetCooldown' },
            },
            invoke: {
              id: 'cooldown',
              src: 'waitUntil',
              input: ({ context }) => ({ at: context.cooldownUntil ?? 0 }),
              onDone: 'quiet',
            },
          },
        },
      },
      /** I5. */
      telling: {
        initial: 'silent',
        states: {
          silent: { always: { guard: 'hasAnnouncement', target: 'writing' } },
          writing: {
            invoke: {
              id: 'eventFile',
              src: 'writeEvent',
              input: ({ context }) => {
                const [announcement] = context.announcements;
                if (announcement === undefined) throw new Error('there is something to be told');
                return { announcement };
              },
              onDone: { target: 'silent', actions: 'nextAnnouncement' },
              onError: [
                { guard: 'announceTriesLeft', target: 'waiting', actions: 'countAnnounceTry' },
                { target: 'silent', actions: 'nextAnnouncement' },
              ],
            },
          },
          waiting: {
            invoke: {
              id: 'announceAgain',
              src: 'waitUntil',
              input: ({ context }) => ({ at: context.announceAt }),
              onDone: 'writing',
            },
          },
        },
      },
    },
  });

export const incidentMachine = incidentOf(2);

/** Until no checkpoint names it. */
export const firstIncidentMachine = incidentOf(1);

/** What the second remembers beside is looked up as if it had never been said. */
export const migrateIncident = (persisted: JsonValue): JsonValue => persisted;

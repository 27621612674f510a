/** The guards and actions of the incident machine, by name; incident.machine.ts is the table that uses them. */
import { fromPromise, setup } from 'xstate';
import { actionAddress, incidentAddress, PLANNER } from './addresses.ts';
import type { EffectDone, EffectFailed, SendParams, SpawnParams, Stamp } from './events.ts';
import { isRecovery, locationTag } from './health-event.ts';
import { announced, grouped, isSettled, opened } from './incident-context.ts';
import { quietUntil, withProposed } from './incident-context.ts';
import type { Case, IncidentContext, Outcome } from './incident-context.ts';
import { queued, quieted, recovered, taken, turnsLeft, withdrawnBy } from './incident-turns.ts';
import { asJsonObject } from './json.ts';
import { actionFile, actionId, touches } from './proposal.ts';
import type { Diagnosis } from './proposal.ts';
import { completed, started } from './remediation-event.ts';
import type { Announcement } from './remediation-event.ts';
import { PLANNER_DOOR } from './remediation.ts';
import type { ActionEvent, IncidentEvent, PlannerEvent } from './remediation.ts';
import { stampOf } from './time.ts';
import { typeOnly, unbound } from './unbound.ts';

export interface DiagnoseInput {
  event: Case['event'];
}
export interface WriteEventInput {
  announcement: Announcement;
}

type Delivered =
  | (IncidentEvent & Stamp)
  | EffectDone<'diagnosis', Diagnosis>
  | EffectFailed<'diagnosis'>
  | EffectDone<'eventFile'>
  | EffectFailed<'eventFile'>
  | EffectDone<'cooldown' | 'patience' | 'announceAgain'>;

/** Names that are tried for one action. */
export const MAX_SERIAL = 50;
/** How long an action may take to say what became of its file before it is asked again, in ms of running time. */
export const PATIENCE_MS = 30_000;
/** How often it is asked. */
export const MAX_ASKS = 10;
/** Tries to write an event file, with growing pauses of 1 s, 2 s, 4 s ... */
const ANNOUNCE_TRIES = 8;

export const incident = setup({
  types: {
    context: typeOnly<IncidentContext>(),
    input: typeOnly<Pick<IncidentContext, 'host' | 'service'>>(),
    events: typeOnly<Delivered>(),
  },
  actors: {
    diagnose: fromPromise<Diagnosis, DiagnoseInput>(async () => unbound('diagnose')),
    writeEvent: fromPromise<void, WriteEventInput>(async () => unbound('writeEvent')),
    waitUntil: fromPromise<void, { at: number } | { up: number }>(async () => unbound('waitUntil')),
  },
  actions: {
    send: (_args, _params: SendParams) => {},
    spawn: (_args, _params: SpawnParams) => {},
  },
  guards: {
    isIgnored: ({ event }) => isIgnored(event),
    /** A rule quiets it. */
    isQuieted: ({ context, event }) =>
      event.type === 'incident.event' && quietUntil(context, event.event.type) > stampOf(event).at,
    isIgnoredByRule: ({ event }) => isIgnored(event) && quietsOf(event) !== undefined,
    isIgnoredByRuleAndOthersWait: ({ context, event }) =>
      isIgnored(event) && othersWait(context, event, quietsOf(event)),
    isProposedByRule: ({ context, event }) =>
      isProposed(context, event) && context.asked?.quiets !== undefined,
    isProposedByRuleAndOthersWait: ({ context, event }) =>
      isProposed(context, event) && othersWait(context, event, context.asked?.quiets),
    hasWaiting: ({ context }) => context.waiting !== null,
    isProposed: ({ context, event }) => isProposed(context, event),
    isProposedAndWaiting: ({ context, event }) =>
      isProposed(context, event) && context.waiting !== null,
    isTakenAndMayTryAgain: ({ context, event }) =>
      isProposed(context, event) && context.serial < MAX_SERIAL,
    mayAskAgain: ({ context }) => context.asks < MAX_ASKS,
    hasAnnouncement: ({ context }) => context.announcements.length > 0,
    announceTriesLeft: ({ context }) => context.announceTries < ANNOUNCE_TRIES,
    isAtRest: ({ context }) =>
      context.announcements.length === 0 &&
      context.proposed.every(({ status }) => isSettled(status)),
  },
});

/** About the action that has had no answer yet. */
const isProposed = ({ unanswered }: IncidentContext, event: Delivered): boolean =>
  'actionId' in event && unanswered !== null && event.actionId === unanswered.actionId;

const isIgnored = (event: Delivered): boolean =>
  event.type === 'xstate.done.actor.diagnosis' && event.output.proposal.action === 'ignore';
const quietsOf = (event: Delivered): Diagnosis['quiets'] =>
  event.type === 'xstate.done.actor.diagnosis' ? event.output.quiets : undefined;
const othersWait = (
  context: IncidentContext,
  event: Delivered,
  quiets: Diagnosis['quiets'],
): boolean => quiets !== undefined && turnsLeft(context, quiets, stampOf(event).at).length > 0;

export const ownAddress = ({ host, service }: IncidentContext): string =>
  incidentAddress(host, service);

const open = incident.assign(({ context }) => opened(context));
const group = incident.assign(({ context, event }) =>
  event.type === 'incident.event' ? grouped(context, event.event) : {},
);
const take = incident.assign(({ context, event }) => {
  if (event.type !== 'incident.event') return {};
  const { channel, event: inner, cooldownSeconds } = event;
  return {
    current: { channel, event: inner },
    waiting: null,
    behind: [],
    diagnosis: null,
    cooldownSeconds,
    diagnoses: context.diagnoses + 1,
  };
});
const queue = incident.assign(({ context, event }) => {
  if (event.type !== 'incident.event') return {};
  const { channel, event: inner, cooldownSeconds } = event;
  return { ...queued(context, { channel, event: inner }, stampOf(event).at), cooldownSeconds };
});
const takeWaiting = incident.assign(({ context }) => ({
  ...taken(context),
  diagnosis: null,
  diagnoses: context.diagnoses + 1,
}));
/** Events of a service come in their order, whatever the clocks say that dated them. */
const noteRecovered = incident.enqueueActions(({ context, event, enqueue }) => {
  if (event.type !== 'incident.recovered' || !isRecovery(event.event)) return;
  enqueue.assign(recovered(context, event.event));
  for (const { actionId } of withdrawnBy(context, event.event))
    enqueue(withdrawal(actionId, event.event.type));
});
/** Its action hears of it, and refuses when somebody has decided meanwhile. */
const withdrawal = (actionId: string, reason: string) => {
  const to = actionAddress(actionId);
  const event: ActionEvent = { type: 'action.cancel', by: 'planner', door: PLANNER_DOOR, reason };
  return { type: 'send', params: { to, event: { ...event }, ifThere: true } } as const;
};

const noteDiagnosis = incident.assign(({ context, event }) => {
  if (event.type !== 'xstate.done.actor.diagnosis') return {};
  const { occurrences, firstSeenAt } = context;
  return { diagnosis: event.output, counted: { occurrences, firstSeenAt }, serial: 1, asks: 1 };
});
const ended = (outcome: Outcome): Partial<IncidentContext> => ({
  outcome,
  current: null,
  behind: [],
  diagnosis: null,
});
const noteIgnored = incident.assign(({ context, event }) => {
  if (event.type !== 'xstate.done.actor.diagnosis') return {};
  const { at } = stampOf(event);
  const { proposal, model, quiets } = event.output;
  return {
    ...ended({ kind: 'ignored', at, text: proposal.reason, model }),
    ...coolingFrom(context, at, quiets),
  };
});
const noteLlmFailed = incident.assign(({ event }) =>
  event.type === 'xstate.error.actor.diagnosis'
    ? ended({ kind: 'llm_failed', at: stampOf(event).at, text: event.error.message })
    : {},
);
/** What came meanwhile is part of what was answered; what a rule decided is about its own type alone. */
const coolingFrom = (
  context: IncidentContext,
  at: number,
  quiets: Diagnosis['quiets'],
): Partial<IncidentContext> =>
  quiets === undefined
    ? { cooldownUntil: at + context.cooldownSeconds * 1000, waiting: null, behind: [] }
    : quieted(context, quiets, at);

/** I2. The action writes the file, and says whether it is durable. */
const propose = incident.enqueueActions(({ context, event, enqueue }) => {
  const { current, diagnosis, serial, counted } = context;
  if (current === null || diagnosis === null) return;
  const origin = ownAddress(context);
  const counts = { address: origin, ...counted };
  const content = actionFile({ event: current.event, diagnosis, serial, incident: counts });
  const { host } = context;
  const { service } = diagnosis.proposal;
  const id = actionId(current.event, serial, service);
  const { at } = stampOf(event);
  const about = { host, service, actionId: id, at, locationTag: locationTag(current.event) };
  const { quiets } = diagnosis;
  const { over } = current;
  enqueue.assign({
    unanswered: started(about, diagnosis),
    asked: {
      about: current.event.type,
      ...(quiets !== undefined && { quiets }),
      ...(over !== undefined && { over }),
    },
  });
  const address = actionAddress(id);
  enqueue({ type: 'spawn', params: { address, machine: 'action', input: { actionId: id } } });
  const asked: ActionEvent = { type: 'action.propose', content, origin };
  enqueue({
    type: 'send',
    params: { to: address, event: { ...asJsonObject(asked), type: asked.type } },
  });
});

const countTaken = incident.assign(({ context }) => ({ serial: context.serial + 1, asks: 1 }));
const countAsk = incident.assign(({ context }) => ({ asks: context.asks + 1 }));

/** I3. Also for one that comes late: whatever happened meanwhile, this file is there now. */
const conclude = incident.enqueueActions(({ context, event, enqueue }) => {
  const { unanswered, asked } = context;
  if (event.type !== 'proposal.durable' || unanswered === null) return;
  const { at } = stampOf(event);
  const { actionId: id } = event;
  const { service } = unanswered;
  const { action, llm_model: model } = unanswered.payload;
  const known = {
    ...(service !== context.service && { service }),
    ...(asked != null && { about: asked.about }),
  };
  const status = 'pending';
  enqueue.assign({
    unanswered: null,
    asked: null,
    ...withProposed(context, { actionId: id, action, at, status, reason: null, ...known }),
    ...announced(context, { ...unanswered, at }),
    outcome: { kind: 'proposed', at, text: `${action}: ${id}`, model },
  });
  if (asked?.over !== undefined && touches(action)) enqueue(withdrawal(id, asked.over));
});
const cool = incident.assign(({ context, event }) => ({
  ...coolingFrom(context, stampOf(event).at, undefined),
  current: null,
  diagnosis: null,
}));
/** Before it is concluded: then it is not known any more what was asked. */
const quieten = incident.assign(({ context, event }) => ({
  ...coolingFrom(context, stampOf(event).at, context.asked?.quiets),
  current: null,
  diagnosis: null,
}));
const noteWriteFailed = incident.assign(({ context, event }) => {
  const { at } = stampOf(event);
  return ended({ kind: 'write_failed', at, text: writeFailure(context, event) });
});
/** An answer that says no is an answer; one that did not come may still come. */
const forgetUnanswered = incident.assign(() => ({ unanswered: null, asked: null }));

function writeFailure({ unanswered }: IncidentContext, event: Delivered): string {
  const id = unanswered?.actionId ?? 'the action';
  if (event.type === 'proposal.failed') return `${id}: ${event.reason}`;
  if (event.type === 'proposal.taken') return `${MAX_SERIAL} actions of this name are there`;
  return `${id} was asked ${MAX_ASKS} times and did not say whether its file is written`;
}

const resetCooldown = incident.assign(({ context }) => ({
  cooldownUntil: null,
  ...(context.quiet !== undefined && { quiet: {} }),
}));

/** I5. */
const noteSettled = incident.enqueueActions(({ context, event, enqueue }) => {
  if (event.type !== 'action.settled') return;
  const { actionId: id, status, reason } = event;
  const proposed = context.proposed.map((entry) =>
    entry.actionId === id ? { ...entry, status, reason } : entry,
  );
  enqueue.assign({ proposed });
  if (status !== 'completed' && status !== 'failed') return;
  const { service = context.service } = proposed.find((entry) => entry.actionId === id) ?? {};
  const { at } = stampOf(event);
  const announcement = completed({ service, actionId: id, at }, { status, reason });
  enqueue.assign(announced(context, announcement));
});

const nextAnnouncement = incident.assign(({ context }) => ({
  announcements: context.announcements.slice(1),
  announceTries: 0,
}));
const countAnnounceTry = incident.assign(({ context, event }) => ({
  announceTries: context.announceTries + 1,
  announceAt: stampOf(event).at + 1000 * 2 ** context.announceTries,
}));

const sayDismissed = incident.enqueueActions(({ context, enqueue }) => {
  const event: PlannerEvent = { type: 'incident.dismissed', address: ownAddress(context) };
  enqueue({ type: 'send', params: { to: PLANNER, event: { ...event } } });
});

export const incidentActions = {
  open,
  group,
  take,
  queue,
  takeWaiting,
  noteRecovered,
  noteDiagnosis,
  noteIgnored,
  noteLlmFailed,
  propose,
  countTaken,
  countAsk,
  conclude,
  cool,
  quieten,
  noteWriteFailed,
  forgetUnanswered,
  resetCooldown,
  noteSettled,
  nextAnnouncement,
  countAnnounceTry,
  sayDismissed,
};

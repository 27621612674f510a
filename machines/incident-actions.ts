/** The guards and actions of the incident machine, by name; incident.machine.ts is the table that uses them. */
import { fromPromise, setup } from 'xstate';
import { actionAddress, incidentAddress, PLANNER } from './addresses.ts';
import type { EffectDone, EffectFailed, SendParams, SpawnParams, Stamp } from './events.ts';
import { isRecovery } from './health-event.ts';
import { announced, grouped, isSettled, opened, withProposed } from './incident-context.ts';
import type { Case, IncidentContext, Outcome } from './incident-context.ts';
import { asJsonObject } from './json.ts';
import { actionFile, actionId } from './proposal.ts';
import type { Diagnosis } from './proposal.ts';
import { completed, started } from './remediation-event.ts';
import type { Announcement } from './remediation-event.ts';
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
    isIgnored: ({ event }) =>
      event.type === 'xstate.done.actor.diagnosis' && event.output.proposal.action === 'ignore',
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
    diagnosis: null,
    cooldownSeconds,
    diagnoses: context.diagnoses + 1,
  };
});
const queue = incident.assign(({ event }) =>
  event.type === 'incident.event'
    ? {
        waiting: { channel: event.channel, event: event.event },
        cooldownSeconds: event.cooldownSeconds,
      }
    : {},
);
const takeWaiting = incident.assign(({ context }) => ({
  current: context.waiting,
  waiting: null,
  diagnosis: null,
  diagnoses: context.diagnoses + 1,
}));
/** Events of a service come in their order, whatever the clocks say that dated them. */
const noteRecovered = incident.assign(({ context, event }) => {
  if (event.type !== 'incident.recovered' || !isRecovery(event.event)) return {};
  if (context.occurrences === 0) return {};
  return { recoveredAt: Date.parse(event.event.at), recoveries: context.recoveries + 1 };
});

const noteDiagnosis = incident.assign(({ context, event }) => {
  if (event.type !== 'xstate.done.actor.diagnosis') return {};
  const { occurrences, firstSeenAt } = context;
  return { diagnosis: event.output, counted: { occurrences, firstSeenAt }, serial: 1, asks: 1 };
});
const ended = (outcome: Outcome): Partial<IncidentContext> => ({
  outcome,
  current: null,
  diagnosis: null,
});
const noteIgnored = incident.assign(({ context, event }) => {
  if (event.type !== 'xstate.done.actor.diagnosis') return {};
  const { at } = stampOf(event);
  const { proposal, model } = event.output;
  return {
    ...ended({ kind: 'ignored', at, text: proposal.reason, model }),
    ...coolingFrom(context, at),
  };
});
const noteLlmFailed = incident.assign(({ event }) =>
  event.type === 'xstate.error.actor.diagnosis'
    ? ended({ kind: 'llm_failed', at: stampOf(event).at, text: event.error.message })
    : {},
);
/** What came meanwhile is part of what was answered. */
const coolingFrom = (
  { cooldownSeconds }: IncidentContext,
  at: number,
): Pick<IncidentContext, 'cooldownUntil' | 'waiting'> => ({
  cooldownUntil: at + cooldownSeconds * 1000,
  waiting: null,
});

/** I2. The action writes the file, and says whether it is durable. */
const propose = incident.enqueueActions(({ context, event, enqueue }) => {
  const { current, diagnosis, serial, counted } = context;
  if (current === null || diagnosis === null) return;
  const origin = ownAddress(context);
  const about = { address: origin, ...counted };
  const content = actionFile({ event: current.event, diagnosis, serial, incident: about });
  const id = actionId(current.event, serial);
  const { host, service } = context;
  const { at } = stampOf(event);
  enqueue.assign({ unanswered: started({ host, service, actionId: id, at }, diagnosis) });
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
  const { unanswered } = context;
  if (event.type !== 'proposal.durable' || unanswered === null) return;
  const { at } = stampOf(event);
  const { actionId: id } = event;
  const { action, llm_model: model } = unanswered.payload;
  enqueue.assign({
    unanswered: null,
    ...withProposed(context, { actionId: id, action, at, status: 'pending', reason: null }),
    ...announced(context, { ...unanswered, at }),
    outcome: { kind: 'proposed', at, text: `${action}: ${id}`, model },
  });
});
const cool = incident.assign(({ context, event }) => ({
  ...coolingFrom(context, stampOf(event).at),
  current: null,
  diagnosis: null,
}));
const noteWriteFailed = incident.assign(({ context, event }) => {
  const { at } = stampOf(event);
  return ended({ kind: 'write_failed', at, text: writeFailure(context, event) });
});
/** An answer that says no is an answer; one that did not come may still come. */
const forgetUnanswered = incident.assign(() => ({ unanswered: null }));

function writeFailure({ unanswered }: IncidentContext, event: Delivered): string {
  const id = unanswered?.actionId ?? 'the action';
  if (event.type === 'proposal.failed') return `${id}: ${event.reason}`;
  if (event.type === 'proposal.taken') return `${MAX_SERIAL} actions of this name are there`;
  return `${id} was asked ${MAX_ASKS} times and did not say whether its file is written`;
}

const resetCooldown = incident.assign(() => ({ cooldownUntil: null }));

/** I5. */
const noteSettled = incident.enqueueActions(({ context, event, enqueue }) => {
  if (event.type !== 'action.settled') return;
  const { actionId: id, status, reason } = event;
  const proposed = context.proposed.map((entry) =>
    entry.actionId === id ? { ...entry, status, reason } : entry,
  );
  enqueue.assign({ proposed });
  if (status !== 'completed' && status !== 'failed') return;
  const { service } = context;
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
  noteWriteFailed,
  forgetUnanswered,
  resetCooldown,
  noteSettled,
  nextAnnouncement,
  countAnnounceTry,
  sayDismissed,
};

/**
 * The planner's root: hears what the homelab says and passes each event on to the incident of its host and service, and to
 * the actions that wait to see whether what they did has helped. It decides nothing; the incidents do.
 *
 * P1 An event that something may have to be done about reaches its incident in the same commit. When there are too many
 *    incidents, one that has nothing in hand makes room, the longest quiet one first; when none can, the event is counted as
 *    refused and shown.
 * P2 An incident that was asked to go and had an event since stays: its answer comes too late.
 * P3 What a service says of itself, well or not, reaches whoever watches it; nobody is woken for it who does not exist.
 */
import { setup } from 'xstate';
import type { SendParams, SpawnParams, Stamp, StopParams } from './events.ts';
import { boundedEvent, healthIn, isBenign, isRecovery } from './health-event.ts';
import { enrol, isEnrolled, longestQuiet, postpone, strikeOff } from './incident-roll.ts';
import { asJsonObject } from './json.ts';
import { freshPlanner, incidentOf, unwatch, watch, watchersOf } from './planner-context.ts';
import { INCIDENTS_MARGIN, MAX_INCIDENTS } from './planner-context.ts';
import type { PlannerContext } from './planner-context.ts';
import type { ActionEvent, IncidentEvent, PlannerEvent } from './remediation.ts';
import { stampOf } from './time.ts';
import { typeOnly } from './unbound.ts';

const planner = setup({
  types: {
    context: typeOnly<PlannerContext>(),
    input: typeOnly<{ cooldownSeconds: number }>(),
    events: typeOnly<PlannerEvent & Stamp>(),
  },
  actions: {
    send: (_args, _params: SendParams) => {},
    spawn: (_args, _params: SpawnParams) => {},
    stop: (_args, _params: StopParams) => {},
  },
  guards: {
    isBenign: ({ event }) => event.type === 'homelab.event' && isBenign(event.event),
    hasRoom: ({ context, event }) => event.type === 'homelab.event' && hasRoom(context, event),
    isStillAsked: ({ context, event }) =>
      event.type === 'incident.dismissed' && context.asked === event.address,
  },
});

type Sent = IncidentEvent | ActionEvent;

/** To one that may be gone. */
const tell = (to: string, event: Sent): { type: 'send'; params: SendParams } => ({
  type: 'send',
  params: { to, event: { ...asJsonObject(event), type: event.type }, ifThere: true },
});

/** P1. */
const hasRoom = (
  { roll }: PlannerContext,
  { event }: Extract<PlannerEvent, { type: 'homelab.event' }>,
): boolean => roll.size < MAX_INCIDENTS + INCIDENTS_MARGIN || isEnrolled(roll, incidentOf(event));

/** P1, P2. */
const passOn = planner.enqueueActions(({ context, event, enqueue }) => {
  if (event.type !== 'homelab.event') return;
  const { channel, event: inner } = event;
  const address = incidentOf(inner);
  const roll = enrol(context.roll, address, stampOf(event).seq);
  const { host, service } = inner.data;
  enqueue.assign({
    roll,
    events: context.events + 1,
    asked: context.asked === address ? null : context.asked,
  });
  if (!isEnrolled(context.roll, address))
    enqueue({ type: 'spawn', params: { address, machine: 'incident', input: { host, service } } });
  const { cooldownSeconds } = context;
  const told = boundedEvent(inner);
  enqueue(tell(address, { type: 'incident.event', channel, event: told, cooldownSeconds }));
});
/** P1: the one asked moves to the end of the queue, so that a busy one is not asked again and again. */
const makeRoom = planner.enqueueActions(({ context, event, enqueue }) => {
  if (context.roll.size <= MAX_INCIDENTS) return;
  const asked = longestQuiet(context.roll);
  if (asked === undefined) return;
  enqueue.assign({ asked, roll: postpone(context.roll, asked, stampOf(event).seq) });
  enqueue(tell(asked, { type: 'incident.dismiss' }));
});
const refuse = planner.assign(({ context, event }) => {
  if (event.type !== 'homelab.event') return {};
  const { host, service } = event.event.data;
  const lastRefused = { at: stampOf(event).at, host, service };
  return { events: context.events + 1, refused: context.refused + 1, lastRefused };
});
const dismiss = planner.enqueueActions(({ context, event, enqueue }) => {
  if (event.type !== 'incident.dismissed') return;
  const { address } = event;
  enqueue.assign({ asked: null, roll: strikeOff(context.roll, address) });
  enqueue({
    type: 'stop',
    params: { address, reason: 'quiet for longest, and there are too many' },
  });
});
const passOnRecovery = planner.enqueueActions(({ context, event, enqueue }) => {
  if (event.type !== 'homelab.event') return;
  enqueue.assign({ benign: context.benign + 1 });
  const address = incidentOf(event.event);
  if (isRecovery(event.event) && isEnrolled(context.roll, address))
    enqueue(tell(address, { type: 'incident.recovered', event: boundedEvent(event.event) }));
});
/** P3. */
const tellWatchers = planner.enqueueActions(({ context, event, enqueue }) => {
  if (event.type !== 'homelab.event') return;
  const healthy = healthIn(event.event);
  if (healthy === null) return;
  for (const to of watchersOf(context, event.event))
    enqueue(tell(to, { type: 'service.reported', healthy, event: boundedEvent(event.event) }));
});
const enlist = planner.assign(({ context, event }) =>
  event.type === 'planner.watch' ? watch(context, event) : {},
);
const delist = planner.assign(({ context, event }) =>
  event.type === 'planner.unwatch' ? unwatch(context, event.address) : {},
);
const configure = planner.assign(({ event }) =>
  event.type === 'planner.configured' ? { cooldownSeconds: event.cooldownSeconds } : {},
);
const noteGap = planner.assign(({ context, event }) => {
  if (event.type !== 'homelab.gap') return {};
  const { channel, since, until, reason } = event;
  return { gaps: context.gaps + 1, lastGap: { channel, since, until, reason } };
});

export const plannerMachine = planner
  .extend({
    actions: {
      passOn,
      makeRoom,
      refuse,
      dismiss,
      passOnRecovery,
      tellWatchers,
      enlist,
      delist,
      configure,
      noteGap,
    },
  })
  .createMachine({
    id: 'planner@1',
    context: ({ input }) => freshPlanner(input.cooldownSeconds),
    on: {
      'homelab.event': [
        { guard: 'isBenign', actions: ['passOnRecovery', 'tellWatchers'] },
        { guard: 'hasRoom', actions: ['passOn', 'makeRoom', 'tellWatchers'] },
        { actions: ['refuse', 'makeRoom', 'tellWatchers'] },
      ],
      'homelab.gap': { actions: 'noteGap' },
      'incident.dismissed': { guard: 'isStillAsked', actions: 'dismiss' },
      'planner.watch': { actions: 'enlist' },
      'planner.unwatch': { actions: 'delist' },
      'planner.configured': { actions: 'configure' },
    },
  });

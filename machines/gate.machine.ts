/**
 * The gate: the one actor that lets approved actions run. Who may not run waits here, and is let run as soon as it may:
 * when something leaves, when the policy or the mode changes, when a window opens, when a limit is free again.
 *
 * K1 What runs at once and what is let run within an hour never exceeds the policy, in whatever order things happen: a
 *    grant is counted in the very event that gives it.
 * K2 Who waits is told why, and again only when that changes.
 * K3 A freeze lasts until a person ends it, over restarts too.
 * K4 As many wait as there are open actions, which the door bounds; what is counted is bounded here (P8).
 */
import { fromPromise, setup } from 'xstate';
import type { EffectDone, SendParams, Stamp } from './events.ts';
import { isRecent, mayRun, withoutGrant } from './gate-rules.ts';
import type { Asking, GateState, Refusal } from './gate-rules.ts';
import { asJsonObject } from './json.ts';
import { DEFAULT_POLICY } from './remediation.ts';
import type { ActionEvent, GateEvent } from './remediation.ts';
import { stampOf } from './time.ts';
import { typeOnly, unbound } from './unbound.ts';

export interface Waiting extends Asking {
  /** What it was told last. */
  told: Refusal | null;
}

export interface GateContext extends GateState {
  waiting: Waiting[];
  /** Epoch ms at which somebody's time comes; null: nobody waits for a time. */
  lookAt: number | null;
}

/** Grants that are remembered for the limits. */
const MAX_GRANTS = 10_000;

type Delivered = (GateEvent & Stamp) | EffectDone<'look'>;

const gate = setup({
  types: {
    context: typeOnly<GateContext>(),
    input: typeOnly<Pick<Stamp, 'at' | 'up'>>(),
    events: typeOnly<Delivered>(),
  },
  actors: {
    waitUntil: fromPromise<void, { at: number }>(async () => unbound('waitUntil')),
  },
  actions: { send: (_args, _params: SendParams) => {} },
  guards: { waitsForTime: ({ context }) => context.lookAt !== null },
});

function freshGate(): GateContext {
  return {
    policy: null,
    mode: 'off',
    zones: {},
    frozen: null,
    running: [],
    grants: [],
    waiting: [],
    lookAt: null,
  };
}

/** What the event itself changes, before it is looked who may run now. */
function taken(context: GateContext, event: Delivered): GateContext {
  const { at } = stampOf(event);
  switch (event.type) {
    case 'gate.ask':
      return asked(context, event);
    case 'gate.elsewhere': {
      const { actionId, address, host, service } = event;
      const left = without(context, actionId);
      return { ...left, running: [...left.running, { actionId, address, host, service }] };
    }
    case 'gate.left': {
      const left = without(context, event.actionId);
      return event.unused === true ? { ...left, grants: withoutGrant(left.grants, event) } : left;
    }
    case 'gate.configured': {
      const { policy, mode, zones = context.zones } = event;
      return { ...context, policy: policy && { ...DEFAULT_POLICY, ...policy }, mode, zones };
    }
    case 'gate.freeze':
      return { ...context, frozen: { by: event.by, reason: event.reason, at } };
    case 'gate.unfreeze':
      return { ...context, frozen: null };
    case 'xstate.done.actor.look':
      return context;
    default:
      return event satisfies never;
  }
}

/** Asking again keeps the place in the row, and is answered again. */
function asked(context: GateContext, event: Extract<GateEvent, { type: 'gate.ask' }>): GateContext {
  const { actionId, address, host, service } = event;
  const asking: Waiting = { actionId, address, host, service, told: null };
  const { waiting } = context;
  const place = waiting.findIndex((one) => one.actionId === actionId);
  if (place >= 0) return { ...context, waiting: waiting.with(place, asking) };
  const running = context.running.filter((one) => one.actionId !== actionId);
  return { ...context, running, waiting: [...waiting, asking] };
}

const without = (context: GateContext, actionId: string): GateContext => ({
  ...context,
  running: context.running.filter((one) => one.actionId !== actionId),
  waiting: context.waiting.filter((one) => one.actionId !== actionId),
});

/** K1: each that may run is counted before the next is looked at. */
const look = gate.enqueueActions(({ context, event, enqueue }) => {
  const { at } = stampOf(event);
  const before = taken(context, event);
  let now: GateContext = { ...before, grants: before.grants.filter((one) => isRecent(one, at)) };
  const waiting: Waiting[] = [];
  for (const one of before.waiting) {
    const answer = isConcerned(one, event) ? mayRun(now, one, at) : one.told;
    if (answer?.kind === 'granted') {
      now = granted(now, one, at);
      enqueue(tell(one, { type: 'gate.granted' }));
      continue;
    }
    if (answer !== null && !isSame(answer, one.told)) {
      const { kind: _kind, ...refusal } = answer;
      enqueue(tell(one, { type: 'gate.refused', ...refusal })); // K2
    }
    waiting.push({ ...one, told: answer });
  }
  enqueue.assign(() => ({ ...now, waiting, lookAt: earliest(waiting, at) }));
});

/** Who asks, or takes part, makes room for nobody else. */
function isConcerned({ actionId }: Waiting, event: Delivered): boolean {
  if (event.type === 'gate.ask') return event.actionId === actionId;
  return event.type !== 'gate.elsewhere';
}

const isSame = (a: Refusal, b: Refusal | null): boolean =>
  a.reason === b?.reason && a.until === b.until && a.dryRun === b.dryRun;

function granted(state: GateContext, waiting: Waiting, at: number): GateContext {
  const { actionId, address, host, service } = waiting;
  const grants = [...state.grants, { at, host, service, actionId }].slice(-MAX_GRANTS);
  const running = [...state.running, { actionId, address, host, service }];
  return { ...state, running, grants };
}

/** A time that has come and changed nothing is not waited for again at once. */
function earliest(waiting: readonly Waiting[], at: number): number | null {
  const times = waiting.flatMap(({ told }) => (told?.until == null ? [] : [told.until]));
  return times.length === 0 ? null : Math.max(Math.min(...times), at + 1);
}

function tell({ address }: Asking, event: ActionEvent) {
  const params: SendParams = {
    to: address,
    event: { ...asJsonObject(event), type: event.type },
    ifThere: true,
  };
  return { type: 'send', params } as const;
}

const looks = { target: '.deciding', actions: 'look' } as const;

export const gateMachine = gate.extend({ actions: { look } }).createMachine({
  id: 'gate@1',
  context: freshGate,
  initial: 'resting',
  on: {
    'gate.ask': looks,
    'gate.left': looks,
    'gate.elsewhere': looks,
    'gate.configured': looks,
    'gate.freeze': looks,
    'gate.unfreeze': looks,
  },
  states: {
    deciding: { always: [{ guard: 'waitsForTime', target: 'timed' }, { target: 'resting' }] },
    resting: {},
    timed: {
      invoke: {
        id: 'look',
        src: 'waitUntil',
        input: ({ context }) => ({ at: context.lookAt ?? 0 }),
        onDone: { target: 'deciding', actions: 'look' },
      },
    },
  },
});

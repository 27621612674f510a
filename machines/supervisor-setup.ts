/** What the supervisor is made of: its events, effects and guards, and how it speaks to the actors of drifts. */
import { fromPromise, setup } from 'xstate';
import { driftAddress } from './addresses.ts';
import type { EffectDone, SendParams, SpawnParams, Stamp, StopParams } from './events.ts';
import { asJsonObject } from './json.ts';
import type { Outgoing } from './outgoing.ts';
import type { DriftEvent, SupervisorEvent, Target } from './supervision.ts';
import type { SupervisorContext } from './supervisor-context.ts';
import { stampOf } from './time.ts';
import { typeOnly, unbound } from './unbound.ts';

export type Delivered = (SupervisorEvent & Stamp) | EffectDone<'look'>;

export const supervisor = setup({
  types: {
    context: typeOnly<SupervisorContext>(),
    input: typeOnly<Pick<Stamp, 'at' | 'up'>>(),
    events: typeOnly<Delivered>(),
  },
  actors: {
    waitUntil: fromPromise<void, { at: number }>(async () => unbound('waitUntil')),
  },
  actions: {
    send: (_args, _params: SendParams) => {},
    spawn: (_args, _params: SpawnParams) => {},
    stop: (_args, _params: StopParams) => {},
  },
  guards: {
    waitsForTime: ({ context }) => context.lookAt !== null,
    waitsForAnother: ({ context }) => context.lookAt !== context.armedFor,
  },
});

/** A memory, and what is to be sent, in order. */
export interface Step {
  context: SupervisorContext;
  out: Outgoing[];
}

export const become = (make: (context: SupervisorContext, event: Delivered, at: number) => Step) =>
  supervisor.enqueueActions(({ context, event, enqueue }) => {
    const { context: next, out } = make(context, event, stampOf(event).at);
    enqueue.assign(() => next);
    for (const one of out) enqueue(one);
  });

/** One that was lost is made anew, and finds its way by what it is told. */
export function toDrift(target: Target, event: DriftEvent): Outgoing[] {
  const { host, service } = target;
  const address = driftAddress(host, service);
  return [
    { type: 'spawn', params: { address, machine: 'drift', input: { host, service } } },
    sendTo(target, event),
  ];
}

export function sendTo({ host, service }: Target, event: DriftEvent): Outgoing {
  const to = driftAddress(host, service);
  const params: SendParams = {
    to,
    event: { ...asJsonObject(event), type: event.type },
    ifThere: true,
  };
  return { type: 'send', params };
}

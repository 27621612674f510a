/**
 * One host of the homelab as the observer knows it: a fold of what was heard of it, and nothing else. What other programs read
 * of it is made from its record (observed-world.ts) once that is durable.
 */
import { setup } from 'xstate';
import type { Stamp } from './events.ts';
import type { ObservedEvent } from './observed-event.ts';
import { freshHost, observed } from './observed-host.ts';
import type { HostRecord } from './observed-host.ts';
import { typeOnly } from './unbound.ts';

/** To `system/observer/<host>`. */
export type ObservedHostEvent = { type: 'host.heard'; events: ObservedEvent[] };

const observedHost = setup({
  types: {
    context: typeOnly<HostRecord>(),
    input: typeOnly<{ host: string }>(),
    events: typeOnly<ObservedHostEvent & Stamp>(),
  },
});

const fold = observedHost.assign(({ context, event }) => event.events.reduce(observed, context));

export const observedHostMachine = observedHost.extend({ actions: { fold } }).createMachine({
  id: 'observed-host@1',
  context: ({ input }) => freshHost(input.host),
  on: { 'host.heard': { actions: 'fold' } },
});

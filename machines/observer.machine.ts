/**
 * The observer's root: hears what the homelab says, by bridges and by event files, and passes it on to the record of the host
 * that it is about. It knows which hosts there are, and nothing of them.
 *
 * O1 What was heard reaches its host's record in the same commit. A host too many is counted as refused, and shown.
 * O2 A host has one record under its name in the inventory, whatever else it is called.
 *    Whoever knows the inventory may say which of them are `gone`, so that made-up names do not use up the room.
 * O3 `observer.rebuild` forgets every host: their records are made anew from what is told again. Only where a checkpoint is
 *    known to have been written does its absence mean that somebody wants that.
 */
import { setup } from 'xstate';
import { observedAddress } from './addresses.ts';
import type { SendParams, SpawnParams, Stamp, StopParams } from './events.ts';
import { EMPTY_ROLL, enrol, enrolled, isEnrolled, strikeOff } from './incident-roll.ts';
import type { Roll } from './incident-roll.ts';
import { asJsonObject } from './json.ts';
import { observedEvent } from './observed-event.ts';
import type { ObservedEvent } from './observed-event.ts';
import type { ObserverEvent } from './supervision.ts';
import { stampOf } from './time.ts';
import { typeOnly } from './unbound.ts';

export interface ObserverContext {
  /** Of what is known: what was read into one does not stand in another. */
  generation: string;
  /** How far files were read into it is on disk. */
  isCheckpointed: boolean;
  aliases: Readonly<Record<string, string>>;
  roll: Roll;
  /** Events that say something, and those that other parts of the runtime, or programs in their place, say of themselves. */
  events: number;
  own: number;
  /** Of those, read from files. */
  fromFiles: number;
  /** Events of hosts for which there was no room. */
  refused: number;
  lastRefused: { at: number; host: string } | null;
  gaps: number;
  lastGap: { channel: string; since: number; until: number; reason: string } | null;
}

/** To `system/observer`. */
export type ObserverRootEvent =
  | ObserverEvent
  /** From event files, by the host's name in the inventory. At most 100. */
  | { type: 'observer.read'; host: string; events: ObservedEvent[] }
  /** `gone`: hosts of which nothing is to be known any more. */
  | { type: 'observer.configured'; aliases: Record<string, string>; gone?: string[] }
  /** The first checkpoint of this generation is durable. */
  | { type: 'observer.checkpointed'; generation: string }
  | { type: 'observer.rebuild'; generation: string; reason: string };

export const MAX_OBSERVED_HOSTS = 5000;

const observer = setup({
  types: {
    context: typeOnly<ObserverContext>(),
    input: typeOnly<{ generation: string; aliases: Record<string, string> }>(),
    events: typeOnly<ObserverRootEvent & Stamp>(),
  },
  actions: {
    send: (_args, _params: SendParams) => {},
    spawn: (_args, _params: SpawnParams) => {},
    stop: (_args, _params: StopParams) => {},
  },
});

interface Told {
  host: string;
  events: ObservedEvent[];
}

function toldBy(context: ObserverContext, event: ObserverRootEvent & Stamp): Told | undefined {
  if (event.type === 'observer.read') return event;
  if (event.type !== 'homelab.event') return undefined;
  const { aliases } = context;
  const seen = observedEvent(event.event, { heardAt: stampOf(event).at, aliases });
  return seen && { host: seen.host, events: [seen.event] };
}

/** O1, O2. */
const passOn = observer.enqueueActions(({ context, event, enqueue }) => {
  const told = toldBy(context, event);
  if (told === undefined) {
    enqueue.assign({ own: context.own + 1 });
    return;
  }
  const { host, events } = told;
  const { at, seq } = stampOf(event);
  const address = observedAddress(host);
  if (!hasRoom(context, address)) {
    const refused = context.refused + events.length;
    enqueue.assign({ refused, lastRefused: { at, host } });
    return;
  }
  enqueue.assign({
    roll: enrol(context.roll, address, seq),
    events: context.events + events.length,
    fromFiles: context.fromFiles + (event.type === 'observer.read' ? events.length : 0),
  });
  if (!isEnrolled(context.roll, address))
    enqueue({ type: 'spawn', params: { address, machine: 'observed-host', input: { host } } });
  const heard = { ...asJsonObject({ events }), type: 'host.heard' };
  enqueue({ type: 'send', params: { to: address, event: heard, ifThere: true } });
});
const hasRoom = ({ roll }: ObserverContext, address: string): boolean =>
  roll.size < MAX_OBSERVED_HOSTS || isEnrolled(roll, address);

const configure = observer.enqueueActions(({ context, event, enqueue }) => {
  if (event.type !== 'observer.configured') return;
  const { aliases, gone = [] } = event;
  const addresses = gone
    .map(observedAddress)
    .filter((address) => isEnrolled(context.roll, address));
  for (const address of addresses)
    enqueue({ type: 'stop', params: { address, reason: 'it is in no inventory' } });
  enqueue.assign({ aliases, roll: addresses.reduce(strikeOff, context.roll) });
});
/** O3. */
const forget = observer.enqueueActions(({ context, event, enqueue }) => {
  if (event.type !== 'observer.rebuild') return;
  const { generation, reason } = event;
  for (const address of enrolled(context.roll).toSorted())
    enqueue({ type: 'stop', params: { address, reason } });
  enqueue.assign({ generation, isCheckpointed: false, roll: EMPTY_ROLL });
});
const noteCheckpoint = observer.assign(({ context, event }) =>
  event.type === 'observer.checkpointed' && event.generation === context.generation
    ? { isCheckpointed: true }
    : {},
);
const noteGap = observer.assign(({ context, event }) => {
  if (event.type !== 'homelab.gap') return {};
  const { channel, since, until, reason } = event;
  return { gaps: context.gaps + 1, lastGap: { channel, since, until, reason } };
});

export const observerMachine = observer
  .extend({ actions: { passOn, configure, forget, noteCheckpoint, noteGap } })
  .createMachine({
    id: 'observer@1',
    context: ({ input }) => ({
      generation: input.generation,
      isCheckpointed: false,
      aliases: input.aliases,
      roll: EMPTY_ROLL,
      events: 0,
      own: 0,
      fromFiles: 0,
      refused: 0,
      lastRefused: null,
      gaps: 0,
      lastGap: null,
    }),
    on: {
      'homelab.event': { actions: 'passOn' },
      'observer.read': { actions: 'passOn' },
      'homelab.gap': { actions: 'noteGap' },
      'observer.configured': { actions: 'configure' },
      'observer.checkpointed': { actions: 'noteCheckpoint' },
      'observer.rebuild': { actions: 'forget' },
    },
  });

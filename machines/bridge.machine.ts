/**
 * A bridge to another message system, as an actor: every message that comes over is one event of it, so it is durable
 * before anything else sees it (P1), reaches local subscribers whether the bus is up or not, and leaves by the outbox.
 *
 * B1 Nothing is passed over in silence: a message is `heard`, `refused` (a dead letter), or lies in a `gap`.
 * B2 Subscribers get what they want of what was heard, in the order in which it was heard, and every gap.
 * B3 A stream's entry is told apart from the ones before by `streams`: that moves in the same record as the entry itself.
 */
import { setup } from 'xstate';
import {
  freshBridge,
  hasListeners,
  heardIn,
  listeners,
  noteGap,
  readTo,
  subscribe,
  toListener,
  unsubscribe,
} from './bridge-context.ts';
import type { BridgeContext, BridgeEvent } from './bridge-context.ts';
import type { SendParams, Stamp } from './events.ts';
import { stampOf } from './time.ts';
import { typeOnly } from './unbound.ts';

const bridge = setup({
  types: {
    context: typeOnly<BridgeContext>(),
    input: typeOnly<Pick<Stamp, 'at' | 'up'>>(),
    events: typeOnly<BridgeEvent & Stamp>(),
  },
  actions: { send: (_args, _params: SendParams) => {} },
  guards: { hasListeners: ({ context }) => hasListeners(context) },
});

const listen = bridge.assign(({ event }) => {
  if (event.type !== 'bridge.up') return {};
  const { instance, where, at } = event;
  return { instance, where, since: at, listenedAt: at, reason: null };
});
const fallSilent = bridge.assign(({ context, event }) => {
  if (event.type !== 'bridge.down') return {};
  const { reason, since } = event;
  const listenedAt = context.listenedAt === null ? null : Math.max(context.listenedAt, since);
  return { reason, since, listenedAt };
});
const noteReason = bridge.assign(({ event }) =>
  event.type === 'bridge.down' ? { reason: event.reason } : {},
);
/** B3. */
const hear = bridge.assign(({ context, event }) => {
  if (event.type !== 'bridge.heard' && event.type !== 'bridge.heardMany') return {};
  const { channel, entry } = event;
  const count = event.type === 'bridge.heard' ? 1 : event.messages.length;
  const { at: listenedAt } = stampOf(event);
  return { heard: context.heard + count, listenedAt, ...readTo(context, channel, entry) };
});
/** B3. */
const refuse = bridge.assign(({ context, event }) => {
  if (event.type !== 'bridge.refused') return {};
  const { channel, entry } = event;
  const { at: listenedAt } = stampOf(event);
  return { refused: context.refused + 1, listenedAt, ...readTo(context, channel, entry) };
});
const count = bridge.assign(({ context, event }) =>
  event.type === 'bridge.gap' ? noteGap(context, event) : {},
);
const begin = bridge.assign(({ context, event }) =>
  event.type === 'bridge.stream' ? readTo(context, event.stream, event.after) : {},
);
const enlist = bridge.assign(({ context, event }) =>
  event.type === 'bridge.subscribe' ? subscribe(context, event) : {},
);
const strike = bridge.assign(({ context, event }) =>
  event.type === 'bridge.unsubscribe' ? unsubscribe(context, event.address) : {},
);
/** B2. */
const tellHeard = bridge.enqueueActions(({ context, event, enqueue }) => {
  if (event.type !== 'bridge.heard' && event.type !== 'bridge.heardMany') return;
  const { channel } = event;
  for (const { host, service, event: inner } of heardIn(event)) {
    const told = { type: 'homelab.event', channel, host, service, event: inner };
    for (const to of listeners(context, { host, type: inner.type }))
      enqueue({ type: 'send', params: toListener(to, told) });
  }
});
/** B2. */
const tellGap = bridge.enqueueActions(({ context, event, enqueue }) => {
  if (event.type !== 'bridge.gap') return;
  const { channel, since, until, reason, dropped } = event;
  const told = { type: 'homelab.gap', channel, since, until, reason, dropped };
  for (const to of Object.keys(context.subscribers))
    enqueue({ type: 'send', params: toListener(to, told) });
});

export const bridgeMachine = bridge
  .extend({
    actions: {
      listen,
      fallSilent,
      noteReason,
      hear,
      refuse,
      count,
      begin,
      enlist,
      strike,
      tellHeard,
      tellGap,
    },
  })
  .createMachine({
    id: 'bridge@1',
    context: ({ input }) => freshBridge(input),
    initial: 'down',
    on: {
      'bridge.up': { target: '.up', actions: 'listen' },
      'bridge.heard': [
        { guard: 'hasListeners', actions: ['hear', 'tellHeard'] },
        { actions: 'hear' },
      ],
      'bridge.heardMany': [
        { guard: 'hasListeners', actions: ['hear', 'tellHeard'] },
        { actions: 'hear' },
      ],
      'bridge.refused': { actions: 'refuse' },
      'bridge.gap': { actions: ['count', 'tellGap'] },
      'bridge.stream': { actions: 'begin' },
      'bridge.subscribe': { actions: 'enlist' },
      'bridge.unsubscribe': { actions: 'strike' },
    },
    states: {
      down: { on: { 'bridge.down': { actions: 'noteReason' } } },
      up: { on: { 'bridge.down': { target: 'down', actions: 'fallSilent' } } },
    },
  });

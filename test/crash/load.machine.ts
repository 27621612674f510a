/**
 * What the harness sends events to while a mission runs. Each source is sent 1, 2, 3 ... under ids of their own and hands
 * every number on to the sink, so one look at a state says whether anything was lost, repeated or taken out of order:
 * `last` is the highest number that came in unbroken order, `wrong` names every other that came.
 */
import { assign, setup } from 'xstate';
import type { SendParams } from '../../machines/events.ts';

export interface LoadContext {
  self: string;
  sink: string | null;
  last: number;
  /** In the sink: `last` of each source. */
  relayed: Record<string, number>;
  wrong: string[];
}
type LoadEvent = { type: 'count'; n: number } | { type: 'relayed'; from: string; n: number };

export const loadMachine = setup({
  types: {
    input: {} as { self: string; sink: string | null },
    context: {} as LoadContext,
    events: {} as LoadEvent,
  },
  actions: { send: (_args, _params: SendParams) => undefined },
}).createMachine({
  id: 'load@1',
  context: ({ input: { self, sink } }) => ({ self, sink, last: 0, relayed: {}, wrong: [] }),
  on: {
    count: {
      actions: [
        assign(({ context, event }) => counted(context, context.last, event.n)),
        {
          type: 'send',
          params: ({ context, event }) => ({
            to: context.sink ?? '',
            event: { type: 'relayed', from: context.self, n: event.n },
          }),
        },
      ],
    },
    relayed: {
      actions: assign(({ context, event: { from, n } }) => {
        const { last, wrong } = counted(context, context.relayed[from] ?? 0, n);
        return { relayed: { ...context.relayed, [from]: last }, wrong };
      }),
    },
  },
});

function counted(
  { wrong }: LoadContext,
  last: number,
  n: number,
): { last: number; wrong: string[] } {
  return n === last + 1 ? { last: n, wrong } : { last, wrong: [...wrong, `${n} after ${last}`] };
}

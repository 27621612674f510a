/**
 * The work that both sides of a row do: one JSON event of some 200 bytes moves a machine with three states one step.
 * The same machine runs in the kernel and, for the baseline, in XState alone.
 */
import { assign, setup } from 'xstate';

export interface StepEvent {
  type: 'step';
  n: number;
  payload: string;
}
export type TickEvent = StepEvent | { type: 'boom' };

interface TickContext {
  count: number;
  last: number;
}

const tick = setup({
  types: { context: {} as TickContext, events: {} as TickEvent },
  actions: {
    count: assign({
      count: ({ context }) => context.count + 1,
      last: ({ event }) => (event.type === 'step' ? event.n : -1),
    }),
    fail: assign(() => {
      throw new Error('the actor fails');
    }),
  },
});

export const tickMachine = tick.createMachine({
  id: 'tick@1',
  context: { count: 0, last: 0 },
  initial: 'red',
  on: { boom: { actions: 'fail' } },
  states: {
    red: { on: { step: { target: 'green', actions: 'count' } } },
    green: { on: { step: { target: 'amber', actions: 'count' } } },
    amber: { on: { step: { target: 'red', actions: 'count' } } },
  },
});

const PAYLOAD = 'x'.repeat(160);

export function stepEvent(n: number): { type: 'step'; n: number; payload: string } {
  return { type: 'step', n, payload: PAYLOAD };
}

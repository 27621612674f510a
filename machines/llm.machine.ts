/**
 * The router's memory as an actor, `system/llm`: every HTTP attempt is an event of it before it is sent and after, so that
 * breakers and budgets are the same after a restart, and whoever follows the bus sees what models cost.
 *
 * An attempt that may not start is refused here too (CONFLICT): of two that ask at once for the last cent, one gets it.
 */
import { setup } from 'xstate';
import type { Stamp } from './events.ts';
import { freshModels, noteEnded, noteReset, noteStarted } from './llm-models.ts';
import type { LlmEvent, LlmModels } from './llm-models.ts';
import { stampOf } from './time.ts';
import { typeOnly } from './unbound.ts';

const llm = setup({
  types: {
    context: typeOnly<LlmModels>(),
    input: typeOnly<Pick<Stamp, 'at' | 'up'>>(),
    events: typeOnly<LlmEvent & Stamp>(),
  },
});

const start = llm.assign(({ context, event }) =>
  event.type === 'llm.attempt.started' ? noteStarted(context, event, stampOf(event).at) : {},
);
const end = llm.assign(({ context, event }) =>
  event.type === 'llm.attempt.ended' ? noteEnded(context, event, stampOf(event).at) : {},
);
const reset = llm.assign(({ context, event }) =>
  event.type === 'llm.reset' ? noteReset(context, event.model, stampOf(event).at) : {},
);

export const llmMachine = llm.extend({ actions: { start, end, reset } }).createMachine({
  id: 'llm@1',
  context: ({ input }) => freshModels(input.at),
  on: {
    'llm.attempt.started': { actions: 'start' },
    'llm.attempt.ended': { actions: 'end' },
    'llm.reset': { actions: 'reset' },
  },
});

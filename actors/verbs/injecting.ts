/** An event for a mission or one of its agents, from whoever may operate it. */
import { injectEvent, publicEventList } from '../inject.ts';
import type { JsonValue } from '../../machines/json.ts';
import { INJECTED, PUBLIC_EVENT_LIST } from './outputs.ts';
import type { ReadingVerb, WritingVerb } from './verb.ts';

export const injectVerb: WritingVerb = {
  kind: 'writes',
  name: 'inject',
  summary: 'Sends an event of a public type to a mission or an agent.',
  rights: 'operate',
  destructive: true, // some of them end what runs
  remote: true,
  output: INJECTED,
  input: {
    type: 'object',
    additionalProperties: false,
    required: ['to', 'event'],
    properties: {
      to: {
        type: 'string',
        minLength: 1,
        maxLength: 300,
        description: 'cell/<cell_id> or cell/<cell_id>/agent/<agent_id>',
      },
      event: {
        type: 'object',
        description:
          '{"type": ..., "data"?: {...}, "id"?: ..., "at"?: ..., "source"?: ...}; one with an id is taken once',
      },
      by: {
        type: 'string',
        minLength: 1,
        maxLength: 1000,
        description: 'who asks: the reason of an event that takes one and names none',
      },
    },
  },
  run: async (node, input) => ({
    ...(await injectEvent(node.kernel.system, input['to'] as string, input['event'] as JsonValue, {
      by: input['by'] as string | undefined,
    })),
  }),
};

export const injectableVerb: ReadingVerb = {
  kind: 'reads',
  name: 'inject.list',
  summary: 'The events that may be sent from outside, with the schemas of their data.',
  remote: true,
  input: { type: 'object', additionalProperties: false, properties: {} },
  output: PUBLIC_EVENT_LIST,
  run: () => ({ events: publicEventList() }),
};

/**
 * The events that may come in by a door as they are: what a person or a program outside may ask of a mission. Everything
 * else that machines know is between them (facts of agents, outcomes of effects, what Lazarus decides) and is refused
 * EVENT_NOT_PUBLIC, as is every address of the runtime's own actors.
 */
import { agentAddress, cellAddress, SYSTEM_CELL_ID } from './addresses.ts';
import type { CellEvent } from './events.ts';
import { RuntimeError } from './errors.ts';
import type { JsonObject } from './json.ts';

export interface PublicEvent {
  type: string;
  /** What the address names to which it may be sent. */
  of: 'cell' | 'agent';
  summary: string;
  /** JSON Schema of `data`. */
  data: JsonObject;
  /** The event as the mission's machine takes it. `agentId`: of the address, for events of an agent. */
  toEvent(data: Record<string, string>, agentId: string): CellEvent;
}

const text = (description: string): JsonObject => ({
  type: 'string',
  minLength: 1,
  maxLength: 1000,
  description,
});
const dataOf = (properties: JsonObject, required: string[] = []): JsonObject => ({
  type: 'object',
  additionalProperties: false,
  required,
  properties,
});
const REASON = { reason: text('why, for the record') };
const TASK = { task_id: text('a task of the mission') };
const because = ({ reason }: Record<string, string>): string => reason ?? 'asked for by an event';

export const PUBLIC_EVENTS: readonly PublicEvent[] = [
  {
    type: 'cell.pause',
    of: 'cell',
    summary: 'Stops giving out work; steps under way finish.',
    data: dataOf({}),
    toEvent: () => ({ type: 'cell.pause' }),
  },
  {
    type: 'cell.resume',
    of: 'cell',
    summary: 'Leaves a pause, or begins again after a timeout or a cancellation.',
    data: dataOf({}),
    toEvent: () => ({ type: 'cell.resume' }),
  },
  {
    type: 'cell.cancel',
    of: 'cell',
    summary: 'Ends the mission as failed; nothing of it runs on.',
    data: dataOf(REASON),
    toEvent: (data) => ({ type: 'cell.cancel', reason: because(data) }),
  },
  {
    type: 'task.retry',
    of: 'cell',
    summary: 'Tries a failed task again.',
    data: dataOf(TASK, ['task_id']),
    toEvent: ({ task_id: taskId = '' }) => ({ type: 'task.retry', taskId }),
  },
  {
    type: 'task.cancel',
    of: 'cell',
    summary: 'Ends a task as failed.',
    data: dataOf({ ...TASK, ...REASON }, ['task_id']),
    toEvent: (data) => ({
      type: 'task.cancel',
      taskId: data['task_id'] ?? '',
      reason: because(data),
    }),
  },
  {
    type: 'agent.pause',
    of: 'agent',
    summary: 'Lets the agent finish its step and take no other.',
    data: dataOf({}),
    toEvent: (_data, agentId) => ({ type: 'agent.pause', agentId }),
  },
  {
    type: 'agent.resume',
    of: 'agent',
    summary: 'Lets a paused agent go on.',
    data: dataOf({}),
    toEvent: (_data, agentId) => ({ type: 'agent.resume', agentId }),
  },
];

export interface PublicTarget {
  event: PublicEvent;
  cellId: string;
  /** Empty for events of a cell. */
  agentId: string;
}

/**
 * What an event of this type means at that address. Throws RuntimeError EVENT_NOT_PUBLIC for the runtime's own addresses, for
 * types that are not public, and for types of the other kind of actor.
 */
export function publicTarget(address: string, type: string): PublicTarget {
  const [kind, cellId = '', member, agentId = '', ...rest] = address.split('/');
  const of = member === undefined ? 'cell' : 'agent';
  const known = of === 'cell' ? cellAddress(cellId) : agentAddress(cellId, agentId);
  const isOurs = kind !== 'cell' || cellId === SYSTEM_CELL_ID;
  if (isOurs || rest.length > 0 || known !== address)
    throw notPublic(`${address.slice(0, 200)} takes no events from outside`);
  const event = PUBLIC_EVENTS.find((candidate) => candidate.type === type && candidate.of === of);
  if (event === undefined)
    throw notPublic(`${type.slice(0, 200)} may not be sent to ${of} ${address.slice(0, 200)}`);
  return { event, cellId, agentId };
}

function notPublic(message: string): RuntimeError {
  const list = (of: PublicEvent['of']): string =>
    PUBLIC_EVENTS.filter((event) => event.of === of)
      .map(({ type }) => type)
      .join(', ');
  return new RuntimeError(message, {
    code: 'EVENT_NOT_PUBLIC',
    hint: `To cell/<cell_id>: ${list('cell')}. To cell/<cell_id>/agent/<agent_id>: ${list('agent')}.`,
  });
}

/**
 * An event from outside, taken in: by the bus, by a request, by a verb. It is one of the public types (public-events.ts),
 * its data fits its schema, and it is durable when the call returns. The machine that takes it may still refuse it, as it
 * may a verb.
 */
import { cellAddress } from '../machines/addresses.ts';
import { RuntimeError } from '../machines/errors.ts';
import { asJsonObject, isJsonObject } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { PUBLIC_EVENTS, publicTarget } from '../machines/public-events.ts';
import type { PublicEvent } from '../machines/public-events.ts';
import type { SendOptions } from './admission.ts';
import { namesIn, schemaProblems } from './schema-check.ts';
import type { ActorSystem } from './system.ts';

export interface Injected {
  ok: true;
  /** Address of the actor that took it, and its record there. */
  to: string;
  seq: number;
  /** It had been taken before; nothing was done now. */
  duplicate?: true;
}

/** Where an event comes from, when that tells one event from another better than an id of its own. */
export type Provenance = Pick<SendOptions, 'stream'> & {
  /** Who asks, where an event has a reason and names none. */
  by?: string | undefined;
};

const MAX_ID = 200;

/**
 * `to`: an address, `cell/<cell_id>` or `cell/<cell_id>/agent/<agent_id>`. `event`: `{type, id?, at?, source?, data?}`.
 * Throws RuntimeError INVALID_ARGUMENT, EVENT_NOT_PUBLIC, what `system.send` throws, and the machine's own refusal.
 */
export async function injectEvent(
  system: ActorSystem,
  to: string,
  event: JsonValue,
  { by, ...provenance }: Provenance = {},
): Promise<Injected> {
  const { type, id, at, data } = shapeOf(event);
  const target = publicTarget(to, type);
  checkData(target.event, data);
  const address = cellAddress(target.cellId);
  const options: SendOptions = {
    ...provenance,
    ...(id === undefined ? {} : { id }),
    ...(at === undefined ? {} : { datedAt: at }),
  };
  const isUnsaid =
    data['reason'] === undefined && 'reason' in (target.event.data['properties'] as JsonObject);
  const whole = by !== undefined && isUnsaid ? { ...data, reason: `by ${by}` } : data;
  const taken = target.event.toEvent(whole as Record<string, string>, target.agentId);
  const { seq, duplicate } = await system.send(
    address,
    { ...asJsonObject(taken), type: taken.type },
    options,
  );
  return { ok: true, to: address, seq, ...(duplicate ? { duplicate: true as const } : {}) };
}

interface Shape {
  type: string;
  id: string | undefined;
  at: number | undefined;
  data: JsonObject;
}

const FIELDS = ['type', 'id', 'at', 'source', 'data'];

function shapeOf(event: JsonValue): Shape {
  if (!isJsonObject(event)) throw invalid('an event is a JSON object', '{"type": "cell.pause"}');
  const { type, id, at, source, data = {} } = event;
  if (typeof type !== 'string' || type === '')
    throw invalid('an event needs a type', '{"type": "cell.pause"}');
  const unknown = Object.keys(event).find((key) => !FIELDS.includes(key));
  if (unknown !== undefined)
    throw invalid(
      `an event has no field ${unknown.slice(0, 100)}`,
      `what belongs to ${type.slice(0, 100)} goes into data: {"type": "task.retry", "data": {"task_id": "build"}}`,
    );
  if (id !== undefined && (typeof id !== 'string' || id === '' || id.length > MAX_ID))
    throw invalid(`the id of an event is a text of at most ${MAX_ID} characters`);
  if (source !== undefined && typeof source !== 'string') throw invalid('source is a text');
  if (!isJsonObject(data)) throw invalid('data is a JSON object');
  return { type, id, at: timeOf(at), data };
}

function timeOf(at: JsonValue | undefined): number | undefined {
  if (at === undefined) return undefined;
  const ms = typeof at === 'string' ? Date.parse(at) : Number.NaN;
  if (Number.isNaN(ms)) throw invalid('at is a time: "2026-11-21T09:30:00Z"');
  return ms;
}

function checkData(event: PublicEvent, data: JsonObject): void {
  const problems = schemaProblems(event.data, data, (pointer) => `/data${pointer}`);
  if (problems.length > 0)
    throw invalid(
      `${event.type}: ${problems.join('; ')}`,
      `data takes ${namesIn(event.data) || 'nothing'}`,
    );
}

function invalid(message: string, hint?: string): RuntimeError {
  return new RuntimeError(message, {
    code: 'INVALID_ARGUMENT',
    ...(hint === undefined ? {} : { hint }),
  });
}

/** For lists: what may be sent, and what its data is. */
export function publicEventList(): JsonObject[] {
  return PUBLIC_EVENTS.map(({ type, of, summary, data }) => ({ type, of, summary, data }));
}

/**
 * Event files as the observer takes them: a file's text, or a line of an older `events.jsonl`, to what was observed. What is
 * no event is said, and never thrown.
 */
import { MAX_MESSAGE_BYTES, readMessage } from '../../machines/homelab-events.ts';
import { isJsonObject } from '../../machines/json.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { observedEvent } from '../../machines/observed-event.ts';
import type { ObservedEvent } from '../../machines/observed-event.ts';

export interface ReadContext {
  /** The host whose folder it lies in, for an event that names none. */
  folderHost: string;
  /** When the file was written, epoch ms: for an event without a time. */
  writtenAt: number;
  /** Now, epoch ms. */
  heardAt: number;
  aliases: Readonly<Record<string, string>>;
}

export type Reading =
  | { kind: 'event'; host: string; event: ObservedEvent }
  /** What this runtime says of itself. */
  | { kind: 'own' }
  | { kind: 'refused'; reason: string };

export function readEvent(bytes: Buffer, context: ReadContext): Reading {
  if (bytes.length > MAX_MESSAGE_BYTES)
    return { kind: 'refused', reason: `it has more than ${MAX_MESSAGE_BYTES} bytes` };
  const about = { channel: 'file', id: '', at: context.writtenAt };
  const text = bytes.toString();
  const asItIs = readMessage(text, about);
  const read =
    asItIs.kind === 'event' ? asItIs : readMessage(withHost(text, context.folderHost), about);
  if (read.kind === 'refused') return read;
  const { heardAt, aliases } = context;
  const seen = observedEvent(read.event, { heardAt, aliases });
  return seen === undefined ? { kind: 'own' } : { kind: 'event', ...seen };
}

/** The same text when it is no object, or names a host. */
function withHost(text: string, node: string): string {
  let value: JsonValue;
  try {
    value = JSON.parse(text) as JsonValue;
  } catch {
    return text; // said by whoever reads it
  }
  if (!isJsonObject(value) || value['node'] !== undefined) return text;
  const named: JsonObject = { ...value, node };
  return JSON.stringify(named);
}

/** What was read, ready to be told: by host, in the order in which it was read. */
export class Batch {
  readonly byHost = new Map<string, ObservedEvent[]>();
  events = 0;

  add(host: string, event: ObservedEvent): void {
    const known = this.byHost.get(host);
    if (known === undefined) this.byHost.set(host, [event]);
    else known.push(event);
    this.events += 1;
  }
}

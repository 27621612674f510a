/** What the bus is told of the journal: each event that was taken in, as one message, the same whether it is read from memory or from disk. */
import {
  actionSubject,
  deadLetterSubject,
  eventsSubject,
  homelabSubject,
} from '../bus/subjects.ts';
import type { BusMessage } from '../bus/bus.ts';
import type { PlainError } from '../machines/errors.ts';
import { NATS_BRIDGE } from '../machines/addresses.ts';
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject } from '../machines/json.ts';
import type { JournalRecordLine } from '../cells/journal-reader.ts';
import { decodeRecord } from './records.ts';
import type { EventRecord } from './records.ts';
import type { CommittedRecord } from './system.ts';

/** One, but for what came in by a bridge together. */
export function messagesOf(record: CommittedRecord, maxBytes: number): BusMessage[] {
  const { lsn } = record;
  const found = heard(record);
  if (found === undefined) {
    const told = refused(record) ??
      became(record) ?? {
        subject: eventsSubject(record.address),
        content: bodyOf(record),
      };
    return [{ lsn, ...written(told, maxBytes) }];
  }
  return found.map((one, part) => ({
    lsn,
    ...(found.length === 1 ? {} : { part }),
    ...written(one, maxBytes),
  }));
}

/** A message for an event that was longer than the server takes says so instead. */
function written(
  { subject, content }: Outgoing,
  maxBytes: number,
): { subject: string; body: string } {
  const body = JSON.stringify(content);
  if (body.length * 3 <= maxBytes) return { subject, body };
  const bytes = Buffer.byteLength(body);
  if (bytes <= maxBytes) return { subject, body };
  const { data: _data, ...rest } = content;
  return { subject, body: JSON.stringify({ ...rest, data: { left_out: true, bytes } }) };
}

/** `{id, type, at, source, data}`, and `error` when the actor's machine refused it. */
function bodyOf({ address, seq, at, event, source, error }: CommittedRecord): JsonObject {
  const { type, ...data } = event;
  return {
    id: `${address}#${seq}`,
    type,
    at: new Date(at).toISOString(),
    source: address,
    ...(source === undefined ? {} : { from: source }),
    data,
    ...(error ? { error: wireOf(error) } : {}),
  };
}

const wireOf = ({ name, message, code }: PlainError & { code?: string }): JsonObject => ({
  name,
  message,
  ...(code === undefined ? {} : { code }),
});

interface Outgoing {
  subject: string;
  content: JsonObject;
}

/**
 * What came in by a bridge goes out as what it is, not as the bridge's own event; unless the bridge's machine refused it, or it
 * came from the bus itself.
 */
function heard({ address, event, error }: CommittedRecord): Outgoing[] | undefined {
  const isHeard = event.type === 'bridge.heard' || event.type === 'bridge.heardMany';
  if (!isHeard || error !== undefined || address === NATS_BRIDGE) return undefined;
  const { channel, messages } = event;
  const all = event.type === 'bridge.heard' ? [event] : Array.isArray(messages) ? messages : [];
  const found: Outgoing[] = [];
  for (const one of all) {
    if (!isJsonObject(one) || typeof channel !== 'string') return undefined;
    const { host, service, event: content } = one;
    if (typeof host !== 'string' || !isJsonObject(content)) return undefined;
    const place = { channel, host, service: typeof service === 'string' ? service : '' };
    found.push({ subject: homelabSubject(place), content });
  }
  return found.length === 0 ? undefined : found;
}

/** What a bridge could not read is a dead letter. */
function refused(record: CommittedRecord): Outgoing | undefined {
  const { channel } = record.event;
  if (record.event.type !== 'bridge.refused' || typeof channel !== 'string') return undefined;
  return { subject: deadLetterSubject(record.address, channel), content: bodyOf(record) };
}

/** What an action, or a drift, says of itself goes out under its own name. */
function became(record: CommittedRecord): Outgoing | undefined {
  const { action_id: id, status, type, host, service } = record.event;
  if (type === 'drift.became' && typeof host === 'string') {
    const place = {
      channel: 'reconcile',
      host,
      service: typeof service === 'string' ? service : '',
    };
    return { subject: homelabSubject(place), content: bodyOf(record) };
  }
  if (type !== 'action.became' || typeof id !== 'string' || typeof status !== 'string')
    return undefined;
  return { subject: actionSubject(id, status), content: bodyOf(record) };
}

/** The same from the journal's own lines: each line gives what is known to be said once the line behind it is known. */
export class RecordReader {
  #open: { lsn: number; record: EventRecord; chars: number } | undefined;

  /** Lines in order. What is handed out may belong to a line before. */
  next({ lsn, line }: JournalRecordLine): CommittedRecord[] {
    const record = decodeRecord(line);
    const before = this.#open;
    this.#open = undefined;
    const found: CommittedRecord[] = [];
    const isRejection =
      record.k === 'rejected' && before?.record.a === record.a && before.record.n === record.of;
    if (before && !isRejection) found.push(committed(before));
    const { a: address, n: seq, t: at } = record;
    const chars = line.length;
    if (record.k === undefined) this.#open = { lsn, record, chars };
    else if (isRejection && before)
      found.push({
        ...committed({ ...before, lsn }),
        seq,
        at,
        error: record.e,
        chars: before.chars + chars,
      });
    else if (record.k === 'init')
      found.push({
        lsn,
        address,
        seq,
        at,
        event: { type: 'actor.spawned', machine: record.m },
        source: record.s?.[0],
        error: undefined,
        chars,
      });
    else if (record.k === 'stopped')
      found.push({
        lsn,
        address,
        seq,
        at,
        event: { type: 'actor.stopped', reason: record.e },
        source: undefined,
        error: undefined,
        chars,
      });
    return found;
  }

  /** Nothing stands behind the last line. */
  end(): CommittedRecord[] {
    const last = this.#open;
    this.#open = undefined;
    return last ? [committed(last)] : [];
  }
}

function committed({
  lsn,
  record: { a, n, t, e, s },
  chars,
}: {
  lsn: number;
  record: EventRecord;
  chars: number;
}): CommittedRecord {
  return { lsn, address: a, seq: n, at: t, event: e, source: s?.[0], error: undefined, chars };
}

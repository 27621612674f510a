/** What the bus is told of the journal: each event that was taken in, as one message, the same whether it is read from memory or from disk. */
import { deadLetterSubject, eventsSubject, homelabSubject } from '../bus/subjects.ts';
import type { BusMessage } from '../bus/bus.ts';
import type { PlainError } from '../machines/errors.ts';
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject } from '../machines/json.ts';
import type { JournalRecordLine } from '../cells/journal-reader.ts';
import { decodeRecord } from './records.ts';
import type { EventRecord } from './records.ts';
import type { CommittedRecord } from './system.ts';

/** A message for an event that was longer than the server takes says so instead. */
export function messageOf(record: CommittedRecord, maxBytes: number): BusMessage {
  const { lsn } = record;
  const { subject, content } = heard(record) ??
    refused(record) ?? { subject: eventsSubject(record.address), content: bodyOf(record) };
  const body = JSON.stringify(content);
  const bytes = Buffer.byteLength(body);
  if (bytes <= maxBytes) return { lsn, subject, body };
  const { data: _data, ...rest } = content;
  return { lsn, subject, body: JSON.stringify({ ...rest, data: { left_out: true, bytes } }) };
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

/** What came in by a bridge goes out as what it is, not as the bridge's own event; unless the bridge's machine refused it. */
function heard({ event, error }: CommittedRecord): Outgoing | undefined {
  if (event.type !== 'bridge.heard' || error !== undefined) return undefined;
  const { channel, host, service, event: content } = event;
  if (typeof channel !== 'string' || typeof host !== 'string' || !isJsonObject(content))
    return undefined;
  const place = { channel, host, service: typeof service === 'string' ? service : '' };
  return { subject: homelabSubject(place), content };
}

/** What a bridge could not read is a dead letter. */
function refused(record: CommittedRecord): Outgoing | undefined {
  const { channel } = record.event;
  if (record.event.type !== 'bridge.refused' || typeof channel !== 'string') return undefined;
  return { subject: deadLetterSubject(record.address, channel), content: bodyOf(record) };
}

/** The same from the journal's own lines: each line gives what is known to be said once the line behind it is known. */
export class RecordReader {
  #open: { lsn: number; record: EventRecord } | undefined;

  /** Lines in order. What is handed out may belong to a line before. */
  next({ lsn, line }: JournalRecordLine): CommittedRecord[] {
    const record = decodeRecord(line);
    const before = this.#open;
    this.#open = undefined;
    const found: CommittedRecord[] = [];
    const isRejection =
      record.k === 'rejected' && before?.record.a === record.a && before.record.n === record.of;
    if (before && !isRejection) found.push(committed(before.lsn, before.record));
    const { a: address, n: seq, t: at } = record;
    if (record.k === undefined) this.#open = { lsn, record };
    else if (isRejection && before)
      found.push({ ...committed(lsn, before.record), seq, at, error: record.e });
    else if (record.k === 'init')
      found.push({
        lsn,
        address,
        seq,
        at,
        event: { type: 'actor.spawned', machine: record.m },
        source: record.s?.[0],
        error: undefined,
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
      });
    return found;
  }

  /** Nothing stands behind the last line. */
  end(): CommittedRecord[] {
    const last = this.#open;
    this.#open = undefined;
    return last ? [committed(last.lsn, last.record)] : [];
  }
}

function committed(lsn: number, { a, n, t, e, s }: EventRecord): CommittedRecord {
  return { lsn, address: a, seq: n, at: t, event: e, source: s?.[0], error: undefined };
}

/**
 * A Redis stream, read as a consumer of a group: what was read is acknowledged once it is durable here, and not before.
 *
 * T1 Redis hands out new entries in rising order, so "up to which entry" is all that has to be remembered to tell a new one
 *    from one that was read, made durable and not yet acknowledged when this node was killed. That only holds for what
 *    this consumer read itself: entries taken over from a consumer that is gone go through a consumer of their own, and
 *    are told apart by their ids.
 * T2 What is pending for this consumer comes before anything new, so that order is kept over a restart.
 * T3 The stream is never made by us: without it there is nothing to read, and it may appear later, also between two
 *    connections. It is read from its beginning then.
 * T4 Bounded: so many entries and bytes under way; how much is asked for at once follows the size of what came (P8).
 */
import { compareEntries } from '../machines/bridge-context.ts';
import type { RedisConnection, RedisReply } from './redis.ts';
import { sleepUnless } from './reconnect.ts';

export interface StreamEntry {
  id: string;
  fields: [name: Buffer, value: Buffer][];
  bytes: number;
}

/** What the runtime does with a stream. Its promises resolve when that is durable. */
export interface StreamSink {
  /** The last entry that was read in order (T1); undefined: this stream was never read. */
  lastRead(): string | undefined;
  /** There was no such stream, on whichever connection (T3). */
  sawNone: boolean;
  /** From now on reading begins behind this entry. */
  beginAfter(entry: string): Promise<void>;
  /** `isTakenOver`: they were another consumer's. */
  deliver(entries: StreamEntry[], isTakenOver: boolean): Promise<void>;
  /** Entries that were removed from the stream before anybody here read them. */
  missed(count: number): Promise<void>;
}

export interface StreamOptions {
  stream: string;
  group: string;
  consumer: string;
  signal: AbortSignal;
  onState: (state: 'absent' | 'up') => void;
  /** Between two looks for a stream that is not there, ms. Default 2000. */
  pollMs?: number;
  /** A consumer's entry that was not acknowledged for so long is taken over at the start, ms. Default 60,000. */
  idleMs?: number;
}

const FIRST_COUNT = 64;
const MOST_COUNT = 512;
/** T4. */
const MOST_ENTRIES = 1024;
const MOST_BYTES = 16 << 20;
const MUCH_BYTES = 2 << 20;
/** Shorter than the silence after which a connection is given up (redis.ts, R2). */
const BLOCK_MS = 2000;

/** Reads until the connection ends, and throws why; returns when the signal is aborted. */
export async function readStream(
  connection: RedisConnection,
  sink: StreamSink,
  options: StreamOptions,
): Promise<void> {
  const { signal } = options;
  const reader = new StreamReader(connection, sink, options);
  const stop = (): void => reader.leave();
  signal.addEventListener('abort', stop, { once: true });
  try {
    await keepReading(reader, sink, options);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

async function keepReading(
  reader: StreamReader,
  sink: StreamSink,
  options: StreamOptions,
): Promise<void> {
  const { signal, onState, pollMs = 2000 } = options;
  while (!signal.aborted) {
    try {
      if (await reader.open()) {
        onState('up');
        await reader.drainPending();
        await reader.takeOver();
        await reader.follow();
      } else {
        sink.sawNone = true; // T3
        onState('absent');
        await sleepUnless(signal, pollMs);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Error && error.message.startsWith('NOGROUP'))) throw error;
      sink.sawNone = true; // the stream was removed, or its group
    }
  }
}

class StreamReader {
  readonly #connection: RedisConnection;
  readonly #sink: StreamSink;
  readonly #options: StreamOptions;
  #count = FIRST_COUNT;
  readonly #underWay = new Set<Promise<void>>();
  #entries = 0;
  #bytes = 0;
  #failure: Error | undefined;

  constructor(connection: RedisConnection, sink: StreamSink, options: StreamOptions) {
    this.#connection = connection;
    this.#sink = sink;
    this.#options = options;
  }

  /** A read that waits at the server holds nothing up: what is under way is acknowledged first. */
  leave(): void {
    if (this.#underWay.size === 0) this.#connection.close();
  }

  /** False while there is no such stream. Otherwise it has our group: that begins where this node had read to. */
  async open(): Promise<boolean> {
    const { stream, group } = this.#options;
    const info = await this.#streamInfo();
    if (info === undefined) return false;
    const groups = listOf(await this.#connection.send(['XINFO', 'GROUPS', stream])).map(toMap);
    const ours = groups.find((known) => textOf(known.get('name')) === group);
    if (ours !== undefined) {
      const missed = missedBefore(info, ours);
      if (missed > 0) await this.#sink.missed(missed);
      return true;
    }
    const newest = textOf(info.get('last-generated-id'));
    const last = this.#sink.lastRead();
    const isSame = last !== undefined && compareEntries(newest, last) >= 0;
    const isNew = last !== undefined || this.#sink.sawNone;
    const after = isSame ? last : isNew ? '0-0' : newest;
    await this.#sink.beginAfter(after);
    await this.#connection.send(['XGROUP', 'CREATE', stream, group, after]).catch(unlessThere);
    return true;
  }

  /** T2. */
  async drainPending(): Promise<void> {
    await this.#drain(this.#options.consumer, false);
  }

  /** T1: what consumers left behind that are gone. Servers older than 6.2 do not know how. */
  async takeOver(): Promise<void> {
    const { stream, group, idleMs = 60_000 } = this.#options;
    const heir = `${this.#options.consumer}:taken-over`;
    await this.#drain(heir, true);
    const claim = ['XAUTOCLAIM', stream, group, heir, String(idleMs)];
    for (let cursor = '0-0'; ;) {
      const reply = await this.#connection
        .send([...claim, cursor, 'COUNT', String(FIRST_COUNT)])
        .catch(unlessUnknown);
      const [next, entries] = listOf(reply);
      await this.#deliver(entriesOf(entries ?? null), true);
      cursor = textOf(next ?? null);
      if (cursor === '0-0' || cursor === '') return;
    }
  }

  /** What is new, for ever. While something is under way it only looks; else it waits at the server. */
  async follow(): Promise<void> {
    while (!this.#options.signal.aborted) {
      if (this.#failure) throw this.#failure;
      if (this.#entries >= MOST_ENTRIES || this.#bytes >= MOST_BYTES) {
        await Promise.race(this.#underWay);
        continue;
      }
      const isIdle = this.#underWay.size === 0;
      const entries = await this.#read(this.#options.consumer, '>', isIdle);
      if (entries.length > 0) this.#begin(entries);
      else if (this.#underWay.size > 0) await Promise.race(this.#underWay); // all may have ended while it looked
    }
    await Promise.all(this.#underWay);
  }

  async #drain(consumer: string, isTakenOver: boolean): Promise<void> {
    for (let after = '0-0'; ;) {
      const entries = await this.#read(consumer, after, false);
      const last = entries.at(-1);
      if (last === undefined) return;
      await this.#deliver(entries, isTakenOver);
      after = last.id;
    }
  }

  #begin(entries: StreamEntry[]): void {
    const bytes = bytesOf(entries);
    this.#entries += entries.length;
    this.#bytes += bytes;
    const batch = this.#deliver(entries, false)
      .catch((error: unknown) => {
        this.#failure ??= error instanceof Error ? error : new Error(String(error));
      })
      .finally(() => {
        this.#underWay.delete(batch);
        this.#entries -= entries.length;
        this.#bytes -= bytes;
      });
    this.#underWay.add(batch);
  }

  async #deliver(entries: StreamEntry[], isTakenOver: boolean): Promise<void> {
    if (entries.length === 0) return;
    await this.#sink.deliver(entries, isTakenOver);
    const { stream, group } = this.#options;
    await this.#connection.send(['XACK', stream, group, ...entries.map(({ id }) => id)]);
  }

  async #read(consumer: string, after: string, isPatient: boolean): Promise<StreamEntry[]> {
    const { stream, group } = this.#options;
    const count = ['COUNT', String(this.#count)];
    const block = isPatient ? ['BLOCK', String(BLOCK_MS)] : [];
    const command = ['XREADGROUP', 'GROUP', group, consumer, ...count, ...block];
    const reply = await this.#connection.send([...command, 'STREAMS', stream, after]);
    const [one] = listOf(reply);
    const [, list] = listOf(one ?? null);
    const entries = entriesOf(list ?? null);
    this.#adapt(entries);
    return entries;
  }

  /** T4. */
  #adapt(entries: StreamEntry[]): void {
    const bytes = bytesOf(entries);
    if (bytes > MUCH_BYTES) this.#count = Math.max(1, this.#count >> 2);
    else if (entries.length === this.#count && bytes * 2 < MUCH_BYTES)
      this.#count = Math.min(MOST_COUNT, this.#count * 2);
  }

  async #streamInfo(): Promise<Map<string, RedisReply> | undefined> {
    try {
      return toMap(await this.#connection.send(['XINFO', 'STREAM', this.#options.stream]));
    } catch (error) {
      if (error instanceof Error && /no such key/i.test(error.message)) return undefined;
      throw error;
    }
  }
}

const bytesOf = (entries: readonly StreamEntry[]): number =>
  entries.reduce((sum, { bytes }) => sum + bytes, 0);

/** Entries that were trimmed away unread: only servers from 7.0 on count them. */
function missedBefore(
  info: ReadonlyMap<string, RedisReply>,
  group: ReadonlyMap<string, RedisReply>,
): number {
  const [first] = entriesOf([info.get('first-entry') ?? null]);
  const [added, read, length] = [
    info.get('entries-added'),
    group.get('entries-read'),
    info.get('length'),
  ];
  if (first === undefined) return 0;
  if (typeof added !== 'number' || typeof read !== 'number' || typeof length !== 'number') return 0;
  const isBehind = compareEntries(textOf(group.get('last-delivered-id')), first.id) < 0;
  return isBehind ? Math.max(0, added - read - length) : 0;
}

/** Somebody else was quicker. */
function unlessThere(error: unknown): RedisReply {
  if (error instanceof Error && error.message.startsWith('BUSYGROUP')) return null;
  throw error;
}

function unlessUnknown(error: unknown): RedisReply {
  if (error instanceof Error && /unknown command/i.test(error.message)) return null;
  throw error;
}

const listOf = (reply: RedisReply): RedisReply[] => (Array.isArray(reply) ? reply : []);

const textOf = (reply: RedisReply | undefined): string =>
  Buffer.isBuffer(reply) ? reply.toString('latin1') : typeof reply === 'string' ? reply : '';

function toMap(reply: RedisReply): Map<string, RedisReply> {
  const list = listOf(reply);
  const map = new Map<string, RedisReply>();
  for (let i = 0; i + 1 < list.length; i += 2) map.set(textOf(list[i]), list[i + 1] ?? null);
  return map;
}

/** An entry that was removed from the stream while it was pending comes without fields. */
function entriesOf(reply: RedisReply): StreamEntry[] {
  const entries: StreamEntry[] = [];
  for (const item of listOf(reply)) {
    const [id, values] = listOf(item);
    if (id === undefined) continue;
    const list = listOf(values ?? null);
    const fields: [Buffer, Buffer][] = [];
    let bytes = 0;
    for (let i = 0; i + 1 < list.length; i += 2) {
      const [name, value] = [list[i], list[i + 1]];
      if (!Buffer.isBuffer(name) || !Buffer.isBuffer(value)) continue;
      fields.push([name, value]);
      bytes += name.length + value.length;
    }
    entries.push({ id: textOf(id), fields, bytes });
  }
  return entries;
}

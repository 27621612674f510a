/**
 * The journal as the bus's outbox: everything committed is published, once and in order, whether the bus was there at that
 * time or not.
 *
 * X1 The journal is the only queue. What was committed since this node watches is also kept in memory, up to a bound; for
 *    all else the journal's files are read.
 * X2 What the server has is asked of the server: on each connection the last message of ours in each stream tells where to go
 *    on. The cursor on disk is a lower bound of that, and what the journal's segments are kept for.
 * X3 An outbox that falls behind by more than its bound loses the oldest, for the bus only, and says so: a message `outbox.gap`
 *    with the lsns, a count in the status. The actors lose nothing.
 */
import { readFileSync } from 'node:fs';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { positionOf } from '../bus/bus.ts';
import type { Bus, BusLog, BusMessage } from '../bus/bus.ts';
import { DEAD_LETTERS, HOMELAB, MISSIONS, streamOf } from '../bus/streams.ts';
import { writeWhole } from '../cells/durable.ts';
import { hasCode } from '../cells/inside.ts';
import { readSegments } from '../cells/journal-reader.ts';
import type { JournalRecordLine } from '../cells/journal-reader.ts';
import { SYSTEM_CELL_ID } from '../machines/addresses.ts';
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject } from '../machines/json.ts';
import { messagesOf, RecordReader } from './outbox-records.ts';
import type { ActorSystem, CommittedRecord } from './system.ts';

export interface OutboxOptions {
  bus: Bus;
  system: ActorSystem;
  journalFolder: string;
  cursorFile: string;
  committedLsn: () => number;
  log: BusLog;
}

export interface OutboxView extends JsonObject {
  /** Everything up to here is on the bus. */
  published_lsn: number;
  behind: number;
  published: number;
  gaps: { count: number; last: { from: number; to: number; at: string } | null };
}

/** Messages in one run, of which the last is acknowledged. */
const RUN = 500;
/** Of a run: what the server takes within the time of an acknowledgement. */
const RUN_CHARS = 4 << 20;
/** Kept in memory for a bus that is slow. */
const MAX_KEPT = 20_000;
const MAX_KEPT_CHARS = 16 << 20;
const SLICE_MS = 5;
const RETRY_MS = 250;
const SAVE_MS = 1000;
const FAREWELL_MS = 1000;
/** Of a message: the rest of the server's limit is for its headers. */
const HEADER_BYTES = 1024;

/** Streams that are written from the journal. */
const WRITTEN = [MISSIONS, HOMELAB, DEAD_LETTERS];

export class Outbox {
  readonly #options: OutboxOptions;
  /** X1. Everything committed behind `#keptFrom`. */
  #kept: CommittedRecord[] = [];
  #keptChars = 0;
  #keptFrom: number;
  #cursor: number;
  /** False: nobody knows where an earlier life left off, so that what is missing before is not a gap. */
  #isKnown: boolean;
  /** By stream: what the server has of us. */
  #has = new Map<string, number>();
  #isSynced = false;
  #disk: Generator<JournalRecordLine> | undefined;
  #reader = new RecordReader();
  /** The lsn that the next line of the files must have. */
  #expected = 0;
  /** The one at which they ended when they were last read to their end. */
  #endedAt = 0;
  #published = 0;
  #gaps: OutboxView['gaps'] = { count: 0, last: null };
  #saved = 0;
  #wake: () => void = () => {};
  #closed = false;
  #running: Promise<void> = Promise.resolve();
  readonly #onCommitted = (record: CommittedRecord): void => this.#keep(record);

  constructor(options: OutboxOptions) {
    this.#options = options;
    const cursor = readCursor(options.cursorFile);
    this.#cursor = cursor ?? 0;
    this.#isKnown = cursor !== undefined;
    this.#saved = this.#cursor;
    this.#keptFrom = options.committedLsn();
  }

  start(): void {
    const { system, bus } = this.#options;
    this.#keptFrom = this.#options.committedLsn();
    system.on('committed', this.#onCommitted);
    bus.onUp(() => {
      this.#isSynced = false;
      this.#wake();
    });
    this.#running = this.#run();
  }

  /** X2: records from here on are still to be published. */
  get oldestNeeded(): number {
    return this.#saved + 1;
  }

  view(): OutboxView {
    return {
      published_lsn: this.#cursor,
      behind: Math.max(0, this.#options.committedLsn() - this.#cursor),
      published: this.#published,
      gaps: this.#gaps,
    };
  }

  /** What is left goes out if the bus takes it at once; else it goes out in the next life. */
  async close(): Promise<void> {
    const deadline = performance.now() + FAREWELL_MS;
    while (this.#options.bus.isUp && this.#hasMore() && performance.now() < deadline)
      await sleep(10);
    this.#closed = true;
    this.#options.system.off('committed', this.#onCommitted);
    this.#wake();
    await this.#running;
    await this.#save();
  }

  #keep(record: CommittedRecord): void {
    if (this.#kept.length >= MAX_KEPT || this.#keptChars >= MAX_KEPT_CHARS) {
      this.#keptFrom = this.#kept.at(-1)?.lsn ?? this.#keptFrom;
      this.#kept = [];
      this.#keptChars = 0;
    }
    this.#kept.push(record);
    this.#keptChars += record.chars;
    this.#wake();
  }

  #hasMore(): boolean {
    return this.#kept.length > 0 || this.#cursor < this.#keptFrom;
  }

  async #run(): Promise<void> {
    const { bus, log } = this.#options;
    let lastSave = performance.now();
    for (let told = ''; !this.#closed;) {
      if (!bus.isUp || !this.#hasMore()) {
        if (this.#saved !== this.#cursor) await this.#save();
        if (!bus.isUp || !this.#hasMore()) await this.#woken();
        continue;
      }
      try {
        if (!this.#isSynced) await this.#sync();
        await this.#publishSome();
        told = '';
        if (performance.now() - lastSave < SAVE_MS) continue;
        lastSave = performance.now();
        await this.#save();
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        if (reason !== told)
          log.warn({ reason }, 'the bus did not take everything; it goes on from there');
        told = reason;
        this.#isSynced = false;
        await sleep(RETRY_MS, null, { ref: false });
      }
    }
  }

  #woken(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    return new Promise((resolve) => (this.#wake = resolve));
  }

  /** X2. */
  async #sync(): Promise<void> {
    const { bus } = this.#options;
    this.#has = new Map();
    for (const { name } of WRITTEN) this.#has.set(name, await bus.lastPosition(name));
    this.#isKnown ||= [...this.#has.values()].some((lsn) => lsn > 0);
    this.#disk = undefined;
    this.#isSynced = true;
  }

  async #publishSome(): Promise<void> {
    const records = this.#cursor < this.#keptFrom ? await this.#fromDisk() : this.#fromMemory();
    const { bus } = this.#options;
    const byStream = new Map<string, BusMessage[]>();
    for (const record of records.found) {
      for (const message of messagesOf(record, bus.maxPayload - HEADER_BYTES)) {
        const name = streamOf(message.subject)?.name ?? MISSIONS.name;
        if (positionOf(message) <= (this.#has.get(name) ?? 0)) continue; // it has it
        const run = byStream.get(name);
        if (run) run.push(message);
        else byStream.set(name, [message]);
      }
    }
    for (const [name, messages] of byStream) {
      await bus.publish(name, messages);
      const last = messages.at(-1);
      if (last) this.#has.set(name, positionOf(last));
      this.#published += messages.length;
    }
    this.#cursor = Math.max(this.#cursor, records.upTo);
    if (this.#cursor >= this.#keptFrom) this.#forget();
  }

  #fromMemory(): { found: CommittedRecord[]; upTo: number } {
    const found: CommittedRecord[] = [];
    let size = 0;
    for (const record of this.#kept) {
      if (found.length >= RUN || size >= RUN_CHARS) break;
      found.push(record);
      size += record.chars;
    }
    return { found, upTo: found.at(-1)?.lsn ?? this.#cursor };
  }

  /** What is published needs no place. */
  #forget(): void {
    const next = this.#kept.findIndex(({ lsn }) => lsn > this.#cursor);
    const gone = this.#kept.splice(0, next < 0 ? this.#kept.length : next);
    for (const { chars } of gone) this.#keptChars -= chars;
    this.#disk = undefined;
  }

  /** X1, X3: the next records up to where memory begins. */
  async #fromDisk(): Promise<{ found: CommittedRecord[]; upTo: number }> {
    const found: CommittedRecord[] = [];
    const until = this.#keptFrom;
    const since = performance.now();
    let size = 0;
    if (this.#disk === undefined) {
      this.#expected = this.#cursor + 1;
      this.#reader = new RecordReader();
      this.#disk = readSegments(this.#options.journalFolder, { fromLsn: this.#expected });
    }
    try {
      while (found.length < RUN && size < RUN_CHARS && performance.now() - since < SLICE_MS) {
        const { value: line, done } = this.#disk.next();
        if (done && this.#expected <= until && this.#endedAt !== this.#expected) {
          // The files are as they were when they were opened: what memory gave up since then stands in them by now.
          this.#endedAt = this.#expected;
          this.#disk = undefined;
          break;
        }
        if (done || line.lsn > until) {
          found.push(...this.#reader.end());
          this.#disk = undefined;
          await this.#gapBefore(until + 1);
          return { found, upTo: until };
        }
        await this.#gapBefore(line.lsn);
        this.#expected = line.lsn + 1;
        size += line.line.length;
        found.push(...this.#reader.next(line));
      }
    } catch (error) {
      this.#disk = undefined;
      if (!hasCode(error, 'ENOENT')) throw error; // a segment that was dropped meanwhile: look again
    }
    await nextTurn();
    // The last line may be held back until the one behind it is known.
    return { found, upTo: found.at(-1)?.lsn ?? this.#cursor };
  }

  /** X3. */
  async #gapBefore(lsn: number): Promise<void> {
    const from = this.#expected;
    this.#expected = lsn;
    if (from >= lsn || !this.#isKnown) {
      this.#isKnown = true; // the journal begins here
      return;
    }
    const gap = { from, to: lsn - 1, at: new Date().toISOString() };
    this.#gaps = { count: this.#gaps.count + 1, last: gap };
    this.#options.log.warn(gap, 'records have left the journal before the bus could take them');
    await this.#options.bus.tell(
      `missions.${SYSTEM_CELL_ID}.events`,
      { id: `outbox#${from}`, type: 'outbox.gap', at: gap.at, source: 'outbox', data: { ...gap } },
      `gap:${from}:${lsn}`,
    );
  }

  async #save(): Promise<void> {
    const lsn = this.#cursor;
    if (lsn === this.#saved) return;
    const { cursorFile, log } = this.#options;
    try {
      await writeWhole(cursorFile, JSON.stringify({ published: lsn }), {
        sync: false,
        mode: 0o600,
        what: 'outbox',
      });
      this.#saved = lsn;
    } catch (error) {
      log.warn({ file: cursorFile, error: String(error) }, 'the cursor of the bus was not written');
    }
  }
}

/** Undefined: nothing was ever published, or nobody knows (then the server does). */
function readCursor(path: string): number | undefined {
  try {
    const content: unknown = JSON.parse(readFileSync(path, 'utf8'));
    const published = isJsonObject(content) ? content['published'] : undefined;
    return typeof published === 'number' ? published : undefined;
  } catch {
    return undefined;
  }
}

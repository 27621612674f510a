/**
 * Reads the shared journal: at start, for the CLI while no node runs, and for fsck. Read-only, synchronous, one segment
 * in memory at a time. It reports what is wrong and goes on: any bytes are a journal with some content.
 *
 * R1 What counts: all whole batches, except what a later segment's header gave up: whatever stands behind
 *    `previous.end`, any segment numbered between `previous.number` and its own, any record whose lsn it gives anew.
 * R2 Only the end of the last segment may be torn. Everywhere else a bad region is corrupt.
 * R3 Lsns rise by one over the whole journal, so a gap is a loss, however it came about, and is reported with its range.
 * R4 What is missing at either end leaves no gap: there a loss shows by what others know of the journal (`known`). How much
 *    is missing behind the last readable record may be unknown; then lsns go on far behind, so that none is given twice.
 * R5 A reading takes its time, and the journal may be written to meanwhile. Of each segment it hands out what stood there when it came
 *    to it, so one that was begun since the reading began is left to the next: the end of the one before was not seen.
 */
import { statSync } from 'node:fs';
import {
  BATCH_HEADER_BYTES,
  decodeSegmentHeader,
  linesOf,
  scanBatches,
  type BatchSpan,
  type SegmentHeader,
} from './journal-format.ts';
import { planSegments, readSegment, type Planned } from './journal-plan.ts';

export interface JournalRecordLine {
  /** Rises by one from record to record over the node's whole life. */
  lsn: number;
  address: string;
  /** The JSON text as it was appended. */
  line: string;
  /** Number of the segment it stands in. */
  segment: number;
}

export interface SegmentInfo {
  number: number;
  path: string;
  firstLsn: number;
  /** One less than `firstLsn` while it holds no record. */
  lastLsn: number;
  /** Its content, header included. */
  bytes: number;
  /** False for the one segment that is being written. */
  closed: boolean;
}

/** A region that was committed and cannot be read; offsets in bytes. `from` equals `to` where nothing is left of it. */
export interface CorruptRegion {
  segment: number;
  from: number;
  to: number;
  reason: string;
  /**
   * Records lost, both ends included; null: none that the rest of the journal knows of. `from` stays the same at each
   * reading. `isOpen`: nobody knows how many, `to` is only a bound.
   */
  lostLsn: { from: number; to: number; isOpen?: true } | null;
}

/** How far the journal had come at some time, as another file tells. */
export interface JournalKnown {
  /** This record had been committed; 0: none is known. */
  lsn: number;
  /** This segment had been written to; 0: none is known. */
  segment: number;
  /** Nothing was committed after that. */
  isAll: boolean;
}

export interface RecoveredJournal {
  /** The last segment that counts. `settleFrom`: what stands from here to `end` may never have been synced. */
  last: { number: number; end: number; settleFrom: number } | null;
  nextLsn: number;
  /** Above every file found, also those that do not count. */
  nextNumber: number;
  lastEpoch: number;
  /** Bytes ignored at the end of the last segment. */
  tornBytes: number;
  corrupt: CorruptRegion[];
  /** Batches with a flipped bit, read as they were written. */
  mended: { segment: number; at: number }[];
  /** All files, oldest first; a file that does not count holds no record. */
  segments: SegmentInfo[];
}

export interface RecoverOptions {
  /** Records before this lsn are not handed out. */
  fromLsn?: number;
  /** The journal begins here or before; 0: not known (R4). */
  begin?: number;
  known?: JournalKnown | undefined;
  /** Called for each record, oldest first: recovery and replay in one pass over the files. */
  onRecord?: (record: JournalRecordLine) => void;
}

/** Checks the whole journal. Throws only what the file system throws for a folder that may not be read. */
export function recoverJournal(
  folder: string,
  { fromLsn = 0, begin = 0, known, onRecord }: RecoverOptions = {},
): RecoveredJournal {
  const walk = new Walk(folder, begin);
  for (const { number, file, batch } of walk.batches())
    if (onRecord !== undefined && batch.lsn + batch.count > fromLsn)
      for (const record of recordsOf(number, file, batch))
        if (record.lsn >= fromLsn) onRecord(record);
  walk.finish(known);
  return walk.found;
}

export interface ReadOptions {
  fromLsn?: number;
}

/** The records that count (R1), oldest first. Whole segments before `fromLsn` are not opened. */
export function* readSegments(
  folder: string,
  { fromLsn = 0 }: ReadOptions = {},
): Generator<JournalRecordLine> {
  for (const { number, file, batch } of new Walk(folder).batches(fromLsn))
    if (batch.lsn + batch.count > fromLsn)
      for (const record of recordsOf(number, file, batch)) if (record.lsn >= fromLsn) yield record;
}

const ADDRESS_AT = '{"a":"'.length;

function* recordsOf(segment: number, file: Buffer, batch: BatchSpan): Generator<JournalRecordLine> {
  let lsn = batch.lsn;
  for (const line of linesOf(file, batch)) {
    yield { lsn, address: line.slice(ADDRESS_AT, line.indexOf('"', ADDRESS_AT)), line, segment };
    lsn += 1;
  }
}

interface FoundBatch {
  number: number;
  file: Buffer;
  batch: BatchSpan;
}

/** More records than a segment can hold. */
const UNKNOWN_COUNT = 2 ** 32;

type Place = Pick<CorruptRegion, 'segment' | 'from' | 'to'>;

/** One pass over all segments; `found` fills while `batches` is drained. */
class Walk {
  readonly found: RecoveredJournal = {
    last: null,
    nextLsn: 1,
    nextNumber: 1,
    lastEpoch: 0,
    tornBytes: 0,
    corrupt: [],
    mended: [],
    segments: [],
  };
  readonly #folder: string;
  readonly #begin: number;
  /** False until the first kept segment told where the journal begins. */
  #begun = false;
  /** A bad region just read; the next good lsn tells what was lost in it. */
  #unsettled: CorruptRegion | undefined;

  constructor(folder: string, begin = 0) {
    this.#folder = folder;
    this.#begin = begin;
  }

  *batches(skipBefore = 0): Generator<FoundBatch> {
    for (const segment of planSegments(this.#folder)) {
      this.found.nextNumber = segment.number + 1;
      if (segment.header !== null && !segment.isVoid) this.#enter(segment, segment.header);
      const firstLsn = this.found.nextLsn;
      if (segment.isVoid) {
        this.#leave(segment, { firstLsn, end: 0 });
      } else if (segment.end !== undefined && segment.lsnLimit <= skipBefore) {
        this.found.nextLsn = segment.lsnLimit;
        this.#leave(segment, { firstLsn, end: segment.end });
      } else {
        yield* this.#read(segment);
      }
    }
  }

  *#read(segment: Planned): Generator<FoundBatch> {
    const { number, start } = segment;
    const file = readSegment(segment.path);
    if (file instanceof Error) {
      this.#unreadable(segment, file);
      return;
    }
    if (segment.header === null && decodeSegmentHeader(file)?.header.number === number) return; // R5
    let firstLsn: number | undefined;
    let end = start;
    let settleFrom = 0;
    for (const span of scanBatches(file, segment)) {
      if (span.kind === 'batch' && span.lsn >= segment.lsnLimit) continue; // R1
      if (span.kind === 'torn') {
        this.#torn(span, { segment, file });
        continue;
      }
      end = span.kind === 'batch' ? span.end : span.to;
      if (span.kind === 'corrupt') {
        const reason = span.from === 0 ? 'the segment header cannot be read' : span.reason;
        const place = { segment: number, from: span.from, to: span.to };
        this.#corrupt(place, reason);
        if (span.nextLsn !== undefined) this.#expect(span.nextLsn, place);
      } else if (this.#begun && span.lsn < this.found.nextLsn) {
        this.#corrupt({ segment: number, from: span.start, to: end }, 'an lsn is given twice');
      } else {
        this.#expect(span.lsn, { segment: number, from: span.start, to: span.start });
        firstLsn ??= span.lsn;
        this.found.nextLsn = span.lsn + span.count;
        settleFrom = span.start;
        if (span.flip) this.found.mended.push({ segment: number, at: span.flip.at });
        yield { number, file, batch: span };
      }
    }
    this.#leave(segment, { firstLsn: firstLsn ?? this.found.nextLsn, end });
    if (segment.header !== null || end > 0) this.found.last = { number, end, settleFrom };
  }

  /** Its records are lost for now, not void: the next header must not cut them off, nor may their lsns be given again. */
  #unreadable(segment: Planned, { message }: Error): void {
    const { number, path } = segment;
    const end = segment.end ?? statSync(path).size;
    const firstLsn = this.found.nextLsn;
    this.#corrupt({ segment: number, from: 0, to: end }, message);
    this.#leave(segment, { firstLsn, end });
    this.found.last = { number, end, settleFrom: end };
  }

  #enter({ number }: Planned, header: SegmentHeader): void {
    this.found.lastEpoch = Math.max(this.found.lastEpoch, header.epoch);
    this.#expect(header.firstLsn, { segment: number, from: 0, to: 0 });
  }

  #leave({ number, path }: Planned, { firstLsn, end }: { firstLsn: number; end: number }): void {
    const lastLsn = this.found.nextLsn - 1;
    this.found.segments.push({ number, path, firstLsn, lastLsn, bytes: end, closed: true });
  }

  /** R4. Call when all batches were read. */
  finish(known: JournalKnown = { lsn: 0, segment: 0, isAll: false }): void {
    const { found } = this;
    const lastNumber = found.last?.number ?? 0;
    if (!this.#begun) found.nextLsn = Math.max(found.nextLsn, this.#begin);
    const isCut = known.segment > lastNumber;
    const isShort = known.isAll ? found.nextLsn <= known.lsn : isCut || found.nextLsn <= known.lsn;
    const isBare = !this.#begun && this.#begin > 0 && known.lsn === 0;
    if (this.#unsettled !== undefined || isShort || isBare) {
      const end = found.last?.end ?? 0;
      const place = { segment: isCut ? known.segment : lastNumber, from: end, to: end };
      const what = isCut || isBare ? 'the newest segment is missing' : 'its end is missing';
      const region = this.#unsettled ?? this.#corrupt(place, what);
      const from = found.nextLsn;
      const isExact = known.isAll && known.lsn >= from;
      region.lostLsn = isExact
        ? { from, to: known.lsn }
        : { from, to: from + UNKNOWN_COUNT - 1, isOpen: true };
      found.nextLsn = region.lostLsn.to + 1;
    }
    found.nextLsn = Math.max(found.nextLsn, known.lsn + 1);
    found.nextNumber = Math.max(found.nextNumber, known.segment + 1);
  }

  /** R3: told a good lsn, reports what is missing before it. */
  #expect(lsn: number, place: Place): void {
    const expected = this.#begun ? this.found.nextLsn : this.#firstExpected(lsn);
    if (lsn > expected) {
      const region =
        this.#unsettled ?? this.#corrupt(place, 'records before this place are missing');
      region.lostLsn = { from: expected, to: lsn - 1 };
    }
    this.#unsettled = undefined;
    this.#begun = true;
    this.found.nextLsn = Math.max(expected, lsn);
  }

  /** R4: where the journal should begin, told where it does. Older segments may have been dropped. */
  #firstExpected(lsn: number): number {
    if (this.#begin > 0) return Math.min(lsn, this.#begin);
    return this.#unsettled === undefined ? lsn : 1;
  }

  #corrupt({ segment, from, to }: Place, reason: string): CorruptRegion {
    const region: CorruptRegion = { segment, from, to, reason, lostLsn: null };
    this.found.corrupt.push(region);
    this.#unsettled ??= region;
    return region;
  }

  /** R2. Also learns from a torn batch's header how many records a corrupt region before it held. */
  #torn(
    { from, to }: { from: number; to: number },
    { segment, file }: { segment: Planned; file: Buffer },
  ): void {
    const place = { segment: segment.number, from, to };
    if (segment.lsnLimit !== Infinity) {
      this.#corrupt(place, 'the end cannot be read');
      return;
    }
    this.found.tornBytes += to - from;
    if (this.#unsettled === undefined || from + BATCH_HEADER_BYTES > file.length) return;
    const lsn = Number(file.readBigUInt64LE(from + 24));
    // Not under a good CRC: believed only as far as the bytes before it can have held so many records.
    if (lsn > this.found.nextLsn && lsn < this.found.nextLsn + from) this.#expect(lsn, place);
  }
}

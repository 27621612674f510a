/**
 * Reads the shared journal: at start, for the CLI while no node runs, and for fsck. Read-only, synchronous, one segment
 * in memory at a time. It reports what is wrong and goes on: any bytes are a journal with some content.
 *
 * R1 What counts: all whole batches, except what a later segment's header gave up: whatever stands behind
 *    `previous.end`, any segment numbered between `previous.number` and its own, any record whose lsn it gives anew.
 * R2 Only the end of the last segment may be torn. Everywhere else a bad region is corrupt.
 * R3 Lsns rise by one over the whole journal, so a gap is a loss, however it came about, and is reported with its range.
 */
import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  type Dirent,
} from 'node:fs';
import { join } from 'node:path';
import {
  BATCH_HEADER_BYTES,
  decodeSegmentHeader,
  linesOf,
  MAX_SEGMENT_HEADER_BYTES,
  scanBatches,
  type BatchSpan,
  type SegmentHeader,
} from './journal-format.ts';

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
  /** Records lost, both ends included; null: none that the rest of the journal knows of. */
  lostLsn: { from: number; to: number } | null;
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
  /** All files, oldest first; a file that does not count holds no record. */
  segments: SegmentInfo[];
}

export interface RecoverOptions {
  /** Records before this lsn are not handed out. */
  fromLsn?: number;
  /** Called for each record, oldest first: recovery and replay in one pass over the files. */
  onRecord?: (record: JournalRecordLine) => void;
}

/** Checks the whole journal. Throws only what the file system throws for a folder that may not be read. */
export function recoverJournal(
  folder: string,
  { fromLsn = 0, onRecord }: RecoverOptions = {},
): RecoveredJournal {
  const walk = new Walk(folder);
  for (const { number, file, batch } of walk.batches())
    if (onRecord !== undefined && batch.lsn + batch.count > fromLsn)
      for (const record of recordsOf(number, file, batch))
        if (record.lsn >= fromLsn) onRecord(record);
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

interface Planned {
  number: number;
  path: string;
  header: SegmentHeader | null;
  /** Where its first batch begins; 0 when the header cannot be read. */
  start: number;
  /** From a later header; undefined: not known. */
  end: number | undefined;
  isVoid: boolean;
  /** Lsns from here on stand in a later segment; Infinity for the last one that holds anything. */
  lsnLimit: number;
}

/** What each file is, from the headers alone (R1). */
function plan(folder: string): Planned[] {
  const segments = listSegments(folder).map(({ number, path }): Planned => {
    const decoded = decodeSegmentHeader(readStart(path));
    const known = decoded?.header.number === number ? decoded : null;
    const [header, start] = [known?.header ?? null, known?.end ?? 0];
    return { number, path, header, start, end: undefined, isVoid: false, lsnLimit: Infinity };
  });
  const byNumber = new Map(segments.map((segment) => [segment.number, segment]));
  for (const { number, header } of segments) {
    if (header === null || header.previous === null) continue;
    const { previous } = header;
    const named = byNumber.get(previous.number);
    if (named !== undefined) named.end = previous.end;
    for (const between of segments)
      if (between.number > previous.number && between.number < number) between.isVoid = true;
  }
  let limit = Infinity;
  for (const segment of segments.toReversed()) {
    segment.lsnLimit = limit;
    if (!segment.isVoid) limit = Math.min(limit, firstLsnOf(segment) ?? Infinity);
  }
  return segments;
}

/** Of a segment whose header is lost, the lsn of its first readable batch. */
function firstLsnOf({ header, path }: Planned): number | undefined {
  if (header !== null) return header.firstLsn;
  const file = readSegment(path);
  if (file instanceof Error) return undefined;
  for (const span of scanBatches(file)) if (span.kind === 'batch') return span.lsn;
  return undefined;
}

interface FoundBatch {
  number: number;
  file: Buffer;
  batch: BatchSpan;
}

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
    segments: [],
  };
  readonly #folder: string;
  /** False until the first kept segment told where the journal begins. */
  #begun = false;
  /** A bad region just read; the next good lsn tells what was lost in it. */
  #unsettled: CorruptRegion | undefined;

  constructor(folder: string) {
    this.#folder = folder;
  }

  *batches(skipBefore = 0): Generator<FoundBatch> {
    for (const segment of plan(this.#folder)) {
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
        this.#corrupt({ segment: number, from: span.from, to: span.to }, reason);
      } else if (this.#begun && span.lsn < this.found.nextLsn) {
        this.#corrupt({ segment: number, from: span.start, to: end }, 'an lsn is given twice');
      } else {
        this.#expect(span.lsn, { segment: number, from: span.start, to: span.start });
        firstLsn ??= span.lsn;
        this.found.nextLsn = span.lsn + span.count;
        settleFrom = span.start;
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
    // Where no later segment tells: more records than bytes it cannot hold.
    if (segment.lsnLimit === Infinity) this.found.nextLsn += end;
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

  /** R3: told a good lsn, reports what is missing before it. */
  #expect(lsn: number, place: Place): void {
    const expected = this.found.nextLsn;
    if (this.#begun && lsn > expected) {
      const region =
        this.#unsettled ?? this.#corrupt(place, 'records before this place are missing');
      region.lostLsn = { from: expected, to: lsn - 1 };
    }
    this.#unsettled = undefined;
    this.#begun = true;
    this.found.nextLsn = Math.max(expected, lsn);
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

function listSegments(folder: string): { number: number; path: string }[] {
  return entriesOf(folder)
    .filter((entry) => entry.isFile() && /^\d{12}\.wal$/.test(entry.name))
    .map(({ name }) => ({ number: Number.parseInt(name, 10), path: join(folder, name) }))
    .sort((a, b) => a.number - b.number);
}

function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}

function readStart(path: string): Buffer {
  const fd = openSync(path, 'r');
  try {
    const block = Buffer.alloc(MAX_SEGMENT_HEADER_BYTES);
    return block.subarray(0, readSync(fd, block, 0, block.length, 0));
  } catch (error) {
    if (isDamage(error)) return Buffer.alloc(0);
    throw error;
  } finally {
    closeSync(fd);
  }
}

/** The whole file, or the error when it is the disk or the file itself that is bad. */
function readSegment(path: string): Buffer | Error {
  try {
    return readFileSync(path);
  } catch (error) {
    if (isDamage(error)) return error;
    throw error;
  }
}

/** Anything else (no permission, no descriptors) says nothing about the file: unreadable is not empty (P6). */
function isDamage(error: unknown): error is NodeJS.ErrnoException {
  return (
    error instanceof Error &&
    'code' in error &&
    (error.code === 'EIO' || error.code === 'ERR_FS_FILE_TOO_LARGE')
  );
}

/**
 * Journal records with the place each stands at, newest first: to follow a chain of causes backwards, in one pass and with
 * one file in memory, however long the history is. Read-only.
 *
 * Q1 A place is `<file>:<n>`: the n-th record of that file, counted from 1 over the batches that can be read. (Batches are
 *    framed, so a file has no lines.) The byte offset and length beside it give the record's JSON to any tool.
 * Q2 Of the shared journal only what counts is handed out (R1 of journal-reader.ts), and nothing beyond `toLsn`.
 * Q3 A file that goes while this reads was compacted: what it held stands in the cells' copies, which are read after it.
 */
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { hasCode, readInside } from './inside.ts';
import { copyFiles, COPY_LIMIT } from './journal-copy.ts';
import { BATCH_HEADER_BYTES, decodeSegmentHeader, linesOf, scanBatches } from './journal-format.ts';
import type { BatchSpan } from './journal-format.ts';
import { recoverJournal } from './journal-reader.ts';
import { cellPath } from './layout.ts';

export interface RecordPlace {
  /** Absolute. */
  file: string;
  /** Q1. */
  record: number;
  /** Of the record's JSON, in bytes. */
  offset: number;
  length: number;
}

export interface PlacedRecord {
  lsn: number;
  address: string;
  line: string;
  place: RecordPlace;
}

/** The shared journal, newest record first (Q2). */
export function* sharedBackwards(
  folder: string,
  { toLsn = Infinity }: { toLsn?: number } = {},
): Generator<PlacedRecord> {
  for (const { path, firstLsn, lastLsn, bytes } of recoverJournal(folder).segments.toReversed()) {
    if (lastLsn < firstLsn || firstLsn > toLsn) continue;
    const file = readOrGone(() => readFileSync(path));
    if (file === undefined) continue; // Q3
    const start = decodeSegmentHeader(file)?.end ?? 0;
    const batches = countedBatches(file, { start, end: bytes });
    let next = firstLsn;
    const counting = batches.filter(({ batch }) => {
      const counts = batch.lsn >= next && batch.lsn <= lastLsn;
      if (counts) next = batch.lsn + batch.count;
      return counts;
    });
    yield* backwards(path, file, counting, toLsn);
  }
}

/** A cell's own copy of its records, newest file first. */
export function* copyBackwards(cellDir: string): Generator<PlacedRecord> {
  for (const name of copyFiles(cellDir).toReversed()) {
    const file = readOrGone(() => readInside(cellDir, `${cellPath.journal}/${name}`, COPY_LIMIT));
    if (file === undefined) continue;
    const path = join(cellDir, cellPath.journal, name);
    yield* backwards(path, file, countedBatches(file, {}), Infinity);
  }
}

/** The n-th record of a journal file (Q1); undefined when it has fewer. Throws what the file system throws. */
export function recordAt(path: string, record: number): PlacedRecord | undefined {
  const file = readFileSync(path);
  const start = isShared(path) ? (decodeSegmentHeader(file)?.end ?? 0) : 0;
  for (const { batch, before } of countedBatches(file, { start }))
    if (record <= before + batch.count)
      return placed(path, file, { batch, before }).find(({ place }) => place.record === record);
  return undefined;
}

/** Segments of the shared journal have 12 digits, files of a cell's copy 15. */
const isShared = (path: string): boolean => /^\d{12}\.wal$/.test(basename(path));

interface Counted {
  batch: BatchSpan;
  /** Records in the batches before it. */
  before: number;
}

function countedBatches(
  file: Buffer,
  range: { start?: number; end?: number | undefined },
): Counted[] {
  const found: Counted[] = [];
  let before = 0;
  for (const span of scanBatches(file, range)) {
    if (span.kind !== 'batch') continue;
    found.push({ batch: span, before });
    before += span.count;
  }
  return found;
}

function* backwards(
  path: string,
  file: Buffer,
  batches: readonly Counted[],
  toLsn: number,
): Generator<PlacedRecord> {
  for (const counted of batches.toReversed()) {
    if (counted.batch.lsn > toLsn) continue;
    for (const record of placed(path, file, counted).toReversed())
      if (record.lsn <= toLsn) yield record;
  }
}

const ADDRESS = /^\{"a":"([^"]*)"/;

function placed(path: string, file: Buffer, { batch, before }: Counted): PlacedRecord[] {
  let offset = batch.start + BATCH_HEADER_BYTES;
  return linesOf(file, batch).map((line, index) => {
    const length = Buffer.byteLength(line, 'utf8');
    const place = { file: path, record: before + index + 1, offset, length };
    offset += length + 1;
    return { lsn: batch.lsn + index, address: ADDRESS.exec(line)?.[1] ?? '', line, place };
  });
}

function readOrGone(read: () => Buffer): Buffer | undefined {
  try {
    return read();
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

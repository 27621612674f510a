/**
 * The files of the shared journal before their records are read: what each one is, from the headers alone.
 */
import { closeSync, openSync, readdirSync, readFileSync, readSync, type Dirent } from 'node:fs';
import { join } from 'node:path';
import { hasCode } from './inside.ts';
import {
  decodeSegmentHeader,
  MAX_SEGMENT_HEADER_BYTES,
  scanBatches,
  type SegmentHeader,
} from './journal-format.ts';

export interface Planned {
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

/** In order; see journal-reader.ts, R1. */
export function planSegments(folder: string): Planned[] {
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
    if (hasCode(error, 'ENOENT')) return [];
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
export function readSegment(path: string): Buffer | Error {
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

/**
 * The bytes of a journal file: one header block, then batches. Readers must survive any bytes, so everything that is
 * believed is covered by a CRC and knows its own place. cells/README.md describes the same format for people.
 *
 *     header  'LZJ1' crc32 textLength  JSON text, zeros to the next multiple of 64      crc32 covers textLength and text
 *     batch   'LZB1' crc32 payloadLength count previousEnd(u64) lsn(u64)  payload       crc32 covers all that follows it
 *
 * Numbers are little-endian and 32 bits wide where not marked. The payload is `count` lines of JSON joined by '\n'.
 *
 * F1 A batch is taken only with magic, CRC and a `previousEnd` that fits: no offset is trusted because of what stood before it.
 * F2 Text can never pass for a batch: a length above MAX_PAYLOAD_BYTES is refused, and four bytes of JSON text, none of
 *    them a control character, always read as more than that.
 * F3 Bytes between `previousEnd` and a batch's own start were given up by the writer: void, not corrupt.
 * F4 A bad end of a file is *torn* only as far as one batch can reach, since one batch at a time is under way: when a
 *    later batch left as much as its header, or there is a witness of its commit (journal-witness.ts), what stands before
 *    that had been committed and is corrupt.
 * F5 A batch or a header in which one bit has turned is read as it was written: its CRC tells which (journal-mend.ts).
 */
import { crc32 } from 'node:zlib';
import {
  BATCH_HEADER_BYTES,
  BATCH_MAGIC,
  MAX_PAYLOAD_BYTES,
  type BatchSpan,
} from './journal-batch.ts';
import { flipIn, mendedAt, mendedCopy } from './journal-mend.ts';
import { findWitnesses, WITNESS_BYTES } from './journal-witness.ts';

export {
  BATCH_HEADER_BYTES,
  BatchEncoder,
  encodeBatch,
  MAX_PAYLOAD_BYTES,
} from './journal-batch.ts';
export type { BatchPlace, BatchSpan } from './journal-batch.ts';

const SEGMENT_MAGIC = Buffer.from('LZJ1', 'latin1');
const SEGMENT_PREFIX_BYTES = 12;
const ALIGNMENT = 64;
/** A longer header is garbage. */
export const MAX_SEGMENT_HEADER_BYTES = 4096;
export interface SegmentHeader {
  format: 1;
  number: number;
  /** Of the node's run that wrote it. */
  epoch: number;
  node: string;
  /** Epoch ms. */
  createdAt: number;
  /** Of the first record this segment will hold. */
  firstLsn: number;
  /**
   * The last segment before that counts, and where its committed content ends, in bytes. What lies behind that end, and
   * any segment numbered in between, is void.
   */
  previous: { number: number; end: number } | null;
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const text = Buffer.from(JSON.stringify(header), 'utf8');
  const used = SEGMENT_PREFIX_BYTES + text.length;
  const block = Buffer.alloc(Math.ceil(used / ALIGNMENT) * ALIGNMENT);
  SEGMENT_MAGIC.copy(block);
  block.writeUInt32LE(text.length, 8);
  text.copy(block, SEGMENT_PREFIX_BYTES);
  block.writeUInt32LE(crc32(block.subarray(8, used)), 4);
  return block;
}

/** The header at the start of `buffer` and the offset behind it, or null when more than one bit of it is bad (F5). */
export function decodeSegmentHeader(buffer: Buffer): { header: SegmentHeader; end: number } | null {
  const start = buffer.subarray(0, MAX_SEGMENT_HEADER_BYTES);
  return decodeWhole(start) ?? decodeMended(start);
}

function decodeWhole(buffer: Buffer): { header: SegmentHeader; end: number } | null {
  if (buffer.length < SEGMENT_PREFIX_BYTES || !buffer.subarray(0, 4).equals(SEGMENT_MAGIC))
    return null;
  const used = SEGMENT_PREFIX_BYTES + buffer.readUInt32LE(8);
  const end = Math.ceil(used / ALIGNMENT) * ALIGNMENT;
  if (end > buffer.length) return null;
  if (crc32(buffer.subarray(8, used)) !== buffer.readUInt32LE(4)) return null;
  const header = parseOrNull(buffer.toString('utf8', SEGMENT_PREFIX_BYTES, used));
  return isSegmentHeader(header) ? { header, end } : null;
}

function decodeMended(buffer: Buffer): { header: SegmentHeader; end: number } | null {
  const found = flipIn(buffer, 0, { magic: SEGMENT_MAGIC, overhead: SEGMENT_PREFIX_BYTES });
  return found && decodeWhole(mendedCopy(buffer, [0, buffer.length], found.flip));
}

/** A header of ours that keeps its CRC is JSON; a forged one may be anything. */
function parseOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function isSegmentHeader(value: unknown): value is SegmentHeader {
  if (!isRecord(value) || value['format'] !== 1 || typeof value['node'] !== 'string') return false;
  const { previous } = value;
  const isCount = (field: unknown) => Number.isSafeInteger(field) && Number(field) >= 0;
  return (
    [value['number'], value['epoch'], value['createdAt'], value['firstLsn']].every(isCount) &&
    (previous === null ||
      (isRecord(previous) && isCount(previous['number']) && isCount(previous['end'])))
  );
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null;

/** Something that was committed and cannot be read. */
export interface CorruptSpan {
  kind: 'corrupt';
  from: number;
  to: number;
  reason: string;
  /** The lsn behind it, where a witness tells. */
  nextLsn?: number;
}

/** The bad end of a file, where a write was under way (F4). `to` is behind its last byte that is not zero. */
export interface TornSpan {
  kind: 'torn';
  from: number;
  to: number;
}

export interface ReadRange {
  /** Where the first batch begins. Default 0. */
  start?: number;
  /** Where the content is known to end: then a bad end is corrupt, not torn. Default: unknown. */
  end?: number | undefined;
}

export type BatchWithLines = BatchSpan & { lines: string[] };

/** Reads a file of batches that has any history: never throws, and yields spans in rising order. */
export function* readBatches(
  file: Buffer,
  range: ReadRange = {},
): Generator<BatchWithLines | CorruptSpan | TornSpan> {
  for (const span of scanBatches(file, range))
    yield span.kind === 'batch' ? { ...span, lines: linesOf(file, span) } : span;
}

export function linesOf(file: Buffer, batch: BatchSpan): string[] {
  const { start, end, flip } = batch;
  if (flip === undefined) return file.toString('utf8', start + BATCH_HEADER_BYTES, end).split('\n');
  return mendedCopy(file, [start, end], flip).toString('utf8', BATCH_HEADER_BYTES).split('\n');
}

/** As `readBatches`, without decoding the lines. */
export function* scanBatches(
  file: Buffer,
  { start = 0, end: knownEnd }: ReadRange = {},
): Generator<BatchSpan | CorruptSpan | TornSpan> {
  const content = knownEnd === undefined ? file : file.subarray(0, knownEnd);
  let at = start;
  while (at < content.length) {
    const batch = batchAt(content, at, at) ?? mendedAt(content, at);
    if (batch !== null) {
      yield batch;
      at = batch.end;
      continue;
    }
    const { next, resumeAt } = resync(content, at);
    if (next === null && knownEnd === undefined) {
      yield* badEnd(file, at, resumeAt);
      return;
    }
    if (resumeAt > at)
      yield { kind: 'corrupt', from: at, to: resumeAt, reason: 'no readable batch' };
    if (next === null) {
      at = resumeAt;
      break;
    }
    yield next;
    at = next.end;
  }
  if (knownEnd === undefined) yield* badEnd(file, at, at);
  else if (at < knownEnd)
    yield { kind: 'corrupt', from: at, to: knownEnd, reason: 'the end cannot be read' };
}

/** F4: the end of a file behind its last readable batch; `headerAt`: where the last header of a batch was seen. */
function* badEnd(file: Buffer, at: number, headerAt: number): Generator<CorruptSpan | TornSpan> {
  const { newest, at: witnesses } = findWitnesses(file, at);
  const witnessed = newest !== null && newest.end > at ? newest : null;
  const lost = { kind: 'corrupt', reason: 'no readable batch' } as const;
  let from = at;
  if (witnessed !== null) {
    yield { ...lost, from, to: witnessed.end, nextLsn: witnessed.nextLsn };
    from = witnessed.end;
  }
  if (headerAt > from) {
    yield { ...lost, from, to: headerAt };
    from = headerAt;
  }
  const to = endOfData(file, from, witnesses);
  if (to > from) yield { kind: 'torn', from, to };
}

/** The whole batch at `at` whose `previousEnd` lies in [floor, at] (F1), or null. */
function batchAt(content: Buffer, at: number, floor: number): BatchSpan | null {
  if (at + BATCH_HEADER_BYTES > content.length) return null;
  if (content.compare(BATCH_MAGIC, 0, 4, at, at + 4) !== 0) return null;
  const length = content.readUInt32LE(at + 8);
  const count = content.readUInt32LE(at + 12);
  const end = at + BATCH_HEADER_BYTES + length;
  if (length > MAX_PAYLOAD_BYTES || end > content.length || count === 0) return null;
  const previousEnd = content.readBigUInt64LE(at + 16);
  if (previousEnd < BigInt(floor) || previousEnd > BigInt(at)) return null;
  if (crc32(content.subarray(at + 8, end)) !== content.readUInt32LE(at + 4)) return null;
  return { kind: 'batch', lsn: Number(content.readBigUInt64LE(at + 24)), count, start: at, end };
}

/**
 * Looks behind bad bytes at `at` for the next batch. `resumeAt` is how far the bytes were committed content: the end
 * that the found batch names for the one before it (F3), or else the last place that held a batch's header (F4).
 */
function resync(content: Buffer, at: number): { next: BatchSpan | null; resumeAt: number } {
  let lastHeader = at;
  for (
    let candidate = content.indexOf(BATCH_MAGIC, at + 1);
    candidate !== -1;
    candidate = content.indexOf(BATCH_MAGIC, candidate + 1)
  ) {
    const next = batchAt(content, candidate, at);
    if (next !== null) return { next, resumeAt: Number(content.readBigUInt64LE(candidate + 16)) };
    if (candidate + BATCH_HEADER_BYTES > content.length) break;
    if (content.readBigUInt64LE(candidate + 16) === BigInt(candidate)) lastHeader = candidate;
  }
  return { next: null, resumeAt: lastHeader };
}

const ZEROS = Buffer.alloc(4096);

/** Offset behind the last byte that is not zero, at least `from`. The witnesses do not count. */
function endOfData(file: Buffer, from: number, witnesses: readonly number[]): number {
  let end = file.length;
  for (;;) {
    while (end - ZEROS.length >= from && file.subarray(end - ZEROS.length, end).equals(ZEROS))
      end -= ZEROS.length;
    while (end > from && file[end - 1] === 0) end -= 1;
    const witness = witnesses.find((at) => at < end && end <= at + WITNESS_BYTES);
    if (witness === undefined || witness < from) return end;
    end = witness;
  }
}

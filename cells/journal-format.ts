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
 *    later batch left as much as its header, what stands before it had been committed and is corrupt.
 */
import { crc32 } from 'node:zlib';

/** Every four bytes of text are at least 0x20202020, so this keeps F2. */
export const MAX_PAYLOAD_BYTES = 0x2000_0000;
export const BATCH_HEADER_BYTES = 32;

const SEGMENT_MAGIC = Buffer.from('LZJ1', 'latin1');
const BATCH_MAGIC = Buffer.from('LZB1', 'latin1');
const SEGMENT_PREFIX_BYTES = 12;
const ALIGNMENT = 64;
/** A longer header is garbage. */
export const MAX_SEGMENT_HEADER_BYTES = 4096;
/** Encoders keep a buffer up to this size between batches. */
const KEPT_BUFFER_BYTES = 4 << 20;

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

/** The header at the start of `buffer` and the offset behind it, or null when it is not whole and unharmed. */
export function decodeSegmentHeader(buffer: Buffer): { header: SegmentHeader; end: number } | null {
  if (buffer.length < SEGMENT_PREFIX_BYTES || !buffer.subarray(0, 4).equals(SEGMENT_MAGIC))
    return null;
  const used = SEGMENT_PREFIX_BYTES + buffer.readUInt32LE(8);
  const end = Math.ceil(used / ALIGNMENT) * ALIGNMENT;
  if (end > Math.min(buffer.length, MAX_SEGMENT_HEADER_BYTES)) return null;
  if (crc32(buffer.subarray(8, used)) !== buffer.readUInt32LE(4)) return null;
  const header = parseOrNull(buffer.toString('utf8', SEGMENT_PREFIX_BYTES, used));
  return isSegmentHeader(header) ? { header, end } : null;
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

export interface BatchPlace {
  /** Of its first record. */
  lsn: number;
  /** Offset at which the batch before it ends in this file; of the first batch, the end of the file's header, else 0. */
  previousEnd: number;
}

/** Encodes into one buffer that grows: what `encode` returns is valid until it is called again. */
export class BatchEncoder {
  #buffer = Buffer.allocUnsafe(0);

  /** Lines are JSON text without '\n'; there is at least one. */
  encode(lines: readonly string[], { lsn, previousEnd }: BatchPlace): Buffer {
    const text = lines.length === 1 ? (lines[0] ?? '') : lines.join('\n');
    const buffer = this.#room(text);
    const length = buffer.write(text, BATCH_HEADER_BYTES, 'utf8');
    if (length > MAX_PAYLOAD_BYTES) throw new RangeError(`a batch of ${length} bytes is too long`);
    BATCH_MAGIC.copy(buffer);
    buffer.writeUInt32LE(length, 8);
    buffer.writeUInt32LE(lines.length, 12);
    buffer.writeBigUInt64LE(BigInt(previousEnd), 16);
    buffer.writeBigUInt64LE(BigInt(lsn), 24);
    const batch = buffer.subarray(0, BATCH_HEADER_BYTES + length);
    batch.writeUInt32LE(crc32(batch.subarray(8)), 4);
    return batch;
  }

  #room(text: string): Buffer {
    if (BATCH_HEADER_BYTES + 3 * text.length <= this.#buffer.length) return this.#buffer;
    const needed = BATCH_HEADER_BYTES + Buffer.byteLength(text, 'utf8');
    if (needed > KEPT_BUFFER_BYTES) return Buffer.allocUnsafeSlow(needed);
    if (needed > this.#buffer.length) {
      const size = 2 ** Math.max(16, Math.ceil(Math.log2(needed)));
      this.#buffer = Buffer.allocUnsafeSlow(size);
    }
    return this.#buffer;
  }
}

export function encodeBatch(lines: readonly string[], place: BatchPlace): Buffer {
  return new BatchEncoder().encode(lines, place);
}

/** Where a batch lies; `start` is that of its header. */
export interface BatchSpan {
  kind: 'batch';
  lsn: number;
  count: number;
  start: number;
  end: number;
}

/** Something that was committed and cannot be read. */
export interface CorruptSpan {
  kind: 'corrupt';
  from: number;
  to: number;
  reason: string;
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
  return file.toString('utf8', batch.start + BATCH_HEADER_BYTES, batch.end).split('\n');
}

/** As `readBatches`, without decoding the lines. */
export function* scanBatches(
  file: Buffer,
  { start = 0, end: knownEnd }: ReadRange = {},
): Generator<BatchSpan | CorruptSpan | TornSpan> {
  const content = knownEnd === undefined ? file : file.subarray(0, knownEnd);
  let at = start;
  while (at < content.length) {
    const batch = batchAt(content, at, at);
    if (batch !== null) {
      yield batch;
      at = batch.end;
      continue;
    }
    const { next, resumeAt } = resync(content, at);
    if (resumeAt > at)
      yield { kind: 'corrupt', from: at, to: resumeAt, reason: 'no readable batch' };
    if (next === null) {
      at = resumeAt;
      break;
    }
    yield next;
    at = next.end;
  }
  if (knownEnd === undefined) {
    const to = endOfData(file, at);
    if (to > at) yield { kind: 'torn', from: at, to };
  } else if (at < knownEnd) {
    yield { kind: 'corrupt', from: at, to: knownEnd, reason: 'the end cannot be read' };
  }
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

/** Offset behind the last byte that is not zero, at least `from`. */
function endOfData(file: Buffer, from: number): number {
  let end = file.length;
  while (end - ZEROS.length >= from && file.subarray(end - ZEROS.length, end).equals(ZEROS))
    end -= ZEROS.length;
  while (end > from && file[end - 1] === 0) end -= 1;
  return end;
}

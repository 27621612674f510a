/**
 * A batch or a segment header in which one bit has turned, read as it was written.
 *
 * A CRC is linear: what one bit changes in it depends only on how far from the end the bit stands, so the difference
 * between the stored and the computed one names the place. Two different single bits never make the same difference
 * (within 2^32 bits), nor does a bit of the text and one of the stored sum. Worse damage passes for one flipped bit once in
 * thousands of times, for a batch of a megabyte; then the text must still be lines of JSON, as many as the header says.
 */
import { crc32 } from 'node:zlib';
import { BATCH_HEADER_BYTES, BATCH_MAGIC } from './journal-batch.ts';
import type { BatchSpan, Flip } from './journal-batch.ts';

/** Larger batches are not searched: as much takes 60 ms. */
const MAX_MENDED_BYTES = 4 << 20;
const POLYNOMIAL = 0xedb88320;

/** `difference`: stored CRC-32 of [from, to) xor the computed one. null when no single bit of that range explains it. */
function findFlip(difference: number, { from, to }: { from: number; to: number }): Flip | null {
  const wanted = difference >>> 0;
  let effect = POLYNOMIAL; // of the last bit that goes into the sum: the highest of the last byte
  for (let at = to - 1; at >= from; at -= 1)
    for (let bit = 7; bit >= 0; bit -= 1) {
      if (effect === wanted) return { at, mask: 1 << bit };
      effect = (effect & 1 ? (effect >>> 1) ^ POLYNOMIAL : effect >>> 1) >>> 0;
    }
  return null;
}

/** A block of 'magic' crc32 length ..., whose sum covers all behind it. */
interface Kind {
  magic: Buffer;
  /** Bytes of it that its length does not count. */
  overhead: number;
}

/** The one bit by which the block at `at` is not whole, and where the block ends; null when that is not all. */
export function flipIn(
  content: Buffer,
  at: number,
  kind: Kind,
): { flip: Flip; end: number } | null {
  if (at + kind.overhead > content.length) return null;
  return flipInBody(content, at, kind) ?? flipInLength(content, at, kind);
}

/** Anywhere but in the length. */
function flipInBody(
  content: Buffer,
  at: number,
  { magic, overhead }: Kind,
): ReturnType<typeof flipIn> {
  const length = content.readUInt32LE(at + 8);
  const end = at + overhead + length;
  if (length > MAX_MENDED_BYTES || end > content.length) return null;
  const name = content.readUInt32LE(at) ^ magic.readUInt32LE(0);
  const sum = content.readUInt32LE(at + 4) ^ crc32(content.subarray(at + 8, end));
  if (sum !== 0 && name !== 0) return null;
  const flip =
    sum === 0
      ? oneBitOf(name, at)
      : (oneBitOf(sum, at + 4) ?? findFlip(sum, { from: at + 12, to: end }));
  return flip && { flip, end };
}

/** Where the length is wrong, so is the end: only the right one gives the sum. */
function flipInLength(
  content: Buffer,
  at: number,
  { magic, overhead }: Kind,
): ReturnType<typeof flipIn> {
  if (content.compare(magic, 0, 4, at, at + 4) !== 0) return null;
  const stored = content.readUInt32LE(at + 8);
  const right = Buffer.alloc(4);
  for (let bit = 0; bit < 32; bit += 1) {
    const length = (stored ^ (1 << bit)) >>> 0;
    const end = at + overhead + length;
    if (length > MAX_MENDED_BYTES || end > content.length) continue;
    right.writeUInt32LE(length);
    const flip = oneBitOf(1 << bit, at + 8);
    if (
      flip &&
      crc32(content.subarray(at + 12, end), crc32(right)) === content.readUInt32LE(at + 4)
    )
      return { flip, end };
  }
  return null;
}

/** The one bit that is set in the 32-bit number, as a bit of the four bytes at `at`. */
function oneBitOf(difference: number, at: number): Flip | null {
  if (difference === 0 || (difference & (difference - 1)) !== 0) return null;
  const bit = 31 - Math.clz32(difference);
  return { at: at + (bit >> 3), mask: 1 << (bit & 7) };
}

/** The bytes of [start, end) as they were written. */
export function mendedCopy(
  content: Buffer,
  [start, end]: [number, number],
  { at, mask }: Flip,
): Buffer {
  const mended = Buffer.from(content.subarray(start, end));
  mended.writeUInt8(mended.readUInt8(at - start) ^ mask, at - start);
  return mended;
}

/** The batch at `at` if it is whole but for one bit, wherever that stands. */
export function mendedAt(content: Buffer, at: number): BatchSpan | null {
  const found = flipIn(content, at, { magic: BATCH_MAGIC, overhead: BATCH_HEADER_BYTES });
  if (found === null) return null;
  const { flip, end } = found;
  const mended = mendedCopy(content, [at, end], flip);
  const count = mended.readUInt32LE(12);
  if (count === 0 || mended.readBigUInt64LE(16) !== BigInt(at)) return null;
  if (!isJsonLines(mended.toString('utf8', BATCH_HEADER_BYTES), count)) return null;
  return { kind: 'batch', lsn: Number(mended.readBigUInt64LE(24)), count, start: at, end, flip };
}

function isJsonLines(text: string, count: number): boolean {
  const lines = text.split('\n');
  if (lines.length !== count) return false;
  try {
    for (const line of lines) JSON.parse(line);
    return true;
  } catch {
    return false;
  }
}

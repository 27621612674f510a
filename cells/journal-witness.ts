/**
 * A note behind the content of a segment that is being written: up to here everything is committed. A bad batch at the end
 * of a file is by itself no different from a write that was cut off; behind a commit that has a witness it is damage.
 *
 *     'LZW1' crc32 at(u64) end(u64) nextLsn(u64)      little-endian; crc32 covers all that follows it; `at`: its own offset
 *
 * W1 It is written after the sync of what it speaks of and never synced itself: it may be missing, and it may be older than
 *    the content, but it never says too much.
 * W2 It stands one to two pages behind the content, so that one bad sector does not take a batch and its witness; content
 *    that comes later is written over it.
 */
import { crc32 } from 'node:zlib';

const MAGIC = Buffer.from('LZW1', 'latin1');
export const WITNESS_BYTES = 32;
const PAGE_BYTES = 4096;

export interface Witness {
  /** Everything before this offset of the file was committed, and the lsn that comes behind it. */
  end: number;
  nextLsn: number;
}

/** W2. */
export const witnessOffset = (end: number): number =>
  (Math.floor(end / PAGE_BYTES) + 2) * PAGE_BYTES;

export function encodeWitness({ end, nextLsn }: Witness): Buffer {
  const block = Buffer.alloc(WITNESS_BYTES);
  MAGIC.copy(block);
  block.writeBigUInt64LE(BigInt(witnessOffset(end)), 8);
  block.writeBigUInt64LE(BigInt(end), 16);
  block.writeBigUInt64LE(BigInt(nextLsn), 24);
  block.writeUInt32LE(crc32(block.subarray(8)), 4);
  return block;
}

/** Of those behind `from` the one that speaks of most; and the offsets at which they stand. */
export function findWitnesses(
  file: Buffer,
  from: number,
): { newest: Witness | null; at: number[] } {
  let newest: Witness | null = null;
  const offsets: number[] = [];
  for (let at = firstPlace(from); at + WITNESS_BYTES <= file.length; at += PAGE_BYTES) {
    const found = witnessAt(file, at);
    if (found === null) continue;
    offsets.push(at);
    if (found.end >= (newest?.end ?? 0)) newest = found;
  }
  return { newest, at: offsets };
}

const firstPlace = (from: number): number => Math.ceil(from / PAGE_BYTES) * PAGE_BYTES;

function witnessAt(file: Buffer, at: number): Witness | null {
  if (file.compare(MAGIC, 0, 4, at, at + 4) !== 0) return null;
  const block = file.subarray(at, at + WITNESS_BYTES);
  if (crc32(block.subarray(8)) !== block.readUInt32LE(4)) return null;
  if (block.readBigUInt64LE(8) !== BigInt(at)) return null;
  const witness = {
    end: Number(block.readBigUInt64LE(16)),
    nextLsn: Number(block.readBigUInt64LE(24)),
  };
  return witnessOffset(witness.end) === at ? witness : null;
}

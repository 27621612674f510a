/**
 * One batch of journal records: its bytes, which journal-format.ts describes, and how they are made.
 */
import { crc32 } from 'node:zlib';

/** Every four bytes of text are at least 0x20202020, so this keeps F2. */
export const MAX_PAYLOAD_BYTES = 0x2000_0000;
export const BATCH_HEADER_BYTES = 32;

export const BATCH_MAGIC = Buffer.from('LZB1', 'latin1');
/** Encoders keep a buffer up to this size between batches. */
const KEPT_BUFFER_BYTES = 4 << 20;

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

/** A bit that has turned. */
export interface Flip {
  /** Offset of the byte. */
  at: number;
  /** The bit to turn back. */
  mask: number;
}

/** Where a batch lies; `start` is that of its header. */
export interface BatchSpan {
  kind: 'batch';
  lsn: number;
  count: number;
  start: number;
  end: number;
  /** The bit that has turned in it (F5). */
  flip?: Flip;
}

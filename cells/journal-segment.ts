/**
 * One segment file while it is written. It knows bytes and syncs, not records or waiters: those are journal.ts.
 *
 * S1 `end` is the end of what is committed. Only the journal moves it, after the sync returned.
 * S2 The file is zeroed ahead of the data, so that committing a small batch changes no file size (a size change makes
 *    fdatasync write the inode too: 3,650 against 4,950 syncs/s). It is a convenience: where there is no room for the
 *    zeros, the data alone is written.
 * S3 After a failed write or sync the file is sealed: never written or synced again, for the kernel may have marked as
 *    clean what never reached the disk.
 */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { faultPoint, syncFolder } from './durable.ts';
import { encodeSegmentHeader, type SegmentHeader } from './journal-format.ts';
import { encodeWitness, witnessOffset } from './journal-witness.ts';

/** What the journal asks of the file system; tests hand in one that fails. */
export interface JournalIo {
  openSync(path: string, flags: string, mode: number): number;
  writeSync(fd: number, data: Buffer, offset: number, length: number, position: number): number;
  write(
    fd: number,
    data: Buffer,
    offset: number,
    length: number,
    position: number,
  ): Promise<number>;
  fdatasyncSync(fd: number): void;
  fdatasync(fd: number, done: (error: Error | null) => void): void;
  ftruncateSync(fd: number, length: number): void;
  ftruncate(fd: number, length: number): Promise<void>;
  closeSync(fd: number): void;
  /** Of a file that may be gone already. */
  unlinkSync(path: string): void;
  syncFolder(folder: string): Promise<void>;
}

const writeAsync = promisify(fs.write);

export const fileSystem: JournalIo = {
  openSync: fs.openSync,
  writeSync: (fd, data, offset, length, position) =>
    fs.writeSync(fd, data, offset, length, position),
  write: async (fd, data, offset, length, position) =>
    (await writeAsync(fd, data, offset, length, position)).bytesWritten,
  fdatasyncSync: fs.fdatasyncSync,
  fdatasync: fs.fdatasync,
  ftruncateSync: fs.ftruncateSync,
  ftruncate: promisify(fs.ftruncate),
  closeSync: fs.closeSync,
  unlinkSync: (path) => fs.rmSync(path, { force: true }),
  syncFolder,
};

export const segmentPath = (folder: string, number: number): string =>
  join(folder, `${String(number).padStart(12, '0')}.wal`);

/** Zeros are written ahead in pieces of this size (S2). */
export const STEP_BYTES = 1 << 20;
/** Batches above this pay for the size change themselves: zeros would only double what the disk has to write. */
const LARGE_BATCH_BYTES = 8 << 10;
const ZEROS = Buffer.alloc(STEP_BYTES);

interface CreateOptions {
  folder: string;
  number: number;
  /** Bytes to zero ahead; 0: neither now nor later. */
  sizeBytes: number;
  /** Absent: the segment is prepared ahead of use and `begin` writes the header later. */
  header?: SegmentHeader;
}

export class SegmentFile {
  readonly number: number;
  readonly path: string;
  readonly fd: number;
  /** Behind the header; 0 while there is none. */
  start = 0;
  /** End of the committed content (S1); the header counts as soon as it is written. */
  end = 0;
  firstLsn = 0;
  lastLsn = 0;
  readonly #io: JournalIo;
  #zeroedTo = 0;
  #zeroesAhead = true;

  private constructor(io: JournalIo, file: { number: number; path: string; fd: number }) {
    this.#io = io;
    this.number = file.number;
    this.path = file.path;
    this.fd = file.fd;
  }

  /** It holds no space but that of its content. */
  get isSmall(): boolean {
    return this.#zeroedTo <= this.end;
  }

  /** Makes the file, its zeros and its name durable. Nothing is left behind when it throws. */
  static async create(
    io: JournalIo,
    { folder, number, sizeBytes, header }: CreateOptions,
  ): Promise<SegmentFile> {
    const path = segmentPath(folder, number);
    faultPoint('journal.segment.before-create');
    const segment = new SegmentFile(io, { number, path, fd: io.openSync(path, 'wx', 0o600) });
    faultPoint('journal.segment.after-create');
    segment.#zeroesAhead = sizeBytes > 0;
    try {
      if (header !== undefined) segment.begin(header);
      await segment.#zeroAhead(sizeBytes);
      faultPoint('journal.segment.before-sync');
      await new Promise<void>((resolve, reject) => {
        io.fdatasync(segment.fd, (error) => (error ? reject(error) : resolve()));
      });
      faultPoint('journal.segment.after-sync');
      await io.syncFolder(folder);
      faultPoint('journal.segment.after-folder-sync');
    } catch (error) {
      segment.discard();
      throw error;
    }
    return segment;
  }

  /** Writes the header; it is durable with the next sync. */
  begin(header: SegmentHeader): void {
    const block = encodeSegmentHeader(header);
    faultPoint('journal.segment.before-header');
    this.#writeAll(block, 0);
    faultPoint('journal.segment.after-header');
    this.start = block.length;
    this.end = block.length;
    this.#zeroedTo = Math.max(this.#zeroedTo, block.length);
    this.firstLsn = header.firstLsn;
    this.lastLsn = header.firstLsn - 1;
  }

  /** Writes a batch at `end` and returns the end it will have once it is committed. */
  write(batch: Buffer): number {
    const end = this.end + batch.length;
    faultPoint('journal.before-write');
    if (end > this.#zeroedTo && batch.length <= LARGE_BATCH_BYTES) this.#zeroStep();
    this.#writeAll(batch, this.end);
    this.#zeroedTo = Math.max(this.#zeroedTo, end);
    faultPoint('journal.after-write');
    return end;
  }

  /** Returns when what was written is on the disk. Blocks the event loop. */
  syncNow(): void {
    faultPoint('journal.before-sync');
    this.#io.fdatasyncSync(this.fd);
    faultPoint('journal.after-sync');
  }

  sync(done: (error: Error | null) => void): void {
    faultPoint('journal.before-sync');
    this.#io.fdatasync(this.fd, (error) => {
      if (!error) faultPoint('journal.after-sync');
      done(error);
    });
  }

  /** Says behind the content how far it is committed. Without it nothing is lost, only less would be noticed. */
  witness(nextLsn: number): void {
    const { end } = this;
    try {
      faultPoint('journal.before-witness');
      this.#writeAll(encodeWitness({ end, nextLsn }), witnessOffset(end));
      faultPoint('journal.after-witness');
    } catch {
      // A disk that is full or failing shows it at the next commit, which somebody waits for.
    }
  }

  /** Gives the space of the zeros back and takes none again. Call with nothing uncommitted in the file. */
  shrink(): void {
    this.#zeroesAhead = false;
    try {
      this.#io.ftruncateSync(this.fd, this.end);
      this.#zeroedTo = this.end;
    } catch {
      // Then the zeros stay: they are only room.
    }
  }

  /**
   * Cuts the zeros off and closes. Neither synced nor allowed to fail: the next segment's header says where this one
   * ends, so all that is at stake is the space of the zeros.
   */
  async retire(): Promise<void> {
    faultPoint('journal.before-truncate');
    await this.#io.ftruncate(this.fd, this.end).catch(() => undefined);
    faultPoint('journal.after-truncate');
    this.#io.closeSync(this.fd);
  }

  /** The clean end of the last segment. */
  async close(): Promise<void> {
    try {
      faultPoint('journal.before-truncate');
      await this.#io.ftruncate(this.fd, this.end);
      faultPoint('journal.after-truncate');
      this.syncNow();
    } finally {
      this.#io.closeSync(this.fd);
    }
  }

  /**
   * After a failure (S3). Cutting what was not committed helps a process that restarts before the next segment is there
   * to void it, and gives space back; so its own failure changes nothing and is not reported.
   */
  seal(): void {
    try {
      faultPoint('journal.before-truncate');
      this.#io.ftruncateSync(this.fd, this.end);
      faultPoint('journal.after-truncate');
    } catch {
      // See above: the failure that led here is the one to report.
    }
    this.#io.closeSync(this.fd);
  }

  /** For a segment that never counted: should it stay behind, it is void by its number or by being empty. */
  discard(): void {
    this.#io.closeSync(this.fd);
    try {
      this.#io.unlinkSync(this.path);
    } catch {
      // A leftover is harmless, and whoever discards has a better error to report.
    }
  }

  /** S2. */
  #zeroStep(): void {
    if (!this.#zeroesAhead) return;
    try {
      this.#writeAll(ZEROS, this.#zeroedTo);
      this.#zeroedTo += ZEROS.length;
    } catch (error) {
      if (!isFull(error)) throw error;
      this.#zeroesAhead = false;
    }
  }

  async #zeroAhead(sizeBytes: number): Promise<void> {
    while (this.#zeroedTo < sizeBytes) {
      const length = Math.min(ZEROS.length, sizeBytes - this.#zeroedTo);
      const written = await this.#io.write(this.fd, ZEROS, 0, length, this.#zeroedTo);
      if (written === 0) throw new Error(`nothing could be written to ${this.path}`);
      this.#zeroedTo += written;
    }
  }

  #writeAll(data: Buffer, position: number): void {
    let done = 0;
    while (done < data.length) {
      const written = this.#io.writeSync(this.fd, data, done, data.length - done, position + done);
      if (written === 0) throw new Error(`nothing could be written to ${this.path}`);
      done += written;
    }
  }
}

export const isFull = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');

/**
 * Writes the bytes from `from` to the content's `end` once more and syncs them: a new sync says nothing about pages an
 * earlier, failed one left behind as clean, but it does about pages written since. Behind the content only torn bytes stay.
 */
export function rewriteTail(
  io: JournalIo,
  path: string,
  { from, end, tornBytes }: { from: number; end: number; tornBytes: number },
): void {
  const fd = io.openSync(path, 'r+', 0o600);
  try {
    const tail = Buffer.alloc(end - from);
    const length = fs.readSync(fd, tail, 0, tail.length, from);
    faultPoint('journal.recover.before-write');
    if (length > 0) io.writeSync(fd, tail, 0, length, from);
    io.ftruncateSync(fd, end + tornBytes);
    faultPoint('journal.recover.before-sync');
    io.fdatasyncSync(fd);
    faultPoint('journal.recover.after-sync');
  } finally {
    io.closeSync(fd);
  }
}

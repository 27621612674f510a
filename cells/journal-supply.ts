/**
 * Where the journal gets its segment files from. The next one is made ready in the background while the present one
 * fills, so that a roll costs no more than any commit. Numbers rise and none is used twice.
 *
 * P1 What is prepared takes its whole space, where there is room: so the journal can go on for a while on a full disk.
 *    Where there is none an empty file is prepared, and at a clean stop the space is given up for the checkpoints.
 */
import { isFull, SegmentFile, STEP_BYTES, type JournalIo } from './journal-segment.ts';
import type { SegmentHeader } from './journal-format.ts';

export interface SupplyOptions {
  folder: string;
  /** Named in segment headers, as is the epoch. */
  node: string;
  epoch: number;
  segmentBytes: number;
  io: JournalIo;
}

/** A segment may outgrow its size by this factor while the next one cannot be created. */
const MAX_OVERGROWTH = 4;

export class SegmentSupply {
  readonly #options: SupplyOptions;
  #nextNumber: number;
  #ready: SegmentFile | undefined;
  #preparing: Promise<void> | undefined;
  #error: Error | undefined;
  /** Size of the present segment at which the next is prepared, in bytes. */
  #prepareAt: number;
  #isStopped = false;
  /** P1: from now on every segment is as small as it can be. */
  #isShrunk = false;

  constructor(options: SupplyOptions, nextNumber: number) {
    this.#options = options;
    this.#nextNumber = nextNumber;
    this.#prepareAt = options.segmentBytes / 2;
  }

  /**
   * A segment at once, durable with its header: small, since somebody waits for it, but with some room, so that a journal
   * that was held does not open for one commit.
   */
  async create(fields: Pick<SegmentHeader, 'firstLsn' | 'previous'>): Promise<SegmentFile> {
    const { io, folder, segmentBytes } = this.#options;
    await this.#preparing;
    const number = this.#takeNumber();
    const header = this.#header({ number, ...fields });
    const sizeBytes = Math.min(STEP_BYTES, segmentBytes);
    const segment = await SegmentFile.create(io, { folder, number, sizeBytes, header });
    this.#isStopped = false;
    this.#begun();
    return segment;
  }

  /** Tells how far the present segment is, after each commit. */
  noteSize(bytes: number): void {
    if (this.#isShrunk || this.#isStopped) return;
    if (bytes < this.#prepareAt || this.#ready !== undefined) return;
    void this.#prepareOnce(bytes);
  }

  /**
   * The segment that the next commit goes to: `active`, or the prepared one, its header written but not yet synced, when
   * a roll is due. Call `used` once that commit is durable, `stop` when it failed.
   */
  segmentFor(
    active: SegmentFile,
    { firstLsn, rollNow }: { firstLsn: number; rollNow: boolean },
  ): SegmentFile {
    const { segmentBytes } = this.#options;
    const next = this.#ready;
    if (next !== undefined && (rollNow || active.end >= segmentBytes)) {
      const previous = { number: active.number, end: active.end };
      next.begin(this.#header({ number: next.number, firstLsn, previous }));
      return next;
    }
    if (this.#error !== undefined && active.end >= MAX_OVERGROWTH * segmentBytes) throw this.#error;
    return active;
  }

  /** Resolves when a segment is ready. Throws why none could be made. */
  async ready(activeBytes: number): Promise<void> {
    while (this.#ready === undefined) {
      await this.#prepareOnce(activeBytes);
      if (this.#error !== undefined) throw this.#error;
      if (this.#isStopped) return;
    }
  }

  /** The prepared segment is the active one now. */
  used(): void {
    this.#ready = undefined;
    this.#begun();
  }

  /** After a failure or at the end: nothing prepared is kept. */
  stop(): void {
    this.#isStopped = true;
    this.#discardReady();
  }

  /** P1. */
  shrink(): void {
    this.#isShrunk = true;
    this.#discardReady();
  }

  /** Resolves when nothing is going on in the background. */
  async settled(): Promise<void> {
    await this.#preparing;
  }

  /** Never rejects: the error is kept for whoever needs the segment. `activeBytes`: size of the present segment. */
  #prepareOnce(activeBytes: number): Promise<void> {
    this.#preparing ??= this.#prepare(activeBytes).finally(() => {
      this.#preparing = undefined;
    });
    return this.#preparing;
  }

  async #prepare(activeBytes: number): Promise<void> {
    const { segmentBytes } = this.#options;
    try {
      const segment = await this.#createAhead();
      if (this.#isStopped || (this.#isShrunk && !segment.isSmall)) segment.discard();
      else this.#ready = segment;
      this.#error = undefined;
    } catch (error) {
      this.#error = error instanceof Error ? error : new Error(String(error));
      this.#prepareAt = activeBytes + segmentBytes / 4; // not again at every commit
    }
  }

  /** P1. */
  async #createAhead(): Promise<SegmentFile> {
    const { io, folder, segmentBytes } = this.#options;
    const create = (sizeBytes: number): Promise<SegmentFile> =>
      SegmentFile.create(io, { folder, number: this.#takeNumber(), sizeBytes });
    if (this.#isShrunk) return create(0);
    try {
      return await create(segmentBytes);
    } catch (error) {
      if (!isFull(error)) throw error;
      return create(0);
    }
  }

  #discardReady(): void {
    this.#ready?.discard();
    this.#ready = undefined;
  }

  #begun(): void {
    this.#error = undefined;
    this.#prepareAt = this.#options.segmentBytes / 2;
  }

  #takeNumber(): number {
    const number = this.#nextNumber;
    this.#nextNumber += 1;
    return number;
  }

  #header(fields: Pick<SegmentHeader, 'number' | 'firstLsn' | 'previous'>): SegmentHeader {
    const { node, epoch } = this.#options;
    return { format: 1, epoch, node, createdAt: Date.now(), ...fields };
  }
}

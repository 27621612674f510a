/**
 * The write-ahead journal all actors of a node share. It stores lines of JSON and knows nothing of their meaning. While
 * one sync is under way, new records gather; then one write and one fdatasync commit them all.
 *
 * J1 A record is committed when the fdatasync after its write has returned: before that no waiter hears of it (P1).
 * J2 Records appended between two turns of the event loop are one group: they stand in one batch, so that either all of
 *    them are there after a crash or none. `append` and `flush` never commit a part of what a caller is appending.
 * J3 At most one write with its sync is under way, so at most one batch of a file is in question after a crash.
 * J4 An old file gets no new batch: each run, roll and mended failure begins a segment, whose header says where the one
 *    before it ends. That one rule cuts torn tails, failed writes and prepared zeros alike.
 * J5 After a failed write or sync the journal is held, all that was not committed is lost, and its lsns are given anew by
 *    the segment that `reopen` begins. No fsync is tried again on the same file.
 * J6 What recovery adopted but nobody saw synced is written again and synced before anything builds on it.
 */
import assert from 'node:assert';
import { mkdirSync } from 'node:fs';
import { RuntimeError } from '../machines/errors.ts';
import { Histogram } from '../machines/metrics.ts';
import { faultPoint } from './durable.ts';
import { BatchEncoder } from './journal-format.ts';
import type { RecoveredJournal, SegmentInfo } from './journal-reader.ts';
import {
  fileSystem,
  rewriteTail,
  type SegmentFile,
  segmentPath,
  type JournalIo,
} from './journal-segment.ts';
import { SegmentSupply } from './journal-supply.ts';

export interface CommittedBatch {
  firstLsn: number;
  lastLsn: number;
}

export interface JournalOptions {
  folder: string;
  /** Named in segment headers, as is the epoch. */
  node: string;
  epoch: number;
  /** A segment above this is followed by a new one. Default 8 MiB. */
  segmentBytes?: number;
  /** Sync on the main thread for a lone waiter while syncs are fast: saves the hop to the thread pool. Default true. */
  syncAlone?: boolean;
  /** Called for each batch, in order, before the promises of `committed` resolve. May append and flush. */
  onCommit(batch: CommittedBatch): void;
  /** Called once when the journal becomes held; possibly from within `flush`. */
  onFailure(error: Error, firstLostLsn: number): void;
  /** Called when commits go to a new segment. */
  onRoll?: () => void;
  io?: JournalIo;
}

/** Up to this many records count as a lone waiter. */
const ALONE_RECORDS = 2;
/** A main-thread sync must not block the loop for longer, in ms; judged by the sync before. */
const FAST_SYNC_MS = 2;
/** After so long without a commit, in ms, the last one gets its witness (journal-witness.ts). */
const QUIET_MS = 10;
/** Bound of what waits for one commit, in UTF-16 units; 3 bytes each at most keeps a batch below MAX_PAYLOAD_BYTES. */
const MAX_PENDING = 128 << 20;

/** Seconds: from a disk with a battery to one that is in trouble. */
const SYNC_BOUNDS = [5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 1];

/** Records that are committed together. */
interface Group {
  firstLsn: number;
  lines: string[];
  /** Made when the first waiter asks. */
  ticket: PromiseWithResolvers<void> | undefined;
}

/** A group on its way to the disk. */
interface Commit {
  group: Group;
  segment: SegmentFile;
  /** Of the segment, once this is committed. */
  end: number;
  startedAt: number;
}

export class Journal {
  readonly #options: Required<JournalOptions>;
  readonly #supply: SegmentSupply;
  readonly #encoder = new BatchEncoder();
  /** Where the last commit went. A commit that begins a new segment makes it the active one by succeeding. */
  #active: SegmentFile;
  readonly #closed: SegmentInfo[];
  #pending: Group;
  #pendingBytes = 0;
  #inFlight: Group | undefined;
  #committedLsn: number;
  #isDelivering = false;
  #flushWanted = false;
  #rollWanted = false;
  /** Why nothing is taken any more: held, or closed. */
  #refusal: RuntimeError | undefined;
  #isHeld = false;
  #reopening: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  /** 0 while unknown: taken for fast. */
  #lastSyncMs = 0;
  /** Seconds from a batch's write to the end of its sync, one for each commit. */
  readonly syncTimes = new Histogram(SYNC_BOUNDS);
  #quiet: NodeJS.Timeout | undefined;
  /** Truncating and closing of segments that are done. */
  #retired: Promise<void> = Promise.resolve();

  /** Begins a new segment behind what `recoverJournal` found (J4). Throws what the file system throws. */
  static async open(options: JournalOptions, recovered: RecoveredJournal): Promise<Journal> {
    const defaults = { segmentBytes: 8 << 20, syncAlone: true, io: fileSystem, onRoll: () => {} };
    const full = { ...defaults, ...options };
    const { last, nextLsn: firstLsn, nextNumber, tornBytes } = recovered;
    mkdirSync(full.folder, { recursive: true });
    if (last !== null) {
      const path = segmentPath(full.folder, last.number);
      rewriteTail(full.io, path, { from: last.settleFrom, end: last.end, tornBytes }); // J6
    }
    const previous = last === null ? null : { number: last.number, end: last.end };
    const supply = new SegmentSupply(full, nextNumber);
    const active = await supply.create({ firstLsn, previous });
    return new Journal(full, { supply, active, closed: [...recovered.segments] });
  }

  private constructor(
    options: Required<JournalOptions>,
    files: { supply: SegmentSupply; active: SegmentFile; closed: SegmentInfo[] },
  ) {
    this.#options = options;
    this.#supply = files.supply;
    this.#active = files.active;
    this.#closed = files.closed;
    this.#committedLsn = files.active.lastLsn;
    this.#pending = emptyGroup(files.active.firstLsn);
  }

  /** The last record that is on disk; 0 for none. */
  get committedLsn(): number {
    return this.#committedLsn;
  }

  /** Of the segment that the last commit went to. */
  get activeNumber(): number {
    return this.#active.number;
  }

  /** What waits for the next commit, in UTF-16 units: the bytes for ASCII, less than the bytes for other text. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  get pendingRecords(): number {
    return this.#pending.lines.length;
  }

  get isHeld(): boolean {
    return this.#isHeld;
  }

  /**
   * Takes one line of JSON, `{"a":"<address>","n":<seq>...`, without '\n', and returns its lsn. No I/O: call `flush` when
   * the group is whole. Throws JOURNAL_HELD, and BUSY beyond the bound of what may wait.
   */
  append(line: string): number {
    if (this.#refusal !== undefined) throw this.#refusal;
    assert(line.startsWith('{"a":"') && !line.includes('\n'), 'not a journal line');
    if (this.#pendingBytes + line.length >= MAX_PENDING) throw busyError(this.#pendingBytes);
    const { firstLsn, lines } = this.#pending;
    this.#pendingBytes += line.length + 1;
    return firstLsn + lines.push(line) - 1;
  }

  /** Commits what is pending: now, or right after the commit under way. May call `onCommit` before it returns. */
  flush(): void {
    if (this.#inFlight !== undefined || this.#isDelivering) this.#flushWanted = true;
    else if (hasWork(this.#pending))
      this.#commit({ mayBlock: this.#pending.lines.length <= ALONE_RECORDS });
  }

  /**
   * Resolves when the record is durable; rejects JOURNAL_HELD when it is lost. Does not flush. Ask before the journal can
   * have failed and reopened: then a lost record's lsn stands for another one (J5).
   */
  committed(lsn: number): Promise<void> {
    if (lsn <= this.#committedLsn) return Promise.resolve();
    if (this.#isHeld) return Promise.reject(this.#refusal);
    assert(lsn < this.#pending.firstLsn + this.#pending.lines.length, 'an lsn nobody was given');
    const group = lsn < this.#pending.firstLsn ? this.#inFlight : this.#pending;
    assert(group !== undefined, 'an uncommitted record is in flight or pending');
    return ticketOf(group).promise;
  }

  /** All files, oldest first. */
  segments(): SegmentInfo[] {
    return [...this.#closed, infoOf(this.#active, { closed: false })];
  }

  /** Before a clean stop: what the journal holds in reserve is free for others, and it takes no more than it needs. */
  giveUpReserve(): void {
    this.#supply.shrink();
    if (this.#inFlight === undefined && !this.#isHeld) this.#active.shrink();
  }

  /** Deletes closed segments that hold only records before `lsn`, oldest first. Returns how many. */
  async dropBefore(lsn: number): Promise<number> {
    const { io, folder } = this.#options;
    let dropped = 0;
    for (let oldest = this.#closed[0]; oldest !== undefined; oldest = this.#closed[0]) {
      if (oldest.lastLsn >= lsn) break;
      faultPoint('journal.before-unlink');
      io.unlinkSync(oldest.path);
      this.#closed.shift();
      // One by one: no crash may leave a hole, for an older segment without its successor would look like a loss.
      await io.syncFolder(folder);
      faultPoint('journal.after-unlink');
      dropped += 1;
    }
    return dropped;
  }

  /** Commits what is pending into a new segment; then the one before is closed. No-op while that has no record. */
  async roll(): Promise<void> {
    if (this.#active.end === this.#active.start && !this.#inFlight && !hasWork(this.#pending))
      return;
    if (this.#refusal !== undefined) throw this.#refusal;
    await this.#supply.ready(this.#active.end);
    if (this.#refusal !== undefined) throw this.#refusal;
    this.#rollWanted = true;
    const { promise } = ticketOf(this.#pending);
    this.flush();
    await promise;
    await this.#retired;
  }

  /**
   * Ends being held: writes a fresh segment that voids what was not committed (J5); lsns go on after `committedLsn`.
   * Throws JOURNAL_HELD while the disk still fails. No-op when not held.
   */
  reopen(): Promise<void> {
    this.#reopening ??= this.#reopen().finally(() => {
      this.#reopening = undefined;
    });
    return this.#reopening;
  }

  /** Commits what is pending, cuts the file to its content and closes it. From the call on, appending is refused. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  #commit({ mayBlock }: { mayBlock: boolean }): void {
    const commit = this.#write();
    if (commit instanceof Error) {
      this.#fail(commit);
    } else if (mayBlock && this.#options.syncAlone && this.#lastSyncMs < FAST_SYNC_MS) {
      const error = attempt(() => commit.segment.syncNow());
      if (error instanceof Error) this.#fail(error);
      else this.#finish(commit);
    } else {
      this.#sync(commit);
    }
  }

  #sync(commit: Commit): void {
    commit.segment.sync((error) => (error ? this.#fail(error) : this.#finish(commit)));
  }

  /** Hands the pending group to the page cache; the caller syncs (J3). */
  #write(): Commit | Error {
    const group = this.#pending;
    this.#inFlight = group;
    this.#pending = emptyGroup(group.firstLsn + group.lines.length);
    this.#pendingBytes = 0;
    this.#flushWanted = false;
    return attempt(() => {
      const roll = { firstLsn: group.firstLsn, rollNow: this.#rollWanted };
      const segment = this.#supply.segmentFor(this.#active, roll);
      const place = { lsn: group.firstLsn, previousEnd: segment.end };
      const isEmpty = group.lines.length === 0; // a roll without records writes a header alone
      const end = isEmpty ? segment.end : segment.write(this.#encoder.encode(group.lines, place));
      return { group, segment, end, startedAt: performance.now() };
    });
  }

  /** J1. The next commit is started before this one is told of, so that the disk works while the callers do. */
  #finish({ group, segment, end, startedAt }: Commit): void {
    this.#lastSyncMs = performance.now() - startedAt;
    this.syncTimes.observe(this.#lastSyncMs / 1000);
    this.#committedLsn = group.firstLsn + group.lines.length - 1;
    this.#inFlight = undefined;
    segment.end = end;
    segment.lastLsn = this.#committedLsn;
    if (segment !== this.#active) this.#activate(segment);
    const next = this.#flushWanted && hasWork(this.#pending) ? this.#write() : undefined;
    if (next !== undefined && !(next instanceof Error)) this.#sync(next);
    this.#deliver(group);
    if (next instanceof Error) this.#fail(next);
    else if (this.#flushWanted && !this.#inFlight && hasWork(this.#pending))
      this.#commit({ mayBlock: false }); // wanted from within `onCommit`; blocking here could starve the loop
    if (this.#refusal !== undefined) return;
    this.#supply.noteSize(this.#active.end);
    this.#quiet = this.#quiet?.refresh() ?? setTimeout(() => this.#witness(), QUIET_MS).unref();
  }

  #witness(): void {
    if (this.#inFlight === undefined && this.#refusal === undefined)
      this.#active.witness(this.#committedLsn + 1);
  }

  #deliver({ firstLsn, lines, ticket }: Group): void {
    this.#isDelivering = true;
    try {
      if (lines.length > 0)
        this.#options.onCommit({ firstLsn, lastLsn: firstLsn + lines.length - 1 });
    } finally {
      this.#isDelivering = false;
    }
    ticket?.resolve();
  }

  #activate(segment: SegmentFile): void {
    const old = this.#active;
    this.#active = segment;
    this.#supply.used();
    this.#rollWanted = false;
    this.#closed.push(infoOf(old, { closed: true }));
    this.#retired = this.#retired.then(() => old.retire());
    this.#options.onRoll();
  }

  /** J5. */
  #fail(cause: Error): void {
    const firstLostLsn = this.#committedLsn + 1;
    const held = heldError(cause, { path: this.#active.path, firstLostLsn });
    const lost = [this.#inFlight, this.#pending];
    this.#isHeld = true;
    this.#refusal = held;
    this.#inFlight = undefined;
    this.#pending = emptyGroup(firstLostLsn);
    this.#pendingBytes = 0;
    this.#flushWanted = false;
    this.#rollWanted = false;
    this.#active.seal();
    this.#supply.stop();
    this.#options.onFailure(held, firstLostLsn);
    for (const group of lost) group?.ticket?.reject(held);
  }

  async #reopen(): Promise<void> {
    if (!this.#isHeld) return;
    if (this.#closing !== undefined) throw closedError();
    const firstLsn = this.#committedLsn + 1;
    const { number, end } = this.#active;
    let segment: SegmentFile;
    try {
      segment = await this.#supply.create({ firstLsn, previous: { number, end } });
    } catch (error) {
      this.#refusal = heldError(error, { path: this.#options.folder, firstLostLsn: firstLsn });
      throw this.#refusal;
    }
    this.#closed.push(infoOf(this.#active, { closed: true }));
    this.#active = segment;
    this.#isHeld = false;
    this.#refusal = undefined;
    this.#options.onRoll();
  }

  async #close(): Promise<void> {
    if (this.#reopening !== undefined) await this.#reopening.catch(() => undefined); // its caller is told
    this.#refusal ??= closedError();
    const done = [this.#inFlight, this.#pending]
      .filter((group) => group !== undefined)
      .filter((group) => group === this.#inFlight || hasWork(group))
      .map((group) => ticketOf(group).promise);
    this.flush();
    try {
      await Promise.all(done);
    } finally {
      clearTimeout(this.#quiet);
      this.#supply.stop();
      await this.#supply.settled();
      await this.#retired;
      if (!this.#isHeld) await this.#active.close();
    }
  }
}

const emptyGroup = (firstLsn: number): Group => ({ firstLsn, lines: [], ticket: undefined });

/** Records, or somebody who waits for the header of a new segment. */
const hasWork = ({ lines, ticket }: Group): boolean => lines.length > 0 || ticket !== undefined;

function ticketOf(group: Group): PromiseWithResolvers<void> {
  group.ticket ??= Promise.withResolvers<void>();
  return group.ticket;
}

function infoOf(segment: SegmentFile, { closed }: { closed: boolean }): SegmentInfo {
  const { number, path, firstLsn, lastLsn, end } = segment;
  return { number, path, firstLsn, lastLsn, bytes: end, closed };
}

function attempt<T>(work: () => T): T | Error {
  try {
    return work();
  } catch (error) {
    return toError(error);
  }
}

const toError = (thrown: unknown): Error =>
  thrown instanceof Error ? thrown : new Error(String(thrown));

function busyError(pendingBytes: number): RuntimeError {
  return new RuntimeError(`${pendingBytes} bytes already wait for the journal`, {
    code: 'BUSY',
    retryable: true,
    hint: 'Try again when the records that wait are committed.',
  });
}

function closedError(): RuntimeError {
  return new RuntimeError('the journal is closed: this node has drained', {
    code: 'JOURNAL_HELD',
    hint: 'Start the node again: `lazarus up`.',
  });
}

function heldError(
  cause: unknown,
  { path, firstLostLsn }: { path: string; firstLostLsn: number },
): RuntimeError {
  const { message } = toError(cause);
  return new RuntimeError(`the journal cannot be written at ${path}: ${message}`, {
    code: 'JOURNAL_HELD',
    retryable: true,
    details: { path, firstLostLsn },
    cause,
    hint: 'Free space on that disk or mend it; the node goes on by itself when a probe write succeeds.',
  });
}

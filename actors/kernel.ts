/**
 * The actor system together with its journal: opening, failing and reopening, keeping short what a restart must read.
 *
 * K1 A segment is dropped only when every actor with records in it has a durable checkpoint past them and every cell has
 *    its own copy of them (order: checkpoints, copies, index, drop; each step can be repeated after a crash).
 * K2 The journal is bounded: above `journalBound` bytes the doors answer BUSY until upkeep has caught up (P8).
 * K3 Idle actors leave memory once a checkpoint covers them; effects keep an actor awake, timers do not.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Journal } from '../cells/journal.ts';
import type { JournalOptions } from '../cells/journal.ts';
import { readSegments } from '../cells/journal-reader.ts';
import { writeWhole } from '../cells/durable.ts';
import { cellAddress, homeCell } from '../machines/addresses.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonValue } from '../machines/json.ts';
import { Actor } from './actor.ts';
import { startClock } from './clock.ts';
import type { Instant } from './clock.ts';
import type { MachineRegistry } from './logic.ts';
import { findActors, Restorer, writeNodeIndex } from './recovery.ts';
import type { Found, IndexedActor } from './recovery.ts';
import { decodeRecord } from './records.ts';
import type { SnapshotBody } from './records.ts';
import type { ActorStore } from './store.ts';
import type { CopyRecord } from '../machines/persisted.ts';
import { ActorSystem } from './system.ts';
import type { Limits, SystemLog } from './system.ts';

export interface KernelOptions {
  registry: MachineRegistry;
  store: ActorStore;
  journalFolder: string;
  indexFile: string;
  /** Tells how long the node was up before a crash; rewritten every few seconds. */
  uptimeFile: string;
  nodeId: string;
  /** Makes a higher epoch than the given one durable and returns it. */
  raiseEpoch(atLeast: number): Promise<number>;
  log: SystemLog;
  limits?: Partial<Limits>;
  segmentBytes?: number;
  /** Default 1 GiB. */
  journalBound?: number;
  /** An actor idle for so long leaves memory, ms. Default 60,000; Infinity: never. */
  idleMs?: number;
  /** Oldest a working actor's checkpoint may be, ms. Default 300,000. */
  checkpointIntervalMs?: number;
  journalIo?: JournalOptions['io'];
  /** Called before an actor of a cell is brought into memory, and so before it may write records. */
  beforeWake?: (address: string) => void;
}

const UPKEEP_MS = 5000;
const REOPEN_MS = 1000;
/** Removed cells that are remembered. */
const MAX_AWAY = 1000;
/** Checkpoints written at once. */
const WIDTH = 8;

export class Kernel {
  readonly system: ActorSystem;
  readonly found: Found;
  readonly #options: KernelOptions;
  readonly #restorer: Restorer;
  #journal: Journal | undefined;
  #upkeep: NodeJS.Timeout | undefined;
  #reopening: NodeJS.Timeout | undefined;
  #lost = new Set<Actor>();
  #compacting: Promise<void> | undefined;
  #closed = false;
  #wokenAll: Promise<void> = Promise.resolve();

  private constructor(options: KernelOptions, found: Found, epoch: number) {
    this.#options = options;
    this.found = found;
    const { registry, store, journalFolder, log } = options;
    const latest = latestInstant(this.found.latest, options.uptimeFile);
    this.#restorer = new Restorer({
      registry,
      store,
      journalFolder,
      log: (message, fields) => log.warn(fields, message),
      beforeWake: options.beforeWake ?? (() => undefined),
    });
    this.system = new ActorSystem({
      registry,
      log,
      epoch,
      clock: startClock(latest),
      ...(options.limits ? { limits: options.limits } : {}),
      restore: (actor) => this.#restorer.restore(this.system, actor),
      peek: (actor) => this.#restorer.peek(actor),
      lookUp: (address) => this.adopt(address),
    });
    for (const [address, actor] of this.found.actors) this.system.actors.set(address, actor);
  }

  /** Accepts events when it resolves; actors with work pending are woken by `wakeBusy`. */
  static async open(options: KernelOptions): Promise<Kernel> {
    mkdirSync(options.journalFolder, { recursive: true });
    const found = findActors(options);
    const epoch = await options.raiseEpoch(found.journal.lastEpoch);
    const kernel = new Kernel(options, found, epoch);
    const { nodeId: node, journalFolder: folder, segmentBytes, journalIo } = options;
    kernel.#journal = await Journal.open(
      {
        folder,
        node,
        epoch,
        ...(segmentBytes === undefined ? {} : { segmentBytes }),
        ...(journalIo === undefined ? {} : { io: journalIo }),
        onCommit: ({ lastLsn }) => kernel.system.onCommit(lastLsn),
        onFailure: (error) => kernel.#failed(error),
      },
      kernel.found.journal,
    );
    kernel.system.attachJournal(kernel.#journal);
    for (const timer of kernel.found.index.timers) {
      const actor = kernel.system.actors.get(timer.address);
      if (actor && actor.tail === undefined) kernel.system.timers.arm(timer);
    }
    for (const region of kernel.found.journal.corrupt)
      options.log.warn({ ...region }, 'journal has a bad region; actors with a gap are held');
    kernel.#upkeep = setInterval(() => void kernel.#keepUp(), UPKEEP_MS);
    kernel.#upkeep.unref();
    return kernel;
  }

  /** Wakes every actor that had effects pending or records since its checkpoint, a slice at a time, then starts timers. */
  wakeBusy({ timers = true } = {}): Promise<void> {
    const busy = new Set(this.found.index.actors.filter((a) => a.busy).map((a) => a.address));
    const waking = [...this.system.actors.values()].filter(
      (actor) => !actor.stopped && (actor.tail !== undefined || busy.has(actor.address)),
    );
    this.#wokenAll = (async () => {
      let since = performance.now();
      for (const actor of waking) {
        if (this.#closed) return;
        this.#tryWake(actor);
        if (performance.now() - since > 10) {
          await nextTurn();
          since = performance.now();
        }
      }
      if (timers) this.system.timers.start();
    })();
    return this.#wokenAll;
  }

  /** Makes an actor of a cell that came from elsewhere known, from its checkpoint; undefined when there is none. */
  adopt(address: string): Actor | undefined {
    if (this.system.actors.has(address)) return undefined;
    const actor = new Actor(address);
    this.system.actors.set(address, actor);
    try {
      const stored = this.#options.store.readCheckpoint(address);
      if (stored === undefined) {
        this.system.actors.delete(address);
        return undefined;
      }
      const { machine, version, seq, stopped } = stored.checkpoint;
      actor.machine = `${machine}@${version}`;
      actor.checkpointSeq = seq;
      actor.seq = seq;
      actor.stopped = stopped === true;
      const copy = this.#options.store.readCopy(address, seq);
      if (copy.length > 0) {
        actor.tail = copy;
        actor.seq = decodeRecord(copy.at(-1) as string).n;
      }
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.system.holdActor(actor, { code: 'CHECKPOINT_CORRUPT', reason });
    }
    return actor;
  }

  /**
   * An actor that was stopped because its folder was gone lives on: the folder is back. False, and it stays stopped, when
   * its newest records are not to be had any more.
   */
  async bringBack(address: string, from: 'journal' | 'folder'): Promise<boolean> {
    const actor = this.system.actors.get(address);
    if (!actor?.stopped) return actor !== undefined;
    const state = this.#restorer.foldReturned(actor, from);
    if (state === undefined) return false;
    await this.system.bringBack(actor, state);
    return true;
  }

  /** Durable checkpoint of the actor's present state. */
  checkpoint(address: string): Promise<void> {
    const actor = this.system.actors.get(address);
    if (actor === undefined)
      throw new RuntimeError(`no actor lives at ${address}`, { code: 'ACTOR_UNKNOWN' });
    return this.#checkpoint(actor);
  }

  /** The last record that is on disk: readers of the journal's files show nothing beyond it (P1). */
  committedLsn(): number {
    return this.#journal?.committedLsn ?? 0;
  }

  /** Bytes the journal occupies. */
  journalBytes(): number {
    return (this.#journal?.segments() ?? []).reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** K1. Also called by upkeep whenever a segment was closed. */
  compact(): Promise<void> {
    this.#compacting ??= this.#compact().finally(() => {
      this.#compacting = undefined;
    });
    return this.#compacting;
  }

  /** Clean stop: effects aborted, everything checkpointed, the journal closed. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#upkeep);
    clearTimeout(this.#reopening);
    this.system.timers.stop();
    await this.#wokenAll;
    await this.system.effects.close();
    await this.#compacting?.catch(() => undefined); // its error was logged where it was started
    if (this.system.failure === undefined) {
      await this.system.settled();
      await this.#compact({ everything: true });
    }
    await this.#journal?.close();
  }

  /** Ends at once and leaves on disk what a killed process leaves: for a stop that must not wait. */
  async halt(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#upkeep);
    clearTimeout(this.#reopening);
    this.system.timers.stop();
    this.system.removeAllListeners();
    await this.system.effects.close();
  }

  async #checkpoint(actor: Actor): Promise<void> {
    while (actor.checkpointing) await actor.checkpointing;
    if (actor.firstDirtyLsn === 0 || actor.hold) return;
    const firstDirtyLsn = actor.firstDirtyLsn;
    const write = this.#writeCheckpoint(actor)
      .catch((error: unknown) => {
        actor.firstDirtyLsn = firstDirtyLsn;
        throw error;
      })
      .finally(() => {
        actor.checkpointing = undefined;
      });
    actor.checkpointing = write;
    return write;
  }

  /** What comes after the capture is dirty again. */
  async #writeCheckpoint(actor: Actor): Promise<void> {
    const { system, options } = { system: this.system, options: this.#options };
    const at = system.clock.now().at;
    const stored = { format: 1 as const, address: actor.address, epoch: system.epoch, at };
    const { seq } = actor;
    if (actor.stopped) {
      actor.firstDirtyLsn = 0;
      await system.settled();
      const [machine = '', version = '1'] = actor.machine.split('@');
      const empty = { snapshot: null, invokes: {}, dedupe: EMPTY_DEDUPE };
      const logic = { machine, version: Number(version), definitionHash: '' };
      await options.store.writeCheckpoint({ ...stored, ...logic, ...empty, seq, stopped: true });
    } else {
      const { text, resident } = system.captureBody(actor);
      actor.firstDirtyLsn = 0;
      const { name: machine, version, hash: definitionHash } = resident.state.logic;
      await system.settled(); // a checkpoint never runs ahead of the journal
      const body = JSON.parse(text) as SnapshotBody;
      await options.store.writeCheckpoint({
        ...stored,
        machine,
        version,
        definitionHash,
        seq,
        ...body,
      });
    }
    actor.checkpointSeq = seq;
    if (actor.resident) actor.resident.checkpointedAt = system.clock.now().up;
  }

  async #compact({ everything = false } = {}): Promise<void> {
    const journal = this.#journal;
    if (journal === undefined) return;
    if (everything) await journal.roll();
    const closed = journal.segments().filter((segment) => segment.closed);
    const last = closed.at(-1);
    if (last === undefined) return;
    const upTo = last.lastLsn;
    const isBehind = (actor: Actor): boolean =>
      actor.firstDirtyLsn > 0 && actor.firstDirtyLsn <= upTo && actor.hold === undefined;
    await inParallel([...this.system.actors.values()].filter(isBehind), (actor) =>
      this.#checkpointOrKeep(actor),
    );
    await this.#copyRecords(upTo);
    const keep = this.#oldestNeeded(upTo + 1);
    await writeNodeIndex(this.#options.indexFile, this.#index(keep));
    await journal.dropBefore(keep);
  }

  /** One that fails keeps its records in the journal and holds nobody else up; a stopped one without a folder needs none. */
  async #checkpointOrKeep(actor: Actor): Promise<void> {
    if (!this.#options.store.hasCell(homeCell(actor.address))) {
      if (actor.stopped) actor.firstDirtyLsn = 0;
      return;
    }
    try {
      await this.#checkpoint(actor);
    } catch (error) {
      if (this.system.failure) throw error;
      this.#options.log.warn(
        { address: actor.address, error: String(error) },
        'checkpoint not written',
      );
    }
  }

  /** Records that no checkpoint covers (of held actors, of failed writes) must stay in the journal. */
  #oldestNeeded(lsn: number): number {
    let oldest = lsn;
    for (const actor of this.system.actors.values())
      if (actor.firstDirtyLsn > 0) oldest = Math.min(oldest, actor.firstDirtyLsn);
    return oldest;
  }

  async #copyRecords(upTo: number): Promise<void> {
    const byCell = new Map<string, CopyRecord[]>();
    let since = performance.now();
    for (const { lsn, address, line } of readSegments(this.#options.journalFolder)) {
      if (lsn > upTo) break;
      const cell = homeCell(address);
      const records = byCell.get(cell);
      if (records) records.push({ lsn, line });
      else byCell.set(cell, [{ lsn, line }]);
      if (performance.now() - since > 10) {
        await nextTurn();
        since = performance.now();
      }
    }
    await inParallel([...byCell], async ([cell, records]) => {
      if (this.#options.store.hasCell(cell)) await this.#options.store.appendCopy(cell, records);
    });
  }

  #index(lsn: number): Parameters<typeof writeNodeIndex>[1] {
    const { store } = this.#options;
    const away: IndexedActor[] = [];
    const actors: IndexedActor[] = [];
    for (const actor of this.system.actors.values()) {
      const { address, machine, checkpointSeq: seq, resident } = actor;
      if (actor.stopped && actor.firstDirtyLsn === 0) {
        // Its checkpoint says so, unless its folder is away: should that come back, records are missing.
        const isAway =
          address === cellAddress(homeCell(address)) && !store.hasCell(homeCell(address));
        if (isAway) away.push({ address, machine, seq: actor.seq, busy: false, stopped: true });
        continue;
      }
      if (actor.checkpointSeq === 0) continue;
      actors.push({
        address,
        machine,
        seq,
        busy: resident !== undefined && isBusy(resident.state.invokes),
      });
    }
    actors.push(...away.slice(-MAX_AWAY));
    return { format: 1, lsn, ...this.system.clock.now(), actors, timers: this.system.timers.all() };
  }

  async #keepUp(): Promise<void> {
    if (this.#closed || this.system.failure) return;
    const { up } = this.system.clock.now();
    this.#boundJournal();
    const { idleMs = 60_000, checkpointIntervalMs = 300_000, uptimeFile, log } = this.#options;
    try {
      await writeWhole(uptimeFile, `${JSON.stringify(this.system.clock.now())}\n`, {
        sync: false,
        what: 'uptime',
      });
      if ((this.#journal?.segments().filter((s) => s.closed).length ?? 0) > 0) await this.compact();
      for (const actor of this.system.actors.values()) {
        const { resident } = actor;
        if (resident === undefined || actor.hold) continue;
        const idle = up - resident.activeAt;
        if (idle >= idleMs && !isBusy(resident.state.invokes)) await this.#passivate(actor);
        else if (actor.firstDirtyLsn > 0 && up - resident.checkpointedAt >= checkpointIntervalMs)
          await this.#checkpointOrKeep(actor);
      }
    } catch (error) {
      log.warn({ error: String(error) }, 'upkeep failed; it is tried again');
    }
  }

  /** K2. */
  #boundJournal(): void {
    const { journalBound = 1 << 30 } = this.#options;
    const bytes = this.journalBytes();
    this.system.closeDoors(
      bytes > journalBound
        ? `the journal has ${bytes} bytes, above its bound of ${journalBound}; checkpoints have to catch up`
        : undefined,
    );
  }

  /** K3. */
  async #passivate(actor: Actor): Promise<void> {
    await this.#checkpoint(actor);
    const { resident } = actor;
    if (resident && actor.firstDirtyLsn === 0 && resident.uncommitted === 0)
      actor.resident = undefined;
  }

  /** Passivates every idle actor now (benches and tests; upkeep does the same in time). */
  async passivateIdle(): Promise<void> {
    await inParallel([...this.system.actors.values()], async (actor) => {
      if (actor.resident && !actor.hold && !isBusy(actor.resident.state.invokes))
        await this.#passivate(actor);
    });
  }

  #tryWake(actor: Actor): void {
    try {
      this.system.wake(actor);
    } catch (error) {
      if (!(error instanceof RuntimeError)) throw error; // ACTOR_HELD and ACTOR_UNKNOWN are on record already
    }
  }

  // ---- journal failure (DESIGN 4, S5) ------------------------------------------------------------------------------

  #failed(error: Error): void {
    this.#options.log.warn(
      { error: error.message },
      'the journal cannot be written: the node is held',
    );
    for (const actor of this.system.onFailure(error)) this.#lost.add(actor);
    this.#scheduleReopen();
  }

  #scheduleReopen(): void {
    if (this.#closed) return;
    this.#reopening = setTimeout(() => void this.#tryReopen(), REOPEN_MS);
  }

  async #tryReopen(): Promise<void> {
    try {
      await this.#journal?.reopen();
    } catch (error) {
      this.#options.log.warn({ error: String(error) }, 'the journal still cannot be written');
      return this.#scheduleReopen();
    }
    const lost = [...this.#lost];
    this.#lost.clear();
    this.#rereadLost(lost);
    this.system.resumeAfterFailure();
    for (const actor of lost) if (this.system.has(actor.address)) this.#tryWake(actor);
    this.#options.log.info({ restored: lost.length }, 'the journal is open again');
  }

  /** What the disk says about the actors whose memory was ahead of it. */
  #rereadLost(lost: readonly Actor[]): void {
    const { actors } = findActors(this.#options);
    for (const actor of lost) {
      const durable = actors.get(actor.address);
      actor.resident = undefined;
      if (durable === undefined) {
        this.system.actors.delete(actor.address); // its first record here was lost with the batch
        this.adopt(actor.address); // unless it came with its cell from elsewhere
        continue;
      }
      const { seq, stopped, tail, machine, firstDirtyLsn, checkpointSeq } = durable;
      const newer = Math.max(actor.checkpointSeq, checkpointSeq);
      const durableSeq = Math.max(seq, newer);
      Object.assign(actor, {
        seq: durableSeq,
        stopped,
        tail,
        machine,
        firstDirtyLsn,
        checkpointSeq: newer,
      });
    }
  }
}

const EMPTY_DEDUPE = { senders: {}, streams: {}, ids: [], forgottenUpTo: 0 };

const isBusy = (invokes: Readonly<Record<string, { src: string; input: JsonValue }>>): boolean =>
  Object.values(invokes).some(({ src }) => src !== 'waitUntil');

/** The uptime file survives a killed process, so an idle node's running time counts too. */
function latestInstant(found: Instant, uptimeFile: string): Instant {
  try {
    const { at, up } = JSON.parse(readFileSync(uptimeFile, 'utf8')) as Partial<Instant>;
    return { at: Math.max(found.at, Number(at) || 0), up: Math.max(found.up, Number(up) || 0) };
  } catch {
    return found; // absent before the first upkeep; damaged: the journal's own times are good enough
  }
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const item = items[next] as T;
      next += 1;
      await work(item);
    }
  };
  await Promise.all(Array.from({ length: Math.min(WIDTH, items.length) }, worker));
}

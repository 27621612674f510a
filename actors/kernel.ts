/**
 * The actor system together with its journal: how it opens on a folder, and how it closes. What it does in between to keep
 * a restart short is upkeep.ts, what it does after a failed write reopening.ts.
 *
 * K1 Nothing is taken before recovery knows what is missing, and that is durable: losses.ts.
 * K2 A clean stop leaves everything in the cells' own folders that they can take; `unsaved` names the cells that could not.
 */
import { mkdirSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Journal } from '../cells/journal.ts';
import type { JournalOptions } from '../cells/journal.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { Histogram } from '../machines/metrics.ts';
import { Actor } from './actor.ts';
import { startClock } from './clock.ts';
import type { ActorState } from './fold.ts';
import type { MachineRegistry } from './logic.ts';
import { judgeLosses } from './loss-accounting.ts';
import type { LossEvidence } from './loss-accounting.ts';
import { markLost } from './losses.ts';
import { findActors } from './recovery.ts';
import type { Found } from './recovery.ts';
import { decodeRecord } from './records.ts';
import { Reopening } from './reopening.ts';
import { Restorer } from './restorer.ts';
import { ActorSystem } from './system.ts';
import type { Limits, SystemLog } from './system.ts';
import { Upkeep } from './upkeep.ts';
import type { UpkeepOptions } from './upkeep.ts';
import { UptimeFile } from './uptime-file.ts';

export interface KernelOptions extends UpkeepOptions {
  registry: MachineRegistry;
  /** See uptime-file.ts. */
  uptimeFile: string;
  nodeId: string;
  /** Makes a higher epoch than the given one durable and returns it. */
  raiseEpoch(atLeast: number): Promise<number>;
  log: SystemLog;
  limits?: Partial<Limits>;
  segmentBytes?: number;
  journalIo?: JournalOptions['io'];
  /** Called before an actor of a cell is brought into memory, and so before it may write records. */
  beforeWake?: (address: string) => void;
  /** Called once, with the actors that are known, before any of their folders is looked at. */
  placeCells?: (addresses: readonly string[]) => void;
  /** See loss-accounting.ts; asked only when the journal is damaged. */
  uncleanCells?: LossEvidence['uncleanCells'];
}

export class Kernel {
  readonly system: ActorSystem;
  readonly found: Found;
  readonly #options: KernelOptions;
  readonly #restorer: Restorer;
  readonly #reopening: Reopening;
  #journal: Journal | undefined;
  #parts: { upkeep: Upkeep; uptime: UptimeFile } | undefined;
  #closed = false;
  #wokenAll: Promise<void> = Promise.resolve();

  private constructor(options: KernelOptions, found: Found, epoch: number) {
    this.#options = options;
    this.found = found;
    const { registry, store, journalFolder, log } = options;
    this.#restorer = new Restorer({
      registry,
      store,
      journalFolder,
      log: (message, fields) => log.warn(fields, message),
      beforeWake: options.beforeWake ?? (() => undefined),
      onUnsound: (actor, how) => void this.#renewCheckpoint(actor, how),
    });
    this.system = new ActorSystem({
      registry,
      log,
      epoch,
      clock: startClock(this.found.latest),
      ...(options.limits ? { limits: options.limits } : {}),
      restore: (actor) => this.#restorer.restore(this.system, actor),
      peek: (actor) => this.#restorer.peek(actor),
      lookUp: (address) => this.adopt(address),
    });
    this.#reopening = new Reopening({
      system: this.system,
      journal: () => this.#journal,
      log,
      durable: () => findActors(options).actors,
      adopt: (address) => this.adopt(address),
      wake: (actor) => this.#tryWake(actor),
    });
    for (const [address, actor] of this.found.actors) this.system.actors.set(address, actor);
  }

  /** Accepts events when it resolves; actors with work pending are woken by `wakeBusy`. */
  static async open(options: KernelOptions): Promise<Kernel> {
    mkdirSync(options.journalFolder, { recursive: true });
    const found = findActors(options);
    const living = [...found.actors.values()].filter(({ stopped }) => !stopped);
    options.placeCells?.(living.map(({ address }) => address));
    const bad = judgeLosses(found, options);
    await found.losses.save(); // K1
    const epoch = await options.raiseEpoch(found.journal.lastEpoch);
    const kernel = new Kernel(options, found, epoch);
    await kernel.#open();
    kernel.#tellDamage(bad);
    return kernel;
  }

  async #open(): Promise<void> {
    const { system, found } = this;
    const { nodeId: node, journalFolder: folder, segmentBytes, journalIo, log } = this.#options;
    const journal = await Journal.open(
      {
        folder,
        node,
        epoch: system.epoch,
        ...(segmentBytes === undefined ? {} : { segmentBytes }),
        ...(journalIo === undefined ? {} : { io: journalIo }),
        onCommit: ({ lastLsn }) => system.onCommit(lastLsn),
        onFailure: (error) => this.#reopening.failed(error),
        onRoll: () => void this.#parts?.uptime.write(),
      },
      found.journal,
    );
    this.#journal = journal;
    const parts = { clock: system.clock, journal, log, begin: found.begin };
    const uptime = new UptimeFile(this.#options.uptimeFile, parts);
    const { losses, index } = found;
    const { copied = 0 } = index;
    const upkeep = new Upkeep(this.#options, { system, journal, uptime, losses, copied });
    this.#parts = { upkeep, uptime };
    system.attachJournal(journal);
    for (const timer of found.index.timers) {
      const actor = system.actors.get(timer.address);
      if (actor && actor.tail === undefined) system.timers.arm(timer);
    }
    system.on('released', (address) => {
      this.#accepted(address).catch((error: unknown) => {
        log.warn({ address, error: String(error) }, 'an accepted loss is not noted yet');
      });
    });
    await uptime.write();
    upkeep.start();
  }

  /** Once for each region. */
  #tellDamage(regions: Found['journal']['corrupt']): void {
    const { log } = this.#options;
    const { losses, journal } = this.found;
    for (const place of journal.mended)
      log.warn({ ...place }, 'one bit of the journal had turned; it is read as it was written');
    for (const { region, actors, unaccounted } of losses.verdicts) {
      if (!regions.includes(region)) continue;
      const held = Object.keys(actors);
      const fields = { ...region, unaccounted, held: held.length, actors: held.slice(0, 20) };
      log.warn(fields, 'journal has a bad region; actors with a gap are held, and those named');
    }
  }

  async #accepted(address: string): Promise<void> {
    await this.system.settled();
    this.found.losses.accepted(address);
    await this.found.losses.save();
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
      const lost = this.found.losses.ofUnknown(address, stored?.checkpoint.seq ?? 0);
      if (lost) {
        this.#options.log.warn({ address }, 'an actor of this name may be lost');
        markLost(actor, stored === undefined ? { ...lost, isUnknown: true } : lost);
      }
      if (stored === undefined) {
        if (lost) return actor;
        this.system.actors.delete(address);
        return undefined;
      }
      const { machine, version, seq, stopped } = stored.checkpoint;
      actor.machine = `${machine}@${version}`;
      actor.checkpointSeq = seq;
      actor.seq = Math.max(actor.seq, seq);
      actor.stopped = stopped === true && lost === undefined;
      const copy = this.#options.store.readCopy(address, seq);
      if (copy.length > 0) {
        actor.tail = copy;
        actor.seq = Math.max(actor.seq, decodeRecord(copy.at(-1) as string).n);
      }
      this.system.expectJump(actor);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.system.holdActor(actor, { code: 'CHECKPOINT_CORRUPT', reason });
    }
    return actor;
  }

  /**
   * An actor that was stopped because its folder was gone lives on: the folder is back. False, and it stays stopped, when
   * its newest records are not to be had any more. `amend`: what holds now and is not in its records. Its memory is there
   * when the call returns, and it goes live when that is durable.
   */
  async bringBack(
    address: string,
    from: 'journal' | 'folder',
    amend: (state: ActorState) => void = () => {},
  ): Promise<boolean> {
    const actor = this.system.actors.get(address);
    if (!actor?.stopped) return actor !== undefined;
    const state = this.#restorer.foldReturned(actor, from);
    if (state === undefined) return false;
    amend(state);
    await this.system.bringBack(actor, state);
    return true;
  }

  /** Durable checkpoint of the actor's present state. */
  checkpoint(address: string): Promise<void> {
    const actor = this.system.actors.get(address);
    if (actor === undefined)
      throw new RuntimeError(`no actor lives at ${address}`, { code: 'ACTOR_UNKNOWN' });
    return this.#upkeep.checkpoint(actor);
  }

  /** The last record that is on disk: readers of the journal's files show nothing beyond it (P1). */
  committedLsn(): number {
    return this.#journal?.committedLsn ?? 0;
  }

  /** In seconds, of the commits of this life; undefined before it is open. */
  syncTimes(): Histogram | undefined {
    return this.#journal?.syncTimes;
  }

  /** Records from there on stay in the journal, up to a bound, though the actors need them no more (outbox.ts). */
  keepFor(wantedFrom: () => number): void {
    this.#upkeep.keepFor(wantedFrom);
  }

  /** Bytes the journal occupies. */
  journalBytes(): number {
    return this.#upkeep.journalBytes();
  }

  /** Upkeep does the same in time. */
  compact(): Promise<void> {
    return this.#upkeep.compact();
  }

  passivateIdle(): Promise<void> {
    return this.#upkeep.passivateIdle();
  }

  /** K2. */
  unsaved(): Set<string> {
    return this.#upkeep.unsaved();
  }

  /** Clean stop: effects aborted, everything checkpointed, the journal closed. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#end();
    await this.#wokenAll;
    await this.system.effects.close();
    if (this.system.failure === undefined) {
      await this.system.settled();
      await this.#upkeep.finish().catch((error: unknown) => {
        this.#options.log.warn({ error: String(error) }, 'not all could be tidied at the stop');
      });
    }
    await this.#journal?.close();
    await this.#parts?.uptime.write({ closed: this.system.failure === undefined });
  }

  /** Ends at once and leaves on disk what a killed process leaves: for a stop that must not wait. */
  async halt(): Promise<void> {
    this.#end();
    this.system.removeAllListeners();
    await this.system.effects.close();
  }

  #end(): void {
    this.#closed = true;
    this.#parts?.upkeep.stop();
    this.#reopening.stop();
    this.system.timers.stop();
  }

  get #upkeep(): Upkeep {
    if (this.#parts === undefined) throw new Error('the kernel is not open yet');
    return this.#parts.upkeep;
  }

  /** At once, for the records that gave the state are not kept for ever. A stop does it for those that are left (K2). */
  async #renewCheckpoint(actor: Actor, how: string): Promise<void> {
    const { address } = actor;
    await nextTurn();
    if (this.#closed) return;
    try {
      this.system.wake(actor);
      await this.#upkeep.checkpoint(actor);
      this.system.emit('mended', address, how);
    } catch (error) {
      const fields = { address, error: String(error) };
      this.#options.log.warn(fields, 'a damaged checkpoint is not written anew yet');
    }
  }

  #tryWake(actor: Actor): void {
    try {
      this.system.wake(actor);
    } catch (error) {
      if (!(error instanceof RuntimeError)) throw error; // ACTOR_HELD and ACTOR_UNKNOWN are on record already
    }
  }
}

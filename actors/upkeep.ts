/**
 * What a node does every few seconds so that a restart has little to read, and at a clean stop so that it has nothing.
 *
 * U1 The journal is bounded: above `journalBound` bytes the doors answer BUSY until compaction has caught up (P8).
 * U2 Idle actors leave memory; an actor that works has a checkpoint no older than `checkpointIntervalMs`.
 */
import type { Journal } from '../cells/journal.ts';
import type { Actor } from './actor.ts';
import { ActorCheckpoints } from './actor-checkpoints.ts';
import { Compaction, WIDTH } from './compaction.ts';
import type { CompactionOptions } from './compaction.ts';
import { inParallel } from './in-parallel.ts';
import type { Losses } from './losses.ts';
import { hasEffects } from './records.ts';
import type { ActorSystem } from './system.ts';
import type { UptimeFile } from './uptime-file.ts';

export interface UpkeepOptions extends CompactionOptions {
  /** Between two rounds, ms. Default 5000. */
  upkeepMs?: number;
  /** Default 1 GiB. */
  journalBound?: number;
  /** An actor idle for so long leaves memory, ms. Default 60,000; Infinity: never. */
  idleMs?: number;
  /** Oldest a working actor's checkpoint may be, ms. Default 300,000. */
  checkpointIntervalMs?: number;
}

interface Parts {
  system: ActorSystem;
  journal: Journal;
  uptime: UptimeFile;
  losses: Losses;
  /** Records up to this lsn are in the copies of all cells. */
  copied: number;
}

export class Upkeep {
  readonly #options: UpkeepOptions;
  readonly #system: ActorSystem;
  readonly #journal: Journal;
  readonly #uptime: UptimeFile;
  readonly #checkpoints: ActorCheckpoints;
  readonly #compaction: Compaction;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: UpkeepOptions, parts: Parts) {
    this.#options = options;
    this.#system = parts.system;
    this.#journal = parts.journal;
    this.#uptime = parts.uptime;
    const { system } = parts;
    const checkpoints = new ActorCheckpoints({ ...options, system });
    this.#checkpoints = checkpoints;
    this.#compaction = new Compaction(options, { ...parts, checkpoints });
  }

  start(): void {
    const { upkeepMs = 5000 } = this.#options;
    this.#timer = setInterval(() => void this.#keepUp(), upkeepMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Compacts what stands in closed segments. */
  async compact(): Promise<void> {
    const last = this.#journal.segments().findLast((segment) => segment.closed);
    if (last !== undefined) await this.#compaction.run(last.lastLsn);
  }

  /**
   * At a clean stop: everything that can be is in the cells' folders when it resolves. On a full disk the space that the
   * journal kept for itself is what the checkpoints go to, and an old segment that cannot be closed just stays.
   */
  async finish(): Promise<void> {
    await this.#compaction.settled();
    this.#journal.giveUpReserve();
    await this.#journal.roll().catch((error: unknown) => {
      if (this.#system.failure) throw error;
      this.#options.log.warn({ error: String(error) }, 'the last journal segment stays as it is');
    });
    await this.#system.settled();
    await this.#compaction.run(this.#journal.committedLsn);
  }

  /** See Compaction. */
  unsaved(): Set<string> {
    return this.#compaction.unsaved();
  }

  /** Bytes the journal occupies. */
  journalBytes(): number {
    return this.#journal.segments().reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** See Compaction, C4. */
  keepFor(wantedFrom: () => number): void {
    this.#compaction.keepFor(wantedFrom);
  }

  checkpoint(actor: Actor): Promise<void> {
    return this.#checkpoints.write(actor);
  }

  /** Passivates every idle actor now (benches and tests; upkeep does the same in time). */
  passivateIdle(): Promise<void> {
    return inParallel([...this.#system.actors.values()], WIDTH, (actor) =>
      this.#checkpoints.passivate(actor),
    );
  }

  async #keepUp(): Promise<void> {
    if (this.#system.failure) return;
    const { up } = this.#system.clock.now();
    this.#boundJournal();
    const { idleMs = 60_000, checkpointIntervalMs = 300_000, log } = this.#options;
    try {
      await this.#uptime.write();
      if (this.#journal.segments().some((segment) => segment.closed)) await this.compact();
      for (const actor of this.#system.actors.values()) {
        const { resident } = actor;
        if (resident === undefined || actor.hold) continue;
        const idle = up - resident.activeAt;
        if (idle >= idleMs && !hasEffects(resident.state.invokes))
          await this.#checkpoints.passivate(actor);
        else if (actor.firstDirtyLsn > 0 && up - resident.checkpointedAt >= checkpointIntervalMs)
          await this.#checkpoints.writeOrKeep(actor);
      }
    } catch (error) {
      log.warn({ error: String(error) }, 'upkeep failed; it is tried again');
    }
  }

  /** U1. */
  #boundJournal(): void {
    const { journalBound = 1 << 30 } = this.#options;
    const bytes = this.journalBytes() - this.#compaction.bytesForOthers();
    this.#system.closeDoors(
      bytes > journalBound
        ? `the journal has ${bytes} bytes, above its bound of ${journalBound}; checkpoints have to catch up`
        : undefined,
    );
  }
}

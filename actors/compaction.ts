/**
 * Moving history out of the shared journal: into checkpoints, the cells' copies of their records and the node's index; then
 * the segments that these cover are dropped.
 *
 * C1 A segment is dropped only when every actor with records in it has a durable checkpoint past them and every cell has
 *    its own copy of them (order: checkpoints, copies, index, drop; each step can be repeated after a crash).
 * C2 A cell whose folder takes no copy or no checkpoint keeps its records in the journal and holds nobody else up.
 * C3 Only what has not been copied yet is read again, and a part of it at a time: what long events or a long wait have
 *    gathered never lies in memory at once (P8).
 * C4 Segments that nobody here needs any more stay for the bus, up to `outboxBound` bytes; above that the oldest go (outbox.ts X3).
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Journal } from '../cells/journal.ts';
import { readSegments } from '../cells/journal-reader.ts';
import type { SegmentInfo } from '../cells/journal-reader.ts';
import { cellAddress, homeCell } from '../machines/addresses.ts';
import type { CopyRecord } from '../machines/persisted.ts';
import type { Actor } from './actor.ts';
import type { ActorCheckpoints } from './actor-checkpoints.ts';
import { inParallel } from './in-parallel.ts';
import type { Losses } from './losses.ts';
import { writeNodeIndex } from './node-index.ts';
import type { IndexedActor, NodeIndex } from './node-index.ts';
import { hasEffects } from './records.ts';
import type { ActorStore } from './store.ts';
import type { ActorSystem, SystemLog } from './system.ts';
import type { UptimeFile } from './uptime-file.ts';

export interface CompactionOptions {
  store: ActorStore;
  journalFolder: string;
  indexFile: string;
  log: SystemLog;
  /** C4. Default 1 GiB. */
  outboxBound?: number;
}

interface Parts {
  system: ActorSystem;
  journal: Journal;
  checkpoints: ActorCheckpoints;
  uptime: UptimeFile;
  losses: Losses;
  /** Records up to this lsn are in the copies of all cells. */
  copied: number;
}

/** C3. */
interface Part {
  byCell: Map<string, CopyRecord[]>;
  chars: number;
}

/** Removed cells that are remembered. */
const MAX_AWAY = 1000;
/** C3: of a part, in characters. */
const COPY_CHARS = 8 << 20;
/** Checkpoints, or copies, written at once. */
export const WIDTH = 8;

export class Compaction {
  readonly #options: CompactionOptions;
  readonly #parts: Parts;
  readonly #system: ActorSystem;
  #running: Promise<void> | undefined;
  #copied: number;
  /** The first record that others than we still want. */
  #wantedFrom: () => number = () => Infinity;
  /** The first record that is needed here. */
  #neededFrom = 0;
  /** Cells that have not taken their copy, with the lsn from which it is missing. */
  readonly #behind = new Map<string, number>();

  constructor(options: CompactionOptions, parts: Parts) {
    this.#options = options;
    this.#parts = parts;
    this.#system = parts.system;
    this.#copied = parts.copied;
  }

  /** Resolves when none is under way. */
  async settled(): Promise<void> {
    await this.#running?.catch(() => undefined); // its error was told where it was started
  }

  /** Of everything up to that lsn, which is durable. */
  run(upTo: number): Promise<void> {
    this.#running ??= this.#run(upTo).finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** Cells with an actor whose state is in the journal alone. What only history lacks does not keep them from moving. */
  unsaved(): Set<string> {
    const cells = new Set<string>();
    for (const { address, hold, lost, firstDirtyLsn, isUnsound } of this.#system.actors.values())
      if (hold || lost || isUnsound || firstDirtyLsn > 0) cells.add(homeCell(address));
    return cells;
  }

  async #run(upTo: number): Promise<void> {
    const isBehind = ({ firstDirtyLsn, isUnsound, hold }: Actor): boolean =>
      ((firstDirtyLsn > 0 && firstDirtyLsn <= upTo) || isUnsound) && hold === undefined;
    await inParallel([...this.#system.actors.values()].filter(isBehind), WIDTH, (actor) =>
      this.#parts.checkpoints.writeOrKeep(actor),
    );
    await this.#copyRecords(upTo);
    const keep = this.#oldestNeeded(upTo + 1);
    await this.#parts.losses.save(); // an index may name an actor that only a verdict holds
    await writeNodeIndex(this.#options.indexFile, this.#index(keep));
    this.#parts.uptime.begin = keep;
    await this.#parts.uptime.write();
    this.#neededFrom = keep;
    await this.#parts.journal.dropBefore(
      Math.max(this.#boundFrom(), Math.min(keep, this.#wantedFrom())),
    );
  }

  /** C4. */
  keepFor(wantedFrom: () => number): void {
    this.#wantedFrom = wantedFrom;
  }

  /** Bytes of the journal that are kept for others alone. */
  bytesForOthers(): number {
    return this.#forOthers().reduce((sum, { bytes }) => sum + bytes, 0);
  }

  #forOthers(): SegmentInfo[] {
    return this.#parts.journal
      .segments()
      .filter(({ closed, lastLsn }) => closed && lastLsn < this.#neededFrom);
  }

  /** C4: what stands before this goes although it is wanted. */
  #boundFrom(): number {
    const { outboxBound = 1 << 30 } = this.#options;
    let bytes = this.bytesForOthers();
    for (const segment of this.#forOthers()) {
      if (bytes <= outboxBound) return segment.firstLsn;
      bytes -= segment.bytes;
    }
    return 0;
  }

  /** Records that no checkpoint covers (of held actors, of failed writes) or that a folder did not take stay here. */
  #oldestNeeded(lsn: number): number {
    let oldest = Math.min(lsn, this.#parts.checkpoints.oldestUnderWay());
    for (const actor of this.#system.actors.values())
      if (actor.firstDirtyLsn > 0) oldest = Math.min(oldest, actor.firstDirtyLsn);
    for (const [cell, from] of this.#behind)
      if (this.#options.store.hasCell(cell)) oldest = Math.min(oldest, from);
    return oldest;
  }

  /** C3. Nothing moves in `#copied` and `#behind` but for cells that fail, until all parts are written. */
  async #copyRecords(upTo: number): Promise<void> {
    const [copied, behind] = [this.#copied, new Map(this.#behind)];
    const from = Math.min(copied + 1, ...behind.values());
    const failed = new Set<string>();
    let part: Part = { byCell: new Map(), chars: 0 };
    let since = performance.now();
    for (const { lsn, address, line } of readSegments(this.#options.journalFolder, {
      fromLsn: from,
    })) {
      if (lsn > upTo) break;
      const cell = homeCell(address);
      if (lsn <= copied && lsn < (behind.get(cell) ?? Infinity)) continue;
      if (failed.has(cell)) continue; // C2: its copy has no gaps
      const records = part.byCell.get(cell);
      if (records) records.push({ lsn, line });
      else part.byCell.set(cell, [{ lsn, line }]);
      part.chars += line.length;
      if (part.chars >= COPY_CHARS) {
        await this.#copyPart(part, failed);
        part = { byCell: new Map(), chars: 0 };
      }
      if (performance.now() - since > 10) {
        await nextTurn();
        since = performance.now();
      }
    }
    await this.#copyPart(part, failed);
    for (const cell of behind.keys()) if (!failed.has(cell)) this.#behind.delete(cell); // it has all, or was dropped since
    this.#copied = Math.max(copied, upTo);
  }

  /** C2. Cells that did not take theirs are behind from there on, and added to `failed`. */
  async #copyPart({ byCell }: Part, failed: Set<string>): Promise<void> {
    await inParallel([...byCell], WIDTH, async ([cell, records]) => {
      if (await this.#isCopied(cell, records)) return;
      this.#behind.set(cell, records[0]?.lsn ?? Infinity);
      failed.add(cell);
    });
  }

  /** A cell without a folder may get it back while its records are still here. */
  async #isCopied(cell: string, records: CopyRecord[]): Promise<boolean> {
    const { store, log } = this.#options;
    if (!store.hasCell(cell)) return false;
    try {
      await store.appendCopy(cell, records);
      return true;
    } catch (error) {
      log.warn({ cellId: cell, error: String(error) }, 'its copy of the journal not written');
      return false;
    }
  }

  #index(lsn: number): NodeIndex {
    const { store } = this.#options;
    const away: IndexedActor[] = [];
    const actors: IndexedActor[] = [];
    for (const actor of this.#system.actors.values()) {
      const { address, machine, checkpointSeq: seq, resident } = actor;
      if (actor.stopped && actor.firstDirtyLsn === 0) {
        // Its checkpoint says so, unless its folder is away: should that come back, records are missing.
        const isAway =
          address === cellAddress(homeCell(address)) && !store.hasCell(homeCell(address));
        if (isAway) away.push({ address, machine, seq: actor.seq, busy: false, stopped: true });
        continue;
      }
      if (actor.checkpointSeq === 0) continue;
      const busy = resident !== undefined && hasEffects(resident.state.invokes);
      actors.push({ address, machine, seq, busy });
    }
    actors.push(...away.slice(-MAX_AWAY));
    const copied = Math.min(this.#copied, ...[...this.#behind.values()].map((from) => from - 1));
    const now = this.#system.clock.now();
    return { format: 1, lsn, copied, ...now, actors, timers: this.#system.timers.all() };
  }
}

/**
 * After the journal failed (DESIGN 4; system.ts, S5): tries to open it again, and then brings the actors whose memory was
 * ahead of the disk back to what the disk says.
 */
import type { Journal } from '../cells/journal.ts';
import type { Actor } from './actor.ts';
import type { ActorSystem, SystemLog } from './system.ts';

interface Parts {
  system: ActorSystem;
  journal: () => Journal | undefined;
  log: SystemLog;
  /** Every actor as index and journal have it now. */
  durable(): ReadonlyMap<string, Actor>;
  /** Makes an actor known that came with its cell from elsewhere; see kernel.ts. */
  adopt(address: string): void;
  wake(actor: Actor): void;
}

const REOPEN_MS = 1000;

export class Reopening {
  readonly #parts: Parts;
  readonly #lost = new Set<Actor>();
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  failed(error: Error): void {
    const { system, log } = this.#parts;
    log.warn({ error: error.message }, 'the journal cannot be written: the node is held');
    for (const actor of system.onFailure(error)) this.#lost.add(actor);
    this.#schedule();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => void this.#try(), REOPEN_MS);
  }

  async #try(): Promise<void> {
    const { system, journal, log } = this.#parts;
    try {
      await journal()?.reopen();
    } catch (error) {
      log.warn({ error: String(error) }, 'the journal still cannot be written');
      return this.#schedule();
    }
    const lost = [...this.#lost];
    this.#lost.clear();
    this.#reread(lost);
    system.resumeAfterFailure();
    for (const actor of lost) if (system.has(actor.address)) this.#parts.wake(actor);
    log.info({ restored: lost.length }, 'the journal is open again');
  }

  /** What the disk says about the actors whose memory was ahead of it. */
  #reread(lost: readonly Actor[]): void {
    const { system } = this.#parts;
    const actors = this.#parts.durable();
    for (const actor of lost) {
      const found = actors.get(actor.address);
      actor.resident = undefined;
      if (found === undefined) {
        system.actors.delete(actor.address); // its first record here was lost with the batch
        this.#parts.adopt(actor.address); // unless it came with its cell from elsewhere
        continue;
      }
      const { stopped, tail, machine, firstDirtyLsn, lost: loss } = found;
      const checkpointSeq = Math.max(actor.checkpointSeq, found.checkpointSeq);
      const seq = Math.max(found.seq, checkpointSeq);
      Object.assign(actor, { seq, stopped, tail, machine, firstDirtyLsn, checkpointSeq });
      actor.lost = loss;
    }
  }
}

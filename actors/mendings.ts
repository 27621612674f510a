/**
 * What this life of the node found damaged on disk and mended by itself: nothing is lost, but somebody should look at the
 * disk. For the status; the mission's log has a line, too.
 */
import type { ActorSystem } from './system.ts';

export interface Mending {
  /** Address of the actor. */
  what: string;
  how: string;
  at: string;
}

/** The oldest ones are forgotten (P8): the log has them all. */
const MAX_KEPT = 100;

export class Mendings {
  readonly #list: Mending[] = [];

  constructor(system: ActorSystem, tell: (mending: Mending) => void) {
    system.on('mended', (what, how) => {
      const at = new Date(system.clock.now().at).toISOString();
      this.#list.push({ what, how, at });
      if (this.#list.length > MAX_KEPT) this.#list.shift();
      tell({ what, how, at });
    });
  }

  list(): Mending[] {
    return [...this.#list];
  }
}

/**
 * Which cells this life of the node has taken: marked in the cell before anything is journaled for it, and marked clean
 * again at a clean stop. A cell nobody wakes is never touched.
 */
import { SYSTEM_CELL_ID } from '../machines/addresses.ts';
import { removeCellLeftovers } from '../cells/leftovers.ts';
import { readOwner, writeOwner } from '../cells/owner.ts';
import type { CellPlaces } from './cell-places.ts';

export class CellOwnership {
  readonly #places: CellPlaces;
  readonly #nodeId: string;
  /** By cell: the epoch its record carries. */
  readonly #owned = new Map<string, number>();
  /** This life's fencing token; set once it is known, before any actor wakes. */
  epoch = 0;

  constructor(places: CellPlaces, nodeId: string) {
    this.#places = places;
    this.#nodeId = nodeId;
  }

  /** Durable when it returns. */
  take(cellId: string): void {
    if (this.#owned.has(cellId) || cellId === SYSTEM_CELL_ID) return;
    const dir = this.#places.folderOf(cellId);
    if (dir === undefined) return;
    const found = readOwner(dir);
    const before = found.kind === 'owner' ? found.owner : undefined;
    if (before?.clean !== true) removeCellLeftovers(dir);
    const epoch = Math.max(this.epoch, (before?.epoch ?? 0) + (before?.clean === false ? 0 : 1));
    if (before?.node !== this.#nodeId || before.clean || before.epoch < this.epoch)
      writeOwner(dir, { node: this.#nodeId, epoch, seq: before?.seq ?? 0, clean: false });
    this.#owned.set(cellId, epoch);
  }

  /** The cells taken: nothing of any other has changed in this life. */
  cells(): string[] {
    return [...this.#owned.keys()];
  }

  forget(cellId: string): void {
    this.#owned.delete(cellId);
  }

  /** Everything of these cells is in their own folders now; `seqOf`: the cell actor's last record; `up`: the node's clock. */
  release(seqOf: (cellId: string) => number | undefined, up: number): void {
    for (const [cellId, epoch] of this.#owned) {
      const dir = this.#places.folderOf(cellId);
      const seq = seqOf(cellId);
      if (dir === undefined || seq === undefined) continue;
      writeOwner(dir, { node: this.#nodeId, epoch, seq, clean: true, up });
    }
  }
}

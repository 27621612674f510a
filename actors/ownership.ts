/**
 * Which cells this life of the node has taken: marked in the cell before anything is journaled for it, and marked clean
 * again at a clean stop. A cell nobody wakes is never touched.
 *
 * W1 An actor of a cell that another node had meanwhile, or that was exported from here, does not wake: what is in this
 *    node's memory and journal is not what holds. The door (cell-door.ts) looks at the folder and says how it goes on.
 */
import { SYSTEM_CELL_ID } from '../machines/addresses.ts';
import { RuntimeError } from '../machines/errors.ts';
import { sealCopy } from '../cells/journal-copy.ts';
import { removeCellLeftovers } from '../cells/leftovers.ts';
import { isOwn, ownerProblem, readOwner, writeOwner } from '../cells/owner.ts';
import type { Owner } from '../cells/owner.ts';
import type { CellPlaces } from './cell-places.ts';

export class CellOwnership {
  readonly #places: CellPlaces;
  readonly #nodeId: string;
  /** By cell: the epoch its record carries. */
  readonly #owned = new Map<string, number>();
  /** Cells of which nothing may wake until the door takes them. */
  readonly #fenced = new Set<string>();
  /** This life's fencing token; set once it is known, before any actor wakes. */
  epoch = 0;

  constructor(places: CellPlaces, nodeId: string) {
    this.#places = places;
    this.#nodeId = nodeId;
  }

  /** For an actor of it that wakes. Durable when it returns. Throws RuntimeError ACTOR_HELD (W1). */
  take(cellId: string): void {
    if (this.#owned.has(cellId) || cellId === SYSTEM_CELL_ID) return;
    if (this.#fenced.has(cellId))
      throw this.#heldError(cellId, 'its folder is not (any more) here');
    const dir = this.#places.folderOf(cellId);
    if (dir === undefined) return;
    const found = readOwner(dir);
    if (!isOwn(found, this.#nodeId)) {
      const reason = ownerProblem(found, this.#nodeId) ?? 'another node ran it meanwhile';
      throw this.#heldError(cellId, reason);
    }
    this.#take(cellId, dir, found.kind === 'owner' ? found.owner : undefined);
  }

  /** For the door, which has seen to it that the cell may go on here. Durable when it returns. */
  takeOver(cellId: string): void {
    this.#fenced.delete(cellId);
    const dir = this.#places.folderOf(cellId);
    if (dir === undefined || this.#owned.has(cellId)) return;
    const found = readOwner(dir);
    const before = found.kind === 'owner' ? found.owner : undefined;
    if (before !== undefined && before.node !== this.#nodeId) sealCopy(dir);
    this.#take(cellId, dir, before);
  }

  owns(cellId: string): boolean {
    return this.#owned.has(cellId);
  }

  /** The cells taken: nothing of any other has changed in this life. */
  cells(): string[] {
    return [...this.#owned.keys()];
  }

  forget(cellId: string): void {
    this.#owned.delete(cellId);
  }

  /** W1: nothing of it wakes here until `takeOver`. */
  disown(cellId: string): void {
    this.#owned.delete(cellId);
    this.#fenced.add(cellId);
  }

  /** The record of a cell all of which is in its folder; `seq`: the cell actor's last record; `up`: the node's clock. */
  cleanRecord(cellId: string, { seq, up }: { seq: number; up: number }): Owner {
    const dir = this.#places.folderOf(cellId);
    const found = dir === undefined ? undefined : readOwner(dir);
    const before = found?.kind === 'owner' ? found.owner.epoch : 0;
    const epoch = this.#owned.get(cellId) ?? Math.max(this.epoch, before);
    return { node: this.#nodeId, epoch, seq, clean: true, up };
  }

  /** Everything of these cells is in their own folders now; `seqOf`: the cell actor's last record; `up`: the node's clock. */
  release(seqOf: (cellId: string) => number | undefined, up: number): void {
    for (const cellId of this.#owned.keys()) {
      const dir = this.#places.folderOf(cellId);
      const seq = seqOf(cellId);
      if (dir === undefined || seq === undefined) continue;
      writeOwner(dir, this.cleanRecord(cellId, { seq, up }));
    }
  }

  #take(cellId: string, dir: string, before: Owner | undefined): void {
    if (before?.clean !== true) removeCellLeftovers(dir);
    const epoch = Math.max(this.epoch, (before?.epoch ?? 0) + (before?.clean === false ? 0 : 1));
    const isMarked =
      before?.node === this.#nodeId &&
      !before.clean &&
      before.epoch >= this.epoch &&
      before.exported === undefined;
    const loss = before?.loss ? { loss: before.loss } : {};
    if (!isMarked)
      writeOwner(dir, { node: this.#nodeId, epoch, seq: before?.seq ?? 0, clean: false, ...loss });
    this.#owned.set(cellId, epoch);
  }

  #heldError(cellId: string, reason: string): RuntimeError {
    return new RuntimeError(`cell ${cellId} is held: ${reason}`, {
      code: 'ACTOR_HELD',
      hint: '`lazarus status` names what is wrong and what mends it.',
    });
  }
}

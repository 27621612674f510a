/** Where actors' states live at rest. cells/checkpoint.ts keeps them in the cells' folders; benches keep them in memory. */
import type { Checkpoint, CopyRecord, StoredCheckpoint } from '../machines/persisted.ts';

export interface ActorStore {
  /** The newest checkpoint whose hash holds; undefined when there is none. Throws CHECKPOINT_CORRUPT when all are bad. */
  readCheckpoint(address: string): StoredCheckpoint | undefined;
  /** Durable when resolved; keeps a few older ones. */
  writeCheckpoint(checkpoint: Checkpoint): Promise<void>;
  /** The cell's own copy of an actor's records with seq above `afterSeq`, in order. */
  readCopy(address: string, afterSeq: number): string[];
  /** Appends to a cell's own copy; durable when resolved. Records at or below the copy's last lsn are left out. */
  appendCopy(cellId: string, records: CopyRecord[]): Promise<void>;
  /** False when the cell's folder is gone: its records need not be kept for it. */
  hasCell(cellId: string): boolean;
}

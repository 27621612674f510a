/** The form in which an actor's state is kept: in checkpoints, in snapshot records, in a cell's folder. Types only. */
import type { JsonValue } from './json.ts';

/** An effect or timer that an actor waits for. */
export interface Invoke {
  src: string;
  input: JsonValue;
  /** Seq of the record that caused it: with address and invoke id, its idempotency key. */
  seq: number;
  /** A `started` record exists: it may have run. */
  started?: true;
}
export type Invokes = Readonly<Record<string, Invoke>>;

export interface DedupeState {
  senders: Record<string, [seq: number, n: number]>;
  streams: Record<string, [created: string, seq: number]>;
  ids: [id: string, at: number, seq: number][];
  /** Ids dated at or before this have been forgotten; 0 while none has been. */
  forgottenUpTo: number;
}

export interface SnapshotBody {
  snapshot: JsonValue;
  invokes: Invokes;
  dedupe: DedupeState;
}

export interface Checkpoint extends SnapshotBody {
  format: 1;
  address: string;
  /** `agent` */
  machine: string;
  version: number;
  /** Of the machine that wrote it; empty in the tombstone of a stopped actor. */
  definitionHash: string;
  seq: number;
  epoch: number;
  /** Epoch ms. */
  at: number;
  /** The actor was stopped for good at `seq`; kept so that a later actor of this name counts on from there. */
  stopped?: true;
}

export interface StoredCheckpoint {
  checkpoint: Checkpoint;
  /** True when the newest one was damaged and this is an older one: the whole tail since then is needed. */
  older: boolean;
}

/** A journal record on its way to the cell's own copy. */
export interface CopyRecord {
  lsn: number;
  line: string;
}

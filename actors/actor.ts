/** One known actor: what stays in memory of it always (`Actor`), and what only while it is awake (`Resident`). */
import { RuntimeError } from '../machines/errors.ts';
import type { ActorState } from './fold.ts';
import type { MachineSnapshot } from './logic.ts';
import { recordPrefix } from './records.ts';
import type { EventRecord, Invokes } from './records.ts';

export interface Hold {
  code: 'CHECKPOINT_CORRUPT' | 'JOURNAL_CORRUPT' | 'MACHINE_MISMATCH' | 'BUSY' | 'EVENT_REJECTED';
  reason: string;
}

/** What everyone outside may see: the state as of the last commit (P1). */
export interface Committed {
  seq: number;
  snapshot: MachineSnapshot;
  invokes: Invokes;
}

export class Resident {
  state: ActorState;
  committed: Committed;
  /** False until the first record of an actor that was just made is durable: nobody outside may see it before (P1). */
  isCommitted = true;
  /** Records applied or queued here that are not durable yet. */
  uncommitted = 0;
  /** Records since the last snapshot record or checkpoint, and their size. */
  tailRecords = 0;
  tailBytes = 0;
  snapshotBytes = 256;
  activeAt: number;
  /** On the active clock: its last checkpoint, or since when it is in memory. */
  checkpointedAt: number;
  /** Rate guard: what is left of the allowance for events that come from within. */
  allowance = Number.NaN;
  allowanceAt = 0;

  constructor(state: ActorState, activeAt: number) {
    this.state = state;
    this.committed = { seq: state.seq, snapshot: state.snapshot, invokes: state.invokes };
    this.activeAt = activeAt;
    this.checkpointedAt = activeAt;
  }
}

export class Actor {
  readonly address: string;
  readonly prefix: string;
  /** `agent@1`; empty until its first record is folded. */
  machine = '';
  /** Of its last journaled record. */
  seq = 0;
  checkpointSeq = 0;
  /** Lsn of its first record that no checkpoint covers; 0: all are covered. */
  firstDirtyLsn = 0;
  resident: Resident | undefined;
  /** Records read at start that are to be folded when it wakes. */
  tail: string[] | undefined;
  /** Its newest records, up to that seq, cannot be read any more, or may not be (losses.ts). */
  lost:
    | {
        upTo: number;
        reason: string;
        /** A person has said that it may go on from what is left. */
        accepted?: true;
        /** No record of it is known at all. */
        isUnknown?: true;
      }
    | undefined;
  hold: Hold | undefined;
  /** Records that came while it was held: in the journal, not yet applied. */
  backlog: EventRecord[] | undefined;
  /** Last committed state of an actor that was dropped because the journal failed; readers get this. */
  frozen: Committed | undefined;
  stopped = false;
  /** Stopped by a record that is not durable yet: readers see it as it was (P1). */
  stopping = false;
  checkpointing: Promise<void> | undefined;
  /** Its newest checkpoint on disk is damaged or gone, and its state was had all the same: a new one is due. */
  isUnsound = false;

  constructor(address: string) {
    this.address = address;
    this.prefix = recordPrefix(address);
  }

  /** Stopped, and durably so. */
  get isGone(): boolean {
    return this.stopped && !this.stopping;
  }

  /** Whether the outside may know of it. */
  get isShown(): boolean {
    return !this.isGone && this.resident?.isCommitted !== false;
  }

  heldError(): RuntimeError {
    return new RuntimeError(`${this.address} is held: ${this.hold?.reason ?? 'unknown reason'}`, {
      code: 'ACTOR_HELD',
      hint:
        this.hold?.code === 'JOURNAL_CORRUPT'
          ? `Put the damaged file back from a backup while no node runs, or go on without what is lost: \`lazarus cell release ${this.address}\`.`
          : 'Its records are kept. `lazarus status` names what is wrong.',
    });
  }
}

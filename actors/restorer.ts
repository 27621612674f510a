/**
 * From disk to a live actor: checkpoint and tail, when it wakes or somebody looks at it.
 *
 * R1 An actor is restored from its newest sound checkpoint plus every record after it. A hole is filled from the cell's own
 *    copy, and so is the place of checkpoints none of which is sound (refill.ts); what cannot be filled holds the actor with
 *    the reason, and only that actor.
 * R2 Whose newest checkpoint is no good and whose state was had all the same is told, once: a new one is due.
 * R3 Once a person has accepted a loss, what does not follow the state is left out, but for what came while it was held.
 */
import { readSegments } from '../cells/journal-reader.ts';
import { homeCell } from '../machines/addresses.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { StoredCheckpoint } from '../machines/persisted.ts';
import { Resident } from './actor.ts';
import type { Actor, Committed, Hold } from './actor.ts';
import { foldRecord, rejectedSeqs, stateFrom } from './fold.ts';
import type { ActorState } from './fold.ts';
import type { MachineRegistry, Output } from './logic.ts';
import type { Repost } from './messages.ts';
import { decodeRecord, isKeptLine, isSnapshotLine, seqOfLine } from './records.ts';
import type { JournalRecord } from './records.ts';
import { isBase, refill } from './refill.ts';
import type { Refilled } from './refill.ts';
import type { ActorStore } from './store.ts';
import type { ActorSystem } from './system.ts';

const OLDER_USED = 'newest checkpoint damaged, an older one is used';
const HOLE_FILLED = 'a hole behind the checkpoint was filled from the records of the cell';
const NONE_SOUND = 'no checkpoint sound: the state was had from the records';

export class Restorer {
  readonly #registry: MachineRegistry;
  readonly #store: ActorStore;
  readonly #journalFolder: string;
  readonly #log: (message: string, fields: Record<string, unknown>) => void;
  readonly #beforeWake: (address: string) => void;
  readonly #onUnsound: (actor: Actor, how: string) => void;

  constructor(options: {
    registry: MachineRegistry;
    store: ActorStore;
    journalFolder: string;
    log: (message: string, fields: Record<string, unknown>) => void;
    /** Called before an actor may write records of its own. */
    beforeWake: (address: string) => void;
    /** Called once for an actor whose newest checkpoint is no good and whose state was had all the same. */
    onUnsound?: (actor: Actor, how: string) => void;
  }) {
    this.#registry = options.registry;
    this.#store = options.store;
    this.#journalFolder = options.journalFolder;
    this.#log = options.log;
    this.#beforeWake = options.beforeWake;
    this.#onUnsound = options.onUnsound ?? (() => undefined);
  }

  /** What readers may see of an actor that is asleep. */
  peek(actor: Actor): Committed {
    const state = this.fold(actor);
    if (state === undefined)
      throw new RuntimeError(`no actor lives at ${actor.address}`, { code: 'ACTOR_UNKNOWN' });
    return { seq: state.seq, snapshot: state.snapshot, invokes: state.invokes };
  }

  /** R1. Brings an actor into memory, live. Throws ACTOR_HELD after holding it. */
  restore(system: ActorSystem, actor: Actor): Resident {
    const reposts: Repost[] = [];
    this.#beforeWake(actor.address);
    let state: ActorState | undefined;
    try {
      state = this.fold(actor, reposts);
    } catch (error) {
      system.holdActor(actor, toHold(error));
      throw actor.heldError();
    }
    if (state === undefined) {
      actor.stopped = true;
      throw new RuntimeError(`no actor lives at ${actor.address}`, { code: 'ACTOR_UNKNOWN' });
    }
    actor.seq = Math.max(actor.seq, state.seq);
    actor.machine = state.logic.id;
    actor.tail = undefined;
    actor.frozen = undefined;
    if (actor.lost?.accepted !== true) actor.lost = undefined; // the cell had what the journal has not
    const resident = new Resident(state, system.clock.now().up);
    actor.resident = resident;
    try {
      system.migrateActor(actor, resident);
    } catch (error) {
      actor.resident = undefined;
      system.holdActor(actor, toHold(error));
      throw actor.heldError();
    }
    system.goLive(actor, resident);
    system.repost(actor, reposts);
    return resident;
  }

  /** The state after the actor's last record; undefined when it was stopped. Reads alone, but for R2. */
  fold(actor: Actor, reposts: Repost[] = []): ActorState | undefined {
    const found = this.#checkpointOf(actor.address);
    if (found instanceof RuntimeError) return this.#foldRefilled(actor, found, reposts);
    const stored = found;
    const lines = actor.tail ?? (actor.firstDirtyLsn > 0 ? this.readTail(actor.address) : []);
    if (actor.lost) return this.#foldLost(actor.lost, { actor, stored, lines, reposts });
    const isGone = stored === undefined && actor.checkpointSeq > 0 && !beginsWithState(lines);
    if (isGone && this.#store.hasCell(homeCell(actor.address)))
      return this.#foldRefilled(actor, gone(actor), reposts);
    const older = stored?.older ? { older: stored.checkpoint.seq } : undefined;
    try {
      const state = notBehind(actor, this.#foldLines(stored, lines, reposts));
      if (older) this.#tellDamage(actor, OLDER_USED, older);
      return state;
    } catch (error) {
      if (!isGap(error)) throw error;
      const { state, from, to } = this.#refill(actor, reposts);
      this.#tellDamage(actor, older ? OLDER_USED : HOLE_FILLED, { ...older, from, to });
      return state;
    }
  }

  /** Without any checkpoint (R1). */
  #foldRefilled(actor: Actor, damage: RuntimeError, reposts: Repost[]): ActorState | undefined {
    try {
      const { state, from, to } = this.#refill(actor, reposts);
      const fields = { damage: damage.message, from, to };
      this.#tellDamage(actor, NONE_SOUND, fields);
      return state;
    } catch (error) {
      if (!(error instanceof RuntimeError)) throw error;
      const { message, details, hint } = damage;
      throw new RuntimeError(`${message}; ${error.message}`, {
        code: 'CHECKPOINT_CORRUPT',
        cause: error,
        details,
        ...(hint !== undefined && { hint }),
      });
    }
  }

  /** R1. From the checkpoint, if there is one, and all records that the cell and the journal have. */
  #refill(actor: Actor, reposts: Repost[]): Refilled {
    const { address, seq, checkpointSeq, tail } = actor;
    const found = this.#checkpointOf(address); // read anew: folding has used up what was read before
    const stored = found instanceof RuntimeError ? undefined : found;
    const lines = this.#withCopy(address, stored, tail ?? this.readTail(address));
    const newer = stored?.older ? stored.checkpoint.seq + 1 : 0; // the damaged one was newer
    const upTo = Math.max(seq, checkpointSeq, newer);
    const refilled = refill(this.#registry, lines, {
      start: stored && this.#fromCheckpoint(stored),
      upTo,
    });
    reposts.splice(0, Infinity, ...refilled.reposts);
    return refilled;
  }

  /** The error that it throws when none is sound. */
  #checkpointOf(address: string): StoredCheckpoint | RuntimeError | undefined {
    try {
      return this.#store.readCheckpoint(address);
    } catch (error) {
      if (error instanceof RuntimeError && error.code === 'CHECKPOINT_CORRUPT') return error;
      throw error;
    }
  }

  /** R2. */
  #tellDamage(actor: Actor, message: string, fields: Record<string, unknown>): void {
    if (actor.isUnsound) return;
    actor.isUnsound = true;
    this.#log(message, { address: actor.address, ...fields });
    this.#onUnsound(actor, message);
  }

  /** Its cell may have what the journal lost; else it is held, or goes on without (R3). */
  #foldLost(
    { upTo, reason, accepted }: NonNullable<Actor['lost']>,
    { actor, stored, lines, reposts }: FoldInput,
  ): ActorState | undefined {
    const all = this.#withCopy(actor.address, stored, lines);
    const own = all.filter((line) => !isKeptLine(line)).map(seqOfLine);
    if (!accepted && Math.max(stored?.checkpoint.seq ?? 0, ...own) < upTo)
      throw new RuntimeError(reason, { code: 'JOURNAL_CORRUPT' });
    return this.#foldLines(stored, all, reposts, accepted === true);
  }

  /**
   * The state of an actor that was stopped because its folder was gone, when the folder is back: as it was before the stop,
   * or, if another node had it meanwhile and left it clean, as the folder has it. undefined when records are missing.
   */
  foldReturned(actor: Actor, from: 'journal' | 'folder'): ActorState | undefined {
    const { address, seq: stoppedAt } = actor;
    const found = this.#checkpointOf(address);
    if (found instanceof RuntimeError && from === 'folder') throw found; // nothing tells how far it had come there
    const stored = found instanceof RuntimeError ? undefined : found;
    const ours = from === 'journal' ? this.readTail(address) : [];
    const lines = this.#withCopy(address, stored, ours).filter(
      (line) => from === 'folder' || decodeRecord(line).n < stoppedAt,
    );
    try {
      if (found instanceof RuntimeError)
        return refill(this.#registry, lines, { upTo: stoppedAt - 1 }).state;
      const state = this.#foldLines(stored, lines, []);
      return from === 'folder' || state?.seq === stoppedAt - 1 ? state : undefined;
    } catch (error) {
      if (isGap(error)) return undefined;
      throw error;
    }
  }

  /** The actor's records in the shared journal, from its last snapshot record on. */
  readTail(address: string): string[] {
    let lines: string[] = [];
    for (const record of readSegments(this.#journalFolder))
      if (record.address === address) {
        if (isSnapshotLine(record.line)) lines = [];
        lines.push(record.line);
      }
    return lines;
  }

  #foldLines(
    stored: StoredCheckpoint | undefined,
    lines: readonly string[],
    reposts: Repost[],
    skipsGaps = false,
  ): ActorState | undefined {
    let state = stored && this.#fromCheckpoint(stored);
    const after = stored?.checkpoint.seq ?? 0;
    const records = lines.map(decodeRecord).filter((record) => record.n > after);
    if (stored?.older && records.length === 0 && !skipsGaps)
      throw missing(stored.checkpoint.address, after);
    const rejected = rejectedSeqs(records);
    reposts.length = 0;
    for (const record of records) {
      if (skipsGaps && !follows(state, record)) {
        if (state === undefined || record.k !== undefined || record.b !== 1) continue; // R3
        state.seq = record.n - 1;
      }
      const outputs: Output[] = [];
      state = foldRecord(this.#registry, state, record, rejected, outputs);
      if (record.k === undefined && record.b === 1 && outputs.length > 0)
        reposts.push({ seq: record.n, outputs });
    }
    return state;
  }

  #fromCheckpoint({ checkpoint }: StoredCheckpoint): ActorState | undefined {
    if (checkpoint.stopped) return undefined;
    const { machine, version, definitionHash: hash, seq, snapshot, invokes, dedupe } = checkpoint;
    const body = { snapshot, invokes, dedupe };
    return stateFrom(this.#registry, { machine: `${machine}@${version}`, hash, seq, body });
  }

  /** Journal records and the cell's copy of them, each seq once. */
  #withCopy(
    address: string,
    stored: StoredCheckpoint | undefined,
    lines: readonly string[],
  ): string[] {
    const bySeq = new Map<number, string>();
    for (const line of [...this.#store.readCopy(address, stored?.checkpoint.seq ?? 0), ...lines])
      bySeq.set(decodeRecord(line).n, line);
    return [...bySeq].toSorted(([a], [b]) => a - b).map(([, line]) => line);
  }
}

/** A folder put back from an older copy must not take an actor back: that would be a return nobody asked for. */
function notBehind(actor: Actor, state: ActorState | undefined): ActorState | undefined {
  if (state === undefined || state.seq >= actor.checkpointSeq) return state;
  throw new RuntimeError(
    `its folder has it up to record ${state.seq} only, and this node had written record ${actor.checkpointSeq} there`,
    { code: 'JOURNAL_CORRUPT' },
  );
}

interface FoldInput {
  actor: Actor;
  stored: StoredCheckpoint | undefined;
  lines: readonly string[];
  reposts: Repost[];
}

/** Whether a record needs nothing but the state, or not even that. */
function follows(state: ActorState | undefined, record: JournalRecord): boolean {
  return isBase(record) || record.n === (state?.seq ?? Infinity) + 1;
}

const beginsWithState = ([first]: readonly string[]): boolean =>
  first !== undefined && isBase(decodeRecord(first));

const gone = ({ address }: Actor): RuntimeError =>
  new RuntimeError(`the checkpoint of ${address} is gone: the index knows it`, {
    code: 'CHECKPOINT_CORRUPT',
  });

function missing(address: string, after: number): RuntimeError {
  return new RuntimeError(`records of ${address} after ${after} are missing`, {
    code: 'JOURNAL_CORRUPT',
  });
}

const isGap = (error: unknown): boolean =>
  error instanceof RuntimeError && error.code === 'JOURNAL_CORRUPT';

function toHold(error: unknown): Hold {
  const reason = error instanceof Error ? error.message : String(error);
  const code = error instanceof RuntimeError ? error.code : undefined;
  if (code === 'MACHINE_MISMATCH' || code === 'CHECKPOINT_CORRUPT' || code === 'JOURNAL_CORRUPT')
    return { code, reason };
  return { code: 'EVENT_REJECTED', reason: `its records no longer fold: ${reason}` };
}

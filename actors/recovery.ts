/**
 * From disk to a live actor: node index + journal tail at start, checkpoint + tail for each actor when it wakes.
 *
 * R1 The node index is a cache of what every cell's checkpoints say, so that a start need not open 50,000 files. It is
 *    believed only with its hash; the journal from `lsn` on corrects it.
 * R2 An actor is restored from its newest sound checkpoint plus every record after it. A hole is filled from the cell's own
 *    copy; one that cannot be filled holds the actor with the reason, and only that actor.
 */
import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { recoverJournal, readSegments } from '../cells/journal-reader.ts';
import type { RecoveredJournal } from '../cells/journal-reader.ts';
import { writeWhole } from '../cells/durable.ts';
import { homeCell } from '../machines/addresses.ts';
import { RuntimeError } from '../machines/errors.ts';
import { Actor, Resident } from './actor.ts';
import type { Committed, Hold } from './actor.ts';
import type { Instant } from './clock.ts';
import { foldRecord, rejectedSeqs, stateFrom } from './fold.ts';
import type { ActorState } from './fold.ts';
import type { MachineRegistry, Output } from './logic.ts';
import { noteLosses } from './losses.ts';
import { decodeRecord, isSnapshotLine } from './records.ts';
import type { ActorStore } from './store.ts';
import type { StoredCheckpoint } from '../machines/persisted.ts';
import type { ActorSystem } from './system.ts';
import type { Timer } from './timers.ts';

export interface IndexedActor {
  address: string;
  machine: string;
  seq: number;
  /** It waits for effects, so it must be awake while the node runs. */
  busy: boolean;
  /** A cell whose folder was taken away; `seq` is that of its end. */
  stopped?: true;
}

export interface NodeIndex extends Instant {
  format: 1;
  /** Records from here on are not covered by the checkpoints the index speaks of. */
  lsn: number;
  actors: IndexedActor[];
  timers: Timer[];
}

const EMPTY_INDEX: NodeIndex = { format: 1, lsn: 0, at: 0, up: 0, actors: [], timers: [] };

export function readNodeIndex(path: string): { index: NodeIndex; problem: string | undefined } {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    return { index: EMPTY_INDEX, problem: missing ? undefined : String(error) };
  }
  const cut = text.indexOf('\n');
  if (cut < 0 || text.slice(0, cut) !== sha256(text.slice(cut + 1)))
    return { index: EMPTY_INDEX, problem: 'its hash does not match its content' };
  return { index: JSON.parse(text.slice(cut + 1)) as NodeIndex, problem: undefined };
}

export async function writeNodeIndex(path: string, index: NodeIndex): Promise<void> {
  const text = JSON.stringify(index);
  await writeWhole(path, `${sha256(text)}\n${text}`, { sync: true, mode: 0o600, what: 'index' });
}

const sha256 = (text: string): string => hash('sha256', text);

export interface Found {
  index: NodeIndex;
  indexProblem: string | undefined;
  journal: RecoveredJournal;
  actors: Map<string, Actor>;
  /** The latest times any record or the index carries. */
  latest: Instant;
}

/** Reads index and journal; folds nothing yet. Changes nothing on disk. */
export function findActors({
  indexFile,
  journalFolder,
}: {
  indexFile: string;
  journalFolder: string;
}): Found {
  const { index, problem } = readNodeIndex(indexFile);
  const actors = new Map<string, Actor>();
  for (const { address, machine, seq, stopped } of index.actors) {
    const actor = new Actor(address);
    actor.stopped = stopped === true;
    actor.machine = machine;
    actor.seq = seq;
    actor.checkpointSeq = stopped ? 0 : seq;
    actors.set(address, actor);
  }
  let lastLine = '';
  const journal = recoverJournal(journalFolder, {
    fromLsn: index.lsn,
    onRecord: ({ lsn, address, line }) => {
      let actor = actors.get(address);
      if (actor === undefined) actors.set(address, (actor = new Actor(address)));
      if (actor.firstDirtyLsn === 0) actor.firstDirtyLsn = lsn;
      if (actor.tail === undefined || isSnapshotLine(line)) actor.tail = [line];
      else actor.tail.push(line);
      lastLine = line;
    },
  });
  for (const actor of actors.values()) noteTail(actor);
  if (journal.corrupt.length > 0) noteLosses(actors, journal, journalFolder);
  const last = lastLine === '' ? undefined : decodeRecord(lastLine);
  const latest = { at: Math.max(index.at, last?.t ?? 0), up: Math.max(index.up, last?.u ?? 0) };
  return { index, indexProblem: problem, journal, actors, latest };
}

/** What the last record says without folding: the seq, and whether the actor was stopped. */
function noteTail(actor: Actor): void {
  const last = actor.tail?.at(-1);
  if (last === undefined) return;
  const record = decodeRecord(last);
  actor.seq = Math.max(actor.seq, record.n);
  actor.stopped = record.k === 'stopped';
  for (const line of actor.tail ?? []) {
    const machine = /"k":"(?:init|snapshot|migrated|rolled_back)","m":"([^"]+)"/.exec(
      line.slice(0, 600),
    );
    if (machine?.[1]) actor.machine = machine[1];
  }
}

export class Restorer {
  readonly #registry: MachineRegistry;
  readonly #store: ActorStore;
  readonly #journalFolder: string;
  readonly #log: (message: string, fields: Record<string, unknown>) => void;
  readonly #beforeWake: (address: string) => void;

  constructor(options: {
    registry: MachineRegistry;
    store: ActorStore;
    journalFolder: string;
    log: (message: string, fields: Record<string, unknown>) => void;
    /** Called before an actor may write records of its own. */
    beforeWake: (address: string) => void;
  }) {
    this.#registry = options.registry;
    this.#store = options.store;
    this.#journalFolder = options.journalFolder;
    this.#log = options.log;
    this.#beforeWake = options.beforeWake;
  }

  /** What readers may see of an actor that is asleep. */
  peek(actor: Actor): Committed {
    const state = this.fold(actor);
    if (state === undefined)
      throw new RuntimeError(`no actor lives at ${actor.address}`, { code: 'ACTOR_UNKNOWN' });
    return { seq: state.seq, snapshot: state.snapshot, invokes: state.invokes };
  }

  /** R2. Brings an actor into memory, live. Throws ACTOR_HELD after holding it. */
  restore(system: ActorSystem, actor: Actor): Resident {
    const reposts: { seq: number; outputs: Output[] }[] = [];
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
    for (const { seq, outputs } of reposts) system.repost(actor, seq, outputs);
    return resident;
  }

  /** The state after the actor's last record; undefined when it was stopped. Pure reading. */
  fold(actor: Actor, reposts: { seq: number; outputs: Output[] }[] = []): ActorState | undefined {
    const lines = actor.tail ?? (actor.firstDirtyLsn > 0 ? this.readTail(actor.address) : []);
    const stored = this.#store.readCheckpoint(actor.address);
    if (actor.lost && (stored?.checkpoint.seq ?? 0) < actor.lost.upTo)
      throw new RuntimeError(actor.lost.reason, { code: 'JOURNAL_CORRUPT' });
    const isGone = stored === undefined && lines.length === 0 && actor.checkpointSeq > 0;
    if (isGone && this.#store.hasCell(homeCell(actor.address)))
      throw new RuntimeError(`the checkpoint of ${actor.address} is gone: the index knows it`, {
        code: 'CHECKPOINT_CORRUPT',
      });
    if (stored?.older)
      this.#log('newest checkpoint damaged, an older one is used', { address: actor.address });
    try {
      return this.#foldLines(stored, lines, reposts);
    } catch (error) {
      if (!isGap(error)) throw error;
      return this.#foldLines(stored, this.#withCopy(actor.address, stored, lines), reposts);
    }
  }

  /**
   * The state of an actor that was stopped because its folder was gone, when the folder is back: as it was before the stop,
   * or, if another node had it meanwhile and left it clean, as the folder has it. undefined when records are missing.
   */
  foldReturned(actor: Actor, from: 'journal' | 'folder'): ActorState | undefined {
    const { address, seq: stoppedAt } = actor;
    const stored = this.#store.readCheckpoint(address);
    const ours = from === 'journal' ? this.readTail(address) : [];
    const lines = this.#withCopy(address, stored, ours).filter(
      (line) => from === 'folder' || decodeRecord(line).n < stoppedAt,
    );
    try {
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
    reposts: { seq: number; outputs: Output[] }[],
  ): ActorState | undefined {
    let state = stored && this.#fromCheckpoint(stored);
    const after = stored?.checkpoint.seq ?? 0;
    const records = lines.map(decodeRecord).filter((record) => record.n > after);
    if (stored?.older && records.length === 0) throw missing(stored.checkpoint.address, after);
    const rejected = rejectedSeqs(records);
    reposts.length = 0;
    for (const record of records) {
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

/**
 * From disk to a live actor: node index + journal tail at start, checkpoint + tail for each actor when it wakes.
 *
 * R1 What the node's index says of an actor (node-index.ts) is corrected by the journal from the index's lsn on.
 * R2 An actor is restored from its newest sound checkpoint plus every record after it. A hole is filled from the cell's own
 *    copy; one that cannot be filled holds the actor with the reason, and only that actor.
 * R3 Once a person has accepted a loss, what does not follow the state is left out, but for what came while it was held.
 */
import { dirname, join } from 'node:path';
import { recoverJournal, readSegments } from '../cells/journal-reader.ts';
import type { RecoveredJournal } from '../cells/journal-reader.ts';
import { homeCell } from '../machines/addresses.ts';
import { RuntimeError } from '../machines/errors.ts';
import { Actor, Resident } from './actor.ts';
import type { Committed, Hold } from './actor.ts';
import type { Instant } from './clock.ts';
import { foldRecord, rejectedSeqs, stateFrom } from './fold.ts';
import type { ActorState } from './fold.ts';
import type { MachineRegistry, Output } from './logic.ts';
import { Losses } from './losses.ts';
import { readNodeIndex } from './node-index.ts';
import type { NodeIndex } from './node-index.ts';
import { decodeRecord, isKeptLine, isSnapshotLine, seqOfLine } from './records.ts';
import type { Repost } from './messages.ts';
import type { JournalRecord } from './records.ts';
import type { ActorStore } from './store.ts';
import type { StoredCheckpoint } from '../machines/persisted.ts';
import type { ActorSystem } from './system.ts';
import { readUptime } from './uptime-file.ts';

export { readNodeIndex, writeNodeIndex } from './node-index.ts';
export type { IndexedActor, NodeIndex } from './node-index.ts';

export interface Found {
  index: NodeIndex;
  indexProblem: string | undefined;
  journal: RecoveredJournal;
  actors: Map<string, Actor>;
  /** The latest times that any record, the index or the uptime file carries. */
  latest: Instant;
  /** Where the journal must begin, at the latest; 0: not known. */
  begin: number;
  /** Verdicts of earlier starts; those about what is newly found bad are loss-accounting.ts's. */
  losses: Losses;
}

interface Places {
  indexFile: string;
  journalFolder: string;
  /** Default: beside the index. */
  uptimeFile?: string;
}

/** Reads index and journal; folds nothing yet. Changes nothing on disk. Call `judgeLosses` before an actor is folded. */
export function findActors(places: Places): Found {
  for (let tries = 1; ; tries += 1) {
    const found = readAll(places);
    if (found.journal.corrupt.length === 0 || tries >= 3) return found;
    // A node that runs may have dropped what an older index says should be there.
    if (readNodeIndex(places.indexFile).index.lsn === found.index.lsn) return found;
  }
}

function readAll({ indexFile, journalFolder, uptimeFile }: Places): Found {
  const { index, problem } = readNodeIndex(indexFile);
  const uptime = readUptime(uptimeFile ?? join(dirname(indexFile), 'uptime.json'));
  const begin = index.lsn > 0 ? index.lsn : (uptime?.begin ?? 0);
  const losses = new Losses(indexFile);
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
    begin,
    known: uptime?.journal,
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
  losses.mark(actors, journal);
  const last = lastLine === '' ? undefined : decodeRecord(lastLine);
  const latest = {
    at: Math.max(index.at, uptime?.at ?? 0, last?.t ?? 0),
    up: Math.max(index.up, uptime?.up ?? 0, last?.u ?? 0),
  };
  return { index, indexProblem: problem, journal, actors, latest, begin, losses };
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

  /** The state after the actor's last record; undefined when it was stopped. Pure reading. */
  fold(actor: Actor, reposts: Repost[] = []): ActorState | undefined {
    const lines = actor.tail ?? (actor.firstDirtyLsn > 0 ? this.readTail(actor.address) : []);
    const stored = this.#store.readCheckpoint(actor.address);
    if (actor.lost) return this.#foldLost(actor.lost, { actor, stored, lines, reposts });
    const isGone = stored === undefined && lines.length === 0 && actor.checkpointSeq > 0;
    if (isGone && this.#store.hasCell(homeCell(actor.address)))
      throw new RuntimeError(`the checkpoint of ${actor.address} is gone: the index knows it`, {
        code: 'CHECKPOINT_CORRUPT',
      });
    if (stored?.older)
      this.#log('newest checkpoint damaged, an older one is used', { address: actor.address });
    try {
      return notBehind(actor, this.#foldLines(stored, lines, reposts));
    } catch (error) {
      if (!isGap(error)) throw error;
      const all = this.#withCopy(actor.address, stored, lines);
      return notBehind(actor, this.#foldLines(stored, all, reposts));
    }
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
function follows(state: ActorState | undefined, { k, n }: JournalRecord): boolean {
  const standsAlone = k === 'init' || k === 'snapshot' || k === 'migrated' || k === 'rolled_back';
  return standsAlone || n === (state?.seq ?? Infinity) + 1;
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

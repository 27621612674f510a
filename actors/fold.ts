/**
 * The state of one actor and how records change it. Live running and recovery share every line of this file.
 *
 * F1 Folding the same records over the same start gives the same state, byte for byte (P2): nothing here reads a clock,
 *    a file or a random number.
 * F2 A record that was rejected changes nothing but the seq.
 */
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { Dedupe } from './dedupe.ts';
import type { Instant } from './clock.ts';
import type { MachineLogic, MachineRegistry, MachineSnapshot, Output } from './logic.ts';
import type { EventRecord, Invoke, Invokes, JournalRecord, SnapshotBody } from './records.ts';

export interface ActorState {
  logic: MachineLogic;
  snapshot: MachineSnapshot;
  /** Effects and timers the actor waits for, by invoke id. Replaced, never changed in place. */
  invokes: Invokes;
  dedupe: Dedupe;
  /** Of the last record folded in. */
  seq: number;
}

export const NO_INVOKES: Invokes = Object.freeze({});

export function initialState(
  logic: MachineLogic,
  { seq, input, now }: { seq: number; input: JsonObject; now: Instant },
  outputs: Output[],
): ActorState {
  const snapshot = logic.init({ ...input, at: now.at, up: now.up, seq }, outputs);
  const state = { logic, snapshot, invokes: NO_INVOKES, dedupe: new Dedupe(), seq };
  state.invokes = nextInvokes(state.invokes, outputs, seq);
  return state;
}

/** Throws what the machine throws; then `state` is as before, but for nothing. */
export function applyEvent(
  state: ActorState,
  { seq, event, now }: { seq: number; event: { type: string } & JsonObject; now: Instant },
  outputs: Output[],
): void {
  const stamped = { ...event, at: now.at, up: now.up, seq };
  const snapshot = state.logic.apply(state.snapshot, stamped, outputs);
  state.snapshot = snapshot;
  if (outputs.length > 0) state.invokes = nextInvokes(state.invokes, outputs, seq);
}

/** The set of pending effects and timers after `outputs`. An id that is left and entered again is a new effect. */
export function nextInvokes(invokes: Invokes, outputs: readonly Output[], seq: number): Invokes {
  let next: Record<string, Invoke> | undefined;
  for (const output of outputs) {
    if (output.kind === 'invoke') {
      next ??= { ...invokes };
      next[output.id] = { src: output.src, input: output.input, seq };
    } else if (output.kind === 'abort') {
      next ??= { ...invokes };
      delete next[output.id];
    }
  }
  return next ?? invokes;
}

/** What a checkpoint or a snapshot record holds of a state. Stringify at once: it shares structure with the state. */
export function snapshotBody(state: ActorState): SnapshotBody {
  return {
    snapshot: state.logic.persist(state.snapshot),
    invokes: state.invokes,
    dedupe: state.dedupe.toJSON(),
  };
}

/** Takes ownership of `body`. Throws RuntimeError CHECKPOINT_CORRUPT or MACHINE_MISMATCH. */
export function stateFrom(
  registry: MachineRegistry,
  { machine, hash, seq, body }: { machine: string; hash: string; seq: number; body: SnapshotBody },
): ActorState {
  const logic = registry.byId(machine);
  requireSameDefinition(logic, hash);
  return {
    logic,
    snapshot: logic.restore(body.snapshot),
    invokes: body.invokes,
    dedupe: Dedupe.restore(body.dedupe),
    seq,
  };
}

export function requireSameDefinition(logic: MachineLogic, hash: string): void {
  if (logic.hash !== hash)
    throw new RuntimeError(`${logic.id} has changed its definition without a new version`, {
      code: 'MACHINE_MISMATCH',
      hint: 'Run the build that wrote this state, or give the changed machine a new version and a migration.',
      details: { stored: hash, present: logic.hash },
    });
}

/** Seqs of the events that a `rejected` record takes back. */
export function rejectedSeqs(records: readonly JournalRecord[]): Set<number> {
  const seqs = new Set<number>();
  for (const record of records) if (record.k === 'rejected') seqs.add(record.of);
  return seqs;
}

/**
 * One record more; what it made the machine ask for goes to `outputs`. Returns the state, or undefined once the actor is stopped. Throws when the record does not follow the
 * state (a hole in the seq) or the machine throws on an event that was accepted when it was live.
 */
export function foldRecord(
  registry: MachineRegistry,
  state: ActorState | undefined,
  record: JournalRecord,
  rejected: ReadonlySet<number>,
  outputs: Output[] = [],
): ActorState | undefined {
  if (record.k === 'snapshot' || record.k === 'migrated' || record.k === 'rolled_back')
    return stateFrom(registry, {
      machine: record.m,
      hash: record.h,
      seq: record.n,
      body: record.e,
    });
  if (record.k === 'init') {
    const logic = registry.byId(record.m);
    requireSameDefinition(logic, record.h);
    const now = { at: record.t, up: record.u };
    const fresh = initialState(logic, { seq: record.n, input: record.e, now }, []);
    if (record.s) fresh.dedupe.recordSend(...record.s);
    return fresh;
  }
  if (state === undefined || record.n !== state.seq + 1)
    throw new RuntimeError(
      `records of ${record.a} between ${state?.seq ?? 0} and ${record.n} are missing`,
      {
        code: 'JOURNAL_CORRUPT',
        details: { address: record.a, after: state?.seq ?? 0, next: record.n },
      },
    );
  if (record.k === 'stopped') return undefined;
  if (record.k === undefined) foldEvent(state, record, rejected.has(record.n), outputs);
  else if (record.k === 'started' || record.k === 'settled')
    state.invokes = markInvoke(state.invokes, record);
  state.seq = record.n;
  return state;
}

function foldEvent(
  state: ActorState,
  record: EventRecord,
  isRejected: boolean,
  outputs: Output[],
): void {
  remember(state.dedupe, record, record.t);
  if (isRejected) return; // F2
  const now = { at: record.t, up: record.u };
  applyEvent(state, { seq: record.n, event: record.e, now }, outputs);
}

/** Dedupe remembers rejected events too: sending one again gives the same answer, not a second try. */
export function remember(
  dedupe: Dedupe,
  origin: Pick<EventRecord, 'n' | 'i' | 's' | 'x'>,
  at: number,
): void {
  if (origin.s) dedupe.recordSend(...origin.s);
  if (origin.i !== undefined) dedupe.recordId(origin.i, at, origin.n);
  if (origin.x)
    dedupe.recordStream({ stream: origin.x[0], created: origin.x[1], seq: origin.x[2] });
}

function markInvoke(
  invokes: Invokes,
  record: Extract<JournalRecord, { k: 'started' | 'settled' }>,
): Invokes {
  const invoke = invokes[record.v];
  if (invoke === undefined || invoke.seq !== record.of) return invokes;
  const { started: _, ...unstarted } = invoke;
  return {
    ...invokes,
    [record.v]: record.k === 'started' ? { ...unstarted, started: true } : unstarted,
  };
}

/** For comparing states in tests and `fsck`: the exact text a checkpoint would hold. */
export function stateText(state: ActorState): string {
  const body: JsonValue = snapshotBody(state) as unknown as JsonValue;
  return JSON.stringify({ machine: state.logic.id, seq: state.seq, body });
}

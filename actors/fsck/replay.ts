/**
 * Replay (P2): the records of each actor are folded, and wherever the runtime wrote its state down (a snapshot among the
 * records, a checkpoint) the fold must give the same text, byte for byte. A difference is a defect of the runtime or a
 * journal that was tampered with; no other check can see it.
 *
 * R1 Read-only and streaming: first each cell's copy, then the shared journal, one state an actor in memory, bounded.
 * R2 History written by another definition of a machine cannot be folded by this build: it is passed by, and counted.
 */
import { hash } from 'node:crypto';
import { readCellCopy } from '../../cells/journal-copy.ts';
import { readSegments } from '../../cells/journal-reader.ts';
import { homeCell } from '../../machines/addresses.ts';
import type { RunStepInput } from '../../machines/agent-effects.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { foldRecord, snapshotBody } from '../fold.ts';
import type { ActorState } from '../fold.ts';
import type { Output } from '../logic.ts';
import { decodeRecord, effectKey } from '../records.ts';
import type { JournalRecord } from '../records.ts';
import { hashArgv } from '../step-files.ts';
import type { KnownCheckpoints } from './checkpoints.ts';
import type { Findings } from './finding.ts';
import type { JournalFacts } from './journal.ts';
import type { World } from './world.ts';

/** By the key of its effect: SHA-256 of the argv of a step that the records asked for. */
export type StepArgv = Map<string, string>;

export interface Replayed {
  /** States compared and found equal. */
  compared: number;
  /** Actors of which some history could not be folded by this build, or was too much for memory. */
  passedBy: number;
  argv: StepArgv;
}

const MAX_STATES = 20_000;
const MAX_ARGV = 200_000;

export function checkReplay(
  world: World,
  findings: Findings,
  { checkpoints, facts }: { checkpoints: KnownCheckpoints; facts: JournalFacts },
): Replayed {
  const replay = new Replay(world, findings, checkpoints);
  for (const { dir } of world.cells) {
    const rejected = rejectedIn(dir, facts);
    for (const { address, line } of readCellCopy(dir)) replay.take(address, line, rejected);
  }
  for (const { lsn, address, line } of readSegments(world.layout.journal)) {
    if (lsn > world.toLsn) break;
    if (world.isChecked(address)) replay.take(address, line, facts.rejected);
  }
  return { compared: replay.compared, passedBy: replay.passedBy.size, argv: replay.argv };
}

/** A refusal may stand behind other records, so they are known before the fold begins. */
function rejectedIn(dir: string, { rejected }: JournalFacts): JournalFacts['rejected'] {
  const all = new Map(rejected);
  for (const { address, line } of readCellCopy(dir)) {
    if (!/^\{"a":"[^"]+","n":\d+,"p":\d+,"t":\d+,"u":\d+,"k":"rejected"/.test(line)) continue;
    const record = decodeRecord(line);
    if (record.k === 'rejected') all.set(address, new Set(all.get(address)).add(record.of));
  }
  return all;
}

const NONE: ReadonlySet<number> = new Set();

class Replay {
  compared = 0;
  readonly passedBy = new Set<string>();
  readonly argv: StepArgv = new Map();
  readonly #world: World;
  readonly #findings: Findings;
  readonly #checkpoints: KnownCheckpoints;
  readonly #states = new Map<string, ActorState>();

  constructor(world: World, findings: Findings, checkpoints: KnownCheckpoints) {
    this.#world = world;
    this.#findings = findings;
    this.#checkpoints = checkpoints;
  }

  take(address: string, line: string, rejected: ReadonlyMap<string, ReadonlySet<number>>): void {
    const record = decodeRecord(line);
    const state = this.#states.get(address);
    if (state && record.n <= state.seq) return; // the copy and the journal overlap
    if (record.k === 'snapshot') this.#compareSnapshot(state, record);
    const begins = isBase(record) || state?.seq === record.n - 1;
    if (!begins) return this.#forget(address);
    try {
      const outputs: Output[] = [];
      const next = foldRecord(
        this.#world.registry,
        state,
        record,
        rejected.get(address) ?? NONE,
        outputs,
      );
      this.#noteSteps(address, record.n, outputs);
      if (next === undefined) return this.#forget(address);
      this.#keep(address, next);
      this.#compareCheckpoints(address, next);
    } catch (error) {
      this.#forget(address);
      this.#failed(address, record, error);
    }
  }

  #compareSnapshot(state: ActorState | undefined, record: JournalRecord & { k: 'snapshot' }): void {
    if (state === undefined || state.seq !== record.n - 1) return;
    if (state.logic.id !== record.m || state.logic.hash !== record.h) return;
    if (JSON.stringify(snapshotBody(state)) === JSON.stringify(record.e)) {
      this.compared += 1;
      return;
    }
    this.#differs(record.a, `the snapshot at record ${record.n}`, record.a);
  }

  #compareCheckpoints(address: string, state: ActorState): void {
    for (const known of this.#checkpoints.get(address) ?? []) {
      if (known.seq !== state.seq || known.definitionHash !== state.logic.hash) continue;
      if (hash('sha256', JSON.stringify(snapshotBody(state))) === known.body) this.compared += 1;
      else this.#differs(address, `the checkpoint at record ${known.seq}`, known.path);
    }
  }

  #differs(address: string, what: string, where: string): void {
    this.#findings.add({
      severity: 'error',
      code: 'replay-differs',
      what: `folding the records of ${address} does not give ${what}`,
      where,
      means:
        'Replay and the live state differ (P2): after a crash the actor would not be what it was.',
      todo: 'Keep the folder and report it: this is a defect, or the files were changed by hand.',
      cell_id: homeCell(address),
    });
  }

  #failed(address: string, record: JournalRecord, error: unknown): void {
    const code = error instanceof RuntimeError ? error.code : undefined;
    if (code === 'MACHINE_MISMATCH') return void this.passedBy.add(address); // R2
    this.#findings.add({
      severity: 'error',
      code: 'replay-fails',
      what: `record ${record.n} of ${address} cannot be folded: ${error instanceof Error ? error.message : String(error)}`,
      where: address,
      means: 'It was accepted when it was live and is not now (P2).',
      todo: 'Keep the folder and report it.',
      cell_id: homeCell(address),
    });
  }

  #noteSteps(address: string, seq: number, outputs: readonly Output[]): void {
    for (const output of outputs) {
      if (output.kind !== 'invoke' || output.src !== 'runStep' || this.argv.size >= MAX_ARGV)
        continue;
      const { step } = output.input as unknown as RunStepInput;
      this.argv.set(effectKey(address, seq, output.id), hashArgv(step.run));
    }
  }

  /** R1: beyond the bound the state kept longest goes; what follows of that actor is passed by. */
  #keep(address: string, state: ActorState): void {
    this.#states.set(address, state);
    if (this.#states.size <= MAX_STATES) return;
    const oldest = this.#states.keys().next().value as string;
    this.#states.delete(oldest);
    this.passedBy.add(oldest);
  }

  #forget(address: string): void {
    this.#states.delete(address);
  }
}

const isBase = ({ k }: JournalRecord): boolean =>
  k === 'init' || k === 'snapshot' || k === 'migrated' || k === 'rolled_back';

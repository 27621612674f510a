/**
 * What is known to be lost, or may be: one verdict for each bad region of the journal, made once (loss-accounting.ts) and
 * kept beside the node's index until it is settled, also when the region itself is long gone.
 *
 * L1 An actor that a verdict names is held until a person accepts the loss (holding.ts, H2), unless its cell's checkpoint or
 *    copy has what is missing. It is settled by a record of its own behind what it may have lost; what was only kept for
 *    it while it was held is none.
 * L2 While records are unaccounted for, an address nobody has heard of may have had them: in the cells named it is held too.
 * L3 A verdict goes when all whom it named are settled, or when its region can be read again. It is not made twice.
 */
import { readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { writeWhole } from '../cells/durable.ts';
import { hasCode } from '../cells/inside.ts';
import type { CorruptRegion, RecoveredJournal } from '../cells/journal-reader.ts';
import { homeCell } from '../machines/addresses.ts';
import { Actor } from './actor.ts';
import { sealed, unsealed } from './node-index.ts';
import { isKeptLine, seqOfLine } from './records.ts';

export interface Verdict {
  region: CorruptRegion;
  /** Up to which seq each of these may have had records that are lost. */
  actors: Record<string, number>;
  /** L2. Empty: every lost record is accounted for. */
  cells: readonly string[] | 'all';
  /** Records nobody can account for. */
  unaccounted: number;
}

export const lossesPath = (indexFile: string): string => join(dirname(indexFile), 'losses.json');

const keyOf = ({ segment, from, lostLsn }: CorruptRegion): string =>
  lostLsn === null ? `${segment}:${from}` : `lsn ${lostLsn.from}`;

export class Losses {
  readonly #path: string;
  #verdicts: Verdict[];
  #isSaved = true;
  #saving: Promise<void> = Promise.resolve();
  /** Set when there are verdicts that cannot be read: then anything may be lost. */
  readonly problem: string | undefined;

  constructor(indexFile: string) {
    this.#path = lossesPath(indexFile);
    const { verdicts, problem } = readVerdicts(this.#path);
    this.#verdicts = verdicts;
    this.problem = problem;
  }

  get verdicts(): readonly Verdict[] {
    return this.#verdicts;
  }

  isKnown(region: CorruptRegion): boolean {
    return this.#verdicts.some((verdict) => keyOf(verdict.region) === keyOf(region));
  }

  add(verdict: Verdict): void {
    this.#verdicts.push(verdict);
    this.#isSaved = false;
  }

  /** L1, L3. Marks the actors that are not settled; one that is known from its verdict alone is added. */
  mark(actors: Map<string, Actor>, journal: RecoveredJournal): void {
    for (const verdict of this.#verdicts) {
      if (isReadableAgain(verdict, journal)) this.#settleAll(verdict);
      for (const [address, upTo] of Object.entries(verdict.actors)) {
        const actor = actors.get(address) ?? new Actor(address);
        if (isSettled(actor, upTo)) this.#settle(verdict, address);
        else {
          actors.set(address, actor);
          markLost(actor, { upTo, reason: reasonOf(verdict, address, upTo) });
        }
      }
    }
    this.#forget(journal);
  }

  /** L2. The loss that an actor nobody has heard of may have had; `seq`: of what its cell still has of it. */
  ofUnknown(address: string, seq: number): NonNullable<Actor['lost']> | undefined {
    const cell = homeCell(address);
    const verdict = this.#verdicts.find(
      ({ cells, unaccounted }) => unaccounted > 0 && (cells === 'all' || cells.includes(cell)),
    );
    if (verdict === undefined) return undefined;
    const upTo = seq + verdict.unaccounted;
    verdict.actors[address] = upTo;
    this.#isSaved = false;
    return { upTo, reason: reasonOf(verdict, address, upTo) };
  }

  /** A person accepted it. */
  accepted(address: string): void {
    for (const verdict of this.#verdicts)
      if (address in verdict.actors) this.#settle(verdict, address);
  }

  /** Durable when resolved. Throws what the file system throws. */
  save(): Promise<void> {
    this.#saving = this.#saving.catch(() => undefined).then(() => this.#save());
    return this.#saving;
  }

  async #save(): Promise<void> {
    if (this.#isSaved) return;
    this.#isSaved = true;
    try {
      if (this.#verdicts.length === 0) rmSync(this.#path, { force: true });
      else {
        const text = sealed(JSON.stringify({ format: 1, verdicts: this.#verdicts }));
        await writeWhole(this.#path, text, { sync: true, mode: 0o600, what: 'losses' });
      }
    } catch (error) {
      this.#isSaved = false;
      throw error;
    }
  }

  #settle(verdict: Verdict, address: string): void {
    delete verdict.actors[address];
    this.#isSaved = false;
    if (Object.keys(verdict.actors).length === 0) this.#settleAll(verdict);
  }

  /** The verdict stays as long as its region does, so that it is not made again. */
  #settleAll(verdict: Verdict): void {
    Object.assign(verdict, { actors: {}, cells: [], unaccounted: 0 });
    this.#isSaved = false;
  }

  #forget({ corrupt }: RecoveredJournal): void {
    const found = new Set(corrupt.map(keyOf));
    const kept = this.#verdicts.filter(
      ({ region, actors, unaccounted }) =>
        found.has(keyOf(region)) || unaccounted > 0 || Object.keys(actors).length > 0,
    );
    if (kept.length < this.#verdicts.length) this.#isSaved = false;
    this.#verdicts = kept;
  }
}

/** What comes for it meanwhile gets seqs behind what may be lost, for others may know what those records sent. */
export function markLost(actor: Actor, lost: NonNullable<Actor['lost']>): void {
  if ((actor.lost?.upTo ?? 0) < lost.upTo) actor.lost = lost;
  actor.seq = Math.max(actor.seq, lost.upTo);
  actor.stopped = false; // it may have been started again
}

/** L1. */
function isSettled({ tail = [], checkpointSeq }: Actor, upTo: number): boolean {
  return checkpointSeq > upTo || tail.some((line) => !isKeptLine(line) && seqOfLine(line) > upTo);
}

/** L3: somebody put the segment back. */
function isReadableAgain({ region: { lostLsn } }: Verdict, journal: RecoveredJournal): boolean {
  const first = journal.segments[0]?.firstLsn;
  if (lostLsn === null || lostLsn.isOpen || first === undefined || first > lostLsn.from)
    return false;
  return !journal.corrupt.some(
    (other) =>
      other.lostLsn && other.lostLsn.from <= lostLsn.to && other.lostLsn.to >= lostLsn.from,
  );
}

function reasonOf({ region, unaccounted }: Verdict, address: string, upTo: number): string {
  const place = `a damaged part of the journal (segment ${region.segment}: ${region.reason})`;
  return unaccounted > 0
    ? `${address} may have had records in ${place}, and nothing tells which; it is held so that it does not go on from an older state unnoticed`
    : `its records up to ${upTo} stood in ${place} and cannot be read`;
}

function readVerdicts(path: string): { verdicts: Verdict[]; problem: string | undefined } {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const missing = hasCode(error, 'ENOENT');
    return { verdicts: [], problem: missing ? undefined : String(error) };
  }
  const content = unsealed(text);
  if (content === undefined)
    return { verdicts: [], problem: `the hash of ${path} does not match its content` };
  const { verdicts } = JSON.parse(content) as { verdicts: Verdict[] };
  return { verdicts, problem: undefined };
}

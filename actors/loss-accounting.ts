/**
 * Whose records a bad region of the journal held. Each lost lsn was one record of one actor, and an actor's seqs have no
 * gaps: so lost records are accounted for by the gaps that later records show, by what can still be read in the region, and
 * by checkpoints past the last readable record. When all are, everybody else is whole.
 *
 * A1 What is not accounted for belongs to actors with no record behind the region, and nothing tells to which: all of those
 *    are held, in every cell that this node had not left clean. So nobody goes on from an older state unnoticed.
 * A2 Where a count is uncertain the lower one is taken: too many are held, never too few.
 * A3 Text in a bad region names whose it was only if it goes on exactly where the readable records of that actor end. More
 *    than that accuses, and clears nobody else.
 * A4 An actor with records behind the region shows its gap when it is folded (restorer.ts, R1).
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { readSegments } from '../cells/journal-reader.ts';
import type { CorruptRegion } from '../cells/journal-reader.ts';
import { homeCell } from '../machines/addresses.ts';
import type { Losses, Verdict } from './losses.ts';
import type { Found } from './recovery.ts';
import { isInitLine, isJumpLine, seqOfLine } from './records.ts';
import type { ActorStore } from './store.ts';

export interface LossEvidence {
  journalFolder: string;
  store?: ActorStore | undefined;
  /** Cells in which this node may have written records that are not in their folders. Default: all. */
  uncleanCells?: (() => ReadonlySet<string>) | undefined;
}

type LostRange = NonNullable<CorruptRegion['lostLsn']>;
type Loss = CorruptRegion & { lostLsn: LostRange };

/** A longer region is read only so far. */
const MAX_REGION_BYTES = 64 << 20;
const RECORD = /\{"a":"([A-Za-z0-9_./%-]{1,300})","n":([1-9]\d{0,14}),"p":/g;

/** Makes the verdicts that `found.losses` does not have yet, and marks the actors. Returns the regions they are about. */
export function judgeLosses(found: Found, evidence: LossEvidence): CorruptRegion[] {
  const { losses, journal, index, actors } = found;
  const fresh = journal.corrupt.filter((region) => !losses.isKnown(region));
  if (losses.problem !== undefined) fresh.push(unreadable(losses, journal.nextLsn));
  const isLoss = (region: CorruptRegion): region is Loss =>
    region.lostLsn !== null && region.lostLsn.to >= index.lsn;
  const regions = new Set([...journal.corrupt, ...fresh].filter(isLoss));
  const verdicts = judge(fresh, new Accounts(found, evidence, [...regions]));
  for (const verdict of verdicts) losses.add(verdict);
  losses.mark(actors, journal);
  return fresh;
}

/** An actor may have lost records in several of them. */
function judge(fresh: readonly CorruptRegion[], accounts: Accounts): Verdict[] {
  const verdicts = fresh.map((region) => accounts.judge(region));
  const all = verdicts.reduce((sum, { unaccounted }) => sum + unaccounted, 0);
  for (const { actors, unaccounted } of verdicts)
    for (const [address, upTo] of Object.entries(actors))
      actors[address] = upTo + all - unaccounted;
  return verdicts;
}

/** Verdicts that cannot be read: as if anybody could have lost anything. */
function unreadable({ problem }: Losses, nextLsn: number): CorruptRegion {
  const lostLsn: LostRange = { from: nextLsn, to: nextLsn + 2 ** 32 - 1, isOpen: true };
  return { segment: 0, from: 0, to: 0, reason: `earlier losses: ${problem}`, lostLsn };
}

interface Last {
  lsn: number;
  n: number;
}

class Accounts {
  readonly #found: Found;
  readonly #evidence: LossEvidence;
  readonly #regions: readonly Loss[];
  readonly #indexed: Map<string, number>;
  /** By address: its last readable record. */
  readonly #last = new Map<string, Last>();
  /** Lost records accounted for by gaps. */
  readonly #inGaps = new Map<Loss, number>();

  constructor(found: Found, evidence: LossEvidence, regions: readonly Loss[]) {
    this.#found = found;
    this.#evidence = evidence;
    this.#regions = regions;
    this.#indexed = new Map(found.index.actors.map(({ address, seq }) => [address, seq]));
    if (regions.length > 0) this.#findGaps();
  }

  judge(region: CorruptRegion): Verdict {
    const nothing: Verdict = { region, actors: {}, cells: [], unaccounted: 0 };
    const loss = this.#regions.find((other) => other === region);
    if (loss === undefined) return nothing;
    const row = this.#legible(loss);
    const left = this.#countOf(loss) - (this.#inGaps.get(loss) ?? 0) - row.accounted;
    if (left <= 0) return { ...nothing, actors: row.accused };
    const unclean = this.#evidence.uncleanCells?.();
    const silent = [...this.#found.actors.keys()].filter(
      (address) => this.#isSilent(address, loss) && (unclean?.has(homeCell(address)) ?? true),
    );
    const stored = this.#stored(loss, silent, row.ends);
    const unaccounted = Math.max(0, left - stored);
    if (unaccounted === 0) return { ...nothing, actors: row.accused };
    const actors = Object.fromEntries(
      [...silent, ...Object.keys(row.accused)].map((address) => {
        const end = Math.max(row.ends.get(address) ?? 0, this.#lowestEnd(address));
        return [address, Math.max(end, row.accused[address] ?? 0) + unaccounted];
      }),
    );
    return { region, actors, cells: unclean ? [...unclean] : 'all', unaccounted };
  }

  #countOf({ lostLsn: { from, to, isOpen } }: Loss): number {
    return isOpen ? 2 ** 32 : to - Math.max(from, this.#found.index.lsn) + 1;
  }

  /** A3. `ends`: where the rows of actors end that go on in the region. `accused`: whom nothing else covers. */
  #legible(loss: Loss): {
    accounted: number;
    ends: Map<string, number>;
    accused: Verdict['actors'];
  } {
    const ends = new Map<string, number>();
    const accused: Verdict['actors'] = {};
    let accounted = 0;
    for (const [address, seqs] of this.#namedIn(loss)) {
      if (!this.#isSilent(address, loss)) continue; // its gap was counted
      const known = this.#knownSeq(address);
      const end = known === undefined ? 0 : endOfRow(seqs, known);
      if (known !== undefined && this.#isOnlyBehind(address, loss)) accounted += end - known;
      ends.set(address, end);
      const highest = Math.max(...seqs);
      if (highest > Math.max(known ?? 0, this.#checkpointSeq(address))) accused[address] = highest;
    }
    return { accounted, ends, accused };
  }

  /** Records that checkpoints show to have been there; `ends` moves on to them. */
  #stored(loss: Loss, silent: readonly string[], ends: Map<string, number>): number {
    let accounted = 0;
    for (const address of silent) {
      const known = Math.max(ends.get(address) ?? 0, this.#knownSeq(address) ?? Infinity);
      const stored = this.#checkpointSeq(address);
      if (stored <= known) continue;
      if (this.#isOnlyBehind(address, loss)) accounted += stored - known;
      ends.set(address, stored);
    }
    return accounted;
  }

  #findGaps(): void {
    for (const { lsn, address, line } of readSegments(this.#evidence.journalFolder)) {
      const n = seqOfLine(line);
      const before = this.#last.get(address);
      this.#last.set(address, { lsn, n });
      if (isJumpLine(line) || isInitLine(line)) continue; // A2: nothing tells where these go on from
      const region = this.#onlyBetween(before?.lsn ?? 0, lsn);
      if (region === undefined) continue;
      const known = this.#seqBefore(before, address, region);
      if (n > known + 1) this.#inGaps.set(region, (this.#inGaps.get(region) ?? 0) + n - known - 1);
    }
  }

  /** A2: what lies in one of several regions is counted for none. */
  #onlyBetween(from: number, to: number): Loss | undefined {
    const between = this.#regions.filter(({ lostLsn }) => lostLsn.to > from && lostLsn.from < to);
    return between.length === 1 ? between[0] : undefined;
  }

  #isOnlyBehind(address: string, region: Loss): boolean {
    return this.#onlyBetween(this.#last.get(address)?.lsn ?? 0, Infinity) === region;
  }

  /** No record behind the region: if it had some there, nothing readable shows it. */
  #isSilent(address: string, { lostLsn }: Loss): boolean {
    if (this.#found.actors.get(address)?.stopped && !this.#last.has(address)) return false; // its folder is away
    return (this.#last.get(address)?.lsn ?? 0) < lostLsn.from;
  }

  /** The highest seq that the actor can have had before the region; Infinity when nobody knows. */
  #seqBefore(before: Last | undefined, address: string, { lostLsn }: Loss): number {
    const isPartlyCovered = lostLsn.from < this.#found.index.lsn;
    if (before !== undefined && !isPartlyCovered) return before.n;
    return Math.max(before?.n ?? 0, this.#baseSeq(address) ?? Infinity);
  }

  /** The seq up to which an actor is known to have come, without its checkpoint; undefined when nobody knows. */
  #knownSeq(address: string): number | undefined {
    const last = this.#last.get(address)?.n;
    const base = this.#baseSeq(address);
    return last === undefined ? base : Math.max(last, base ?? 0);
  }

  #lowestEnd(address: string): number {
    return Math.max(this.#knownSeq(address) ?? 0, this.#checkpointSeq(address));
  }

  /** Of an actor's records before the journal began. */
  #baseSeq(address: string): number | undefined {
    const { index, journal } = this.#found;
    const indexed = this.#indexed.get(address);
    if (indexed !== undefined) return indexed;
    if (index.lsn > 0) return this.#checkpointSeq(address);
    return (journal.segments[0]?.firstLsn ?? 1) === 1 ? 0 : undefined;
  }

  #checkpointSeq(address: string): number {
    try {
      return this.#evidence.store?.readCheckpoint(address)?.checkpoint.seq ?? 0;
    } catch {
      return 0; // a damaged one holds its actor by itself
    }
  }

  /** By address: the seqs that can be read in the region. */
  #namedIn({ segment, from, to }: Loss): Map<string, Set<number>> {
    const named = new Map<string, Set<number>>();
    const path = this.#found.journal.segments.find(({ number }) => number === segment)?.path;
    if (path === undefined || to <= from) return named;
    const bytes = Buffer.alloc(Math.min(to - from, MAX_REGION_BYTES));
    const fd = openSync(path, 'r');
    try {
      const text = bytes.toString('latin1', 0, readSync(fd, bytes, 0, bytes.length, from));
      for (const [, address = '', n] of text.matchAll(RECORD))
        named.set(address, (named.get(address) ?? new Set()).add(Number(n)));
    } finally {
      closeSync(fd);
    }
    return named;
  }
}

/** A3: the last of the seqs that follow `known` without a gap. */
function endOfRow(seqs: ReadonlySet<number>, known: number): number {
  let end = known;
  while (seqs.has(end + 1)) end += 1;
  return end;
}

/**
 * The chain of causes, from the journal's files: which records speak of a thing, and what led to each, back to the root (a
 * file edit, a person's request, the end of a process, a timer).
 *
 * H1 One pass from the newest record backwards: a cause stands before its effect, so by the time the pass gets there it is
 *    known that it is wanted. Memory holds what is wanted, found or being read, never the history.
 * H2 Bounded: the newest `limit` records that speak of the thing, and their causes; what is left out is said (P8).
 * H3 The end of history is told: a cause that is no longer on disk is named as such, never left out in silence (P9).
 */
import type { JsonValue } from '../../machines/json.ts';
import type { PlacedRecord, RecordPlace } from '../../cells/record-places.ts';
import { decodeRecord } from '../records.ts';
import type { JournalRecord } from '../records.ts';
import type { Focus } from './explanation.ts';
import { causeOf, isConcerned, speaksOf } from './focus.ts';
import { newestFirst } from './newest-first.ts';
import type { HistorySource } from './newest-first.ts';
import { originOf, redacted, typeOf, whoIs, wordsOf } from './words.ts';
import type { Origin } from './words.ts';

export interface Happened {
  at: string;
  lsn: number;
  address: string;
  seq: number;
  who: string;
  type: string;
  text: string;
  /** `<address>#<seq>` of the record that led to it. */
  cause: string | null;
  /** What set it off when no record did. */
  origin: Origin | null;
  /** The cause is no longer on disk (H3). */
  lost_cause: boolean;
  /** It is only here as a cause of another. */
  is_cause: boolean;
  place: RecordPlace;
  data: JsonValue;
}

export interface History {
  /** Oldest first. */
  records: Happened[];
  /** Older records speak of it too, and were not looked at. */
  more: boolean;
  /** The oldest record on disk of the actors concerned, when it is not their first: older ones were dropped. */
  dropped_before: string | null;
}

/** Causes kept for each record that speaks of the thing; chains are short, for the end of an effect is a root (H2). */
const CAUSES_EACH = 6;
const MAX_REFUSED = 1000;

export function historyOf(source: HistorySource, focus: Focus, limit: number): History {
  return new Search(focus, limit).through(newestFirst(source));
}

class Search {
  readonly #focus: Focus;
  readonly #limit: number;
  /** Causes to look for, by address: the seqs. */
  readonly #wanted = new Map<string, Set<number>>();
  #open = 0;
  readonly #found: Happened[] = [];
  #told = 0;
  #more = false;
  /** Outcomes whose `started` record, if there is one, comes next: by address and invoke id. */
  readonly #ended = new Map<string, Happened>();
  /** Why events changed nothing, by `<address>#<seq>`; the note stands behind the event. */
  readonly #refused = new Map<string, string>();
  /** Of the actors concerned: the lowest seq seen, and when; also tells a copy's records from those seen already. */
  readonly #lowest = new Map<string, { seq: number; at: number }>();

  constructor(focus: Focus, limit: number) {
    this.#focus = focus;
    this.#limit = limit;
    for (const key of focus.records) this.#want(key);
  }

  through(records: Iterable<PlacedRecord>): History {
    let isWhole = true;
    for (const record of records) {
      if (this.#more && this.#open === 0) {
        isWhole = false;
        break;
      }
      this.#look(record);
    }
    const left = new Set(
      [...this.#wanted].flatMap(([a, seqs]) => [...seqs].map((n) => `${a}#${n}`)),
    );
    for (const happened of this.#found)
      happened.lost_cause = happened.cause !== null && left.has(happened.cause);
    return {
      records: this.#found.toReversed(),
      more: this.#more,
      dropped_before: isWhole ? this.#droppedBefore() : null,
    };
  }

  #look(placed: PlacedRecord): void {
    const { address, line } = placed;
    const wanted = this.#wanted.get(address);
    const isOurs = isConcerned(this.#focus, address);
    if (!isOurs && wanted === undefined) return;
    const seq = seqOf(line);
    if (isOurs && !this.#note(address, seq, line)) return;
    const isWanted = wanted?.has(seq) === true;
    if (!isWanted && (!isOurs || STATE.test(line.slice(0, 500)))) return;
    const record = decodeRecord(line);
    if (record.k === 'rejected' && this.#refused.size < MAX_REFUSED)
      this.#refused.set(`${address}#${record.of}`, record.e.message);
    const isBegin = this.#joinEffect(record);
    const speaks = isOurs && speaksOf(this.#focus, record);
    if (speaks && !isWanted && this.#told >= this.#limit) {
      this.#more = true;
      return;
    }
    if (!speaks && !isWanted && !isBegin) return;
    if (isWanted && wanted?.delete(seq)) this.#open -= 1;
    if (speaks) this.#told += 1;
    this.#keep(placed, record, speaks);
  }

  /** True for the record that began the effect whose outcome was kept last: the outcome's cause. */
  #joinEffect(record: JournalRecord): boolean {
    const invoke = record.k === 'started' ? record.v : outcomeOf(record);
    if (invoke === undefined) return false;
    const key = `${record.a} ${invoke}`;
    const outcome = this.#ended.get(key);
    this.#ended.delete(key);
    if (outcome === undefined || record.k !== 'started') return false;
    const { effect } = this.#focus;
    const isOther = effect?.address === record.a && effect.invoke === invoke;
    if (isOther && record.of !== effect.seq) {
      this.#found.splice(this.#found.indexOf(outcome), 1); // the outcome of a later effect under the same name
      return false;
    }
    outcome.cause = `${record.a}#${record.n}`;
    outcome.origin = null;
    return true;
  }

  #keep(placed: PlacedRecord, record: JournalRecord, speaks: boolean): void {
    const cause = causeOf(record);
    const isRoot = record.k === 'started' && !speaks; // what it stands for is the effect, not the state before it
    if (cause !== undefined && !isRoot) this.#want(cause);
    const happened = happenedOf(placed, record, speaks);
    const refused = this.#refused.get(`${record.a}#${record.n}`);
    if (refused !== undefined) happened.text += ` (refused: ${refused})`;
    const invoke = outcomeOf(record);
    if (invoke !== undefined) this.#ended.set(`${record.a} ${invoke}`, happened);
    if (invoke === this.#focus.effect?.invoke && record.a === this.#focus.effect?.address)
      this.#dropLater(happened);
    this.#found.push(happened);
  }

  /** An effect has one outcome, the first one behind it: what was kept of the same name came later, to another. */
  #dropLater({ address, type }: Happened): void {
    const isSame = (known: Happened): boolean =>
      known.address === address && known.type.split('.').at(-1) === type.split('.').at(-1);
    const later = this.#found.findIndex((known) => isSame(known) && known.type.includes('.actor.'));
    if (later < 0) return;
    this.#found.splice(later, 1);
    this.#told -= 1;
  }

  #want(key: string): void {
    const cut = key.lastIndexOf('#');
    const address = key.slice(0, cut);
    const seqs = this.#wanted.get(address) ?? new Set();
    this.#wanted.set(address, seqs);
    const seq = Number(key.slice(cut + 1));
    const isKnown = this.#found.some((known) => known.seq === seq && known.address === address);
    if (this.#found.length >= CAUSES_EACH * this.#limit + 50 || seqs.has(seq) || isKnown) return;
    seqs.add(seq);
    this.#open += 1;
  }

  /** False when it was seen already: a copy overlaps with the shared journal. */
  #note(address: string, seq: number, line: string): boolean {
    const lowest = this.#lowest.get(address);
    if (lowest !== undefined && seq >= lowest.seq) return false;
    this.#lowest.set(address, { seq, at: timeOf(line) });
    return true;
  }

  #droppedBefore(): string | null {
    const cut = [...this.#lowest.values()].filter(({ seq }) => seq > 1).map(({ at }) => at);
    return cut.length === 0 ? null : new Date(Math.max(...cut)).toISOString();
  }
}

/** The invoke id, when this is how an effect or a timer ended. */
const outcomeOf = (record: JournalRecord): string | undefined =>
  record.k === undefined
    ? /^xstate\.(?:done|error)\.actor\.(.+)$/.exec(record.e.type)?.[1]
    : undefined;

function happenedOf(placed: PlacedRecord, record: JournalRecord, speaks: boolean): Happened {
  const cause = causeOf(record);
  return {
    at: new Date(record.t).toISOString(),
    lsn: placed.lsn,
    address: record.a,
    seq: record.n,
    who: whoIs(record.a),
    type: typeOf(record),
    text: wordsOf(record),
    cause: cause ?? null,
    origin: cause === undefined ? originOf(record) : null,
    lost_cause: false,
    is_cause: !speaks,
    place: placed.place,
    data: redacted(dataOf(record)),
  };
}

const STATE = /^\{"a":"[^"]*","n":\d+,"p":\d+,"t":\d+,"u":\d+,"k":"(?:snapshot|migrated)"/;
const seqOf = (line: string): number => Number(/^\{"a":"[^"]*","n":(\d+)/.exec(line)?.[1] ?? 0);
const timeOf = (line: string): number => Number(/,"t":(\d+)/.exec(line.slice(0, 500))?.[1] ?? 0);

/** A snapshot is told by its size: it is a state, not something that happened. */
function dataOf(record: JournalRecord): JsonValue {
  if (record.k === 'snapshot' || record.k === 'migrated' || record.k === 'rolled_back')
    return `${JSON.stringify(record.e).length} characters of state`;
  const {
    a: _a,
    n: _n,
    p: _p,
    t: _t,
    u: _u,
    k: _k,
    ...rest
  } = record as unknown as {
    [key: string]: JsonValue;
  };
  return record.k === undefined ? { ...record.e } : rest;
}

/**
 * The barrier between what is applied and what is shown (P1): one entry for each record, in journal order, holding what
 * must not be seen before the record is durable: the new committed state, effects to start, answers, observers' copies.
 */
import type { PlainError } from '../machines/errors.ts';
import type { JsonObject } from '../machines/json.ts';
import type { Actor, Committed, Resident } from './actor.ts';
import type { Invoke } from './records.ts';

export interface Receipt {
  /** The receiver's seq of the event. */
  seq: number;
  duplicate?: true;
}

/** One durable record, as observers get it, in journal order. */
export interface CommittedRecord {
  lsn: number;
  address: string;
  seq: number;
  at: number;
  event: { type: string } & JsonObject;
  /** Address of the actor that sent the event; none: a door, an effect, a timer, the system itself, or not known. */
  source?: string | undefined;
  error: PlainError | undefined;
  /** What it takes in the journal, in characters. */
  chars: number;
}

/** What an event asked for that waits for its commit. */
export type Launch =
  | { kind: 'start'; invokeId: string; invoke: Invoke; machine: string }
  | { kind: 'abort'; key: string };

export interface Queued {
  lsn: number;
  actor: Actor;
  resident: Resident | undefined;
  committed: Committed | undefined;
  outputs: Launch[] | undefined;
  record: CommittedRecord | undefined;
  resolve: ((receipt: Receipt) => void) | undefined;
  reject: ((error: Error) => void) | undefined;
  error: Error | undefined;
}

export class CommitQueue {
  #items: Queued[] = [];
  #head = 0;

  get size(): number {
    return this.#items.length - this.#head;
  }

  /** Of the newest entry; undefined when nothing waits. */
  get lastLsn(): number | undefined {
    return this.size === 0 ? undefined : this.#items.at(-1)?.lsn;
  }

  push(item: Queued): void {
    this.#items.push(item);
  }

  /** Calls back when everything pushed so far is durable; undefined when it is already. */
  whenEmpty(resolve: () => void, reject: (error: Error) => void): 'waiting' | 'empty' {
    const last = this.size === 0 ? undefined : this.#items.at(-1);
    if (last === undefined) return 'empty';
    this.#items.push({
      lsn: last.lsn,
      actor: last.actor,
      resident: undefined,
      committed: undefined,
      outputs: undefined,
      record: undefined,
      resolve,
      reject,
      error: undefined,
    });
    return 'waiting';
  }

  /** Lets go, in order, of everything up to `lastLsn`. `visit` may push. */
  release(lastLsn: number, visit: (item: Queued) => void): void {
    const items = this.#items;
    let head = this.#head;
    for (; head < items.length; head += 1) {
      const item = items[head] as Queued;
      if (item.lsn > lastLsn) break;
      visit(item);
    }
    if (head === items.length) this.#items = [];
    else if (head > 4096) this.#items = items.slice(head);
    this.#head = this.#items === items ? head : 0;
  }

  /** Empties it: the journal lost what these were waiting for. */
  drop(): Queued[] {
    const lost = this.#items.slice(this.#head);
    this.#items = [];
    this.#head = 0;
    return lost;
  }
}

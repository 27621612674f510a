/**
 * What an actor remembers of the events it has had, so that each is applied at most once (P3).
 *
 * D1 Internal senders: exact, for ever, by one high-water mark a sender.
 * D2 Streams (NATS, Redis): exact, by one high-water mark a stream; a stream made anew under the same name starts afresh.
 * D3 Outside ids: for 24 hours and the last 10,000, whichever reaches further back. An id dated before what is still
 *    remembered is refused as too old, for nobody could tell whether it is new. Never more than 100,000 of them, whatever
 *    their age: a door that floods an actor with ids must not fill its memory and checkpoints (P8).
 */
import type { DedupeState } from '../machines/persisted.ts';

export const ID_WINDOW_MS = 24 * 3600 * 1000;
export const ID_WINDOW_COUNT = 10_000;
export const ID_WINDOW_MOST = 100_000;
/** How many are forgotten at once at that bound. */
const FORGOTTEN_AT_ONCE = 10_000;

export type Verdict = { kind: 'new' } | { kind: 'duplicate'; seq: number } | { kind: 'too_old' };

export interface StreamPosition {
  stream: string;
  /** Creation time of the stream, as its server states it: tells a stream made anew from the old one. */
  created: string;
  seq: number;
}

export class Dedupe {
  #senders: Map<string, [number, number]> | undefined;
  #streams: Map<string, [string, number]> | undefined;
  #ids: Map<string, [at: number, seq: number]> | undefined;
  #forgottenUpTo = 0;

  static restore(state: DedupeState): Dedupe {
    const dedupe = new Dedupe();
    const senders = Object.entries(state.senders);
    if (senders.length > 0) dedupe.#senders = new Map(senders);
    const streams = Object.entries(state.streams);
    if (streams.length > 0) dedupe.#streams = new Map(streams);
    if (state.ids.length > 0)
      dedupe.#ids = new Map(state.ids.map(([id, at, seq]) => [id, [at, seq]]));
    dedupe.#forgottenUpTo = state.forgottenUpTo;
    return dedupe;
  }

  /** True when this send was already received. */
  seenSend(sender: string, seq: number, n: number): boolean {
    const high = this.#senders?.get(sender);
    return high !== undefined && (seq < high[0] || (seq === high[0] && n <= high[1]));
  }

  recordSend(sender: string, seq: number, n: number): void {
    this.#senders ??= new Map();
    this.#senders.set(sender, [seq, n]);
  }

  seenStream({ stream, created, seq }: StreamPosition): boolean {
    const high = this.#streams?.get(stream);
    return high !== undefined && high[0] === created && seq <= high[1];
  }

  recordStream({ stream, created, seq }: StreamPosition): void {
    this.#streams ??= new Map();
    this.#streams.set(stream, [created, seq]);
  }

  /** `datedAt`: the time the sender gives the event, epoch ms; without it only the memory of ids decides. */
  checkId(id: string, datedAt: number | undefined): Verdict {
    const known = this.#ids?.get(id);
    if (known) return { kind: 'duplicate', seq: known[1] };
    return datedAt !== undefined && datedAt <= this.#forgottenUpTo
      ? { kind: 'too_old' }
      : { kind: 'new' };
  }

  recordId(id: string, at: number, seq: number): void {
    this.#ids ??= new Map();
    this.#ids.set(id, [at, seq]);
    if (this.#ids.size > ID_WINDOW_COUNT) this.#forget(at);
  }

  #forget(now: number): void {
    if ((this.#ids?.size ?? 0) > ID_WINDOW_MOST) return this.#forgetMany();
    for (const [id, [at]] of this.#ids ?? []) {
      if ((this.#ids?.size ?? 0) <= ID_WINDOW_COUNT || at > now - ID_WINDOW_MS) return;
      this.#ids?.delete(id);
      this.#forgottenUpTo = Math.max(this.#forgottenUpTo, at);
    }
  }

  /** In a new map: one with so many holes at its front would be slow to look into. */
  #forgetMany(): void {
    const ids = [...(this.#ids ?? [])];
    const [, [at] = [0]] = ids[FORGOTTEN_AT_ONCE - 1] ?? [];
    this.#forgottenUpTo = Math.max(this.#forgottenUpTo, at);
    this.#ids = new Map(ids.slice(FORGOTTEN_AT_ONCE));
  }

  toJSON(): DedupeState {
    return {
      senders: Object.fromEntries(this.#senders ?? []),
      streams: Object.fromEntries(this.#streams ?? []),
      ids: [...(this.#ids ?? [])].map(([id, [at, seq]]) => [id, at, seq]),
      forgottenUpTo: this.#forgottenUpTo,
    };
  }
}

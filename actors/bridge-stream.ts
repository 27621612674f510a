/**
 * From a stream to the bridge's actor. What was read before is told by the last entry that the actor's own state names
 * (bus/redis-stream.ts, T1): that needs no memory of ids, and holds however long the node was away.
 */
import type { StreamEntry, StreamSink } from '../bus/redis-stream.ts';
import { compareEntries } from '../machines/bridge-context.ts';
import type { BridgeEvent } from '../machines/bridge-context.ts';
import type { BridgeActor } from './bridge-actor.ts';
import { takeEntry } from './bridge-messages.ts';
import { joinHeard } from './join-heard.ts';
import type { Outgoing, Source } from './ordered-sender.ts';

export class StreamIntake implements Source, StreamSink {
  sawNone = false;
  readonly #actor: BridgeActor;
  readonly #stream: string;
  readonly #wake: () => void;
  /** Bounded by what the reader has under way. */
  #queue: Outgoing[] = [];
  #head = 0;
  /** What has been queued; the actor's state follows. */
  #last: string | undefined;
  /** Queued and not durable yet, by entry: one that is read again, on a new connection, must not be acknowledged before. */
  readonly #open = new Map<string, (() => void)[]>();

  /** `wake`: something is queued. */
  constructor(actor: BridgeActor, stream: string, wake: () => void) {
    this.#actor = actor;
    this.#stream = stream;
    this.#wake = wake;
  }

  next(): Outgoing | undefined {
    const outgoing = this.#queue[this.#head];
    if (outgoing === undefined) return undefined;
    const joined = joinHeard(this.#queue, this.#head, this.#actor.isHeardBySome());
    this.#head += joined?.count ?? 1;
    if (this.#head === this.#queue.length) {
      this.#queue = [];
      this.#head = 0;
    }
    return joined?.outgoing ?? outgoing;
  }

  waitMs(outgoing: Outgoing): number {
    return this.#actor.waitMs(outgoing);
  }

  lastRead(): string | undefined {
    return this.#last ?? this.#actor.context()?.streams[this.#stream];
  }

  async beginAfter(after: string): Promise<void> {
    await this.#push({ type: 'bridge.stream', stream: this.#stream, after });
    this.#last = after;
  }

  async missed(dropped: number): Promise<void> {
    const until = Date.now();
    const since = this.#actor.context()?.listenedAt ?? until;
    await this.#push(this.#gap(since, until, dropped));
  }

  deliver(entries: StreamEntry[], isTakenOver: boolean): Promise<void> {
    return new Promise((resolve) => {
      let open = 1;
      const settled = (): void => {
        open -= 1;
        if (open === 0) resolve();
      };
      for (const entry of entries) {
        if (isTakenOver) {
          open += 1;
          this.#queue.push(this.#outgoing(entry, true, settled));
          continue;
        }
        const waiting = this.#open.get(entry.id);
        if (this.#isRead(entry.id) && waiting === undefined) continue;
        open += 1;
        if (waiting) waiting.push(settled);
        else this.#queue.push(this.#outgoing(entry, false, this.#opened(entry.id, settled)));
      }
      settled();
      this.#wake();
    });
  }

  /** Until it is durable, whoever reads the entry again waits for it too. */
  #opened(id: string, settled: () => void): () => void {
    this.#open.set(id, [settled]);
    return () => {
      const waiting = this.#open.get(id) ?? [];
      this.#open.delete(id);
      for (const tell of waiting) tell();
    };
  }

  #isRead(id: string): boolean {
    const last = this.lastRead();
    if (last !== undefined && compareEntries(id, last) <= 0) {
      this.#actor.duplicates += 1;
      return true;
    }
    this.#last = id;
    return false;
  }

  #outgoing({ id: entry, fields, bytes }: StreamEntry, isTakenOver: boolean, settled: () => void) {
    const at = Date.now();
    if (fields.length === 0) {
      const addedAt = Number(entry.split('-')[0]);
      return this.#actor.outgoing(this.#gap(Math.min(addedAt, at), at, 1), settled);
    }
    const id = `redis:${this.#stream}:${entry}`;
    const about = { channel: this.#stream, id, at };
    const { event } = takeEntry(fields, bytes, about, isTakenOver ? undefined : entry);
    return this.#actor.outgoing(event, settled, isTakenOver ? id : undefined);
  }

  #gap(since: number, until: number, dropped: number): BridgeEvent {
    const reason = 'removed from the stream before it was read';
    return { type: 'bridge.gap', channel: this.#stream, since, until, reason, dropped };
  }

  #push(event: BridgeEvent): Promise<void> {
    return new Promise((resolve) => {
      this.#queue.push(this.#actor.outgoing(event, resolve));
      this.#wake();
    });
  }
}

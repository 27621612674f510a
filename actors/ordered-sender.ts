/**
 * Events from a source to one actor: many in flight, so that commits are shared, and still each exactly once and in order
 * when the actor is busy or the journal cannot be written for a while.
 *
 * O1 Order: what is refused for now is sent again before anything newer. `system.send` applies in the order of the calls,
 *    and whatever makes it refuse one event holds for all that follow in the same turn; after the first refusal nothing is
 *    sent until all that is in flight has its answer.
 * O2 Bounded: at most `window` in flight; the source keeps the rest (P8). Half of it goes in one turn, so that one half
 *    gathers in the journal while the other is on its way to the disk.
 * O3 Everything that was taken from the source is answered once: durable, or refused for good.
 */
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject } from '../machines/json.ts';
import type { Receipt } from './commit-queue.ts';
import type { ActorSystem } from './system.ts';

export interface Outgoing {
  event: { type: string } & JsonObject;
  /** Outside id: the actor takes it once (P3). */
  id?: string;
  done(answer: Answer): void;
}

export type Answer =
  | { kind: 'durable'; isDuplicate: boolean }
  /** For good: sending it again would change nothing. */
  | { kind: 'refused'; error: Error };

export interface Source {
  /** The oldest that waits; gone from there when returned. */
  next(): Outgoing | undefined;
  /** How long it must wait before it is sent, ms; called again after that. 0 or absent: not at all. */
  waitMs?(outgoing: Outgoing): number;
}

export interface SenderOptions {
  system: ActorSystem;
  address: string;
  source: Source;
  window: number;
  /** Nothing is taken at present; undefined: it is again. */
  onTrouble?: (reason: string | undefined) => void;
}

interface Sent extends Outgoing {
  ordinal: number;
}

const RETRY_FIRST_MS = 20;
const RETRY_MOST_MS = 2000;

export class OrderedSender {
  readonly #options: SenderOptions;
  #ordinal = 0;
  #inFlight = 0;
  /** To be sent before anything else, in order. */
  #again: Sent[] = [];
  #refused: Sent[] = [];
  #trouble: string | undefined;
  #retryMs = RETRY_FIRST_MS;
  #timer: NodeJS.Timeout | undefined;
  #turn: NodeJS.Immediate | undefined;
  #closed = false;
  #idle: (() => void)[] = [];

  constructor(options: SenderOptions) {
    this.#options = options;
  }

  /** Taken from the source and not yet answered. */
  get unanswered(): number {
    return this.#inFlight + this.#again.length + this.#refused.length;
  }

  /** The source has something. */
  wake(): void {
    if (this.#turn === undefined) this.#sendSome();
  }

  #sendSome(): void {
    const { source, window } = this.#options;
    const most = this.#inFlight + Math.ceil(window / 2);
    while (!this.#closed && this.#refused.length === 0 && this.#timer === undefined) {
      if (this.#inFlight >= window) return;
      if (this.#inFlight >= most) return this.#nextTurn();
      const sent = this.#again.shift() ?? this.#take(source.next());
      if (sent === undefined) return;
      const waitMs = source.waitMs?.(sent) ?? 0;
      if (waitMs <= 0) this.#send(sent);
      else {
        this.#again.unshift(sent);
        this.#wakeIn(waitMs);
      }
    }
  }

  /** Sends what the source still has, for so long at most; then nothing more, and resolves when all in flight is answered. */
  async close(graceMs: number): Promise<void> {
    this.wake();
    const isQuiet = new Promise<void>((resolve) => this.#idle.push(resolve));
    this.#tellIdle();
    let timer: NodeJS.Timeout | undefined;
    const isLate = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, graceMs);
    });
    await Promise.race([isQuiet, isLate]);
    clearTimeout(timer);
    clearTimeout(this.#timer);
    clearImmediate(this.#turn);
    this.#closed = true;
  }

  #nextTurn(): void {
    this.#turn = setImmediate(() => {
      this.#turn = undefined;
      this.#sendSome();
      this.#tellIdle();
    });
  }

  #take(outgoing: Outgoing | undefined): Sent | undefined {
    return outgoing && Object.assign(outgoing, { ordinal: (this.#ordinal += 1) });
  }

  #send(sent: Sent): void {
    const { system, address } = this.#options;
    this.#inFlight += 1;
    system.send(address, sent.event, sent.id === undefined ? undefined : { id: sent.id }).then(
      (receipt) => this.#taken(sent, receipt),
      (error: unknown) => this.#notTaken(sent, error),
    );
  }

  #taken(sent: Sent, receipt: Receipt): void {
    this.#inFlight -= 1;
    this.#retryMs = RETRY_FIRST_MS;
    if (this.#trouble !== undefined && this.#refused.length === 0) this.#tell(undefined);
    this.#answer(sent, { kind: 'durable', isDuplicate: receipt.duplicate === true });
  }

  #notTaken(sent: Sent, thrown: unknown): void {
    this.#inFlight -= 1;
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    if (!isForNow(error)) return this.#answer(sent, { kind: 'refused', error });
    this.#refused.push(sent);
    this.#tell(error.message);
    this.#settleRefused();
  }

  /** O1. */
  #answer(sent: Sent, answer: Answer): void {
    sent.done(answer);
    this.#settleRefused();
    this.wake();
    this.#tellIdle();
  }

  #tellIdle(): void {
    if (this.unanswered > 0 || this.#turn !== undefined) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  #settleRefused(): void {
    if (this.#refused.length === 0 || this.#inFlight > 0) return;
    this.#again.unshift(...this.#refused.splice(0).sort((a, b) => a.ordinal - b.ordinal));
    this.#wakeIn(this.#retryMs);
    this.#retryMs = Math.min(RETRY_MOST_MS, this.#retryMs * 2);
  }

  #wakeIn(ms: number): void {
    if (this.#timer !== undefined || this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.wake();
    }, ms);
  }

  #tell(trouble: string | undefined): void {
    if (this.#trouble === trouble) return;
    this.#trouble = trouble;
    this.#options.onTrouble?.(trouble);
  }
}

/** Whether the same event may be taken later without anybody changing it. */
function isForNow(error: Error): boolean {
  return error instanceof RuntimeError && (error.retryable || WAITING.has(error.code));
}
const WAITING = new Set(['BUSY', 'JOURNAL_HELD', 'ACTOR_HELD', 'ACTOR_UNKNOWN']);

/**
 * One client of the inspector.
 *
 * W1 What waits to be read by it is bounded: above `paceBytes` it gets nothing more, and one that stays there for `patienceMs`,
 *    does not answer pings or is above `bufferBytes` all the same is dropped. The reason goes with the close, to the log and
 *    to the status.
 * W2 It has nothing to say: one that talks all the same is dropped.
 */
import type { WebSocket } from 'ws';

export interface WatcherLimits {
  /** Bytes not yet read above which nothing more is sent. Default 512 KiB. */
  paceBytes: number;
  /** How long they may stay so many. Default 10,000. */
  patienceMs: number;
  /** What no client may come to. Default 4 MiB. */
  bufferBytes: number;
  /** Between two pings. Default 10,000. */
  pingMs: number;
}

export const WATCHER_LIMITS: WatcherLimits = {
  paceBytes: 512 << 10,
  patienceMs: 10_000,
  bufferBytes: 4 << 20,
  pingMs: 10_000,
};

/** WebSocket close codes: try again later; policy violation; going away. */
const TRY_LATER = 1013;
const POLICY = 1008;
const GOING_AWAY = 1001;
const MAX_MESSAGES = 100;
/** Pings without an answer after which it is gone. */
const MAX_UNANSWERED = 2;
const CLOSE_GRACE_MS = 500;

export class Watcher {
  /** Actors it has been introduced to. */
  readonly known = new Set<string>();
  /** Those whose state, or end, it is still to be told, in turn. */
  readonly waiting = new Set<string>();
  /** Events that were left out since it was last told. */
  skipped = 0;
  readonly gone: Promise<void>;
  readonly #socket: WebSocket;
  readonly #limits: WatcherLimits;
  readonly #onDrop: (reason: string) => void;
  readonly #pinging: NodeJS.Timeout;
  #turn: Iterator<string, undefined> = this.waiting.values();
  #behindSince: number | undefined;
  #unanswered = 0;
  #heard = 0;
  #isClosing = false;

  constructor(
    socket: WebSocket,
    { limits, onDrop }: { limits: WatcherLimits; onDrop: (reason: string) => void },
  ) {
    this.#socket = socket;
    this.#limits = limits;
    this.#onDrop = onDrop;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.gone = promise;
    this.#pinging = setInterval(() => this.#ping(), limits.pingMs);
    socket.on('pong', () => (this.#unanswered = 0));
    socket.on('message', () => this.#hear());
    socket.on('error', () => socket.terminate()); // a broken frame, or one that is too long: ws has answered it
    socket.once('close', () => {
      clearInterval(this.#pinging);
      this.#isClosing = true;
      resolve();
    });
  }

  /** Throws when there is none. */
  nextWaiting(): string {
    // One iterator for many calls: a new one would have to pass by everything that was taken out before.
    let next = this.#turn.next();
    if (next.done) next = (this.#turn = this.waiting.values()).next();
    if (next.done) throw new Error('nothing waits');
    this.waiting.delete(next.value);
    return next.value;
  }

  get isOpen(): boolean {
    return !this.#isClosing && this.#socket.readyState === this.#socket.OPEN;
  }

  /** W1. Whether it gets anything at present. */
  takesMore(): boolean {
    if (!this.isOpen) return false;
    const { bufferedAmount } = this.#socket;
    const { paceBytes, patienceMs, bufferBytes } = this.#limits;
    if (bufferedAmount <= paceBytes) {
      this.#behindSince = undefined;
      return true;
    }
    const now = performance.now();
    this.#behindSince ??= now;
    if (now - this.#behindSince > patienceMs || bufferedAmount > bufferBytes)
      this.drop(`it does not read: ${bufferedAmount} bytes wait for it`);
    return false;
  }

  send(text: string): void {
    if (this.isOpen) this.#socket.send(text);
  }

  drop(reason: string, code = TRY_LATER): void {
    if (this.#isClosing) return;
    this.#onDrop(reason);
    this.#close(code, reason);
  }

  /** The node goes, or the inspector. */
  close(reason: string): Promise<void> {
    this.#close(GOING_AWAY, reason);
    return this.gone;
  }

  #close(code: number, reason: string): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    clearInterval(this.#pinging);
    this.waiting.clear();
    this.#socket.close(code, reason.slice(0, 120)); // a close frame holds 123 bytes
    const timer = setTimeout(() => this.#socket.terminate(), CLOSE_GRACE_MS);
    this.#socket.once('close', () => clearTimeout(timer));
  }

  #ping(): void {
    if (this.#unanswered >= MAX_UNANSWERED)
      return this.drop(`it did not answer for ${(MAX_UNANSWERED * this.#limits.pingMs) / 1000} s`);
    this.#unanswered += 1;
    this.#socket.ping();
  }

  /** W2. */
  #hear(): void {
    this.#heard += 1;
    if (this.#heard > MAX_MESSAGES) this.drop('a watcher has nothing to say here', POLICY);
  }
}

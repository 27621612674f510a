/**
 * The times of one request: all of it, until the first token, between two signs of life. The clients' own timeouts end with
 * the headers, so a server that stalls afterwards would be waited for without end; and an abort loses its reason on the way
 * through them, so it is kept here.
 */
import type { TimeoutPhase } from '../../machines/llm-policy.ts';

/** Time as the router sees it; a test has its own. */
export interface RouterClock {
  /** Epoch ms that never goes back. */
  now(): number;
  /** Returns what calls it off. */
  after(ms: number, run: () => void): () => void;
}

export const systemClock = (now: () => number): RouterClock => ({
  now,
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
});

/** False: `signal` was aborted meanwhile. */
export function pause(clock: RouterClock, ms: number, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return Promise.resolve(false);
  return new Promise((resolve) => {
    const callOff = clock.after(ms, () => settle(true));
    const onAbort = (): void => settle(false);
    const settle = (isDone: boolean): void => {
      callOff();
      signal.removeEventListener('abort', onAbort);
      resolve(isDone);
    };
    signal.addEventListener('abort', onAbort);
  });
}

export interface CallTimes {
  totalMs: number;
  firstTokenMs: number;
  idleMs: number;
}

export type CutOff = { kind: 'cancelled' } | { kind: 'timeout'; phase: TimeoutPhase };

export class CallClock {
  readonly times: CallTimes;
  /** Why it was ended before it was done. */
  cutOff: CutOff | undefined;
  /** ms from the start. */
  firstTokenMs: number | null = null;
  readonly #clock: RouterClock;
  readonly #startedAt: number;
  readonly #ended = new AbortController();
  readonly #cancel: AbortSignal;
  readonly #callOff = new Map<'total' | 'first_token' | 'idle', () => void>();
  #isConnected = false;
  #whenCut = Promise.withResolvers<never>();

  constructor(clock: RouterClock, times: CallTimes, cancel: AbortSignal) {
    this.#clock = clock;
    this.times = times;
    this.#startedAt = clock.now();
    this.#cancel = cancel;
    this.#whenCut.promise.catch(() => undefined); // nobody may be waiting
    if (cancel.aborted) this.#onCancel();
    else {
      cancel.addEventListener('abort', this.#onCancel);
      this.#arm('first_token', times.firstTokenMs);
      this.#arm('total', times.totalMs);
    }
  }

  /** Ends the request, down to its socket. */
  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  /** Rejects when time is up or the call is cancelled: for what does not listen to `signal`. */
  get cut(): Promise<never> {
    return this.#whenCut.promise;
  }

  /** The headers are there. */
  connected(): void {
    this.#isConnected = true;
    this.alive();
  }

  /** Something came, were it only a ping. */
  alive(): void {
    if (this.#ended.signal.aborted || !this.#callOff.has('total')) return;
    this.#arm('idle', this.times.idleMs);
  }

  /** A part of the answer came. */
  token(): void {
    this.firstTokenMs ??= this.#clock.now() - this.#startedAt;
    this.#disarm('first_token');
    this.alive();
  }

  /** The answer is whole, or failed by itself. */
  done(): void {
    for (const name of this.#callOff.keys()) this.#disarm(name);
    this.#cancel.removeEventListener('abort', this.#onCancel);
  }

  readonly #onCancel = (): void => this.#end({ kind: 'cancelled' });

  #arm(name: 'total' | 'first_token' | 'idle', ms: number): void {
    this.#disarm(name);
    const callOff = this.#clock.after(ms, () =>
      this.#end({ kind: 'timeout', phase: this.#phase(name) }),
    );
    this.#callOff.set(name, callOff);
  }

  #disarm(name: 'total' | 'first_token' | 'idle'): void {
    this.#callOff.get(name)?.();
    this.#callOff.delete(name);
  }

  #phase(name: 'total' | 'first_token' | 'idle'): TimeoutPhase {
    if (!this.#isConnected) return 'connect';
    return name;
  }

  #end(cutOff: CutOff): void {
    if (this.cutOff) return;
    this.cutOff = cutOff;
    this.done();
    this.#ended.abort();
    this.#whenCut.reject(new Error(cutOff.kind));
  }
}

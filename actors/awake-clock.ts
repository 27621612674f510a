/**
 * Time in which this process was there to see: it stands still while the host was stopped, asleep or busy with
 * something else, so that nobody is called silent for a time in which nobody listened. Whoever listens ticks it once an
 * interval; between two ticks it advances by one and a half intervals at most.
 */
export class AwakeClock {
  readonly #monotonicMs: () => number;
  readonly #mostMs: number;
  #awakeMs = 0;
  #tickedAtMs: number;

  constructor(intervalMs: number, monotonicMs = (): number => performance.now()) {
    this.#monotonicMs = monotonicMs;
    this.#mostMs = intervalMs * 1.5;
    this.#tickedAtMs = monotonicMs();
  }

  /** ms since it was made. */
  now(): number {
    return this.#awakeMs + Math.min(this.#monotonicMs() - this.#tickedAtMs, this.#mostMs);
  }

  tick(): void {
    this.#awakeMs = this.now();
    this.#tickedAtMs = this.#monotonicMs();
  }
}

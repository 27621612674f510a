/** How many questions one provider gets at a time; the others wait in line, and the line has an end (P8). */
import type { RouterClock } from './call-clock.ts';

export type Entry = { ok: true; leave: () => void } | { ok: false; reason: string };

export class Bulkhead {
  readonly #clock: RouterClock;
  readonly #concurrency: number;
  readonly #queue: number;
  #inside = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(clock: RouterClock, { concurrency, queue }: { concurrency: number; queue: number }) {
    this.#clock = clock;
    this.#concurrency = concurrency;
    this.#queue = queue;
  }

  get inside(): number {
    return this.#inside;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Whoever comes in must leave again. */
  enter(waitMs: number, signal: AbortSignal): Promise<Entry> {
    if (this.#inside < this.#concurrency) return Promise.resolve(this.#let());
    if (this.#waiting.length >= this.#queue || waitMs <= 0)
      return Promise.resolve({
        ok: false,
        reason: `${this.#waiting.length} questions wait for it`,
      });
    return new Promise((resolve) => {
      const settle = (entry: Entry): void => {
        callOff();
        signal.removeEventListener('abort', onAbort);
        const at = this.#waiting.indexOf(turn);
        if (at >= 0) this.#waiting.splice(at, 1);
        resolve(entry);
      };
      const turn = (): void => settle(this.#let());
      const onAbort = (): void => settle({ ok: false, reason: 'cancelled' });
      const callOff = this.#clock.after(waitMs, () =>
        settle({ ok: false, reason: `no turn within ${waitMs / 1000} s` }),
      );
      signal.addEventListener('abort', onAbort);
      this.#waiting.push(turn);
    });
  }

  #let(): Entry {
    this.#inside += 1;
    let isIn = true;
    const leave = (): void => {
      if (!isIn) return;
      isIn = false;
      this.#inside -= 1;
      this.#waiting[0]?.();
    };
    return { ok: true, leave };
  }
}

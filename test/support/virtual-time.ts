/** A clock whose time passes only when nothing else can happen: hours of timeouts in a moment, the same each time. */
import { setImmediate as turn } from 'node:timers/promises';
import type { RouterClock } from '../../actors/llm/call-clock.ts';

export class VirtualTime implements RouterClock {
  #now: number;
  #timers: { at: number; run: () => void }[] = [];

  constructor(startAt = Date.parse('2026-11-21T10:00:00Z')) {
    this.#now = startAt;
  }

  now(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#now + Math.max(0, ms), run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  /** Lets time pass until `work` is settled. Throws when it waits for something that no timer will bring. */
  async run<T>(work: Promise<T>): Promise<T> {
    let isSettled = false;
    const settled = (): void => void (isSettled = true);
    work.then(settled, settled);
    for (;;) {
      for (let quiet = 0; quiet < 3; quiet += 1) await turn(); // all that is due now happens first
      if (isSettled) return work;
      const [next] = this.#timers.toSorted((a, b) => a.at - b.at);
      if (next === undefined) throw new Error('it waits, and nothing will ever happen');
      this.#timers = this.#timers.filter((other) => other !== next);
      this.#now = Math.max(this.#now, next.at);
      next.run();
    }
  }
}

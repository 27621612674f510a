/** A clock that a test moves: no test waits for thirty seconds. */
import type { HealthClock } from '../../actors/heartbeats.ts';

export class ManualClock implements HealthClock {
  #up = 1000;

  now(): { at: number; up: number } {
    return { at: 1_800_000_000_000 + this.#up, up: this.#up };
  }

  pass(seconds: number): void {
    this.#up += seconds * 1000;
  }
}

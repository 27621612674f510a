/**
 * Chance that can be had again: the same seed and name give the same numbers, whatever else is drawn under other names, so that
 * a fault less in a simulation does not make everything else another one.
 */
import { Chance as Seeded } from '../crash/random.ts';

export class Chance extends Seeded {
  constructor(seed: number, name: string) {
    let state = seed;
    for (const char of name) state = Math.imul(state ^ char.charCodeAt(0), 0x01000193);
    super(state);
    for (let i = 0; i < 4; i += 1) this.next();
  }

  is(probability: number): boolean {
    return this.next() < probability;
  }

  /** A span of time, ms: mostly short ones, at times a long one. */
  span(meanMs: number): number {
    return 1 + Math.floor(-Math.log(1 - this.next()) * meanMs);
  }

  /** Throws for an empty list. */
  override pick<T>(list: readonly T[]): T {
    const found = super.pick(list);
    if (found === undefined) throw new Error('there is nothing to choose from');
    return found;
  }

  any<T>(list: readonly T[]): T | undefined {
    return list.length === 0 ? undefined : this.pick(list);
  }

  shuffled<T>(list: readonly T[]): T[] {
    const mixed = [...list];
    for (let i = mixed.length - 1; i > 0; i -= 1) {
      const j = this.between(0, i);
      [mixed[i], mixed[j]] = [mixed[j] as T, mixed[i] as T];
    }
    return mixed;
  }
}

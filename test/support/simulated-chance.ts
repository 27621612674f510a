/**
 * Chance that can be had again: the same seed and name give the same numbers, whatever else is drawn under other names, so that
 * a fault less in a simulation does not make everything else another one.
 */
export class Chance {
  #state: number;

  constructor(seed: number, name: string) {
    this.#state = seed >>> 0;
    for (const char of name) this.#state = Math.imul(this.#state ^ char.charCodeAt(0), 0x01000193);
    for (let i = 0; i < 4; i += 1) this.next();
  }

  /** 0 <= n < 1. Mulberry32. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  is(probability: number): boolean {
    return this.next() < probability;
  }

  /** Both ends belong to it. */
  int(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  /** A span of time, ms: mostly short ones, at times a long one. */
  span(meanMs: number): number {
    return 1 + Math.floor(-Math.log(1 - this.next()) * meanMs);
  }

  /** Throws for an empty list. */
  pick<T>(list: readonly T[]): T {
    const found = list[this.int(0, list.length - 1)];
    if (found === undefined) throw new Error('there is nothing to choose from');
    return found;
  }

  any<T>(list: readonly T[]): T | undefined {
    return list.length === 0 ? undefined : this.pick(list);
  }

  shuffled<T>(list: readonly T[]): T[] {
    const mixed = [...list];
    for (let i = mixed.length - 1; i > 0; i -= 1) {
      const j = this.int(0, i);
      [mixed[i], mixed[j]] = [mixed[j] as T, mixed[i] as T];
    }
    return mixed;
  }
}

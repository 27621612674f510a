/** What is to be done at which time: the earliest first, of one time by rank, then by id, so that nothing depends on who came first. */

export interface Due {
  /** Epoch ms. */
  at: number;
  rank: number;
  id: string;
  run(at: number): unknown;
}

/** A binary heap. */
export class Agenda {
  readonly #heap: Due[] = [];

  nextAt(): number | undefined {
    return this.#heap[0]?.at;
  }

  push(due: Due): void {
    const heap = this.#heap;
    let place = heap.push(due) - 1;
    while (place > 0) {
      const above = (place - 1) >> 1;
      if (!this.#isBefore(place, above)) break;
      this.#swap(place, above);
      place = above;
    }
  }

  pop(): Due | undefined {
    const heap = this.#heap;
    const [first] = heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    heap[0] = last;
    let place = 0;
    for (;;) {
      const [left, right] = [2 * place + 1, 2 * place + 2];
      let least = place;
      if (left < heap.length && this.#isBefore(left, least)) least = left;
      if (right < heap.length && this.#isBefore(right, least)) least = right;
      if (least === place) return first;
      this.#swap(place, least);
      place = least;
    }
  }

  #isBefore(a: number, b: number): boolean {
    const [one, other] = [this.#heap[a] as Due, this.#heap[b] as Due];
    if (one.at !== other.at) return one.at < other.at;
    return one.rank === other.rank ? one.id < other.id : one.rank < other.rank;
  }

  #swap(a: number, b: number): void {
    const heap = this.#heap;
    [heap[a], heap[b]] = [heap[b] as Due, heap[a] as Due];
  }
}

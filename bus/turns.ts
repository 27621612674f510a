/**
 * Work that others ask for, in turns: the node has one thread, and whoever asks for much must not have it for long.
 *
 * T1 In order, and at once while there is little of it. What does not fit into one turn of the event loop waits for the
 *    next, so that commits, timers and other sockets come between: a new connection is taken once a turn.
 * T2 Bounded (P8): work that finds no room is refused, and whoever brought it says so. It has its room until it is done.
 */
export interface TurnsLimits {
  /** Pieces of work that wait or are under way. */
  most: number;
  /** Of what they hold in memory. One that is alone always has room. */
  mostBytes: number;
  /** Begun in one turn, where what they cost shows only later. Default: as many as fit into its time. */
  perTurn?: number;
}

const SLICE_MS = 20;

interface Piece {
  bytes: number;
  begin: () => Promise<void>;
}

export class Turns {
  readonly #limits: TurnsLimits;
  #waiting: Piece[] = [];
  #count = 0;
  #bytes = 0;
  /** What this turn of the loop may still begin; undefined: it has begun nothing yet. */
  #turn: { until: number; left: number } | undefined;

  constructor(limits: TurnsLimits) {
    this.#limits = limits;
  }

  /** False: there is no room. `begin` must not reject. */
  take(bytes: number, begin: () => Promise<void>): boolean {
    const { most, mostBytes } = this.#limits;
    if (this.#count >= most || (this.#count > 0 && this.#bytes + bytes > mostBytes)) return false;
    this.#count += 1;
    this.#bytes += bytes;
    this.#waiting.push({ bytes, begin });
    this.#work();
    return true;
  }

  #work(): void {
    const turn = (this.#turn ??= this.#newTurn());
    while (turn.left > 0 && performance.now() < turn.until) {
      const piece = this.#waiting.shift();
      if (piece === undefined) return;
      turn.left -= 1;
      void this.#begin(piece);
    }
  }

  #newTurn(): { until: number; left: number } {
    setImmediate(() => {
      this.#turn = undefined;
      if (this.#waiting.length > 0) this.#work();
    });
    return { until: performance.now() + SLICE_MS, left: this.#limits.perTurn ?? Infinity };
  }

  async #begin({ bytes, begin }: Piece): Promise<void> {
    try {
      await begin();
    } finally {
      this.#count -= 1;
      this.#bytes -= bytes;
    }
  }
}

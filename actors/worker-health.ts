/**
 * How a worker is, by what it says. Alive and getting on are two things: one that beats is alive, and its step gets on
 * when its output grows or it uses CPU time.
 *
 * L1 A miss is one full interval without a word (any message counts); what misses mean is T1 of machines/heartbeats.ts.
 * L2 Times are those of an AwakeClock: what a stopped or busy host could not hear is nobody's silence.
 * L3 Stuck is judged only while a step's own process runs: what the worker does after it (a full disk, say, that an
 *    outcome waits for) is not the step's fault.
 */

/** The step in flight, in numbers of which at least one changes when it gets on. */
export interface Progress {
  /** Of the `run` message. */
  id: number;
  outputBytes: number;
  /** CPU time of its processes so far; null where it cannot be known. */
  cpuTicks: number | null;
}

export interface WorkerHealth {
  status: 'healthy' | 'degraded' | 'unhealthy';
  /** Epoch ms; 0 before the first. */
  lastBeatAt: number;
  misses: number;
  /** How long its step has shown no progress; null while it has none. */
  stuckForMs: number | null;
}

/** A beat is somewhat late when it comes through a timer and a channel. */
const BEAT_SLACK = 0.1;

export class LifeSigns {
  readonly #intervalMs: number;
  #heardAt: number;
  #progress: Progress | null = null;
  #movedAt = 0;

  constructor(intervalMs: number, now: number) {
    this.#intervalMs = intervalMs;
    this.#heardAt = now;
  }

  heard(now: number): void {
    this.#heardAt = now;
  }

  /** L3: null while no step's process runs. */
  reported(progress: Progress | null, now: number): void {
    if (!isSame(progress, this.#progress)) this.#movedAt = now;
    this.#progress = progress;
  }

  get progress(): Progress | null {
    return this.#progress;
  }

  silentForMs(now: number): number {
    return now - this.#heardAt;
  }

  /** L1. */
  misses(now: number): number {
    return Math.max(0, Math.floor(this.silentForMs(now) / this.#intervalMs - BEAT_SLACK));
  }

  stuckForMs(now: number): number | null {
    return this.#progress === null ? null : now - this.#movedAt;
  }
}

function isSame(a: Progress | null, b: Progress | null): boolean {
  if (a === null || b === null) return a === b;
  return a.id === b.id && a.outputBytes === b.outputBytes && a.cpuTicks === b.cpuTicks;
}

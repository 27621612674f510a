/**
 * The host's eye on one worker: takes in what it says and gives the verdict by which the pool kills it (H5, H6 of
 * worker-pool.ts). A false alarm costs work that was going well, so two doubts count in the worker's favour: a host that
 * was not awake (AwakeClock), and a machine so busy that the worker hardly got the processor.
 */
import { statusOfMisses, UNHEALTHY_MISSES } from '../machines/heartbeats.ts';
import type { AwakeClock } from './awake-clock.ts';
import { isRunning, readScheduling, readStat } from './proc-fs.ts';
import type { Scheduling } from './proc-fs.ts';
import { LifeSigns } from './worker-health.ts';
import type { Progress, WorkerHealth } from './worker-health.ts';

export interface Verdict {
  cause: 'hung' | 'stuck';
  /** How long there was no beat, or no progress. */
  forMs: number;
  /** Of a stuck step: the id of its `run` message. */
  runId: number | null;
}

/** Of a processor: any worker that is not caught in a loop gets a beat out in it. */
const MS_FOR_A_BEAT = 200;
/** Share of its silence that it waited for a processor, from which on the machine is to blame. */
const STARVED = 0.25;
const MAX_STARVED_MISSES = 30;
/** A step's whole tree is measured at least this often. */
const LOOK_EVERY_MS = 10_000;
/** Measurements within one progress timeout: a single one could fall between two movements. */
const LOOKS = 4;

export class WorkerWatch {
  readonly #pid: number;
  readonly #intervalMs: number;
  readonly #clock: AwakeClock;
  readonly #signs: LifeSigns;
  #lastBeatAt = 0;
  #progressTimeoutMs: number | null = null;
  /** When the first beat was missed. */
  #atMiss: { now: number; scheduling: Scheduling | null } | null = null;

  constructor(pid: number, intervalMs: number, clock: AwakeClock) {
    this.#pid = pid;
    this.#intervalMs = intervalMs;
    this.#clock = clock;
    this.#signs = new LifeSigns(intervalMs, clock.now());
  }

  /** From now on a step may be without progress for so long; null: for ever. Returns how often the worker is to measure. */
  expectProgress(timeoutMs: number | null): { lookEveryMs: number } {
    this.#progressTimeoutMs = timeoutMs;
    const often = (timeoutMs ?? Infinity) / LOOKS;
    return { lookEveryMs: Math.max(this.#intervalMs, Math.min(LOOK_EVERY_MS, often)) };
  }

  get lastBeatAt(): number {
    return this.#lastBeatAt;
  }

  /** Any word of the worker is a sign of life. */
  heard(): void {
    this.#lastBeatAt = Date.now();
    this.#signs.heard(this.#clock.now());
  }

  reported(progress: Progress | null): void {
    this.#signs.reported(progress, this.#clock.now());
  }

  health(): WorkerHealth {
    const now = this.#clock.now();
    const misses = this.#signs.misses(now);
    return {
      status: this.#isStuck(now) ? 'unhealthy' : statusOfMisses(misses),
      lastBeatAt: this.#lastBeatAt,
      misses,
      stuckForMs: this.#signs.stuckForMs(now),
    };
  }

  /** Null while it is well. To be asked once an interval, when everything that has come from the worker was read. */
  verdict(): Verdict | null {
    const now = this.#clock.now();
    const misses = this.#signs.misses(now);
    if (misses === 0) {
      this.#atMiss = null;
      return this.#isStuck(now) ? this.#stuck(now) : null;
    }
    this.#atMiss ??= { now, scheduling: readScheduling(this.#pid) };
    if (misses < UNHEALTHY_MISSES) return null;
    if (misses < MAX_STARVED_MISSES && this.#isStarved(now)) return null;
    return { cause: 'hung', forMs: this.#signs.silentForMs(now), runId: null };
  }

  /** Where CPU time is not known, nothing is judged: a step may well compute without a word. */
  #isStuck(now: number): boolean {
    const timeoutMs = this.#progressTimeoutMs;
    const { progress } = this.#signs;
    if (timeoutMs === null || progress === null || progress.cpuTicks === null) return false;
    const limitMs = Math.max(timeoutMs, LOOKS * this.#intervalMs);
    return (this.#signs.stuckForMs(now) ?? 0) >= limitMs;
  }

  #stuck(now: number): Verdict {
    const forMs = this.#signs.stuckForMs(now) ?? 0;
    return { cause: 'stuck', forMs, runId: this.#signs.progress?.id ?? null };
  }

  /**
   * It wants to run and hardly gets a processor, or waits for the disk: the machine is to blame, for a while. One that is
   * stopped waits for nothing, and a loop takes what it can get.
   */
  #isStarved(now: number): boolean {
    const stat = readStat(this.#pid);
    const [then, since] = [this.#atMiss?.scheduling, this.#atMiss?.now ?? now];
    const scheduling = readScheduling(this.#pid);
    if (!isRunning(stat) || !then || !scheduling) return false;
    if (scheduling.ranMs - then.ranMs >= MS_FOR_A_BEAT) return false;
    const share = (scheduling.waitedMs - then.waitedMs) / Math.max(1, now - since);
    return stat.state === 'R' || stat.state === 'D' || share >= STARVED;
  }
}

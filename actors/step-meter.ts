/**
 * What the step in flight has done so far, for each beat. Its output and its own process's CPU time cost three system
 * calls; the CPU time of everything it started, also of what left its group and its family, costs a look at every
 * process of the host, and is taken only every `lookEveryMs`.
 */
import { cpuTicksOf, pidAlive } from './processes.ts';
import type { Mark } from './marks.ts';
import { hasProc, isRunning, readStat } from './proc-fs.ts';
import type { Progress } from './worker-health.ts';

export interface MeteredStep {
  id: number;
  pid: number;
  /** Carried by everything it started. */
  mark: Mark;
  outputBytes: () => number;
  lookEveryMs: number;
}

export class StepMeter {
  readonly #step: MeteredStep;
  #treeTicks: number | null = null;
  #lookedAt = -Infinity;

  constructor(step: MeteredStep) {
    this.#step = step;
  }

  /** Null when the step's own process has ended. Valid until the step is settled. */
  sample(): Progress | null {
    const { id, pid, outputBytes } = this.#step;
    if (!hasProc)
      return pidAlive(pid, null) ? { id, outputBytes: outputBytes(), cpuTicks: null } : null;
    const stat = readStat(pid);
    if (!isRunning(stat)) return null;
    this.#lookIfDue();
    const cpuTicks = this.#treeTicks === null ? null : this.#treeTicks + stat.cpuTicks;
    return { id, outputBytes: outputBytes(), cpuTicks };
  }

  #lookIfDue(): void {
    const now = performance.now();
    if (now - this.#lookedAt < this.#step.lookEveryMs) return;
    this.#lookedAt = now;
    const isUnknown = (): null => null; // a host without a descriptor to spare, say: nothing is judged by it
    void cpuTicksOf(this.#step.mark)
      .catch(isUnknown)
      .then((ticks) => (this.#treeTicks = ticks));
  }
}

/**
 * SIGKILL at the durable boundaries of the closed loop: the real `bin/lazarus up` with an inventory, a world, a policy that
 * approves and a docker around it (test/support/loop-world.ts). A clean run lists the fault points from the moment at which a
 * service fails; then each gets a homelab of its own, whose second life must bring everything to its end.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LifeOptions } from '../support/homelab-process.ts';
import { APPROVES, LoopWorld } from '../support/loop-world.ts';
import type { Violation } from './report.ts';

/** What was told is on disk by then, if anything is written at all. */
const AFTERGLOW_MS = 300;
/** From a restart until somebody sees the service well. */
const SEEN_AFTER_MS = 100;

/** One homelab, and what went wrong in it. */
export class LoopTrial {
  readonly folder: string;
  readonly violations: Violation[] = [];
  /** From the spawn of the second life until it answered, ms. */
  readonly recoveries: number[] = [];
  readonly acknowledged = 0;
  readonly #world = new LoopWorld(APPROVES);

  static readonly open = async (): Promise<LoopTrial> => new LoopTrial();

  constructor() {
    const { lab } = this.#world;
    this.folder = lab.base;
    lab.docker.onRestart = () => void setTimeout(() => this.#world.recovers(), SEEN_AFTER_MS);
  }

  /** `at`: where the first life dies. False: it never came there. */
  async run({ at, list }: Pick<LifeOptions, 'at' | 'list'>): Promise<boolean> {
    const { lab } = this.#world;
    const begun = join(lab.base, 'begun');
    try {
      const life = await lab.up({ from: begun, ...(at && { at }), ...(list && { list }) });
      await this.#world.isWatched();
      writeFileSync(begun, '');
      this.#world.fails();
      await Promise.race([life.exited, this.#isOver()]);
      const wasKilled = life.isOver;
      await life.kill();
      this.#world.checkFiles(true);
      if (wasKilled) await this.#goOn();
      return wasKilled;
    } catch (error) {
      this.violations.push({ kind: 'lost', what: String(error) });
      return true;
    } finally {
      for (const what of this.#world.violations) this.violations.push({ kind: 'repeated', what });
    }
  }

  /** Its folder stays. */
  async close(): Promise<void> {
    await this.#world.lab.close();
  }

  remove(): void {
    this.#world.lab.remove();
  }

  async #isOver(): Promise<void> {
    await this.#world.isOver(true);
    await sleep(AFTERGLOW_MS);
  }

  async #goOn(): Promise<void> {
    const spawned = performance.now();
    await this.#world.lab.up();
    this.recoveries.push(Math.round(performance.now() - spawned));
    await this.#isOver();
    const problems = this.#world.problems(true); // nothing more comes of it
    this.violations.push(...problems.map((what): Violation => ({ kind: 'repeated', what })));
  }
}

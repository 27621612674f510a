/**
 * SIGKILL at the durable boundaries of the chain from a health event to a verified action: the real `bin/lazarus up` with a
 * Redis, a model, a docker and a person around it (test/support/homelab-world.ts). A clean run lists the fault points from
 * the event on; then each gets a homelab of its own, whose second life must bring everything to its end.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { allAre, openWorld, reads, unhealthy } from '../support/homelab-world.ts';
import type { World } from '../support/homelab-world.ts';
import type { LifeOptions } from '../support/homelab-process.ts';
import type { Violation } from './report.ts';

const SERVICE = 'web';
/** What was told is on disk by then, if anything is written at all. */
const AFTERGLOW_MS = 100;

/** One homelab, and what went wrong in it. */
export class ChainTrial {
  readonly folder: string;
  readonly violations: Violation[] = [];
  /** From the spawn of the second life until it answered, ms. */
  readonly recoveries: number[] = [];
  readonly acknowledged = 0;
  readonly #world: World;

  static readonly open = async (): Promise<ChainTrial> =>
    new ChainTrial(await openWorld(() => true));

  constructor(world: World) {
    this.#world = world;
    this.folder = world.lab.base;
  }

  /** `at`: where the first life dies. False: it never came there. */
  async run({ at, list }: Pick<LifeOptions, 'at' | 'list'>): Promise<boolean> {
    const { lab, person } = this.#world;
    const begun = join(lab.base, 'begun');
    lab.docker.run(SERVICE, 'healthy');
    try {
      const life = await lab.up({ from: begun, ...(at && { at }), ...(list && { list }) });
      await reads(this.#world);
      writeFileSync(begun, '');
      await person.publish(unhealthy(SERVICE));
      const end = allAre(this.#world, [SERVICE]).then(() => sleep(AFTERGLOW_MS));
      await Promise.race([life.exited, end]);
      const wasKilled = life.isOver;
      await life.kill();
      person.checkFiles();
      if (wasKilled) await this.#goOn();
      await end;
      return wasKilled;
    } catch (error) {
      this.violations.push({ kind: 'lost', what: String(error) });
      return true;
    } finally {
      this.#judge();
    }
  }

  /** Its folder stays. */
  async close(): Promise<void> {
    await this.#world.close();
  }

  remove(): void {
    this.#world.lab.remove();
  }

  async #goOn(): Promise<void> {
    const spawned = performance.now();
    await this.#world.lab.up();
    this.recoveries.push(Math.round(performance.now() - spawned));
  }

  #judge(): void {
    const { lab, person, model } = this.#world;
    const restarts = lab.docker.restartsOf(SERVICE);
    if (restarts !== 1 && this.violations.length === 0)
      this.violations.push({ kind: 'lost', what: `${SERVICE} was restarted ${restarts} times` });
    for (const what of person.violations) this.violations.push({ kind: 'repeated', what });
    for (const what of model.violations) this.violations.push({ kind: 'other', what });
  }
}

/**
 * Worker processes that stand by for whichever agent needs one next, so that no revival waits for the start of a process.
 *
 * B1 None before an agent has asked for a worker: a runtime without work stays small.
 * B2 The set is filled up in the background, one by one, never while a start for an agent is under way or waits.
 * B3 When an agent's worker is lost and nobody stands by, its successor is started at once, while the rest of the dead
 *    one is ended and Lazarus decides; who takes it comes by the usual way.
 * B4 Processes that die as soon as they are there are not started again and again: after some in a row there is a
 *    warning, and no more until a worker has answered an agent.
 */
import type { WorkerLog } from './worker-handle.ts';
import type { WorkerProcess } from './worker-process.ts';

export interface StandbyHost {
  /** Starts a worker that is nobody's yet; null when there is no room, or agents need the machine more (B2). */
  make(urgency: 'now' | 'when_quiet'): WorkerProcess | null;
  log: WorkerLog;
}

/** After one was taken the machine is the agent's for this long. */
const REFILL_DELAY_MS = 50;
const MAX_REFILL_DELAY_MS = 5_000;
/** A process that lives shorter than this has died at once. */
const INSTANT_MS = 5_000;
const MAX_INSTANT_DEATHS = 5;

export class StandbyWorkers {
  readonly #host: StandbyHost;
  readonly #idle = new Set<WorkerProcess>();
  #size: number;
  #isOpen = false;
  #isClosed = false;
  #instantDeaths = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(size: number, host: StandbyHost) {
    this.#size = size;
    this.#host = host;
  }

  /** Of those that have answered. */
  get count(): number {
    return [...this.#idle].filter(({ isStarted }) => isStarted).length;
  }

  /** One that stands by, rather one that has answered than one that still starts. */
  take(): WorkerProcess | undefined {
    this.#isOpen = true; // B1
    const able = [...this.#idle].filter((worker) => !worker.isEnding);
    const taken = able.find(isWell) ?? able.find((worker) => !worker.isStarted);
    if (taken) this.#idle.delete(taken);
    this.refill();
    return taken;
  }

  /** B3. */
  replaceLost(): void {
    if (this.#idle.size === 0 && this.#wants) this.#make('now');
  }

  /** B4: there is nothing wrong with starting workers. */
  answered(): void {
    this.#instantDeaths = 0;
    this.refill();
  }

  resize(size: number): void {
    this.#size = size;
    for (const worker of [...this.#idle].slice(size)) {
      this.#idle.delete(worker);
      void worker.stop();
    }
    this.refill();
  }

  /** B2. */
  refill(): void {
    if (!this.#wants || this.#timer) return;
    const delayMs = Math.min(REFILL_DELAY_MS * 2 ** this.#instantDeaths, MAX_REFILL_DELAY_MS);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#wants) this.#make('when_quiet');
    }, delayMs).unref();
  }

  /** The processes themselves are ended by the pool. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  get #wants(): boolean {
    if (!this.#isOpen || this.#isClosed || this.#instantDeaths >= MAX_INSTANT_DEATHS) return false;
    return this.#idle.size < this.#size;
  }

  #make(urgency: 'now' | 'when_quiet'): void {
    const worker = this.#host.make(urgency);
    if (worker === null) return; // the pool calls `refill` when that changes
    this.#idle.add(worker);
    const madeAt = performance.now();
    void worker.started.then(() => this.refill()).catch(() => undefined); // it died: see below
    void worker.exited.then(() => {
      if (!this.#idle.delete(worker)) return; // an agent's by now, or sent away
      if (performance.now() - madeAt < INSTANT_MS) this.#countDeath();
      this.refill();
    });
  }

  #countDeath(): void {
    this.#instantDeaths += 1;
    if (this.#instantDeaths === MAX_INSTANT_DEATHS)
      this.#host.log.warn(
        { deaths: this.#instantDeaths },
        'standby workers die as soon as they start; no more are started until a worker has answered an agent',
      );
  }
}

const isWell = (worker: WorkerProcess): boolean =>
  worker.isStarted && worker.health().status === 'healthy';

/**
 * Starts the workers of a node and knows when one is surely gone. Must live in the main thread: a parent death signal
 * is tied to the thread that spawned.
 *
 * H1 `exited` resolves when the process is reaped, its channel is closed, and what it ran is ended. Only then may its
 *    agent be revived, and only then do its `run` calls reject: whoever hears WORKER_LOST can read the outcome file
 *    and knows that nobody will write it any more.
 * H2 After that nothing the process still says counts (fencing).
 * H3 A worker of an agent runs nothing while another one of that agent is dying; the next may be started before. A
 *    worker serves one agent in its life.
 * H4 A worker's death signal is SIGTERM, not SIGKILL: it must have the moment to kill its step's descendants, which no
 *    death signal reaches. One that is hung at that moment stays until `endLeftovers` of the next start.
 * H5 A worker that missed three beats is hung, and killed: SIGKILL ends a stopped one too.
 * H6 A worker whose step has shown no progress for longer than its agent's `progress_timeout` is stuck, and killed.
 * H7 So many start at a time, so that a hundred that die together do not all start together; the rest wait their turn.
 */
import { availableParallelism } from 'node:os';
import { RuntimeError } from '../machines/errors.ts';
import { AwakeClock } from './awake-clock.ts';
import type { Cgroups } from './cgroup.ts';
import { StandbyWorkers } from './standby-workers.ts';
import { StartSlots } from './start-slots.ts';
import type { WorkerHandle, WorkerLog, WorkerPlace } from './worker-handle.ts';
import { BEAT_INTERVAL_MS } from './worker-messages.ts';
import { WorkerProcess } from './worker-process.ts';

export type { WorkerHealth } from './worker-health.ts';
export type { WorkerExit, WorkerHandle, WorkerLog, WorkerPlace } from './worker-handle.ts';

export interface WorkerPoolOptions {
  nodeId: string;
  log: WorkerLog;
  /** By which the tree of a worker is ended, where the host gives them. Default: none. */
  cgroups?: Cgroups | null;
  /** Default 256, those that stand by included; each takes some 10 MB of its own. */
  maxWorkers?: number;
  /** How many stand by once an agent has asked for a worker. Default 2; 0: none. */
  standby?: number;
  /** H7. Default: two for each processor. */
  maxStarts?: number;
  /** Between two beats of a worker. Default 1000. */
  beatIntervalMs?: number;
  /** Folder of V8's compile cache: halves a worker's start. Default: the one this process uses, else none. */
  compileCacheDir?: string;
}

export interface StartOptions {
  /** Withdraws a start that still waits for its turn. A worker that is there is stopped by its handle. */
  signal?: AbortSignal;
  /** H6. Default null: only shown. */
  progressTimeoutMs?: number | null;
  /** H7: it waits its turn from now on, and then it is its turn. Neither is called when there is no wait. */
  onQueued?: () => void;
  onTurn?: () => void;
}

export interface WorkerCounts {
  /** All processes, also those that start or stand by. */
  workers: number;
  /** Those that have not answered yet. */
  starting: number;
  /** Those that have answered and are nobody's. */
  standby: number;
  /** Agents that wait for their turn (H7). */
  waiting: number;
}

const DEFAULT_STANDBY = 2;
const never = new AbortController().signal;

export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  readonly #workers = new Set<WorkerProcess>();
  readonly #standby: StandbyWorkers;
  readonly #slots: StartSlots;
  readonly #beatIntervalMs: number;
  readonly #clock: AwakeClock;
  readonly #closing = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: WorkerPoolOptions) {
    const { standby = DEFAULT_STANDBY, maxStarts = 2 * availableParallelism() } = options;
    this.#options = options;
    this.#slots = new StartSlots(maxStarts);
    this.#beatIntervalMs = options.beatIntervalMs ?? BEAT_INTERVAL_MS;
    this.#clock = new AwakeClock(this.#beatIntervalMs);
    this.#standby = new StandbyWorkers(standby, {
      make: (urgency) => this.#makeStandby(urgency),
      log: options.log,
    });
  }

  /**
   * The agent's worker: one that stands by, or a new one when it is its turn. `ready` tells when it has answered. Rejects
   * BUSY when there are too many workers, WORKER_LOST when the host cannot make a process.
   */
  async start(place: WorkerPlace, options: StartOptions = {}): Promise<WorkerHandle> {
    const { signal = never, progressTimeoutMs = null } = options;
    signal.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    const { cellId, agentId, cellDir } = place;
    const worker = this.#standby.take() ?? (await this.#makeInTurn(signal, options));
    worker.adopt({ cellId, agentId, cellDir, progressTimeoutMs });
    void worker.ready.then(() => this.#standby.answered()).catch(() => undefined); // its caller hears why not
    void worker.reaped.then(() => {
      if (!worker.wasToldToEnd) this.#standby.replaceLost();
    });
    return worker;
  }

  /** How many stand by from now on. */
  setStandby(count: number): void {
    this.#standby.resize(count);
  }

  counts(): WorkerCounts {
    const starting = [...this.#workers].filter(({ isStarted }) => !isStarted).length;
    return {
      workers: this.#workers.size,
      starting,
      standby: this.#standby.count,
      waiting: this.#slots.waiting,
    };
  }

  /** Stops all workers; resolves when all are gone. */
  async close(): Promise<void> {
    this.#closing.abort(busy('the node is stopping'));
    this.#standby.close();
    await Promise.all([...this.#workers].map((worker) => worker.stop()));
  }

  /** H7. */
  async #makeInTurn(
    signal: AbortSignal,
    { onQueued, onTurn }: StartOptions,
  ): Promise<WorkerProcess> {
    if (this.#isFull) throw busy(`${this.#workers.size} workers run already`);
    const { signal: closing } = this.#closing;
    const mustWait = !this.#slots.tryTake();
    if (mustWait) {
      onQueued?.();
      await this.#slots.take(AbortSignal.any([signal, closing]));
    }
    try {
      if (mustWait) onTurn?.();
      closing.throwIfAborted();
    } catch (error) {
      this.#slots.release();
      throw error;
    }
    const ready = this.#standby.take(); // meanwhile
    if (!ready) return this.#make();
    this.#slots.release();
    return ready;
  }

  #makeStandby(urgency: 'now' | 'when_quiet'): WorkerProcess | null {
    if (this.#closing.signal.aborted || this.#isFull) return null;
    if (urgency === 'when_quiet' && !this.#slots.isIdle) return null;
    if (!this.#slots.tryTake()) return null;
    try {
      return this.#make();
    } catch (err) {
      this.#options.log.warn({ err }, 'no worker could be made to stand by');
      return null;
    }
  }

  /** With a slot, which is released when the worker has started, or when it has not. */
  #make(): WorkerProcess {
    const release = (): void => {
      this.#slots.release();
      this.#standby.refill();
    };
    try {
      const worker = new WorkerProcess({
        nodeId: this.#options.nodeId,
        log: this.#options.log,
        compileCacheDir: this.#options.compileCacheDir,
        beatIntervalMs: this.#beatIntervalMs,
        clock: this.#clock,
        cgroups: this.#options.cgroups ?? null,
        siblingsOf: (one) =>
          [...this.#workers].filter((other) => other !== one && other.serves(one)),
      });
      this.#workers.add(worker);
      this.#timer ??= setInterval(() => this.#judgeAll(), this.#beatIntervalMs).unref();
      void worker.started.then(release, release);
      void worker.exited.then(() => this.#forget(worker));
      return worker;
    } catch (error) {
      release();
      throw error;
    }
  }

  #forget(worker: WorkerProcess): void {
    this.#workers.delete(worker);
    this.#standby.refill();
    if (this.#workers.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** H5, H6. Judged after the channels were read: a beat that waited there was not missed. */
  #judgeAll(): void {
    this.#clock.tick();
    setImmediate(() => {
      for (const worker of this.#workers) worker.judge();
    });
  }

  get #isFull(): boolean {
    const { maxWorkers = 256 } = this.#options;
    return this.#workers.size + this.#slots.waiting >= maxWorkers;
  }
}

function busy(why: string): RuntimeError {
  return new RuntimeError(`no worker can be started: ${why}`, { code: 'BUSY', retryable: true });
}

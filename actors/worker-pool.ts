/**
 * Starts the workers of a node and knows when one is surely gone. Must live in the main thread: a parent death signal
 * is tied to the thread that spawned.
 *
 * H1 `exited` resolves when the process is reaped, its channel is closed, and what it ran is ended. Only then may its
 *    agent be revived, and only then do its `run` calls reject: whoever hears WORKER_LOST can read the outcome file
 *    and knows that nobody will write it any more.
 * H2 After that nothing the process still says counts (fencing).
 * H3 A worker of an agent runs nothing while another one of that agent is dying; a standby may be started before.
 * H4 A worker's death signal is SIGTERM, not SIGKILL: it must have the moment to kill its step's descendants, which no
 *    death signal reaches. One that is hung at that moment stays until `endLeftovers` of the next start.
 */
import { RuntimeError } from '../machines/errors.ts';
import { WorkerProcess } from './worker-process.ts';
import type { StepOutcome, StepRequest } from './step-runner.ts';
import type { WorkerExit, WorkerLog, WorkerPlace } from './worker-process.ts';

export type { WorkerExit, WorkerLog } from './worker-process.ts';

export interface WorkerHandle {
  readonly pid: number;
  /** The process is no more. What it ran may still be about to be ended: see `exited`. */
  readonly isReaped: boolean;
  /** It takes no step any more: told to stop, or found dead. */
  readonly isEnding: boolean;
  /** Rejects WORKER_LOST when the process ends first. */
  readonly ready: Promise<void>;
  /** H1. */
  readonly exited: Promise<WorkerExit>;
  /** Epoch ms of the last sign of life; 0 before the first. */
  lastBeatAt(): number;
  /**
   * Rejects with the abort's reason once the step is gone, WORKER_LOST when the worker dies first (`details.mayHaveRun`),
   * or as `runStep` does.
   */
  run(
    request: StepRequest,
    signal: AbortSignal,
    onStarted?: (pid: number) => void,
  ): Promise<StepOutcome>;
  /** Aborts what it runs, then exits; after a few seconds by SIGKILL. Resolves with `exited`. */
  stop(): Promise<void>;
  kill(): void;
}

export interface WorkerPoolOptions {
  nodeId: string;
  log: WorkerLog;
  /** Default 256; each takes some 10 MB of its own. */
  maxWorkers?: number;
  /** Folder of V8's compile cache: halves a worker's start. Default: the one this process uses, else none. */
  compileCacheDir?: string;
}

export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  readonly #workers = new Set<WorkerProcess>();
  #closed = false;

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
  }

  /** Throws BUSY when there are too many workers, WORKER_LOST when the host cannot make a process. */
  start({ cellId, agentId, cellDir }: WorkerPlace): WorkerHandle {
    const { maxWorkers = 256 } = this.#options;
    if (this.#closed) throw busy('the node is stopping');
    if (this.#workers.size >= maxWorkers) throw busy(`${maxWorkers} workers run already`);
    const worker = new WorkerProcess(this.#options, { cellId, agentId, cellDir }, () =>
      [...this.#workers].filter((other) => other !== worker && other.serves(cellId, agentId)),
    );
    this.#workers.add(worker);
    void worker.exited.then(() => this.#workers.delete(worker));
    return worker;
  }

  /** Stops all workers; resolves when all are gone. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#workers].map((worker) => worker.stop()));
  }
}

function busy(why: string): RuntimeError {
  return new RuntimeError(`no worker can be started: ${why}`, { code: 'BUSY', retryable: true });
}

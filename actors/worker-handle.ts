/** A worker as those see it who use it: whose it is, what it takes, how it ended. The promises H1 to H6 are those of worker-pool.ts. */
import type { StepOutcome, StepRequest } from './step-request.ts';
import type { WorkerHealth } from './worker-health.ts';

export interface WorkerPlace {
  cellId: string;
  agentId: string;
  /** Absolute path, for the log; each request brings the cell's present path. */
  cellDir: string;
}

export interface WorkerHandle {
  readonly pid: number;
  /** The process is no more. What it ran may still be about to be ended: see `exited`. */
  readonly isReaped: boolean;
  /** It takes no step any more: told to stop, or found dead. */
  readonly isEnding: boolean;
  /** It has answered as this agent's. Rejects WORKER_LOST when the process ends first. */
  readonly ready: Promise<void>;
  /** H1. */
  readonly exited: Promise<WorkerExit>;
  /** Epoch ms of the last sign of life; 0 before the first. */
  lastBeatAt(): number;
  /** H5, H6: how it is at this moment. */
  health(): WorkerHealth;
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

export interface WorkerExit {
  code: number | null;
  signal: string | null;
  /** `hung`: it gave no sign of life and was killed (H5). `stuck`: its step did not get on, and it was killed (H6). */
  cause: 'exit' | 'hung' | 'stuck';
  /** For people: "no heartbeat for 3.1 s". */
  detail: string | null;
  /** Pids of its steps that could not be ended: nobody may call it gone while there are any. Normally empty. */
  leftovers: number[];
}

/** The part of a pino logger that is used here. */
export interface WorkerLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** The steps that a host has handed to one worker, each until it is answered or the worker is gone. */
import { RuntimeError } from '../machines/errors.ts';
import type { StepOutcome, StepRequest } from './step-request.ts';
import { MAX_QUEUED, fromWireError } from './worker-messages.ts';
import type { FromWorker } from './worker-messages.ts';

export interface Run {
  readonly id: number;
  readonly request: StepRequest;
  readonly signal: AbortSignal;
  /** The step's process group, once the worker has told it. */
  group: number | null;
  readonly onStarted: ((pid: number) => void) | undefined;
  resolve(outcome: StepOutcome): void;
  reject(reason: unknown): void;
}

export class WorkerRuns {
  readonly #runs = new Map<number, Run>();
  /** Keys of steps that were answered "it ran, but its processes cannot be accounted for". */
  readonly #unsure = new Set<string>();
  #next = 1;

  get size(): number {
    return this.#runs.size;
  }

  get(id: number): Run | undefined {
    return this.#runs.get(id);
  }

  /** Process groups of what is in flight, as far as they are known. */
  groups(): number[] {
    return [...this.#runs.values()].flatMap(({ group }) => (group === null ? [] : [group]));
  }

  /**
   * Keys of the steps that may have left a process. Of the others nothing is there: a worker answers a step only when
   * nothing is left of it (R1 of step-runner.ts).
   */
  unsettledKeys(): string[] {
    const inFlight = [...this.#runs.values()].map(({ request }) => request.key);
    return [...new Set([...inFlight, ...this.#unsure])];
  }

  /** Throws BUSY when too many wait. */
  add(
    request: StepRequest,
    signal: AbortSignal,
    onStarted: ((pid: number) => void) | undefined,
  ): { id: number; answered: Promise<StepOutcome> } {
    if (this.#runs.size >= MAX_QUEUED)
      throw new RuntimeError(`agent ${request.agentId} has ${MAX_QUEUED} steps waiting`, {
        code: 'BUSY',
        retryable: true,
      });
    const id = this.#next++;
    const answered = new Promise<StepOutcome>((resolve, reject) => {
      this.#runs.set(id, { id, request, signal, group: null, onStarted, resolve, reject });
    });
    return { id, answered };
  }

  /** False for an answer to another step than it claims. One that was answered already is passed over. */
  answer(message: Extract<FromWorker, { id: number }>): boolean {
    const run = this.#runs.get(message.id);
    if (!run) return true;
    const { key, name, taskId, cellId, agentId } = run.request;
    if (message.t === 'started') {
      run.group = message.pid;
      run.onStarted?.(message.pid);
      return true;
    }
    if (message.t === 'outcome' && message.outcome.key !== key) return false;
    this.#runs.delete(message.id);
    if (message.t === 'outcome') {
      run.resolve(message.outcome);
      return true;
    }
    const { error } = message;
    if (error.code === 'OUTCOME_UNKNOWN') this.#unsure.add(key);
    if (error.aborted && run.signal.aborted) run.reject(run.signal.reason);
    else run.reject(fromWireError(error, { cellId, agentId, key, taskId, step: name }));
    return true;
  }

  /** The worker is gone: what it has not answered, nobody answers. */
  rejectAll(lost: () => Error): void {
    for (const run of this.#runs.values())
      run.reject(run.signal.aborted ? run.signal.reason : lost());
    this.#runs.clear();
  }
}

import type { WorkerHandle } from './worker-pool.ts';

/** The workers that have answered and are not gone, by agent; steps wait here for theirs. */
export class LiveWorkers {
  readonly #live = new Map<string, WorkerHandle>();
  readonly #waiting = new Map<string, Set<(handle: WorkerHandle) => void>>();

  get(cellId: string, agentId: string): WorkerHandle | undefined {
    return this.#live.get(`${cellId}/${agentId}`);
  }

  /** Null also when the process has ended and only its burial is still under way: nobody is shown a dead pid. */
  pidOf(cellId: string, agentId: string): number | null {
    const live = this.get(cellId, agentId);
    return live === undefined || live.isReaped ? null : live.pid;
  }

  add(cellId: string, agentId: string, handle: WorkerHandle): void {
    const key = `${cellId}/${agentId}`;
    this.#live.set(key, handle);
    for (const resolve of this.#waiting.get(key) ?? []) resolve(handle);
    this.#waiting.delete(key);
  }

  remove(cellId: string, agentId: string, handle: WorkerHandle): void {
    const key = `${cellId}/${agentId}`;
    if (this.#live.get(key) === handle) this.#live.delete(key);
  }

  /** The agent's worker, as soon as it has one. One that is ending is no more than none: its successor is waited for. */
  async next(cellId: string, agentId: string, signal: AbortSignal): Promise<WorkerHandle> {
    const live = this.get(cellId, agentId);
    if (live && !live.isEnding) return live;
    const key = `${cellId}/${agentId}`;
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(key) ?? new Set();
      this.#waiting.set(key, waiting);
      const take = (handle: WorkerHandle): void => {
        signal.removeEventListener('abort', giveUp);
        resolve(handle);
      };
      const giveUp = (): void => {
        waiting.delete(take);
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', giveUp, { once: true });
      waiting.add(take);
    });
  }
}

/**
 * Steps that were cut off and of which it is not yet known what became: between the loss of a worker and the moment at
 * which the step is adopted, runs again, or is listed in doubt. A revival is not verified before that (A10).
 */
export class StepsInFlight {
  readonly #cutOff = new Map<string, Set<string>>();
  readonly #waiting = new Map<string, Set<() => void>>();

  /** The step with this effect key lost its worker, or the node its memory of it. */
  cutOff(address: string, key: string): void {
    const keys = this.#cutOff.get(address);
    if (keys) keys.add(key);
    else this.#cutOff.set(address, new Set([key]));
  }

  /** It is known what became of it, or nobody wants to know any more. */
  settled(address: string, key: string): void {
    const keys = this.#cutOff.get(address);
    if (!keys?.delete(key) || keys.size > 0) return;
    this.#cutOff.delete(address);
    for (const resolve of this.#waiting.get(address) ?? []) resolve();
    this.#waiting.delete(address);
  }

  /** Resolves when no step of the agent is unsettled. Rejects with the abort's reason. */
  whenSettled(address: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!this.#cutOff.has(address)) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(address) ?? new Set();
      this.#waiting.set(address, waiting);
      const giveUp = (): void => {
        waiting.delete(go);
        reject(signal.reason as Error);
      };
      const go = (): void => {
        signal.removeEventListener('abort', giveUp);
        resolve();
      };
      signal.addEventListener('abort', giveUp, { once: true });
      waiting.add(go);
    });
  }
}

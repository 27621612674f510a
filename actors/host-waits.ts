/**
 * Work that waits until the host has room again (patience.ts), or a model answers, by agent: nothing has failed, so nothing
 * else would tell people what an agent that does not move is waiting for.
 */
import { patiently } from './patience.ts';
import type { PatientlyOptions } from './patience.ts';

export class HostWaits {
  readonly #waits = new Map<string, Set<{ reason: string }>>();

  /** What one of the agent's effects waits for; null: none does. */
  reasonOf(cellId: string, agentId: string): string | null {
    const [wait] = this.#waits.get(`${cellId}/${agentId}`) ?? [];
    return wait?.reason ?? null;
  }

  /** It waits, for this reason, until what is returned is called. */
  begin({ cellId, agentId }: { cellId: string; agentId: string }, reason: string): () => void {
    const key = `${cellId}/${agentId}`;
    const wait = { reason };
    const waits = this.#waits.get(key) ?? new Set();
    this.#waits.set(key, waits.add(wait));
    return () => {
      waits.delete(wait);
      if (waits.size === 0) this.#waits.delete(key);
    };
  }

  /** As `patiently`; from the first wait to the end it stands in the status. */
  async during<T>(
    agent: { cellId: string; agentId: string },
    work: () => Promise<T>,
    { signal, onWait }: PatientlyOptions,
  ): Promise<T> {
    let end = (): void => undefined;
    const begin = (error: unknown): void => {
      const why = error instanceof Error ? error.message : String(error);
      end = this.begin(agent, `work waits for the host: ${why}`);
      onWait(error);
    };
    try {
      return await patiently(work, { signal, onWait: begin });
    } finally {
      end();
    }
  }
}

import { setTimeout as sleep } from 'node:timers/promises';

const MOST_PAUSE_MS = 10;
/** Long for a machine with ten things to do at once; a test that passes waits for none of it. */
const PATIENCE_MS = 15_000;

/** Tries again until `check` does not throw, and returns what it gave; after the time throws what it threw last. */
export async function eventually<T>(
  check: () => T | Promise<T>,
  { timeoutMs = PATIENCE_MS }: { timeoutMs?: number } = {},
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, MOST_PAUSE_MS)) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() >= deadline) throw error;
    }
    await sleep(pauseMs);
  }
}

import { setTimeout as sleep } from 'node:timers/promises';

/** Tries again until `check` does not throw, and returns what it gave; after the time throws what it threw last. */
export async function eventually<T>(
  check: () => T | Promise<T>,
  { timeoutMs = 5000 }: { timeoutMs?: number } = {},
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() >= deadline) throw error;
    }
    await sleep(10);
  }
}

/**
 * Something that lasts for a while, begun again for ever: sessions with a server that may be away for a second or a week.
 * Between two that failed it waits, longer each time up to a bound, and never two nodes in step (full jitter).
 */
export interface Backoff {
  firstMs: number;
  mostMs: number;
}

export const DEFAULT_BACKOFF: Backoff = { firstMs: 100, mostMs: 10_000 };

/** A session that lasted so long counts as a success: the next failure waits briefly again. */
const LASTED_MS = 5000;

/** `session` throws or returns when it is over; why is its own to tell. Resolves when `signal` is aborted and it has ended. */
export async function reconnecting(
  session: () => Promise<void>,
  { signal, backoff = DEFAULT_BACKOFF }: { signal: AbortSignal; backoff?: Backoff },
): Promise<void> {
  let failures = 0;
  while (!signal.aborted) {
    const startedAt = performance.now();
    await session();
    failures = performance.now() - startedAt > LASTED_MS ? 1 : failures + 1;
    const most = Math.min(backoff.mostMs, backoff.firstMs * 2 ** Math.min(failures - 1, 20));
    await sleepUnless(signal, most / 2 + (Math.random() * most) / 2);
  }
}

/** Resolves early when the signal is aborted. */
export function sleepUnless(signal: AbortSignal, ms: number): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}

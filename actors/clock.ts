/**
 * The node's two clocks, both monotonic while the node is up, whatever the machine's wall clock does meanwhile.
 *
 * `at`  epoch ms: the wall clock read once at start, then carried forward by the monotonic one; never before the latest
 *       time in the journal, so times in a journal never go back.
 * `up`  ms that nodes of this missions folder have been running in all. It stands still while none runs, so a timeout
 *       kept in `up` does not count the time the runtime was down.
 */
export interface Instant {
  at: number;
  up: number;
}

export interface NodeClock {
  now(): Instant;
}

/** `latest`: the highest times any record of the journal carries. */
export function startClock(latest: Instant): NodeClock {
  const startedAt = Math.max(Date.now(), latest.at);
  const startedMono = performance.now();
  return {
    now() {
      const elapsed = Math.floor(performance.now() - startedMono);
      return { at: startedAt + elapsed, up: latest.up + elapsed };
    },
  };
}

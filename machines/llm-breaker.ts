/**
 * A breaker for one model: after failures in a row, or what only a person can mend, it is left out for a while, and then one
 * probe decides. A pure fold of attempts: nothing here knows a clock, so it is the same after a restart.
 *
 * K1 Half open lets one probe through; a probe that never ended (the process was killed) counts as gone when its time is
 *    up.
 * K2 An answer that is no good says nothing of the service: only what hinders answers counts.
 */
import { breakerEffect } from './llm-policy.ts';
import type { ErrorKind } from './llm-policy.ts';

export interface BreakerPolicy {
  /** Failures in a row that open it. */
  threshold: number;
  /** First pause; doubled each time it opens again without having worked. */
  cooldownMs: number;
  longestMs: number;
  /** After what only a person can mend: key, money, a model that is not there. */
  blockedMs: number;
}

export interface Breaker {
  state: 'closed' | 'open' | 'half_open';
  /** In a row. */
  failures: number;
  /** Times it opened without having worked since. */
  opens: number;
  /** Epoch ms; of an open one. */
  until: number | null;
  since: number;
  kind: ErrorKind | null;
  reason: string | null;
  /** Of a half open one: which attempt is the probe, and by when it has ended. */
  probe: { key: string; endsBy: number } | null;
}

interface Ended {
  outcome: 'success' | ErrorKind;
  detail: string | null;
  retryAfterMs: number | null;
  breaker: BreakerPolicy;
}

const LONGEST_RETRY_AFTER_MS = 3_600_000;

/** Until when nobody gets through, epoch ms, of one that is not closed (K1). */
export const closedUntil = ({ state, until, probe }: Breaker): number | null =>
  state === 'open' ? until : (probe?.endsBy ?? null);

/** Its pause is over and this attempt decides. */
export const probed = (breaker: Breaker, key: string, endsBy: number): Breaker => ({
  ...breaker,
  state: 'half_open',
  until: null,
  probe: { key, endsBy },
});

export function afterEnd(breaker: Breaker, key: string, ended: Ended, at: number): Breaker {
  const { outcome, detail, retryAfterMs, breaker: policy } = ended;
  const isProbe = breaker.probe?.key === key;
  const effect = breakerEffect(outcome);
  if (effect === 'works')
    return breaker.state === 'closed' || isProbe ? closed(at, breaker) : breaker; // K2
  if (effect === 'nothing')
    return isProbe ? { ...breaker, state: 'open', until: at, probe: null } : breaker;
  const failures = breaker.failures + 1;
  const opens = breaker.opens + 1;
  const wait = Math.min(policy.longestMs, policy.cooldownMs * 2 ** Math.min(breaker.opens, 20));
  const pauseMs =
    effect === 'blocked'
      ? policy.blockedMs
      : effect === 'limited'
        ? Math.min(LONGEST_RETRY_AFTER_MS, retryAfterMs ?? wait)
        : isProbe || failures >= policy.threshold
          ? wait
          : null;
  const why = { kind: outcome as ErrorKind, reason: detail ?? outcome };
  if (pauseMs === null) return { ...breaker, failures, ...why };
  const until = Math.max(at + pauseMs, breaker.state === 'open' ? (breaker.until ?? 0) : 0);
  return { state: 'open', failures, opens, until, since: at, ...why, probe: null };
}

/** One that was closed keeps the time since it is. */
export const closed = (at: number, before?: Breaker): Breaker => ({
  state: 'closed',
  failures: 0,
  opens: 0,
  until: null,
  since: before?.state === 'closed' ? before.since : at,
  kind: null,
  reason: null,
  probe: null,
});

/** Each model of the chain as the status shows it: whether it would be asked now, if not why, and what it has cost. */
import type { Rung } from '../../machines/llm-config.ts';
import { NANO, NOTHING_SPENT } from '../../machines/llm-cost.ts';
import type { Spend } from '../../machines/llm-cost.ts';
import type { JsonObject } from '../../machines/json.ts';
import { closedUntil } from '../../machines/llm-breaker.ts';
import { dayOf } from '../../machines/llm-models.ts';
import type { LlmModels, ModelState } from '../../machines/llm-models.ts';
import { breakerEffect } from '../../machines/llm-policy.ts';
import { isoFromEpoch } from '../../machines/time.ts';
import type { Provider } from './provider.ts';

/** `unknown`: nobody has asked it yet. */
export type RungState = 'up' | 'down' | 'off' | 'cooling' | 'unknown';

interface Standing {
  state: RungState;
  reason: string | null;
  since: number | null;
}

export function rungView(
  rung: Rung,
  provider: Provider,
  models: LlmModels,
  now: number,
): JsonObject {
  const known = Object.hasOwn(models.models, rung.model) ? models.models[rung.model] : undefined;
  const { state, reason, since } = standingOf(rung, provider, known, now);
  const today = known?.today.day === dayOf(now) ? known.today : NOTHING_SPENT;
  return {
    model: rung.model,
    state,
    reason,
    since: since === null ? null : isoFromEpoch(since),
    calls: known?.calls ?? 0,
    failures: known?.failures ?? 0,
    spent: { ...shown(known?.total ?? NOTHING_SPENT), today: shown(today) },
  };
}

export function standingOf(
  rung: Rung,
  provider: Provider,
  known: ModelState | undefined,
  now: number,
): Standing {
  const readiness = provider.known(rung);
  const { since } = readiness;
  if (readiness.state === 'off' || readiness.state === 'down')
    return { state: readiness.state, reason: readiness.reason, since };
  const breaker = known?.breaker;
  const until = breaker ? closedUntil(breaker) : null;
  if (breaker && breaker.state !== 'closed' && until !== null && now < until) {
    const reason = `${breaker.reason ?? 'it failed'}; asked again at ${isoFromEpoch(until)}`;
    return { state: 'cooling', reason, since: breaker.since };
  }
  const last = known?.last;
  if (last && !['works', 'nothing'].includes(breakerEffect(last.outcome)))
    return { state: 'down', reason: last.detail ?? last.outcome, since: last.at };
  if (last) return { state: 'up', reason: null, since: breaker?.since ?? last.at };
  if (readiness.state === 'up') return { state: 'up', reason: null, since };
  return { state: 'unknown', reason: 'nobody has asked it yet', since: null };
}

const shown = ({ nanoUsd, tokens }: Spend): JsonObject => ({ usd: nanoUsd / NANO, tokens });

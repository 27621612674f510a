/** Each model of the chain as the status shows it: whether it would be asked now, if not why, and what it has cost. */
import type { Rung } from '../../machines/llm-config.ts';
import { NANO, NOTHING_SPENT, reserveOf } from '../../machines/llm-cost.ts';
import type { Spend } from '../../machines/llm-cost.ts';
import type { JsonObject } from '../../machines/json.ts';
import { closedUntil } from '../../machines/llm-breaker.ts';
import { dayOf, mayCall } from '../../machines/llm-models.ts';
import type { DayLimits, LlmModels, ModelState } from '../../machines/llm-models.ts';
import { breakerEffect } from '../../machines/llm-policy.ts';
import { isoFromEpoch, isoOrNull } from '../../machines/time.ts';
import type { Provider } from './provider.ts';

/** `unknown`: nobody has asked it yet. */
export type RungState = 'up' | 'down' | 'off' | 'cooling' | 'unknown';

interface Standing {
  state: RungState;
  reason: string | null;
  since: number | null;
}

export interface Money {
  limits: DayLimits;
  /** Of the shortest question this model was to be asked in this life; undefined: there was none yet. */
  least: Spend | undefined;
}

export function rungView(
  rung: Rung,
  provider: Provider,
  models: LlmModels,
  { now, ...money }: Money & { now: number },
): JsonObject {
  const known = Object.hasOwn(models.models, rung.model) ? models.models[rung.model] : undefined;
  const standing = standingOf(rung, provider, known, now);
  const isAskable = standing.state === 'up' || standing.state === 'unknown';
  const poor = isAskable && !provider.isLocal ? moneyFlaw(rung, models, { now, ...money }) : null;
  const { state, reason, since } = poor ?? standing;
  const today = known?.today.day === dayOf(now) ? known.today : NOTHING_SPENT;
  return {
    model: rung.model,
    state,
    reason,
    since: isoOrNull(since),
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

/** The worst case of a short question: what does not even leave that leaves nothing. */
const SHORT_OUTPUT_TOKENS = 1024;

/** Null: there is money for a question. */
function moneyFlaw(
  rung: Rung,
  models: LlmModels,
  { now, limits, least }: Money & { now: number },
): Standing | null {
  const { model, price, maxOutputTokens } = rung;
  if (price === null) {
    if (limits.nanoUsd === null) return null;
    return { state: 'off', reason: unpriced(model), since: null };
  }
  const reserve = least ?? reserveOf(price, 0, maxOutputTokens ?? SHORT_OUTPUT_TOKENS);
  const permission = mayCall(models, now, { model, reserve, limits });
  if (permission.ok || permission.why !== 'budget_exhausted') return null;
  const until = isoFromEpoch(permission.until ?? now);
  return { state: 'cooling', reason: `${permission.reason}; asked again at ${until}`, since: null };
}

export const unpriced = (model: string): string =>
  `nobody said what it costs: set llm.prices["${model}"]`;

const shown = ({ nanoUsd, tokens }: Spend): JsonObject => ({ usd: nanoUsd / NANO, tokens });

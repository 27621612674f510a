/**
 * What is known of each model and of the money: a breaker for each, tokens and dollars of the day (UTC) and in all. A fold
 * of attempts, so it is the same after a restart.
 *
 * B1 The worst case is charged when an attempt starts, and replaced by what it cost when it ends. One that never ends stays
 *    charged: nobody knows what the provider counted.
 * B2 Everything has a bound: models, attempts under way.
 */
import { RuntimeError } from './errors.ts';
import { minus, NANO, NOTHING_SPENT, plus } from './llm-cost.ts';
import type { Spend, Usage } from './llm-cost.ts';
import { afterEnd, closed, closedUntil, probed } from './llm-breaker.ts';
import type { Breaker, BreakerPolicy } from './llm-breaker.ts';
import type { ErrorKind, TimeoutPhase } from './llm-policy.ts';

export type ProviderName = 'ollama' | 'anthropic' | 'rules';
export type AttemptKind = 'initial' | 'retry' | 'repair' | 'fallback';

/** null: no limit. */
export interface DayLimits {
  nanoUsd: number | null;
  tokens: number | null;
}

/** One HTTP request that is about to leave. No text of prompt or answer is in it. */
export interface AttemptStarted {
  callId: string;
  /** 1-based within the call. */
  attempt: number;
  model: string;
  provider: ProviderName;
  /** 0-based place in the chain. */
  rung: number;
  kind: AttemptKind;
  schemaId: string;
  promptVersion: string;
  /** sha256 of the messages. */
  promptHash: string;
  /** The effect or actor that asks; null: it did not say. */
  askedBy: string | null;
  reserve: Spend;
  limits: DayLimits;
  /** By then it has ended, epoch ms. */
  endsBy: number;
  deadlineLeftMs: number;
}

export interface AttemptEnded {
  callId: string;
  attempt: number;
  model: string;
  /** As in its start. */
  askedBy: string | null;
  outcome: 'success' | ErrorKind;
  /** Of a timeout. */
  phase: TimeoutPhase | null;
  /** For people; never holds a prompt, an answer or a key. */
  detail: string | null;
  /** False: it was called off before anything left. */
  sent: boolean;
  status: number | null;
  errorCode: string | null;
  requestId: string | null;
  stopReason: string | null;
  modelReported: string | null;
  usage: Usage | null;
  spent: Spend;
  firstTokenMs: number | null;
  durationMs: number;
  /** Places in the schema that the answer does not fit. */
  schemaErrors: string[];
  /** sha256 of the answer. */
  answerHash: string | null;
  retryAfterMs: number | null;
  breaker: BreakerPolicy;
}

export type LlmEvent =
  | ({ type: 'llm.attempt.started' } & AttemptStarted)
  | ({ type: 'llm.attempt.ended' } & AttemptEnded)
  /** Breakers are closed; `model` null: all of them. What was spent stays. */
  | { type: 'llm.reset'; model: string | null; by: string };

export interface ModelState {
  breaker: Breaker;
  calls: number;
  failures: number;
  last: { at: number; outcome: 'success' | ErrorKind; detail: string | null } | null;
  startedAt: number;
  today: Spend & { day: string };
  total: Spend;
}

export interface LlmModels {
  models: Record<string, ModelState>;
  today: Spend & { day: string };
  total: Spend;
  /** Attempts under way, by `<call>#<attempt>`. */
  open: Record<string, { model: string; reserve: Spend; day: string; endsBy: number }>;
  /** Attempts that never ended and stay charged at their worst case. */
  unsettled: number;
}

export const MAX_MODELS = 64;
export const MAX_OPEN = 256;
/** A record of an end may be late by so much: the journal may be held for a while. */
const LATE_MS = 60_000;

export const dayOf = (at: number): string => new Date(at).toISOString().slice(0, 10);
export const attemptKey = ({ callId, attempt }: { callId: string; attempt: number }): string =>
  `${callId}#${attempt}`;

export function freshModels(at: number): LlmModels {
  const today = { ...NOTHING_SPENT, day: dayOf(at) };
  return { models: {}, today, total: NOTHING_SPENT, open: {}, unsettled: 0 };
}

export type Permission =
  | { ok: true; isProbe: boolean }
  | { ok: false; why: 'cooling' | 'budget_exhausted'; until: number | null; reason: string };

/** Whether an attempt that may cost `reserve` may start now. */
export function mayCall(
  state: LlmModels,
  now: number,
  { model, reserve, limits }: { model: string; reserve: Spend; limits: DayLimits },
): Permission {
  const refusal = overBudget(spentToday(state, now), reserve, limits);
  if (refusal !== undefined)
    return { ok: false, why: 'budget_exhausted', until: nextDay(now), reason: refusal };
  const breaker = state.models[model]?.breaker;
  if (breaker === undefined || breaker.state === 'closed') return { ok: true, isProbe: false };
  const until = closedUntil(breaker);
  if (until === null || now >= until) return { ok: true, isProbe: true };
  return { ok: false, why: 'cooling', until, reason: breaker.reason ?? 'it failed' };
}

export function spentToday({ today }: LlmModels, now: number): Spend {
  return today.day === dayOf(now) ? today : NOTHING_SPENT;
}

function overBudget(spent: Spend, reserve: Spend, limits: DayLimits): string | undefined {
  const { nanoUsd, tokens } = plus(spent, reserve);
  const isFree = reserve.nanoUsd === 0; // money that is spent is no reason against it
  if (limits.nanoUsd !== null && !isFree && nanoUsd > limits.nanoUsd)
    return `it may cost ${usd(reserve.nanoUsd)} and ${usd(spent.nanoUsd)} of today's ${usd(limits.nanoUsd)} are spent`;
  if (limits.tokens !== null && tokens > limits.tokens)
    return `it may take ${reserve.tokens} tokens and ${spent.tokens} of today's ${limits.tokens} are used`;
  return undefined;
}

const usd = (nanoUsd: number): string => `$${(nanoUsd / NANO).toFixed(4)}`;
const nextDay = (now: number): number => Date.parse(dayOf(now)) + 86_400_000;

/** B1. Throws RuntimeError CONFLICT, with `details.why`, when it may not start: two that start at once are told apart here. */
export function noteStarted(state: LlmModels, started: AttemptStarted, at: number): LlmModels {
  const { model, reserve, endsBy } = started;
  const permission = mayCall(state, at, started);
  if (!permission.ok) {
    const { why, until, reason } = permission;
    throw new RuntimeError(`${model} may not be asked: ${reason}`, {
      code: 'CONFLICT',
      retryable: true,
      details: { why, until, reason },
    });
  }
  const key = attemptKey(started);
  const day = dayOf(at);
  const known = state.models[model] ?? freshModel(at);
  const breaker = permission.isProbe ? probed(known.breaker, key, endsBy) : known.breaker;
  const changed: ModelState = {
    ...known,
    breaker,
    calls: known.calls + 1,
    startedAt: at,
    today: charged(known.today, reserve, day),
    total: plus(known.total, reserve),
  };
  const { open, dropped } = withoutStale(state.open, at);
  return {
    models: { ...withRoom(state.models, model), [model]: changed },
    today: charged(state.today, reserve, day),
    total: plus(state.total, reserve),
    open: { ...open, [key]: { model, reserve, day, endsBy } },
    unsettled: state.unsettled + dropped,
  };
}

/** An end that nobody waits for any more changes nothing. */
export function noteEnded(state: LlmModels, ended: AttemptEnded, at: number): LlmModels {
  const key = attemptKey(ended);
  const { [key]: opened, ...open } = state.open;
  const known = state.models[opened?.model ?? ''];
  if (opened === undefined || known === undefined) return state;
  const { outcome, detail, spent } = ended;
  const isFailure = outcome !== 'success' && outcome !== 'cancelled';
  const settled = (today: Spend & { day: string }): Spend & { day: string } =>
    today.day === opened.day ? charged(today, minus(spent, opened.reserve), opened.day) : today;
  const changed: ModelState = {
    ...known,
    breaker: afterEnd(known.breaker, key, ended, at),
    failures: known.failures + (isFailure ? 1 : 0),
    last: outcome === 'cancelled' ? known.last : { at, outcome, detail },
    today: settled(known.today),
    total: plus(known.total, minus(spent, opened.reserve)),
  };
  return {
    ...state,
    models: { ...state.models, [opened.model]: changed },
    today: settled(state.today),
    total: plus(state.total, minus(spent, opened.reserve)),
    open,
  };
}

export function noteReset(state: LlmModels, model: string | null, at: number): LlmModels {
  const models = Object.entries(state.models).map(([name, known]) => [
    name,
    model === null || name === model ? { ...known, breaker: closed(at) } : known,
  ]);
  return { ...state, models: Object.fromEntries(models) as LlmModels['models'] };
}

const freshModel = (at: number): ModelState => ({
  breaker: closed(at),
  calls: 0,
  failures: 0,
  last: null,
  startedAt: at,
  today: { ...NOTHING_SPENT, day: dayOf(at) },
  total: NOTHING_SPENT,
});

function charged(
  today: Spend & { day: string },
  more: Spend,
  day: string,
): Spend & { day: string } {
  return { ...plus(today.day === day ? today : NOTHING_SPENT, more), day };
}

/** B2. The model that was asked longest ago goes. */
function withRoom(models: LlmModels['models'], model: string): LlmModels['models'] {
  const names = Object.keys(models);
  if (Object.hasOwn(models, model) || names.length < MAX_MODELS) return models;
  const oldest = names.reduce((a, b) => (startOf(models, b) < startOf(models, a) ? b : a));
  const { [oldest]: _, ...rest } = models;
  return rest;
}

const startOf = (models: LlmModels['models'], name: string): number => models[name]?.startedAt ?? 0;

/** B1, B2. */
function withoutStale(
  open: LlmModels['open'],
  at: number,
): { open: LlmModels['open']; dropped: number } {
  const entries = Object.entries(open);
  const living = entries.filter(([, { endsBy }]) => endsBy + LATE_MS > at).slice(1 - MAX_OPEN);
  const dropped = entries.length - living.length;
  return { open: dropped === 0 ? open : Object.fromEntries(living), dropped };
}

/**
 * One model's turn at a question: asked, asked again or told what does not fit, until its answer counts or the next model
 * is due. It is the only loop that repeats a request; machines/llm-policy.ts says when.
 */
import { RuntimeError } from '../../machines/errors.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { repairTurn } from '../../machines/llm-answer.ts';
import type { ChatMessage } from '../../machines/llm-answer.ts';
import type { LlmSettings, Rung } from '../../machines/llm-config.ts';
import { FREE, NOTHING_SPENT, plus, reserveOf } from '../../machines/llm-cost.ts';
import type { Price, Spend, Usage } from '../../machines/llm-cost.ts';
import { mayCall } from '../../machines/llm-models.ts';
import type { AttemptKind, AttemptStarted } from '../../machines/llm-models.ts';
import { nextMove } from '../../machines/llm-policy.ts';
import { attemptOnce, promptHashOf } from './attempt.ts';
import type { AttemptParts, AttemptResult } from './attempt.ts';
import { pause } from './call-clock.ts';
import { unpriced } from './llm-status.ts';
import type { Provider } from './provider.ts';
import type { Attempt, Question, Skipped } from './router-types.ts';

/** One question on its way through the chain. */
export interface Call {
  id: string;
  question: Question;
  context: JsonObject;
  askedBy: string | null;
  /** Of the caller, or of a stop of the router. */
  signal: AbortSignal;
  /** Epoch ms. */
  startedAt: number;
  deadlineAt: number;
  /** What all attempts together may cost. */
  limits: { nanoUsd: number | null; tokens: number | null };
  spent: Spend;
  attempts: Attempt[];
  skipped: Skipped[];
}

export interface RungParts extends AttemptParts {
  random: () => number;
  onAttempt: (call: Call, started: AttemptStarted, result: AttemptResult) => void;
  /** What a question may cost at most, whether or not it may be asked. */
  onReserve: (reserve: Spend) => void;
}

export interface RungAnswer {
  value: JsonValue;
  text: string;
  usage: Usage | null;
}

interface Turn {
  messages: readonly ChatMessage[];
  kind: AttemptKind;
  retries: number;
  repairs: number;
  variation: number;
}

/** Added to a wait that the server asked for: its clock and ours differ. */
const LATE_MS = 10;

/** Undefined: the next model is due, or the call was cancelled. `untilAt`: epoch ms when its time is over. */
export async function askModel(
  parts: RungParts,
  { call, rung, index, provider, settings, untilAt }: RungOrder,
): Promise<RungAnswer | undefined> {
  const { clock, random } = parts;
  const { question, signal } = call;
  const isFirst = call.attempts.length === 0;
  const turn: Turn = {
    messages: question.messages,
    kind: isFirst ? 'initial' : 'fallback',
    retries: 0,
    repairs: 0,
    variation: 0,
  };
  while (!signal.aborted && clock.now() < untilAt) {
    const order = { call, rung, index, provider, settings, untilAt };
    const result = await attempt(parts, order, turn);
    if (result === undefined) return undefined;
    const { outcome, usage, retryAfterMs } = result.ended;
    if (outcome === 'success') return { value: result.value ?? null, text: result.text, usage };
    const canVary = provider.name === 'ollama';
    const remainingMs = untilAt - clock.now();
    const move = nextMove(outcome, { ...turn, canVary, retryAfterMs, remainingMs });
    if (move.do === 'next' || move.do === 'stop') return undefined;
    if (move.do === 'repair') {
      turn.messages = [...turn.messages, ...repairTurn(result.text, result.problems)];
      turn.repairs += 1;
      turn.kind = 'repair';
    } else {
      const waitMs = move.afterMs + random() * move.spreadMs + (move.afterMs > 0 ? LATE_MS : 0);
      if (waitMs > 0 && !(await pause(clock, waitMs, signal))) return undefined;
      turn.retries += 1;
      turn.kind = 'retry';
      if (move.vary) turn.variation += 1;
    }
  }
  return undefined;
}

export interface RungOrder {
  call: Call;
  rung: Rung;
  /** Its place in the chain. */
  index: number;
  provider: Provider;
  settings: LlmSettings;
  untilAt: number;
}

/** Undefined: it may not be made. */
async function attempt(
  parts: RungParts,
  order: RungOrder,
  turn: Turn,
): Promise<AttemptResult | undefined> {
  const { call, rung, provider, settings, untilAt } = order;
  const { question, context, signal } = call;
  const maxOutputTokens = rung.maxOutputTokens ?? question.maxOutputTokens;
  const price = rung.price ?? FREE;
  const reserve = provider.isLocal
    ? NOTHING_SPENT
    : reserveFor(price, order, turn, maxOutputTokens);
  parts.onReserve(reserve);
  const started = startOf(order, turn, reserve, parts.clock.now());
  const refusal = refusalOf(parts, order, started);
  if (refusal !== undefined) return skip(call, rung, refusal);
  const { schema } = question.schema;
  const { messages, variation } = turn;
  let result: AttemptResult;
  try {
    result = await attemptOnce(parts, {
      provider,
      rung,
      price,
      started,
      request: { rung, messages, schema, maxOutputTokens, variation, context },
      check: question.check,
      totalMs: untilAt - parts.clock.now(),
      signal,
      breaker: settings.breaker,
    });
  } catch (error) {
    const reason = refusedByLedger(error);
    if (reason === undefined) throw error;
    return skip(call, rung, reason);
  }
  call.spent = plus(call.spent, result.ended.spent);
  const { outcome, detail, durationMs, usage, spent } = result.ended;
  call.attempts.push({
    model: rung.model,
    provider: rung.provider,
    kind: turn.kind,
    outcome,
    error: outcome === 'success' ? null : (detail ?? outcome),
    latencyMs: durationMs,
    usage,
    spent,
  });
  parts.onAttempt(call, started, result);
  return result;
}

/** Undefined, as from a model that gave no answer. */
export function skip(
  call: Call,
  rung: Rung,
  reason: string,
  hint: string | null = null,
): undefined {
  call.skipped.push({ model: rung.model, reason, hint });
  return undefined;
}

function reserveFor(
  price: Price,
  { call }: RungOrder,
  { messages }: Turn,
  maxOutputTokens: number,
): Spend {
  const texts = messages.reduce((sum, { content }) => sum + Buffer.byteLength(content), 0);
  const schema = Buffer.byteLength(JSON.stringify(call.question.schema.schema));
  return reserveOf(price, texts + schema, maxOutputTokens);
}

function startOf(
  { call, rung, index, settings, untilAt }: RungOrder,
  { messages, kind }: Turn,
  reserve: Spend,
  now: number,
): AttemptStarted {
  const { id: callId, question, askedBy, attempts, deadlineAt } = call;
  return {
    callId,
    attempt: attempts.length + 1,
    model: rung.model,
    provider: rung.provider,
    rung: index,
    kind,
    schemaId: question.schema.id,
    promptVersion: question.promptVersion,
    promptHash: promptHashOf(messages),
    askedBy,
    reserve,
    limits: settings.limits,
    endsBy: Math.ceil(untilAt),
    deadlineLeftMs: Math.round(deadlineAt - now),
  };
}

/** Why it may not be made, without asking the ledger to write: breaker, and the money of the day and of this call. */
function refusalOf(
  { ledger, clock }: RungParts,
  { call, rung, provider, settings }: RungOrder,
  started: AttemptStarted,
): string | undefined {
  if (provider.isLocal) return undefined;
  const { nanoUsd, tokens } = plus(call.spent, started.reserve);
  const { limits } = call;
  const isMoneyLimited = limits.nanoUsd !== null || settings.limits.nanoUsd !== null;
  if (rung.price === null && isMoneyLimited) return unpriced(rung.model);
  if (limits.nanoUsd !== null && nanoUsd > limits.nanoUsd)
    return 'it may cost more than this question may';
  if (limits.tokens !== null && tokens > limits.tokens)
    return 'it may take more tokens than this question may';
  const permission = mayCall(ledger.state(), clock.now(), started);
  if (permission.ok) return undefined;
  const { until, reason } = permission;
  return until === null ? reason : `${reason} (until ${new Date(until).toISOString()})`;
}

/** Another question was faster. Undefined: that is not why. */
function refusedByLedger(error: unknown): string | undefined {
  if (!(error instanceof RuntimeError) || error.code !== 'CONFLICT') return undefined;
  const { reason } = error.details;
  return typeof reason === 'string' ? reason : undefined;
}

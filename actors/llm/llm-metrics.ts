/**
 * What models cost and how they do, in two forms: plain numbers for `/metrics`, and one message an attempt and a call for
 * whoever listens to `llm_router_metrics` (bus/redis or nobody: the port is given to the router). No text of a prompt or an
 * answer is in either.
 */
import { NANO } from '../../machines/llm-cost.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { AttemptStarted } from '../../machines/llm-models.ts';
import { counter, gauge, Histogram, histogram } from '../../machines/metrics.ts';
import type { MetricFamily, Sample } from '../../machines/metrics.ts';
import type { AttemptResult } from './attempt.ts';
import type { Call } from './rung-call.ts';

const SECONDS = [0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60];
/** Different models and outcomes that are told apart; beyond them all is `other` (P8). */
const MAX_SERIES = 500;

/** `failed`: nothing could be recorded, so nothing was sent. */
export type CallOutcome = 'answered' | 'unavailable' | 'cancelled' | 'failed';

export interface Gauges {
  /** Questions under way and in line, by provider. */
  inside: Record<string, number>;
  waiting: Record<string, number>;
  /** 1: asked; 0: off, down or cooling; by model. */
  up: Record<string, number>;
  spentTodayUsd: number;
  tokensToday: number;
}

export class LlmMetrics {
  readonly #attempts = new Map<string, number>();
  readonly #calls = new Map<string, number>();
  readonly #tokens = new Map<string, number>();
  readonly #usd = new Map<string, number>();
  readonly #seconds = new Histogram(SECONDS);
  readonly #callSeconds = new Histogram(SECONDS);

  attempt(model: string, { ended }: AttemptResult): void {
    const { outcome, usage, spent, durationMs } = ended;
    add(this.#attempts, [model, outcome], 1);
    add(this.#tokens, [model, 'in'], usage ? usage.input + usage.cacheRead + usage.cacheWrite : 0);
    add(this.#tokens, [model, 'out'], usage?.output ?? 0);
    add(this.#usd, [model], spent.nanoUsd / NANO);
    this.#seconds.observe(durationMs / 1000);
  }

  call(outcome: CallOutcome, durationMs: number): void {
    add(this.#calls, [outcome], 1);
    this.#callSeconds.observe(durationMs / 1000);
  }

  families({ inside, waiting, up, spentTodayUsd, tokensToday }: Gauges): MetricFamily[] {
    return [
      counter('lazarus_llm_calls_total', 'Questions by outcome.', rows(this.#calls, ['outcome'])),
      histogram('lazarus_llm_call_seconds', 'From question to answer.', this.#callSeconds),
      counter(
        'lazarus_llm_attempts_total',
        'Requests to models by outcome.',
        rows(this.#attempts, ['model', 'outcome']),
      ),
      histogram('lazarus_llm_attempt_seconds', 'Of one request.', this.#seconds),
      counter(
        'lazarus_llm_tokens_total',
        'Tokens as the provider counts them.',
        rows(this.#tokens, ['model', 'direction']),
      ),
      counter('lazarus_llm_cost_usd_total', 'By the price table.', rows(this.#usd, ['model'])),
      gauge('lazarus_llm_spent_today_usd', 'Of the day (UTC), in all lives.', spentTodayUsd),
      gauge('lazarus_llm_tokens_today', 'Of the day (UTC), in all lives.', tokensToday),
      gauge('lazarus_llm_model_up', '1: it is asked.', rowsOf('model', up)),
      gauge('lazarus_llm_in_flight', 'Questions at a provider.', rowsOf('provider', inside)),
      gauge('lazarus_llm_waiting', 'Questions in line.', rowsOf('provider', waiting)),
    ];
  }
}

const SEPARATOR = '\u0000';

function add(to: Map<string, number>, labels: readonly string[], value: number): void {
  const key = labels.join(SEPARATOR);
  const isKnown = to.has(key) || to.size < MAX_SERIES;
  const at = isKnown ? key : ['other', ...labels.slice(1)].join(SEPARATOR);
  to.set(at, (to.get(at) ?? 0) + value);
}

const rows = (of: ReadonlyMap<string, number>, names: readonly string[]): Sample[] =>
  [...of].map(([key, value]) => {
    const values = key.split(SEPARATOR);
    return { labels: Object.fromEntries(names.map((name, i) => [name, values[i] ?? ''])), value };
  });

const rowsOf = (label: string, values: Record<string, number>): Sample[] =>
  Object.entries(values).map(([name, value]) => ({ labels: { [label]: name }, value }));

/** Of one attempt, for the channel `llm_router_metrics`. */
export function attemptMessage(
  call: Call,
  started: AttemptStarted,
  { ended }: AttemptResult,
  at: number,
): JsonObject {
  const { outcome, detail, status, errorCode, usage, spent, durationMs, firstTokenMs } = ended;
  return {
    type: 'llm_attempt',
    timestamp: at / 1000,
    call_id: call.id,
    attempt: started.attempt,
    kind: started.kind,
    model: started.model,
    provider: started.provider,
    model_reported: ended.modelReported,
    outcome,
    error: detail,
    status,
    error_code: errorCode,
    latency_ms: durationMs,
    first_token_ms: firstTokenMs,
    tokens_in: usage ? usage.input + usage.cacheRead + usage.cacheWrite : null,
    tokens_out: usage?.output ?? null,
    cost_usd: spent.nanoUsd / NANO,
    schema: started.schemaId,
    prompt_version: started.promptVersion,
    context: about(call.context),
  };
}

/** Of one call: what the router that this one replaces published. `model`: null when nobody answered. */
export function callMessage(
  call: Call,
  model: string | null,
  latencyMs: number,
  at: number,
): JsonObject {
  return {
    type: 'llm_call',
    timestamp: at / 1000,
    call_id: call.id,
    success: model !== null,
    model_used: model,
    latency_ms: latencyMs,
    cost_usd: call.spent.nanoUsd / NANO,
    attempts: call.attempts.map(({ model: asked, outcome, error, latencyMs: ms }) => ({
      model: asked,
      outcome,
      error,
      latency_ms: ms,
    })),
    skipped: call.skipped.map(({ model: left, reason }) => ({ model: left, reason })),
    context: about(call.context),
  };
}

const ABOUT = ['type', 'node', 'service', 'severity', 'cell_id', 'agent_id', 'task_id'];

/** The names that tell what it was about; not its payload. */
function about(context: JsonObject): JsonObject {
  const named = ABOUT.flatMap((name) => {
    const value = context[name];
    return typeof value === 'string' ? [[name, value.slice(0, 200)] as const] : [];
  });
  return Object.fromEntries(named);
}

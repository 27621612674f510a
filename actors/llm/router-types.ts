/** What the router is asked, what it answers, and how it says that nobody could. */
import type { ChatMessage } from '../../machines/llm-answer.ts';
import type { Spend, Usage } from '../../machines/llm-cost.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import type { AttemptKind, ProviderName } from '../../machines/llm-models.ts';
import type { ErrorKind } from '../../machines/llm-policy.ts';

export interface Question {
  /** The system's words first, then turns of user and assistant; the last one is the user's. */
  messages: readonly ChatMessage[];
  /** `id` names it in records: `planner-proposal@1`. The same object each time: it is compiled once. */
  schema: { id: string; schema: JsonObject };
  /** What does not fit though the schema is kept, one text each: shown to the model, so that it can mend it. */
  check?: (content: JsonValue) => string[];
  maxOutputTokens: number;
  /** Of the prompt's text, for records. */
  promptVersion: string;
}

export interface RouteOptions {
  signal?: AbortSignal;
  /** What the question is about, for metrics and for the rung `rules`: `{type, node, service, ...}`. */
  context?: JsonObject;
  /** The effect or actor that asks. */
  askedBy?: string;
  /** What this call may cost at most, beside the configuration's limits. */
  limits?: { nanoUsd?: number; tokens?: number };
}

/** One request to one model. */
export interface Attempt {
  model: string;
  provider: ProviderName;
  kind: AttemptKind;
  outcome: 'success' | ErrorKind;
  /** null when it succeeded. */
  error: string | null;
  latencyMs: number;
  usage: Usage | null;
  spent: Spend;
}

/** A model that was not asked. */
export interface Skipped {
  model: string;
  reason: string;
  hint: string | null;
}

export interface RouteResult {
  content: JsonValue;
  rawText: string;
  /** `ollama/qwen2.5:7b`, `claude-haiku-5-5`, `rules`. */
  model: string;
  provider: ProviderName;
  attempts: Attempt[];
  skipped: Skipped[];
  latencyMs: number;
  /** Of the answer that counts. */
  usage: Usage | null;
  /** Of all attempts. */
  spent: Spend;
}

/** No model of the chain gave an answer that counts. */
export class LlmUnavailable extends RuntimeError {
  readonly attempts: Attempt[];
  readonly skipped: Skipped[];

  constructor(attempts: Attempt[], skipped: Skipped[], reason: string | null) {
    const tried = attempts.map(({ model, outcome, error }) => `${model}: ${outcome}, ${error}`);
    const left = skipped.map(({ model, reason: why }) => `${model}: ${why}`);
    const why = [...(reason === null ? [] : [reason]), ...tried, ...left].join('; ');
    super(`no model gave an answer that counts: ${why === '' ? 'the chain is empty' : why}`, {
      code: 'LLM_UNAVAILABLE',
      retryable: true,
      details: { attempts, skipped },
      hint:
        skipped.find(({ hint }) => hint !== null)?.hint ??
        'See `parts.llm` in `lazarus status --json`.',
    });
    this.name = 'LlmUnavailable';
    this.attempts = attempts;
    this.skipped = skipped;
  }
}

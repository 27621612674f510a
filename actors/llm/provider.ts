/**
 * What the router needs of whoever answers questions, and the one way in which they fail. A provider sends one request a
 * call: no retry, no waiting, no memory of failures; all of that is the router's.
 */
import type { Rung } from '../../machines/llm-config.ts';
import type { Usage } from '../../machines/llm-cost.ts';
import type { ChatMessage } from '../../machines/llm-answer.ts';
import type { ProviderName } from '../../machines/llm-models.ts';
import type { ErrorKind } from '../../machines/llm-policy.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { CallClock } from './call-clock.ts';

export interface ProviderRequest {
  rung: Rung;
  messages: readonly ChatMessage[];
  schema: JsonObject;
  maxOutputTokens: number;
  /** 0 first; raised when the same words are sent again to get another answer. */
  variation: number;
  call: CallClock;
  /** What the question is about. */
  context: JsonObject;
}

export interface ProviderAnswer {
  text: string;
  /** Why it ended; `overflow`: the prompt was longer than what the model reads. */
  ended: 'stop' | 'length' | 'refusal' | 'overflow';
  stopReason: string | null;
  modelReported: string | null;
  requestId: string | null;
  usage: Usage | null;
}

export type Readiness =
  | { state: 'up' | 'unknown' }
  /** `off`: it is not set up; `down`: it is, and cannot answer. */
  | { state: 'off' | 'down'; reason: string; hint?: string };

export interface Provider {
  readonly name: ProviderName;
  /** No request leaves this process: nothing to record, to limit or to pay. */
  readonly isLocal: boolean;
  /** Whether this model can be asked; what is down costs no time again and again. */
  ready(rung: Rung, signal: AbortSignal): Promise<Readiness>;
  /** The same without asking anybody. */
  known(rung: Rung): Readiness & { since: number | null };
  /** Throws ProviderError; when `call` ended the request, anything. */
  ask(request: ProviderRequest): Promise<ProviderAnswer>;
}

export interface ProviderErrorOptions {
  kind: ErrorKind;
  status?: number | undefined;
  errorCode?: string | null | undefined;
  requestId?: string | null | undefined;
  retryAfterMs?: number | undefined;
  /** The server said no before it did anything: nothing was charged. */
  isFree?: boolean;
  cause?: unknown;
}

export class ProviderError extends Error {
  override readonly name = 'ProviderError';
  readonly kind: ErrorKind;
  readonly status: number | null;
  readonly errorCode: string | null;
  readonly requestId: string | null;
  readonly retryAfterMs: number | null;
  readonly isFree: boolean;

  constructor(message: string, options: ProviderErrorOptions) {
    super(message.slice(0, 300), { cause: options.cause });
    this.kind = options.kind;
    this.status = options.status ?? null;
    this.errorCode = options.errorCode ?? null;
    this.requestId = options.requestId ?? null;
    this.retryAfterMs = options.retryAfterMs ?? null;
    this.isFree = options.isFree ?? false;
  }
}

/** What a status means by itself; the text of an answer may say more. */
export function kindOfStatus(status: number): ErrorKind {
  if (status === 401 || status === 403) return 'auth';
  if (status === 402) return 'quota';
  if (status === 413) return 'context_overflow';
  if (status === 429) return 'rate_limited';
  if (status === 503 || status === 529) return 'overloaded';
  if (status === 408 || status === 409 || status === 499 || status >= 500) return 'transient';
  return 'bad_request';
}

const LONGEST_MS = 24 * 3_600_000;

/** `retry-after-ms`, or `retry-after` in seconds or as a date. Undefined when the server named no time. */
export function retryAfterMs(headers: Headers | undefined, now: number): number | undefined {
  const ms = headers?.get('retry-after-ms');
  const text = headers?.get('retry-after');
  const value = ms ? Number(ms) : text ? secondsOrDate(text, now) : Number.NaN;
  return Number.isFinite(value) ? Math.min(LONGEST_MS, Math.max(0, value)) : undefined;
}

function secondsOrDate(text: string, now: number): number {
  const seconds = Number(text);
  return Number.isFinite(seconds) ? seconds * 1000 : Date.parse(text) - now;
}

/** The reason under `fetch failed`: what the operating system said. */
export function connectionReason(error: unknown): string {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth += 1)
    if ('code' in at && typeof at.code === 'string')
      return at.message === '' ? at.code : at.message.slice(0, 200);
  return error instanceof Error ? error.message.slice(0, 200) : String(error).slice(0, 200);
}

/** Nobody was there: nothing can have been counted. */
export function isNobodyThere(error: unknown): boolean {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth += 1)
    if ('code' in at && (at.code === 'ECONNREFUSED' || at.code === 'ENOTFOUND')) return true;
  return false;
}

/**
 * What can go wrong with a question to a model, and what the router does about it: a table, so that the policy can be read
 * and tested without a server.
 *
 * M1 A model is asked at most four times for one question: once, one more time after a fault of the way, and two repair
 *    turns after an answer that does not fit.
 * M2 What a second try cannot mend is not tried a second time: a refusal, a key that is not taken, money that is spent.
 */

export type ErrorKind =
  /** The connection, a server's own fault, a stream that was cut. */
  | 'transient'
  | 'overloaded'
  | 'rate_limited'
  | 'timeout'
  /** The key is missing, wrong, or may not do this. */
  | 'auth'
  /** The account has no money, or somebody set a limit. */
  | 'quota'
  | 'bad_request'
  | 'model_missing'
  | 'context_overflow'
  | 'truncated'
  | 'invalid_json'
  | 'schema_invalid'
  | 'semantic_invalid'
  | 'refusal'
  | 'cancelled'
  /** Only of a question that was not sent. */
  | 'budget_exhausted';

export type TimeoutPhase = 'connect' | 'first_token' | 'idle' | 'total';

export type Move =
  /** The same words again. `spreadMs`: wait anything up to so long beside `afterMs`. `vary`: with another seed. */
  | { do: 'retry'; afterMs: number; spreadMs: number; vary: boolean }
  /** The conversation goes on: the model is told what does not fit. */
  | { do: 'repair' }
  | { do: 'next' }
  | { do: 'stop' };

export interface Standing {
  /** Retries and repairs of this model for this question so far. */
  retries: number;
  repairs: number;
  /** Whether this model can be asked to answer differently (seed, temperature). */
  canVary: boolean;
  retryAfterMs: number | null;
  /** Of this model's own time. */
  remainingMs: number;
}

export const MAX_RETRIES = 1;
export const MAX_REPAIRS = 2;
const LONGEST_WAIT_MS = 5000;

/** M1, M2. */
export function nextMove(kind: ErrorKind, standing: Standing): Move {
  const { retries, repairs, canVary, retryAfterMs, remainingMs } = standing;
  const mayRetry = retries < MAX_RETRIES;
  switch (kind) {
    case 'transient':
    case 'overloaded':
      return mayRetry ? again({ spreadMs: Math.min(1000, remainingMs / 4) }) : NEXT;
    case 'rate_limited': {
      const isShort =
        retryAfterMs !== null && retryAfterMs < Math.min(LONGEST_WAIT_MS, remainingMs / 4);
      return mayRetry && isShort ? again({ afterMs: retryAfterMs }) : NEXT;
    }
    case 'truncated':
      return mayRetry && canVary ? again({ vary: true }) : NEXT;
    case 'invalid_json':
    case 'schema_invalid':
    case 'semantic_invalid':
      return repairs < MAX_REPAIRS ? { do: 'repair' } : NEXT;
    case 'timeout':
    case 'auth':
    case 'quota':
    case 'bad_request':
    case 'model_missing':
    case 'context_overflow':
    case 'refusal':
    case 'budget_exhausted':
      return NEXT;
    case 'cancelled':
      return { do: 'stop' };
    default:
      return kind satisfies never;
  }
}

const NEXT: Move = { do: 'next' };

const again = (how: { afterMs?: number; spreadMs?: number; vary?: boolean }): Move => ({
  do: 'retry',
  afterMs: how.afterMs ?? 0,
  spreadMs: how.spreadMs ?? 0,
  vary: how.vary ?? false,
});

/** What an outcome says of the model's service, for its breaker. */
export type BreakerEffect = 'works' | 'failure' | 'limited' | 'blocked' | 'nothing';

export function breakerEffect(outcome: 'success' | ErrorKind): BreakerEffect {
  switch (outcome) {
    case 'success':
    case 'truncated':
    case 'invalid_json':
    case 'schema_invalid':
    case 'semantic_invalid':
    case 'refusal':
    case 'context_overflow':
      return 'works'; // it answered: what the answer is worth is not the breaker's business
    case 'transient':
    case 'overloaded':
    case 'timeout':
    case 'bad_request':
      return 'failure';
    case 'rate_limited':
      return 'limited';
    case 'auth':
    case 'quota':
    case 'model_missing':
      return 'blocked';
    case 'cancelled':
    case 'budget_exhausted':
      return 'nothing';
    default:
      return outcome satisfies never;
  }
}

/** Kept for the last model of the chain, so that a slow first one does not use up all the time. */
const RESERVED_MS = 15_000;

/** How long one model may take of what is left, waiting for its turn not counted. `lastTimeoutMs`: null for the last one. */
export function shareOf(
  remainingMs: number,
  timeoutMs: number,
  lastTimeoutMs: number | null,
): number {
  const kept =
    lastTimeoutMs === null ? 0 : Math.min(RESERVED_MS, lastTimeoutMs, Math.max(0, remainingMs) / 2);
  return Math.max(0, Math.min(timeoutMs, remainingMs - kept));
}

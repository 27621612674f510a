/**
 * One attempt: one request to one model, on record before it leaves and after.
 *
 * T1 The record of the start is durable before the request leaves; between the two it is looked once more whether anybody
 *    still wants it.
 * T2 Whatever happens to the request, its end is recorded before the caller goes on.
 * T3 What nobody knows is charged at its worst: a request that was cut off may have been counted in full.
 */
import { createHash } from 'node:crypto';
import { toPlainError } from '../../machines/errors.ts';
import type { JsonValue } from '../../machines/json.ts';
import { withoutQuotes } from '../../machines/llm-answer.ts';
import type { ChatMessage } from '../../machines/llm-answer.ts';
import { costOf, NOTHING_SPENT } from '../../machines/llm-cost.ts';
import type { Price, Spend, Usage } from '../../machines/llm-cost.ts';
import type { Rung } from '../../machines/llm-config.ts';
import type { AttemptEnded, AttemptStarted } from '../../machines/llm-models.ts';
import type { ErrorKind } from '../../machines/llm-policy.ts';
import { CallClock } from './call-clock.ts';
import type { RouterClock } from './call-clock.ts';
import { judge } from './judge.ts';
import type { Verdict } from './judge.ts';
import type { Ledger } from './ledger.ts';
import { ProviderError } from './provider.ts';
import type { Provider, ProviderAnswer, ProviderRequest } from './provider.ts';

export interface AttemptOrder {
  provider: Provider;
  rung: Rung;
  price: Price;
  started: AttemptStarted;
  request: Omit<ProviderRequest, 'call'>;
  check: ((content: JsonValue) => string[]) | undefined;
  /** All the time it has. */
  totalMs: number;
  signal: AbortSignal;
  breaker: AttemptEnded['breaker'];
}

export interface AttemptParts {
  ledger: Ledger;
  clock: RouterClock;
}

export interface AttemptResult {
  ended: AttemptEnded;
  text: string;
  /** Of a success. */
  value?: JsonValue;
  /** For the model, when its answer does not fit. */
  problems: string[];
}

/** Throws what `ledger.started` throws, and then nothing was sent; and what `check` throws. */
export async function attemptOnce(
  parts: AttemptParts,
  order: AttemptOrder,
): Promise<AttemptResult> {
  const { ledger, clock } = parts;
  const { provider, started, signal, totalMs, rung } = order;
  const begunAt = clock.now();
  if (!provider.isLocal) await ledger.started(started); // T1
  const startedAt = clock.now();
  const leftMs = totalMs - (startedAt - begunAt);
  const times = { totalMs: leftMs, firstTokenMs: rung.firstTokenMs, idleMs: rung.idleMs };
  const call = new CallClock(clock, times, signal);
  const isWanted = !signal.aborted && leftMs > 0;
  const got = isWanted ? await ask(order, call) : notSent(signal);
  call.done();
  const durationMs = Math.round(clock.now() - startedAt);
  const facts = { sent: isWanted, durationMs, firstTokenMs: call.firstTokenMs };
  let result: AttemptResult;
  try {
    result = resultOf(order, got, facts);
  } catch (error) {
    const broken = new ProviderError(`its check failed: ${toPlainError(error).name}`, {
      kind: 'semantic_invalid',
    });
    const { ended } = resultOf(order, { error: broken, answer: answerOf(got) }, facts);
    if (!provider.isLocal) await ledger.ended(ended);
    throw error;
  }
  if (!provider.isLocal) await ledger.ended(result.ended); // T2
  return result;
}

type Got =
  | { answer: ProviderAnswer }
  | { error: ProviderError; answer?: ProviderAnswer | undefined; phase?: AttemptEnded['phase'] };

async function ask({ provider, request }: AttemptOrder, call: CallClock): Promise<Got> {
  try {
    const asking = provider.ask({ ...request, call });
    asking.catch(() => undefined); // it may fail after the call was cut off
    const answer = await Promise.race([asking, call.cut]);
    return call.cutOff ? cutOffBy(call) : { answer };
  } catch (error) {
    if (call.cutOff) return cutOffBy(call);
    if (error instanceof ProviderError) return { error };
    const { message } = toPlainError(error);
    return { error: new ProviderError(message, { kind: 'transient', cause: error }) };
  }
}

function cutOffBy({ cutOff, times }: CallClock): Got {
  if (cutOff?.kind !== 'timeout')
    return { error: new ProviderError('cancelled', { kind: 'cancelled' }) };
  const { phase } = cutOff;
  const ms = { connect: times.firstTokenMs, first_token: times.firstTokenMs, idle: times.idleMs };
  const limitMs = phase === 'total' ? times.totalMs : Math.min(ms[phase], times.totalMs);
  const what = {
    connect: 'no answer',
    first_token: 'no first token',
    idle: 'nothing more',
    total: 'not done',
  };
  const seconds = (limitMs / 1000).toFixed(1);
  return {
    error: new ProviderError(`${what[phase]} within ${seconds} s`, { kind: 'timeout' }),
    phase,
  };
}

const notSent = ({ aborted }: AbortSignal): Got =>
  aborted
    ? {
        error: new ProviderError('cancelled before it was sent', {
          kind: 'cancelled',
          isFree: true,
        }),
      }
    : {
        error: new ProviderError('no time was left to send it', { kind: 'timeout', isFree: true }),
        phase: 'total',
      };

const answerOf = (got: Got): ProviderAnswer | undefined => got.answer;

type Facts = Pick<AttemptEnded, 'sent' | 'durationMs' | 'firstTokenMs'>;

/** Throws what `check` throws. */
function resultOf(order: AttemptOrder, got: Got, facts: Facts): AttemptResult {
  const { request, check } = order;
  if ('error' in got) return failedResult(order, got, facts);
  const { answer } = got;
  const verdict: Verdict = judge(answer, { schema: request.schema, check });
  const spent = spentFor(order, answer.usage, false);
  if (verdict.kind === 'valid') {
    const ended = endedAs(order, 'success', { ...facts, ...factsOf(answer), spent });
    return { ended, text: answer.text, value: verdict.value, problems: [] };
  }
  const { kind, detail, problems, places } = verdict;
  const ended = endedAs(order, kind, {
    ...facts,
    ...factsOf(answer),
    spent,
    detail,
    schemaErrors: places,
  });
  return { ended, text: answer.text, problems };
}

function failedResult(
  order: AttemptOrder,
  { error, answer, phase = null }: Extract<Got, { error: ProviderError }>,
  facts: Facts,
): AttemptResult {
  const { kind, status, errorCode, requestId, retryAfterMs, isFree } = error;
  const told = order.request.messages.map(({ content }) => content);
  const ended = endedAs(order, kind, {
    ...facts,
    ...(answer ? factsOf(answer) : { requestId }),
    phase,
    detail: withoutQuotes(error.message, told),
    status,
    errorCode,
    retryAfterMs,
    spent: spentFor(order, answer?.usage ?? null, isFree),
  });
  return { ended, text: answer?.text ?? '', problems: [] };
}

/** T3. */
function spentFor(
  { price, started, provider }: AttemptOrder,
  usage: Usage | null,
  isFree: boolean,
): Spend {
  if (isFree || provider.isLocal) return NOTHING_SPENT;
  return usage === null ? started.reserve : costOf(price, usage);
}

const factsOf = ({ text, stopReason, modelReported, requestId, usage }: ProviderAnswer) => ({
  stopReason,
  modelReported,
  requestId,
  usage,
  answerHash: sha256(text),
});

function endedAs(
  { started, breaker }: AttemptOrder,
  outcome: 'success' | ErrorKind,
  facts: Partial<AttemptEnded> & Facts & { spent: Spend },
): AttemptEnded {
  const { callId, attempt, model, askedBy } = started;
  return {
    callId,
    attempt,
    model,
    askedBy,
    outcome,
    phase: null,
    detail: null,
    status: null,
    errorCode: null,
    requestId: null,
    stopReason: null,
    modelReported: null,
    usage: null,
    schemaErrors: [],
    answerHash: null,
    retryAfterMs: null,
    breaker,
    ...facts,
  };
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

export const promptHashOf = (messages: readonly ChatMessage[]): string =>
  sha256(JSON.stringify(messages.map(({ role, content }) => [role, content])));

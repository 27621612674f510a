/**
 * One POST: bounded in time, in what is read of the answer, and in tries. No redirect is followed: the headers may hold a
 * token, and they are for this server alone.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { StepEnd } from './plan.ts';

export interface Post {
  url: string;
  /** How the URL is called where people see it. */
  shown: string;
  headers: Record<string, string>;
  body: string;
  timeoutMs: number;
}

export interface Posted extends StepEnd {
  /** The beginning of what the server said. */
  answer: string;
}

const MAX_ANSWER_BYTES = 16 * 1024;
/** For what passes by itself: no connection, 429, 5xx. The key in the headers tells the server that it is the same. */
const PAUSES_MS = [500, 2000];

/** Resolves with how it ended, a failure included. Rejects with the signal's reason only. */
export async function post(request: Post, signal: AbortSignal): Promise<Posted> {
  const deadline = performance.now() + request.timeoutMs;
  for (let tries = 0; ; tries += 1) {
    const { posted, passes } = await postOnce(request, deadline - performance.now(), signal);
    const pauseMs = PAUSES_MS[tries];
    if (posted.ok || !passes || pauseMs === undefined) return posted;
    if (performance.now() + pauseMs >= deadline) return posted;
    await sleep(pauseMs, null, { signal }).catch(() => signal.throwIfAborted());
  }
}

async function postOnce(
  { url, shown, headers, body }: Post,
  leftMs: number,
  signal: AbortSignal,
): Promise<{ posted: Posted; passes: boolean }> {
  signal.throwIfAborted();
  const limit = AbortSignal.timeout(Math.max(1, Math.ceil(leftMs)));
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers,
      body,
      redirect: 'manual',
      signal: AbortSignal.any([signal, limit]),
    });
    const answer = await beginningOf(response);
    const { ok, status } = response;
    const reason = ok ? null : `${shown} answered ${status}${redirectText(status)}`;
    const posted = { ok, exit_code: null, signal: null, reason, answer };
    return { posted, passes: status === 429 || status >= 500 };
  } catch (error) {
    signal.throwIfAborted();
    const why = limit.aborted ? 'it did not answer in time' : causeOf(error);
    const reason = `${shown} was not reached: ${why}`;
    const posted = { ok: false, exit_code: null, signal: null, reason, answer: '' };
    return { posted, passes: !limit.aborted };
  }
}

const redirectText = (status: number): string =>
  status >= 300 && status < 400
    ? ': redirects are not followed, so write the URL where it leads'
    : '';

async function beginningOf(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    text += decoder.decode(chunk, { stream: true });
    if (size > MAX_ANSWER_BYTES) break; // which cancels the rest
  }
  return text.slice(0, MAX_ANSWER_BYTES);
}

/** fetch says "fetch failed"; why, its cause says. The URL is in neither. */
function causeOf(error: unknown): string {
  const { cause } = error as { cause?: { code?: unknown; message?: unknown } };
  if (typeof cause?.code === 'string') return cause.code;
  return error instanceof Error ? error.name : 'unknown';
}

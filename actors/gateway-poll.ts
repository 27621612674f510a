/**
 * One question to the gateway of a remote agent: `GET <url>/agent/<id>`, answered in the form of our own route. What comes
 * back is foreign: bounded in time and size, followed nowhere else, and only its `last_heartbeat` counts.
 */
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject } from '../machines/json.ts';

export type PollAnswer =
  /** `ageMs`: how long ago the gateway heard of the agent; null: never. */
  | { kind: 'answered'; ageMs: number | null; responseTimeMs: number }
  /** It answered, but not about the agent. */
  | { kind: 'refused'; message: string }
  | { kind: 'unreachable'; message: string };

const MAX_ANSWER_BYTES = 256 << 10;

/** Never rejects. */
export async function pollAgent(
  url: string,
  agentId: string,
  { signal, timeoutMs }: { signal: AbortSignal; timeoutMs: number },
): Promise<PollAnswer> {
  const startedAt = performance.now();
  const deadline = AbortSignal.timeout(timeoutMs);
  try {
    const response = await fetch(
      `${url.replace(/\/+$/, '')}/agent/${encodeURIComponent(agentId)}`,
      {
        headers: { accept: 'application/json' },
        redirect: 'error',
        signal: AbortSignal.any([signal, deadline]),
      },
    );
    const text = await boundedText(response);
    const responseTimeMs = performance.now() - startedAt;
    if (response.status === 404) return refused(`it does not know agent ${agentId}`);
    if (!response.ok) return refused(`it answered ${response.status}`);
    const answer = parse(text);
    if (answer === undefined) return refused('it did not answer with JSON');
    if (answer['agent_id'] !== agentId) return refused('it answered for another agent');
    const heard = answer['last_heartbeat'];
    if (heard !== null && heard !== undefined && !isTime(heard))
      return refused('its last_heartbeat is no time in epoch seconds');
    const ageMs = isTime(heard) ? Math.max(0, theirNow(response) - heard * 1000) : null;
    return { kind: 'answered', ageMs, responseTimeMs };
  } catch (error) {
    const message = deadline.aborted ? `no answer within ${timeoutMs / 1000} s` : reasonOf(error);
    return { kind: 'unreachable', message };
  }
}

const refused = (message: string): PollAnswer => ({ kind: 'refused', message });
const isTime = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value);

/** An age is told on one clock, theirs: hosts' clocks differ. `Date` has whole seconds. */
function theirNow(response: Response): number {
  const date = Date.parse(response.headers.get('date') ?? '');
  return Number.isNaN(date) ? Date.now() : date;
}

async function boundedText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > MAX_ANSWER_BYTES)
      throw new Error(`its answer is longer than ${MAX_ANSWER_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parse(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined; // the caller says what came instead
  }
}

/** fetch says "fetch failed"; what failed stands in the cause. */
function reasonOf(error: unknown): string {
  const { message, cause } = error instanceof Error ? error : new Error(String(error));
  const { code } = (cause ?? {}) as { code?: unknown };
  return typeof code === 'string' ? code : cause instanceof Error ? cause.message : message;
}

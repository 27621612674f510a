/**
 * What the `ollama` client does not do for us, done in the `fetch` that it is given: a signal for each request that reaches
 * the server, errors with their status and headers (the client drops these, and prints texts on the console), and streams
 * that are checked line by line (the client prints a broken line and goes on without it: the answer would have a hole).
 */
import type { ErrorKind } from '../../machines/llm-policy.ts';
import { connectionReason, isNobodyThere, kindOfStatus } from './provider.ts';
import { ProviderError, retryAfterMs } from './provider.ts';

export interface WireEvents {
  signal: AbortSignal;
  connected?: () => void;
  /** Bytes came. */
  alive?: () => void;
}

const MAX_ERROR_BYTES = 16 * 1024;
/** Far more than any answer of ours. */
const MAX_STREAM_BYTES = 8 << 20;

export function ollamaFetch({ signal, connected, alive }: WireEvents): typeof fetch {
  return async (input, init) => {
    let response: Response;
    try {
      response = await fetch(input, { ...init, signal, redirect: 'error' });
    } catch (error) {
      const message = `Ollama cannot be reached: ${connectionReason(error)}`;
      throw new ProviderError(message, {
        kind: 'transient',
        isFree: isNobodyThere(error),
        cause: error,
      });
    }
    connected?.();
    if (!response.ok) throw await errorOf(response);
    if (!alive || response.body === null) return response;
    const { status, headers } = response;
    return new Response(response.body.pipeThrough(wholeLines(alive)), { status, headers });
  };
}

async function errorOf(response: Response): Promise<ProviderError> {
  const { status, headers } = response;
  const text = await startOf(response);
  const message = errorText(text) ?? `status ${status}`;
  return new ProviderError(`Ollama: ${message}`, {
    kind: kindOf(status, message),
    status,
    retryAfterMs: retryAfterMs(headers, Date.now()),
    isFree: true,
  });
}

async function startOf(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  try {
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk as Uint8Array, { stream: true });
      if (text.length > MAX_ERROR_BYTES) break;
    }
  } catch {
    return text; // cut off: the status says enough
  }
  return text;
}

function errorText(text: string): string | undefined {
  try {
    const { error } = JSON.parse(text) as { error?: unknown };
    return typeof error === 'string' ? error : undefined;
  } catch {
    return text.trim().slice(0, 200) || undefined; // a proxy's page, perhaps
  }
}

export function kindOf(status: number, message: string): ErrorKind {
  if (isOverflow(message)) return 'context_overflow';
  if (status === 404 && /model/i.test(message)) return 'model_missing';
  return kindOfStatus(status);
}

export const isOverflow = (message: string): boolean =>
  /context length|context window|exceeds? the (available |maximum )?context|input length exceeds/i.test(
    message,
  );

/** What is read ahead: the client stops at the last line, and the end behind it has to be met to free the connection. */
const READ_AHEAD = 16;

/** Lets whole lines of JSON through. */
function wholeLines(alive: () => void): TransformStream<Uint8Array, Uint8Array> {
  const decoder = new TextDecoder();
  const encoder = new TextEncoder();
  let [rest, bytes] = ['', 0];
  const checked = (line: string): string => {
    if (line.trim() === '') return '';
    try {
      JSON.parse(line);
    } catch {
      throw new ProviderError('Ollama: a line of the stream is no JSON', { kind: 'transient' });
    }
    return `${line}\n`;
  };
  const ahead = new CountQueuingStrategy({ highWaterMark: READ_AHEAD });
  const through: ConstructorParameters<typeof TransformStream<Uint8Array, Uint8Array>>[0] = {
    transform(chunk, controller) {
      alive();
      bytes += chunk.byteLength;
      if (bytes > MAX_STREAM_BYTES)
        throw new ProviderError('Ollama: the stream does not end', { kind: 'truncated' });
      const found = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = found.pop() ?? '';
      const text = found.map(checked).join('');
      if (text !== '') controller.enqueue(encoder.encode(text));
    },
    flush(controller) {
      const text = checked(rest + decoder.decode());
      if (text !== '') controller.enqueue(encoder.encode(text));
    },
  };
  return new TransformStream(through, undefined, ahead);
}

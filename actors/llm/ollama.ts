/**
 * Models of an Ollama server, by `/api/chat` as a stream: the grammar of the schema holds the model to its form, and the
 * schema stands in the prompt too, since the server does not show it to the model.
 *
 * Every request names its context size and forbids cutting (`truncate`, `shift`): by default the server drops the oldest
 * words in silence and answers 200.
 */
import type { ChatRequest } from 'ollama';
import { withSchema } from '../../machines/llm-answer.ts';
import type { LlmSettings, Rung } from '../../machines/llm-config.ts';
import type { Usage } from '../../machines/llm-cost.ts';
import { OllamaHealth } from './ollama-health.ts';
import { isOverflow, ollamaFetch } from './ollama-wire.ts';
import { connectionReason, ProviderError } from './provider.ts';
import type { Provider, ProviderAnswer, ProviderRequest, Readiness } from './provider.ts';

const MAX_ANSWER = 256 * 1024;
/** Bytes a token has at most on average: below this estimate no prompt was cut. */
const MOST_BYTES_PER_TOKEN = 5;

export class OllamaProvider implements Provider {
  readonly name = 'ollama';
  readonly isLocal = false;
  readonly #settings: LlmSettings['ollama'];
  readonly #health: OllamaHealth | undefined;

  constructor(settings: LlmSettings['ollama'], now: () => number) {
    this.#settings = settings;
    this.#health = settings.url === null ? undefined : new OllamaHealth(settings.url, now);
  }

  ready({ name }: Rung, signal: AbortSignal): Promise<Readiness> {
    return this.#health?.ready(name, signal) ?? Promise.resolve(NO_ADDRESS);
  }

  known({ name }: Rung): Readiness & { since: number | null } {
    return this.#health?.known(name) ?? { ...NO_ADDRESS, since: null };
  }

  async ask(request: ProviderRequest): Promise<ProviderAnswer> {
    try {
      return await this.#chat(request);
    } catch (error) {
      const failure = providerError(error);
      if (failure.kind === 'transient' || failure.kind === 'model_missing') this.#health?.doubt();
      throw failure;
    }
  }

  async #chat(request: ProviderRequest): Promise<ProviderAnswer> {
    const { call } = request;
    const { Ollama } = await import('ollama'); // most nodes need none of it
    const wire = { connected: () => call.connected(), alive: () => call.alive() };
    const fetching = ollamaFetch({ signal: call.signal, ...wire });
    const client = new Ollama({ host: this.#settings.url ?? '', fetch: fetching });
    const body = this.#bodyOf(request);
    let [text, whole] = ['', ''];
    for await (const { message, ...part } of await client.chat(body)) {
      if (message?.content || message?.thinking) call.token();
      text += message?.content ?? '';
      whole ||= argumentsOf(message?.tool_calls);
      if (text.length > MAX_ANSWER)
        throw new ProviderError('the answer does not end', { kind: 'truncated' });
      if (!part.done) continue;
      const usage = usageOf(part);
      const isCut = wasCut(body, usage, this.#settings.numCtx);
      return {
        text: text === '' ? whole : text,
        ended: isCut ? 'overflow' : part.done_reason === 'length' ? 'length' : 'stop',
        stopReason: part.done_reason ?? null,
        modelReported: part.model ?? null,
        requestId: null,
        usage,
      };
    }
    throw new ProviderError('the stream ended before the answer', { kind: 'transient' });
  }

  #bodyOf({ rung, messages, schema, maxOutputTokens, variation }: ProviderRequest): Chat {
    const { numCtx, keepAlive } = this.#settings;
    return {
      model: rung.name,
      messages: withSchema(messages, schema),
      stream: true,
      format: schema,
      keep_alive: keepAlive,
      truncate: false,
      shift: false,
      options: {
        num_ctx: numCtx,
        num_predict: maxOutputTokens,
        temperature: rung.temperature + 0.3 * variation,
        ...(variation > 0 && { seed: variation }),
      },
    };
  }
}

/** The server knows more than the client's types. */
type Chat = ChatRequest & { stream: true; truncate: false; shift: false };

const NO_ADDRESS: Readiness = {
  state: 'off',
  reason: 'the address of the Ollama server is none',
  hint: 'Set OLLAMA_HOST or llm.ollama.host, for example http://127.0.0.1:11434.',
};

interface Counts {
  prompt_eval_count?: number;
  eval_count?: number;
}

function usageOf({ prompt_eval_count: input = 0, eval_count: output = 0 }: Counts): Usage {
  return { input, output, cacheRead: 0, cacheWrite: 0 };
}

/** Older servers cut in spite of `truncate: false`: then far fewer tokens were read than were sent. */
function wasCut({ messages = [] }: Chat, { input }: Usage, numCtx: number): boolean {
  const bytes = messages.reduce((sum, { content }) => sum + Buffer.byteLength(content), 0);
  const atLeast = bytes / MOST_BYTES_PER_TOKEN;
  return atLeast > numCtx && input > 0 && input <= numCtx;
}

/** Some models put their JSON into a call of a tool that nobody offered. */
function argumentsOf(calls: { function?: { arguments?: unknown } }[] | undefined): string {
  const given = calls?.[0]?.function?.arguments;
  if (given === undefined) return '';
  return typeof given === 'string' ? given : JSON.stringify(given);
}

/** `ProviderError`s of the wire come through the client as they are, or as the cause of a stream's end. */
function providerError(error: unknown): ProviderError {
  if (error instanceof ProviderError) return error;
  if (error instanceof Error && error.cause instanceof ProviderError) return error.cause;
  const message = connectionReason(error);
  const kind = isOverflow(message) ? 'context_overflow' : 'transient';
  return new ProviderError(`Ollama: ${message}`, { kind, cause: error });
}

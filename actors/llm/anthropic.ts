/**
 * Claude by the Messages API, as a stream. The client is made for each request: it only joins a key, an address and a
 * `fetch` that sees signs of life (pings too, which the client keeps to itself).
 *
 * A1 The key comes from `ApiKeySource` alone: no profile, no other variable, no log of the client's.
 * A2 The client does not retry, and its timeout never ends anything: both are the router's.
 * A3 No sampling parameters: the API refuses them.
 */
import type {
  MessageCreateParamsStreaming,
  Usage as WireUsage,
} from '@anthropic-ai/sdk/resources/messages';
import type { RawMessageStreamEvent } from '@anthropic-ai/sdk/resources/messages';
import { withoutSecrets } from '../../machines/redis-url.ts';
import { alternating, withSchema } from '../../machines/llm-answer.ts';
import type { LlmSettings } from '../../machines/llm-config.ts';
import type { Usage } from '../../machines/llm-cost.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { ApiKeySource } from './api-key.ts';
import { anthropicError } from './anthropic-errors.ts';
import type { CallClock } from './call-clock.ts';
import { ProviderError } from './provider.ts';
import type { Provider, ProviderAnswer, ProviderRequest, Readiness } from './provider.ts';

const MAX_ANSWER = 256 * 1024;
const MAX_STREAM_BYTES = 8 << 20;
/** Beyond every time of ours (A2). */
const CLIENT_TIMEOUT_MS = 24 * 3_600_000;

export class AnthropicProvider implements Provider {
  readonly name = 'anthropic';
  readonly isLocal = false;
  readonly #settings: LlmSettings['anthropic'];
  readonly #key: ApiKeySource;
  readonly #now: () => number;

  constructor(settings: LlmSettings['anthropic'], key: ApiKeySource, now: () => number) {
    this.#settings = settings;
    this.#key = key;
    this.#now = now;
  }

  async ready(): Promise<Readiness> {
    const key = await this.#key.read();
    return key.ok ? { state: 'unknown' } : { state: 'off', reason: key.reason, hint: key.hint };
  }

  known(): Readiness & { since: number | null } {
    const key = this.#key.known;
    if (key === undefined) void this.#key.read();
    if (key === undefined || key.ok) return { state: 'unknown', since: null };
    return { state: 'off', reason: key.reason, hint: key.hint, since: null };
  }

  async ask(request: ProviderRequest): Promise<ProviderAnswer> {
    const found = await this.#key.read();
    if (!found.ok) throw new ProviderError(found.reason, { kind: 'auth', isFree: true });
    const { key } = found;
    try {
      return await this.#stream(request, key);
    } catch (error) {
      const shown = (text: string): string => withoutSecrets(text, [key]);
      throw error instanceof ProviderError ? error : anthropicError(error, this.#now(), shown);
    }
  }

  async #stream(request: ProviderRequest, apiKey: string): Promise<ProviderAnswer> {
    const { call } = request;
    const { Anthropic } = await import('@anthropic-ai/sdk'); // most nodes need none of it
    const client = new Anthropic({
      apiKey,
      baseURL: this.#settings.baseUrl,
      maxRetries: 0,
      timeout: CLIENT_TIMEOUT_MS,
      logLevel: 'off',
      fetch: observed(call),
    });
    const body = await bodyOf(request);
    const { data, request_id: requestId } = await client.messages
      .create(body, { signal: call.signal })
      .withResponse();
    const reading = new Reading(requestId ?? null);
    for await (const event of data) {
      if (reading.take(event)) call.token();
      if (reading.text.length > MAX_ANSWER)
        throw new ProviderError('the answer does not end', { kind: 'truncated', requestId });
    }
    return reading.answer();
  }
}

/** Marks the headers and every chunk. */
function observed(call: CallClock): typeof fetch {
  return async (input, init) => {
    const response = await fetch(input, { ...init, redirect: 'error' }); // what is sent goes nowhere else
    call.connected();
    if (response.body === null) return response;
    let bytes = 0;
    const watching = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        call.alive();
        bytes += chunk.byteLength;
        if (bytes > MAX_STREAM_BYTES)
          throw new ProviderError('the stream does not end', { kind: 'truncated' });
        controller.enqueue(chunk);
      },
    });
    const { status, statusText, headers } = response;
    return new Response(response.body.pipeThrough(watching), { status, statusText, headers });
  };
}

async function bodyOf(request: ProviderRequest): Promise<MessageCreateParamsStreaming> {
  const { rung, messages, schema, maxOutputTokens } = request;
  const reduced = await reducedSchema(schema);
  const { system, turns } = alternating(reduced ? messages : withSchema(messages, schema));
  const format = reduced && { type: 'json_schema' as const, schema: reduced };
  const { thinking, effort } = rung;
  return {
    model: rung.name,
    max_tokens: maxOutputTokens,
    stream: true,
    messages: turns,
    ...(system !== undefined && { system }),
    ...(thinking !== null && { thinking: { type: thinking } }),
    output_config: { ...(format && { format }), ...(effort !== null && { effort }) },
  };
}

const reductions = new WeakMap<JsonObject, JsonObject | 'none'>();

/** What the API enforces of a schema; the rest moves into its descriptions. Undefined: nothing of it can be. */
async function reducedSchema(schema: JsonObject): Promise<JsonObject | undefined> {
  let reduced = reductions.get(schema);
  if (reduced === undefined) {
    const { transformJSONSchema } = await import('@anthropic-ai/sdk/lib/transform-json-schema');
    try {
      reduced = transformJSONSchema(schema);
    } catch {
      reduced = 'none'; // it names no types: the prompt has the schema then, and ajv has the last word anyway
    }
    reductions.set(schema, reduced);
  }
  return reduced === 'none' ? undefined : reduced;
}

/** A message as it comes in. */
class Reading {
  text = '';
  readonly #requestId: string | null;
  #model: string | null = null;
  #stopReason: string | null = null;
  #category: string | null = null;
  #usage: Usage | null = null;
  #isWhole = false;

  constructor(requestId: string | null) {
    this.#requestId = requestId;
  }

  /** True: a part of the answer, or of the thinking before it. */
  take(event: RawMessageStreamEvent): boolean {
    switch (event.type) {
      case 'message_start':
        this.#model = event.message.model;
        this.#usage = usageOf(event.message.usage, null);
        return false;
      case 'content_block_start':
        if (event.content_block.type === 'text') this.text += event.content_block.text;
        return true;
      case 'content_block_delta':
        if (event.delta.type === 'text_delta') this.text += event.delta.text;
        return true;
      case 'message_delta':
        this.#stopReason = event.delta.stop_reason;
        this.#category = event.delta.stop_details?.category ?? null;
        this.#usage = usageOf(event.usage, this.#usage);
        return true;
      case 'message_stop':
        this.#isWhole = true;
        return false;
      default:
        return false;
    }
  }

  answer(): ProviderAnswer {
    if (!this.#isWhole)
      throw new ProviderError('the stream ended before the answer', {
        kind: 'transient',
        requestId: this.#requestId,
      });
    const reason = this.#stopReason;
    return {
      text: this.text,
      ended: ENDS[reason ?? ''] ?? 'stop',
      stopReason: this.#category === null ? reason : `${reason}: ${this.#category}`,
      modelReported: this.#model,
      requestId: this.#requestId,
      usage: this.#usage,
    };
  }
}

const ENDS: Readonly<Record<string, ProviderAnswer['ended']>> = {
  max_tokens: 'length',
  refusal: 'refusal',
  model_context_window_exceeded: 'overflow',
};

type Counts = Pick<WireUsage, 'output_tokens'> & {
  [Name in 'input_tokens' | 'cache_read_input_tokens' | 'cache_creation_input_tokens']?:
    number | null;
};

/** The end of a stream repeats only some of the counts. */
function usageOf(counts: Counts, before: Usage | null): Usage {
  return {
    input: counts.input_tokens ?? before?.input ?? 0,
    output: counts.output_tokens ?? before?.output ?? 0,
    cacheRead: counts.cache_read_input_tokens ?? before?.cacheRead ?? 0,
    cacheWrite: counts.cache_creation_input_tokens ?? before?.cacheWrite ?? 0,
  };
}

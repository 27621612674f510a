/**
 * What the router can be told, as people write it (`llm` in the daemon's configuration, seconds and dollars), and what of it
 * holds together with the environment: `OLLAMA_HOST` and `OLLAMA_MODEL` win over the file. Keys are not among it: an API
 * key comes from `ANTHROPIC_API_KEY` or from a file that only its owner can read (actors/llm/api-key.ts).
 */
import { FREE, NANO } from './llm-cost.ts';
import type { Price } from './llm-cost.ts';
import type { BreakerPolicy } from './llm-breaker.ts';
import type { DayLimits, ProviderName } from './llm-models.ts';

export type Thinking = 'disabled' | 'adaptive';
export type Effort = 'low' | 'medium' | 'high' | 'xhigh' | 'max';

/** All of it is optional; cells/schemas/daemon-config.json says what fits. */
export interface LlmConfig {
  chain?: ChainEntry[];
  deadline?: number;
  /** null: no limit. */
  budget?: {
    usd_per_day?: number | null;
    tokens_per_day?: number | null;
    usd_per_call?: number | null;
  };
  prices?: Record<string, Price>;
  breaker?: { threshold?: number; cooldown?: number; longest?: number; blocked?: number };
  ollama?: {
    host?: string;
    num_ctx?: number;
    concurrency?: number;
    queue?: number;
    keep_alive?: string | number;
  };
  anthropic?: { base_url?: string; key_file?: string; concurrency?: number; queue?: number };
}

export interface ChainEntry {
  /** `ollama/<model>`, an id of Anthropic's (with or without `anthropic/`), or `rules`. */
  model: string;
  timeout?: number;
  first_token?: number;
  idle?: number;
  max_output_tokens?: number;
  temperature?: number;
  thinking?: Thinking;
  effort?: Effort;
}

/** One place in the chain. */
export interface Rung {
  /** As it is shown: `ollama/qwen2.5:7b`, `claude-haiku-5-5`, `rules`. */
  model: string;
  provider: ProviderName;
  /** As the provider calls it. */
  name: string;
  timeoutMs: number;
  firstTokenMs: number;
  idleMs: number;
  /** null: as the question says. */
  maxOutputTokens: number | null;
  temperature: number;
  thinking: Thinking | null;
  effort: Effort | null;
  /** null: nobody said what it costs. */
  price: Price | null;
}

export interface LlmSettings {
  chain: Rung[];
  deadlineMs: number;
  limits: DayLimits;
  nanoUsdPerCall: number | null;
  breaker: BreakerPolicy;
  ollama: {
    /** null: `host` is no address. */
    url: string | null;
    numCtx: number;
    concurrency: number;
    queue: number;
    keepAlive: string | number;
  };
  anthropic: { baseUrl: string; keyFile: string | null; concurrency: number; queue: number };
}

export const DEFAULT_OLLAMA_HOST = 'http://127.0.0.1:11434';
export const DEFAULT_OLLAMA_MODEL = 'qwen2.5:7b';
export const ANTHROPIC_URL = 'https://api.anthropic.com';
/** What stands for the environment's model in a name of the chain. */
export const MODEL_VARIABLE = '${OLLAMA_MODEL}';

const DEFAULT_CHAIN: readonly ChainEntry[] = [
  { model: `ollama/${MODEL_VARIABLE}`, timeout: 8 },
  { model: 'claude-haiku-5-5', timeout: 30, thinking: 'disabled' },
  { model: 'claude-sonnet-5-5', timeout: 30, max_output_tokens: 4096 },
];

const DEFAULT_PRICES: Readonly<Record<string, Price>> = {
  'claude-haiku-5-5': { input: 0.1, output: 0.5, long: { over: 100_000, input: 0.5, output: 2.5 } },
  'claude-sonnet-5-5': { input: 2, output: 10 },
  'claude-opus-5-5': { input: 4, output: 20 },
  'claude-haiku-4-5': { input: 1, output: 5 },
};

const DEFAULT_USD_PER_DAY = 10;
const DEFAULT_TIMEOUT = 30;
const MAX_IDLE = 15;

/** Variables of the environment that count here. */
export type LlmEnvironment = Readonly<Record<string, string | undefined>>;

export function llmSettings(config: LlmConfig, environment: LlmEnvironment): LlmSettings {
  const { deadline = 75, budget = {}, breaker = {}, ollama = {}, anthropic = {} } = config;
  const prices = { ...DEFAULT_PRICES, ...config.prices };
  const model = environment['OLLAMA_MODEL'] || DEFAULT_OLLAMA_MODEL;
  const host = environment['OLLAMA_HOST'] || ollama.host || DEFAULT_OLLAMA_HOST;
  const { usd_per_day = DEFAULT_USD_PER_DAY, tokens_per_day = null, usd_per_call = null } = budget;
  return {
    chain: (config.chain ?? DEFAULT_CHAIN).map((entry) => rungOf(entry, model, prices)),
    deadlineMs: deadline * 1000,
    limits: { nanoUsd: nanoOf(usd_per_day), tokens: tokens_per_day },
    nanoUsdPerCall: nanoOf(usd_per_call),
    breaker: {
      threshold: breaker.threshold ?? 3,
      cooldownMs: (breaker.cooldown ?? 30) * 1000,
      longestMs: (breaker.longest ?? 600) * 1000,
      blockedMs: (breaker.blocked ?? 600) * 1000,
    },
    ollama: {
      url: ollamaUrl(host) ?? null,
      numCtx: ollama.num_ctx ?? 8192,
      concurrency: ollama.concurrency ?? 1,
      queue: ollama.queue ?? 64,
      keepAlive: ollama.keep_alive ?? '30m',
    },
    anthropic: {
      baseUrl: anthropic.base_url ?? (environment['ANTHROPIC_BASE_URL'] || ANTHROPIC_URL),
      keyFile: anthropic.key_file ?? null,
      concurrency: anthropic.concurrency ?? 4,
      queue: anthropic.queue ?? 64,
    },
  };
}

function rungOf(entry: ChainEntry, ollamaModel: string, prices: Record<string, Price>): Rung {
  const model = entry.model.replace(MODEL_VARIABLE, () => ollamaModel).replace(/^anthropic\//, '');
  const provider = providerOf(model);
  const timeout = entry.timeout ?? DEFAULT_TIMEOUT;
  const isFree = provider !== 'anthropic' && !Object.hasOwn(prices, model);
  return {
    model,
    provider,
    name: model.replace(/^ollama\//, ''),
    timeoutMs: timeout * 1000,
    firstTokenMs: (entry.first_token ?? timeout) * 1000,
    idleMs: (entry.idle ?? Math.min(MAX_IDLE, timeout)) * 1000,
    maxOutputTokens: entry.max_output_tokens ?? null,
    temperature: entry.temperature ?? 0,
    thinking: entry.thinking ?? (model.includes('haiku') ? 'disabled' : null),
    effort: entry.effort ?? null,
    price: isFree ? FREE : Object.hasOwn(prices, model) ? (prices[model] ?? null) : null,
  };
}

export function providerOf(model: string): ProviderName {
  if (model === 'rules') return 'rules';
  return model.startsWith('ollama/') ? 'ollama' : 'anthropic';
}

const nanoOf = (usd: number | null): number | null =>
  usd === null ? null : Math.round(usd * NANO);

/** `host`, `host:port` or a URL, as Ollama's own tools take it; undefined when it is none, or holds a password. */
export function ollamaUrl(text: string): string | undefined {
  const isUrl = text.includes('://');
  const given = text.startsWith(':') ? `127.0.0.1${text}` : text;
  const url = URL.parse(isUrl ? text : `http://${given}`);
  if (url === null || !/^https?:$/.test(url.protocol) || url.hostname === '') return undefined;
  if (url.username !== '' || url.password !== '') return undefined;
  const port = url.port || (isUrl ? (url.protocol === 'https:' ? '443' : '80') : '11434');
  const host = url.hostname === '0.0.0.0' ? '127.0.0.1' : url.hostname; // a server's way to say "everywhere"
  return `${url.protocol}//${host}:${port}${url.pathname.replace(/\/+$/, '')}`;
}

/** The address of an API; undefined when it is none, or holds a password. */
export function isApiUrl(text: string): boolean {
  const url = URL.parse(text);
  return (
    url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.password === ''
  );
}

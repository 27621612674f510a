/** A router on both fake servers through the real clients, with a ledger in memory: the same pure folds as the actor's. */
import { onTestFinished } from 'vitest';
import { AnthropicProvider } from '../../actors/llm/anthropic.ts';
import { ApiKeySource } from '../../actors/llm/api-key.ts';
import { systemClock } from '../../actors/llm/call-clock.ts';
import type { RouterClock } from '../../actors/llm/call-clock.ts';
import type { Ledger } from '../../actors/llm/ledger.ts';
import { OllamaProvider } from '../../actors/llm/ollama.ts';
import { LlmRouter } from '../../actors/llm/router.ts';
import type { LlmRouterOptions } from '../../actors/llm/router.ts';
import { LlmUnavailable } from '../../actors/llm/router-types.ts';
import type {
  Attempt,
  Question,
  RouteOptions,
  RouteResult,
} from '../../actors/llm/router-types.ts';
import { rulesProvider } from '../../actors/llm/rules.ts';
import type { JsonObject } from '../../machines/json.ts';
import { llmSettings } from '../../machines/llm-config.ts';
import type { LlmConfig } from '../../machines/llm-config.ts';
import { freshModels, noteEnded, noteReset, noteStarted } from '../../machines/llm-models.ts';
import type { AttemptEnded, AttemptStarted, LlmModels } from '../../machines/llm-models.ts';
import { openAnthropic, openOllama } from './llm-servers.ts';
import type { LlmServer } from './llm-servers.ts';

export const KEY = 'sk-ant-test-0123456789abcdef';

export const PROPOSAL: JsonObject = {
  type: 'object',
  additionalProperties: false,
  required: ['action', 'service', 'node', 'reason', 'confidence', 'requires_human'],
  properties: {
    action: { type: 'string', enum: ['restart', 'redeploy', 'notify', 'ignore'] },
    service: { type: 'string', minLength: 1 },
    node: { type: 'string' },
    reason: { type: 'string', minLength: 10 },
    confidence: { type: 'number', minimum: 0, maximum: 1 },
    requires_human: { type: 'boolean' },
  },
};

export const GOOD: JsonObject = {
  action: 'restart',
  service: 'mosquitto',
  node: 'piha',
  reason: 'the broker does not answer',
  confidence: 0.9,
  requires_human: false,
};
export const good = (change: JsonObject = {}): string => JSON.stringify({ ...GOOD, ...change });

export const QUESTION: Question = {
  messages: [
    { role: 'system', content: 'You look after a homelab.' },
    { role: 'user', content: 'piha/mosquitto: service_unhealthy since 12:00, severity error' },
  ],
  schema: { id: 'proposal@1', schema: PROPOSAL },
  check: (content) =>
    (content as { node?: string }).node === 'piha' ? [] : ['/node must be "piha"'],
  maxOutputTokens: 300,
  promptVersion: 'test-1',
};

export class MemoryLedger implements Ledger {
  models: LlmModels;
  readonly starts: AttemptStarted[] = [];
  readonly ends: AttemptEnded[] = [];
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
    this.models = freshModels(now());
  }

  async started(attempt: AttemptStarted): Promise<void> {
    this.models = noteStarted(this.models, attempt, this.#now());
    this.starts.push(attempt);
    await Promise.resolve();
  }

  async ended(attempt: AttemptEnded): Promise<void> {
    this.models = noteEnded(this.models, attempt, this.#now());
    this.ends.push(attempt);
    await Promise.resolve();
  }

  reset(model: string | null): Promise<void> {
    this.models = noteReset(this.models, model, this.#now());
    return Promise.resolve();
  }

  state(): LlmModels {
    return this.models;
  }
}

const now = (): number => performance.timeOrigin + performance.now();
export const realClock: RouterClock = systemClock(now);

export interface RouterFixture {
  router: LlmRouter;
  ollama: LlmServer;
  claude: LlmServer;
  ledger: MemoryLedger;
  messages: JsonObject[];
  /** What came of it, whether somebody answered or not. */
  ask(options?: RouteOptions, question?: Partial<Question>): Promise<Outcome>;
}

export interface Outcome {
  result: RouteResult | undefined;
  failure: LlmUnavailable | undefined;
  attempts: Attempt[];
  /** `<model>: <outcome>` of each attempt. */
  story: string[];
}

/** Ollama first, then haiku, with time enough for a slow machine. */
export async function openRouter(
  config: LlmConfig = {},
  environment: Record<string, string> = { ANTHROPIC_API_KEY: KEY },
  change: Partial<LlmRouterOptions> = {},
): Promise<RouterFixture> {
  const [ollama, claude] = await Promise.all([openOllama(), openAnthropic(KEY)]);
  const ledger = new MemoryLedger(now);
  const messages: JsonObject[] = [];
  const settings = llmSettings(
    {
      chain: [
        { model: 'ollama/qwen2.5:7b', timeout: 20 },
        { model: 'claude-haiku-5-5', timeout: 20 },
      ],
      ...config,
      ollama: { host: ollama.url, ...config.ollama },
      anthropic: { base_url: claude.url, ...config.anthropic },
    },
    environment,
  );
  const router = new LlmRouter({
    settings: () => settings,
    providers: (current) => ({
      ollama: new OllamaProvider(current.ollama, now),
      anthropic: new AnthropicProvider(
        current.anthropic,
        new ApiKeySource(environment, current.anthropic.keyFile),
        now,
      ),
      rules: rulesProvider,
    }),
    ledger,
    clock: realClock,
    random: () => 0.01,
    onMessage: (message) => void messages.push(message),
    ...change,
  });
  onTestFinished(async () => {
    router.close();
    await Promise.all([ollama.close(), claude.close()]);
  });
  const ask = async (
    options: RouteOptions = {},
    question: Partial<Question> = {},
  ): Promise<Outcome> => {
    try {
      const result = await router.route({ ...QUESTION, ...question }, options);
      return {
        result,
        failure: undefined,
        attempts: result.attempts,
        story: storyOf(result.attempts),
      };
    } catch (failure) {
      if (!(failure instanceof LlmUnavailable)) throw failure;
      const { attempts } = failure;
      return { result: undefined, failure, attempts, story: storyOf(attempts) };
    }
  };
  return { router, ollama, claude, ledger, messages, ask };
}

const storyOf = (attempts: readonly Attempt[]): string[] =>
  attempts.map(({ model, kind, outcome }) => `${model} ${kind}: ${outcome}`);

/**
 * What the router adds to one question: the same question through it (health, breaker, budget, a durable record before and
 * after, the full schema) and by the bare client, to servers in this process that answer at once. Beside it, the router
 * without a disk: what the two records cost.
 */
import { Anthropic } from '@anthropic-ai/sdk';
import { Ollama } from 'ollama';
import { AnthropicProvider } from '../../actors/llm/anthropic.ts';
import { ApiKeySource } from '../../actors/llm/api-key.ts';
import { systemClock } from '../../actors/llm/call-clock.ts';
import { ActorLedger } from '../../actors/llm/ledger.ts';
import type { Ledger } from '../../actors/llm/ledger.ts';
import { OllamaProvider } from '../../actors/llm/ollama.ts';
import { LlmRouter } from '../../actors/llm/router.ts';
import type { Question } from '../../actors/llm/router-types.ts';
import { rulesProvider } from '../../actors/llm/rules.ts';
import { machineRegistry } from '../../actors/registry.ts';
import { llmSettings } from '../../machines/llm-config.ts';
import { freshModels, noteEnded, noteStarted } from '../../machines/llm-models.ts';
import { claude, ollama, openAnthropic, openOllama } from '../../test/support/llm-servers.ts';
import type { LlmServer } from '../../test/support/llm-servers.ts';
import { alternate, median, quantile, shown } from '../harness.ts';
import type { Bench, Figure, Row } from '../harness.ts';
import { profiled } from '../profile.ts';
import { openKernel, silent } from '../support/kernel.ts';

const KEY = 'sk-ant-bench';
const ANSWER = { action: 'notify', reason: 'x'.repeat(200), confidence: 0.5 };
const SCHEMA = {
  type: 'object',
  additionalProperties: false,
  required: ['action', 'reason', 'confidence'],
  properties: {
    action: { type: 'string', enum: ['restart', 'notify'] },
    reason: { type: 'string', minLength: 10 },
    confidence: { type: 'number', minimum: 0, maximum: 1 },
  },
};
const QUESTION: Question = {
  messages: [
    { role: 'system', content: `You look after a homelab. ${'Rule. '.repeat(150)}` },
    { role: 'user', content: 'piha/mosquitto: service_unhealthy, severity error' },
  ],
  schema: { id: 'bench@1', schema: SCHEMA },
  maxOutputTokens: 300,
  promptVersion: 'bench',
};
const SYSTEM = QUESTION.messages[0]?.content ?? '';
const USER = QUESTION.messages[1]?.content ?? '';

type Ask = () => Promise<unknown>;

interface Sides {
  local: { ours: Ask; inMemory: Ask; bare: Ask };
  remote: { ours: Ask; inMemory: Ask; bare: Ask };
  close: () => Promise<void>;
}

export const row: Row = {
  name: 'llm-router',
  title: 'One question through the router, against the bare client',
  async measure(bench) {
    const sides = await open(bench);
    const count = bench.pick({ full: 150, quick: 40 });
    const figures = [
      ...(await compared('Ollama', sides.local, bench.rounds, count)),
      ...(await compared('Claude', sides.remote, bench.rounds, count)),
    ];
    await sides.close();
    return figures;
  },
  async profile(bench) {
    const sides = await open(bench);
    await timesOf(sides.local.ours, 100);
    const spots = await profiled(async () => {
      await timesOf(sides.local.ours, 1500);
    });
    await sides.close();
    return spots;
  },
};

async function compared(
  name: string,
  { ours, inMemory, bare }: Sides['local'],
  rounds: number,
  count: number,
): Promise<Figure[]> {
  const durable = await alternate(
    rounds,
    () => timesOf(ours, count),
    () => timesOf(bare, count),
  );
  const noDisk = await alternate(
    rounds,
    () => timesOf(inMemory, count),
    () => timesOf(bare, count),
  );
  const figure = (what: string, { ours: mine, baseline }: typeof durable): Figure => {
    const [a, b] = [mine.flat(), baseline.flat()];
    const detail = `p50 ${ms(median(a))} against ${ms(median(b))}, p99 ${ms(quantile(a, 0.99))} against ${ms(quantile(b, 0.99))}`;
    return shown(`${name}: ${what}`, median(a) / median(b), 'x', detail);
  };
  return [
    figure('router / bare client', durable),
    figure('router without a disk / bare client', noDisk),
  ];
}

const ms = (value: number): string => `${value.toFixed(2)} ms`;

async function timesOf(ask: Ask, count: number): Promise<number[]> {
  const times: number[] = [];
  for (let n = 0; n < count; n += 1) {
    const startedAt = performance.now();
    await ask();
    times.push(performance.now() - startedAt);
  }
  return times;
}

async function open(bench: Bench): Promise<Sides> {
  const text = JSON.stringify(ANSWER);
  const local = await openOllama(ollama.answer(text));
  const remote = await openAnthropic(KEY, claude.answer(text));
  const kernel = await openKernel(bench.folder('llm-router'), { registry: machineRegistry() });
  const durable = new ActorLedger(kernel.system, silent);
  const through = (model: string, ledger: Ledger): Ask => {
    const router = routerOn({ local, remote }, model, ledger);
    return () => router.route(QUESTION);
  };
  const both = (model: string, bare: Ask): Sides['local'] => ({
    ours: through(model, durable),
    inMemory: through(model, inMemory()),
    bare,
  });
  return {
    local: both('ollama/qwen2.5:7b', () => bareOllama(local)),
    remote: both('claude-haiku-5-5', () => bareClaude(remote)),
    async close() {
      await Promise.all([local.close(), remote.close()]);
      await kernel.close();
    },
  };
}

function routerOn(
  { local, remote }: { local: LlmServer; remote: LlmServer },
  model: string,
  ledger: Ledger,
): LlmRouter {
  const now = (): number => performance.timeOrigin + performance.now();
  const settings = llmSettings(
    {
      chain: [{ model }],
      budget: { usd_per_day: 1000 },
      ollama: { host: local.url },
      anthropic: { base_url: remote.url },
    },
    {},
  );
  const key = new ApiKeySource({ ANTHROPIC_API_KEY: KEY }, null);
  return new LlmRouter({
    settings: () => settings,
    providers: () => ({
      ollama: new OllamaProvider(settings.ollama, now),
      anthropic: new AnthropicProvider(settings.anthropic, key, now),
      rules: rulesProvider,
    }),
    ledger,
    clock: systemClock(now),
  });
}

function inMemory(): Ledger {
  let models = freshModels(Date.now());
  return {
    started: (attempt) => Promise.resolve(void (models = noteStarted(models, attempt, Date.now()))),
    ended: (attempt) => Promise.resolve(void (models = noteEnded(models, attempt, Date.now()))),
    reset: () => Promise.resolve(),
    state: () => models,
  };
}

async function bareOllama({ url }: LlmServer): Promise<unknown> {
  const client = new Ollama({ host: url });
  const request = {
    model: 'qwen2.5:7b',
    messages: [
      { role: 'system', content: `${SYSTEM}\n\n${JSON.stringify(SCHEMA)}` },
      { role: 'user', content: USER },
    ],
    stream: true as const,
    format: SCHEMA,
    truncate: false,
    shift: false,
    options: { num_ctx: 8192, num_predict: 300, temperature: 0 },
  };
  let text = '';
  for await (const { message } of await client.chat(request)) text += message.content;
  return JSON.parse(text) as unknown;
}

const bareClient: { made?: Anthropic } = {};

async function bareClaude({ url }: LlmServer): Promise<unknown> {
  bareClient.made ??= new Anthropic({ apiKey: KEY, baseURL: url, maxRetries: 0 });
  const reduced = { type: 'object', additionalProperties: false, properties: {} };
  const stream = await bareClient.made.messages.create({
    model: 'claude-haiku-5-5',
    max_tokens: 300,
    stream: true,
    system: SYSTEM,
    messages: [{ role: 'user', content: USER }],
    output_config: { format: { type: 'json_schema', schema: reduced } },
  });
  let text = '';
  for await (const event of stream)
    if (event.type === 'content_block_delta' && event.delta.type === 'text_delta')
      text += event.delta.text;
  return JSON.parse(text) as unknown;
}

/**
 * Questions to language models: the chain of the configuration is gone through until one answer counts. It is the only
 * place that repeats a request to a model.
 *
 * R1 One deadline holds for the whole question, and each model has its own within it. A record that is on its way to the
 *    disk is waited for, nothing else.
 * R2 Nothing is sent once the caller has called it off, and what was sent is called off at the server too.
 * R3 Breaker and budget are asked before each request, and each request is on record before it leaves (attempt.ts).
 * R4 A model that is not set up, is down, cools off or has no turn to give is passed over with its reason; only then the
 *    next one is asked, with the words of the question and nothing of what others answered.
 */
import { randomUUID } from 'node:crypto';
import { RuntimeError, toPlainError } from '../../machines/errors.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { LlmSettings, Rung } from '../../machines/llm-config.ts';
import { NANO, NOTHING_SPENT } from '../../machines/llm-cost.ts';
import type { Spend } from '../../machines/llm-cost.ts';
import { spentToday } from '../../machines/llm-models.ts';
import { shareOf } from '../../machines/llm-policy.ts';
import type { MetricFamily } from '../../machines/metrics.ts';
import { validatorOf } from './judge.ts';
import { attemptMessage, callMessage, LlmMetrics } from './llm-metrics.ts';
import type { CallOutcome } from './llm-metrics.ts';
import { rungView } from './llm-status.ts';
import type { Readiness } from './provider.ts';
import { Setups } from './router-setup.ts';
import type { Setup, SetupParts } from './router-setup.ts';
import { LlmUnavailable } from './router-types.ts';
import type { Question, RouteOptions, RouteResult } from './router-types.ts';
import { askModel, skip } from './rung-call.ts';
import type { Call, RungAnswer } from './rung-call.ts';

export interface LlmRouterOptions extends SetupParts {
  /** 0 to 1, for waits. */
  random?: () => number;
  /** A message for the channel `llm_router_metrics`: `llm_attempt` or `llm_call`. It must not throw. */
  onMessage?: (message: JsonObject) => void;
}

export class LlmRouter {
  readonly #options: LlmRouterOptions;
  readonly #metrics = new LlmMetrics();
  readonly #stop = new AbortController();
  readonly #setups: Setups;
  /** By model: what the shortest question was to cost at most, with these prices. */
  readonly #least = new WeakMap<LlmSettings, Map<string, Spend>>();

  constructor(options: LlmRouterOptions) {
    this.#options = options;
    this.#setups = new Setups(options);
  }

  /**
   * Throws LlmUnavailable when no model gave an answer that counts; RuntimeError INVALID_ARGUMENT for a schema that is none,
   * BUSY, JOURNAL_HELD or ACTOR_HELD when nothing can be recorded now; the signal's reason when it is aborted.
   */
  async route(question: Question, options: RouteOptions = {}): Promise<RouteResult> {
    validatorOf(question.schema.schema);
    if (this.#stop.signal.aborted) throw stopping();
    const { clock } = this.#options;
    const setup = this.#setups.current();
    await setup.isReset;
    const call = this.#begin(question, options, setup.settings);
    let outcome: CallOutcome = 'failed';
    try {
      const found = await this.#throughChain(call, setup);
      outcome = found ? 'answered' : 'unavailable';
      this.#tellCall(call, found?.rung.model ?? null);
      if (!found) throw unavailable(call, clock.now());
      return resultOf(call, found, clock.now());
    } finally {
      if (outcome === 'failed' && call.signal.aborted) outcome = 'cancelled';
      this.#metrics.call(outcome, clock.now() - call.startedAt);
    }
  }

  /** One entry for each model of the chain: the status key `parts.llm`. */
  status(): JsonObject[] {
    const { settings, providers } = this.#setups.current();
    const models = this.#setups.models();
    const now = this.#options.clock.now();
    return settings.chain.map((rung) =>
      models instanceof RuntimeError
        ? { model: rung.model, state: 'down', reason: models.message, since: null }
        : rungView(rung, providers[rung.provider], models, {
            now,
            limits: settings.limits,
            least: this.#least.get(settings)?.get(rung.model),
          }),
    );
  }

  /** Whether there is a model that could be asked now; whether it would answer is another question. */
  async isReady(signal: AbortSignal): Promise<boolean> {
    const { settings, providers } = this.#setups.current();
    for (const rung of settings.chain) {
      const provider = providers[rung.provider];
      if (provider.isLocal || signal.aborted) continue;
      const { state } = await provider.ready(rung, signal);
      if (state === 'up' || state === 'unknown') return true;
    }
    return false;
  }

  metrics(): MetricFamily[] {
    const { settings, bulkheads } = this.#setups.current();
    const now = this.#options.clock.now();
    const models = this.#setups.models();
    const spent = models instanceof RuntimeError ? NOTHING_SPENT : spentToday(models, now);
    const up = this.status().map(({ model, state }) => [model, state === 'up' ? 1 : 0]);
    const used = [...new Set(settings.chain.map(({ provider }) => provider))];
    const numbers = (of: 'inside' | 'waiting'): Record<string, number> =>
      Object.fromEntries(used.map((name) => [name, bulkheads[name][of]]));
    return this.#metrics.families({
      inside: numbers('inside'),
      waiting: numbers('waiting'),
      up: Object.fromEntries(up) as Record<string, number>,
      spentTodayUsd: spent.nanoUsd / NANO,
      tokensToday: spent.tokens,
    });
  }

  /** Breakers are closed, as after a mended fault; null: those of all models. */
  reset(model: string | null, by: string): Promise<void> {
    return this.#options.ledger.reset(model, by);
  }

  /** What is under way is called off; nothing new is taken. */
  close(): void {
    this.#stop.abort(stopping());
  }

  /** R4. */
  async #throughChain(call: Call, setup: Setup): Promise<Found | undefined> {
    const { clock } = this.#options;
    const late = new AbortController();
    const callOff = clock.after(call.deadlineAt - clock.now(), () => late.abort());
    const either = AbortSignal.any([call.signal, late.signal]);
    try {
      for (const [index, rung] of setup.settings.chain.entries()) {
        call.signal.throwIfAborted();
        const answer = await this.#askRung(call, { rung, index, ...setup }, either);
        if (answer) return { answer, rung };
      }
      call.signal.throwIfAborted(); // R2
      return undefined;
    } finally {
      callOff();
    }
  }

  async #askRung(
    call: Call,
    { rung, index, settings, providers, bulkheads }: Setup & { rung: Rung; index: number },
    either: AbortSignal,
  ): Promise<RungAnswer | undefined> {
    const { clock } = this.#options;
    const provider = providers[rung.provider];
    const parts = {
      ...this.#options,
      random: this.#options.random ?? Math.random,
      onAttempt: this.#noteAttempt,
      onReserve: (reserve: Spend) => this.#noteReserve(settings, rung.model, reserve),
    };
    if (provider.isLocal) {
      const untilAt = clock.now() + rung.timeoutMs;
      return askModel(parts, { call, rung, index, provider, settings, untilAt });
    }
    const ready = await readyOr(provider.ready(rung, either));
    if (ready.state === 'off' || ready.state === 'down')
      return skip(call, rung, ready.reason, ready.hint);
    const later = settings.chain
      .slice(index + 1)
      .filter(
        (next) => providers[next.provider].known(next).state !== 'off' && next.provider !== 'rules',
      );
    const share = (): number =>
      shareOf(call.deadlineAt - clock.now(), rung.timeoutMs, later.at(-1)?.timeoutMs ?? null);
    const turn = await bulkheads[rung.provider].enter(share(), either);
    if (!turn.ok) return skip(call, rung, turn.reason);
    try {
      const untilAt = clock.now() + share(); // R1
      if (untilAt <= clock.now()) return skip(call, rung, 'no time is left');
      return await askModel(parts, { call, rung, index, provider, settings, untilAt });
    } finally {
      turn.leave();
    }
  }

  #begin(question: Question, options: RouteOptions, settings: LlmSettings): Call {
    const { signal, context = {}, askedBy = null, limits = {} } = options;
    const now = this.#options.clock.now();
    const { nanoUsdPerCall } = settings;
    const most = [nanoUsdPerCall, limits.nanoUsd].filter((value) => typeof value === 'number');
    return {
      id: randomUUID(),
      question,
      context,
      askedBy: askedBy?.slice(0, 300) ?? null,
      signal: signal ? AbortSignal.any([signal, this.#stop.signal]) : this.#stop.signal,
      startedAt: now,
      deadlineAt: now + settings.deadlineMs,
      limits: {
        nanoUsd: most.length > 0 ? Math.min(...most) : null,
        tokens: limits.tokens ?? null,
      },
      spent: NOTHING_SPENT,
      attempts: [],
      skipped: [],
    };
  }

  readonly #noteAttempt: Parameters<typeof askModel>[0]['onAttempt'] = (call, started, result) => {
    this.#metrics.attempt(started.model, result);
    const { onMessage, clock } = this.#options;
    onMessage?.(attemptMessage(call, started, result, clock.now()));
  };

  #noteReserve(settings: LlmSettings, model: string, reserve: Spend): void {
    const known = this.#least.get(settings) ?? new Map<string, Spend>();
    const least = known.get(model);
    if (least === undefined || reserve.tokens < least.tokens) known.set(model, reserve);
    this.#least.set(settings, known);
  }

  #tellCall(call: Call, model: string | null): void {
    const { onMessage, clock } = this.#options;
    const now = clock.now();
    onMessage?.(callMessage(call, model, Math.round(now - call.startedAt), now));
  }
}

interface Found {
  answer: RungAnswer;
  rung: Rung;
}

/** It fails only when it is called off while it looks; the chain sees to that. */
async function readyOr(looking: Promise<Readiness>): Promise<Readiness> {
  try {
    return await looking;
  } catch (error) {
    const { message } = toPlainError(error);
    return { state: 'down', reason: `nobody could look whether it is there: ${message}` };
  }
}

function resultOf(call: Call, { answer, rung }: Found, now: number): RouteResult {
  const { attempts, skipped, spent, startedAt } = call;
  return {
    content: answer.value,
    rawText: answer.text,
    model: rung.model,
    provider: rung.provider,
    attempts,
    skipped,
    latencyMs: Math.round(now - startedAt),
    usage: answer.usage,
    spent,
  };
}

function unavailable(
  { attempts, skipped, deadlineAt, startedAt }: Call,
  now: number,
): LlmUnavailable {
  const seconds = Math.round((deadlineAt - startedAt) / 1000);
  return new LlmUnavailable(attempts, skipped, now < deadlineAt ? null : `${seconds} s are over`);
}

const stopping = (): RuntimeError =>
  new RuntimeError('the node is stopping', { code: 'BUSY', retryable: true });

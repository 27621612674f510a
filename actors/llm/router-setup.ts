/**
 * What the router works with: the providers and the lines before them, made from the settings and made anew when these
 * change. What is under way goes on with what it began with.
 *
 * S1 What only a person can mend (a key, an account, a model that is not there) may be mended when the settings change: then
 *    those models are asked again at once.
 */
import { RuntimeError } from '../../machines/errors.ts';
import type { LlmSettings } from '../../machines/llm-config.ts';
import type { LlmModels, ProviderName } from '../../machines/llm-models.ts';
import { breakerEffect } from '../../machines/llm-policy.ts';
import { Bulkhead } from './bulkhead.ts';
import type { RouterClock } from './call-clock.ts';
import type { Ledger, LedgerLog } from './ledger.ts';
import type { Provider } from './provider.ts';

export interface SetupParts {
  /** What holds now; another object when it has changed. */
  settings: () => LlmSettings;
  /** Made anew when the settings change. */
  providers: (settings: LlmSettings) => Record<ProviderName, Provider>;
  ledger: Ledger;
  clock: RouterClock;
  log?: LedgerLog;
}

export interface Setup {
  settings: LlmSettings;
  providers: Record<ProviderName, Provider>;
  bulkheads: Record<ProviderName, Bulkhead>;
  /** S1. */
  isReset: Promise<void>;
}

export class Setups {
  readonly #parts: SetupParts;
  #setup: Setup | undefined;

  constructor(parts: SetupParts) {
    this.#parts = parts;
  }

  current(): Setup {
    const { settings: read, providers, clock } = this.#parts;
    const settings = read();
    if (this.#setup?.settings === settings) return this.#setup;
    const isFirst = this.#setup === undefined;
    this.#setup = {
      isReset: isFirst ? Promise.resolve() : this.#resetBlocked(),
      settings,
      providers: providers(settings),
      bulkheads: {
        ollama: new Bulkhead(clock, settings.ollama),
        anthropic: new Bulkhead(clock, settings.anthropic),
        rules: new Bulkhead(clock, { concurrency: 1, queue: 0 }),
      },
    };
    return this.#setup;
  }

  /** Or why it cannot be read: the status shows that and does not fail. */
  models(): LlmModels | RuntimeError {
    try {
      return this.#parts.ledger.state();
    } catch (error) {
      if (error instanceof RuntimeError) return error;
      throw error;
    }
  }

  /** S1. */
  async #resetBlocked(): Promise<void> {
    const { ledger, log } = this.#parts;
    const models = this.models();
    if (models instanceof RuntimeError) return; // what holds them is told where the question fails
    for (const [model, { breaker }] of Object.entries(models.models)) {
      if (breaker.kind === null || breakerEffect(breaker.kind) !== 'blocked') continue;
      try {
        await ledger.reset(model, 'the configuration changed');
      } catch (error) {
        log?.warn({ model, error: String(error) }, 'a model is left out though it may be mended');
      }
    }
  }
}

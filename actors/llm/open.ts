/**
 * The router on a node: its memory in the actor system, its settings from the node's configuration as it stands at each
 * question, its keys from the environment. Opening it loads no client and asks no server.
 */
import type { JsonObject } from '../../machines/json.ts';
import { jsonEqual } from '../../machines/json.ts';
import { llmSettings } from '../../machines/llm-config.ts';
import type { LlmConfig, LlmEnvironment, LlmSettings } from '../../machines/llm-config.ts';
import type { OpenDoor } from '../node.ts';
import type { ActorSystem } from '../system.ts';
import { AnthropicProvider } from './anthropic.ts';
import { ApiKeySource } from './api-key.ts';
import { systemClock } from './call-clock.ts';
import { ActorLedger } from './ledger.ts';
import type { LedgerLog } from './ledger.ts';
import { OllamaProvider } from './ollama.ts';
import { LlmRouter } from './router.ts';
import { rulesProvider } from './rules.ts';

export interface LlmOptions {
  system: ActorSystem;
  /** The configuration's `llm`, as it is now. */
  config: () => LlmConfig;
  /** OLLAMA_HOST, OLLAMA_MODEL, ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL. */
  environment: LlmEnvironment;
  log: LedgerLog;
  /** Messages for the channel `llm_router_metrics`. */
  onMessage?: (message: JsonObject) => void;
}

export interface OpenLlm extends OpenDoor {
  router: LlmRouter;
}

export function openLlm({ system, config, environment, log, onMessage }: LlmOptions): OpenLlm {
  const ledger = new ActorLedger(system, log);
  const now = (): number => system.clock.now().at;
  const router = new LlmRouter({
    settings: latest(config, environment),
    providers: (settings) => ({
      ollama: new OllamaProvider(settings.ollama, now),
      anthropic: new AnthropicProvider(
        settings.anthropic,
        new ApiKeySource(environment, settings.anthropic.keyFile),
        now,
      ),
      rules: rulesProvider,
    }),
    ledger,
    clock: systemClock(now),
    log,
    ...(onMessage && { onMessage: harmless(onMessage, log) }),
  });
  return {
    router,
    nodeFile: {},
    parts: () => ({ llm: router.status() }),
    metrics: () => router.metrics(),
    close() {
      router.close();
      ledger.close();
      return Promise.resolve();
    },
  };
}

/** The same object as long as nothing has changed. */
function latest(config: () => LlmConfig, environment: LlmEnvironment): () => LlmSettings {
  let last: { from: LlmConfig; settings: LlmSettings } | undefined;
  return () => {
    const from = config();
    const isSame = last && jsonEqual(last.from as JsonObject, from as JsonObject);
    if (!last || !isSame) last = { from, settings: llmSettings(from, environment) };
    return last.settings;
  };
}

/** Who listens to numbers must not break an answer. */
function harmless(
  onMessage: (message: JsonObject) => void,
  log: LedgerLog,
): (message: JsonObject) => void {
  return (message) => {
    try {
      onMessage(message);
    } catch (error) {
      log.warn({ error: String(error) }, 'a message of the LLM router was not published');
    }
  };
}

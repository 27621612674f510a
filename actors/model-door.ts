/**
 * Language models on this node: the router, who may ask it, and what is told of it. Tasks without steps can be done once there
 * is a model that can be asked; that may be found out only later, when a server comes up.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { RedisPublisher } from '../bus/redis-publisher.ts';
import type { ErrorKind } from '../machines/llm-policy.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject } from '../machines/json.ts';
import type { LlmEnvironment } from '../machines/llm-config.ts';
import type { LedgerLog } from './llm/ledger.ts';
import { openLlm } from './llm/open.ts';
import type { LlmRouter } from './llm/router.ts';
import { LlmUnavailable } from './llm/router-types.ts';
import type { AskModel } from './model-step.ts';
import type { MissionNode, OpenDoor } from './node.ts';

export const METRICS_CHANNEL = 'llm_router_metrics';

export interface ModelDoorOptions {
  environment: LlmEnvironment;
  /** Where the numbers of each request are published; undefined: nowhere. */
  redisUrl?: string;
  log: LedgerLog;
  /** Between two looks for a model that can be asked, ms. Default 10,000. */
  lookMs?: number;
}

export interface ModelDoor extends OpenDoor {
  router: LlmRouter;
}

export function openModelDoor(node: MissionNode, options: ModelDoorOptions): ModelDoor {
  const { environment, redisUrl, log, lookMs = 10_000 } = options;
  const publisher =
    redisUrl === undefined
      ? undefined
      : new RedisPublisher({ url: redisUrl, name: `lazarus-metrics-${node.nodeId}` });
  const onMessage = (message: JsonObject): void =>
    publisher?.publish(METRICS_CHANNEL, JSON.stringify(message));
  const llm = openLlm({
    system: node.kernel.system,
    config: () => node.config.values.llm,
    environment,
    log,
    ...(publisher && { onMessage }),
  });
  node.askModel = askWith(llm.router);
  const stop = new AbortController();
  const looking = lookForModels(llm.router, { lookMs, signal: stop.signal }).then((isFound) => {
    if (isFound) node.foundModels();
  });
  return {
    ...llm,
    async close() {
      stop.abort();
      node.askModel = undefined;
      await llm.close();
      await looking;
      await publisher?.close();
    },
  };
}

/** True with the first that can be asked; false when it was stopped before. */
export async function lookForModels(
  router: Pick<LlmRouter, 'isReady'>,
  { lookMs, signal }: { lookMs: number; signal: AbortSignal },
): Promise<boolean> {
  while (!signal.aborted) {
    if (await router.isReady(signal).catch(() => false)) return true; // stopped meanwhile
    await sleep(lookMs, null, { signal }).catch(() => undefined); // stopped meanwhile
  }
  return false;
}

/** Whoever was asked has answered, and to ask the same again would change little. */
const ANSWERED: ReadonlySet<ErrorKind | 'success'> = new Set<ErrorKind>([
  'invalid_json',
  'schema_invalid',
  'semantic_invalid',
  'refusal',
  'truncated',
  'context_overflow',
  'bad_request',
]);

/** Only who could not be asked, or did not answer, is worth waiting for. */
export function askWith(router: Pick<LlmRouter, 'route'>): AskModel {
  return async (question, { signal, context }) => {
    try {
      const { key } = context;
      return await router.route(question, {
        signal,
        context,
        ...(typeof key === 'string' && { askedBy: key }),
      });
    } catch (error) {
      if (!(error instanceof LlmUnavailable) || error.attempts.length === 0) throw error;
      if (!error.attempts.every(({ outcome }) => ANSWERED.has(outcome))) throw error;
      const { message, hint, details } = error;
      throw new RuntimeError(message, {
        code: 'LLM_UNAVAILABLE',
        details,
        ...(hint !== undefined && { hint }),
        cause: error,
      });
    }
  };
}

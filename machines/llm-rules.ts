/**
 * What is proposed when no model is to be had and the chain ends in `rules`: a fixed table. It knows too little to be sure
 * of anything, so its confidence stays below every floor and a person always decides.
 */
import type { JsonObject } from './json.ts';

/** What a question is about. */
export interface RuleFacts {
  type: string;
  node: string;
  service: string;
}

/** Events that a restart of the service usually mends; for all others somebody is told. */
const RESTARTS: ReadonlySet<string> = new Set([
  'service_unhealthy',
  'containers_not_running',
  'healthcheck_failed',
  'mqtt_unreachable',
  'ha_websocket_dead',
]);

/** Below the floor of 0.7 under which no proposal passes without a person. */
export const RULES_CONFIDENCE = 0.5;
const MAX_NAME = 200;

/** Undefined when the question is not about an event. */
export function factsIn(context: JsonObject): RuleFacts | undefined {
  const [type, node, service] = ['type', 'node', 'service'].map((name) => context[name]);
  if (typeof type !== 'string' || typeof node !== 'string') return undefined;
  return { type, node, service: typeof service === 'string' ? service : node };
}

export function proposeByRule({ type, node, service }: RuleFacts): JsonObject {
  const action = RESTARTS.has(type) ? 'restart' : 'notify';
  const why =
    action === 'restart' ? 'a restart usually mends it' : 'there is no rule for it but to tell';
  return {
    action,
    service: service.slice(0, MAX_NAME),
    node: node.slice(0, MAX_NAME),
    reason: `By rule, no model was asked: ${type.slice(0, MAX_NAME)}: ${why}.`,
    confidence: RULES_CONFIDENCE,
    requires_human: true,
  };
}

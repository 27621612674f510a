/**
 * The file of an action that the supervisor proposes: the fields that other programs of such a homelab read, in their order, and
 * behind them ours: by which rule it was proposed, and which drift it should remove.
 */
import { laterId } from './drift.ts';
import { asJsonObject } from './json.ts';
import type { JsonObject } from './json.ts';
import { plainText } from './plain-text.ts';
import type { Ruling, Standing } from './supervision.ts';

export interface Proposed {
  standing: Standing;
  ruling: Ruling;
  actionId: string;
  /** Of the drift that proposes it. */
  address: string;
  /** Epoch ms. */
  at: number;
  /** Epoch ms since when the drift stands. */
  since: number;
  /** 1, 2 ... of this drift's actor. */
  serial: number;
}

const MAX_REASON = 500;
export const MAX_DEPENDANTS = 50;

export function remedyFile({
  serial,
  standing,
  ruling,
  actionId,
  address,
  at,
  since,
}: Proposed): JsonObject {
  const { drift, recommendation, dependants = [] } = standing;
  const { host, service, kind, key, trigger } = drift;
  const { remedy, risk } = recommendation;
  const { decision, requiresHuman, policySha256 } = ruling;
  const reason = plainText(drift.because, MAX_REASON);
  const where = service === null ? host : `${service} on ${host}`;
  return asJsonObject({
    action_id: actionId,
    type: remedy,
    node: host,
    service: service ?? '',
    risk_level: risk,
    confidence: 1,
    requires_human: requiresHuman,
    description: `${remedy.replaceAll('_', ' ').toUpperCase()} ${where}: ${reason}`,
    status: 'pending',
    timestamp: at / 1000,
    source_event: kind,
    payload: { action: remedy, reason, drift: kind, trigger, event: recommendation.event },
    supervisor: {
      address,
      rule: decision.rule,
      decision: decision.mode,
      since: since / 1000,
      serial,
    },
    expected_effect: {
      removes: `${kind} ${key}`,
      dependants: dependants.slice(0, MAX_DEPENDANTS),
    },
    policy_sha256: policySha256,
  });
}

/** `<recommendation>`; when that is taken `<recommendation>-<since>`, then `<recommendation>-<since>-2` ... */
export function remedyId(recommendationId: string, since: number, serial: number): string {
  if (serial === 1) return recommendationId;
  const later = laterId(recommendationId, since);
  return serial === 2 ? later : `${later}-${serial - 1}`;
}

/**
 * What the supervisor remembers, and the small questions others ask of it: which drifts stand, why an action waits for the
 * policy's word. What is desired and what is observed are not here: they are read anew (supervision.ts).
 */
import type { Ledger } from './autonomy.ts';
import { asJsonObject, isJsonObject } from './json.ts';
import type { JsonValue } from './json.ts';
import type { ZoneTable } from './remediation.ts';
import { entriesIn, inShards, noShards, withEntries } from './shards.ts';
import type { Shards } from './shards.ts';
import { DEFAULT_SUPERVISOR_POLICY } from './supervision.ts';
import type { ClosedReason, DriftStatus, Look, Ruling, Standing } from './supervision.ts';
import type { SupervisorPolicy, Target } from './supervision.ts';
import { mayApprove, whyNotAny } from './supervisor-policy.ts';

/** A drift that is looked after. */
export interface Stood extends Pick<Standing, 'drift' | 'recommendation'> {
  /** Epoch ms since when it stands, as a drift of this kind. */
  since: number;
  decision: Ruling['decision'];
  requiresHuman: boolean;
  /** As its actor said last. */
  status: DriftStatus;
  actionId: string | null;
}

export interface InRow {
  key: string;
  actionId: string;
  /** Epoch ms since when it waits. */
  since: number;
}

/** An action that the policy approved and that is not over. */
export interface Given {
  actionId: string;
  host: string;
  rule: string;
  /** Epoch ms. */
  at: number;
}

export interface SupervisorContext {
  policy: SupervisorPolicy;
  alwaysHuman: string[];
  zones: ZoneTable;
  policySha256: string | null;
  /** Seconds. */
  approvalExpires: number | null;
  frozen: boolean;
  /** By the key of the target. */
  standing: Shards<Stood>;
  /** Drifts that are over, and whose actors have something in hand yet. */
  leaving: Shards<Target & { reason: ClosedReason; at: number }>;
  /** Whose actions wait for the policy's word, the one that waits for longest first. */
  row: readonly InRow[];
  granted: Readonly<Record<string, Given>>;
  approvals: readonly number[];
  /** By the key of the target, those of them that were about it, but for those that lapsed. */
  approvedOf: Readonly<Record<string, readonly number[]>>;
  earned: Ledger;
  look:
    | (Pick<Look, 'counts' | 'beyond' | 'doubt' | 'staleSince' | 'unfinished'> & { at: number })
    | null;
  inHand: Readonly<Record<string, string>>;
  /** Since the last look that found something out. Epoch ms. */
  skipped: { reason: string; since: number; times: number } | null;
  /** Drifts that were told of and found no room. Of the last look, all its parts together. */
  refused: number;
  /** Epoch ms at which somebody's time comes; null: nobody waits for a time. */
  lookAt: number | null;
  /** The time that is waited for. */
  armedFor: number | null;
}

/** Of `MAX_DRIFTS`; what is leaving has some room of its own (P8). */
export const LEAVING_MARGIN = 1000;
/** A limit is never above it. */
export const MAX_APPROVALS = 10_000;

/** Until it is told otherwise nothing is approved, nor proposed. */
export const freshSupervisor = (): SupervisorContext => ({
  policy: DEFAULT_SUPERVISOR_POLICY,
  alwaysHuman: ['*'],
  zones: {},
  policySha256: null,
  approvalExpires: null,
  frozen: false,
  standing: noShards(),
  leaving: noShards(),
  row: [],
  granted: {},
  approvals: [],
  approvedOf: {},
  earned: {},
  look: null,
  inHand: {},
  skipped: null,
  refused: 0,
  lookAt: null,
  armedFor: null,
});

/** Of a context as it was stored before drifts stood in shards: they were one record, by key. */
export function withShards(context: JsonValue): JsonValue {
  if (!isJsonObject(context)) return context;
  const { standing } = context;
  if (!isJsonObject(standing) || typeof standing['size'] === 'number') return context;
  return asJsonObject({ ...context, standing: withEntries(noShards(), Object.entries(standing)) });
}

/** For the reconciling: what stands, as it was told. */
export const standingOf = ({ standing }: SupervisorContext): Map<string, Stood> =>
  new Map(entriesIn(standing));

/** Why this one's action is not approved by the policy now; null: it does not wait for that. */
export function whyWaiting(context: SupervisorContext, key: string, at: number): string | null {
  const stood = inShards(context.standing, key);
  if (stood === undefined || !context.row.some((one) => one.key === key)) return null;
  const { decision } = stood;
  const answer = whyNotAny(context, at) ?? mayApprove(context, { standing: stood, decision }, at);
  return answer.kind === 'refused' ? answer.reason : null;
}

/** Names of hosts come from outside: one may be called `constructor`. */
export const entryOf = <T>(record: Readonly<Record<string, T>>, key: string): T | undefined =>
  Object.hasOwn(record, key) ? record[key] : undefined;

export const withEntry = <T>(
  record: Readonly<Record<string, T>>,
  key: string,
  value: T,
): Record<string, T> => ({ ...record, [key]: value });

export function withoutEntry<T>(
  record: Readonly<Record<string, T>>,
  key: string,
): Readonly<Record<string, T>> {
  if (!Object.hasOwn(record, key)) return record;
  const { [key]: _, ...rest } = record;
  return rest;
}

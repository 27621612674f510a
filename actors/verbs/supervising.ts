/** Verbs about what is not as it should be: a look at desired and observed, and what stands. */
import { driftAddress, SUPERVISOR } from '../../machines/addresses.ts';
import type { DriftContext } from '../../machines/drift-context.ts';
import { asJsonObject, isJsonObject } from '../../machines/json.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { valuesIn } from '../../machines/shards.ts';
import { whyWaiting } from '../../machines/supervisor-context.ts';
import type { Stood, SupervisorContext } from '../../machines/supervisor-context.ts';
import type { Standing } from '../../machines/supervision.ts';
import { isoFromEpoch, isoOrNull } from '../../machines/time.ts';
import type { LookResult } from '../supervisor/looker.ts';
import { supervisorDoorOf } from '../supervisor/supervisor-door.ts';
import { PAGE_FIELDS, pageOf } from './page.ts';
import type { PageInput } from './page.ts';
import { inputOf } from './verb.ts';
import type { MissionReader, ReadingVerb, WritingVerb } from './verb.ts';

export const supervisingReadingVerbs: ReadingVerb[] = [
  {
    kind: 'reads',
    name: 'drift.list',
    summary: 'What is not as it should be in the homelab, and what is done about it.',
    remote: true,
    input: inputOf([], [], {
      host: { type: 'string', maxLength: 200, description: 'Only what is on this host.' },
      ...PAGE_FIELDS,
    }),
    run: listDrifts,
  },
];

export const supervisingVerbs: WritingVerb[] = [
  {
    kind: 'writes',
    name: 'reconcile',
    summary: 'Compares what should be with what is, now, and says what changed.',
    remote: true,
    rights: 'operate',
    idempotent: true,
    input: inputOf([], ['by'], {
      dry_run: { type: 'boolean', description: 'Only say what a look would change.' },
    }),
    async run(node, { dry_run: dryRun }) {
      const door = supervisorDoorOf(node);
      const result = await door.look(dryRun === true);
      return lookView(result, { dryRun: dryRun === true, inventory: door.inventory() });
    },
  },
];

/** As `lazarus reconcile` shows it, of a node and without one. */
export function lookView(
  result: LookResult,
  { dryRun, inventory }: { dryRun: boolean; inventory: JsonObject },
): JsonObject {
  const head = { dry_run: dryRun, at: isoFromEpoch(result.at), inventory };
  if (!result.ok) return { ...head, looked: false, reason: result.reason };
  const { reconciled, look, observedAt } = result;
  const { counts, doubt, beyond, staleSince, opened, changed, closed } = look;
  return {
    ...head,
    looked: true,
    state: reconciled.summary,
    observed_at: isoOrNull(observedAt),
    stale_since: isoOrNull(staleSince),
    counts: asJsonObject(counts),
    unknown: reconciled.unknown,
    doubt,
    not_looked_after: beyond,
    opened: opened.map(standingView),
    changed: changed.map(standingView),
    closed: closed.map(({ key, reason }) => ({ key, reason })),
    drifts: reconciled.drifts.map(standingView),
  };
}

function standingView({ drift, recommendation, dependants = [] }: Standing): JsonObject {
  const { key, host, service, kind, critical, trigger, blockedBy, because } = drift;
  return {
    key,
    host,
    service,
    kind,
    critical,
    trigger,
    blocked_by: blockedBy,
    because,
    recommendation: asJsonObject(recommendation),
    dependants,
  };
}

type ListInput = PageInput & { host?: string };

/** Null: nobody says. */
function whyNobodyLooks(reader: MissionReader): JsonValue {
  const { supervisor = null } = reader.status().parts;
  return isJsonObject(supervisor) ? (supervisor['reason'] ?? null) : null;
}

/** As of the last commit. */
function listDrifts(reader: MissionReader, { host, ...page }: ListInput): JsonObject {
  const running = reader.clock() !== undefined;
  const actor = reader.actor(SUPERVISOR);
  if (actor === undefined || 'held' in actor) {
    const never = actor === undefined;
    const reason = never ? whyNobodyLooks(reader) : actor.held;
    const nothing = {
      counts: {},
      unknown: [],
      doubt: null,
      stale_since: null,
      not_looked_after: 0,
    };
    const head = { running, looked_at: null, never_looked: never, reason };
    return { ...head, ...nothing, drifts: [], total: 0 };
  }
  const context = actor.context as SupervisorContext;
  const { look, skipped, refused } = context;
  const found = valuesIn(context.standing).filter(
    ({ drift }) => host === undefined || drift.host === host,
  );
  const { items, next } = pageOf(found, ({ drift }) => drift.key, page);
  const now = reader.clock()?.at ?? Date.now();
  return {
    running,
    looked_at: isoOrNull(look?.at ?? null),
    never_looked: look === null && skipped === null,
    reason: skipped === null ? null : skipped.reason,
    counts: asJsonObject(look?.counts ?? {}),
    unknown: [...(reader.unknownTargets?.() ?? [])],
    doubt: look?.doubt ?? null,
    stale_since: isoOrNull(look?.staleSince ?? null),
    not_looked_after: (look?.beyond ?? 0) + refused,
    drifts: items
      .toSorted((a, b) => Number(b.drift.critical) - Number(a.drift.critical) || a.since - b.since)
      .map((stood) => stoodView(reader, context, stood, now)),
    total: found.length,
    ...(next === undefined ? {} : { next }),
  };
}

function stoodView(
  reader: MissionReader,
  context: SupervisorContext,
  stood: Stood,
  now: number,
): JsonObject {
  const { drift, recommendation, decision, requiresHuman, status, actionId, since } = stood;
  const own = reader.actor(driftAddress(drift.host, drift.service));
  const known = own === undefined || 'held' in own ? undefined : (own.context as DriftContext);
  return {
    ...standingView({ drift, recommendation, dependants: known?.dependants ?? [] }),
    since: isoFromEpoch(since),
    status,
    decision: asJsonObject(decision),
    requires_human: requiresHuman,
    action_id: actionId,
    waits: whyWaiting(context, drift.key, now),
    advised: known?.advised ? asJsonObject(known.advised) : null,
  };
}

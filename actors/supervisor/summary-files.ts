/**
 * What the supervisor found, as files for other programs: `world/runtime-summary.json`, the whole in a few numbers and one
 * word, and `state/supervisor-checkpoint.json`, what its last look found. Written whole; nothing is read back from them.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { writeWhole } from '../../cells/durable.ts';
import { toPlainError } from '../../machines/errors.ts';
import { asJsonObject } from '../../machines/json.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { Reconciled } from '../../machines/reconcile.ts';
import type { Stood } from '../../machines/supervisor-context.ts';
import { isoFromEpoch, isoOrNull } from '../../machines/time.ts';

/** What one look found, and what stands after it. */
export interface Found {
  /** Epoch ms. */
  at: number;
  nodeName: string;
  /** Null: nothing was found out. */
  reconciled: Pick<
    Reconciled,
    'summary' | 'counts' | 'unknown' | 'beyond' | 'doubt' | 'staleSince'
  > | null;
  /** Why nothing was found out, or not by the last look; since epoch ms. */
  skipped: { reason: string; since: number } | null;
  observedAt: number | null;
  standing: readonly Stood[];
}

/** In a file. */
const MOST = 1000;

const seconds = (at: number | null): number | null => (at === null ? null : at / 1000);

export function summaryContent(found: Found): JsonObject {
  const { at, nodeName, reconciled, skipped, observedAt, standing } = found;
  const kinds: Record<string, number> = {};
  for (const { drift } of standing) kinds[drift.kind] = (kinds[drift.kind] ?? 0) + 1;
  return {
    state: reconciled?.summary ?? 'unknown',
    timestamp: at / 1000,
    node: nodeName,
    source: 'supervisor',
    nodes: asJsonObject(reconciled?.counts.nodes ?? {}),
    services: asJsonObject(reconciled?.counts.services ?? {}),
    unmanaged: reconciled?.counts.unmanaged ?? 0,
    unknown: reconciled?.unknown ?? [],
    drifts: { total: standing.length + (reconciled?.beyond ?? 0), ...kinds },
    recommendations: standing.slice(0, MOST).map(({ drift, recommendation: advised }) => ({
      id: advised.id,
      event: advised.event,
      action: advised.remedy,
      node: drift.host,
      service: drift.service,
    })),
    actions_under_way: standing
      .filter(({ status }) => status === 'acting' || status === 'verifying')
      .flatMap(({ actionId }) => (actionId === null ? [] : [actionId])),
    doubt: reconciled?.doubt ?? null,
    observer: {
      last_seen: seconds(observedAt),
      stale: reconciled === null || reconciled.staleSince !== null,
    },
    skipped: skipped && { reason: skipped.reason, since: skipped.since / 1000 },
  };
}

export function checkpointContent({ at, skipped, observedAt, standing }: Found): JsonObject {
  return {
    looked_at: isoFromEpoch(at),
    observed_at: isoOrNull(observedAt),
    skipped: skipped?.reason ?? null,
    drifts: standing.slice(0, MOST).map((one) => ({
      key: one.drift.key,
      kind: one.drift.kind,
      since: isoFromEpoch(one.since),
      recommendation: one.recommendation.id,
      event: one.recommendation.event,
      mode: one.decision.mode,
      status: one.status,
      action_id: one.actionId,
    })),
    not_shown: Math.max(0, standing.length - MOST),
  };
}

export interface SummaryPlaces {
  summary: string;
  checkpoint: string;
  /** What says the same as before is written again after so long, ms. */
  refreshMs: number;
}

export class SummaryFiles {
  readonly #places: SummaryPlaces;
  #written = '';

  constructor(places: SummaryPlaces) {
    this.#places = places;
  }

  /** Null, or why they are not written: a look counts all the same. */
  async write(found: Found): Promise<string | null> {
    const { summary: path, checkpoint, refreshMs } = this.#places;
    const summary = summaryContent(found);
    const stands = checkpointContent(found);
    const period = Math.floor(found.at / refreshMs);
    const same = JSON.stringify([
      { ...summary, timestamp: period },
      { ...stands, looked_at: period },
    ]);
    if (same === this.#written) return null;
    try {
      await writeContent(path, summary, 'runtime-summary');
      await writeContent(checkpoint, stands, 'supervisor-checkpoint');
    } catch (error) {
      return toPlainError(error).message;
    }
    this.#written = same;
    return null;
  }
}

/** Throws what the file system throws. */
async function writeContent(path: string, content: JsonObject, what: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  await writeWhole(path, `${JSON.stringify(content, null, 2)}\n`, { sync: true, what });
}

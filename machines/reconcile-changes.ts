/** What was found against what stands: how much of it is looked after (R5 of reconcile.ts), and what of that is news. */
import type {
  ClosedReason,
  Desired,
  DesiredHost,
  DriftChanges,
  Drift,
  Standing,
} from './supervision.ts';

export const MAX_DRIFTS = 5000;

type ByKey = ReadonlyMap<string, Standing>;

/** R5. */
export function bounded(found: ByKey, standing: ByKey): { kept: ByKey; beyond: number } {
  if (found.size <= MAX_DRIFTS) return { kept: found, beyond: 0 };
  const rank = ({ drift }: Standing): number =>
    standing.has(drift.key) ? 0 : drift.critical ? 1 : 2;
  const kept = [...found.values()]
    .sort((a, b) => rank(a) - rank(b) || byKey(a, b))
    .slice(0, MAX_DRIFTS);
  return {
    kept: new Map(kept.map((one) => [one.drift.key, one])),
    beyond: found.size - kept.length,
  };
}

export function changesIn(desired: Desired, kept: ByKey, standing: ByKey): DriftChanges {
  const changes: DriftChanges = { opened: [], changed: [], closed: [] };
  for (const [key, one] of kept) {
    const before = standing.get(key);
    if (before === undefined) changes.opened.push(one);
    else if (!isSame(before, one)) changes.changed.push(one);
  }
  for (const [key, { drift }] of standing)
    if (!kept.has(key)) changes.closed.push({ key, reason: reasonFor(desired, drift) });
  changes.opened.sort(byKey);
  changes.changed.sort(byKey);
  changes.closed.sort((a, b) => compare(a.key, b.key));
  return changes;
}

function reasonFor({ hosts }: Desired, { host: name, service }: Drift): ClosedReason {
  const host = hosts.get(name);
  const isStillWatched = host !== undefined && isWatched(host, service);
  return isStillWatched ? 'drift_resolved_auto' : 'service_removed_from_desired_state';
}

/** Whether it is what it was; how it is put into words does not count. */
function isSame(a: Standing, b: Standing): boolean {
  const [one, other] = [a.recommendation, b.recommendation];
  return (
    a.drift.kind === b.drift.kind &&
    a.drift.critical === b.drift.critical &&
    a.drift.trigger === b.drift.trigger &&
    a.drift.blockedBy.length === b.drift.blockedBy.length &&
    a.drift.blockedBy.every((key, i) => key === b.drift.blockedBy[i]) &&
    one.id === other.id &&
    one.event === other.event &&
    one.remedy === other.remedy &&
    one.risk === other.risk
  );
}

/** R3. */
export const isWatched = (host: DesiredHost, service: string | null): boolean =>
  host.monitored && (service === null || host.services.get(service)?.monitored === true);

export const byKey = (a: Standing, b: Standing): number => compare(a.drift.key, b.drift.key);
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

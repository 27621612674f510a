/**
 * What should be against what is, and both against the drifts that stand: what has come, what is otherwise, what is gone. Level,
 * not edge: nothing is remembered of how things came about, but what stands is handed in.
 *
 * R1 The same input gives the same output, and the order of hosts, services and drifts changes nothing.
 * R2 Once what it found has been applied, it finds nothing more.
 * R3 What is in no inventory, or not monitored, has no drift.
 * R4 A reconciler that has looked before finds what a new one would: what it keeps saves work and decides nothing. It keeps what
 *    it made of a host for as long as the host is the same object in both (D: desired-fleet.ts F2, W: world.ts W3) and
 *    nothing of it has grown stale.
 * R5 At most `MAX_DRIFTS` are looked after (P8): those that stand, then the critical ones, then in the order of their keys.
 */
import { AHEAD_MS, assess } from './assessment.ts';
import type { Assessment, Rules } from './assessment.ts';
import { driftOf, recommend } from './drift.ts';
import { countsOf, doubtIn, summaryOf } from './reconcile-summary.ts';
import type {
  ClosedReason,
  Desired,
  DesiredHost,
  Drift,
  DriftChanges,
  DriftStatus,
  Observed,
  ObservedHost,
  Recommendation,
  Standing,
  SummaryCounts,
  SummaryState,
  SupervisorPolicy,
} from './supervision.ts';

export const MAX_DRIFTS = 5000;
const MAX_UNKNOWN = 20;

/** A drift that stands, and how far it has come; left out: nobody asked. */
export interface Stands extends Standing {
  status?: DriftStatus;
}

export type LookPolicy = Pick<
  SupervisorPolicy,
  'stale_after' | 'deployment_failures' | 'doubt_above_percent'
>;

export interface Reconciled {
  /** All that are looked after now, in the order of their keys. */
  drifts: Standing[];
  changes: DriftChanges;
  counts: SummaryCounts;
  /** Keys of hosts and services of which nobody knows how they are, the first ones: hosts, then services, by name. */
  unknown: string[];
  beyond: number;
  doubt: string | null;
  staleSince: number | null;
  summary: SummaryState;
}

/** `standing`: by key. `now`: epoch ms. `skewMs`: as in `Rules`; a reconciler takes it too. */
export function reconcile(
  desired: Desired,
  observed: Observed,
  standing: ReadonlyMap<string, Stands>,
  policy: LookPolicy,
  now: number,
): Reconciled {
  return new Reconciler().look(desired, observed, standing, policy, now);
}

/** R4. */
interface Known {
  desired: DesiredHost;
  observed: ObservedHost | undefined;
  /** Time of the look, and of the observer's last word. */
  now: number;
  at: number | null;
  assessment: Assessment;
}

export class Reconciler {
  readonly #known = new Map<string, Known>();
  readonly #advised = new Map<string, Standing>();
  #rules: Rules = { staleMs: 0, deploymentFailures: 0, skewMs: 0 };

  look(
    desired: Desired,
    observed: Observed,
    standing: ReadonlyMap<string, Stands>,
    policy: LookPolicy,
    now: number,
    skewMs = 0,
  ): Reconciled {
    this.#heed(policy, skewMs);
    const troubled = this.#assessAll(desired, observed, now);
    const found = this.#find(desired, troubled, standing);
    const { kept, beyond } = bounded(found, standing);
    const counts = countsOf(desired, observed, this.#assessmentOf);
    const staleMs = this.#rules.staleMs;
    const { at } = observed;
    const isStale = at !== null && (at + staleMs < now || at > now + AHEAD_MS);
    return {
      drifts: [...kept.values()].sort(byKey),
      changes: changesIn(desired, kept, standing),
      counts,
      unknown: unknownAmong(troubled),
      beyond,
      doubt: doubtIn(found.values(), counts, policy),
      staleSince: isStale ? observed.at : null,
      summary: summaryOf(withStatus(found, standing), counts),
    };
  }

  #heed(policy: LookPolicy, skewMs: number): void {
    const { stale_after: seconds, deployment_failures: deploymentFailures } = policy;
    const staleMs = seconds * 1000;
    const before = this.#rules;
    const isSame = before.staleMs === staleMs && before.skewMs === skewMs;
    if (isSame && before.deploymentFailures === deploymentFailures) return;
    this.#rules = { staleMs, deploymentFailures, skewMs };
    this.#known.clear();
  }

  readonly #assessmentOf = (host: string): Assessment | undefined =>
    this.#known.get(host)?.assessment;

  /** Returns those with which something is, or may be, the matter. */
  #assessAll(desired: Desired, { hosts, at }: Observed, now: number): Known[] {
    const troubled: Known[] = [];
    for (const [name, host] of desired.hosts) {
      const seen = hosts.get(name);
      let known = this.#known.get(name);
      if (known === undefined || !stillHolds(known, host, seen, at, now)) {
        const assessment = assess(host, { observed: seen, at, now }, this.#rules);
        known = { desired: host, observed: seen, now, at, assessment };
        this.#known.set(name, known);
      }
      const { own, services } = known.assessment;
      if (own !== null || services.size > 0) troubled.push(known);
    }
    if (this.#known.size !== desired.hosts.size)
      for (const name of this.#known.keys()) if (!desired.hosts.has(name)) this.#known.delete(name);
    return troubled;
  }

  /** By key. */
  #find(
    desired: Desired,
    troubled: readonly Known[],
    standing: ReadonlyMap<string, Stands>,
  ): Map<string, Standing> {
    const found = new Map<string, Standing>();
    for (const { desired: host, assessment } of troubled) {
      if (isFinding(assessment.own)) this.#add(found, { desired, standing }, host, null);
      for (const [service, finding] of assessment.services)
        if (isFinding(finding)) this.#add(found, { desired, standing }, host, service);
    }
    for (const [key, { drift }] of standing) {
      const host = desired.hosts.get(drift.host);
      if (host !== undefined && isWatched(host, drift.service) && !found.has(key))
        this.#add(found, { desired, standing }, host, drift.service);
    }
    return found;
  }

  #add(
    found: Map<string, Standing>,
    { desired, standing }: { desired: Desired; standing: ReadonlyMap<string, Stands> },
    host: DesiredHost,
    name: string | null,
  ): void {
    const assessment = this.#assessmentOf(host.name);
    const service = name === null ? null : (host.services.get(name) ?? null);
    if (assessment === undefined) return;
    const key = name === null ? host.name : `${host.name}/${name}`;
    const before = standing.get(key)?.drift;
    const assessmentOf = this.#assessmentOf;
    const drift = driftOf({ desired, host, service, assessment, standing: before, assessmentOf });
    if (drift !== null) found.set(key, { drift, recommendation: this.#advice(drift) });
  }

  /** As it was given before, if it was about the same. */
  #advice(drift: Drift): Recommendation {
    const known = this.#advised.get(drift.key);
    if (known !== undefined && isAdvisedAlike(known.drift, drift)) return known.recommendation;
    if (this.#advised.size >= 2 * MAX_DRIFTS) this.#advised.clear();
    const recommendation = recommend(drift);
    this.#advised.set(drift.key, { drift, recommendation });
    return recommendation;
  }
}

/** What runs on a host of which nothing is known is not named beside it. */
function unknownAmong(troubled: readonly Known[]): string[] {
  const hosts: string[] = [];
  const services: string[] = [];
  for (const { desired, assessment } of troubled) {
    if (assessment.node === 'unknown') hosts.push(desired.name);
    else
      for (const [name, finding] of assessment.services)
        if (finding === 'unknown') services.push(`${desired.name}/${name}`);
  }
  return [...hosts.sort(), ...services.sort()].slice(0, MAX_UNKNOWN);
}

function stillHolds(
  known: Known,
  host: DesiredHost,
  seen: ObservedHost | undefined,
  at: number | null,
  now: number,
): boolean {
  const { assessment } = known;
  const isSame = known.desired === host && known.observed === seen;
  const isRecent = known.now <= now && now <= assessment.goodUntil;
  return isSame && isRecent && (known.at === at || isNoMatter(assessment, known.at, at, now));
}

/** That the observer said something since: what was fresh is no older than it was. */
const isNoMatter = (
  { goesByObserver }: Assessment,
  before: number | null,
  after: number | null,
  now: number,
): boolean =>
  goesByObserver === 'not at all' ||
  (goesByObserver === 'heard' &&
    before !== null &&
    after !== null &&
    before < after &&
    after <= now + AHEAD_MS);

const isBlocked = ({ blockedBy }: Drift): boolean => blockedBy.length > 0;
const isAdvisedAlike = (a: Drift, b: Drift): boolean =>
  a.kind === b.kind && a.trigger === b.trigger && isBlocked(a) === isBlocked(b);

const isFinding = (found: Assessment['own']): boolean => found !== null && found !== 'unknown';

/** R3. */
const isWatched = (host: DesiredHost, service: string | null): boolean =>
  host.monitored && (service === null || host.services.get(service)?.monitored === true);

/** R5. */
function bounded(
  found: Map<string, Standing>,
  standing: ReadonlyMap<string, Stands>,
): { kept: Map<string, Standing>; beyond: number } {
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

function changesIn(
  desired: Desired,
  kept: ReadonlyMap<string, Standing>,
  standing: ReadonlyMap<string, Stands>,
): DriftChanges {
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

function* withStatus(
  found: ReadonlyMap<string, Standing>,
  standing: ReadonlyMap<string, Stands>,
): Generator<Stands> {
  for (const [key, one] of found) {
    const status = standing.get(key)?.status;
    yield status === undefined ? one : { ...one, status };
  }
}

const byKey = (a: Standing, b: Standing): number => compare(a.drift.key, b.drift.key);
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

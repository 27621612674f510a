/**
 * What should be against what is, and both against the drifts that stand: what has come, what is otherwise, what is gone. Level,
 * not edge: nothing is remembered of how things came about, but what stands is handed in.
 *
 * R1 The same input gives the same output, and the order of hosts, services and drifts changes nothing.
 * R2 Once what it found has been applied, it finds nothing more.
 * R3 What is in no inventory, or not monitored, has no drift.
 * R4 A reconciler that has looked before finds what a new one would: what it keeps saves work and decides nothing. It keeps what
 *    it made of a host for as long as the host is the same object in both (D: desired-fleet.ts F2, W: world.ts W3) and
 *    nothing of it has grown stale; and a drift for as long as that holds of its host and of those that it depends on, and
 *    what stood before is the same object.
 * R5 At most `MAX_DRIFTS` are looked after (P8): those that stand, then the critical ones, then in the order of their keys
 *    (reconcile-changes.ts).
 */
import { AHEAD_MS, assess } from './assessment.ts';
import type { Assessment, Rules } from './assessment.ts';
import { driftOf, recommend } from './drift.ts';
import { bounded, byKey, changesIn, isWatched } from './reconcile-changes.ts';
import { doubtIn, seenElsewhere, summaryOf, Totals } from './reconcile-summary.ts';
import type {
  Desired,
  DesiredHost,
  Drift,
  DriftChanges,
  DriftStatus,
  Observed,
  ObservedHost,
  Standing,
  SummaryCounts,
  SummaryState,
  SupervisorPolicy,
} from './supervision.ts';

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
  /** Something is, or may be, the matter. */
  isTroubled: boolean;
}

interface Watched {
  host: DesiredHost;
  /** Undefined: it has not been looked at. */
  known: Known | undefined;
}

/** R4. Of one target. */
interface Made {
  known: Known;
  before: Drift | undefined;
  /** Other hosts that were asked about. */
  others: readonly (readonly [host: string, known: Known | undefined])[];
  /** Null: it does not drift. */
  standing: Standing | null;
}

export class Reconciler {
  /** One for each of `#hosts`, and the same by name. */
  #all: Watched[] = [];
  #byName: ReadonlyMap<string, Watched> = new Map();
  #hosts: Desired['hosts'] = new Map();
  #totals = new Totals();
  /** Of the last look, by key. */
  #made: ReadonlyMap<string, Made> = new Map();
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
    const { troubled, elsewhere } = this.#assessAll(desired, observed, now);
    const found = this.#find(desired, troubled, standing);
    const { kept, beyond } = bounded(found, standing);
    const counts = this.#totals.with(elsewhere);
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
      summary: summaryOf(found.values(), counts, (key) => standing.get(key)?.status),
    };
  }

  #heed(policy: LookPolicy, skewMs: number): void {
    const { stale_after: seconds, deployment_failures: deploymentFailures } = policy;
    const staleMs = seconds * 1000;
    const before = this.#rules;
    const isSame = before.staleMs === staleMs && before.skewMs === skewMs;
    if (isSame && before.deploymentFailures === deploymentFailures) return;
    this.#rules = { staleMs, deploymentFailures, skewMs };
    this.#hosts = new Map();
    this.#byName = new Map();
    this.#totals = new Totals();
  }

  /** `troubled`: those with which something is, or may be, the matter. `elsewhere`: what is seen of other hosts. */
  #assessAll(
    desired: Desired,
    observed: Observed,
    now: number,
  ): { troubled: Known[]; elsewhere: number } {
    if (desired.hosts !== this.#hosts) this.#watch(desired.hosts);
    const { hosts, at } = observed;
    const troubled: Known[] = [];
    let seenHosts = 0;
    for (const watched of this.#all) {
      const { host } = watched;
      const seen = hosts.get(host.name);
      if (seen !== undefined) seenHosts += 1;
      let { known } = watched;
      if (known === undefined || !stillHolds(known, seen, at, now)) {
        if (known !== undefined) this.#totals.count(host, known.assessment, -1);
        const assessment = assess(host, { observed: seen, at, now }, this.#rules);
        this.#totals.count(host, assessment, 1);
        const isTroubled = assessment.own !== null || assessment.services.size > 0;
        watched.known = known = { desired: host, observed: seen, now, at, assessment, isTroubled };
      }
      if (known.isTroubled) troubled.push(known);
    }
    return { troubled, elsewhere: seenHosts === hosts.size ? 0 : seenElsewhere(desired, observed) };
  }

  /** A host that is another object than it was is another one. */
  #watch(hosts: Desired['hosts']): void {
    const before = this.#byName;
    this.#all = [...hosts.values()].map((host): Watched => {
      const one = before.get(host.name);
      return one?.host === host ? one : { host, known: undefined };
    });
    for (const one of before.values())
      if (one.known !== undefined && hosts.get(one.host.name) !== one.host)
        this.#totals.count(one.host, one.known.assessment, -1);
    this.#byName = new Map(this.#all.map((one) => [one.host.name, one]));
    this.#hosts = hosts;
  }

  #knownOf(host: string): Known | undefined {
    return this.#byName.get(host)?.known;
  }

  /** By key. */
  #find(
    desired: Desired,
    troubled: readonly Known[],
    standing: ReadonlyMap<string, Stands>,
  ): Map<string, Standing> {
    const found = new Map<string, Standing>();
    const made = new Map<string, Made>();
    const add = (known: Known, service: string | null): void => {
      const { name } = known.desired;
      const key = service === null ? name : `${name}/${service}`;
      const before = standing.get(key)?.drift;
      const kept = this.#made.get(key);
      const one =
        kept !== undefined && this.#isStillSo(kept, known, before)
          ? kept
          : this.#make(desired, known, service, before);
      made.set(key, one);
      if (one.standing !== null) found.set(key, one.standing);
    };
    for (const known of troubled) {
      const { own, services } = known.assessment;
      if (isFinding(own)) add(known, null);
      for (const [service, finding] of services) if (isFinding(finding)) add(known, service);
    }
    for (const [key, { drift }] of standing) {
      const known = this.#knownOf(drift.host);
      if (known !== undefined && isWatched(known.desired, drift.service) && !made.has(key))
        add(known, drift.service);
    }
    this.#made = made;
    return found;
  }

  #isStillSo(made: Made, known: Known, before: Drift | undefined): boolean {
    const isOwn = made.known === known && made.before === before;
    return isOwn && made.others.every(([host, other]) => this.#knownOf(host) === other);
  }

  #make(desired: Desired, known: Known, name: string | null, before: Drift | undefined): Made {
    const { desired: host, assessment } = known;
    const service = name === null ? null : (host.services.get(name) ?? null);
    const others = new Map<string, Known | undefined>();
    const assessmentOf = (other: string): Assessment | undefined => {
      const found = this.#knownOf(other);
      others.set(other, found);
      return found?.assessment;
    };
    const drift = driftOf({ desired, host, service, assessment, standing: before, assessmentOf });
    const standing = drift === null ? null : { drift, recommendation: recommend(drift) };
    return { known, before, others: [...others], standing };
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
  seen: ObservedHost | undefined,
  at: number | null,
  now: number,
): boolean {
  const { assessment } = known;
  const isRecent = known.now <= now && now <= assessment.goodUntil;
  return (
    known.observed === seen &&
    isRecent &&
    (known.at === at || isNoMatter(assessment, known.at, at, now))
  );
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

const isFinding = (found: Assessment['own']): boolean => found !== null && found !== 'unknown';

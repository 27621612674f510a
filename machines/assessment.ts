/**
 * What is the matter with a host and with each service that should run there, by what was observed of that host alone. What
 * stood before, and what others it depends on are like, is for drift.ts.
 *
 * A1 What nobody knows, or has said for too long, is neither well nor ill (P9); so is whatever runs on a host of which
 *    nobody knows.
 * A2 A service is missing only where the host is known to be up, and somebody says what runs there.
 * A3 The same inputs give the same, until `goodUntil`: then something has grown stale.
 * A4 News of a time that has not come says that a clock is wrong, and nothing else: nobody would ever see it grow stale.
 */
import type {
  DesiredHost,
  DesiredService,
  DriftKind,
  ObservedHost,
  ObservedIncident,
  ObservedService,
} from './supervision.ts';

export interface Finding {
  kind: DriftKind;
  trigger: string | null;
  /** In words. */
  because: string;
  /** It does not do its work: whoever depends on it has to wait. */
  isDown: boolean;
}

export interface Assessment {
  node: 'online' | 'offline' | 'unknown' | 'unmonitored';
  /** About the host itself; null: nothing is the matter. */
  own: Finding | 'unknown' | null;
  /** Of a host that is online: of its monitored services, those that are not plainly well. */
  services: ReadonlyMap<string, Finding | 'unknown'>;
  counts: ServiceCounts;
  /** Services that are seen there, and in no inventory. */
  unmanaged: number;
  /** A3, A4. Epoch ms. */
  goodUntil: number;
  /** Some news goes by when the observer last said anything. `silent`: for too long, so that its next word changes this. */
  goesByObserver: 'not at all' | 'heard' | 'silent';
}
export interface ServiceCounts {
  healthy: number;
  unhealthy: number;
  missing: number;
  unknown: number;
  unmonitored: number;
}

export interface Rules {
  staleMs: number;
  deploymentFailures: number;
  /** By how much the clock of the times that are compared is ahead of the node's: times of either are believed. */
  skewMs: number;
}

/** A4. So far may clocks of a homelab be apart. */
export const AHEAD_MS = 300_000;

export interface Sight {
  observed: ObservedHost | undefined;
  /** When the observer last said anything: how old the news is of which nobody says it. */
  at: number | null;
  now: number;
}

const NONE: Assessment['services'] = new Map();

export function assess(desired: DesiredHost, sight: Sight, rules: Rules): Assessment {
  const { observed } = sight;
  const { name } = desired;
  const counts = { healthy: 0, unhealthy: 0, missing: 0, unknown: 0, unmonitored: 0 };
  const freshness = new Freshness(sight, rules);
  const assessment = {
    own: null,
    services: NONE,
    counts,
    unmanaged: unmanagedIn(desired, observed),
  };
  if (!desired.monitored) {
    counts.unmonitored = desired.services.size;
    return { node: 'unmonitored', ...assessment, ...freshness.holds() };
  }
  const node = presenceOf(observed, freshness);
  if (node !== 'online') {
    for (const { monitored } of desired.services.values())
      counts[monitored ? 'unknown' : 'unmonitored'] += 1;
    const own = node === 'offline' ? offline(name, observed) : 'unknown';
    return { node, ...assessment, own, ...freshness.holds() };
  }
  const services = servicesOf(desired, observed, { freshness, rules, counts });
  return { node, ...assessment, own: ofHost(name, observed), services, ...freshness.holds() };
}

/** A1. */
class Freshness {
  readonly #sight: Sight;
  readonly #staleMs: number;
  readonly #skewMs: number;
  #goodUntil = Infinity;
  #goesByObserver: Assessment['goesByObserver'] = 'not at all';

  constructor(sight: Sight, { staleMs, skewMs }: Rules) {
    this.#sight = sight;
    this.#staleMs = staleMs;
    this.#skewMs = skewMs;
  }

  isFresh(seenAt: number | null): boolean {
    const at = seenAt ?? this.#sight.at;
    const isFresh =
      at !== null && (this.#isNear(at) || (this.#skewMs !== 0 && this.#isNear(at + this.#skewMs)));
    if (seenAt === null && this.#goesByObserver !== 'silent')
      this.#goesByObserver = isFresh ? 'heard' : 'silent';
    return isFresh;
  }

  /** A3, A4. */
  #isNear(at: number): boolean {
    const { now } = this.#sight;
    const [since, until] = [at - AHEAD_MS, at + this.#staleMs];
    if (now <= until) this.#goodUntil = Math.min(this.#goodUntil, now < since ? since - 1 : until);
    return since <= now && now <= until;
  }

  /** A3. */
  holds(): Pick<Assessment, 'goodUntil' | 'goesByObserver'> {
    return { goodUntil: this.#goodUntil, goesByObserver: this.#goesByObserver };
  }
}

/** What is said of a host itself stands under its own name in some homelabs. */
function unmanagedIn({ name, services }: DesiredHost, observed: ObservedHost | undefined): number {
  if (observed === undefined || observed.services.size === 0) return 0;
  let managed = 0;
  for (const service of services.keys()) if (observed.services.has(service)) managed += 1;
  const isOwn = observed.services.has(name) && !services.has(name);
  return observed.services.size - managed - (isOwn ? 1 : 0);
}

function presenceOf(
  observed: ObservedHost | undefined,
  freshness: Freshness,
): 'online' | 'offline' | 'unknown' {
  const node = observed?.node ?? null;
  if (node === null || !freshness.isFresh(node.seenAt)) return 'unknown';
  if (node.condition === 'well') return 'online';
  return node.condition === 'ill' ? 'offline' : 'unknown';
}

const offline = (name: string, observed: ObservedHost | undefined): Finding => ({
  kind: 'offline_node',
  trigger: null,
  because: `${name} is ${observed?.node?.status ?? 'offline'}`,
  isDown: true,
});

function ofHost(name: string, observed: ObservedHost | undefined): Finding | null {
  if (observed?.node?.diskPressure === true) {
    const because = `${name} reports high disk pressure`;
    return { kind: 'disk_pressure', trigger: null, because, isDown: false };
  }
  return unresolved(incidentsOf(observed, null), name);
}

function servicesOf(
  desired: DesiredHost,
  observed: ObservedHost | undefined,
  parts: { freshness: Freshness; rules: Rules; counts: ServiceCounts },
): Assessment['services'] {
  let services: Map<string, Finding | 'unknown'> | undefined;
  const { counts, freshness } = parts;
  for (const service of desired.services.values()) {
    if (!service.monitored) {
      counts.unmonitored += 1;
      continue;
    }
    const seen = observed?.services.get(service.name);
    const state = stateOf(seen, observed, freshness);
    counts[state] += 1;
    const found = findingOf(desired.name, service, { seen, observed, state, ...parts });
    if (found !== null) (services ??= new Map()).set(service.name, found);
  }
  return services ?? NONE;
}

type State = 'healthy' | 'unhealthy' | 'missing' | 'unknown';

function stateOf(
  seen: ObservedService | undefined,
  observed: ObservedHost | undefined,
  freshness: Freshness,
): State {
  if (seen === undefined) return observed?.servicesKnown === false ? 'unknown' : 'missing'; // A2
  if (!freshness.isFresh(seen.seenAt)) return 'unknown';
  if (seen.condition === 'well') return 'healthy';
  return seen.condition === 'ill' ? 'unhealthy' : 'unknown';
}

/** The first of `DRIFT_KINDS` that fits. */
function findingOf(
  host: string,
  { name }: DesiredService,
  about: {
    seen: ObservedService | undefined;
    observed: ObservedHost | undefined;
    state: State;
    rules: Rules;
  },
): Finding | 'unknown' | null {
  const { seen, observed, state, rules } = about;
  if (state === 'unknown') return 'unknown';
  const isDown = state !== 'healthy';
  const key = `${host}/${name}`;
  const failures = observed?.deployments.get(name)?.failures ?? 0;
  if (failures >= rules.deploymentFailures) {
    const because = `the last ${failures} deployments of ${key} failed`;
    return { kind: 'failed_deployment', trigger: null, because, isDown };
  }
  const incidents = incidentsOf(observed, name);
  if (!isDown) return unresolved(incidents, key);
  const trigger = seen?.trigger ?? incidents.find(({ type }) => type !== null)?.type ?? null;
  const why = trigger === null ? '' : ` (${trigger})`;
  return state === 'missing'
    ? { kind: 'missing_service', trigger, because: `nobody sees ${key} run${why}`, isDown }
    : { kind: 'unhealthy_service', trigger, because: `${key} is ${seen?.status}${why}`, isDown };
}

const NO_INCIDENTS: readonly ObservedIncident[] = [];

function incidentsOf(
  observed: ObservedHost | undefined,
  service: string | null,
): readonly ObservedIncident[] {
  const all = observed?.incidents ?? NO_INCIDENTS;
  return all.length === 0 ? NO_INCIDENTS : all.filter((incident) => incident.service === service);
}

function unresolved(incidents: readonly ObservedIncident[], key: string): Finding | null {
  const [first] = incidents;
  if (first === undefined) return null;
  const more = incidents.length === 1 ? '' : ` and ${incidents.length - 1} more`;
  const trigger = incidents.find(({ type }) => type !== null)?.type ?? null;
  const because = `an incident of ${key} is not resolved: ${first.id}${more}`;
  return { kind: 'unresolved_incident', trigger, because, isDown: false };
}

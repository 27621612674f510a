/** The whole in a few numbers and one word. */
import type { Assessment } from './assessment.ts';
import type {
  Desired,
  DesiredHost,
  DriftStatus,
  Observed,
  Standing,
  SummaryCounts,
  SummaryState,
  SupervisorPolicy,
} from './supervision.ts';

/**
 * Nodes: those that are monitored. Services: all, and each is in one of the columns. Kept up to date host by host: a look at
 * which little changed does not count the fleet.
 */
export class Totals {
  readonly #nodes = { desired: 0, online: 0, offline: 0, unknown: 0 };
  readonly #services = {
    desired: 0,
    healthy: 0,
    unhealthy: 0,
    missing: 0,
    unknown: 0,
    unmonitored: 0,
  };
  #unmanaged = 0;

  /** `times`: -1 takes back what was counted. */
  count(host: DesiredHost, { node, counts, unmanaged }: Assessment, times: 1 | -1): void {
    const [nodes, services] = [this.#nodes, this.#services];
    if (node !== 'unmonitored') {
      nodes.desired += times;
      nodes[node] += times;
    }
    services.desired += times * host.services.size;
    services.healthy += times * counts.healthy;
    services.unhealthy += times * counts.unhealthy;
    services.missing += times * counts.missing;
    services.unknown += times * counts.unknown;
    services.unmonitored += times * counts.unmonitored;
    this.#unmanaged += times * unmanaged;
  }

  /** `elsewhere`: what is seen of hosts that are in no inventory. */
  with(elsewhere: number): SummaryCounts {
    const unmanaged = this.#unmanaged + elsewhere;
    return { nodes: { ...this.#nodes }, services: { ...this.#services }, unmanaged };
  }
}

export function seenElsewhere({ hosts: desired }: Desired, { hosts: observed }: Observed): number {
  let seen = 0;
  for (const [name, { node, services }] of observed)
    if (!desired.has(name)) seen += services.size + (node === null ? 0 : 1);
  return seen;
}

/** Fewer say nothing about the observer. */
const ENOUGH_TO_DOUBT = 10;
/** So many, when not one of the others is seen either. */
const ENOUGH_MISSING = 3;

/** So many at once that it is rather the observer who is wrong; null: not so many. */
export function doubtIn(
  drifts: Iterable<Standing>,
  { nodes, services }: SummaryCounts,
  { doubt_above_percent: percent }: Pick<SupervisorPolicy, 'doubt_above_percent'>,
): string | null {
  let drifting = 0;
  let missing = 0;
  for (const { drift } of drifts) {
    if (drift.service !== null) drifting += 1;
    if (drift.kind === 'missing_service') missing += 1;
  }
  const monitored = services.desired - services.unmonitored;
  const tooMany = (some: number, all: number): boolean =>
    some >= ENOUGH_TO_DOUBT && some * 100 > all * percent;
  const so = 'so many at once that the observer is doubted rather than the homelab';
  if (tooMany(drifting, monitored)) return `${drifting} of ${monitored} services drift: ${so}`;
  if (missing >= ENOUGH_MISSING && missing + services.unknown >= monitored && percent < 100)
    return `not one of ${monitored} services is seen: ${so}`;
  if (tooMany(nodes.offline, nodes.desired))
    return `${nodes.offline} of ${nodes.desired} hosts are offline: ${so}`;
  return null;
}

const UNDER_WAY: readonly (DriftStatus | undefined)[] = ['acting', 'verifying'];

/** `counts`: while something is unknown, the whole is not known to be as it should be (P9). `statusOf`: by key. */
export function summaryOf(
  drifts: Iterable<Standing>,
  { nodes, services }: Pick<SummaryCounts, 'nodes' | 'services'>,
  statusOf: (key: string) => DriftStatus | undefined,
): SummaryState {
  let isReconciling = false;
  let isDegraded = nodes.unknown + services.unknown > 0;
  for (const { drift, recommendation } of drifts) {
    const status = statusOf(drift.key);
    if (UNDER_WAY.includes(status)) {
      isReconciling = true;
      continue;
    }
    const isBlocked = recommendation.event === 'reconcile_blocked' || status === 'escalated';
    if (drift.critical || isBlocked) return 'unstable';
    isDegraded = true;
  }
  if (isReconciling) return 'reconciling';
  return isDegraded ? 'degraded' : 'nominal';
}

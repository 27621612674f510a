/** The whole in a few numbers and one word. */
import type { Assessment } from './assessment.ts';
import type {
  Desired,
  DriftStatus,
  Observed,
  Standing,
  SummaryCounts,
  SummaryState,
  SupervisorPolicy,
} from './supervision.ts';

/** Nodes: those that are monitored. Services: all, and each is in one of the columns. */
export function countsOf(
  desired: Desired,
  observed: Observed,
  assessmentOf: (host: string) => Assessment | undefined,
): SummaryCounts {
  const nodes = { desired: 0, online: 0, offline: 0, unknown: 0 };
  const services = { desired: 0, healthy: 0, unhealthy: 0, missing: 0, unknown: 0, unmonitored: 0 };
  let unmanaged = 0;
  for (const [name, host] of desired.hosts) {
    const assessment = assessmentOf(name);
    if (assessment === undefined) continue;
    const { node, counts } = assessment;
    unmanaged += assessment.unmanaged;
    if (node !== 'unmonitored') {
      nodes.desired += 1;
      nodes[node] += 1;
    }
    services.desired += host.services.size;
    services.healthy += counts.healthy;
    services.unhealthy += counts.unhealthy;
    services.missing += counts.missing;
    services.unknown += counts.unknown;
    services.unmonitored += counts.unmonitored;
  }
  for (const [name, { node, services: seen }] of observed.hosts)
    if (!desired.hosts.has(name)) unmanaged += seen.size + (node === null ? 0 : 1);
  return { nodes, services, unmanaged };
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

/** `counts`: while something is unknown, the whole is not known to be as it should be (P9). */
export function summaryOf(
  drifts: Iterable<Standing & { status?: DriftStatus }>,
  { nodes, services }: Pick<SummaryCounts, 'nodes' | 'services'>,
): SummaryState {
  let isReconciling = false;
  let isDegraded = nodes.unknown + services.unknown > 0;
  for (const { drift, recommendation, status } of drifts) {
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

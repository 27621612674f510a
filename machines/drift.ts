/**
 * The drift of one target, and what is advised about it.
 *
 * D1 One that is not known to be as it should be, nor to be otherwise, opens no drift and closes none: what stands goes on
 *    standing (P9). So does what runs on a host that went offline: it waits for its host.
 * D2 What waits for something else is not restarted meanwhile. A dependency of which nothing is known holds up what it held up
 *    before, and nothing else.
 * D3 The same drift gets the same recommendation, under the same id.
 */
import { actionAddress } from './addresses.ts';
import type { Assessment, Finding } from './assessment.ts';
import { fileToken } from './proposal.ts';
import { targetKey } from './supervision.ts';
import type {
  Desired,
  DesiredHost,
  DesiredService,
  Drift,
  Recommendation,
  ReconcileEvent,
  Remedy,
  Target,
} from './supervision.ts';

/** Longest list in a drift. */
const MAX_BLOCKED_BY = 50;

export interface Subject {
  host: DesiredHost;
  /** Null: the host itself. */
  service: DesiredService | null;
  assessment: Assessment;
  /** What stood before the look. */
  standing: Drift | undefined;
  /** Of other hosts. */
  desired: Desired;
  /** Undefined: the host is in no inventory. */
  assessmentOf: (host: string) => Assessment | undefined;
}

/** Null: it is as it should be, or (D1) nobody can say and nothing stood. */
export function driftOf(subject: Subject): Drift | null {
  const { host, service, assessment, standing } = subject;
  const found = findingOf(assessment, service);
  if (found === null) return null;
  if (found === 'unknown' && standing === undefined) return null;
  const { kind, trigger, because } = found === 'unknown' ? (standing as Drift) : found; // D1
  const key = targetKey({ host: host.name, service: service?.name ?? null });
  const isCritical = service?.critical ?? (kind === 'offline_node' && host.critical);
  const mayWait = kind === 'missing_service' || kind === 'unhealthy_service';
  return {
    key,
    host: host.name,
    service: service?.name ?? null,
    kind,
    critical: isCritical,
    trigger,
    blockedBy: mayWait && service !== null ? obstacles(subject, service) : [],
    because,
  };
}

export function findingOf(
  { node, own, services }: Assessment,
  service: DesiredService | null,
): Finding | 'unknown' | null {
  if (service === null) return own;
  return node === 'online' ? (services.get(service.name) ?? null) : 'unknown';
}

/** D2. Sorted. */
function obstacles(
  { host, assessment, standing, desired, assessmentOf }: Subject,
  { dependsOn }: DesiredService,
): string[] {
  const before = standing?.blockedBy ?? [];
  const found = new Set<string>();
  const isUncertain = assessment.node === 'unknown' && before.includes(host.name);
  if (assessment.node === 'offline' || isUncertain) found.add(host.name);
  for (const key of dependsOn) {
    const other = key.slice(0, key.indexOf('/'));
    const theirs = other === host.name ? assessment : assessmentOf(other);
    if (theirs === undefined || theirs.node === 'unmonitored') continue;
    const name = key.slice(other.length + 1);
    const state = theirs.node === 'online' ? theirs.services.get(name) : null;
    if (theirs.node === 'offline') found.add(other);
    else if (theirs.node === 'unknown' || state === 'unknown') {
      if (before.includes(other)) found.add(other);
      const isWatched = desired.hosts.get(other)?.services.get(name)?.monitored === true;
      if (isWatched && before.includes(key)) found.add(key);
    } else if (state?.isDown === true) found.add(key);
  }
  return [...found].sort().slice(0, MAX_BLOCKED_BY);
}

/** Triggers after which the containers are started again, and nothing is deployed anew. */
const CONTAINER_TRIGGERS: readonly string[] = [
  'containers_not_running',
  'ha_websocket_dead',
  'mqtt_unreachable',
];
const RISKS: Readonly<Record<Remedy, Recommendation['risk']>> = {
  container_restart: 'low',
  redeploy: 'guarded',
  disk_cleanup: 'guarded',
  diagnostics: 'none',
  failover_review: 'none',
  review: 'none',
  delayed_deployment: 'none',
};

/** D3. */
export function recommend(drift: Drift): Recommendation {
  const [event, remedy] = adviceOn(drift);
  return { id: recommendationId(remedy, drift), event, remedy, risk: RISKS[remedy] };
}

function adviceOn({ kind, trigger, blockedBy }: Drift): [ReconcileEvent, Remedy] {
  switch (kind) {
    case 'offline_node':
      return ['reconcile_required', 'failover_review'];
    case 'failed_deployment':
      return ['reconcile_blocked', 'diagnostics'];
    case 'missing_service':
    case 'unhealthy_service':
      if (blockedBy.length > 0) return ['reconcile_blocked', 'delayed_deployment'];
      return trigger !== null && CONTAINER_TRIGGERS.includes(trigger)
        ? ['reconcile_required', 'container_restart']
        : ['reconcile_required', 'redeploy'];
    case 'disk_pressure':
      return ['reconcile_required', 'disk_cleanup'];
    case 'unresolved_incident':
      return ['reconcile_recommended', 'review'];
    default:
      return kind satisfies never;
  }
}

/** Longest names in an id, in characters; the second fits whatever they consist of. */
const NAME_CHARS = [70, 35];
/** Of the file of an action, in bytes, and of its actor's address. */
const MAX_ID = 180;
const MAX_ADDRESS = 280;
/** Fits, whatever it consists of. */
const SHORT = 80;
/** What `laterId` and its like put behind it. */
const SERIAL_CHARS = 14;

/** `redeploy-vps-web`. It is the id of the action too. */
export function recommendationId(remedy: Remedy, { host, service }: Target): string {
  let id = '';
  for (const most of NAME_CHARS) {
    const names = service === null ? [host] : [host, service.replaceAll('/', '-')];
    id = [remedy.replaceAll('_', '-'), ...names.map((name) => fileToken(name, most))].join('-');
    if (id.length <= SHORT) return id;
    const room = MAX_ADDRESS - SERIAL_CHARS - actionAddress(id).length;
    if (id.length + SERIAL_CHARS <= MAX_ID && room >= 0) return id;
  }
  return id;
}

/** When another action has the id. `since`: of the drift, epoch ms. */
export const laterId = (id: string, since: number): string => `${id}-${Math.floor(since / 1000)}`;

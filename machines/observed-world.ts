/**
 * What is known of a host as the homelab's programs read it: entries of `world/nodes.json`, `services.json` ("host/service"),
 * `deployments.json` (by correlation id) and `incidents.json` (`inc-<unix>-<node>-<service>`). Times are float epoch seconds.
 *
 * W1 The same record at the same time gives the same entries; `now` only says what is long over, and what takes too long.
 * W2 What nobody said is null, or `unknown`; it is not guessed (P9).
 */
import { deploymentsWithId, looseDeployments } from './observed-deployments.ts';
import type { ToldDeployment } from './observed-deployments.ts';
import { healthSign, presenceSign, pressureSign } from './observed-event.ts';
import type { HostRecord, ServiceRecord, Word } from './observed-host.ts';
import { compareText, courseOf, flapScore } from './observed-timeline.ts';
import type { Course, Incident } from './observed-timeline.ts';
import { fileToken } from './proposal.ts';
import { entriesIn } from './shards.ts';

export interface WorldEntries {
  node: NodeEntry;
  services: ServiceEntry[];
  deployments: DeploymentEntry[];
  incidents: IncidentEntry[];
}

export type NodeEntry = {
  node: string;
  status: 'online' | 'offline';
  availability: 'online' | 'offline';
  roles: string[];
  disk_pressure: Pressure;
  memory_pressure: Pressure;
  last_seen: number | null;
  since: number | null;
  active_incidents: string[];
  last_event: string | null;
  last_event_at: number | null;
};
export type Pressure = 'high' | 'normal' | null;

export type ServiceEntry = {
  node: string;
  service: string;
  status: 'healthy' | 'unhealthy' | 'deploying' | 'unknown';
  /** Since when it is well or ill. */
  since: number | null;
  /** What makes it ill: of several causes that stand, the newest. */
  trigger: string | null;
  severity: string;
  flap_score: number;
  active_incidents: string[];
  last_event: string;
  last_event_at: number;
  message: string | null;
};

export type DeploymentEntry = {
  correlation_id: string;
  node: string;
  service: string | null;
  status: ToldDeployment['status'];
  started_at: number | null;
  completed_at: number | null;
  updated_at: number;
};

export type IncidentEntry = {
  id: string;
  node: string;
  /** The node's name: it is about the host itself. */
  service: string;
  status: 'active' | 'resolved';
  /** What it began with. */
  type: string;
  last_type: string;
  severity: string;
  occurrence_count: number;
  created_at: number;
  last_seen: number;
  resolved_at: number | null;
  resolved_by: string | null;
  diagnostics: string[];
};

const MAX_INCIDENTS = 500;
const WEEK_MS = 7 * 24 * 3_600_000;
/** A deployment without an end is taken for forgotten after this, ms. */
const DEPLOYING_MS = 30 * 60_000;
const MAX_ID_PART = 80;

const seconds = (ms: number): number => ms / 1000;
const secondsOrNull = (ms: number | null): number | null => (ms === null ? null : seconds(ms));

/** W1. `now`: epoch ms. */
export function worldOf(record: HostRecord, now: number): WorldEntries {
  const { host } = record;
  const ids = new Set<string>();
  const presence = courseOf(record.presence, presenceSign);
  const ofHost = [
    incidentsOf(presence, { host, service: host, name: host }, ids),
    incidentsOf(courseOf(record.health, healthSign), { host, service: host, name: 'host' }, ids),
    incidentsOf(
      courseOf(record.pressure.disk, pressureSign),
      { host, service: host, name: 'disk' },
      ids,
    ),
    incidentsOf(
      courseOf(record.pressure.memory, pressureSign),
      { host, service: host, name: 'memory' },
      ids,
    ),
  ].flat();
  const services = entriesIn(record.services)
    .toSorted(([a], [b]) => compareText(a, b))
    .map(([service, known]) => {
      const course = courseOf(known.health, healthSign);
      const incidents = incidentsOf(course, { host, service, name: service }, ids);
      return { service, known, course, incidents };
    });
  const incidents = [...ofHost, ...services.flatMap(({ incidents: own }) => own)];
  const deployments = deploymentsOf(record);
  return {
    node: nodeEntry(record, presence, activeIds(ofHost)),
    services: services.map(({ service, known, course, incidents: own }) => ({
      ...serviceEntry(record, { service, known, course, now }, deployments),
      active_incidents: activeIds(own),
    })),
    deployments: deployments
      .filter(({ at }) => at > now - WEEK_MS)
      .map((told) => deploymentEntry(host, told)),
    incidents: shown(incidents, now),
  };
}

function nodeEntry(record: HostRecord, presence: Course, active: string[]): NodeEntry {
  const status = presence.condition === 'ill' ? 'offline' : 'online';
  return {
    node: record.host,
    status,
    availability: status,
    roles: [...(record.roles?.names ?? [])],
    disk_pressure: pressureOf(courseOf(record.pressure.disk, pressureSign)),
    memory_pressure: pressureOf(courseOf(record.pressure.memory, pressureSign)),
    last_seen: secondsOrNull(record.seenAt),
    since: secondsOrNull(presence.since),
    active_incidents: active,
    last_event: record.last?.type ?? null,
    last_event_at: secondsOrNull(record.last?.at ?? null),
  };
}

/** W2. */
function pressureOf({ condition }: Course): Pressure {
  return condition === null ? null : condition === 'ill' ? 'high' : 'normal';
}

function serviceEntry(
  record: HostRecord,
  about: { service: string; known: ServiceRecord; course: Course; now: number },
  deployments: readonly ToldDeployment[],
): ServiceEntry {
  const { service, known, course, now } = about;
  const { last } = known;
  const until = Math.max(record.newestAt, now) - DEPLOYING_MS;
  const isDeploying = deployments.some(
    (told) =>
      told.service === service &&
      told.status === 'in_progress' &&
      (told.lastStartedAt ?? 0) > until,
  );
  return {
    node: record.host,
    service,
    status: isDeploying ? 'deploying' : statusOf(course),
    since: secondsOrNull(course.since),
    trigger: course.open?.causes.at(-1) ?? null,
    severity: course.open?.severity ?? severityOf(last),
    flap_score: flapScore(course, record.newestAt),
    active_incidents: [],
    last_event: last.type,
    last_event_at: seconds(last.at),
    message: last.text,
  };
}

/** W2. */
function statusOf({ condition }: Course): ServiceEntry['status'] {
  return condition === null ? 'unknown' : condition === 'well' ? 'healthy' : 'unhealthy';
}

const severityOf = ({ severity }: Word): string => severity;

function deploymentsOf({ host, deployments, services }: HostRecord): ToldDeployment[] {
  const loose = entriesIn(services).flatMap(([service, { deployments: steps }]) =>
    looseDeployments(steps, { host, service }),
  );
  return [...deploymentsWithId(deployments), ...loose].toSorted((a, b) => compareText(a.id, b.id));
}

const deploymentEntry = (node: string, told: ToldDeployment): DeploymentEntry => ({
  correlation_id: told.id,
  node,
  service: told.service,
  status: told.status,
  started_at: secondsOrNull(told.startedAt),
  completed_at: told.status === 'in_progress' ? null : secondsOrNull(told.ended?.at ?? null),
  updated_at: seconds(told.at),
});

function incidentsOf(
  { closed, open }: Course,
  { host, service, name }: { host: string; service: string; name: string },
  ids: Set<string>,
): IncidentEntry[] {
  const all = open === null ? closed : [...closed, open];
  return all.map((incident) => ({
    id: freeId(incident, { host, name }, ids),
    node: host,
    service,
    status: incident.resolvedAt === null ? 'active' : 'resolved',
    type: incident.type,
    last_type: incident.lastType,
    severity: incident.severity,
    occurrence_count: incident.occurrences,
    created_at: seconds(incident.openedAt),
    last_seen: seconds(incident.lastAt),
    resolved_at: secondsOrNull(incident.resolvedAt),
    resolved_by: incident.resolvedBy,
    diagnostics: [],
  }));
}

/** A service may be called `disk`. */
function freeId(
  { openedAt }: Incident,
  { host, name }: { host: string; name: string },
  ids: Set<string>,
): string {
  const part = (text: string): string => fileToken(text.replaceAll('/', '-'), MAX_ID_PART);
  const id = `inc-${Math.floor(openedAt / 1000)}-${part(host)}-${part(name)}`;
  for (let serial = 1; ; serial += 1) {
    const free = serial === 1 ? id : `${id}-${serial}`;
    if (ids.has(free)) continue;
    ids.add(free);
    return free;
  }
}

const activeIds = (incidents: readonly IncidentEntry[]): string[] =>
  incidents.filter(({ status }) => status === 'active').map(({ id }) => id);

/** Those that stand before those that are over, the newest first; then in the order of their names. */
function shown(incidents: readonly IncidentEntry[], now: number): IncidentEntry[] {
  const recent = incidents.filter(
    ({ resolved_at: at }) => at === null || at * 1000 > now - WEEK_MS,
  );
  const chosen = recent.toSorted(
    (a, b) =>
      compareText(a.status, b.status) || b.created_at - a.created_at || compareText(a.id, b.id),
  );
  return chosen.slice(0, MAX_INCIDENTS).toSorted((a, b) => compareText(a.id, b.id));
}

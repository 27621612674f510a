/**
 * What is known of one host and its services, from what was heard. Pure and the same whatever the order in which it was heard
 * (observed-timeline.ts, T1); of everything that grows there is only so much (P8).
 *
 * H1 Whatever a host's events say, they say that it was there at that time; only `node_offline` does not.
 * H2 What an event says last of a service counts by its own time, not by when it came.
 */
import type { Severity } from './homelab-events.ts';
import { NO_DEPLOYMENTS, NO_STEPS, withLooseStep, withStep } from './observed-deployments.ts';
import type { Deployments, LooseSteps } from './observed-deployments.ts';
import {
  deploymentStep,
  healthSign,
  presenceSign,
  pressureSign,
  pressureType,
  resourceOf,
  SEEN,
} from './observed-event.ts';
import type { ObservedEvent, Resource } from './observed-event.ts';
import { inShards, noShards, withEntry } from './shards.ts';
import type { Shards } from './shards.ts';
import { compareText, FRESH_TIMELINE, withMark, withoutMark, worse } from './observed-timeline.ts';
import type { Mark, SignOf, Timeline, Verdict } from './observed-timeline.ts';

/** The newest by its own time. */
export interface Word {
  at: number;
  type: string;
  severity: Severity;
  text: string | null;
}

export interface ServiceRecord {
  health: Timeline;
  last: Word;
  deployments: LooseSteps;
}

export interface HostRecord {
  host: string;
  /** Time of the newest event, epoch ms. */
  newestAt: number;
  /** The last time it is known to have been there; null: it is not. */
  seenAt: number | null;
  presence: Timeline;
  pressure: Readonly<Record<Resource, Timeline>>;
  /** What is said of the host without naming a service, beside the above. */
  health: Timeline;
  roles: { at: number; names: readonly string[] } | null;
  last: Word | null;
  services: Shards<ServiceRecord>;
  deployments: Deployments;
  /** Events that count, that had been heard before, that came too late to count, and those about a service too many. */
  counted: number;
  known: number;
  late: number;
  beyond: number;
}

export const MAX_SERVICES = 1000;
const MINUTE_MS = 60_000;

export const freshHost = (host: string): HostRecord => ({
  host,
  newestAt: 0,
  seenAt: null,
  presence: FRESH_TIMELINE,
  pressure: { disk: FRESH_TIMELINE, memory: FRESH_TIMELINE },
  health: FRESH_TIMELINE,
  roles: null,
  last: null,
  services: noShards(),
  deployments: NO_DEPLOYMENTS,
  counted: 0,
  known: 0,
  late: 0,
  beyond: 0,
});

export function observed(before: HostRecord, event: ObservedEvent): HostRecord {
  const record = withPresence(withFacts(before, event), event);
  if (!hasRoom(record, event)) return { ...record, beyond: before.beyond + 1 };
  const { record: told, verdict } = withHealth(withDeployment(record, event), event);
  return { ...told, [verdict]: before[verdict] + 1 };
}

const hasRoom = ({ services }: HostRecord, { service }: ObservedEvent): boolean =>
  service === null || services.size < MAX_SERVICES || inShards(services, service) !== undefined;

function withFacts(record: HostRecord, { at, roles }: ObservedEvent): HostRecord {
  const newestAt = Math.max(record.newestAt, at);
  if (roles === undefined) return { ...record, newestAt };
  const isNewer =
    record.roles === null ||
    at > record.roles.at ||
    (at === record.roles.at && roles.join() > record.roles.names.join());
  return { ...record, newestAt, roles: isNewer ? { at, names: roles } : record.roles };
}

/** H1. One mark a minute is enough: its last. */
function withPresence(record: HostRecord, { type, at, id, severity }: ObservedEvent): HostRecord {
  if (presenceSign(type) !== undefined) {
    const seenAt = type === 'node_offline' ? record.seenAt : Math.max(record.seenAt ?? 0, at);
    const { timeline } = withMark(record.presence, { at, type, id, severity }, presenceSign);
    return { ...record, seenAt, presence: timeline };
  }
  const seenAt = Math.max(record.seenAt ?? 0, at);
  const { marks } = record.presence;
  const minute = Math.floor(at / MINUTE_MS);
  const known = marks.find(
    (mark) => mark.type === SEEN && Math.floor(mark.at / MINUTE_MS) === minute,
  );
  if (known !== undefined && known.at >= at) return { ...record, seenAt };
  const without = known === undefined ? record.presence : withoutMark(record.presence, known);
  const seen: Mark = { at, type: SEEN, id: null, severity: 'info' };
  return { ...record, seenAt, presence: withMark(without, seen, presenceSign).timeline };
}

function withDeployment(record: HostRecord, event: ObservedEvent): HostRecord {
  const { type, at, service, correlation: id } = event;
  const step = deploymentStep(type);
  if (step === undefined) return record;
  if (id !== undefined) {
    const deployments = withStep(record.deployments, { id, service, at, step });
    return { ...record, deployments };
  }
  if (service === null) return record; // nobody can say what was deployed
  const known = serviceIn(record, event, service);
  const deployments = withLooseStep(known.deployments, { at, step });
  return withService(record, service, { ...known, deployments });
}

/** Of the resources, of the service, or else of the host. */
function withHealth(
  before: HostRecord,
  event: ObservedEvent,
): { record: HostRecord; verdict: Verdict } {
  const { record, verdict: asResource } = withPressure(before, event);
  const { type, at, id, severity, service } = event;
  if (presenceSign(type) !== undefined || resourceOf(type) !== undefined)
    return { record: lastOfHost(record, event), verdict: asResource };
  const mark: Mark = { at, type, id, severity };
  if (service === null) {
    const { timeline: health, verdict } = marked(record.health, mark, healthSign);
    return { record: lastOfHost({ ...record, health }, event), verdict };
  }
  const known = serviceIn(record, event, service);
  const { timeline: health, verdict } = marked(known.health, mark, healthSign);
  const last = newer(known.last, wordOf(event));
  return { record: withService(record, service, { ...known, health, last }), verdict };
}

/** What says nothing of the health leaves no mark. */
function marked(
  timeline: Timeline,
  mark: Mark,
  signOf: SignOf,
): { timeline: Timeline; verdict: Verdict } {
  return signOf(mark.type) === undefined
    ? { timeline, verdict: 'counted' }
    : withMark(timeline, mark, signOf);
}

function withPressure(
  record: HostRecord,
  event: ObservedEvent,
): { record: HostRecord; verdict: Verdict } {
  const { type, at, id, severity } = event;
  const pressure = { ...record.pressure };
  let verdict: Verdict = 'counted';
  for (const resource of ['disk', 'memory'] as const) {
    const beside = event[resource];
    const isNamed = resourceOf(type) === resource;
    if (!isNamed && beside === undefined) continue;
    const told = isNamed ? type : pressureType(resource, beside === true);
    const mark: Mark = { at, type: told, id: isNamed ? id : null, severity };
    const { timeline, verdict: found } = withMark(pressure[resource], mark, pressureSign);
    pressure[resource] = timeline;
    if (isNamed) verdict = found;
  }
  return { record: { ...record, pressure }, verdict };
}

const serviceIn = (
  { services }: HostRecord,
  event: ObservedEvent,
  service: string,
): ServiceRecord =>
  inShards(services, service) ?? {
    health: FRESH_TIMELINE,
    last: wordOf(event),
    deployments: NO_STEPS,
  };

const withService = (record: HostRecord, service: string, known: ServiceRecord): HostRecord => ({
  ...record,
  services: withEntry(record.services, service, known),
});

const lastOfHost = (record: HostRecord, event: ObservedEvent): HostRecord => ({
  ...record,
  last: record.last === null ? wordOf(event) : newer(record.last, wordOf(event)),
});

const wordOf = ({ at, type, severity, text }: ObservedEvent): Word => ({
  at,
  type,
  severity,
  text: text ?? null,
});

/** H2. Of the same time one is chosen that everybody would choose. */
function newer(a: Word, b: Word): Word {
  if (a.at !== b.at) return a.at > b.at ? a : b;
  if (a.type !== b.type) return compareText(a.type, b.type) > 0 ? a : b;
  const text = (a.text ?? '') >= (b.text ?? '') ? a.text : b.text;
  return { ...a, severity: worse(a.severity, b.severity), text };
}

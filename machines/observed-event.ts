/**
 * What the observer makes of an event of the homelab: what it says of a host or a service, in a small form that is kept. The
 * names of types are those that the homelab's programs use.
 *
 * E1 What this runtime, or a program in its place, says of its own doings (proposals, reconciling) is no observation.
 * E2 A type that nobody knows says nothing of health, whatever its severity, unless its name ends in `_unhealthy`,
 *    `_failed`, `_down` or `_dead`. What such a one began is ended by its own counterpart (`_healthy`, `_recovered`, `_up`
 *    with the same beginning), or by the service's word that it is well. `ALERTS` are for people, whatever they end in.
 * E3 Nothing happens later than it is heard: a clock that is ahead must not keep what comes after from counting.
 */
import { HOME_ASSISTANT_ALERTS } from './home-assistant.ts';
import type { HomelabEvent, Severity } from './homelab-events.ts';
import { isJsonObject } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';
import { plainText } from './plain-text.ts';

export interface ObservedEvent {
  /** The producer's own; null: it gave none. */
  id: string | null;
  type: string;
  /** Epoch ms. */
  at: number;
  /** Null: it is about the host itself. */
  service: string | null;
  severity: Severity;
  /** What it says in words. */
  text?: string;
  /** Of a deployment. */
  correlation?: string;
  roles?: string[];
  /** Whether there is too little left. */
  disk?: boolean;
  memory?: boolean;
}

/** What an event says of whatever it is about. `cause`: what began, or is over; null: all of it is over. */
export type Sign = { is: 'ill'; cause: string } | { is: 'well'; cause: string | null };

/** How far ahead a clock may be, ms (E3). */
const AHEAD_MS = 5 * 60_000;
const MAX_TEXT = 200;
const MAX_ROLES = 20;
const MAX_ROLE = 60;

const OWN_SOURCES: ReadonlySet<string> = new Set(['planner-agent', 'supervisor']);
const OWN_TYPE = /^(?:remediation|reconcile)_/;

/** E1. */
const isOwn = ({ type, source }: HomelabEvent): boolean =>
  OWN_SOURCES.has(source) || OWN_TYPE.test(type);

/** Whose event it is, and what is kept of it; undefined: it is no observation. `aliases`: what else hosts are called. */
export function observedEvent(
  event: HomelabEvent,
  { heardAt, aliases }: { heardAt: number; aliases: Readonly<Record<string, string>> },
): { host: string; event: ObservedEvent } | undefined {
  if (isOwn(event)) return undefined;
  const { type, data } = event;
  const { payload, correlation_id: correlation } = data;
  const said = Date.parse(event.at);
  const roles = rolesIn(payload);
  const disk = pressureIn(payload['disk_pressure']);
  const memory = pressureIn(payload['memory_pressure']);
  const text = textIn(payload);
  const host = Object.hasOwn(aliases, data.host) ? aliases[data.host] : undefined;
  return {
    host: host ?? data.host,
    event: {
      id: isGenerated(event.id) ? null : event.id,
      type,
      at: said > heardAt + AHEAD_MS ? heardAt : said,
      service: data.service === data.host ? null : data.service,
      severity: data.severity,
      ...(text === undefined ? {} : { text }),
      ...(correlation === undefined ? {} : { correlation }),
      ...(roles === undefined ? {} : { roles }),
      ...(disk === undefined ? {} : { disk }),
      ...(memory === undefined ? {} : { memory }),
    },
  };
}

/** By a bridge, for an event without one: `redis:<channel>:...`, `<stream>:<created>:<seq>`; of a file: none. */
const isGenerated = (id: string): boolean =>
  id === '' || /^(?:redis|[A-Z][A-Z0-9_]*):.+:\d+(?:-\d+)?$/.test(id);

function textIn(payload: JsonObject): string | undefined {
  for (const name of ['message', 'reason', 'error', 'description']) {
    const value = payload[name];
    if (typeof value !== 'string') continue;
    const text = plainText(value.slice(0, 4 * MAX_TEXT), MAX_TEXT);
    if (text !== '') return text;
  }
  return undefined;
}

function rolesIn({ roles, role }: JsonObject): string[] | undefined {
  const given = roles ?? role;
  const list = typeof given === 'string' ? [given] : given;
  if (!Array.isArray(list)) return undefined;
  const names = list.flatMap((name) =>
    typeof name === 'string' ? [plainText(name, MAX_ROLE)] : [],
  );
  return [...new Set(names.filter((name) => name !== ''))].toSorted().slice(0, MAX_ROLES);
}

const EASY: ReadonlySet<string> = new Set([
  'cleared',
  'false',
  'healthy',
  'low',
  'no',
  'none',
  'normal',
  'ok',
  'recovered',
  'relieved',
  'resolved',
]);

function pressureIn(value: JsonValue | undefined): boolean | undefined {
  if (typeof value === 'boolean') return value;
  if (isJsonObject(value)) return pressureIn(value['level'] ?? value['status']);
  if (typeof value !== 'string' || value.trim() === '') return undefined;
  return !EASY.has(value.trim().toLowerCase());
}

const KNOWN: ReadonlyMap<string, Sign> = new Map([
  ['service_healthy', { is: 'well', cause: null }],
  ['service_recovered', { is: 'well', cause: null }],
  ['deployment_completed', { is: 'well', cause: null }],
  ['containers_not_running', { is: 'ill', cause: 'containers_not_running' }],
  ['mqtt_unreachable', { is: 'ill', cause: 'mqtt' }],
]);
const ILL_ENDS = ['_unhealthy', '_failed', '_down', '_dead'];
const ALERTS: ReadonlySet<string> = new Set(HOME_ASSISTANT_ALERTS);
const WELL_ENDS = ['_healthy', '_recovered', '_up'];

/** What it says of a service, or of a host in general; undefined: nothing. */
export function healthSign(type: string): Sign | undefined {
  const known = KNOWN.get(type);
  if (known) return known;
  if (ALERTS.has(type)) return undefined;
  const ill = ILL_ENDS.find((end) => type.endsWith(end));
  if (ill !== undefined) return { is: 'ill', cause: type.slice(0, -ill.length) };
  const well = WELL_ENDS.find((end) => type.endsWith(end));
  return well === undefined ? undefined : { is: 'well', cause: type.slice(0, -well.length) };
}

/** That a host was there at some time of a minute. */
export const SEEN = 'seen';

/** Whether the host is there. */
export function presenceSign(type: string): Sign | undefined {
  if (type === 'node_offline') return { is: 'ill', cause: 'node' };
  return type === 'node_online' || type === SEEN ? { is: 'well', cause: null } : undefined;
}

export type Resource = 'disk' | 'memory';

/** A type that speaks of what is left of a resource: `disk_usage_high`, `memory_pressure_resolved`. */
export function resourceOf(type: string): Resource | undefined {
  const match = /^(disk|memory)_(?:usage|pressure)(?:_|$)/.exec(type);
  return match === null ? undefined : (match[1] as Resource);
}

/** Whether there is too little of the resource. */
export function pressureSign(type: string): Sign | undefined {
  const resource = resourceOf(type);
  if (resource === undefined) return undefined;
  const isEasy = EASY.has(type.slice(type.lastIndexOf('_') + 1));
  return isEasy ? { is: 'well', cause: null } : { is: 'ill', cause: resource };
}

/** For what an event of another type says of a resource beside. */
export const pressureType = (resource: Resource, isHigh: boolean): string =>
  `${resource}_pressure_${isHigh ? 'high' : 'normal'}`;

export type DeploymentStep = 'started' | 'completed' | 'failed';

export function deploymentStep(type: string): DeploymentStep | undefined {
  const match = /^deployment_(started|completed|failed)$/.exec(type);
  return match === null ? undefined : (match[1] as DeploymentStep);
}

/**
 * `world/{nodes,services,deployments,incidents}.json`, parsed, to what was observed of each host. Whoever writes them is not
 * trusted with their form: objects by key or lists, seconds, milliseconds or ISO times, words of all kinds.
 *
 * W1 Total: any JSON gives an observation, and any name is a name (`__proto__` too).
 * W2 The order of files, entries and lists changes nothing. Of two entries for one thing the one under its own name counts,
 *    not the one under an alias; then the newer.
 * W3 A host that is as it was is the very object that it was: whoever compares by identity sees what changed.
 * W4 No services.json is no evidence that a service is missing (P6).
 */
import { isJsonObject } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';
import { plainText } from './plain-text.ts';
import type {
  Observed,
  ObservedHost,
  ObservedIncident,
  ObservedNode,
  ObservedService,
} from './supervision.ts';
import type { WorldContent } from './world-forms.ts';
import { MAX_NAME, eachEntry, isName, nameIn, placeIn, placeOf } from './world-forms.ts';
import { isSameObservation } from './world-equality.ts';
import { deploymentsOf, readAttempt } from './world-deployments.ts';
import { countIn, typeIn } from './world-incidents.ts';
import type { Attempt } from './world-deployments.ts';
import {
  NODE_STATUS,
  SERVICE_STATUS,
  isActive,
  isHigh,
  statusIn,
  toldAt,
  triggerOf,
} from './world-words.ts';

/** Null, or left out: there is no such file. */
export interface WorldContents {
  nodes?: WorldContent | null;
  services?: WorldContent | null;
  deployments?: WorldContent | null;
  incidents?: WorldContent | null;
}
/** `aliases`: as in `Desired`. `before`: what was observed last, for W3. */
export function observeWorld(
  files: WorldContents,
  aliases: ReadonlyMap<string, string>,
  before?: Observed,
): Observed {
  const world = new World(aliases);
  const hasServices = (files.services ?? null) !== null;
  world.nodes(files.nodes ?? null);
  world.services(files.services ?? null);
  world.deployments(files.deployments ?? null);
  world.incidents(files.incidents ?? null);
  const hosts = new Map<string, ObservedHost>();
  for (const [name, building] of world.hosts) {
    const host = finished(building, hasServices);
    const known = before?.hosts.get(name);
    hosts.set(name, known !== undefined && isSameObservation(known, host) ? known : host);
  }
  return { hosts, at: writtenAt(files, hosts) };
}

/** Hosts of which something else was observed, or nothing any more. Sorted. */
export function changedHosts(before: Observed, after: Observed): string[] {
  const changed: string[] = [];
  for (const [name, host] of after.hosts) if (before.hosts.get(name) !== host) changed.push(name);
  for (const name of before.hosts.keys()) if (!after.hosts.has(name)) changed.push(name);
  return changed.sort();
}

/** The newest of the files; where nobody knows, of the entries. */
function writtenAt(files: WorldContents, hosts: ReadonlyMap<string, ObservedHost>): number | null {
  let newest: number | null = null;
  const take = (at: number | null): void => {
    if (at !== null && (newest === null || at > newest)) newest = at;
  };
  for (const file of [files.nodes, files.services, files.deployments, files.incidents])
    take(file?.mtimeMs ?? null);
  if (newest !== null) return newest;
  for (const { node, services } of hosts.values()) {
    take(node?.seenAt ?? null);
    for (const { seenAt } of services.values()) take(seenAt);
  }
  return newest;
}

interface Building {
  node: ObservedNode | null;
  services: Map<string, ObservedService>;
  /** By name of what stands there under an alias of the host, that alias. The node's own stands under ''. */
  aliased: Map<string, string> | null;
  attempts: Map<string, Attempt[]> | null;
  incidents: Map<string, ObservedIncident> | null;
}

class World {
  readonly hosts = new Map<string, Building>();
  readonly #aliases: ReadonlyMap<string, string>;
  /** Types of active incidents, for services that name theirs. */
  readonly #types = new Map<string, string | null>();
  /** What services that are ill, and do not say why, name as their incidents. */
  readonly #links = new Map<string, { host: string; service: string; ids: readonly JsonValue[] }>();

  constructor(aliases: ReadonlyMap<string, string>) {
    this.#aliases = aliases;
  }

  #host(name: string): Building {
    const own = this.#aliases.get(name) ?? name;
    let found = this.hosts.get(own);
    if (found === undefined) {
      found = { node: null, services: new Map(), aliased: null, attempts: null, incidents: null };
      this.hosts.set(own, found);
    }
    return found;
  }

  nodes(file: WorldContent | null): void {
    eachEntry(file, 'nodes', (key, entry) => {
      const name = key ?? nameIn(entry, 'node', 'name', 'host', 'id');
      if (name === undefined || !isName(name)) return;
      const building = this.#host(name);
      const node = nodeOf(entry, file?.mtimeMs ?? null);
      if (this.#counts(building, { raw: name, what: '' }, node, building.node))
        building.node = node;
    });
  }

  services(file: WorldContent | null): void {
    eachEntry(file, 'services', (key, entry) => {
      const place = placeOf(key, entry);
      if (place === undefined) return;
      const { host: raw, service } = place;
      const building = this.#host(raw);
      const found = serviceOf(entry, file?.mtimeMs ?? null);
      const known = building.services.get(service) ?? null;
      if (!this.#counts(building, { raw, what: service }, found, known)) return;
      building.services.set(service, found);
      this.#link(raw, service, entry, found);
    });
  }

  /** W2. Notes whose name it stands under. */
  #counts<T extends ObservedNode | ObservedService>(
    building: Building,
    { raw, what }: { raw: string; what: string },
    found: T,
    known: T | null,
  ): boolean {
    const isAlias = this.#aliases.has(raw);
    if (known !== null) {
      const alias = building.aliased?.get(what);
      const order =
        Number(isAlias) - Number(alias !== undefined) ||
        (known.seenAt ?? Infinity) - (found.seenAt ?? Infinity) || // who does not say is as new as the file
        compare(raw, alias ?? raw) ||
        compare(JSON.stringify(found), JSON.stringify(known));
      if (!(order < 0)) return false;
    }
    if (isAlias) (building.aliased ??= new Map()).set(what, raw);
    else building.aliased?.delete(what);
    return true;
  }

  #link(
    raw: string,
    service: string,
    entry: JsonValue,
    { condition, trigger }: ObservedService,
  ): void {
    const host = this.#aliases.get(raw) ?? raw;
    const mayBeTold = condition === 'ill' && trigger === null && isJsonObject(entry);
    const ids = mayBeTold ? INCIDENT_FIELDS.map((field) => entry[field] ?? []).flat() : [];
    if (ids.length > 0) this.#links.set(`${host}/${service}`, { host, service, ids });
    else this.#links.delete(`${host}/${service}`);
  }

  deployments(file: WorldContent | null): void {
    eachEntry(file, 'deployments', (key, entry) => {
      const place = isJsonObject(entry) ? (placeIn(entry) ?? placeOf(key, entry)) : undefined;
      const attempt = isJsonObject(entry) ? readAttempt(entry) : undefined;
      if (place === undefined || attempt === undefined) return;
      const building = this.#host(place.host);
      building.attempts ??= new Map();
      const known = building.attempts.get(place.service);
      if (known === undefined) building.attempts.set(place.service, [attempt]);
      else known.push(attempt);
    });
  }

  incidents(file: WorldContent | null): void {
    eachEntry(file, 'incidents', (key, entry) => {
      if (!isJsonObject(entry) || !isActive(entry)) return;
      const incident = this.#incident(key, entry);
      if (incident === undefined) return;
      const { host, ...about } = incident;
      const type = this.#types.get(about.id);
      if (type === undefined || compare(about.type ?? '', type ?? '') < 0)
        this.#types.set(about.id, about.type);
      if (host === undefined || !isName(host)) return;
      const building = this.#host(host);
      building.incidents ??= new Map();
      const known = building.incidents.get(about.id);
      if (known !== undefined && compare(JSON.stringify(known), JSON.stringify(about)) <= 0) return;
      building.incidents.set(about.id, about);
    });
    for (const { host, service, ids } of this.#links.values()) this.#explain(host, service, ids);
  }

  #incident(
    key: string | null,
    entry: JsonObject,
  ): (ObservedIncident & { host: string | undefined }) | undefined {
    const id = plainText(key ?? nameIn(entry, 'id', 'incident_id') ?? '', MAX_NAME);
    if (id === '') return undefined;
    const host = nameIn(entry, 'node', 'host');
    const service = nameIn(entry, 'service');
    const isOfHost = service === undefined || service === host || !isName(service);
    const own = host === undefined ? undefined : this.#aliases.get(host);
    return {
      id,
      host,
      service: isOfHost || service === own ? null : service,
      type: typeIn(entry),
      occurrences: countIn(entry),
    };
  }

  /** What an incident that the service names says of why it is ill; of several, the first by name. */
  #explain(host: string, service: string, ids: readonly JsonValue[]): void {
    const building = this.hosts.get(host);
    const known = building?.services.get(service);
    if (building === undefined || known === undefined || known.trigger !== null) return;
    const types = ids
      .map((id) => (typeof id === 'string' ? id : isJsonObject(id) ? nameIn(id, 'id') : undefined))
      .filter((id) => id !== undefined)
      .sort()
      .map((id) => this.#types.get(plainText(id, MAX_NAME)) ?? null);
    const trigger = types.find((type) => type !== null) ?? null;
    building.services.set(service, { ...known, trigger });
  }
}

const INCIDENT_FIELDS = [
  'active_incidents',
  'active_incident',
  'incidents',
  'incident',
  'incident_id',
];
const TRIGGER_FIELDS = ['trigger', 'reason', 'last_event_type', 'last_event'];

function nodeOf(entry: JsonValue, mtimeMs: number | null): ObservedNode {
  const { status, condition } = statusIn(entry, NODE_STATUS);
  const seenAt = toldAt(entry, condition === 'ill', mtimeMs);
  return {
    status,
    condition,
    seenAt,
    diskPressure: isJsonObject(entry) && isHigh(entry['disk_pressure']),
  };
}

function serviceOf(entry: JsonValue, mtimeMs: number | null): ObservedService {
  const { status, condition } = statusIn(entry, SERVICE_STATUS);
  const isIll = condition === 'ill';
  const seenAt = toldAt(entry, isIll, mtimeMs);
  let trigger: string | null = null;
  if (isIll && isJsonObject(entry))
    for (const field of TRIGGER_FIELDS) trigger ??= triggerOf(entry[field]);
  return { status, condition, seenAt, trigger };
}

function finished(building: Building, hasServices: boolean): ObservedHost {
  const { node, services, attempts, incidents } = building;
  return {
    node,
    services,
    deployments: attempts === null ? NO_DEPLOYMENTS : deploymentsOf(attempts),
    incidents:
      incidents === null
        ? NO_INCIDENTS
        : [...incidents.values()].sort((a, b) => compare(a.id, b.id)),
    ...(!hasServices && { servicesKnown: false }), // W4
  };
}
const NO_DEPLOYMENTS: ObservedHost['deployments'] = new Map();
const NO_INCIDENTS: readonly ObservedIncident[] = [];

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

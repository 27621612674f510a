/**
 * The inventory's files, as people write them, to what is desired: `hosts/<host>/services.yaml` with what runs there, and
 * `topology.yaml` with the hosts and what else they are called. Content comes parsed; what is wrong is told with JSON pointers,
 * several things at once. How the files hang together (who depends on whom) is in desired-fleet.ts.
 *
 * D1 Total: any JSON gives a file's content or its problems. Nothing here throws.
 * D2 A file with anything wrong in it says nothing at all, so that what it said last can hold (P6); and a file without
 *    `services` is one that was cut off, not a host that runs nothing.
 * D3 Keys of other programs are left alone.
 */
import { Findings, MAX_NAME, kindOf, shown } from './desired-findings.ts';
import type { InventoryProblem, Need } from './desired-findings.ts';
import { isJsonObject } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';
import { plainText } from './plain-text.ts';

export type { InventoryProblem, Need };

/** What `hosts/<host>/services.yaml` says. Null: it does not say. */
export interface HostFile {
  host: string;
  monitored: boolean | null;
  critical: boolean | null;
  services: ReadonlyMap<string, ServiceEntry>;
}
export interface ServiceEntry {
  name: string;
  monitored: boolean;
  critical: boolean;
  needs: readonly Need[];
}

/** What `topology.yaml` says. */
export interface TopologyFile {
  hosts: ReadonlyMap<string, TopologyHost>;
}
export interface TopologyHost {
  monitored: boolean | null;
  critical: boolean | null;
  aliases: readonly Need[];
}

export type ReadHost = { ok: true; host: HostFile } | Refused;
export type ReadTopology = { ok: true; topology: TopologyFile } | Refused;
interface Refused {
  ok: false;
  problems: InventoryProblem[];
}

export const TOPOLOGY_FILE = 'topology.yaml';
export const hostFilePath = (host: string): string => `hosts/${host}/services.yaml`;

export const MAX_HOSTS = 5000;
export const MAX_SERVICES = 500;
const MAX_NEEDS = 100;
const MAX_ALIASES = 50;

/** Most names are. */
const PLAIN = /^[!-~]+$/;
/** Of a service: a text that can be seen, on one line. */
export const isServiceName = (name: unknown): name is string =>
  typeof name === 'string' &&
  name !== '' &&
  name.length <= MAX_NAME &&
  (PLAIN.test(name) || plainText(name, MAX_NAME) === name);
/** `<host>/<service>` names one thing, for no host has a `/`. */
export const isHostName = (name: unknown): name is string =>
  isServiceName(name) && !name.includes('/');

export function readHostServices(host: string, content: unknown): ReadHost {
  const found = new Findings(hostFilePath(host));
  if (!isHostName(host)) found.add('', `'${shown(host)}' cannot be the name of a host`, NAME_FIX);
  else if (!isJsonObject(content))
    found.add('', `the file must be a map, not ${kindOf(content)}`, SERVICES_FIX);
  else {
    const monitored = found.flag(content, 'monitor', '');
    const critical = found.flag(content, 'critical', '');
    const services = servicesIn(content, found, monitored === false);
    if (found.problems.length === 0)
      return { ok: true, host: { host, monitored, critical, services } };
  }
  return { ok: false, problems: found.problems };
}

const SERVICES_FIX = 'Write `services:` with a list of names below it, or `services: []` for none.';
const NAME_FIX = 'Use a short text without control characters; a host has no / in its name.';

/** D2: only of a host that nothing is said of may `services` be left out. */
function servicesIn(
  content: JsonObject,
  found: Findings,
  mayBeLeftOut: boolean,
): Map<string, ServiceEntry> {
  const services = new Map<string, ServiceEntry>();
  const { services: given } = content;
  if (given === undefined && mayBeLeftOut) return services;
  if (given === undefined || given === null) {
    found.add(
      given === null ? '/services' : '',
      'the file does not say which services run',
      SERVICES_FIX,
    );
    return services;
  }
  const entries = entriesOf(given, '/services');
  if (entries === undefined) {
    found.add('/services', `services must be a list or a map, not ${kindOf(given)}`, SERVICES_FIX);
    return services;
  }
  if (entries.length > MAX_SERVICES) {
    found.add(
      '/services',
      `there are ${entries.length} services`,
      `Write at most ${MAX_SERVICES}.`,
    );
    return services;
  }
  for (const entry of entries) {
    const service = serviceOf(entry, found);
    if (service === undefined) continue;
    if (services.has(service.name))
      found.add(entry.pointer, `'${service.name}' stands there twice`, 'Remove one.');
    services.set(service.name, service);
  }
  return services;
}

interface Entry {
  /** Null in a list: the entry names itself. */
  key: string | null;
  value: JsonValue;
  pointer: string;
}

/** Of a list, or of a map by name; undefined: neither. */
function entriesOf(given: JsonValue, pointer: string): Entry[] | undefined {
  if (Array.isArray(given))
    return given.map((value, i) => ({ key: null, value, pointer: `${pointer}/${i}` }));
  if (!isJsonObject(given)) return undefined;
  return Object.entries(given).map(([key, value]) => {
    const token = key.replaceAll('~', '~0').replaceAll('/', '~1');
    return { key, value, pointer: `${pointer}/${token}` };
  });
}

function serviceOf({ key, value, pointer }: Entry, found: Findings): ServiceEntry | undefined {
  const about = recordOf({ key, value, pointer }, found, SERVICE);
  if (about === undefined) return undefined;
  const { name, given } = about;
  if (!isServiceName(name)) {
    found.add(pointer, `'${shown(name)}' cannot be the name of a service`, NAME_FIX);
    return undefined;
  }
  const monitored = found.flag(given, 'monitor', pointer) ?? true;
  const critical = found.flag(given, 'critical', pointer) ?? false;
  const needs = found.texts(given, 'depends_on', pointer, MAX_NEEDS);
  return { name, monitored, critical, needs };
}

interface Kind {
  what: string;
  nameKeys: readonly string[];
  /** In a map, in place of a record: `vps: public ingress`. */
  mayBeWords: boolean;
}
const SERVICE: Kind = { what: 'a service', nameKeys: ['name'], mayBeWords: false };
const HOST: Kind = {
  what: 'a host',
  nameKeys: ['name', 'node', 'host', 'hostname', 'id'],
  mayBeWords: true,
};

/** An entry's name and its other keys; undefined: it has none, and that was told. */
function recordOf(
  { key, value, pointer }: Entry,
  found: Findings,
  { what, nameKeys, mayBeWords }: Kind,
): { name: string; given: JsonObject } | undefined {
  if (key !== null) {
    if (value === null || isJsonObject(value)) return { name: key, given: value ?? {} };
    if (typeof value === 'string' && mayBeWords) return { name: key, given: {} };
    found.add(
      pointer,
      `${what} must be a map, not ${kindOf(value)}`,
      `Write \`${shown(key)}: {}\`.`,
    );
    return undefined;
  }
  if (typeof value === 'string') return { name: value, given: {} };
  const given = isJsonObject(value) ? value : undefined;
  const nameKey = nameKeys.find((known) => given?.[known] !== undefined);
  const name = nameKey === undefined ? undefined : given?.[nameKey];
  if (given !== undefined && typeof name === 'string') return { name, given };
  const fix = 'Write a name in quotes, or a map with `name`.';
  if (given === undefined)
    found.add(pointer, `${what} must be a name or a map, not ${kindOf(value)}`, fix);
  else if (nameKey === undefined) found.add(pointer, `${what} needs a name`, fix);
  else found.add(`${pointer}/${nameKey}`, `a name must be a text, not ${kindOf(name)}`, fix);
  return undefined;
}

const TOPOLOGY_FIX = 'Write `nodes:` with a list of hosts, or a map by name, below it.';

export function readTopology(content: unknown): ReadTopology {
  const found = new Findings(TOPOLOGY_FILE);
  const hosts = new Map<string, TopologyHost>();
  const key = isJsonObject(content) && content['nodes'] === undefined ? 'hosts' : 'nodes';
  const given = isJsonObject(content) ? content[key] : undefined;
  const entries = given === undefined ? undefined : entriesOf(given, `/${key}`);
  if (!isJsonObject(content))
    found.add('', `the file must be a map, not ${kindOf(content)}`, TOPOLOGY_FIX);
  else if (given === undefined) found.add('', 'the file names no hosts', TOPOLOGY_FIX);
  else if (entries === undefined)
    found.add(`/${key}`, `${key} must be a list or a map, not ${kindOf(given)}`, TOPOLOGY_FIX);
  else if (entries.length > MAX_HOSTS)
    found.add(`/${key}`, `there are ${entries.length} hosts`, `Write at most ${MAX_HOSTS}.`);
  else for (const entry of entries) addHost(hosts, entry, found);
  return found.problems.length === 0
    ? { ok: true, topology: { hosts } }
    : { ok: false, problems: found.problems };
}

function addHost(hosts: Map<string, TopologyHost>, entry: Entry, found: Findings): void {
  const { pointer } = entry;
  const about = recordOf(entry, found, HOST);
  if (about === undefined) return;
  const { name, given } = about;
  if (!isHostName(name))
    found.add(pointer, `'${shown(name)}' cannot be the name of a host`, NAME_FIX);
  else if (hosts.has(name)) found.add(pointer, `'${name}' stands there twice`, 'Remove one.');
  else
    hosts.set(name, {
      monitored: found.flag(given, 'monitor', pointer),
      critical: found.flag(given, 'critical', pointer),
      aliases: found.texts(given, 'aliases', pointer, MAX_ALIASES),
    });
}

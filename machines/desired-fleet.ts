/**
 * What is desired of all hosts together, from what the inventory's files say one by one. Keeps what it made of each file, so
 * that a changed one costs no more than itself and those that depend on what is in it.
 *
 * F1 The same files give the same, however they came to be as they are (L1).
 * F2 What did not change is the very object that it was: whoever compares by identity sees what changed.
 * F3 A problem that lies between files (a name that is nowhere, a circle, an alias of two hosts) leaves out what it is about,
 *    and nothing else.
 */
import { TOPOLOGY_FILE, isHostName, readHostServices, readTopology } from './desired.ts';
import type { HostFile, InventoryProblem, TopologyFile, TopologyHost } from './desired.ts';
import { Links } from './desired-links.ts';
import { plainText } from './plain-text.ts';
import type { Desired, DesiredHost, DesiredService } from './supervision.ts';

export const ALIASES_FROM = 'NODE_ALIAS_MAP';

export interface InventoryParts {
  /** Null: there is none. */
  topology: TopologyFile | null;
  hosts: ReadonlyMap<string, HostFile>;
  /** Given by whoever started the node; they beat those of the topology. */
  aliases: ReadonlyMap<string, string>;
}

export interface Assembled {
  desired: Desired;
  /** Of what lies between files. Sorted by file and place; at most 200. */
  problems: readonly InventoryProblem[];
  /** Hosts of which something else is desired than before. Sorted. */
  changed: readonly string[];
}

const MAX_PROBLEMS = 200;
const NOTHING: InventoryParts = { topology: null, hosts: new Map(), aliases: new Map() };

/** From parsed content, all at once: what is wrong anywhere, and what the rest says. */
export function buildDesired(inventory: {
  topology?: unknown;
  hosts: readonly { host: string; content: unknown }[];
  aliases?: ReadonlyMap<string, string>;
}): { desired: Desired; problems: InventoryProblem[] } {
  const problems: InventoryProblem[] = [];
  const hosts = new Map<string, HostFile>();
  for (const { host, content } of inventory.hosts) {
    const read = readHostServices(host, content);
    if (read.ok) hosts.set(host, read.host);
    else problems.push(...read.problems);
  }
  const isThere = inventory.topology !== undefined;
  const read = isThere ? readTopology(inventory.topology) : undefined;
  if (read?.ok === false) problems.push(...read.problems);
  const topology = read?.ok === true ? read.topology : null;
  const { aliases = NOTHING.aliases } = inventory;
  const assembled = new Fleet().update({ topology, hosts, aliases });
  return {
    desired: assembled.desired,
    problems: [...problems.toSorted(byPlace), ...assembled.problems],
  };
}

export class Fleet {
  #parts = NOTHING;
  /** As they were taken: the map that is handed in may be its owner's own. */
  readonly #files = new Map<string, HostFile>();
  #desired: Desired = { hosts: new Map(), aliases: new Map(), dependants: new Map() };
  #links = new Links((name) => name);
  #aliasProblems: readonly InventoryProblem[] = [];
  #problems: readonly InventoryProblem[] = [];

  /** A file is another one when it is another object. */
  update(parts: InventoryParts): Assembled {
    const rebuilt = this.#take(parts);
    const isNew = this.#rename(parts, rebuilt);
    if (isNew) for (const [host, file] of this.#files) this.#links.put(host, file);
    else for (const host of rebuilt) this.#links.put(host, this.#files.get(host));
    if (isNew) for (const host of this.#names()) rebuilt.add(host);
    if (rebuilt.size === 0 && !isNew)
      return { desired: this.#desired, problems: this.#problems, changed: [] };
    const { hosts, targets } = this.#links.settle();
    for (const host of hosts) rebuilt.add(host);
    const changed = this.#rebuild(rebuilt);
    this.#redirect(targets, isNew);
    this.#problems = [...this.#aliasProblems, ...this.#links.problems()]
      .sort(byPlace)
      .slice(0, MAX_PROBLEMS);
    return { desired: this.#desired, problems: this.#problems, changed };
  }

  /** Returns the hosts that have another file, or none any more. */
  #take({ hosts }: InventoryParts): Set<string> {
    const changed = new Set<string>();
    for (const host of this.#files.keys()) if (!hosts.has(host)) changed.add(host);
    for (const host of changed) this.#files.delete(host);
    for (const [host, file] of hosts) {
      if (this.#files.get(host) === file) continue;
      this.#files.set(host, file);
      changed.add(host);
    }
    return changed;
  }

  /** Whether a name may mean another host than before: then the links are made anew. */
  #rename(parts: InventoryParts, changed: ReadonlySet<string>): boolean {
    const before = this.#parts;
    this.#parts = parts;
    const isSame = parts.topology === before.topology && parts.aliases === before.aliases;
    const isKnown = (host: string): boolean =>
      this.#files.has(host) === this.#desired.hosts.has(host);
    if (isSame && [...changed].every(isKnown)) return false;
    const { aliases, problems } = aliasesOf(parts);
    this.#aliasProblems = problems;
    if (isSame && isSameMap(aliases, this.#desired.aliases)) return false;
    this.#links = new Links((name) => aliases.get(name) ?? name);
    this.#desired = { ...this.#desired, aliases };
    return true;
  }

  #names(): string[] {
    const { topology } = this.#parts;
    const before = this.#desired.hosts;
    return [...before.keys(), ...this.#files.keys(), ...(topology?.hosts.keys() ?? [])];
  }

  /** Returns those that changed (F2). */
  #rebuild(names: ReadonlySet<string>): string[] {
    const hosts = new Map(this.#desired.hosts);
    const changed: string[] = [];
    for (const name of names) {
      const before = hosts.get(name);
      const now = this.#host(name);
      if (now === undefined ? before === undefined : before && isSameHost(before, now)) continue;
      changed.push(name);
      if (now === undefined) hosts.delete(name);
      else hosts.set(name, now);
    }
    if (changed.length > 0) this.#desired = { ...this.#desired, hosts };
    return changed.sort();
  }

  #host(name: string): DesiredHost | undefined {
    const file = this.#files.get(name);
    const listed = this.#parts.topology?.hosts.get(name);
    if (file === undefined && listed === undefined) return undefined;
    const services = new Map<string, DesiredService>();
    for (const { name: service, monitored, critical, needs } of file?.services.values() ?? []) {
      const dependsOn = needs.length === 0 ? [] : this.#links.dependsOn(`${name}/${service}`);
      services.set(service, { name: service, monitored, critical, dependsOn });
    }
    return { name, services, ...flagsOf(file, listed) };
  }

  #redirect(targets: ReadonlySet<string>, isNew: boolean): void {
    if (targets.size === 0 && !isNew) return;
    const dependants = new Map(isNew ? [] : this.#desired.dependants);
    for (const target of targets) {
      const keys = this.#links.dependantsOf(target);
      if (keys.length > 0) dependants.set(target, keys);
      else dependants.delete(target);
    }
    this.#desired = { ...this.#desired, dependants };
  }
}

/** The host's own file beats the topology. */
const flagsOf = (
  file: HostFile | undefined,
  listed: TopologyHost | undefined,
): Pick<DesiredHost, 'monitored' | 'critical'> => ({
  monitored: file?.monitored ?? listed?.monitored ?? true,
  critical: file?.critical ?? listed?.critical ?? true,
});

/** F3. A host's own name is no alias of another one. */
function aliasesOf({ topology, hosts, aliases }: InventoryParts): {
  aliases: Map<string, string>;
  problems: InventoryProblem[];
} {
  const known = (name: string): boolean => hosts.has(name) || topology?.hosts.has(name) === true;
  const given = new Map<string, string>();
  const problems: InventoryProblem[] = [];
  const problem = (file: string, pointer: string, message: string, fix: string): void =>
    void problems.push({ file, pointer, message, fix });
  const takenTwice = new Set<string>();
  for (const [host, { aliases: names }] of topology?.hosts ?? [])
    for (const { text, pointer } of names) {
      const other = given.get(text);
      if (!isHostName(text))
        problem(
          TOPOLOGY_FILE,
          pointer,
          `'${shown(text)}' cannot be a name`,
          'Use a short text without a /.',
        );
      else if (known(text) && text !== host)
        problem(
          TOPOLOGY_FILE,
          pointer,
          `'${text}' is the name of a host`,
          'Take it out of aliases.',
        );
      else if (other !== undefined && other !== host && !aliases.has(text)) {
        takenTwice.add(text);
        problem(
          TOPOLOGY_FILE,
          pointer,
          `'${text}' is an alias of several hosts, so that it is one of none`,
          'Leave it with one of them.',
        );
      } else if (text !== host) given.set(text, host);
    }
  for (const name of takenTwice) given.delete(name);
  for (const [name, host] of aliases) {
    if (known(name) && name !== host)
      problem(ALIASES_FROM, '', `'${shown(name)}' is the name of a host`, 'Take it out.');
    else if (name !== host) given.set(name, host);
    if (!known(host))
      problem(
        ALIASES_FROM,
        '',
        `'${shown(host)}' is no host of the inventory`,
        'Name one that is.',
      );
  }
  return { aliases: given, problems };
}

const shown = (name: string): string => plainText(name, 60);

const isSameMap = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean =>
  a.size === b.size && [...a].every(([name, host]) => b.get(name) === host);

function isSameHost(a: DesiredHost, b: DesiredHost): boolean {
  if (a.monitored !== b.monitored || a.critical !== b.critical) return false;
  if (a.services.size !== b.services.size) return false;
  for (const [name, service] of a.services) {
    const other = b.services.get(name);
    if (other === undefined || !isSameService(service, other)) return false;
  }
  return true;
}

const isSameService = (a: DesiredService, b: DesiredService): boolean =>
  a.monitored === b.monitored &&
  a.critical === b.critical &&
  a.dependsOn.length === b.dependsOn.length &&
  a.dependsOn.every((key, i) => key === b.dependsOn[i]);

function byPlace(a: InventoryProblem, b: InventoryProblem): number {
  const order = (x: string, y: string): number => (x < y ? -1 : x > y ? 1 : 0);
  return order(a.file, b.file) || order(a.pointer, b.pointer) || order(a.message, b.message);
}

/**
 * Who depends on whom. A name in `depends_on` is a service of the same host, else `<host>/<service>`, else the only service of
 * that name in the fleet. What a changed file means is found out from it and from those whose names it has or had.
 *
 * L1 The same files give the same links, in whatever order they came and however they came to be as they are.
 * L2 Things that depend on one another in a circle would wait for one another for ever: no link of a circle counts, and
 *    each circle is a problem.
 */
import { circlesFrom } from './circles.ts';
import { hostFilePath } from './desired.ts';
import type { HostFile, InventoryProblem, Need, ServiceEntry } from './desired.ts';

type Keys = readonly string[];
const NONE: Keys = [];

export class Links {
  readonly #hostCalled: (name: string) => string;
  readonly #files = new Map<string, HostFile>();
  /** By a service's name, the hosts that have one of that name. */
  readonly #owners = new Map<string, Set<string>>();
  /** By the name or the key of a service, the hosts with a file whose links it may change that there is one. */
  readonly #askers = new Map<string, Set<string>>();
  /** By key, what it depends on, circles and all. Sorted. */
  readonly #needs = new Map<string, Keys>();
  /** By key, the circle that it is in: one list for all of its members. */
  readonly #circles = new Map<string, Keys>();
  readonly #dependants = new Map<string, Set<string>>();
  readonly #counted = new Map<string, Keys>();
  readonly #problems = new Map<string, InventoryProblem[]>();
  readonly #unsettled = new Set<string>();
  readonly #gone = new Set<string>();
  /** Of `#askers`, those of services that came or went. */
  readonly #cameOrWent = new Set<string>();

  /** `hostCalled`: a host's own name, of any that it has. */
  constructor(hostCalled: (name: string) => string) {
    this.#hostCalled = hostCalled;
  }

  /** Takes a host's file, or (undefined) that there is none; `settle` has to follow. */
  put(host: string, file: HostFile | undefined): void {
    const before = this.#files.get(host);
    for (const name of before?.services.keys() ?? []) {
      if (file?.services.has(name) === true) continue;
      removeFrom(this.#owners, name, host);
      this.#gone.add(`${host}/${name}`);
      this.#noteNews(host, name);
    }
    for (const name of file?.services.keys() ?? []) {
      if (before?.services.has(name) === true) continue;
      setIn(this.#owners, name).add(host);
      this.#noteNews(host, name);
    }
    for (const name of this.#asked(before)) removeFrom(this.#askers, name, host);
    for (const name of this.#asked(file)) setIn(this.#askers, name).add(host);
    if (file === undefined) this.#files.delete(host);
    else this.#files.set(host, file);
    this.#unsettled.add(host);
  }

  /** Who asks later is looked at anyway. */
  #noteNews(host: string, name: string): void {
    if (this.#askers.size === 0) return;
    for (const asked of [name, `${host}/${name}`])
      if (this.#askers.has(asked)) this.#cameOrWent.add(asked);
  }

  /** Returns the hosts of which a service may depend on others than before, and the targets that have other dependants. */
  settle(): { hosts: Set<string>; targets: Set<string> } {
    const hosts = new Set(this.#unsettled);
    for (const name of this.#cameOrWent)
      for (const host of this.#askers.get(name) ?? []) hosts.add(host);
    const changed = new Set(this.#gone);
    for (const key of this.#gone) this.#needs.delete(key);
    for (const host of hosts) this.#resolve(host, changed);
    const touched = this.#closeCircles(changed);
    for (const key of touched) hosts.add(hostOf(key));
    const targets = this.#count(new Set([...changed, ...touched]));
    this.#gone.clear();
    this.#cameOrWent.clear();
    this.#unsettled.clear();
    return { hosts, targets };
  }

  /** What counts (L2). Sorted. */
  dependsOn(key: string): Keys {
    return this.#counted.get(key) ?? NONE;
  }

  /** Sorted. */
  dependantsOf(key: string): string[] {
    return [...(this.#dependants.get(key) ?? [])].sort();
  }

  problems(): InventoryProblem[] {
    const circles = [...this.#circles].filter(([key, members]) => members[0] === key);
    return [
      ...[...this.#problems.values()].flat(),
      ...circles.map(([key, members]) => this.#circleProblem(key, members)),
    ];
  }

  #resolve(host: string, changed: Set<string>): void {
    const problems: InventoryProblem[] = [];
    for (const service of this.#files.get(host)?.services.values() ?? []) {
      const key = `${host}/${service.name}`;
      const needs = this.#needsOf(host, service, problems);
      if (needs.length === 0 && !this.#needs.has(key)) continue;
      if (!sameKeys(needs, this.#needs.get(key) ?? NONE)) changed.add(key);
      if (needs.length > 0) this.#needs.set(key, needs);
      else this.#needs.delete(key);
    }
    if (problems.length > 0) this.#problems.set(host, problems);
    else this.#problems.delete(host);
  }

  #needsOf(host: string, { needs }: ServiceEntry, problems: InventoryProblem[]): Keys {
    if (needs.length === 0) return NONE;
    const keys = new Set<string>();
    for (const need of needs) {
      const found = this.#find(host, need.text);
      if (typeof found === 'string') keys.add(found);
      else problems.push(problemOf(host, need, found));
    }
    return [...keys].sort();
  }

  /** What decides about a file's links, but for the file itself. */
  #asked(file: HostFile | undefined): Set<string> {
    const asked = new Set<string>();
    if (file === undefined) return asked;
    for (const { needs } of file.services.values())
      for (const { text } of needs) {
        if (file.services.has(text)) continue;
        const slash = text.indexOf('/');
        asked.add(text);
        if (slash > 0) asked.add(`${this.#hostCalled(text.slice(0, slash))}${text.slice(slash)}`);
      }
    return asked;
  }

  /** A key, or the hosts among which nobody can say: none, or several. */
  #find(host: string, text: string): string | string[] {
    if (this.#files.get(host)?.services.has(text) === true) return `${host}/${text}`;
    const slash = text.indexOf('/');
    if (slash > 0) {
      const other = this.#hostCalled(text.slice(0, slash));
      const name = text.slice(slash + 1);
      if (this.#files.get(other)?.services.has(name) === true) return `${other}/${name}`;
    }
    const owners = [...(this.#owners.get(text) ?? [])].sort();
    return owners.length === 1 ? `${owners[0]}/${text}` : owners;
  }

  /** L2. Looks only at what can be reached from what changed; returns those whose circle is another one now. */
  #closeCircles(changed: ReadonlySet<string>): Set<string> {
    const roots = new Set(changed);
    for (const key of changed) for (const member of this.#circles.get(key) ?? []) roots.add(member);
    const touched = new Set<string>();
    for (const key of roots) if (this.#circles.delete(key)) touched.add(key);
    const needsOf = (key: string): Keys => this.#needs.get(key) ?? NONE;
    for (const members of circlesFrom(roots, needsOf)) {
      if (sameKeys(members, this.#circles.get(members[0] ?? '') ?? NONE)) continue;
      for (const key of members) {
        touched.add(key);
        this.#circles.set(key, members);
      }
    }
    return touched;
  }

  #count(keys: ReadonlySet<string>): Set<string> {
    const targets = new Set<string>();
    for (const key of keys) {
      const circle = this.#circles.get(key);
      const needs = this.#needs.get(key) ?? NONE;
      const isLink = (need: string): boolean => this.#circles.get(need) !== circle;
      const now = circle === undefined ? needs : needs.filter(isLink);
      const before = this.#counted.get(key) ?? NONE;
      if (sameKeys(now, before)) continue;
      for (const need of before) removeFrom(this.#dependants, need, key);
      for (const need of now) setIn(this.#dependants, need).add(key);
      for (const need of [...before, ...now]) targets.add(need);
      if (now.length > 0) this.#counted.set(key, now);
      else this.#counted.delete(key);
    }
    return targets;
  }

  #circleProblem(key: string, members: Keys): InventoryProblem {
    const host = hostOf(key);
    const service = this.#files.get(host)?.services.get(key.slice(host.length + 1));
    const need = service?.needs.find(({ text }) => {
      const found = this.#find(host, text);
      return typeof found === 'string' && members.includes(found);
    });
    const names =
      members.length === 1
        ? `${key} depends on itself`
        : `${listed(members)} depend on one another`;
    return {
      file: hostFilePath(host),
      pointer: need?.pointer ?? '',
      message: `${names}: none of these links counts`,
      fix: 'Take one of them out of depends_on.',
    };
  }
}

function problemOf(host: string, { text, pointer }: Need, owners: Keys): InventoryProblem {
  const isUnknown = owners.length === 0;
  const hosts = listed(owners);
  return {
    file: hostFilePath(host),
    pointer,
    message: isUnknown
      ? `'${text}' is no service of ${host}, nor of any other host`
      : `'${text}' is a service of several hosts (${hosts})`,
    fix: isUnknown
      ? 'Name a service as its own file does, or as <host>/<service>.'
      : `Say which: ${owners[0]}/${text}, for example.`,
  };
}

const listed = (names: Keys): string =>
  names.length <= 5
    ? names.join(', ')
    : `${names.slice(0, 5).join(', ')} and ${names.length - 5} more`;

const hostOf = (key: string): string => key.slice(0, key.indexOf('/'));

const sameKeys = (a: Keys, b: Keys): boolean =>
  a === b || (a.length === b.length && a.every((key, i) => key === b[i]));

function setIn(map: Map<string, Set<string>>, key: string): Set<string> {
  let found = map.get(key);
  if (found === undefined) map.set(key, (found = new Set()));
  return found;
}

function removeFrom(map: Map<string, Set<string>>, key: string, member: string): void {
  const found = map.get(key);
  if (found?.delete(member) === true && found.size === 0) map.delete(key);
}

/**
 * What is known of every host, as of the last commit, in the form of the world's files: kept by host, so that an event costs
 * in proportion to its host and not to all of them.
 *
 * V1 What is known of a host under a name that has become another's alias is shown until the same is known under the new one:
 *    nobody will speak of it under the old one again, so it would stand for ever.
 * V2 One key stands once: two hosts may have incidents, or deployments, of one id (`pi` with `hole-dns`, `pi-hole` with `dns`).
 */
import { setImmediate as turn } from 'node:timers/promises';
import { OBSERVER, observedAddress } from '../../machines/addresses.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { HostRecord } from '../../machines/observed-host.ts';
import { compareText } from '../../machines/observed-timeline.ts';
import { worldOf } from '../../machines/observed-world.ts';
import type { WorldEntries } from '../../machines/observed-world.ts';
import type { ActorSystem, CommittedRecord } from '../system.ts';
import { carriedLines, NOTHING_CARRIED } from './carried-world.ts';
import type { CarriedWorld } from './carried-world.ts';
import { EMPTY_WORLD } from './world-writer.ts';
import type { WorldName, WorldTexts } from './world-writer.ts';

type Lines = [key: string, entry: object][];

interface Shown {
  host: string;
  entries: WorldEntries;
  /** As text, in the order of the entries; but for deployments, which are few. */
  lines: { node: string; services: string[]; incidents: string[] };
  /** Names of its services. */
  names: ReadonlySet<string>;
  counts: { known: number; late: number; beyond: number };
  madeAt: number;
}

/** Records made into text in one turn of the event loop. */
const SLICE = 25;
/** After so long something may be over by time alone, ms. */
const STALE_MS = 300_000;

/** The name under which a host is known now; null: it is not shown. */
export type NameOf = (host: string) => string | null;

export class WorldView {
  readonly #system: ActorSystem;
  readonly #hosts = new Map<string, Shown>();
  readonly #dirty = new Set<string>();
  #carried: CarriedWorld = NOTHING_CARRIED;
  #isChanged = true;

  constructor(system: ActorSystem) {
    this.#system = system;
    system.on('committed', this.#committed);
  }

  close(): void {
    this.#system.off('committed', this.#committed);
  }

  /** Those of earlier lives. */
  know(addresses: readonly string[]): void {
    for (const address of addresses) this.#dirty.add(address);
  }

  get hosts(): number {
    return this.#hosts.size;
  }

  /** The first so many that are not shown. */
  notShown(nameOf: NameOf, most: number): string[] {
    const names = [...this.#hosts.values()].map(({ host }) => host);
    return names.filter((host) => nameOf(host) === null).slice(0, most);
  }

  counts(): Shown['counts'] {
    const sum = { known: 0, late: 0, beyond: 0 };
    for (const { counts } of this.#hosts.values()) {
      sum.known += counts.known;
      sum.late += counts.late;
      sum.beyond += counts.beyond;
    }
    return sum;
  }

  /** Undefined: nothing changed since the last call. `now`: epoch ms. */
  async texts(now: number, nameOf: NameOf): Promise<WorldTexts | undefined> {
    await this.#refresh(now);
    if (!this.#isChanged) return undefined;
    this.#isChanged = false;
    const shown = [...this.#hosts.values()].filter(({ host }) => nameOf(host) !== null);
    shown.sort((a, b) => compareText(a.host, b.host));
    const lines = linesOf(shown, (host, service) => this.#isOutdated(nameOf, host, service));
    const isKnown = (host: string, service: string | null): boolean =>
      this.#isKnown(host, service) || this.#isOutdated(nameOf, host, service);
    const belongs = (host: string): boolean => nameOf(host) !== null;
    const carried = (name: WorldName): string[] =>
      carriedLines(this.#carried[name], isKnown, belongs).map(line);
    return {
      nodes: joined([...lines.nodes, ...carried('nodes')]),
      services: joined([...lines.services, ...carried('services')]),
      incidents: joined([...lines.incidents, ...carried('incidents')]),
      deployments: joined([...lines.deployments, ...carried('deployments')]),
    };
  }

  /** What others knew, in place of what was carried before. */
  carry(carried: CarriedWorld): void {
    this.#carried = carried;
    this.#isChanged = true;
  }

  #isKnown(host: string, service: string | null): boolean {
    const known = this.#hosts.get(observedAddress(host));
    return known !== undefined && (service === null || known.names.has(service));
  }

  /** V1. */
  #isOutdated(nameOf: NameOf, host: string, service: string | null): boolean {
    const name = nameOf(host) ?? host;
    return name !== host && this.#isKnown(name, service);
  }

  /** The next call of `texts` makes them, whatever changed. */
  change(): void {
    this.#isChanged = true;
  }

  async #refresh(now: number): Promise<void> {
    for (const [address, { madeAt }] of this.#hosts)
      if (madeAt < now - STALE_MS) this.#dirty.add(address);
    let done = 0;
    for (const address of this.#dirty) {
      this.#dirty.delete(address);
      this.#make(address, now);
      done += 1;
      if (done % SLICE === 0) await turn();
    }
  }

  #make(address: string, now: number): void {
    const record = recordAt(this.#system, address);
    if (record === undefined) return; // held: what was known of it stays
    this.#hosts.set(address, shownOf(record, now));
    this.#isChanged = true;
  }

  readonly #committed = ({ address, event }: CommittedRecord): void => {
    if (!address.startsWith(`${OBSERVER}/`)) return;
    if (event.type !== 'actor.stopped') return void this.#dirty.add(address);
    this.#dirty.delete(address);
    if (this.#hosts.delete(address)) this.#isChanged = true;
  };
}

/** Undefined: there is none, or it is held. */
function recordAt(system: ActorSystem, address: string): HostRecord | undefined {
  try {
    return system.read(address).snapshot.context as HostRecord;
  } catch (error) {
    if (error instanceof RuntimeError) return undefined;
    throw error;
  }
}

function shownOf(record: HostRecord, now: number): Shown {
  const { host, known, late, beyond } = record;
  const entries = worldOf(record, now);
  const { services } = entries;
  return {
    host,
    entries,
    lines: linesOfHost(host, entries),
    names: new Set(services.map(({ service }) => service)),
    counts: { known, late, beyond },
    madeAt: now,
  };
}

const linesOfHost = (
  host: string,
  { node, services, incidents }: WorldEntries,
): Shown['lines'] => ({
  node: line([host, node]),
  services: services.map((entry) => line([`${host}/${entry.service}`, entry])),
  incidents: incidents.map((entry) => line([entry.id, entry])),
});

/** `isOutdated`: what is known better under another name (V1). */
function linesOf(
  shown: readonly Shown[],
  isOutdated: (host: string, service: string | null) => boolean,
): Record<WorldName, string[]> {
  const all: Record<WorldName, string[]> = {
    nodes: [],
    services: [],
    incidents: [],
    deployments: [],
  };
  const incidentIds = new Set<string>();
  const deploymentIds = new Set<string>();
  for (const { host, entries: own, lines: ownLines } of shown) {
    const entries = withFreeIds(host, own, incidentIds);
    const lines = entries === own ? ownLines : linesOfHost(host, entries);
    const { services, incidents, deployments } = entries;
    const isShown = (service: string): boolean =>
      !isOutdated(host, service === host ? null : service);
    if (!isOutdated(host, null)) all.nodes.push(lines.node);
    all.services.push(...lines.services.filter((_, i) => isShown(services[i]?.service ?? host)));
    all.incidents.push(...lines.incidents.filter((_, i) => isShown(incidents[i]?.service ?? host)));
    for (const entry of deployments)
      all.deployments.push(line([freeId(entry.correlation_id, host, deploymentIds), entry]));
  }
  return all;
}

/** V2. The same entries when none is taken. */
function withFreeIds(host: string, entries: WorldEntries, taken: Set<string>): WorldEntries {
  const renamed = new Map<string, string>();
  for (const { id } of entries.incidents) {
    const free = freeId(id, host, taken);
    if (free !== id) renamed.set(id, free);
  }
  if (renamed.size === 0) return entries;
  const nameOf = (id: string): string => renamed.get(id) ?? id;
  const { node, services, incidents, deployments } = entries;
  const named = <T extends { active_incidents: string[] }>(entry: T): T => ({
    ...entry,
    active_incidents: entry.active_incidents.map(nameOf),
  });
  return {
    node: named(node),
    services: services.map(named),
    incidents: incidents.map((entry) => ({ ...entry, id: nameOf(entry.id) })),
    deployments,
  };
}

function freeId(id: string, host: string, taken: Set<string>): string {
  const free = taken.has(id) ? `${id}@${host}` : id;
  taken.add(free);
  return free;
}

const line = ([key, entry]: Lines[number]): string =>
  `${JSON.stringify(key)}: ${JSON.stringify(entry)}`;

/** An entry a line: people look at these files too. */
const joined = (lines: readonly string[]): string =>
  lines.length === 0 ? EMPTY_WORLD : `{\n${lines.join(',\n')}\n}\n`;

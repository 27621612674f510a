/**
 * What is known of every host, as of the last commit, in the form of the world's files: kept by host, so that an event costs
 * in proportion to its host and not to all of them.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { OBSERVER, observedAddress } from '../../machines/addresses.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { HostRecord } from '../../machines/observed-host.ts';
import { compareText } from '../../machines/observed-timeline.ts';
import { worldOf } from '../../machines/observed-world.ts';
import type { DeploymentEntry, WorldEntries } from '../../machines/observed-world.ts';
import type { ActorSystem, CommittedRecord } from '../system.ts';
import { carriedLines, NOTHING_CARRIED } from './carried-world.ts';
import type { CarriedWorld } from './carried-world.ts';
import { EMPTY_WORLD } from './world-writer.ts';
import type { WorldName, WorldTexts } from './world-writer.ts';

type Lines = [key: string, entry: object][];

interface Shown {
  host: string;
  /** Texts of lines, but for deployments, whose keys may meet. */
  nodes: string[];
  services: string[];
  incidents: string[];
  deployments: readonly DeploymentEntry[];
  /** Names of its services. */
  names: ReadonlySet<string>;
  counts: { known: number; late: number; beyond: number };
  madeAt: number;
}

/** Records made into text in one turn of the event loop. */
const SLICE = 25;
/** After so long what is over may be forgotten, ms. */
const STALE_MS = 3_600_000;

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

  counts(): Shown['counts'] {
    const sum = { known: 0, late: 0, beyond: 0 };
    for (const { counts } of this.#hosts.values()) {
      sum.known += counts.known;
      sum.late += counts.late;
      sum.beyond += counts.beyond;
    }
    return sum;
  }

  /** Undefined: nothing changed since the last call. `belongs`: which hosts are shown. `now`: epoch ms. */
  async texts(now: number, belongs: (host: string) => boolean): Promise<WorldTexts | undefined> {
    await this.#refresh(now);
    if (!this.#isChanged) return undefined;
    this.#isChanged = false;
    const shown = [...this.#hosts.values()].filter(({ host }) => belongs(host));
    shown.sort((a, b) => compareText(a.host, b.host));
    const carried = (name: WorldName): string[] =>
      carriedLines(this.#carried[name], this.#isKnown, belongs).map(line);
    return {
      nodes: joined([...shown.flatMap(({ nodes }) => nodes), ...carried('nodes')]),
      services: joined([...shown.flatMap(({ services }) => services), ...carried('services')]),
      incidents: joined([...shown.flatMap(({ incidents }) => incidents), ...carried('incidents')]),
      deployments: joined([...deploymentLines(shown), ...carried('deployments')]),
    };
  }

  /** What others knew, in place of what was carried before. */
  carry(carried: CarriedWorld): void {
    this.#carried = carried;
    this.#isChanged = true;
  }

  readonly #isKnown = (host: string, service: string | null): boolean => {
    const known = this.#hosts.get(observedAddress(host));
    return known !== undefined && (service === null || known.names.has(service));
  };

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
  const { node, services, incidents, deployments }: WorldEntries = worldOf(record, now);
  return {
    host,
    nodes: [line([host, node])],
    services: services.map((entry) => line([`${host}/${entry.service}`, entry])),
    incidents: incidents.map((entry) => line([entry.id, entry])),
    deployments,
    names: new Set(services.map(({ service }) => service)),
    counts: { known, late, beyond },
    madeAt: now,
  };
}

/** Two hosts may have deployments of one id. */
function deploymentLines(shown: readonly Shown[]): string[] {
  const taken = new Set<string>();
  return shown.flatMap(({ host, deployments }) =>
    deployments.map((entry) => {
      const { correlation_id: id } = entry;
      const key = taken.has(id) ? `${id}@${host}` : id;
      taken.add(key);
      return line([key, entry]);
    }),
  );
}

const line = ([key, entry]: Lines[number]): string =>
  `${JSON.stringify(key)}: ${JSON.stringify(entry)}`;

/** An entry a line: people look at these files too. */
const joined = (lines: readonly string[]): string =>
  lines.length === 0 ? EMPTY_WORLD : `{\n${lines.join(',\n')}\n}\n`;

/**
 * The homelab itself: what really runs, and what its people wrote into the inventory. A service that depends on one that is
 * down is ill as well, and well again with it. Some are past help: no action mends them.
 */
import { Fleet } from '../../machines/desired-fleet.ts';
import { readHostServices } from '../../machines/desired.ts';
import type { HostFile } from '../../machines/desired.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { Desired } from '../../machines/supervision.ts';
import type { Chance } from './simulated-chance.ts';

export interface RealService {
  name: string;
  key: string;
  state: 'well' | 'ill' | 'gone';
  trigger: string | null;
  isPastHelp: boolean;
  dependsOn: readonly string[];
  /** Epoch ms at which deployments failed, and the last one that went well. */
  failedAt: number[];
  deployedAt: number;
  incident: string | null;
}
export interface RealHost {
  name: string;
  isUp: boolean;
  isFull: boolean;
  isPastHelp: boolean;
  /** Whether others hear of it; `denied`: they believe that it is gone. */
  reach: 'seen' | 'silent' | 'denied';
  services: Map<string, RealService>;
}

export class SimulatedFleet {
  readonly hosts = new Map<string, RealHost>();
  /** What the inventory says of each host. */
  readonly inventory = new Map<string, HostFile>();
  readonly aliases: ReadonlyMap<string, string>;
  readonly #contents = new Map<string, { monitor?: boolean; services: JsonObject[] }>();
  readonly #fleet = new Fleet();
  #desired: Desired | undefined;

  constructor(chance: Chance, { hosts, services }: { hosts: number; services: number }) {
    const aliases: [string, string][] = [];
    const keys: string[] = [];
    for (let nth = 0; nth < hosts; nth += 1) {
      const name = `h${nth}`;
      if (chance.is(0.2)) aliases.push([`${name}.lan`, name]);
      const host = newHost(name);
      const entries: JsonObject[] = [];
      for (let i = chance.between(0, services); i > 0; i -= 1) {
        const service = newService(name, `s${i}`, dependencies(chance, keys));
        host.services.set(service.name, service);
        entries.push(entryOf(service, chance));
        keys.push(service.key);
      }
      this.hosts.set(name, host);
      this.write(name, { services: entries });
    }
    this.aliases = new Map(aliases);
  }

  get desired(): Desired {
    this.#desired ??= this.#fleet.update({
      topology: null,
      hosts: this.inventory,
      aliases: this.aliases,
    }).desired;
    return this.#desired;
  }

  /** Null: the host's file is removed. */
  write(host: string, content: { monitor?: boolean; services: JsonObject[] } | null): void {
    this.#desired = undefined;
    if (content === null) {
      this.inventory.delete(host);
      return;
    }
    const read = readHostServices(host, content);
    if (!read.ok) throw new Error(JSON.stringify(read.problems));
    this.#contents.set(host, content);
    this.inventory.set(host, read.host);
  }

  /** As it was written last, also when it was removed since. */
  contentOf(host: string): { monitor?: boolean; services: JsonObject[] } {
    return this.#contents.get(host) ?? { services: [] };
  }

  service(key: string): RealService | undefined {
    const [host = '', name = ''] = key.split('/');
    return this.hosts.get(host)?.services.get(name);
  }

  *services(): Generator<{ host: RealHost; service: RealService }> {
    for (const host of this.hosts.values())
      for (const service of host.services.values()) yield { host, service };
  }

  /** Whether it does its work. No service depends on one that comes after it. */
  isWell(key: string): boolean {
    const service = this.service(key);
    const host = this.hosts.get(key.split('/')[0] ?? '');
    return host?.isUp === true && service?.state === 'well' && this.#canWork(service);
  }
  #canWork({ dependsOn }: RealService): boolean {
    return dependsOn.every((key) => this.service(key) === undefined || this.isWell(key));
  }

  /** Whether a target is as it should be: nothing of it should drift. */
  isInOrder(key: string, failures: number): boolean {
    if (!key.includes('/')) {
      const host = this.hosts.get(key);
      return host !== undefined && host.isUp && !host.isFull;
    }
    const service = this.service(key);
    const isDeployable = (service?.failedAt.length ?? 0) < failures;
    return this.isWell(key) && isDeployable && service?.incident === null;
  }

  /** An action has run. Returns why it failed; null: it ran, whether it helped or not. */
  remedy(
    type: string,
    { host: name, service: which }: { host: string; service: string },
  ): string | null {
    const host = this.hosts.get(name);
    if (host?.isUp !== true) return `${name} does not answer`;
    if (type === 'disk_cleanup') {
      if (!host.isPastHelp) host.isFull = false;
      return null;
    }
    const service = host.services.get(which);
    if (service === undefined) return `there is no ${which}`;
    if (type === 'container_restart' && service.state === 'gone') return 'no such container';
    if (!service.isPastHelp) mend(service);
    return null;
  }

  repair(at: number): void {
    for (const host of this.hosts.values()) {
      Object.assign(host, { isUp: true, isFull: false, isPastHelp: false, reach: 'seen' });
      for (const service of host.services.values()) {
        mend(service);
        Object.assign(service, { failedAt: [], deployedAt: at, incident: null, isPastHelp: false });
      }
    }
  }
}

const mend = (service: RealService): void =>
  void Object.assign(service, { state: 'well', trigger: null });

const newHost = (name: string): RealHost => ({
  name,
  isUp: true,
  isFull: false,
  isPastHelp: false,
  reach: 'seen',
  services: new Map(),
});

export const newService = (
  host: string,
  name: string,
  dependsOn: readonly string[],
): RealService => ({
  name,
  key: `${host}/${name}`,
  state: 'well',
  trigger: null,
  isPastHelp: false,
  dependsOn,
  failedAt: [],
  deployedAt: 0,
  incident: null,
});

function dependencies(chance: Chance, keys: readonly string[]): string[] {
  const found = new Set<string>();
  while (keys.length > 0 && chance.is(0.25)) found.add(chance.pick(keys));
  return [...found];
}

const entryOf = ({ name, dependsOn }: RealService, chance: Chance): JsonObject => ({
  name,
  depends_on: [...dependsOn],
  critical: chance.is(0.3),
  ...(chance.is(0.1) && { monitor: false }),
});

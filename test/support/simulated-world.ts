/**
 * The world's files as an observer writes them from what it sees: one that looks at everything by itself, or the project's own,
 * which folds events. What it cannot see it does not know; while it is dead nothing is written, and events wait for it.
 */
import { OBSERVER, observedAddress } from '../../machines/addresses.ts';
import type { JsonObject } from '../../machines/json.ts';
import { asJsonObject } from '../../machines/json.ts';
import type { HostRecord } from '../../machines/observed-host.ts';
import { worldOf } from '../../machines/observed-world.ts';
import { isoFromEpoch } from '../../machines/time.ts';
import type { WorldContents } from '../../machines/world.ts';
import type { Chance } from './simulated-chance.ts';
import type { RealHost, RealService, SimulatedFleet } from './simulated-fleet.ts';
import type { SimulatedKernel } from './simulated-kernel.ts';

type Files = {
  nodes: JsonObject;
  services: JsonObject;
  deployments: JsonObject;
  incidents: JsonObject;
};

export interface Observer {
  isDead: boolean;
  /** It looks, and writes what it knows. Null: it is dead. */
  write(): WorldContents | null;
}

const filesAt = (files: Files, mtimeMs: number): WorldContents =>
  Object.fromEntries(Object.entries(files).map(([name, content]) => [name, { content, mtimeMs }]));

/** Looks at each host that it can reach. */
export class PlainObserver implements Observer {
  isDead = false;
  readonly #fleet: SimulatedFleet;
  readonly #now: () => number;
  readonly #seen = new Map<string, Files>();

  constructor(fleet: SimulatedFleet, now: () => number) {
    this.#fleet = fleet;
    this.#now = now;
  }

  write(): WorldContents | null {
    if (this.isDead) return null;
    const files: Files = { nodes: {}, services: {}, deployments: {}, incidents: {} };
    for (const host of this.#fleet.hosts.values()) {
      const seen = this.#look(host);
      for (const [name, entries] of Object.entries(seen))
        Object.assign(files[name as keyof Files], entries);
    }
    return filesAt(files, this.#now());
  }

  #look(host: RealHost): Files {
    const known = this.#seen.get(host.name) ?? {
      nodes: {},
      services: {},
      deployments: {},
      incidents: {},
    };
    if (host.reach === 'silent') return known;
    const isThere = host.isUp && host.reach === 'seen';
    const seen = isThere ? this.#of(host) : { ...known, nodes: this.#node(host, false) };
    this.#seen.set(host.name, seen);
    return seen;
  }

  #node(host: RealHost, isThere: boolean): JsonObject {
    const status = isThere ? 'online' : 'offline';
    const disk = isThere && host.isFull ? 'high' : 'normal';
    const entry = { status, checked_at: this.#now() / 1000, disk_pressure: disk };
    return { [this.#nameOf(host)]: entry };
  }

  /** Some are seen under another name than the inventory's. */
  #nameOf({ name }: RealHost): string {
    return this.#fleet.aliases.has(`${name}.lan`) ? `${name}.lan` : name;
  }

  #of(host: RealHost): Files {
    const files: Files = {
      nodes: this.#node(host, true),
      services: {},
      deployments: {},
      incidents: {},
    };
    for (const service of host.services.values()) this.#service(files, this.#nameOf(host), service);
    return files;
  }

  #service(files: Files, node: string, service: RealService): void {
    const { name, key, state, trigger, failedAt, deployedAt, incident } = service;
    if (state !== 'gone')
      files.services[`${node}/${name}`] = {
        status: this.#fleet.isWell(key) ? 'healthy' : 'unhealthy',
        checked_at: this.#now() / 1000,
        ...(trigger !== null && { trigger }),
      };
    if (deployedAt > 0)
      files.deployments[`${key}@well`] = {
        node,
        service: name,
        status: 'completed',
        completed_at: deployedAt / 1000,
      };
    for (const at of failedAt)
      files.deployments[`${key}@${at}`] = {
        node,
        service: name,
        status: 'failed',
        completed_at: at / 1000,
      };
    if (incident !== null)
      files.incidents[incident] = { node, service: name, type: 'odd_noise', status: 'active' };
  }
}

/** Hears events, more than once and in any order, from hosts that it can hear. */
export class OwnObserver implements Observer {
  isDead = false;
  readonly #fleet: SimulatedFleet;
  readonly #kernel: SimulatedKernel;
  readonly #chance: Chance;
  /** By what it is about, what was said of it last. */
  readonly #said = new Map<string, string>();
  #waiting: JsonObject[] = [];
  #count = 0;

  constructor(fleet: SimulatedFleet, kernel: SimulatedKernel, chance: Chance) {
    this.#fleet = fleet;
    this.#kernel = kernel;
    this.#chance = chance;
    const aliases = Object.fromEntries(fleet.aliases);
    kernel.spawn(OBSERVER, 'observer', { generation: '1', aliases });
  }

  write(): WorldContents | null {
    for (const host of this.#fleet.hosts.values()) this.#listen(host);
    if (this.isDead || this.#kernel.isDown) return null;
    const waiting = this.#chance.shuffled(this.#waiting);
    this.#waiting = [];
    for (const event of waiting) this.#hear(event);
    return this.#files();
  }

  #hear(event: JsonObject): void {
    const channel = 'health_events';
    const { host = '', service = '' } = event['data'] as JsonObject;
    const told = { type: 'homelab.event', channel, host, service, event };
    for (let times = this.#chance.is(0.05) ? 2 : 1; times > 0; times -= 1)
      this.#kernel.send(OBSERVER, told);
  }

  /** What the host says of itself, or others of it. */
  #listen(host: RealHost): void {
    if (host.reach === 'silent') return;
    const isThere = host.isUp && host.reach === 'seen';
    if (!isThere) return this.#sayOnce(host.name, host, host.name, 'node_offline');
    const isBack = this.#said.get(host.name) !== 'node_online';
    this.#said.set(host.name, 'node_online');
    this.#say(host, host.name, 'node_online');
    for (const { key } of host.services.values())
      if (isBack || this.#chance.is(0.2)) this.#said.delete(key); // what was said is said again now and then
    const disk = host.isFull ? 'disk_pressure_high' : 'disk_pressure_normal';
    this.#sayOnce(`${host.name} disk`, host, host.name, disk);
    for (const service of host.services.values()) this.#hearService(host, service);
  }

  #hearService(host: RealHost, { key, name, trigger, failedAt, deployedAt }: RealService): void {
    for (const at of failedAt)
      this.#sayOnce(`${key}@${at}`, host, name, 'deployment_failed', `${key}@${at}`, at);
    if (deployedAt > 0)
      this.#sayOnce(
        `${key}+${deployedAt}`,
        host,
        name,
        'deployment_completed',
        `${key}+`,
        deployedAt,
      );
    const ill = trigger ?? 'service_unhealthy';
    this.#sayOnce(key, host, name, this.#fleet.isWell(key) ? 'service_healthy' : ill);
  }

  #sayOnce(
    about: string,
    host: RealHost,
    service: string,
    type: string,
    deployment?: string,
    at?: number,
  ) {
    if (this.#said.get(about) === type) return;
    this.#said.set(about, type);
    this.#say(host, service, type, deployment, at);
  }

  #say(
    { name: host }: RealHost,
    service: string,
    type: string,
    deployment?: string,
    at?: number,
  ): void {
    this.#count += 1;
    this.#waiting.push({
      id: `evt-${this.#count}`,
      type,
      at: isoFromEpoch(at ?? this.#kernel.clock.at),
      source: 'health-agent',
      data: asJsonObject({
        host,
        service,
        severity: 'info',
        payload: {},
        channel: 'health_events',
        ...(deployment !== undefined && { correlation_id: deployment }),
      }),
    });
  }

  #files(): WorldContents {
    const now = this.#kernel.clock.at;
    const files: Files = { nodes: {}, services: {}, deployments: {}, incidents: {} };
    for (const { name } of this.#fleet.hosts.values()) {
      const record = this.#kernel.actors.get(observedAddress(name));
      if (record === undefined) continue;
      const world = worldOf(record.driver.snapshot.context as HostRecord, now);
      files.nodes[name] = asJsonObject(world.node);
      for (const one of world.services)
        files.services[`${name}/${one.service}`] = asJsonObject(one);
      for (const one of world.deployments)
        files.deployments[one.correlation_id] = asJsonObject(one);
      for (const one of world.incidents) files.incidents[one.id] = asJsonObject(one);
    }
    return filesAt(files, now);
  }
}

/** What goes wrong in a homelab, each kind by a chance of its own, and how it goes right again, or does not. */
import { SUPERVISOR } from '../../machines/addresses.ts';
import { autonomyClass } from '../../machines/supervision.ts';
import type { Chance } from './simulated-chance.ts';
import { newService } from './simulated-fleet.ts';
import type { RealHost, RealService } from './simulated-fleet.ts';
import { policyOf } from './simulated-policy.ts';
import type { SimulatedHomelab } from './simulated-homelab.ts';

/** How often an hour, in a small homelab. */
export const FAULTS = {
  service: 14,
  host: 2,
  flapping: 1,
  storm: 0.3,
  partition: 1.5,
  observer: 1,
  truncated: 3,
  deployment: 2,
  disk: 1.5,
  incident: 1,
  inventory: 3,
  people: 40,
  others: 2,
  freeze: 0.7,
  policy: 1,
  kill: 1.5,
  hold: 1.5,
  revoke: 0.5,
} as const;
export type Fault = keyof typeof FAULTS;
export const ALL_FAULTS = Object.keys(FAULTS) as readonly Fault[];

const MINUTE_MS = 60_000;

/** Something goes wrong, now. */
export function strike(lab: SimulatedHomelab, fault: Fault, chance: Chance): void {
  const { fleet, kernel, door, people, observer } = lab;
  const host = chance.any([...fleet.hosts.values()]);
  if (host === undefined) return;
  const service = chance.any([...host.services.values()]);
  const later = (meanMs: number, run: () => void): void => kernel.after(chance.span(meanMs), run);
  switch (fault) {
    case 'service':
      if (service) fail(service, chance);
      return;
    case 'host':
      host.isUp = false;
      if (chance.is(0.9)) later(15 * MINUTE_MS, () => (host.isUp = true));
      return;
    case 'flapping':
      if (service) flap(lab, service, chance, chance.between(3, 12));
      return;
    case 'storm':
      for (const one of fleet.services()) if (chance.is(0.7)) fail(one.service, chance);
      return;
    case 'partition':
      return part(lab, chance);
    case 'observer':
      observer.isDead = true;
      return later(12 * MINUTE_MS, () => (observer.isDead = false));
    case 'truncated':
      door.isTruncated = true;
      return later(2 * MINUTE_MS, () => (door.isTruncated = false));
    case 'deployment':
      service?.failedAt.push(kernel.clock.at);
      return;
    case 'disk':
      host.isFull = true;
      host.isPastHelp = chance.is(0.2);
      return;
    case 'incident':
      if (service && lab.scenario.observer === 'plain')
        service.incident = `inc-${kernel.clock.at}-${service.key.replace('/', '-')}`;
      return;
    case 'inventory':
      return edit(lab, host, chance);
    case 'people':
      return people.lookIn();
    case 'others':
      return people.propose();
    case 'freeze':
      people.freeze(true);
      return later(20 * MINUTE_MS, () => people.freeze(false));
    case 'policy':
      return lab.setPolicy(policyOf(lab.scenario.policy, chance));
    case 'kill':
      return lab.kill(chance.span(2 * MINUTE_MS));
    case 'hold':
      return hold(lab, chance);
    case 'revoke': {
      const of = autonomyClass('redeploy', service?.key ?? host.name);
      const type = chance.is(0.5) ? 'autonomy.revoked' : 'autonomy.cleared';
      return void kernel.send(SUPERVISOR, { type, class: of, by: 'ann' });
    }
    default:
      return fault satisfies never;
  }
}

const TRIGGERS = [null, null, 'containers_not_running', 'mqtt_unreachable'];

function fail(service: RealService, chance: Chance): void {
  service.state = chance.is(0.25) ? 'gone' : 'ill';
  service.trigger = service.state === 'ill' ? chance.pick(TRIGGERS) : null;
  service.isPastHelp = chance.is(0.2);
}

function flap(lab: SimulatedHomelab, service: RealService, chance: Chance, times: number): void {
  if (times === 0 || lab.isCalm) return;
  Object.assign(service, { state: times % 2 === 0 ? 'well' : 'ill', trigger: null });
  lab.kernel.after(chance.span(2 * MINUTE_MS), () => flap(lab, service, chance, times - 1));
}

/** Some hosts are out of sight for a while. */
function part({ fleet, kernel }: SimulatedHomelab, chance: Chance): void {
  const hosts = [...fleet.hosts.values()].filter(() => chance.is(0.4));
  const reach = chance.pick(['silent', 'denied'] as const);
  for (const host of hosts) host.reach = reach;
  kernel.after(chance.span(12 * MINUTE_MS), () => {
    for (const host of hosts) host.reach = 'seen';
  });
}

function edit({ fleet }: SimulatedHomelab, host: RealHost, chance: Chance): void {
  const content = fleet.contentOf(host.name);
  const { services } = content;
  const what = chance.next();
  if (what < 0.35) return fleet.write(host.name, { ...content, services: services.slice(0, -1) });
  if (what < 0.5) return fleet.write(host.name, null);
  if (what < 0.65) return fleet.write(host.name, { services, monitor: chance.is(0.5) });
  if (what < 0.85) {
    const flipped = services.map((one) => ({ ...one, monitor: chance.is(0.8) }));
    return fleet.write(host.name, { ...content, services: flipped });
  }
  const name = `n${chance.between(1, 3)}`;
  if (services.some((one) => one['name'] === name)) return undefined;
  if (!host.services.has(name))
    host.services.set(name, { ...newService(host.name, name, []), state: 'gone' });
  return fleet.write(host.name, { services: [...services, { name }] });
}

/** An actor takes nothing for a while. */
function hold({ kernel }: SimulatedHomelab, chance: Chance): void {
  const actor = chance.any(
    [...kernel.actors.values()].filter(({ machine }) => machine !== 'observer'),
  );
  if (actor === undefined) return;
  kernel.hold(actor.address);
  kernel.after(chance.span(4 * MINUTE_MS), () => kernel.release(actor.address));
}

/**
 * A homelab that lives for some hours in memory, in no time: what runs there fails in all kinds of ways, an observer tells of
 * it, the supervisor's loop looks, people answer; all of it follows from a seed. After every event the invariants hold
 * (simulated-invariants.ts); at the end nothing fails any more, and the loop has to come to rest (simulated-ending.ts).
 */
import type { MoveInput } from '../../machines/action-context.ts';
import type { Policy } from '../../machines/remediation.ts';
import { Chance } from './simulated-chance.ts';
import { SimulatedDoor } from './simulated-door.ts';
import { SimulatedEffects } from './simulated-effects.ts';
import { ALL_FAULTS, FAULTS, strike } from './simulated-faults.ts';
import type { Fault } from './simulated-faults.ts';
import { SimulatedFiles } from './simulated-files.ts';
import { SimulatedFleet } from './simulated-fleet.ts';
import { Invariants } from './simulated-invariants.ts';
import { SimulatedKernel } from './simulated-kernel.ts';
import type { Course, Work } from './simulated-kernel.ts';
import { SimulatedPeople } from './simulated-people.ts';
import { POLICY_KINDS, policyOf } from './simulated-policy.ts';
import type { PolicyKind } from './simulated-policy.ts';
import { OwnObserver, PlainObserver } from './simulated-world.ts';
import type { Observer } from './simulated-world.ts';

export interface Scenario {
  seed: number;
  hosts: number;
  /** Of a host, at most. */
  services: number;
  minutes: number;
  /** How often things go wrong, in times of the usual. */
  pace: number;
  faults: readonly Fault[];
  policy: PolicyKind;
  observer: 'plain' | 'own';
  /** Messages overtake one another, but for those to the same receiver. */
  shuffled: boolean;
}

const MINUTE_MS = 60_000;
const WRITE_EVERY_MS = 30_000;
const LOOK_EVERY_MS = 30_000;
const RESCAN_MS = 20_000;
/** In a large homelab more goes wrong. */
const HOSTS_OF_RATES = 8;

export function scenarioOf(seed: number, size: 'small' | 'large' = 'small'): Scenario {
  const chance = new Chance(seed, 'scenario');
  const isSmall = size === 'small';
  const isAll = chance.is(0.5);
  return {
    seed,
    hosts: isSmall ? chance.between(2, 10) : 200,
    services: isSmall ? chance.between(1, 4) : 3,
    minutes: isSmall ? chance.between(20, 120) : 20,
    pace: isSmall ? chance.pick([1, 1, 2, 4, 8]) : 1,
    faults: ALL_FAULTS.filter(() => isAll || chance.is(0.6)),
    policy: chance.pick(POLICY_KINDS),
    observer: isSmall && chance.is(0.35) ? 'own' : 'plain',
    shuffled: chance.is(0.3),
  };
}

export class SimulatedHomelab {
  readonly scenario: Scenario;
  readonly kernel: SimulatedKernel;
  readonly files: SimulatedFiles;
  readonly fleet: SimulatedFleet;
  readonly door: SimulatedDoor;
  readonly observer: Observer;
  readonly effects: SimulatedEffects;
  readonly people: SimulatedPeople;
  readonly invariants: Invariants;
  isCalm = false;
  #policies = 0;

  constructor(scenario: Scenario) {
    const { seed, policy, observer, shuffled, hosts } = scenario;
    const chance = (name: string): Chance => new Chance(seed, name);
    const kernel = new SimulatedKernel(shuffled ? chance('mail') : null);
    kernel.keepsRecords = hosts <= 20;
    const files = new SimulatedFiles(() => kernel.clock.at);
    const fleet = new SimulatedFleet(chance('fleet'), scenario);
    const door = new SimulatedDoor({ kernel, fleet, files }, policyOf(policy, chance('policy')));
    const trouble = { disk: 0.02, slow: 0.1, run: 0.15 };
    const effects = new SimulatedEffects({ kernel, files, fleet }, chance('effects'), trouble);
    const parts = { kernel, files, fleet, door, effects };
    this.scenario = scenario;
    this.kernel = kernel;
    this.files = files;
    this.fleet = fleet;
    this.door = door;
    this.effects = effects;
    this.people = new SimulatedPeople(parts, chance('people'));
    this.observer =
      observer === 'own'
        ? new OwnObserver(fleet, kernel, chance('observer'))
        : new PlainObserver(fleet, () => kernel.clock.at);
    const oracle = observer === 'plain' && hosts <= 20 ? fleet : null;
    this.invariants = new Invariants(parts, { proposes: policy !== 'default', oracle });
    this.#wire(chance('door'));
  }

  #wire(chance: Chance): void {
    const { kernel, files, door, invariants } = this;
    kernel.around = {
      begin: (work) => this.#begin(work),
      took: (actor, event, reaction) => {
        invariants.took(actor, event, reaction);
        if (actor.machine === 'action' || NEWS.has(event.type)) door.lookSoon();
      },
      settled: () => invariants.settled(),
    };
    files.onChange = (id) => kernel.after(chance.span(1000), () => door.notice(id));
    this.#every(WRITE_EVERY_MS, () => this.#write());
    this.#every(LOOK_EVERY_MS, () => void door.look());
    this.#every(RESCAN_MS, () => {
      door.noticeAll();
      invariants.lookAtPending();
    });
  }

  #begin(work: Work): Course {
    const course = this.effects.begin(work);
    if (work.effect.src !== 'moveFile') return course;
    const { actionId, move } = work.effect.input as unknown as MoveInput;
    if (move.kind !== 'claim') return course;
    const host = String(work.actor.driver.snapshot.context.facts?.host);
    return {
      ...course,
      end: () => {
        const before = this.files.all.get(actionId)?.status;
        const outcome = course.end();
        const isClaimed =
          before === 'approved' && this.files.all.get(actionId)?.status === 'running';
        if (isClaimed) this.invariants.claimed(actionId, host);
        return outcome;
      },
    };
  }

  #write(): void {
    const world = this.observer.write();
    if (world === null) return;
    this.door.world = world;
    this.door.lookSoon(500);
  }

  #every(ms: number, run: () => void): void {
    this.kernel.after(ms, () => {
      run();
      this.#every(ms, run);
    });
  }

  setPolicy(policy: Policy): void {
    if (this.isCalm) return;
    this.#policies += 1;
    Object.assign(this.door, { policy, policySha256: `${this.#policies}` });
    this.door.configureGate();
    this.door.lookSoon();
  }

  /** The node's process; it is started again after a while. */
  kill(downMs: number): void {
    if (this.kernel.isDown) return;
    this.kernel.kill();
    this.door.forget();
    this.kernel.after(downMs, () => this.restart());
  }
  restart(): void {
    if (!this.kernel.isDown) return;
    this.kernel.restart();
    this.door.configureGate();
    this.door.noticeAll();
    this.door.look();
  }

  /** Things go wrong for as long as the scenario says. */
  live(): void {
    const { seed, faults, hosts, minutes, pace } = this.scenario;
    for (const fault of faults) {
      const chance = new Chance(seed, `fault ${fault}`);
      const perHour =
        pace * FAULTS[fault] * (PER_HOST.has(fault) ? Math.max(1, hosts / HOSTS_OF_RATES) : 1);
      this.#strikeAfter(fault, chance, (60 * MINUTE_MS) / perHour);
    }
    this.run(minutes);
  }
  #strikeAfter(fault: Fault, chance: Chance, meanMs: number): void {
    this.kernel.after(chance.span(meanMs), () => {
      if (this.isCalm) return;
      strike(this, fault, chance);
      this.#strikeAfter(fault, chance, meanMs);
    });
  }
  /** Time passes. */
  run(minutes: number): void {
    this.kernel.runUntil(this.kernel.clock.at + minutes * MINUTE_MS);
  }

  /** Nothing fails any more, and people answer everything. Only what is past help stays as it is. */
  calm(): void {
    this.isCalm = true;
    this.restart();
    Object.assign(this.effects.trouble, { disk: 0, slow: 0, run: 0 });
    this.observer.isDead = false;
    this.door.isTruncated = false;
    for (const address of this.kernel.actors.keys()) this.kernel.release(address);
    for (const host of this.fleet.hosts.values())
      Object.assign(host, { isUp: true, reach: 'seen' });
  }

  /** Until it is so, or that long; people have a word on everything now and then. */
  until(isSo: () => boolean, minutes: number): boolean {
    for (let passed = 0; passed < minutes; passed += 5) {
      this.people.answerAll();
      this.run(5);
      if (isSo()) return true;
    }
    return false;
  }
}

const NEWS = new Set(['drift.moved', 'remedy.ended']);
/** Those of which there are more where there are more hosts. */
const PER_HOST = new Set<Fault>(['service', 'host', 'flapping', 'deployment', 'disk', 'people']);

/** A supervisor with its drifts and their actions, on a homelab that is as the test says; messages in the kernel's order. */
import { actionAddress, driftAddress, SUPERVISOR } from '../../machines/addresses.ts';
import type { DriftContext } from '../../machines/drift-context.ts';
import { recommend } from '../../machines/drift.ts';
import { driftMachine } from '../../machines/drift.machine.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { SendParams } from '../../machines/events.ts';
import { asJsonObject } from '../../machines/json.ts';
import type { JsonObject } from '../../machines/json.ts';
import { DEFAULT_SUPERVISOR_POLICY, targetKey } from '../../machines/supervision.ts';
import type { Drift, DriftEvent, Look, Ruling, Standing } from '../../machines/supervision.ts';
import type { SummaryCounts, SupervisorEvent } from '../../machines/supervision.ts';
import type { SupervisorPolicy, SupervisorRule } from '../../machines/supervision.ts';
import { standingOf } from '../../machines/supervisor-context.ts';
import type { SupervisorContext } from '../../machines/supervisor-context.ts';
import { supervisorMachine } from '../../machines/supervisor.machine.ts';
import { ActionDriver, hashOf, PLAN, WELL } from './action.ts';
import { MachineDriver } from './machine-driver.ts';
import type { Clock, Reaction } from './machine-driver.ts';

export function driftOf(host: string, service: string | null, more: Partial<Drift> = {}): Drift {
  const kind = service === null ? 'disk_pressure' : 'unhealthy_service';
  return {
    key: targetKey({ host, service }),
    host,
    service,
    kind,
    critical: false,
    trigger: null,
    blockedBy: [],
    because: 'it does not answer',
    ...more,
  };
}

/** As the reconciling tells of it. */
export function standing(host: string, service: string | null, more?: Partial<Drift>): Standing {
  const drift = driftOf(host, service, more);
  return { drift, recommendation: recommend(drift) };
}

export const COUNTS: SummaryCounts = {
  nodes: { desired: 3, online: 3, offline: 0, unknown: 0 },
  services: { desired: 20, healthy: 20, unhealthy: 0, missing: 0, unknown: 0, unmonitored: 0 },
  unmanaged: 0,
};

export const look = (more: Partial<Look> = {}): Extract<SupervisorEvent, Look> => ({
  type: 'supervisor.looked',
  opened: [],
  changed: [],
  closed: [],
  counts: COUNTS,
  beyond: 0,
  doubt: null,
  inHand: {},
  staleSince: null,
  ...more,
});

export const policyWith = (
  rules: SupervisorRule[],
  more: Partial<SupervisorPolicy> = {},
): SupervisorPolicy => ({ ...DEFAULT_SUPERVISOR_POLICY, rules, ...more });

export const ACTING = ['container_restart', 'redeploy', 'disk_cleanup'];
export const APPROVE: SupervisorRule = { name: 'all', actions: ACTING, mode: 'approve' };
export const PROPOSE: SupervisorRule = { name: 'ask', mode: 'propose' };

export const configured = (
  policy: SupervisorPolicy,
  alwaysHuman: string[] = [],
): Extract<SupervisorEvent, { type: 'supervisor.configured' }> => ({
  type: 'supervisor.configured',
  policy,
  alwaysHuman,
  zones: {},
});

export const ruling = (mode: Ruling['decision']['mode']): Ruling => ({
  decision: { mode, rule: 'r', because: `rule r: ${mode}` },
  requiresHuman: mode !== 'approve',
  verifyWithin: 300,
  policySha256: null,
});

export const tellTo = (
  driver: MachineDriver,
  event: SupervisorEvent | DriftEvent | { type: string },
): Reaction => driver.deliver(asJsonObject(event) as { type: string });

/** More than any chain of messages in these tests. */
const MAX_DELIVERIES = 5000;

export class SupervisionWorld {
  readonly clock: Clock = { at: 1_700_000_000_000, up: 5000 };
  readonly supervisor = new MachineDriver(supervisorMachine, {}, this.clock);
  readonly drifts = new Map<string, MachineDriver>();
  readonly actions = new Map<string, ActionDriver>();
  /** What is not as it should be, by key. */
  readonly ill = new Map<string, Standing>();
  /** Every message delivered, in order. */
  readonly log: SendParams[] = [];
  /** Called after each event that the supervisor took. */
  onSupervisor: (reaction: Reaction) => void = () => {};
  restarting = false;

  get context(): SupervisorContext {
    return this.supervisor.snapshot.context as SupervisorContext;
  }

  drift(host: string, service: string | null): MachineDriver | undefined {
    return this.drifts.get(driftAddress(host, service));
  }

  contextOf(driver: MachineDriver): DriftContext {
    return driver.snapshot.context as DriftContext;
  }

  pass(ms: number): void {
    this.clock.at += ms;
    this.clock.up += ms;
  }

  tell(event: SupervisorEvent): void {
    this.#send([{ to: SUPERVISOR, event: asJsonObject(event) as SendParams['event'] }]);
  }

  /** A reconciling: what is, against what the supervisor holds to be. */
  looks(more: Partial<Look> = {}): Look {
    const held = standingOf(this.context);
    const opened = [...this.ill].filter(([key]) => !held.has(key));
    const changed = [...this.ill].filter(
      ([key, one]) => held.has(key) && held.get(key)?.recommendation.id !== one.recommendation.id,
    );
    const closed = [...held.keys()]
      .filter((key) => !this.ill.has(key))
      .map((key) => ({ key, reason: 'drift_resolved_auto' as const }));
    const told = look({
      opened: opened.map(([, one]) => one),
      changed: changed.map(([, one]) => one),
      closed,
      ...more,
    });
    this.tell(told);
    return told;
  }

  /** To an action's actor, by a person or the door. A refusal changes nothing. */
  toAction(id: string, event: { type: string } & JsonObject): void {
    this.#send([{ to: actionAddress(id), event }]);
  }

  /** What an effect of it causes. */
  after(run: () => Reaction): void {
    this.#send(this.#enact(run()));
  }

  /** Everything that can happen by itself does, as long as it does; `well`: how runs end. */
  settle(well = true): void {
    for (let i = 0; i < 2000; i += 1) if (!this.#onward(well)) return;
    throw new Error('it comes to no rest');
  }

  open(): ActionDriver[] {
    return [...this.actions.values()].filter(
      ({ state }) => state !== 'settled' && state !== 'empty',
    );
  }

  persisted(): string[] {
    const actions = [...this.actions.values()].map(({ driver }) => driver);
    return [this.supervisor, ...this.drifts.values(), ...actions].map((one) => one.persisted());
  }

  #onward(well: boolean): boolean {
    for (const drift of this.drifts.values())
      if (drift.running.has('telling')) return this.#did(() => drift.done('telling'));
    for (const one of this.actions.values()) {
      if (one.driver.running.has('write')) return this.#did(() => this.writes(one));
      if (one.driver.running.has('move')) return this.#did(() => one.moves());
      if (one.driver.running.has('plan'))
        return this.#did(() => one.driver.done('plan', { ...PLAN, verifies: false }));
      if (one.driver.running.has('run'))
        return this.#did(() => one.driver.done('run', { ...WELL, ok: well }));
      if (one.driver.running.has('escalate')) return this.#did(() => one.driver.done('escalate'));
      if (one.state === 'underway.waiting') {
        this.toAction(one.context.actionId, { type: 'gate.granted' });
        return true;
      }
    }
    return false;
  }

  #did(run: () => Reaction): boolean {
    this.after(run);
    return true;
  }

  /** Its file appears in pending/. */
  writes(one: ActionDriver): Reaction {
    const content = one.driver.running.get('write')?.input['content'] as JsonObject;
    one.disk = { status: 'pending', content };
    const sha256 = hashOf(content);
    const place = { status: 'pending', content, sha256 };
    return one.driver.done('write', { outcome: 'moved', place, reason: null, written: sha256 });
  }

  #send(first: SendParams[]): void {
    const queue = [...first];
    for (let i = 0; i < queue.length; i += 1) {
      if (i > MAX_DELIVERIES) throw new Error('messages without end');
      const message = queue[i];
      if (message === undefined) continue;
      const driver = this.#driverOf(message.to);
      if (driver === undefined) continue;
      this.log.push(message);
      if (this.restarting) driver.restore();
      queue.push(...this.#deliver(driver, message));
    }
  }

  #deliver(driver: MachineDriver, { to, event }: SendParams): SendParams[] {
    try {
      const reaction = driver.deliver(event);
      if (to === SUPERVISOR) this.onSupervisor(reaction);
      return this.#enact(reaction);
    } catch (error) {
      if (error instanceof RuntimeError) return []; // refused
      throw error;
    }
  }

  #driverOf(address: string): MachineDriver | undefined {
    if (address === SUPERVISOR) return this.supervisor;
    return this.drifts.get(address) ?? this.actions.get(address)?.driver;
  }

  #enact({ spawned, stopped, sent }: Reaction): SendParams[] {
    for (const { address, machine, input } of spawned) this.#spawn(address, machine, input);
    for (const { address } of stopped) this.drifts.delete(address);
    return sent;
  }

  #spawn(address: string, machine: string, input: JsonObject): void {
    if (machine === 'drift' && !this.drifts.has(address))
      this.drifts.set(address, new MachineDriver(driftMachine, input, this.clock));
    if (machine === 'action' && !this.actions.has(address))
      this.actions.set(address, new ActionDriver(String(input['actionId']), this.clock));
  }
}

/**
 * The doors of supervisor, gate and actions as the node has them (actors/supervisor/looker.ts, supervisor-door.ts,
 * actors/actions/action-watch.ts): they look, and tell what they found.
 */
import { actionAddress, GATE, SUPERVISOR } from '../../machines/addresses.ts';
import type { ActionContext } from '../../machines/action-context.ts';
import type { GateContext } from '../../machines/gate.machine.ts';
import { asJsonObject, jsonEqual } from '../../machines/json.ts';
import { lookOf, partsOf, saysNoMore } from '../../machines/look.ts';
import type { OpenAction } from '../../machines/look.ts';
import { Reconciler } from '../../machines/reconcile.ts';
import type { Reconciled } from '../../machines/reconcile.ts';
import type { Policy } from '../../machines/remediation.ts';
import { entriesIn } from '../../machines/shards.ts';
import type { Desired, Look, Observed } from '../../machines/supervision.ts';
import type { SupervisorContext } from '../../machines/supervisor-context.ts';
import { standingOf } from '../../machines/supervisor-context.ts';
import { observeWorld } from '../../machines/world.ts';
import type { WorldContents } from '../../machines/world.ts';
import { hashOnce } from './simulated-files.ts';
import type { SimulatedFiles } from './simulated-files.ts';
import type { SimulatedFleet } from './simulated-fleet.ts';
import type { Living, SimulatedKernel } from './simulated-kernel.ts';

const COALESCE_MS = 100;
const AGAIN_MS = 1000;

export interface Seen {
  at: number;
  desired: Desired;
  observed: Observed;
  reconciled: Reconciled;
}

export class SimulatedDoor {
  policy: Policy;
  policySha256 = '0';
  mode: 'on' | 'dry-run' | 'off' = 'on';
  /** The world's files as they stand; null: they cannot be read. */
  world: WorldContents = {};
  isTruncated = false;
  /** Of the last look that found something out. */
  seen: Seen | undefined;
  /** Its actor could not be told of it. */
  isUntold = false;
  looks = 0;
  skipped = 0;
  /** What a look is about to tell, and by what. */
  onLook: (look: Look, seen: Seen) => void = () => {};
  onSkip: (tell: () => void) => void = (tell) => tell();
  readonly #kernel: SimulatedKernel;
  readonly #fleet: SimulatedFleet;
  readonly #files: SimulatedFiles;
  #reconciler = new Reconciler();
  #observed: { world: WorldContents; value: Observed } | undefined;
  #told: { look: Look; at: number } | undefined;
  #configured = '';
  #isSoon = false;
  readonly #life = { nth: 0 };

  constructor(
    {
      kernel,
      fleet,
      files,
    }: { kernel: SimulatedKernel; fleet: SimulatedFleet; files: SimulatedFiles },
    policy: Policy,
  ) {
    this.#kernel = kernel;
    this.#fleet = fleet;
    this.#files = files;
    this.policy = policy;
    kernel.spawn(GATE, 'gate', {});
    kernel.spawn(SUPERVISOR, 'supervisor', {});
    this.configureGate();
  }

  get supervisor(): SupervisorContext {
    return this.#contextOf(SUPERVISOR) as SupervisorContext;
  }
  get gate(): GateContext {
    return this.#contextOf(GATE) as GateContext;
  }
  #contextOf(address: string): unknown {
    return this.#kernel.actors.get(address)?.driver.snapshot.context;
  }

  configureGate(): void {
    const { policy, mode } = this;
    this.#send(GATE, { type: 'gate.configured', policy, mode, zones: {} });
  }

  /** A new process: it remembers nothing. */
  forget(): void {
    this.#life.nth += 1;
    this.#reconciler = new Reconciler();
    this.#observed = undefined;
    this.#told = undefined;
    this.#configured = '';
    this.#isSoon = false;
  }

  lookSoon(afterMs = COALESCE_MS): void {
    if (this.#isSoon) return;
    this.#isSoon = true;
    const { nth } = this.#life;
    this.#kernel.after(afterMs, () => {
      if (nth !== this.#life.nth || this.#kernel.isDown) return;
      this.#isSoon = false;
      this.look();
    });
  }

  /** False: its actor could not be told, or what it is told by cannot be read. */
  look(): boolean {
    if (this.#kernel.isDown) return false;
    const isTold = this.#keepTold() && this.#look();
    if (!isTold) this.lookSoon(AGAIN_MS);
    return isTold;
  }

  #keepTold(): boolean {
    const { policy, policySha256 } = this;
    const day = Math.floor(this.#kernel.clock.at / 86_400_000);
    const configured = `${policySha256} ${day}`;
    if (this.#configured !== configured) {
      const isTold = this.#send(SUPERVISOR, {
        type: 'supervisor.configured',
        policy: policy.supervisor,
        alwaysHuman: policy.always_human_hosts,
        zones: {},
        policySha256,
        approvalExpires: policy.approval_expires,
      });
      if (!isTold) return false;
      this.#configured = configured;
    }
    const frozen = this.gate.frozen !== null;
    if (this.supervisor.frozen === frozen) return true;
    return this.#send(SUPERVISOR, { type: 'supervisor.frozen', frozen });
  }

  #look(): boolean {
    if (this.isTruncated) {
      this.skipped += 1;
      const reason = 'world: services.json is half a file';
      if (this.supervisor.skipped?.reason === reason) return true;
      let isTold = false;
      this.onSkip(() => (isTold = this.#send(SUPERVISOR, { type: 'supervisor.skipped', reason })));
      return isTold;
    }
    this.looks += 1;
    const { at } = this.#kernel.clock;
    const { desired } = this.#fleet;
    const observed = this.#observe();
    const policy = this.policy.supervisor;
    const standing = standingOf(this.supervisor);
    const reconciled = this.#reconciler.look(desired, observed, standing, policy, at);
    this.seen = { at, desired, observed, reconciled };
    const look = lookOf(reconciled, desired.dependants, this.#asOpen());
    this.onLook(look, this.seen);
    this.isUntold = !this.#tell(look, at);
    return !this.isUntold;
  }

  #observe(): Observed {
    const { world } = this;
    if (this.#observed?.world !== world) {
      const value = observeWorld(world, this.#fleet.aliases, this.#observed?.value);
      this.#observed = { world, value };
    }
    return this.#observed.value;
  }

  *#asOpen(): Generator<OpenAction> {
    for (const { actionId, facts, origin } of this.openActions())
      yield { id: actionId, host: facts?.host ?? '', service: facts?.service ?? '', origin };
  }

  *openActions(): Generator<ActionContext> {
    for (const one of this.#kernel.actors.values())
      if (one.machine === 'action' && isOpen(one))
        yield one.driver.snapshot.context as ActionContext;
  }

  #tell(look: Look, at: number): boolean {
    const told = this.#told;
    const refreshMs = (this.policy.supervisor.stale_after * 1000) / 3;
    const isKnown = told !== undefined && at - told.at < refreshMs && saysNoMore(told.look, look);
    const { skipped, look: before } = this.supervisor;
    if (isKnown && skipped === null && before?.unfinished !== true) return true;
    for (const part of partsOf(look))
      if (!this.#send(SUPERVISOR, { type: 'supervisor.looked', ...part })) return false;
    this.#told = { look, at };
    return true;
  }

  // ---- the folders of actions

  /** Its file may be other than its actor thinks. */
  notice(id: string): void {
    const address = actionAddress(id);
    if (this.#kernel.isDown) return;
    const file = this.#files.all.get(id);
    const actor = this.#kernel.actors.get(address);
    const context = actor?.driver.snapshot.context as ActionContext | undefined;
    if (actor?.driver.snapshot.hasTag('moving') === true) return; // looked at when it stands still
    if (file === undefined) {
      if (actor !== undefined && isOpen(actor)) this.#send(address, { type: 'action.missing' });
      return;
    }
    const isEnded = !['pending', 'approved', 'running'].includes(file.status);
    if (isEnded && (actor === undefined || !isOpen(actor))) return;
    if (actor === undefined) this.#kernel.spawn(address, 'action', { actionId: id });
    if (file.isGarbled) {
      const reason = `its file in ${file.status}/ cannot be read`;
      if (context?.trouble !== reason) this.#send(address, { type: 'action.unreadable', reason });
      return;
    }
    const { status, content, movedAt } = file;
    const sha256 = hashOnce(content);
    const isKnown =
      context?.trouble === null &&
      context.place?.status === status &&
      context.place.sha256 === sha256 &&
      jsonEqual(content, context.content ?? {});
    if (isKnown) return;
    const expires = this.policy.approval_expires;
    this.#send(address, { type: 'action.found', status, content, sha256, movedAt, expires });
  }

  /** The rescan. */
  noticeAll(): void {
    for (const { id, status } of this.#files.all.values())
      if (['pending', 'approved', 'running'].includes(status)) this.notice(id);
    for (const { actionId } of this.openActions()) this.notice(actionId);
  }

  #send(to: string, event: { type: string; [field: string]: unknown }): boolean {
    return this.#kernel.send(to, { ...asJsonObject(event), type: event.type }) === undefined;
  }
}

/** Keys of drifts that are over, and whose actors have something in hand. */
export const leavingIn = ({ leaving }: SupervisorContext): string[] =>
  entriesIn(leaving).map(([key]) => key);

/** It is not over. */
export const isOpen = ({ driver }: Living): boolean =>
  driver.value !== 'settled' && driver.value !== 'empty';

/**
 * What has to hold after every event of a simulated homelab, whatever order things happen in. Counted here anew from what was
 * said and done, not read from what the machines count themselves.
 *
 * V1 The policy's approvals never exceed its limits, and each is given back when its action is over (simulated-grants.ts).
 * V2 The policy approves nothing that a person has to decide about.
 * V3 Nothing runs that did not stand in running/ by our own claim of what was approved; nothing begins twice.
 * V4 Nothing is proposed about what was not desired, or not monitored, at the last look; nothing while in doubt or stale; by
 *    the default policy nothing at all.
 * V5 A target has one open action of the supervisor's at most, and after one that a person declined, or that did not help, none
 *    until its drift was gone. What is pending is withdrawn when it is not what is advised any more.
 * V6 What runs at once never exceeds the gate's blast radius at the time of the claim.
 * V7 A look that was skipped changes nothing and says nothing.
 * V8 What grows is bounded. Of a drift that has heard everything the supervisor knows how far it is.
 * V9 A look opens what is said to be ill and nothing else, and closes what is said to be well, or not desired any more.
 */
import type { ActionContext } from '../../machines/action-context.ts';
import { actionAddress, GATE, isDriftAddress, SUPERVISOR } from '../../machines/addresses.ts';
import type { DriftContext } from '../../machines/drift-context.ts';
import type { SendParams } from '../../machines/events.ts';
import type { JsonObject } from '../../machines/json.ts';
import { inShards, namesIn } from '../../machines/shards.ts';
import { ACTING_REMEDIES, targetKey } from '../../machines/supervision.ts';
import type { Decision, Look } from '../../machines/supervision.ts';
import { standingOf } from '../../machines/supervisor-context.ts';
import type { SupervisorContext } from '../../machines/supervisor-context.ts';
import { hashOf } from './action.ts';
import type { Reaction } from './machine-driver.ts';
import { Grants, holds } from './simulated-grants.ts';
import { isOpen, leavingIn } from './simulated-door.ts';
import type { Seen, SimulatedDoor } from './simulated-door.ts';
import type { SimulatedFiles } from './simulated-files.ts';
import type { SimulatedFleet } from './simulated-fleet.ts';
import type { Living, SimulatedKernel } from './simulated-kernel.ts';
import { mistakeIn } from './simulated-oracle.ts';

/** So long an action may take to be withdrawn, its actor being asked again. */
const OUTDATED_MS = 300_000;
/** Said of a drift, there is nothing more to be proposed. */
const ANSWERED: ReadonlySet<unknown> = new Set(['declined', 'escalated']);
/** States in which an action was claimed and is not written down as over. */
const ACTIVE = new Set(['running', 'ran', 'verifying', 'finishing', 'retrying']);

export class Invariants {
  readonly counts = {
    looks: 0,
    doubts: 0,
    stale: 0,
    skipped: 0,
    proposed: 0,
    granted: 0,
    ran: 0,
    verified: 0,
    escalated: 0,
    cancelled: 0,
  };
  readonly #grants = new Grants();
  /** V3. */
  readonly #ran = new Set<string>();
  readonly #touched = new Set<Living>();
  /** V5: drifts that nothing more is proposed about. */
  readonly #answered = new Set<string>();
  /** V5: by action, since when it should not be pending any more, ms of running time. */
  readonly #outdated = new Map<string, number>();
  /** V5: by target, its open actions. */
  readonly #open = new Map<string, string>();
  readonly #kernel: SimulatedKernel;
  readonly #door: SimulatedDoor;
  readonly #files: SimulatedFiles;
  readonly #proposes: boolean;

  constructor(
    {
      kernel,
      door,
      files,
    }: { kernel: SimulatedKernel; door: SimulatedDoor; files: SimulatedFiles },
    { proposes, oracle }: { proposes: boolean; oracle: SimulatedFleet | null },
  ) {
    this.#kernel = kernel;
    this.#door = door;
    this.#files = files;
    this.#proposes = proposes;
    door.onLook = (look, seen) => this.#looks(look, seen, oracle);
    door.onSkip = (tell) => this.#skips(tell);
  }

  took(actor: Living, event: { type: string }, reaction: Reaction): void {
    this.#touched.add(actor);
    if (actor.address === SUPERVISOR) this.#supervisor(event, reaction);
    else if (actor.machine === 'drift') this.#drift(actor, event, reaction);
    else if (actor.machine === 'action') this.#action(actor, event, reaction);
  }

  settled(): void {
    for (const actor of this.#touched) if (actor.machine === 'action') this.#oneOfTarget(actor);
    for (const actor of this.#touched) this.#bounds(actor);
    this.#touched.clear();
  }

  #supervisor(event: { type: string }, { sent }: Reaction): void {
    if (event.type === 'remedy.ended') {
      const { actionId, outcome } = event as unknown as { actionId: string; outcome: string };
      this.#grants.end(actionId, outcome);
      if (outcome === 'verified') this.counts.verified += 1;
    }
    for (const { to, event: told } of sent) {
      if (told.type === 'remedy.approve') {
        this.counts.granted += 1;
        this.#grants.give(this.#door.supervisor, String(told['actionId']), this.#kernel.clock.at);
      }
      if (told.type === 'drift.stands' || told.type === 'drift.decided') this.#decides(to, told);
    }
  }

  // ---- V4

  #keyOf(address: string): string {
    const drift = this.#kernel.actors.get(address)?.driver.snapshot.context as DriftContext;
    return drift === undefined ? '' : targetKey(drift);
  }

  #decides(to: string, told: SendParams['event']): void {
    const { mode } = told['decision'] as unknown as Decision;
    if (mode === 'recommend') return;
    const { look, skipped, inHand } = this.#door.supervisor;
    holds(!Object.hasOwn(inHand, this.#keyOf(to)), () => `V4 somebody else is at ${to}`);
    holds(look?.doubt === null, () => `V4 ${mode} is decided while the observer is doubted`);
    holds(look.staleSince === null, () => `V4 ${mode} is decided while the observer is silent`);
    holds(skipped === null, () => `V4 ${mode} is decided after a look that found nothing out`);
  }

  #drift(actor: Living, { type }: { type: string }, { sent }: Reaction): void {
    const key = this.#keyOf(actor.address);
    if (type === 'drift.gone') this.#answered.delete(key);
    for (const { event } of sent) {
      if (event.type === 'drift.moved' && ANSWERED.has(event['status'])) this.#answered.add(key);
      if (event.type === 'action.cancel') this.counts.cancelled += 1;
      if (event.type === 'drift.became' && event['what'] === 'remedy_escalated')
        this.counts.escalated += 1;
      if (event.type === 'action.propose') this.#proposed(actor);
    }
  }

  #proposed({ address, driver }: Living): void {
    const { host, service, asking, tries } = driver.snapshot.context as DriftContext;
    this.counts.proposed += 1;
    holds(this.#proposes, () => `V4 ${address} proposes, and the policy only recommends`);
    const isAnew = asking?.serial === 1 && tries === 1;
    if (!isAnew) return; // the same once more, or under another name
    const isOnItsWay = this.#kernel.hasMail(address) || this.#kernel.hasMail(SUPERVISOR);
    if (isOnItsWay || this.#door.isUntold) return; // it does not know yet
    const known = this.#door.seen?.desired.hosts.get(host);
    const isWatched =
      known?.monitored === true &&
      (service === null || known.services.get(service)?.monitored === true);
    holds(isWatched, () => `V4 ${address} proposes about what is not desired`);
    const { look, standing } = this.#door.supervisor;
    const key = targetKey({ host, service });
    holds(!this.#answered.has(key), () => `V5 ${key} was answered, and is proposed about again`);
    holds(
      inShards(standing, key) !== undefined,
      () => `V4 ${address} proposes, and no drift stands`,
    );
    holds(look?.doubt === null, () => `V4 ${address} proposes while the observer is doubted`);
    holds(look.staleSince === null, () => `V4 ${address} proposes while the observer is silent`);
  }

  // ---- V2, V3, V6

  #action(actor: Living, event: { type: string }, { started }: Reaction): void {
    const context = actor.driver.snapshot.context as ActionContext;
    if (event.type === 'action.approve' && event['door' as keyof typeof event] === 'policy') {
      const { approval, proposed, facts } = context;
      if (approval?.sha256 === hashOf(context.content ?? {}))
        holds(facts?.requiresHuman === false, () => `V2 ${context.actionId} needs a person`);
      holds(
        approval?.sha256 === proposed?.sha256,
        () => `V2 ${context.actionId} is not what was proposed`,
      );
    }
    for (const { id } of started) if (id === 'run') this.#runs(context);
  }

  #runs(context: ActionContext): void {
    const { actionId, approval, move, startedAt } = context;
    const file = this.#files.all.get(actionId);
    this.counts.ran += 1;
    holds(approval !== null, () => `V3 ${actionId} runs and nobody approved it`);
    holds(
      move?.kind === 'claim' && move.from === 'approved',
      () => `V3 ${actionId} was not claimed`,
    );
    holds(move.sha256 === approval.sha256, () => `V3 ${actionId} is not what was approved`);
    const run = `${actionId} ${startedAt} ${approval.at}`;
    holds(!this.#ran.has(run), () => `V3 ${actionId} runs twice`);
    this.#ran.add(run);
    if (approval.door !== 'policy' || file === undefined) return;
    holds(file.content['requires_human'] === false, () => `V2 ${actionId} runs by the policy`);
    holds(this.#grants.has(actionId), () => `V1 ${actionId} runs by the policy and is not counted`);
  }

  /** V6. Called when its file has just come to running/. */
  claimed(actionId: string, host: string): void {
    const gate = this.#door.gate;
    const active = [...this.#kernel.actors.values()].filter(
      ({ address, machine, driver }) =>
        machine === 'action' &&
        address !== actionAddress(actionId) &&
        typeof driver.value === 'object' &&
        (ACTIVE.has(String((driver.value as JsonObject)['underway'])) ||
          this.#files.all.get((driver.snapshot.context as ActionContext).actionId)?.status ===
            'running'),
    );
    const hosts = active.map(
      ({ driver }) => (driver.snapshot.context as ActionContext).facts?.host,
    );
    const radius = gate.policy?.blast_radius ?? {};
    const { actions_at_once: actions = Infinity, hosts_at_once: most = Infinity } = radius;
    const here = hosts.filter((one) => one === host).length + 1;
    holds(active.length + 1 <= actions, () => `V6 ${active.length + 1} run at once`);
    holds(
      new Set([...hosts, host]).size <= most,
      () => `V6 too many hosts at once: ${hosts.join()}`,
    );
    holds(here <= (radius.per_host_at_once ?? Infinity), () => `V6 ${here} at once on ${host}`);
    holds(
      gate.frozen === null && gate.mode === 'on',
      () => `V6 ${actionId} is claimed, and nothing may`,
    );
  }

  // ---- V5, V7, V8

  #oneOfTarget(actor: Living): void {
    const { actionId, origin, facts } = actor.driver.snapshot.context as ActionContext;
    for (const [key, id] of this.#open) if (id === actionId) this.#open.delete(key);
    if (origin === null || !isDriftAddress(origin) || !isOpen(actor)) return;
    const key = `${facts?.host}/${facts?.service}`;
    const other = this.#open.get(key);
    holds(other === undefined, () => `V5 ${key} has two open actions: ${other} and ${actionId}`);
    this.#open.set(key, actionId);
  }

  /** V9. */
  #looks(look: Look, { at }: Seen, fleet: SimulatedFleet | null): void {
    const { world, policy, supervisor } = this.#door;
    this.counts.looks += 1;
    if (look.doubt !== null) this.counts.doubts += 1;
    if (look.staleSince !== null) this.counts.stale += 1;
    if (fleet === null) return;
    const { stale_after, deployment_failures: failures } = policy.supervisor;
    const sight = { world, fleet, at, staleMs: stale_after * 1000, failures };
    const mistake = mistakeIn(look, new Set(standingOf(supervisor).keys()), sight);
    holds(mistake === null, () => `V9 ${mistake}`);
  }

  /** V5. Now and then. */
  lookAtPending(): void {
    const { clock, actors } = this.#kernel;
    const { standing } = this.#door.supervisor;
    for (const { actionId, origin, place, facts } of this.#door.openActions()) {
      const drift = origin !== null && isDriftAddress(origin) ? actors.get(origin) : undefined;
      const isHeld =
        drift?.backlog !== null || actors.get(actionAddress(actionId))?.backlog !== null;
      const key = drift && targetKey(drift.driver.snapshot.context as DriftContext);
      const stood = key === undefined ? undefined : inShards(standing, key);
      const isAdvised = stood?.recommendation.remedy === (facts?.type ?? '');
      const isForPeople =
        stood !== undefined && !ACTING_REMEDIES.some((one) => one === facts?.type);
      if (isHeld || place?.status !== 'pending' || isAdvised || isForPeople) {
        this.#outdated.delete(actionId);
        continue;
      }
      const since = this.#outdated.get(actionId) ?? clock.up;
      this.#outdated.set(actionId, since);
      holds(clock.up - since < OUTDATED_MS, () => `V5 ${actionId} is pending, and not advised`);
    }
  }

  #skips(tell: () => void): void {
    const supervisor = this.#kernel.actors.get(SUPERVISOR);
    this.counts.skipped += 1;
    const before = withoutSkipped(this.#door.supervisor);
    const sent = supervisor?.driver.sent.length;
    tell();
    holds(
      withoutSkipped(this.#door.supervisor) === before,
      () => 'V7 a skipped look changes something',
    );
    holds(supervisor?.driver.sent.length === sent, () => 'V7 a skipped look says something');
  }

  /** V8. */
  #knowsStatus(drift: DriftContext): void {
    const key = targetKey(drift);
    const stood = inShards(this.#door.supervisor.standing, key);
    if (stood === undefined || drift.gone !== null || drift.drift === null) return;
    const isKnown = stood.status === drift.status;
    holds(isKnown, () => `V8 ${key} is ${drift.status}, and its supervisor has it ${stood.status}`);
  }

  #bounds({ address, machine, driver }: Living): void {
    if (machine === 'drift') {
      const { tellings, story, past, action, asking } = driver.snapshot.context as DriftContext;
      const isKept =
        action?.status === 'pending' &&
        action.grant === null &&
        (driver.value as JsonObject)['remedy'] === 'proposed' &&
        this.#grants.has(action.actionId);
      const isTold = !this.#kernel.hasMail(SUPERVISOR) && !this.#kernel.hasMail(address);
      holds(!isKept || !isTold, () => `V1 ${action?.actionId} is pending, and its grant is kept`);
      if (isTold) this.#knowsStatus(driver.snapshot.context as DriftContext);
      const isBounded = tellings.length <= 51 && story.length <= 50 && past.length <= 20;
      holds(isBounded, () => `V8 ${address} remembers too much`);
      holds(action === null || asking === null, () => `V5 ${address} has two actions in hand`);
    }
    if (machine === 'action')
      holds(driver.snapshot.context.story.length <= 50, () => `V8 ${address} remembers too much`);
    if (address === GATE)
      holds(
        driver.snapshot.context.grants.length <= 10_000,
        () => 'V8 the gate remembers too much',
      );
    if (address !== SUPERVISOR) return;
    const { standing, row, granted } = this.#door.supervisor;
    const keys = new Set(namesIn(standing));
    holds(
      row.every(({ key }) => keys.has(key)),
      () => 'V8 somebody waits for whom no drift stands',
    );
    holds(new Set(row.map(({ key }) => key)).size === row.length, () => 'V8 one waits twice');
    holds(
      leavingIn(this.#door.supervisor).every((key) => !keys.has(key)),
      () => 'V8 one stands and leaves',
    );
    holds(
      Object.keys(granted).length === this.#grants.size,
      () => 'V1 others are counted than granted',
    );
  }
}

const withoutSkipped = (context: SupervisorContext): string =>
  JSON.stringify({ ...context, skipped: null });

/**
 * The policy's approvals in a simulated homelab, counted anew: how many are open, on how many hosts, within an hour, of one target;
 * and whether each may be given at all (V1, V2 of simulated-invariants.ts).
 */
import { matchingGlob } from '../../machines/globs.ts';
import { inShards } from '../../machines/shards.ts';
import { ACTING_REMEDIES } from '../../machines/supervision.ts';
import type { SupervisorContext } from '../../machines/supervisor-context.ts';

export class Violation extends Error {}

export function holds(condition: boolean, what: () => string): asserts condition {
  if (!condition) throw new Violation(what());
}

const HOUR_MS = 3_600_000;

interface Grant {
  host: string;
  key: string;
  at: number;
}

export class Grants {
  /** By action: those of which it was not told that they are over. */
  readonly #open = new Map<string, Grant>();
  /** Of the last hour. */
  #recent: number[] = [];
  /** By target, those of the last hour that did not lapse. */
  readonly #of = new Map<string, Grant[]>();

  get size(): number {
    return this.#open.size;
  }

  has(actionId: string): boolean {
    return this.#open.has(actionId);
  }

  /** `context`: of the supervisor, after it gave it. */
  give(context: SupervisorContext, actionId: string, at: number): void {
    const [key, given] =
      Object.entries(context.granted).find(([, one]) => one.actionId === actionId) ?? [];
    holds(
      key !== undefined && given !== undefined,
      () => `V1 ${actionId} is granted and not counted`,
    );
    const isTwice = [...this.#open.values()].some((one) => one.key === key);
    holds(!isTwice, () => `V1 ${key} is granted twice`);
    const grant = { host: given.host, key, at };
    this.#open.set(actionId, grant);
    this.#recent = [...this.#recent.filter((one) => one > at - HOUR_MS), at];
    this.#of.set(key, [...this.#ofTarget(key, at), grant]);
    this.#withinLimits(context, key, at);
    mayDecide(context, key, actionId);
  }

  end(actionId: string, outcome: string): void {
    const grant = this.#open.get(actionId);
    if (grant === undefined) return;
    this.#open.delete(actionId);
    if (outcome !== 'lapsed') return;
    const others = (this.#of.get(grant.key) ?? []).filter((one) => one !== grant);
    this.#of.set(grant.key, others);
  }

  #ofTarget(key: string, at: number): Grant[] {
    return (this.#of.get(key) ?? []).filter((one) => one.at > at - HOUR_MS);
  }

  #withinLimits({ policy: { limits }, look }: SupervisorContext, key: string, at: number): void {
    const open = this.#open.size;
    const hosts = new Set([...this.#open.values()].map(({ host }) => host)).size;
    const desired = look?.counts.services.desired ?? 0;
    const { percent_at_once: share } = limits;
    const percent =
      share === undefined ? Infinity : Math.max(1, Math.floor((desired * share) / 100));
    const { actions_at_once: actions = Infinity, hosts_at_once: most = Infinity } = limits;
    const { approvals_per_hour: hourly = Infinity } = limits;
    const { approvals_per_target_per_hour: perTarget = Infinity } = limits;
    const of = this.#ofTarget(key, at).length;
    holds(open <= actions, () => `V1 ${open} at once, allowed are ${actions}`);
    holds(hosts <= most, () => `V1 ${hosts} hosts at once, allowed are ${most}`);
    holds(open <= percent, () => `V1 ${open} at once of ${desired} services`);
    holds(this.#recent.length <= hourly, () => `V1 ${this.#recent.length} within an hour`);
    holds(of <= perTarget, () => `V1 ${of} within an hour on ${key}`);
  }
}

function mayDecide(context: SupervisorContext, key: string, actionId: string): void {
  const { frozen, look, skipped, alwaysHuman, inHand, standing } = context;
  const stood = inShards(standing, key);
  holds(!frozen, () => `V2 ${actionId} is granted while frozen`);
  holds(look?.doubt === null && look.staleSince === null, () => `V2 ${actionId} in doubt`);
  holds(skipped === null, () => `V2 ${actionId} is granted after a skipped look`);
  holds(!Object.hasOwn(inHand, key), () => `V2 somebody else is at ${key}`);
  const isForPolicy = stood?.decision.mode === 'approve';
  holds(isForPolicy, () => `V2 ${actionId} is not for the policy to approve`);
  const { host } = stood.drift;
  holds(matchingGlob(alwaysHuman, host) === undefined, () => `V2 a person decides on ${host}`);
  const { remedy } = stood.recommendation;
  holds(ACTING_REMEDIES.includes(remedy), () => `V2 a person decides about ${remedy}`);
}

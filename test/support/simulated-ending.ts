/**
 * How every simulated homelab has to end.
 *
 * E1 When nothing fails any more and people answer, the loop comes to rest: no drift stands but of what really is out of order,
 *    and of those each has been told, tried and escalated, declined, or is for people to see to. Nothing is in hand.
 * E2 When that was repaired by hand, nothing stands at all, and the summary says so.
 * E3 Every actor is what its birth and its events make of it.
 */
import { isDriftAddress } from '../../machines/addresses.ts';
import { entriesIn, inShards, namesIn } from '../../machines/shards.ts';
import { WORDS_ONLY } from '../../machines/supervision.ts';
import type { Stood } from '../../machines/supervisor-context.ts';
import { leavingIn } from './simulated-door.ts';
import { holds } from './simulated-grants.ts';
import type { SimulatedHomelab } from './simulated-homelab.ts';

const DAY = 24 * 60;

export function comesToRest(lab: SimulatedHomelab): void {
  lab.calm();
  lab.run(10); // nobody answers: what is outdated has to go by itself
  const isAtRest = lab.until(() => whyNotAtRest(lab) === null, 2 * DAY);
  holds(isAtRest, () => `E1 ${whyNotAtRest(lab)}`);
  lab.fleet.repair(lab.kernel.clock.at);
  const isWell = lab.until(() => whyNotWell(lab) === null, DAY);
  holds(isWell, () => `E2 ${whyNotWell(lab)}`);
  if (!lab.kernel.keepsRecords) return;
  for (const actor of lab.kernel.actors.values()) {
    const isSame = lab.kernel.replayed(actor) === actor.driver.persisted();
    holds(isSame, () => `E3 ${actor.address} is replayed otherwise`);
  }
}

/** Null: it is. */
function whyNotAtRest(lab: SimulatedHomelab): string | null {
  const { supervisor, policy } = lab.door;
  const failures = policy.supervisor.deployment_failures;
  for (const [key, stood] of entriesIn(supervisor.standing)) {
    if (lab.fleet.isInOrder(key, failures)) return `${key} is in order, and its drift stands`;
    const wants = whyUnfinished(stood);
    if (wants !== null) return `${key} ${wants}`;
  }
  for (const key of outOfOrder(lab, failures))
    if (inShards(supervisor.standing, key) === undefined)
      return `${key} is out of order, and nobody says so`;
  return whyInHand(lab);
}

function whyUnfinished({ status, decision, recommendation }: Stood): string | null {
  if (status === 'escalated' || status === 'declined') return null;
  const isForPeople = decision.mode === 'recommend' || WORDS_ONLY.includes(recommendation.remedy);
  if (status === 'recommended' && isForPeople) return null;
  return `is ${status}, and ${decision.because}`;
}

/** Of what is desired and monitored. */
function* outOfOrder(lab: SimulatedHomelab, failures: number): Generator<string> {
  for (const host of lab.fleet.desired.hosts.values()) {
    if (!host.monitored) continue;
    if (!lab.fleet.isInOrder(host.name, failures)) yield host.name;
    for (const { name, monitored } of host.services.values()) {
      const key = `${host.name}/${name}`;
      if (monitored && !lab.fleet.isInOrder(key, failures)) yield key;
    }
  }
}

function whyInHand(lab: SimulatedHomelab): string | null {
  const { granted, row } = lab.door.supervisor;
  const left = { granted, row, leaving: leavingIn(lab.door.supervisor) };
  for (const [name, list] of Object.entries(left))
    if (Object.keys(list).length > 0) return `${name} is not empty: ${JSON.stringify(list)}`;
  for (const { actionId, origin, status } of lab.door.openActions())
    if (origin !== null) return `${actionId} is ${status}`;
  for (const { id, status, content } of lab.files.list('pending', 'approved', 'running'))
    if (content['supervisor'] !== undefined) return `${id} stands in ${status}/`;
  return null;
}

function whyNotWell(lab: SimulatedHomelab): string | null {
  const { supervisor, seen } = lab.door;
  const [first] = namesIn(supervisor.standing);
  if (first !== undefined) return `${first} stands`;
  const inHand = whyInHand(lab);
  if (inHand !== null) return inHand;
  const drift = [...lab.kernel.actors.keys()].find(isDriftAddress);
  if (drift !== undefined) return `${drift} lives`;
  const summary = seen?.reconciled.summary;
  return summary === 'nominal' ? null : `all is well, and the summary says ${summary}`;
}

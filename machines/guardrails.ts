/**
 * Rules that hold whatever a model answers: code, applied after it. A proposal that leaves here is about the event's own
 * service and never less careful than the one that came in (P7).
 *
 * G1 The target is the event's. A model that answered about another one is not believed without a person.
 * G2 Never towards more force: `ignore` and `notify` touch nothing, then `restart`, then `redeploy`.
 * G3 `requires_human` is only ever set.
 * G4 Every change is told, with the rule that made it.
 */
import type { JsonObject } from './json.ts';
import { plainText, visibleText } from './plain-text.ts';
import type { Policy, Proposal, ProposedAction, Tightening } from './remediation.ts';
import { matchingGlob } from './globs.ts';

/** What the event is about. */
export interface Subject {
  host: string;
  service: string;
  /** `service_unhealthy` */
  type: string;
}

export interface Guarded {
  proposal: Proposal;
  tightenings: Tightening[];
}

/** How much each may disturb. */
export const FORCE: Readonly<Record<ProposedAction, number>> = {
  ignore: 0,
  notify: 0,
  restart: 1,
  redeploy: 2,
};

/** Longest reason, in characters. */
export const MAX_REASON = 2000;

export function applyGuardrails(answer: Proposal, subject: Subject, policy: Policy): Guarded {
  const guarded = { proposal: { ...answer }, tightenings: [] };
  keepToTarget(guarded, subject);
  keepToNotify(guarded, subject, policy);
  askPeople(guarded, subject, policy);
  cleanReason(guarded);
  return guarded;
}

/** G1. */
function keepToTarget(guarded: Guarded, { host, service }: Subject): void {
  const { proposal } = guarded;
  const isOwn = proposal.node === host && proposal.service === service;
  if (isOwn) return;
  const because = 'a proposal is about the host and service of its event, and about no other';
  set(guarded, { rule: 'target', field: 'node', to: host, because });
  set(guarded, { rule: 'target', field: 'service', to: service, because });
  set(guarded, {
    rule: 'target',
    field: 'requires_human',
    to: true,
    because: 'the model answered about something else than it was asked about',
  });
}

/** G2. What is only to be told is not ignored either. */
function keepToNotify(guarded: Guarded, { type }: Subject, policy: Policy): void {
  const glob = matchingGlob(policy.always_notify_types, type);
  if (glob === undefined) return;
  const because = `events of type ${glob} are for people: only notify may be proposed`;
  set(guarded, { rule: 'always_notify_types', field: 'action', to: 'notify', because });
}

/** G3. */
function askPeople(guarded: Guarded, { host }: Subject, policy: Policy): void {
  const glob = matchingGlob(policy.always_human_hosts, host);
  if (glob !== undefined)
    set(guarded, {
      rule: 'always_human_hosts',
      field: 'requires_human',
      to: true,
      because: `on hosts ${glob} a person decides`,
    });
  const { confidence } = guarded.proposal;
  if (confidence >= policy.confidence_floor) return;
  set(guarded, {
    rule: 'confidence_floor',
    field: 'requires_human',
    to: true,
    because: `the model's confidence is ${confidence}, below ${policy.confidence_floor}`,
  });
}

function cleanReason(guarded: Guarded): void {
  const to = plainText(guarded.proposal.reason, MAX_REASON);
  const because = 'people read it: one line of bounded length, and nothing in it that is not seen';
  set(guarded, { rule: 'plain_text', field: 'reason', to, because });
}

interface Change {
  rule: string;
  field: 'action' | 'node' | 'service' | 'reason' | 'requires_human';
  to: string | boolean;
  because: string;
}

/** G4. Nothing is told where nothing changes. */
function set({ proposal, tightenings }: Guarded, { rule, field, to, because }: Change): void {
  const from = proposal[field];
  if (from === to) return;
  const values: JsonObject = proposal;
  values[field] = to;
  tightenings.push({ rule, field, from: shown(from), to: shown(to), because });
}

const shown = (value: string | boolean): string | boolean =>
  typeof value === 'string' ? visibleText(value, 300) : value;

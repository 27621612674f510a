/**
 * What the actor of a drift remembers, and how it tells its steps. A drift comes and goes in episodes; what is remembered of
 * earlier ones is how their actions ended.
 */
import { driftAddress, SUPERVISOR } from './addresses.ts';
import { asJsonObject } from './json.ts';
import type { JsonObject } from './json.ts';
import type { Outgoing as AnyOutgoing } from './outgoing.ts';
import type { ActionStatus } from './remediation.ts';
import type { Telling } from './supervision-event.ts';
import type { ClosedReason, Drift, DriftStatus, DriftStep, Recommendation } from './supervision.ts';
import type { Remedy, RemedyOutcome, Ruling, SupervisorEvent } from './supervision.ts';
import { targetKey } from './supervision.ts';

/** An action that was asked to write its file and has not said yet what became of that. */
export interface Asking {
  actionId: string;
  /** Asked again it is asked the same. */
  content: JsonObject;
  serial: number;
  remedy: Remedy;
  recommendationId: string;
  requiresHuman: boolean;
}

/** An action of this drift that is not over. */
export interface OwnAction {
  actionId: string;
  remedy: Remedy;
  recommendationId: string;
  status: ActionStatus | 'held';
  /** Epoch ms: its file was durable. */
  at: number;
  /** Epoch ms since when it runs, as far as was heard; null: it has not begun. */
  ranAt: number | null;
  /** A policy may approve it. */
  isApprovable: boolean;
  /** The policy's word under which it was approved, or is being approved. */
  grant: { rule: string; because: string; expires: number | null } | null;
}

export interface PastAction {
  actionId: string;
  remedy: Remedy;
  outcome: RemedyOutcome;
  /** Epoch ms. */
  at: number;
  reason: string | null;
}

export interface DriftContext {
  host: string;
  service: string | null;
  /** How it was told last; null before the first time. */
  drift: Drift | null;
  /** What it goes by: as it was told, but for a drift that is escalated. */
  advised: Recommendation | null;
  dependants: string[];
  ruling: Ruling;
  /** Epoch ms since when it stands, as a drift of this kind. */
  since: number;
  gone: { reason: ClosedReason; at: number } | null;
  status: DriftStatus;
  asking: Asking | null;
  action: OwnAction | null;
  /** Until then the drift has to be gone, epoch ms. */
  verifyUntil: number;
  /** Times that something was proposed: no two are alike. */
  proposals: number;
  /** Of what is asked of an action, and not answered. */
  tries: number;
  /** Why the last proposal was not written; epoch ms when it is tried again. */
  unwritten: { reason: string; tries: number; retryAt: number } | null;
  /** To be told, in order. */
  tellings: readonly Telling[];
  tellTries: number;
  tellAt: number;
  /** How many were, in this life of the actor. */
  told: number;
  episodes: number;
  /** Newest last. */
  past: readonly PastAction[];
  story: readonly {
    at: number;
    what: DriftStep['what'];
    because: string;
    actionId: string | null;
  }[];
}

/** Steps that wait to be told; above that the oldest are given up, but for the one at hand (P8). */
const MAX_TELLINGS = 50;
const MAX_PAST = 20;
const MAX_STORY = 50;
const MAX_BECAUSE = 500;

export const freshDrift = ({
  host,
  service,
}: Pick<DriftContext, 'host' | 'service'>): DriftContext => ({
  host,
  service,
  drift: null,
  advised: null,
  dependants: [],
  ruling: {
    decision: { mode: 'recommend', rule: null, because: 'nothing is decided yet' },
    requiresHuman: true,
    verifyWithin: 0,
    policySha256: null,
  },
  since: 0,
  gone: null,
  status: 'recommended',
  asking: null,
  action: null,
  verifyUntil: 0,
  proposals: 0,
  tries: 0,
  unwritten: null,
  tellings: [],
  tellTries: 0,
  tellAt: 0,
  told: 0,
  episodes: 0,
  past: [],
  story: [],
});

/** A drift stops nobody. */
export type Outgoing = Exclude<AnyOutgoing, { type: 'stop' }>;

/** A memory, and what is to be sent, in order. */
export interface Step {
  context: DriftContext;
  out: Outgoing[];
}

/** One after the other, each on what the one before left. */
export function inTurn(
  context: DriftContext,
  ...makers: ((context: DriftContext) => Step)[]
): Step {
  let now: Step = { context, out: [] };
  for (const make of makers) {
    const { context: next, out } = make(now.context);
    now = { context: next, out: [...now.out, ...out] };
  }
  return now;
}

export const ownAddress = ({ host, service }: Pick<DriftContext, 'host' | 'service'>): string =>
  driftAddress(host, service);

export const keyOf = ({ host, service }: Pick<DriftContext, 'host' | 'service'>): string =>
  targetKey({ host, service });

/** The supervisor hears how far it is; that it is over it knows. */
export function stand(context: DriftContext, status: DriftStatus): Step {
  const next = { ...context, status };
  const isNews = status !== context.status && status !== 'resolved';
  return isNews ? sayStatus(next) : { context: next, out: [] };
}

export function sayStatus(context: DriftContext): Step {
  const { status, action } = context;
  const actionId = action?.actionId ?? null;
  const event: SupervisorEvent = { type: 'drift.moved', key: keyOf(context), status, actionId };
  return { context, out: [toSupervisor(event)] };
}

/** A step, once: into the journal, onto the bus, and to who reads files. */
export function say(
  context: DriftContext,
  { what, because, at }: { what: DriftStep['what']; because: string; at: number },
): Step {
  const { drift, advised, host, service, status, ruling, action, since } = context;
  if (drift === null || advised === null) return { context, out: [] };
  const why = because.slice(0, MAX_BECAUSE);
  const step: DriftStep = {
    what,
    status,
    key: drift.key,
    host,
    service,
    kind: drift.kind,
    trigger: drift.trigger,
    recommendation: advised,
    decision: ruling.decision,
    action_id: action?.actionId ?? null,
    since,
    because: why,
  };
  const told = context.told + 1;
  const address = ownAddress(context);
  const telling: Telling = { step, id: `${address}#${at}.${told}`, at };
  const [first, ...rest] = [...context.tellings, telling];
  const tellings = [...(first ? [first] : []), ...rest.slice(-MAX_TELLINGS)];
  const line = { at, what, because: why, actionId: step.action_id };
  const story = [...context.story, line].slice(-MAX_STORY);
  const event = { ...asJsonObject(step), type: 'drift.became' };
  const out: Outgoing = { type: 'send', params: { to: address, event, ifThere: true } };
  return { context: { ...context, told, tellings, story }, out: [out] };
}

/** Its action is over, as far as this drift goes: the supervisor counts. */
export function end(
  context: DriftContext,
  { outcome, reason, at }: { outcome: RemedyOutcome; reason: string | null; at: number },
): Step {
  const { action } = context;
  if (action === null) return { context, out: [] };
  const { actionId, remedy } = action;
  const past = [...context.past, { actionId, remedy, outcome, at, reason }].slice(-MAX_PAST);
  const ended = toSupervisor({
    type: 'remedy.ended',
    key: keyOf(context),
    actionId,
    remedy,
    outcome,
  });
  return { context: { ...context, action: null, past }, out: [ended] };
}

export function toSupervisor(event: SupervisorEvent): Outgoing {
  return {
    type: 'send',
    params: { to: SUPERVISOR, event: { ...asJsonObject(event), type: event.type }, ifThere: true },
  };
}

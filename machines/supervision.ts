/**
 * What the supervisor, the drifts it looks after and the observer say to one another, and the words they share. The supervisor
 * compares what is desired (the inventory) with what is observed (the world's files) and looks after each difference: a drift
 * is an actor of its own, which recommends, proposes where the policy says so, sees what became of the action, and verifies
 * that the difference is gone.
 *
 * `Desired` and `Observed` are read anew from files and stand in no journal; what was found out (drifts, decisions, outcomes)
 * does.
 */
import type { HeardEvent, ProposerEvent, Window, ZoneTable } from './remediation.ts';

/** A service of a host, or (`service` null) the host itself. */
export interface Target {
  host: string;
  service: string | null;
}

/** What should be. By the host's name. */
export interface Desired {
  hosts: ReadonlyMap<string, DesiredHost>;
  /** What else hosts are called, to their names. */
  aliases: ReadonlyMap<string, string>;
  /** By target key, the keys of those that depend on it. Sorted. */
  dependants: ReadonlyMap<string, readonly string[]>;
}
export interface DesiredHost {
  name: string;
  /** False: nothing is said of it, nor of what runs there. */
  monitored: boolean;
  /** Its being offline is more than a blemish. */
  critical: boolean;
  services: ReadonlyMap<string, DesiredService>;
}
export interface DesiredService {
  name: string;
  monitored: boolean;
  critical: boolean;
  /** Keys of services that it cannot do without. Sorted. */
  dependsOn: readonly string[];
}

/** What was seen, as far as it is known. `unknown`: nobody can say (P9). `changing`: it is being started, stopped, deployed. */
export type Condition = 'well' | 'ill' | 'changing' | 'unknown';

/** What is. Hosts by their names, aliases resolved. */
export interface Observed {
  hosts: ReadonlyMap<string, ObservedHost>;
  /** When the observer last said anything, epoch ms; null: it never did. */
  at: number | null;
}
export interface ObservedHost {
  node: ObservedNode | null;
  services: ReadonlyMap<string, ObservedService>;
  /** False: nobody can say what runs there (there is no services.json), so that nothing is missing. Left out: somebody can. */
  servicesKnown?: boolean;
  /** By service: attempts that failed since the last that went well. */
  deployments: ReadonlyMap<string, { failures: number; lastFailedAt: number | null }>;
  /** Active ones. `service` null: about the host. Sorted by id. */
  incidents: readonly ObservedIncident[];
}
export interface ObservedNode {
  /** As the observer calls it. */
  status: string;
  condition: Condition;
  /** Epoch ms; null: the observer does not say. */
  seenAt: number | null;
  diskPressure: boolean;
}
export interface ObservedService {
  status: string;
  condition: Condition;
  seenAt: number | null;
  /** What made it ill: `containers_not_running`, `mqtt_unreachable`, ...; null: nobody says. */
  trigger: string | null;
}
export interface ObservedIncident {
  id: string;
  service: string | null;
  type: string | null;
  occurrences: number;
}

export const DRIFT_KINDS = [
  'offline_node',
  'failed_deployment',
  'missing_service',
  'unhealthy_service',
  'disk_pressure',
  'unresolved_incident',
] as const;
/** One target has one drift at a time: the first of these that fits. */
export type DriftKind = (typeof DRIFT_KINDS)[number];

export type ReconcileEvent = 'reconcile_required' | 'reconcile_recommended' | 'reconcile_blocked';

export const REMEDIES = [
  'container_restart',
  'redeploy',
  'disk_cleanup',
  'diagnostics',
  'failover_review',
  'review',
  'delayed_deployment',
] as const;
export type Remedy = (typeof REMEDIES)[number];
/** Those that a policy may approve; a person decides about the others, or they are words only. */
export const ACTING_REMEDIES: readonly Remedy[] = ['container_restart', 'redeploy', 'disk_cleanup'];
/** No action comes of these. */
export const WORDS_ONLY: readonly Remedy[] = ['review', 'delayed_deployment'];

export interface Drift {
  /** Of its target: `host/service`, or `host`. */
  key: string;
  host: string;
  service: string | null;
  kind: DriftKind;
  critical: boolean;
  trigger: string | null;
  /** Targets it has to wait for. Sorted. */
  blockedBy: string[];
  /** How it stands, in words; part of no comparison. */
  because: string;
}

/** What is advised about a drift. The same drift gets the same one, under the same id. */
export interface Recommendation {
  /** `redeploy-vps-web`, `failover-review-piha`, ... */
  id: string;
  event: ReconcileEvent;
  remedy: Remedy;
  risk: 'none' | 'low' | 'guarded';
}

export type Mode = 'recommend' | 'propose' | 'approve';

/** What the policy says of a recommendation. */
export interface Decision {
  mode: Mode;
  /** Name of the rule, or its place; null: no rule fits, or the rules were overruled. */
  rule: string | null;
  /** For people. */
  because: string;
}

export type SummaryState = 'nominal' | 'degraded' | 'unstable' | 'reconciling';

export interface SummaryCounts {
  nodes: { desired: number; online: number; offline: number; unknown: number };
  services: {
    desired: number;
    healthy: number;
    unhealthy: number;
    missing: number;
    unknown: number;
    unmonitored: number;
  };
  /** Seen, and in no inventory. */
  unmanaged: number;
}

/** Why a drift is over. */
export type ClosedReason = 'drift_resolved_auto' | 'service_removed_from_desired_state';

/** What a look changed, against the drifts that stood before it. Each list is sorted by key. */
export interface DriftChanges {
  opened: Standing[];
  changed: Standing[];
  closed: { key: string; reason: ClosedReason }[];
}
export interface Standing {
  drift: Drift;
  recommendation: Recommendation;
  /** Of targets that depend on it, for whoever decides about an action; left out: none. Part of no comparison. At most 50. */
  dependants?: string[];
}

/** To `system/supervisor`. Only the events of its own effects are not listed here. */
export type SupervisorEvent =
  /** What a look found. Safe to be told twice: what stands already is not opened again. */
  | ({ type: 'supervisor.looked' } & Look)
  /** A look that found nothing out: an input could not be read, and what was known holds (P6). */
  | { type: 'supervisor.skipped'; reason: string }
  | {
      type: 'supervisor.configured';
      policy: SupervisorPolicy;
      /** Globs of hosts on which a person always decides. */
      alwaysHuman: string[];
      zones: ZoneTable;
      /** Of the policy file's text; null, or left out: there is none. */
      policySha256?: string | null;
      /** Seconds for which an approval holds; left out: as in `DEFAULT_POLICY`. */
      approvalExpires?: number;
    }
  /** From the gate: nothing is approved by a policy while it is frozen. */
  | { type: 'supervisor.frozen'; frozen: boolean }
  /** From a drift whose action is durable in pending/ and may be approved by a policy. */
  | { type: 'remedy.ready'; key: string; actionId: string }
  /** From a drift: its action is over, or withdrawn, or its approval was not used. */
  | {
      type: 'remedy.ended';
      key: string;
      actionId: string;
      remedy: Remedy;
      outcome: RemedyOutcome;
    }
  /** From a drift: how far it is. */
  | { type: 'drift.moved'; key: string; status: DriftStatus; actionId: string | null }
  /** From a drift that is over and has nothing in hand. */
  | { type: 'drift.done'; key: string }
  /** A person takes back what a class of actions has earned (see `autonomyClass`). */
  | { type: 'autonomy.revoked'; class: string; by: string }
  /** A person removed its line: it begins with nothing. */
  | { type: 'autonomy.cleared'; class: string; by: string };

export interface Look extends DriftChanges {
  counts: SummaryCounts;
  /** How many drifts are not looked after, for there are too many. */
  beyond: number;
  /** So many at once that the observer is doubted rather than the homelab: nothing is proposed. Null: no. */
  doubt: string | null;
  /** Targets for which somebody else's action is open, with its id. Only of drifts that stand. */
  inHand: Record<string, string>;
  /** The observer has been silent for too long: since then, epoch ms; null: it has not. */
  staleSince: number | null;
  /** It is a further part of the look that was told before. */
  goesOn?: true;
  /** Further parts of it follow: nothing is approved before the last. */
  unfinished?: true;
}

/**
 * `verified`: the drift was gone in time. `withdrawn`: it was gone, or another one, before the action could have helped.
 * `lapsed`: it was approved and stands in pending/ again.
 */
export type RemedyOutcome =
  'verified' | 'failed' | 'not_verified' | 'declined' | 'withdrawn' | 'not_written' | 'lapsed';

/** To `system/supervisor/<host>[/<service>]`. */
export type DriftEvent =
  /** From the supervisor: it stands, or stands otherwise. */
  | ({ type: 'drift.stands' } & Standing & Ruling)
  /** The policy says otherwise now. */
  | ({ type: 'drift.decided' } & Ruling)
  | { type: 'drift.gone'; reason: ClosedReason }
  /** The policy approves what is pending. `expires`: seconds for which that holds. */
  | { type: 'remedy.approve'; actionId: string; rule: string; because: string; expires?: number }
  /** It tells itself, so that the step stands in the journal and goes out on the bus. */
  | ({ type: 'drift.became' } & DriftStep)
  | ProposerEvent;

/** What a drift is told to go by. */
export interface Ruling {
  decision: Decision;
  requiresHuman: boolean;
  /** So much was tried in vain that a person has to look: nothing more is, while it stands. */
  escalates?: true;
  /** Seconds. */
  verifyWithin: number;
  policySha256: string | null;
}

export type DriftStatus =
  /** Said, and that is all. */
  | 'recommended'
  /** An action stands in pending/. */
  | 'proposed'
  /** It was approved, or runs. */
  | 'acting'
  /** It ran well; the drift should go. */
  | 'verifying'
  /** A person said no; nothing more is proposed while it stands. */
  | 'declined'
  /** The action did not help, or no more than for a while: a person has to look. */
  | 'escalated'
  | 'resolved';

/** What `homelab.reconcile.<host>.<service>` says on the bus, the event file and the log under state/. */
export interface DriftStep {
  /** `reconcile_required` ... when it is recommended anew; else what happened. */
  what:
    | ReconcileEvent
    | 'drift_resolved'
    | 'action_proposed'
    | 'action_approved'
    | 'action_cancelled'
    | 'action_ended'
    | 'remedy_verified'
    | 'remedy_escalated';
  status: DriftStatus;
  key: string;
  host: string;
  service: string | null;
  kind: DriftKind;
  trigger: string | null;
  recommendation: Recommendation;
  decision: Decision;
  action_id: string | null;
  /** Epoch ms since when it stands. */
  since: number;
  because: string;
}

/** To `system/observer` and `system/observer/<host>`: from a bridge, or from an event file. */
export type ObserverEvent = HeardEvent;

/** `supervisor` in the policy file. Durations are seconds. */
export interface SupervisorPolicy {
  /** The first that fits decides; when none does, it is recommended only. */
  rules: SupervisorRule[];
  limits: SupervisorLimits;
  /** Nobody has seen it for so long: it is unknown. */
  stale_after: number;
  /** So long after an action ended well the drift must be gone. */
  verify_within: number;
  /** So many failed deployments in a row are repeated ones. */
  deployment_failures: number;
  /** When more than this part of all services drifts (and at least ten), or none of three or more is seen, the observer is doubted. */
  doubt_above_percent: number;
}

export interface SupervisorRule {
  name?: string;
  /** Globs; left out: all. */
  drifts?: string[];
  /** Globs of remedies; left out: all. A rule that approves has to name them. */
  actions?: string[];
  hosts?: string[];
  services?: string[];
  /** `earn`: proposes until the class of action has earned it, then approves. */
  mode: Mode | 'earn';
  /** Verified successes that it takes to earn it. Default 3. */
  after?: number;
  /** Approves only in one of these; outside of them it waits in pending/. */
  windows?: Window[];
}

/** What the policy may approve at most; a grant counts from its approval until its action has ended. */
export interface SupervisorLimits {
  approvals_per_hour?: number;
  /** On one target within an hour; then a person has to look. */
  approvals_per_target_per_hour?: number;
  hosts_at_once?: number;
  actions_at_once?: number;
  /** Of the services that are desired; at least one is always allowed. */
  percent_at_once?: number;
}

/** By which the supervisor itself withdraws what is pending. */
export const SUPERVISOR_DOOR = 'supervisor';
/** By which a policy approves. */
export const POLICY_DOOR = 'policy';

export const DEFAULT_EARNED_AFTER = 3;

export const DEFAULT_SUPERVISOR_POLICY: SupervisorPolicy = {
  rules: [],
  limits: {
    approvals_per_hour: 10,
    approvals_per_target_per_hour: 3,
    hosts_at_once: 1,
    actions_at_once: 1,
  },
  stale_after: 600,
  verify_within: 300,
  deployment_failures: 2,
  doubt_above_percent: 50,
};

/** What is earned, and lost, together: one kind of action on one target. */
export const autonomyClass = (remedy: Remedy, key: string): string => `${remedy} ${key}`;

/** What a class of actions has earned. A line of `state/autonomy.json`. */
export interface Earned {
  /** Approved and verified, since the last failure. */
  successes: number;
  /** Epoch ms. */
  lastSuccessAt: number | null;
  lastFailureAt: number | null;
  /** A person took it back: it is earned no more until the line is removed. */
  revokedBy: string | null;
}

export const targetKey = ({ host, service }: Target): string =>
  service === null ? host : `${host}/${service}`;

/** Of an action: one about a host has no service, `''`. */
export const actionKey = ({ host, service }: { host: string; service: string }): string =>
  targetKey({ host, service: service === '' ? null : service });

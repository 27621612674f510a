/**
 * What planner, incidents, actions and the gate say to one another. An incident (one for each host and service) has an event
 * diagnosed and proposes an action; the action is an actor of its own, which writes its file, waits for people, asks the
 * gate, runs and is verified; the planner's root passes on what the homelab says.
 */
import { DEFAULT_EVENT_RULES } from './event-rules.ts';
import type { EventRule } from './event-rules.ts';
import type { HomelabEvent } from './homelab-events.ts';
import type { JsonObject, JsonValue } from './json.ts';
import { DEFAULT_SUPERVISOR_POLICY } from './supervision.ts';
import type { SupervisorPolicy } from './supervision.ts';

export const ACTION_STATUSES = [
  'pending',
  'approved',
  'running',
  'completed',
  'failed',
  'rejected',
  'cancelled',
] as const;
/** The folder in which an action's file stands; it beats what the file says of itself. */
export type ActionStatus = (typeof ACTION_STATUSES)[number];

/** What the model may propose, and nothing else. */
export type ProposedAction = 'restart' | 'redeploy' | 'notify' | 'ignore';

/** The model's answer, valid by the proposal's schema. */
export interface Proposal extends JsonObject {
  action: ProposedAction;
  service: string;
  /** The host. */
  node: string;
  reason: string;
  /** 0..1 */
  confidence: number;
  requires_human: boolean;
}

/** One thing that a rule changed in a proposal: only ever towards more caution (P7). */
export interface Tightening extends JsonObject {
  /** Name of the rule in the policy file. */
  rule: string;
  field: string;
  from: JsonValue;
  to: JsonValue;
  /** For people. */
  because: string;
}

/** What a bridge tells whoever subscribed to it. */
export type HeardEvent =
  | {
      type: 'homelab.event';
      channel: string;
      host: string;
      service: string;
      event: HomelabEvent;
    }
  | { type: 'homelab.gap'; channel: string; since: number; until: number; reason: string };

/** To `system/planner`. */
export type PlannerEvent =
  | HeardEvent
  /** An action wants to be told how a service is from now on; `planner.unwatch` ends it. */
  | { type: 'planner.watch'; address: string; host: string; service: string }
  | { type: 'planner.unwatch'; address: string }
  | { type: 'planner.configured'; cooldownSeconds: number }
  /** From an incident that was asked: it has nothing in hand. */
  | { type: 'incident.dismissed'; address: string };

/** To `system/planner/<host>/<service>`. */
export type IncidentEvent =
  | { type: 'incident.event'; channel: string; event: HomelabEvent; cooldownSeconds: number }
  /** The service says that it is well. */
  | { type: 'incident.recovered'; event: HomelabEvent }
  | { type: 'cooldown.reset'; by: string }
  /** There are too many: it may go, unless it has something in hand. */
  | { type: 'incident.dismiss' }
  | ProposerEvent;

/** What an action tells whoever proposed it. */
export type ProposerEvent =
  /** Its file is durable. */
  | { type: 'proposal.durable'; actionId: string; path: string }
  /** Another action has this id. */
  | { type: 'proposal.taken'; actionId: string }
  | { type: 'proposal.failed'; actionId: string; reason: string }
  /** Only a drift is told: its file stands there now, and is not over. `pending`: again. */
  | { type: 'action.moved'; actionId: string; status: ActionStatus | 'held'; reason: string | null }
  | { type: 'action.settled'; actionId: string; status: ActionStatus; reason: string | null };

/** To `system/action/<id>`. Only the events of its own effects are not listed here. */
export type ActionEvent =
  /** `content`: of the file to be written, whole. `origin`: who proposes it and wants to hear of it. */
  | { type: 'action.propose'; content: JsonObject; origin: string }
  /** Its file stands in this folder, with this content. From the door that watches the folders. */
  | {
      type: 'action.found';
      status: ActionStatus;
      content: JsonObject;
      /** Of what an approval names; see action-file.ts. */
      sha256: string;
      /** When it came to stand there, epoch ms, as far as the file system knows. */
      movedAt?: number;
      /** Seconds for which an approval given by that move holds; left out: as in `DEFAULT_POLICY`. */
      expires?: number;
    }
  /** Its file stands in none of the folders. */
  | { type: 'action.missing' }
  /** Nobody can say what its file is: it cannot be read, is no action, or stands in two folders. */
  | { type: 'action.unreadable'; reason: string }
  /** It tells itself, so that the step stands in the journal and goes out on the bus. */
  | ({ type: 'action.became' } & ActionStep)
  /** `sha256`: of what the person saw; left out, of what stands there. `door`: by which they came. */
  | { type: 'action.approve'; by: string; door: string; sha256?: string; expires?: number }
  | { type: 'action.reject'; by: string; door: string; reason: string | null }
  | { type: 'action.cancel'; by: string; door: string; reason: string | null }
  /** From the gate. */
  | { type: 'gate.granted' }
  /** `dryRun`: nothing runs, but what would run is to be written down. */
  | { type: 'gate.refused'; reason: string; until: number | null; dryRun?: boolean }
  /** From the planner: what the service says of itself. */
  | { type: 'service.reported'; healthy: boolean; event: HomelabEvent };

/** By which the planner itself takes back what is pending. */
export const PLANNER_DOOR = 'planner';

/** What `actions.<id>.<status>` says on the bus. */
export interface ActionStep {
  action_id: string;
  status: ActionStatus | 'held';
  from: ActionStatus | 'held' | null;
  by: string;
  reason: string | null;
  action_type: string;
  host: string;
  service: string;
  risk: string;
  description: string;
}

/** To `system/gate`: what may run, and when. */
export type GateEvent =
  | {
      type: 'gate.ask';
      actionId: string;
      address: string;
      host: string;
      service: string;
      actionType: string;
    }
  /** It has ended, or wants to run no more. `unused`: it did not begin, so that what it was let run counts for no limit. */
  | { type: 'gate.left'; actionId: string; unused?: boolean }
  /** Another executor runs it: it counts, and was not asked about. */
  | { type: 'gate.elsewhere'; actionId: string; address: string; host: string; service: string }
  /** `policy` null: nobody knows what it is, so nothing runs. */
  | { type: 'gate.configured'; policy: Policy | null; mode: ExecutorMode; zones?: ZoneTable }
  | { type: 'gate.freeze'; by: string; reason: string }
  | { type: 'gate.unfreeze'; by: string };

export type ExecutorMode = 'on' | 'dry-run' | 'off';

/**
 * By IANA name: from which epoch ms on which offset from UTC holds, in minutes, the oldest first. The rules of time zones
 * change with the platform; what the gate decided must not change with them, so it is told what holds.
 */
export type ZoneTable = Record<string, [from: number, offsetMinutes: number][]>;

/** What a person wrote in the policy file; what it leaves out is as in `DEFAULT_POLICY`. Durations are seconds. */
export interface Policy {
  /** Globs (`chelsty-*`): whatever is proposed there needs a person. */
  always_human_hosts: string[];
  /** Globs of event types: only `notify` may be proposed for them. */
  always_notify_types: string[];
  /** Below it a person is needed. */
  confidence_floor: number;
  /** What is done about certain events, whatever a model would say; the first that fits decides. */
  event_rules: EventRule[];
  /** Nothing runs there and then. */
  closed_windows: Window[];
  /** When given, what it matches runs only in one of these. */
  open_windows: Window[];
  rate_limits: { per_service_per_hour?: number; per_host_per_hour?: number; per_hour?: number };
  blast_radius: { hosts_at_once?: number; actions_at_once?: number; per_host_at_once?: number };
  /** An approval that was not used by then is void. */
  approval_expires: number;
  /** What the supervisor may do about drifts. */
  supervisor: SupervisorPolicy;
}

export interface Window {
  name?: string;
  /** Globs; left out: all. */
  hosts?: string[];
  services?: string[];
  /** `mon` .. `sun`; left out: every day. */
  days?: string[];
  /** `HH:MM`; a window whose end comes before its start goes over midnight. */
  from: string;
  to: string;
  /** IANA name; default UTC. */
  timezone?: string;
}

/** The rules of the planner that this one stands in for. */
export const DEFAULT_POLICY: Policy = {
  always_human_hosts: ['chelsty-*'],
  always_notify_types: ['disk_pressure*'],
  confidence_floor: 0.7,
  event_rules: DEFAULT_EVENT_RULES,
  closed_windows: [],
  open_windows: [],
  rate_limits: {},
  blast_radius: { per_host_at_once: 1 },
  approval_expires: 3600,
  supervisor: DEFAULT_SUPERVISOR_POLICY,
};

/**
 * What an incident remembers, and how its events change that. Bounded: an event's payload was cut by the planner, lists have
 * lengths (P8).
 */
import { happenedAt } from './health-event.ts';
import type { HomelabEvent, Severity } from './homelab-events.ts';
import type { Diagnosis } from './proposal.ts';
import type { Announcement, Started } from './remediation-event.ts';
import type { ActionStatus } from './remediation.ts';

/** An event that is looked into, and by which channel it came. */
export interface Case {
  channel: string;
  event: HomelabEvent;
  /** Since then this has been heard, which ends what it is about. */
  over?: string;
}

export interface Told {
  id: string;
  type: string;
  severity: Severity;
  /** Epoch ms. */
  at: number;
}

/** An action that this incident proposed. */
export interface ProposedBefore {
  actionId: string;
  action: string;
  /** Epoch ms: when its file was durable. */
  at: number;
  status: ActionStatus;
  reason: string | null;
  /** When it is about another one than the incident. */
  service?: string;
  /** Type of the event that it answers. */
  about?: string;
}

/** What of a proposal is needed when its file is durable. */
export interface Asked {
  about: string;
  quiets?: Diagnosis['quiets'];
  over?: string;
}

/** How the last look ended. `at`: epoch ms. */
export type Outcome = { at: number; text: string } & (
  { kind: 'proposed' | 'ignored'; model: string } | { kind: 'llm_failed' | 'write_failed' }
);

export interface IncidentContext {
  host: string;
  service: string;
  /** Of the incident that is open, or was last; all three 0 before the first event. Epoch ms, as the events say. */
  occurrences: number;
  firstSeenAt: number;
  lastSeenAt: number;
  last: Told | null;
  /** Of the incident that is open, by type: when it was heard first, epoch ms. Those that were said to be over are gone. */
  heard?: Times;
  /** Since then the service has said that it is well, epoch ms; null: it has not, since the last event. */
  recoveredAt: number | null;
  /** How often it did since the incident is open. */
  recoveries: number;
  /** Under diagnosis, or proposed just now. */
  current: Case | null;
  /** The newest of those that came meanwhile. */
  waiting: Case | null;
  /** Of other types than that one, the newest of each, the newest last. */
  behind?: readonly Case[];
  diagnosis: Diagnosis | null;
  /** What the count was then: asking an action again must be asking the same. */
  counted: { occurrences: number; firstSeenAt: number };
  /** Of the action id that is tried. */
  serial: number;
  /** How often that one was asked. */
  asks: number;
  /** As the planner's configuration says. */
  cooldownSeconds: number;
  /** Absolute, epoch ms; null: none was recorded, or it was reset. */
  cooldownUntil: number | null;
  /** Types of events that rules keep quiet, and until when, epoch ms. */
  quiet?: Times;
  /** What was proposed last and has had no answer: its file may yet become durable. */
  unanswered: Started | null;
  asked?: Asked | null;
  /** Newest last. */
  proposed: readonly ProposedBefore[];
  /** Event files to be written, in order. */
  announcements: readonly Announcement[];
  announceTries: number;
  announceAt: number;
  outcome: Outcome | null;
  diagnoses: number;
}

/** By a name from outside. */
export type Times = Readonly<Record<string, number>>;

/** Actions that are remembered. */
const MAX_PROPOSED = 20;
/** Event files that wait for the disk; above that the oldest are given up, but for the one at hand. */
const MAX_ANNOUNCEMENTS = 50;

export const freshIncident = ({
  host,
  service,
}: Pick<IncidentContext, 'host' | 'service'>): IncidentContext => ({
  host,
  service,
  occurrences: 0,
  firstSeenAt: 0,
  lastSeenAt: 0,
  last: null,
  recoveredAt: null,
  recoveries: 0,
  current: null,
  waiting: null,
  diagnosis: null,
  counted: { occurrences: 0, firstSeenAt: 0 },
  serial: 1,
  asks: 1,
  cooldownSeconds: 0,
  cooldownUntil: null,
  unanswered: null,
  proposed: [],
  announcements: [],
  announceTries: 0,
  announceAt: 0,
  outcome: null,
  diagnoses: 0,
});

/** One more event of the incident that is open. */
export function grouped(context: IncidentContext, event: HomelabEvent): Partial<IncidentContext> {
  const at = happenedAt(event);
  const { id, type } = event;
  const { heard = {} } = context;
  return {
    heard: Object.hasOwn(heard, type) ? heard : withTime(heard, type, at),
    occurrences: context.occurrences + 1,
    firstSeenAt: context.occurrences === 0 ? at : Math.min(context.firstSeenAt, at),
    lastSeenAt: Math.max(context.lastSeenAt, at),
    last: { id, type, severity: event.data.severity, at },
    recoveredAt: null,
  };
}

/** A service that was well again, and had time to stay so, has a new incident. */
export function opened(context: IncidentContext): IncidentContext {
  if (context.recoveredAt === null) return context;
  return { ...context, occurrences: 0, firstSeenAt: 0, lastSeenAt: 0, recoveries: 0, heard: {} };
}

export function announced(
  { announcements }: IncidentContext,
  announcement: Announcement,
): Pick<IncidentContext, 'announcements'> {
  const [first, ...rest] = [...announcements, announcement];
  return { announcements: [...(first ? [first] : []), ...rest.slice(-MAX_ANNOUNCEMENTS)] };
}

export function withProposed(
  { proposed }: IncidentContext,
  entry: ProposedBefore,
): Pick<IncidentContext, 'proposed'> {
  return { proposed: [...proposed, entry].slice(-MAX_PROPOSED) };
}

export const isSettled = (status: ActionStatus): boolean =>
  status !== 'pending' && status !== 'approved' && status !== 'running';

/** Types that are remembered. */
const MAX_TYPES = 50;

/** The newest stay. */
export const withTime = (times: Times, type: string, at: number): Times =>
  Object.fromEntries(
    [...Object.entries(times).filter(([other]) => other !== type), [type, at] as const].slice(
      -MAX_TYPES,
    ),
  );

/** Until when events of this type are quiet, epoch ms; 0: they are not. */
export const quietUntil = ({ quiet = {} }: IncidentContext, type: string): number =>
  Object.hasOwn(quiet, type) ? (quiet[type] ?? 0) : 0;

/** Types that are quiet at that time, and until when. */
export const quietTypes = ({ quiet = {} }: IncidentContext, at: number): [string, number][] =>
  Object.entries(quiet).filter(([, until]) => until > at);

/** What has been heard, as far as it is not over; {}: it is well. */
export function heardIn({ heard, last, recoveredAt }: IncidentContext): Times {
  if (recoveredAt !== null) return {};
  return heard ?? (last === null ? {} : { [last.type]: last.at }); // of before it was kept
}

/** Those that wait, the one whose turn is next last. */
export const inLine = ({ waiting, behind = [] }: IncidentContext): Case[] =>
  waiting === null ? [] : [...behind, waiting];

type Line = Pick<IncidentContext, 'waiting' | 'behind'>;

/** Other types than the one that is looked into and the one that is next. */
const MAX_BEHIND = 8;

export const lineOf = (cases: readonly Case[]): Line => ({
  waiting: cases.at(-1) ?? null,
  behind: cases.slice(-1 - MAX_BEHIND, -1),
});

/** Seconds of cooldown that are left at that time, never negative; 0 when none was recorded. */
export const remainingSeconds = ({ cooldownUntil }: IncidentContext, at: number): number =>
  cooldownUntil === null ? 0 : Math.max(0, (cooldownUntil - at) / 1000);

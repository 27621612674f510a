/**
 * What Lazarus knows of one agent: the failure at hand, the revival it leads to, and how earlier ones went. The ledger
 * entry is the record that people read and that the runtime files under `revivals/`.
 */
import type { Failure, Stamp } from './events.ts';
import type { RevivalHistory } from './futility.ts';
import { DEFAULT_POLICIES, DEFAULT_RESTART } from './mission.ts';
import type { Policies, RestartIntensity } from './mission.ts';
import type { RevivalDecision } from './revival-policy.ts';
import { decideRevival, hasStopped } from './revival-policy.ts';
import { choicesOf } from './revival-choices.ts';
import type { RevivalChoice } from './revival-choices.ts';
import { recordRestart } from './restart-intensity.ts';
import { isoFromEpoch } from './time.ts';

export interface ReportedFailure {
  failure: Failure;
  policies: Policies;
  restart: RestartIntensity;
  /** Epoch ms, and `up`, at which Lazarus heard of it. */
  at: number;
  up: number;
}

export interface PastRevival {
  at: number;
  revivalId: string;
  signature: string;
  outcome: RevivalOutcome;
  /** Ms from the failure (or the approval) to the verified revival; null for other outcomes. */
  tookMs: number | null;
}

export type RevivalOutcome =
  | 'revived' // verified
  | 'recovered' // it came back by itself
  | 'asking' // waits for a person
  | 'refused' // auto_revive is "no"
  | 'substituted' // another agent has its task
  | 'rejected' // a person gave it up
  | 'expired' // nobody answered
  | 'removed'; // the agent is no more

/** What a person answered. */
export type Answer =
  | { kind: 'retry'; by: string; at: number }
  | { kind: 'roll_back'; by: string; at: number }
  | { kind: 'substitute'; by: string; at: number; agentId: string | null }
  | { kind: 'give_up'; by: string; at: number };

export interface LazarusContext {
  cellId: string;
  agentId: string;
  /** The failure that is being dealt with. */
  current: ReportedFailure | null;
  /** One that came while the outcome of the last was being recorded. */
  queued: ReportedFailure | null;
  decision: RevivalDecision | null;
  /** Numbers the revivals of this agent. */
  count: number;
  revivalId: string | null;
  requestedAt: number;
  /** Epoch ms from which the time it took is counted: the failure, or the approval. */
  countedFrom: number;
  /** `up` from which `revive_timeout` counts, and how much of the time since then does not, in ms. */
  clockFrom: number;
  queuedMs: number;
  /** `up` since which the agent's worker waits its turn to start; null: it does not. */
  queuedSince: number | null;
  /** Revivals tried for the request at hand. */
  attempts: number;
  /** It was told to come back and has not failed since: it may be at work. */
  called: boolean;
  /** Epoch ms at which the revival starts, at which a question to people lapses. */
  dueAt: number;
  expiresAt: number;
  /** A person was asked about the request at hand, so it has a file under `revivals/`. */
  asked: boolean;
  /** The last answer to it. */
  answer: Answer | null;
  /** Who was asked to take the task over, and who did. */
  substitutes: string[];
  substitute: { agentId: string; taskId: string } | null;
  /** Seq of the checkpoint its state was put back to, for the answer at hand. */
  rolledBackTo: number | null;
  outcome: RevivalOutcome | null;
  endedAt: number;
  reason: string;
  story: string[];
  restarts: number[];
  /** Epoch ms of events its machine threw, within the period of the restart intensity. */
  faults: number[];
  withoutProgress: number;
  sameSignature: number;
  lastSignature: string | null;
  lastProgress: number;
  /** How far the backoff has grown, and when the agent last came back. */
  tried: number;
  revivedAt: number;
  /** Verified revivals in all; the history keeps only the last ones. */
  timesRevived: number;
  ledgerTries: number;
  ledgerRetryAt: number;
  history: PastRevival[];
}

export interface LazarusInput {
  cellId: string;
  agentId: string;
}

export interface LedgerEntry {
  revival_id: string;
  cell_id: string;
  agent_id: string;
  /** The failure in words. */
  reason: string;
  signature: string;
  requested_at: string;
  status: 'pending' | 'pending_approval' | 'revived' | 'failed';
  /** What came of it in Lazarus' own words; null while it is under way. */
  outcome: RevivalOutcome | null;
  /** Why the outcome is what it is; empty for a revival. */
  because: string;
  revived_at: string | null;
  took_ms: number | null;
  attempts: number;
  approved_by: string | null;
  answered: Answer['kind'] | null;
  substitute: string | null;
  /** Only while it waits for a person. */
  expires_at: string | null;
  choices: RevivalChoice[];
  /** A request was filed for people, so there is a file to keep up. */
  asked: boolean;
  /** Only while it waits for a person: how the requests before it ended, a line each. */
  earlier: string[];
  story: string[];
}

const MAX_STORY = 40;
const MAX_HISTORY = 20;
/** Earlier revivals of which a person is told. */
const MAX_EARLIER = 5;

export function freshLazarus({ cellId, agentId }: LazarusInput): LazarusContext {
  return {
    cellId,
    agentId,
    current: null,
    queued: null,
    decision: null,
    count: 0,
    revivalId: null,
    requestedAt: 0,
    countedFrom: 0,
    clockFrom: 0,
    queuedMs: 0,
    queuedSince: null,
    attempts: 0,
    called: false,
    dueAt: 0,
    expiresAt: 0,
    asked: false,
    answer: null,
    substitutes: [],
    substitute: null,
    rolledBackTo: null,
    outcome: null,
    endedAt: 0,
    reason: '',
    story: [],
    restarts: [],
    faults: [],
    withoutProgress: 0,
    sameSignature: 0,
    lastSignature: null,
    lastProgress: -1,
    tried: 0,
    revivedAt: 0,
    timesRevived: 0,
    ledgerTries: 0,
    ledgerRetryAt: 0,
    history: [],
  };
}

/** A failure is taken up: a new request, or one more attempt of the request at hand when it failed while reviving. */
export function takeUp(context: LazarusContext, reported: ReportedFailure): LazarusContext {
  const { failure, restart, at, up } = reported;
  const isNew = context.revivalId === null;
  const progressed = failure.progress > context.lastProgress;
  const isSame = !progressed && failure.signature === context.lastSignature;
  const wasHealthy = context.revivedAt > 0 && at - context.revivedAt >= restart.period * 1000;
  const counted: LazarusContext = {
    ...context,
    current: reported,
    queued: null,
    called: context.called && !hasStopped(failure),
    withoutProgress: progressed ? 0 : context.withoutProgress,
    tried: progressed || (isNew && wasHealthy) ? 0 : context.tried,
    sameSignature: isSame ? context.sameSignature + 1 : 1,
    lastSignature: failure.signature,
    lastProgress: Math.max(context.lastProgress, failure.progress),
    queuedSince: null,
    ...(isNew && freshRequest(context, { at, up })),
  };
  return tell(decide(counted, reported), at, `failed: ${failure.message}`);
}

function freshRequest(context: LazarusContext, { at, up }: Instant): Partial<LazarusContext> {
  const count = context.count + 1;
  return {
    count,
    revivalId: `${context.cellId}.${context.agentId}.${count}`,
    requestedAt: at,
    ...clockStart({ at, up }),
    attempts: 0,
    asked: false,
    answer: null,
    substitutes: [],
    substitute: null,
    rolledBackTo: null,
    outcome: null,
    story: [],
    ledgerTries: 0,
  };
}

function decide(context: LazarusContext, reported: ReportedFailure): LazarusContext {
  const { failure, policies, restart, at } = reported;
  const { agentId, tried } = context;
  const history = historyOf(context);
  const decision = decideRevival({ agentId, policies, restart, history, tried, failure, at });
  const delayMs = decision.kind === 'revive' ? decision.delayMs : 0;
  return {
    ...context,
    decision,
    dueAt: at + delayMs,
    reason: decision.kind === 'revive' ? '' : decision.reason,
    substitutes: decision.kind === 'futile' ? decision.substitutes : [],
  };
}

export function historyOf(context: LazarusContext): RevivalHistory {
  const { restarts, withoutProgress, sameSignature } = context;
  return { restarts, withoutProgress, sameSignature };
}

/** A person answered. To one who wants it back the counters begin anew, whatever policy and counters say. */
export function answered(context: LazarusContext, answer: Answer, up: number): LazarusContext {
  const { at, by } = answer;
  const isOver = context.outcome !== null && context.outcome !== 'asking';
  const next: LazarusContext = {
    ...context,
    ...(isOver && { ...freshRequest(context, { at, up }), story: context.story }),
    decision: { kind: 'revive', delayMs: 0 },
    outcome: null,
    answer,
    rolledBackTo: null,
    restarts: [],
    faults: [],
    withoutProgress: 0,
    sameSignature: 0,
    tried: 0,
    dueAt: at,
    ...clockStart({ at, up }),
    ledgerTries: 0,
    substitutes: answer.kind === 'substitute' ? substitutesFor(context, answer.agentId) : [],
  };
  return tell(next, at, `${WORDS[answer.kind]} by ${by}`);
}

const WORDS = {
  retry: 'approved',
  roll_back: 'approved, from the previous checkpoint,',
  substitute: 'a substitute was asked for',
  give_up: 'given up',
} as const;

const substitutesFor = ({ current }: LazarusContext, agentId: string | null): string[] =>
  agentId === null ? (current?.policies.substitute_agents ?? []) : [agentId];

type Instant = Pick<Stamp, 'at' | 'up'>;

const clockStart = ({ at, up }: Instant): Partial<LazarusContext> => ({
  countedFrom: at,
  clockFrom: up,
  queuedMs: 0,
  queuedSince: null,
});

/** `up` by which the revival at hand must be verified (L8). */
export function reviveDeadline({ current, clockFrom, queuedMs }: LazarusContext): number {
  const { revive_timeout: timeout } = current?.policies ?? DEFAULT_POLICIES;
  return clockFrom + timeout * 1000 + queuedMs;
}

/** L8: the agent's worker waits its turn; the clock stands still. */
export function queuedIn(context: LazarusContext, { at, up }: Instant): LazarusContext {
  return tell({ ...context, queuedSince: up }, at, 'its worker waits its turn to start');
}

export function leftQueue(context: LazarusContext, up: number): LazarusContext {
  const queuedMs = context.queuedMs + up - (context.queuedSince ?? up);
  return { ...context, queuedMs, queuedSince: null };
}

export function startRevival(context: LazarusContext, at: number): LazarusContext {
  const restart = context.current?.restart ?? DEFAULT_RESTART;
  const next = {
    ...context,
    attempts: context.attempts + 1,
    tried: context.tried + 1,
    withoutProgress: context.withoutProgress + 1,
    restarts: recordRestart(context.restarts, at, restart).restarts,
  };
  return tell(next, at, `revival ${next.attempts} started`);
}

/** The request is over, or waits for a person; the ledger says how and why. */
export function conclude(
  context: LazarusContext,
  end: { outcome: RevivalOutcome; reason: string; at: number },
): LazarusContext {
  const { outcome, reason, at } = end;
  const isBack = outcome === 'revived' || outcome === 'recovered';
  const past: PastRevival = {
    at,
    outcome,
    revivalId: context.revivalId ?? '',
    signature: context.current?.failure.signature ?? '',
    tookMs: isBack ? at - context.countedFrom : null,
  };
  const { ask_expires: askExpires } = context.current?.policies ?? DEFAULT_POLICIES;
  const next: LazarusContext = {
    ...context,
    outcome,
    reason,
    endedAt: at,
    revivedAt: isBack ? at : context.revivedAt,
    timesRevived: context.timesRevived + (outcome === 'revived' ? 1 : 0),
    ledgerTries: 0,
    ...(outcome === 'asking' && {
      asked: true,
      answer: null, // an answer is used once: whoever is asked again has not yet answered
      expiresAt: at + askExpires * 1000,
    }),
    history: [...context.history, past].slice(-MAX_HISTORY),
  };
  return tell(next, at, reason === '' ? outcome : `${outcome}: ${reason}`);
}

/** The request is answered and recorded; what is counted goes on. */
export function forgetRequest(context: LazarusContext): LazarusContext {
  return { ...context, current: null, decision: null, revivalId: null, outcome: null };
}

/** The same line twice in a row says no more than once: a held actor tells its failure, and so does the release that failed. */
export function tell(context: LazarusContext, at: number, line: string): LazarusContext {
  if (context.story.at(-1)?.endsWith(`Z ${line}`)) return context;
  return { ...context, story: [...context.story, `${isoFromEpoch(at)} ${line}`].slice(-MAX_STORY) };
}

/** How the requests before the one at hand, or the last one, ended. */
export function earlierOf({ history, revivalId }: LazarusContext): string[] {
  const present = revivalId ?? history.at(-1)?.revivalId;
  return history
    .filter((past) => past.revivalId !== present && past.outcome !== 'asking')
    .slice(-MAX_EARLIER)
    .map(({ at, outcome, revivalId: id, signature, tookMs }) => {
      const took = tookMs === null ? '' : ` after ${tookMs} ms`;
      return `${isoFromEpoch(at)} ${id}: ${signature}, ${outcome}${took}`;
    });
}

export function ledgerEntry(context: LazarusContext): LedgerEntry {
  const { outcome, requestedAt, endedAt, answer } = context;
  const isBack = outcome === 'revived' || outcome === 'recovered';
  const isApproval = answer !== null && answer.kind !== 'give_up';
  return {
    revival_id: context.revivalId ?? '',
    cell_id: context.cellId,
    agent_id: context.agentId,
    reason: context.current?.failure.message ?? '',
    signature: context.current?.failure.signature ?? '',
    requested_at: isoFromEpoch(requestedAt),
    status: ledgerStatus(outcome),
    outcome,
    because: context.reason,
    revived_at: isBack ? isoFromEpoch(endedAt) : null,
    took_ms: isBack ? endedAt - context.countedFrom : null,
    attempts: context.attempts,
    approved_by: isApproval ? answer.by : null,
    answered: answer?.kind ?? null,
    substitute: context.substitute?.agentId ?? null,
    expires_at: outcome === 'asking' ? isoFromEpoch(context.expiresAt) : null,
    choices: outcome === 'asking' ? choicesOf(context) : [],
    asked: context.asked,
    earlier: outcome === 'asking' ? earlierOf(context) : [],
    story: context.story,
  };
}

function ledgerStatus(outcome: RevivalOutcome | null): LedgerEntry['status'] {
  if (outcome === 'revived' || outcome === 'recovered') return 'revived';
  if (outcome === null) return 'pending';
  return outcome === 'asking' ? 'pending_approval' : 'failed';
}

/**
 * What Lazarus knows of one agent: the failure at hand, the revival it leads to, and how earlier ones went. The ledger
 * entry is the record that people read and that the runtime files under `revivals/`.
 */
import type { Failure } from './events.ts';
import { DEFAULT_POLICIES, DEFAULT_RESTART } from './mission.ts';
import type { Policies, RestartIntensity } from './mission.ts';
import type { RevivalDecision } from './revival-policy.ts';
import { decideRevival } from './revival-policy.ts';
import { recordRestart } from './restart-intensity.ts';
import { isoFromEpoch } from './time.ts';

export interface ReportedFailure {
  failure: Failure;
  policies: Policies;
  restart: RestartIntensity;
  /** Epoch ms at which Lazarus heard of it. */
  at: number;
}

export interface PastRevival {
  at: number;
  revivalId: string;
  signature: string;
  outcome: RevivalOutcome;
}

export type RevivalOutcome = 'revived' | 'asking' | 'refused' | 'gave_up' | 'rejected' | 'removed';

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
  /** Epoch ms from which `revive_timeout` counts: the failure, or the approval. */
  countedFrom: number;
  /** Revivals tried for the request at hand. */
  attempts: number;
  /** Epoch ms at which the revival starts, and by which it must be verified. */
  dueAt: number;
  deadlineAt: number;
  approvedBy: string | null;
  outcome: RevivalOutcome | null;
  endedAt: number;
  reason: string;
  story: string[];
  restarts: number[];
  withoutProgress: number;
  sameSignature: number;
  lastSignature: string | null;
  lastProgress: number;
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
  reason: string;
  signature: string;
  requested_at: string;
  status: 'revived' | 'failed' | 'pending_approval';
  /** What came of it in Lazarus' own words; null while it is under way. */
  outcome: RevivalOutcome | null;
  revived_at: string | null;
  took_ms: number | null;
  attempts: number;
  approved_by: string | null;
  story: string[];
}

const MAX_STORY = 40;
const MAX_HISTORY = 20;

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
    attempts: 0,
    dueAt: 0,
    deadlineAt: 0,
    approvedBy: null,
    outcome: null,
    endedAt: 0,
    reason: '',
    story: [],
    restarts: [],
    withoutProgress: 0,
    sameSignature: 0,
    lastSignature: null,
    lastProgress: -1,
    ledgerTries: 0,
    ledgerRetryAt: 0,
    history: [],
  };
}

/** A failure is taken up: a new request, or one more attempt of the request at hand when it failed while reviving. */
export function takeUp(context: LazarusContext, reported: ReportedFailure): LazarusContext {
  const { failure, at } = reported;
  const isNew = context.revivalId === null;
  const progressed = failure.progress > context.lastProgress;
  const isSame = !progressed && failure.signature === context.lastSignature;
  const counted: LazarusContext = {
    ...context,
    current: reported,
    queued: null,
    withoutProgress: progressed ? 0 : context.withoutProgress,
    sameSignature: isSame ? context.sameSignature + 1 : 1,
    lastSignature: failure.signature,
    lastProgress: Math.max(context.lastProgress, failure.progress),
    ...(isNew && freshRequest(context, at)),
  };
  return tell(decide(counted, reported), at, `failed: ${failure.message}`);
}

function freshRequest(context: LazarusContext, at: number): Partial<LazarusContext> {
  const count = context.count + 1;
  return {
    count,
    revivalId: `${context.agentId}-${count}`,
    requestedAt: at,
    countedFrom: at,
    attempts: 0,
    approvedBy: null,
    outcome: null,
    story: [],
    ledgerTries: 0,
  };
}

function decide(context: LazarusContext, reported: ReportedFailure): LazarusContext {
  const { failure, policies, restart, at } = reported;
  const { agentId, restarts, withoutProgress, sameSignature } = context;
  const history = { restarts, withoutProgress, sameSignature };
  const decision = decideRevival({ agentId, policies, restart, history, failure, at });
  const delayMs = decision.kind === 'revive' ? decision.delayMs : 0;
  return {
    ...context,
    decision,
    dueAt: at + delayMs,
    deadlineAt: context.countedFrom + policies.revive_timeout * 1000,
    reason: decision.kind === 'revive' ? '' : decision.reason,
  };
}

/** A person wants it back now, whatever policy and counters say: they begin anew. */
export function approve(context: LazarusContext, by: string, at: number): LazarusContext {
  const wasClosed = context.outcome !== null && context.outcome !== 'asking';
  const timeoutMs = (context.current?.policies ?? DEFAULT_POLICIES).revive_timeout * 1000;
  const next: LazarusContext = {
    ...context,
    ...(wasClosed && { ...freshRequest(context, at), story: context.story }),
    decision: { kind: 'revive', delayMs: 0 },
    outcome: null,
    approvedBy: by,
    restarts: [],
    withoutProgress: 0,
    dueAt: at,
    countedFrom: at,
    deadlineAt: at + timeoutMs,
    ledgerTries: 0,
  };
  return tell(next, at, `approved by ${by}`);
}

export function startRevival(context: LazarusContext, at: number): LazarusContext {
  const restart = context.current?.restart ?? DEFAULT_RESTART;
  const next = {
    ...context,
    attempts: context.attempts + 1,
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
  const past: PastRevival = {
    at,
    outcome,
    revivalId: context.revivalId ?? '',
    signature: context.current?.failure.signature ?? '',
  };
  const next: LazarusContext = {
    ...context,
    outcome,
    reason,
    endedAt: at,
    ledgerTries: 0,
    // An approval is used once: whoever is asked again has not yet answered.
    approvedBy: outcome === 'asking' ? null : context.approvedBy,
    history: [...context.history, past].slice(-MAX_HISTORY),
  };
  return tell(next, at, reason === '' ? outcome : `${outcome}: ${reason}`);
}

/** The request is answered and recorded; what is counted goes on. */
export function forgetRequest(context: LazarusContext): LazarusContext {
  return { ...context, current: null, decision: null, revivalId: null, outcome: null };
}

export function tell(context: LazarusContext, at: number, line: string): LazarusContext {
  return { ...context, story: [...context.story, `${isoFromEpoch(at)} ${line}`].slice(-MAX_STORY) };
}

export function ledgerEntry(context: LazarusContext): LedgerEntry {
  const { outcome, requestedAt, endedAt } = context;
  const revived = outcome === 'revived';
  return {
    revival_id: context.revivalId ?? '',
    cell_id: context.cellId,
    agent_id: context.agentId,
    reason: context.current?.failure.message ?? '',
    signature: context.current?.failure.signature ?? '',
    requested_at: isoFromEpoch(requestedAt),
    status: ledgerStatus(outcome),
    outcome,
    revived_at: revived ? isoFromEpoch(endedAt) : null,
    took_ms: revived ? endedAt - requestedAt : null,
    attempts: context.attempts,
    approved_by: context.approvedBy,
    story: context.story,
  };
}

function ledgerStatus(outcome: RevivalOutcome | null): LedgerEntry['status'] {
  if (outcome === 'revived') return 'revived';
  return outcome === 'asking' ? 'pending_approval' : 'failed';
}

/**
 * What an action's actor remembers, and the pure judgements over it. The truth about a file is the folder it stands in; the
 * actor knows where it stood last, what was proposed, and who approved what.
 */
import { moverIn } from './action-file.ts';
import type { ActionFacts } from './action-file.ts';
import type { Transition } from './action-file.ts';
import type { JsonObject } from './json.ts';
import { DEFAULT_POLICY } from './remediation.ts';
import type { ActionStatus } from './remediation.ts';
import { isoFromEpoch } from './time.ts';

/** Where its file stands, and with what. */
export interface Place {
  status: ActionStatus;
  sha256: string;
}

/** A person's word. It names its content, is used once, and lapses (P7). */
export interface Approval {
  by: string;
  /** By which they came: `file`, `command line`, ... */
  door: string;
  sha256: string;
  /** Epoch ms. */
  at: number;
  expiresAt: number;
  /** It was claimed under it, by us or by another executor. */
  usedAt: number | null;
}

export type MoveKind =
  'approve' | 'reject' | 'cancel' | 'expire' | 'rehearse' | 'claim' | 'complete' | 'fail';

/** A step of the file from folder to folder. */
export interface Move extends JsonObject {
  kind: MoveKind;
  from: ActionStatus;
  to: ActionStatus;
  /** What must stand there; null: whatever does. */
  sha256: string | null;
  /** Becomes a line of its history; its `key` is added by who carries it out. */
  entry: Transition;
  /** Fields that are set beside it. */
  set: JsonObject;
}

export interface MoveInput {
  actionId: string;
  move: Move;
  /** Of one that ends a run: what is written when its file is gone, so that what came of it is not lost. */
  content?: JsonObject;
}

/**
 * What a move found. `moved` is the only one that changed anything; `withheld`: it was not to come about any more, and the file
 * stands where it stood.
 */
export type Moved = {
  outcome: 'moved' | 'changed' | 'elsewhere' | 'withheld';
  /** Where it stands now, as far as could be seen; null: nowhere. */
  place: (Place & { content: JsonObject }) | null;
  reason: string | null;
  /** Of what was to be written (a proposal). */
  written?: string;
};

/** An approved action, as a driver sees it: what was approved, and nothing that was not. */
export interface Runnable {
  actionId: string;
  type: string;
  host: string;
  service: string;
  payload: JsonObject;
  content: JsonObject;
  sha256: string;
}

/** What a driver would do. */
export interface DriverPlan {
  driver: string;
  semantics: 'pure' | 'idempotent' | 'verify' | 'at_most_once';
  via: string;
  /** For people, no secrets, one line each. */
  shown: string[];
  timeoutMs: number;
  /** Whether there is something to wait for afterwards: a service that reports healthy. */
  verifies: boolean;
}

export interface PlannedRun extends DriverPlan {
  /** How long the service has to report that it is well. */
  verifyMs: number;
}

export interface RunOutcome {
  ok: boolean;
  reason: string | null;
  exit_code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
  started_at: string;
  finished_at: string;
}

export interface Verification {
  verified: boolean;
  /** Who said so: `planner`, `driver`, `world/services.json`; null: nobody in time. */
  by: string | null;
  at: number;
}

export interface ActionContext {
  actionId: string;
  /** Who proposed it and wants to hear of it. */
  origin: string | null;
  facts: ActionFacts | null;
  content: JsonObject | null;
  place: Place | null;
  /** First seen in pending/: what an approval by moving the file stands for. */
  proposed: { sha256: string; at: number } | null;
  approval: Approval | null;
  /** Why nobody can say what its file is. */
  trouble: string | null;
  /** Why it is held. */
  held: string | null;
  /** The gate's last word. */
  gate: { reason: string; until: number | null; dryRun: boolean } | null;
  granted: boolean;
  /** What would run was written down under this approval. */
  rehearsed: boolean;
  move: Move | null;
  /** Why the last move that a person asked for did not come about. */
  refusal: string | null;
  /** Why the last move of ours failed. */
  failure: string | null;
  plan: PlannedRun | null;
  outcome: RunOutcome | null;
  /** Epoch ms; null: it has not begun, or ended. */
  startedAt: number | null;
  ranUntil: number | null;
  verification: Verification | null;
  /** What it told last. */
  status: ActionStatus | 'held' | null;
  /** Who made it so. */
  by: string;
  reason: string | null;
  settledAt: number | null;
  escalated: boolean;
  finishTries: number;
  retryAt: number;
  story: string[];
}

const MAX_STORY = 50;
const MAX_LINE = 500;

export function freshAction(actionId: string): ActionContext {
  return {
    actionId,
    origin: null,
    facts: null,
    content: null,
    place: null,
    proposed: null,
    approval: null,
    trouble: null,
    held: null,
    gate: null,
    granted: false,
    rehearsed: false,
    move: null,
    refusal: null,
    failure: null,
    plan: null,
    outcome: null,
    startedAt: null,
    ranUntil: null,
    verification: null,
    status: null,
    by: 'nobody',
    reason: null,
    settledAt: null,
    escalated: false,
    finishTries: 0,
    retryAt: 0,
    story: [],
  };
}

/** A new life of the same name: what was said of the one before counts no more. */
export function startedOver({ actionId, story, status }: ActionContext): ActionContext {
  return { ...freshAction(actionId), story, status };
}

export function tell(context: ActionContext, at: number, text: string): ActionContext {
  const line = `${isoFromEpoch(at)} ${text.slice(0, MAX_LINE)}`;
  return { ...context, story: [...context.story, line].slice(-MAX_STORY) };
}

export type Verdict =
  | { kind: 'pending' | 'cleared' | 'lapsed' | 'following' | 'settled' | 'gone' }
  | { kind: 'held'; reason: string };

/** What follows from where the file stands. Times are epoch ms. */
export function judge(context: ActionContext, at: number): Verdict {
  const { place, trouble, approval, proposed } = context;
  if (trouble !== null) return { kind: 'held', reason: trouble };
  if (place === null) return { kind: 'gone' };
  switch (place.status) {
    case 'pending':
      return { kind: 'pending' };
    case 'approved':
      if (proposed === null && approval === null)
        return { kind: 'held', reason: 'unseen proposal: nobody saw it in pending/' };
      return judgeApproval(place, approval, at);
    case 'running':
      return proposed === null && approval === null
        ? { kind: 'held', reason: 'unseen proposal: it was in running/ when it was first seen' }
        : { kind: 'following' };
    default:
      return { kind: 'settled' };
  }
}

function judgeApproval({ sha256 }: Place, approval: Approval | null, at: number): Verdict {
  if (approval === null)
    return {
      kind: 'held',
      reason: 'changed after it was proposed: it is not what stood in pending/',
    };
  if (approval.sha256 !== sha256)
    return { kind: 'held', reason: `changed after ${approval.by} approved it` };
  if (approval.usedAt !== null)
    return { kind: 'held', reason: `its approval by ${approval.by} was used: it came back` };
  return { kind: approval.expiresAt <= at ? 'lapsed' : 'cleared' };
}

/** Who moved a file is not known, but by what it says itself. */
const MOVER = 'whoever moved its file';

/** `at`: when it was moved, epoch ms. */
export function moverOf(
  { content, place }: Pick<ActionContext, 'content' | 'place'>,
  at: number,
): string {
  const name = content && place && moverIn(content, { to: place.status, at });
  return name === null ? MOVER : `${name} (file)`;
}

/**
 * The approval that a file gives which was moved from pending/ to approved/: it is about what was proposed. Null when it
 * gives none.
 */
export function approvalByMove(
  context: ActionContext,
  { at, movedAt, expires }: { at: number; movedAt?: number; expires?: number },
): Approval | null {
  const { proposed, approval, place } = context;
  if (approval !== null || proposed === null) return approval;
  if (place?.status !== 'approved' || place.sha256 !== proposed.sha256) return null;
  const isKnown = movedAt !== undefined && movedAt >= proposed.at && movedAt <= at;
  const given = isKnown ? movedAt : at;
  const { sha256 } = place;
  const by = moverOf(context, given);
  return { by, door: 'file', sha256, at: given, ...lapse(given, expires), usedAt: null };
}

/** `seconds`: for which it holds. */
export const lapse = (
  at: number,
  seconds: number = DEFAULT_POLICY.approval_expires,
): { expiresAt: number } => ({ expiresAt: at + seconds * 1000 });

export const isSettled = (status: ActionStatus): boolean =>
  status === 'completed' || status === 'failed' || status === 'rejected' || status === 'cancelled';

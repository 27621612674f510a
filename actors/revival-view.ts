/**
 * What Lazarus does about one agent, as the status, `revivals` and `why` show it, and what that means for the agent itself:
 * its cell may not know yet, or cannot know, how its agent stands.
 *
 * V1 Nobody is asked about an agent whose mission is not here: it was exported, or its folder is gone.
 * V2 An agent whose own actor is held cannot say so; it is shown as failed all the same.
 * V3 While something is under way, that is said, and not what was said before it began.
 */
import type { LazarusContext } from '../machines/lazarus-context.ts';
import { earlierOf } from '../machines/lazarus-context.ts';
import { choicesOf } from '../machines/revival-choices.ts';
import { revivalOutlook } from '../machines/revival-outlook.ts';

export interface RevivalView {
  /** Of the request at hand, or of the last one. */
  revival_id: string | null;
  cell_id: string;
  agent_id: string;
  status: 'pending' | 'pending_approval' | 'revived' | 'failed';
  /** In Lazarus' own words; null while the case is open. */
  outcome: string | null;
  /** The failure. */
  reason: string;
  signature: string | null;
  requested_at: string | null;
  attempts: number;
  /** Verified revivals, in all, and how long the last one took. */
  revivals: number;
  took_ms: number | null;
  /** What Lazarus does about it, what comes next by itself and when. */
  doing: string;
  next: string | null;
  next_at: string | null;
  needs_person: boolean;
  choices: { choice: string; means: string; command: string }[];
  /** How the requests before it ended, a line each. */
  earlier: string[];
  story: string[];
}

/** `clock`: now; absent while no node runs, for then nothing comes by itself. */
export function revivalView(
  lazarus: LazarusContext,
  state: unknown,
  clock?: { at: number; up: number },
): RevivalView {
  const { revivalId, cellId, agentId, outcome, current, story, requestedAt, attempts } = lazarus;
  const last = lazarus.history.at(-1);
  const { doing, next, nextAt, needsPerson } = revivalOutlook(lazarus, state, clock);
  return {
    revival_id: revivalId ?? last?.revivalId ?? null,
    cell_id: cellId,
    agent_id: agentId,
    status: statusOf(lazarus),
    outcome: outcome ?? (revivalId === null ? (last?.outcome ?? null) : null),
    reason: current?.failure.message ?? toldFailure(story) ?? last?.signature ?? lazarus.reason,
    signature: current?.failure.signature ?? last?.signature ?? null,
    requested_at: requestedAt === 0 ? null : new Date(requestedAt).toISOString(),
    attempts,
    revivals: lazarus.timesRevived,
    took_ms: lazarus.history.findLast(({ tookMs }) => tookMs !== null)?.tookMs ?? null,
    doing,
    next,
    next_at: nextAt === null ? null : new Date(nextAt).toISOString(),
    needs_person: needsPerson,
    choices: outcome === 'asking' ? choicesOf(lazarus) : [],
    earlier: earlierOf(lazarus),
    story,
  };
}

const isBack = (outcome: string | null | undefined): boolean =>
  outcome === 'revived' || outcome === 'recovered';

function statusOf({ outcome, revivalId, history }: LazarusContext): RevivalView['status'] {
  if (outcome === 'asking') return 'pending_approval';
  if (isBack(outcome) || (revivalId === null && isBack(history.at(-1)?.outcome))) return 'revived';
  return outcome === null && revivalId !== null ? 'pending' : 'failed';
}

/** Of a case that is over: its story still says what had happened, in more words than the signature. */
function toldFailure(story: readonly string[]): string | undefined {
  const line = story.findLast((told) => TOLD_FAILURE.test(told));
  return line?.replace(TOLD_FAILURE, '');
}
const TOLD_FAILURE = /^\S+Z failed: /;

/** V1. */
export function ofAbsentCell(view: RevivalView): RevivalView {
  const isOpen = view.status === 'pending' || view.status === 'pending_approval';
  return {
    ...view,
    status: isOpen ? 'failed' : view.status,
    doing: 'its mission is not here any more',
    next: null,
    next_at: null,
    needs_person: false,
    choices: [],
  };
}

/** What is to be said of an agent instead of what its cell says; null: the cell knows best. */
export function overruled(lazarus: LazarusContext, view: RevivalView): { reason: string } | null {
  const { current } = lazarus;
  if (current === null) return null;
  const isOpen = view.status === 'pending';
  const isHeld = current.failure.reason === 'actor_held' && view.status !== 'revived';
  if (!isOpen && !isHeld) return null; // V2, V3
  return { reason: `${current.failure.message}; ${view.doing}` };
}

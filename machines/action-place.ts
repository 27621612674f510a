/** Where an action's file stands, as the actor comes to know it: found by the door, moved by a step of its own, or gone. */
import { approvalByMove, moverOf, startedOver, tell } from './action-context.ts';
import type { ActionContext, Place } from './action-context.ts';
import { readAction } from './action-file.ts';
import { action, movedBy, OURS } from './action-setup.ts';
import type { JsonObject } from './json.ts';
import { stampOf } from './time.ts';

const standAt = (context: ActionContext, place: Place, content: JsonObject): ActionContext => {
  const read = readAction(context.actionId, content);
  const facts = read.ok ? read.facts : context.facts;
  const { status, sha256 } = place;
  return { ...context, place: { status, sha256 }, content, facts, trouble: null };
};

/** First seen in pending/: that is what an approval by moving the file is about. */
function seen(context: ActionContext, at: number): ActionContext {
  const { place, proposed } = context;
  if (place?.status !== 'pending' || proposed !== null) return context;
  return { ...context, proposed: { sha256: place.sha256, at } };
}

export const notePlace = action.assign(({ context, event }) => {
  if (event.type !== 'action.found') return {};
  const { at } = stampOf(event);
  const { status, sha256, content, movedAt, expires } = event;
  const moved = context.place?.status !== status;
  const next = seen(standAt(context, { status, sha256 }, content), at);
  const given = { at, ...(movedAt !== undefined && { movedAt }) };
  const approval = approvalByMove(next, { ...given, ...(expires !== undefined && { expires }) });
  return { ...next, approval, ...(moved && { by: moverOf(next, movedAt ?? at), reason: null }) };
});
export const noteMissing = action.assign({ place: null, trouble: null });
export const noteUnreadable = action.assign(({ event }) =>
  event.type === 'action.unreadable' ? { trouble: event.reason } : {},
);
/** Where a move, or the writing, found or left it. */
export const noteMoved = action.assign(({ context, event }) => {
  const moved = movedBy(event);
  if (moved === undefined) return {};
  const { at } = stampOf(event);
  const { place, outcome, reason } = moved;
  const next = place === null ? { ...context, place } : standAt(context, place, place.content);
  if (outcome === 'moved') return { ...next, refusal: null, ...madeBy(context) };
  if (outcome === 'withheld') return tell(next, at, `not begun: ${reason ?? '?'}`);
  const found = seen(next, at);
  const approval = approvalByMove(found, { at });
  const why = reason ?? 'its file is not there any more';
  const refusal = isAsked(context) ? why : context.refusal;
  return { ...found, approval, refusal, by: moverOf(found, at), reason: null };
});
/** Whose doing it is; what would run being written down makes it nobody else's. */
function madeBy({ move, by, reason }: ActionContext): Pick<ActionContext, 'by' | 'reason'> {
  if (move === null || move.kind === 'rehearse') return { by, reason };
  const { reason: why } = move.entry;
  return { by: move.entry.by, reason: typeof why === 'string' ? why : null };
}
const ASKED: readonly unknown[] = ['approve', 'reject', 'cancel'];
/** A person wants to hear how the move that is under way ends. */
const isAsked = ({ move }: ActionContext): boolean => ASKED.includes(move?.kind);
/** What was written is what was proposed, also when somebody has moved the file since. */
export const noteProposed = action.assign(({ context, event }) => {
  const { at } = stampOf(event);
  const sha256 = movedBy(event)?.written ?? '';
  const next = { ...context, proposed: { sha256, at } };
  const isThere = context.place?.status === 'pending';
  const by = isThere ? (context.origin ?? OURS) : moverOf(context, at);
  return { ...next, approval: approvalByMove(next, { at }), by };
});
/** It is judged by what stands there; a move that failed for another reason than that changed nothing. */
export const noteFailure = action.assign(({ context, event }) => {
  if (!('error' in event)) return {};
  const { message } = event.error;
  const refusal = isAsked(context) ? message : context.refusal;
  const next = { ...context, refusal, failure: message };
  return tell(next, stampOf(event).at, `not done: ${message}`);
});
export const startOver = action.assign(({ context }) => startedOver(context));

/** Its file keeps saying that it runs; what came of it stands here and in the journal. */
export const giveUpFinish = action.assign(({ context, event }) => {
  const { move, failure } = context;
  const status = move?.to ?? 'failed';
  const sha256 = context.place?.sha256 ?? '';
  const text = `its result is not in its file: ${failure ?? '?'}`;
  return tell({ ...context, place: { status, sha256 } }, stampOf(event).at, text);
});
/** Where the file is does not matter to what came of a run of ours. */
export const noteFinished = action.assign(({ context, event }) => {
  const { move, place } = context;
  if (move === null) return {};
  const moved = movedBy(event);
  const { reason } = move.entry;
  const why = typeof reason === 'string' ? reason : null;
  const ended = {
    ...context,
    by: OURS,
    reason: why,
    place: { status: move.to, sha256: place?.sha256 ?? '' },
  };
  if (moved === undefined || moved.outcome === 'moved') return ended;
  const found = moved.place === null ? 'in no folder' : `in ${moved.place.status}/`;
  return tell(ended, stampOf(event).at, `its file was not where it ran; it is ${found}`);
});

/** What is asked of an action: to be written by who proposes it, to be approved, rejected or cancelled by people. */
import { freshAction, lapse, tell } from './action-context.ts';
import type { ActionContext, Approval, Move, Place } from './action-context.ts';
import { isSameProposal, readAction } from './action-file.ts';
import { action } from './action-setup.ts';
import { isDriftAddress } from './addresses.ts';
import { toProposer } from './action-steps.ts';
import { conflict, RuntimeError } from './errors.ts';
import { PLANNER_DOOR } from './remediation.ts';
import type { ActionStatus } from './remediation.ts';
import { POLICY_DOOR, SUPERVISOR_DOOR } from './supervision.ts';
import { stampOf } from './time.ts';

export const takeProposal = action.assign(({ context, event }) => {
  if (event.type !== 'action.propose') return {};
  const { content, origin } = event;
  const { action_id: id } = content;
  const actionId = context.actionId === '' && typeof id === 'string' ? id : context.actionId;
  const read = readAction(actionId, content);
  return { ...freshAction(actionId), content, origin, facts: read.ok ? read.facts : null };
});
/**
 * The same proposal once more is answered as the first was; another one has come too late for this id. So has a drift's when the
 * action is over, or follows it no more: it would wait for news for ever.
 */
export const answerProposal = action.enqueueActions(({ context, event, enqueue }) => {
  if (event.type !== 'action.propose') return;
  const { content, actionId, place, origin, settledAt } = context;
  const isFollowed = origin === event.origin && settledAt === null;
  const isOurs =
    content !== null &&
    isSameProposal(event.content, content) &&
    (isFollowed || !isDriftAddress(event.origin));
  enqueue(
    toProposer(
      event.origin,
      isOurs
        ? { type: 'proposal.durable', actionId, path: pathOf(place?.status ?? 'pending', actionId) }
        : { type: 'proposal.taken', actionId },
    ),
  );
});
export const tellDurable = action.enqueueActions(({ context, enqueue }) => {
  const { actionId, origin, place } = context;
  const path = pathOf(place?.status ?? 'pending', actionId);
  if (origin !== null) enqueue(toProposer(origin, { type: 'proposal.durable', actionId, path }));
});
export const tellTaken = action.enqueueActions(({ context, enqueue }) => {
  const { actionId, origin } = context;
  if (origin !== null) enqueue(toProposer(origin, { type: 'proposal.taken', actionId }));
  enqueue.assign({ origin: null });
});
export const tellFailed = action.enqueueActions(({ context, event, enqueue }) => {
  const { actionId, origin } = context;
  const reason = 'error' in event ? event.error.message : 'not written';
  if (origin !== null) enqueue(toProposer(origin, { type: 'proposal.failed', actionId, reason }));
  enqueue.assign(() => freshAction(actionId));
});

/** Relative to `RUNTIME_PATH`: a machine knows no folders. */
const pathOf = (status: ActionStatus, id: string): string => `actions/${status}/${id}.json`;

/** A person's word, or a policy's. Throws RuntimeError CONFLICT, FORBIDDEN. */
export const takeApproval = action.assign(({ context, event }) => {
  if (event.type !== 'action.approve') return {};
  const { at } = stampOf(event);
  const { by, door, expires } = event;
  const { facts } = context;
  const { status: from, sha256: found } = standing(context);
  const sha256 = door === POLICY_DOOR ? proposedBy(context, from) : found;
  if (event.sha256 !== undefined && event.sha256 !== sha256)
    throw conflict(
      `action ${context.actionId} is not what was approved: it was changed meanwhile`,
      `Look at it again: \`lazarus actions show ${context.actionId}\`.`,
    );
  if (door === POLICY_DOOR && sha256 === found && facts?.requiresHuman !== false)
    throw new RuntimeError(`action ${context.actionId} needs a person: no policy may approve it`, {
      code: 'FORBIDDEN',
      hint: `lazarus actions approve ${context.actionId}`,
    });
  const approval: Approval = { by, door, sha256, at, ...lapse(at, expires), usedAt: null };
  const entry = { from, to: 'approved', timestamp: at / 1000, by, sha256 };
  const move: Move = { kind: 'approve', from, to: 'approved', sha256, entry, set: {} };
  return tell({ ...context, approval, move, refusal: null }, at, `approved by ${by}`);
});

/**
 * A policy approves what was proposed and nothing else, and only from pending/: of a file that was edited since, the move finds
 * that it is another one.
 */
function proposedBy({ actionId, proposed }: ActionContext, from: ActionStatus): string {
  if (from === 'pending' && proposed !== null) return proposed.sha256;
  throw conflict(
    `action ${actionId} is not pending: no policy may approve it`,
    `A person may: \`lazarus actions approve ${actionId}\`.`,
  );
}

/** Where a person's word finds it. */
function standing({ actionId, place, trouble }: ActionContext): Place {
  if (place !== null && trouble === null) return place;
  throw conflict(
    `the file of action ${actionId} cannot be read: ${trouble ?? 'it is gone'}`,
    'Mend the file first.',
  );
}

/** What no person asked for. */
const OWN_DOORS: readonly string[] = [SUPERVISOR_DOOR, PLANNER_DOOR];

export const takeEnd = (kind: 'reject' | 'cancel', to: 'rejected' | 'cancelled') =>
  action.assign(({ context, event }) => {
    if (event.type !== 'action.reject' && event.type !== 'action.cancel') return {};
    const { at } = stampOf(event);
    const { by, door, reason } = event;
    const { status: from } = standing(context);
    if (OWN_DOORS.includes(door) && from !== 'pending')
      throw conflict(
        `action ${context.actionId} is ${from}: only a person may take it back`,
        `A person may: \`lazarus actions cancel ${context.actionId}\`.`,
      );
    const why = reason === null ? {} : { reason };
    const entry = { from, to, timestamp: at / 1000, by, ...why };
    const move: Move = { kind, from, to, sha256: null, entry, set: {} };
    const next = { ...context, move, refusal: null };
    return tell(next, at, `${to} by ${by}${reason === null ? '' : `: ${reason}`}`);
  });
export const refuse = action.enqueueActions(({ context, event }) => {
  const { actionId } = context;
  throw conflict(
    `action ${actionId} is ${standingWords(context)}: ${event.type.replace('action.', '')} does not fit`,
    `See how it stands: \`lazarus actions show ${actionId}\`.`,
  );
});

/** Who was quicker counts from the word on, though the file is still on its way. */
function standingWords({ status, by, move, place }: ActionContext): string {
  const isDecided = move?.kind === 'approve' || move?.kind === 'reject' || move?.kind === 'cancel';
  if (isDecided && place?.status === move.from && status !== move.to)
    return `being ${move.to} by ${move.entry.by}`;
  return `${status ?? 'not written yet'}${by === 'nobody' ? '' : ` by ${by}`}`;
}

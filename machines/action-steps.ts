/** What an action says to others: to the gate, to who proposed it, and of each step to itself, for the journal and the bus. */
import { isSettled, judge, tell } from './action-context.ts';
import type { ActionContext, Verdict } from './action-context.ts';
import { action } from './action-setup.ts';
import { actionAddress, GATE, isDriftAddress, PLANNER } from './addresses.ts';
import type { SendParams } from './events.ts';
import { asJsonObject } from './json.ts';
import type { ActionStatus, GateEvent, PlannerEvent, ProposerEvent } from './remediation.ts';
import { stampOf } from './time.ts';

export const askGate = action.enqueueActions(({ context: { actionId, facts }, enqueue }) => {
  const { host = '', service = '', type: actionType = '' } = facts ?? {};
  const address = actionAddress(actionId);
  enqueue.assign({ granted: false });
  enqueue(toGate({ type: 'gate.ask', actionId, address, host, service, actionType }));
});
/** A grant under which nothing began is given back. */
export const leaveGate = action.enqueueActions(({ context, enqueue }) => {
  const { actionId, granted, startedAt } = context;
  const isUnused = granted && startedAt === null;
  enqueue.assign({ granted: false });
  enqueue(toGate({ type: 'gate.left', actionId, ...(isUnused && { unused: true }) }));
});
export const tellGateElsewhere = action.enqueueActions(
  ({ context: { actionId, facts }, enqueue }) => {
    const { host = '', service = '' } = facts ?? {};
    const address = actionAddress(actionId);
    enqueue(toGate({ type: 'gate.elsewhere', actionId, address, host, service }));
  },
);
export const noteRefused = action.assign(({ event }) => {
  if (event.type !== 'gate.refused') return {};
  const { reason, until, dryRun = false } = event;
  return { gate: { reason, until, dryRun }, granted: false };
});
export const noteGranted = action.assign({ granted: true, gate: null });

/** A step, once: into the journal and onto the bus. */
export const become = (what: ActionStatus | 'held' | 'as it stands') =>
  action.enqueueActions(({ context, event, enqueue }) => {
    const { place, status: from, facts, actionId } = context;
    const verdict = judge(context, stampOf(event).at);
    const held = what === 'held' ? heldReason(context, verdict) : null;
    const status = what === 'as it stands' ? (place?.status ?? 'cancelled') : what;
    const reason = held ?? (place === null ? 'its file was removed' : context.reason);
    if (status === from && held === context.held) return;
    enqueue.assign(({ context: now }) =>
      tell(
        { ...now, status, held, reason },
        stampOf(event).at,
        `${status}${reason === null ? '' : `: ${reason}`}`,
      ),
    );
    const step = {
      action_id: actionId,
      status,
      from,
      by: context.by,
      reason,
      action_type: facts?.type ?? '',
      host: facts?.host ?? '',
      service: facts?.service ?? '',
      risk: facts?.risk ?? 'unknown',
      description: facts?.description ?? '',
    };
    enqueue(sending(actionAddress(actionId), { type: 'action.became', ...step }));
    if (status !== 'pending' && !isOver(status))
      // of pending, `dropApproval` tells
      for (const telling of toDrift(context, { status, reason })) enqueue(telling);
  });
const isOver = (status: ActionStatus | 'held'): boolean => status !== 'held' && isSettled(status);
const heldReason = ({ failure }: ActionContext, verdict: Verdict): string =>
  verdict.kind === 'held' ? verdict.reason : (failure ?? 'its file cannot be moved');

export const settle = action.enqueueActions(({ context, event, enqueue }) => {
  const { at } = stampOf(event);
  const { actionId, origin, place, status, reason } = context;
  enqueue.assign({ settledAt: at });
  if (origin === null) return;
  const told = place !== null && isSettled(place.status) ? place.status : 'cancelled';
  const outcome = status !== null && status !== 'held' && isSettled(status) ? status : told;
  enqueue(toProposer(origin, { type: 'action.settled', actionId, status: outcome, reason }));
});
export const noteEscalated = action.assign({ escalated: true });

export const toProposer = (to: string, event: ProposerEvent) => sending(to, event);
/** Incidents did not ask for it, and what was journaled for them must be derived again as it was. */
export function toDrift(
  { origin, actionId }: Pick<ActionContext, 'origin' | 'actionId'>,
  where: { status: ActionStatus | 'held'; reason: string | null },
): ReturnType<typeof toProposer>[] {
  if (origin === null || !isDriftAddress(origin)) return [];
  return [toProposer(origin, { type: 'action.moved', actionId, ...where })];
}
const toGate = (event: GateEvent) => sending(GATE, event);
export const toPlanner = (event: PlannerEvent) => sending(PLANNER, event);
/** Who is gone hears nothing, and that is no mistake. */
function sending(to: string, event: { type: string } & object) {
  const params: SendParams = {
    to,
    event: { ...asJsonObject(event), type: event.type },
    ifThere: true,
  };
  return { type: 'send', params } as const;
}

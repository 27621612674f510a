/** What a drift proposes: its action's file, the policy's word on it, where it stands, and taking it back. */
import { actionAddress } from './addresses.ts';
import { keyOf, inTurn, ownAddress, say, stand, toSupervisor } from './drift-context.ts';
import type { DriftContext, Outgoing, Step } from './drift-context.ts';
import { become, note } from './drift-setup.ts';
import type { Delivered } from './drift-setup.ts';
import { asJsonObject } from './json.ts';
import { remedyFile, remedyId } from './remedy-file.ts';
import type { ActionEvent } from './remediation.ts';
import { POLICY_DOOR, SUPERVISOR_DOOR } from './supervision.ts';

/** D2: what is asked is kept until it is answered, so that asked again it is the same. */
const prepare = (context: DriftContext, serial: number, at: number): Partial<DriftContext> => {
  const { drift: standing, advised: recommendation, dependants, ruling, since } = context;
  if (standing === null || recommendation === null) return {};
  const actionId = remedyId(recommendation.id, since, serial);
  const address = ownAddress(context);
  const about = { standing: { drift: standing, recommendation, dependants }, ruling };
  const proposals = context.proposals + 1;
  const content = remedyFile({ ...about, actionId, address, at, since, serial: proposals });
  const { remedy, id: recommendationId } = recommendation;
  const { requiresHuman } = ruling;
  const asking = { actionId, content, serial, remedy, recommendationId, requiresHuman };
  return { asking, proposals, tries: 0 };
};
export const prepareAsking = note((context, _event, at) => prepare(context, 1, at));
export const takeAnotherName = note((context, _event, at) =>
  prepare(context, (context.asking?.serial ?? 0) + 1, at),
);

export const propose = become((context) => {
  const { asking, tries } = context;
  if (asking === null) return { context, out: [] };
  const { actionId, content } = asking;
  const address = actionAddress(actionId);
  const spawn = { address, machine: 'action', input: { actionId } };
  const origin = ownAddress(context);
  return {
    context: { ...context, tries: tries + 1 },
    out: [
      { type: 'spawn', params: spawn },
      toAction(actionId, { type: 'action.propose', content, origin }),
    ],
  };
});

export const noteDurable = become((context, event, at) => {
  const { asking } = context;
  if (event.type !== 'proposal.durable' || asking === null) return { context, out: [] };
  const { actionId, remedy, recommendationId, requiresHuman } = asking;
  const action = {
    actionId,
    remedy,
    recommendationId,
    status: 'pending' as const,
    at,
    ranAt: null,
    isApprovable: !requiresHuman,
    grant: null,
  };
  const next = { ...context, asking: null, action, unwritten: null };
  const { because } = context.ruling.decision;
  return inTurn(
    next,
    (now) => stand(now, 'proposed'),
    (now) => say(now, { what: 'action_proposed', because, at }),
  );
});

/** The longest of the growing pauses before it is proposed again: 1 min, 2 min, 4 min ... */
const LONGEST_PAUSE_MS = 3_600_000;
const PAUSE_MS = 60_000;

export const noteUnwritten = become((context, event, at) => {
  const { asking, unwritten } = context;
  if (asking === null) return { context, out: [] };
  const reason = event.type === 'proposal.failed' ? event.reason : 'actions of its names are there';
  const tries = (unwritten?.tries ?? 0) + 1;
  const retryAt = at + Math.min(LONGEST_PAUSE_MS, PAUSE_MS * 2 ** Math.min(tries - 1, 10));
  const { actionId, remedy } = asking;
  const key = keyOf(context);
  return {
    context: { ...context, asking: null, unwritten: { reason, tries, retryAt } },
    out: [toSupervisor({ type: 'remedy.ended', key, actionId, remedy, outcome: 'not_written' })],
  };
});

/** It stands in pending/, and waits for whoever may decide. */
export const sayReady = become((context) => {
  const { action } = context;
  const out: Outgoing[] = [];
  if (action?.isApprovable === true && action.status === 'pending')
    out.push(
      toSupervisor({ type: 'remedy.ready', key: keyOf(context), actionId: action.actionId }),
    );
  return { context, out };
});

export const noteGrant = note(({ action }, event) => {
  if (event.type !== 'remedy.approve' || action === null) return {};
  const { rule, because, expires = null } = event;
  return { action: { ...action, grant: { rule, because, expires } }, tries: 0 };
});
/** About an action that is over, or of a life of this actor that was lost. */
export const giveBack = become((context, event) => {
  if (event.type !== 'remedy.approve') return { context, out: [] };
  const { actionId } = event;
  const remedy = context.advised?.remedy ?? 'review';
  const given = { key: keyOf(context), actionId, remedy };
  return {
    context,
    out: [toSupervisor({ type: 'remedy.ended', ...given, outcome: 'withdrawn' })],
  };
});
/** D3. */
export const approve = become((context) => {
  const { action, tries } = context;
  if (action?.grant == null) return { context, out: [] };
  const { rule, expires } = action.grant;
  const by = `policy ${rule}`;
  const given = { by, door: POLICY_DOOR, ...(expires !== null && { expires }) };
  return {
    context: { ...context, tries: tries + 1 },
    out: [toAction(action.actionId, { type: 'action.approve', ...given })],
  };
});

/** Its approval was not taken, or not used: the supervisor has it back. */
const lapse = (context: DriftContext, isApprovable: boolean): Step => {
  const { action } = context;
  if (action === null) return { context, out: [] };
  const { actionId, remedy } = action;
  const next = { ...action, isApprovable, grant: null, status: 'pending' as const, ranAt: null };
  const key = keyOf(context);
  return {
    context: { ...context, action: next },
    out: [toSupervisor({ type: 'remedy.ended', key, actionId, remedy, outcome: 'lapsed' })],
  };
};
/** Its file is not what was proposed, or cannot be moved: from now on a person has to look. */
export const noteNotApproved = become((context) => lapse(context, false));
export const noteLapsed = become((context) =>
  inTurn(
    context,
    (now) => lapse(now, now.action?.isApprovable === true),
    (now) => stand(now, 'proposed'),
  ),
);
/** Nobody can say what it is, or move it, until a person has looked; then it may stand in pending/ again. */
export const noteHeld = become((context, event, at) =>
  inTurn(
    context,
    (now) => lapse(now, now.action?.isApprovable === true),
    (now) => ({ context: { ...now, ...place(now, event, at) }, out: [] }),
  ),
);

/** Where its file stands. */
function place({ action }: DriftContext, event: Delivered, at: number): Partial<DriftContext> {
  if (event.type !== 'action.moved' || action === null) return {};
  const { status } = event;
  const ranAt = status === 'running' ? (action.ranAt ?? at) : action.ranAt;
  return { action: { ...action, status, ranAt } };
}
export const notePlace = note(place);

export const noteApproved = become((context, event, at) => {
  const { grant = null } = context.action ?? {};
  const because = grant === null ? 'by a person' : grant.because;
  return inTurn(
    { ...context, ...place(context, event, at) },
    (now) => stand(now, 'acting'),
    (now) => say(now, { what: 'action_approved', because, at }),
  );
});

export const resetTries = note(() => ({ tries: 0 }));
/** D6. */
export const withdraw = become((context) => {
  const { action, tries } = context;
  if (action === null) return { context, out: [] };
  const given = { by: 'supervisor', door: SUPERVISOR_DOOR, reason: withdrawal(context) };
  return {
    context: { ...context, tries: tries + 1 },
    out: [toAction(action.actionId, { type: 'action.cancel', ...given })],
  };
});
/** The drift that it was proposed for is gone, also when another one stands. */
export const withdrawal = ({ gone }: DriftContext): string => gone?.reason ?? 'drift_resolved_auto';

function toAction(actionId: string, event: ActionEvent): Outgoing {
  const to = actionAddress(actionId);
  return {
    type: 'send',
    params: { to, event: { ...asJsonObject(event), type: event.type }, ifThere: true },
  };
}

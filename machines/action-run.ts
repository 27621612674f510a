/** From the claim of an approved action to what came of it: the moves of its file, the run, its verification. */
import { moverOf, tell } from './action-context.ts';
import type { ActionContext, Move, MoveKind, PlannedRun } from './action-context.ts';
import { action, OURS, outcomeOf } from './action-setup.ts';
import type { Args, Delivered } from './action-setup.ts';
import { toDrift, toPlanner } from './action-steps.ts';
import { actionAddress } from './addresses.ts';
import { asJsonObject } from './json.ts';
import type { JsonObject } from './json.ts';
import type { ActionStatus } from './remediation.ts';
import { stampOf } from './time.ts';

/** The longest of the growing pauses between two tries to write a result: 1 s, 2 s, 4 s ... */
const LONGEST_PAUSE_MS = 300_000;

interface Writing {
  /** Of the line of its history. */
  entry?: JsonObject;
  set?: JsonObject;
}

/** What a move that the actor decides upon itself is to do. */
const prepare = (kind: MoveKind, to: ActionStatus, make: (args: Args) => Writing) =>
  action.assign(({ context, event }) => {
    const { at } = stampOf(event);
    const from = context.place?.status ?? 'running';
    const { entry: more = {}, set = {} } = make({ context, event });
    const entry = { from, to, timestamp: at / 1000, by: OURS, ...more };
    const isApproved = kind === 'claim' || kind === 'rehearse';
    const sha256 = isApproved ? (context.approval?.sha256 ?? null) : null;
    const move: Move = { kind, from, to, sha256, entry, set };
    return { move };
  });
export const prepareExpire = prepare('expire', 'pending', ({ context: { approval } }) => ({
  entry: { reason: `the approval by ${approval?.by ?? '?'} was not used in time` },
}));
export const prepareRehearsal = prepare('rehearse', 'approved', ({ event }) => ({
  entry: { reason: 'a dry run' },
  set: { would_run: wouldRun(event) },
}));
function wouldRun(event: Delivered): JsonObject {
  if ('error' in event) return { error: event.error.message };
  const { driver, via, semantics, shown } = (event as unknown as { output: PlannedRun }).output;
  return { driver, via, semantics, shown };
}
/** Nothing of what was approved is changed, so only its history tells who approved it. */
export const prepareClaim = prepare('claim', 'running', ({ context: { approval } }) => ({
  entry: approval === null ? {} : { approved_by: approval.by, sha256: approval.sha256 },
}));
export const prepareComplete = prepare('complete', 'completed', ({ context }) => ({
  set: { result: resultOf(context, null) },
}));
export const prepareFail = prepare('fail', 'failed', ({ context, event }) => {
  const reason = failureOf(context, event);
  return { entry: { reason }, set: { result: resultOf(context, reason), escalated: true } };
});

function failureOf({ outcome, plan }: ActionContext, event: Delivered): string {
  if ('error' in event) return event.error.message;
  if (outcome === null) return 'it could not be run';
  if (!outcome.ok) return outcome.reason ?? 'it ended badly';
  const seconds = Math.round((plan?.verifyMs ?? 0) / 1000);
  return `it ran, and the service was not reported healthy within ${seconds} s`;
}

function resultOf(context: ActionContext, reason: string | null): JsonObject {
  const { outcome, plan, verification } = context;
  const { stdout: _, stderr: __, ...told } = outcome ?? { stdout: '', stderr: '' };
  const ended = Object.fromEntries(Object.entries(told).filter(([, value]) => value !== '')); // nobody knows when
  const driver = plan === null ? {} : { driver: plan.driver, via: plan.via };
  const verified = verification === null ? {} : { verified_by: verification.by };
  return asJsonObject({ ...ended, ok: reason === null, reason, ...driver, ...verified });
}

/** Also one that nobody saw being given: what was run once under a person's word is not run again under it. */
export const useApproval = action.assign(({ context, event }) => {
  const { at } = stampOf(event);
  const { approval, place } = context;
  const unseen = {
    by: moverOf(context, at),
    door: 'file',
    sha256: place?.sha256 ?? '',
    at,
    expiresAt: at,
  };
  return { approval: { ...(approval ?? unseen), usedAt: approval?.usedAt ?? at } };
});
/** Who counts on it hears so: also when it is in pending/ as before, for the move it was given for did not come about. */
export const dropApproval = action.enqueueActions(({ context, enqueue }) => {
  const { approval, status, refusal, reason } = context;
  const isNews = approval !== null || (status !== null && status !== 'pending');
  enqueue.assign({ approval: null, rehearsed: false, gate: null });
  if (!isNews) return;
  for (const telling of toDrift(context, { status: 'pending', reason: refusal ?? reason }))
    enqueue(telling);
});
export const noteRehearsed = action.assign({ rehearsed: true });

export const notePlan = action.assign(({ event }) =>
  event.type === 'xstate.done.actor.plan' ? { plan: event.output as unknown as PlannedRun } : {},
);
export const begin = action.assign(({ context, event }) => {
  const { at } = stampOf(event);
  const { driver = '?', via = '?' } = context.plan ?? {};
  const next = { ...context, startedAt: at, outcome: null, ranUntil: null, verification: null };
  return tell(next, at, `begins to run: ${driver}, ${via}`);
});
export const noteOutcome = action.assign(({ context, event }) => {
  const { at } = stampOf(event);
  if ('error' in event)
    return tell({ ...context, ranUntil: at }, at, `failed: ${event.error.message}`);
  const outcome = outcomeOf(event);
  if (outcome === undefined) return {};
  const settledBy = (event as { settledBy?: string }).settledBy;
  const how = outcome.ok ? 'ran' : `failed: ${outcome.reason ?? '?'}`;
  const who = settledBy === undefined ? '' : `, settled by ${settledBy}`;
  return tell({ ...context, outcome, ranUntil: at }, at, `${how}${who}`);
});
export const noteVerified = action.assign(({ context, event }) => {
  const { at } = stampOf(event);
  const by =
    event.type === 'xstate.done.actor.health'
      ? (event.output as unknown as { by: string }).by
      : 'the service itself';
  const verification = { verified: true, by, at };
  return tell({ ...context, verification }, at, `healthy afterwards: ${by}`);
});
export const noteUnverified = action.assign(({ context, event }) => {
  const { at } = stampOf(event);
  const verification = { verified: false, by: null, at };
  return tell({ ...context, verification }, at, 'not reported healthy in time');
});
export const watchService = action.enqueueActions(({ context, enqueue }) => {
  const { actionId, facts } = context;
  if (facts === null) return;
  const { host, service } = facts;
  const address = actionAddress(actionId);
  enqueue(toPlanner({ type: 'planner.watch', address, host, service }));
});
export const unwatchService = action.enqueueActions(({ context: { actionId }, enqueue }) => {
  enqueue(toPlanner({ type: 'planner.unwatch', address: actionAddress(actionId) }));
});
export const countFinish = action.assign(({ context, event }) => ({
  finishTries: context.finishTries + 1,
  retryAt: stampOf(event).at + Math.min(LONGEST_PAUSE_MS, 1000 * 2 ** context.finishTries),
}));

/** The policy's approvals: who waits for one, who gets one, and what is counted when its action is over. */
import { withFailure, withSuccess } from './autonomy.ts';
import type { Outgoing } from './outgoing.ts';
import { inShards } from './shards.ts';
import { autonomyClass } from './supervision.ts';
import { entryOf, MAX_APPROVALS, withEntry, withoutEntry } from './supervisor-context.ts';
import type { Given, InRow, Stood, SupervisorContext } from './supervisor-context.ts';
import { HOUR_MS, mayApprove, newMoment, whyNotAny } from './supervisor-policy.ts';
import type { Moment } from './supervisor-policy.ts';
import { redecide } from './supervisor-rulings.ts';
import { become, toDrift } from './supervisor-setup.ts';
import type { Step } from './supervisor-setup.ts';

/** S3. Nobody else's turn comes by it. */
export const queueUp = become((context, event, at) => {
  if (event.type !== 'remedy.ready') return { context, out: [] };
  const { key, actionId } = event;
  const stood = inShards(context.standing, key);
  const isGiven = entryOf(context.granted, key)?.actionId === actionId;
  if (stood === undefined || isGiven) return { context, out: [] };
  const known = context.row.find((one) => one.key === key);
  const mine = { key, actionId, since: known?.actionId === actionId ? known.since : at };
  const row = known
    ? context.row.map((one) => (one === known ? mine : one))
    : [...context.row, mine];
  const decided = redecide({ ...context, row }, [key], { at });
  const served = serve(decided.context, at, (one) => one === mine);
  return { context: served.context, out: [...decided.out, ...served.out] };
});

/** S3, S4. */
export const endRemedy = become((context, event, at) => {
  if (event.type !== 'remedy.ended') return { context, out: [] };
  const { key, actionId, remedy, outcome } = event;
  const isMine = (one: { actionId: string } | undefined): boolean => one?.actionId === actionId;
  const given = entryOf(context.granted, key);
  const next = {
    ...(outcome === 'lapsed' && given && isMine(given) ? unused(context, key, given) : context),
    granted: isMine(given) ? withoutEntry(context.granted, key) : context.granted,
    row: context.row.filter((one) => one.key !== key || !isMine(one)),
    earned: ledgerAfter(context, { of: autonomyClass(remedy, key), outcome, at }),
  };
  const decided = redecide(next, [key], { at });
  const served = serve(decided.context, at);
  return { context: served.context, out: [...decided.out, ...served.out] };
});

/** Nothing was done to the target under it. */
const unused = (context: SupervisorContext, key: string, { at }: Given): SupervisorContext => {
  const left = (entryOf(context.approvedOf, key) ?? []).filter((given) => given !== at);
  return { ...context, approvedOf: withEntry(context.approvedOf, key, left) };
};

function ledgerAfter(
  { earned }: SupervisorContext,
  { of, outcome, at }: { of: string; outcome: string; at: number },
): SupervisorContext['earned'] {
  if (outcome === 'verified') return withSuccess(earned, of, at);
  return outcome === 'failed' || outcome === 'not_verified' ? withFailure(earned, of, at) : earned;
}

export const serveAll = become((context, _event, at) => serve(context, at));

/** S3: each is counted before the next is looked at. `concerns`: whose turn may have come. */
export function serve(
  before: SupervisorContext,
  at: number,
  concerned: (one: InRow) => boolean = () => true,
): Step {
  let now: SupervisorContext = { ...before, ...recentOf(before, at) };
  const row: InRow[] = [];
  const out: Outgoing[] = [];
  const moment = newMoment();
  let asked: number | null = null;
  let general = whyNotAny(now, at);
  for (const one of before.row) {
    const stood = inShards(now.standing, one.key);
    if (stood === undefined) continue;
    const answer =
      general ??
      (concerned(one)
        ? mayApprove(now, { standing: stood, decision: stood.decision }, at, moment)
        : null);
    if (answer?.kind === 'granted') {
      now = granted(now, stood, { ...one, at });
      out.push(...approval(now, stood, one));
      general = whyNotAny(now, at);
      moment.busy = null;
      continue;
    }
    row.push(one);
    if (answer !== null) asked = earlier(asked, answer.until);
  }
  const isAll = general !== undefined || row.every(concerned);
  const waited = isAll ? asked : earlier(asked, before.lookAt); // those that were not asked wait as they did
  const until = out.length === 0 ? waited : nextTurn(now, row, at, moment);
  const lookAt = until === null || row.length === 0 ? null : Math.max(until, at + 1);
  return { context: { ...now, row, lookAt }, out };
}

/** S2: what they wait for is another thing when somebody was approved, also for those who had been asked before. */
function nextTurn(
  context: SupervisorContext,
  row: readonly InRow[],
  at: number,
  moment: Moment,
): number | null {
  const general = whyNotAny(context, at);
  if (general !== undefined) return general.until;
  return row.reduce<number | null>((until, { key }) => {
    const stood = inShards(context.standing, key);
    if (stood === undefined) return until;
    const { decision } = stood;
    const answer = mayApprove(context, { standing: stood, decision }, at, moment);
    return answer.kind === 'refused' ? earlier(until, answer.until) : until;
  }, null);
}

/** Those of the last hour. */
function recentOf(
  { approvals, approvedOf }: Pick<SupervisorContext, 'approvals' | 'approvedOf'>,
  at: number,
): Pick<SupervisorContext, 'approvals' | 'approvedOf'> {
  const isRecent = (given: number): boolean => given > at - HOUR_MS;
  if (approvals.every(isRecent)) return { approvals, approvedOf };
  const kept = Object.entries(approvedOf).flatMap(([key, given]): [string, readonly number[]][] => {
    const recent = given.filter(isRecent);
    return recent.length === 0 ? [] : [[key, recent]];
  });
  return { approvals: approvals.filter(isRecent), approvedOf: Object.fromEntries(kept) };
}

const earlier = (a: number | null, b: number | null): number | null =>
  a === null || b === null ? (a ?? b) : Math.min(a, b);

function granted(
  context: SupervisorContext,
  stood: Stood,
  one: InRow & { at: number },
): SupervisorContext {
  const { key, actionId, at } = one;
  const rule = stood.decision.rule ?? '';
  const given = { actionId, host: stood.drift.host, rule, at };
  return {
    ...context,
    granted: withEntry(context.granted, key, given),
    approvals: [...context.approvals, at].slice(-MAX_APPROVALS),
    approvedOf: withEntry(context.approvedOf, key, [
      ...(entryOf(context.approvedOf, key) ?? []),
      at,
    ]),
  };
}

function approval(
  { approvalExpires: expires }: SupervisorContext,
  { drift, decision }: Stood,
  { actionId }: InRow,
): Outgoing[] {
  return toDrift(drift, {
    type: 'remedy.approve',
    actionId,
    rule: decision.rule ?? '',
    because: decision.because,
    ...(expires !== null && { expires }),
  });
}

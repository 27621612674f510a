/** What a look makes of the drifts that stand: those that closed, those that opened or stand otherwise. */
import { asJsonObject, jsonEqual } from './json.ts';
import type { Outgoing } from './outgoing.ts';
import { MAX_DRIFTS } from './reconcile-changes.ts';
import type { Look, Standing } from './supervision.ts';
import { inShards, namesIn, withEntry, withoutEntry } from './shards.ts';
import { serve } from './supervisor-approvals.ts';
import { entryOf, LEAVING_MARGIN } from './supervisor-context.ts';
import type { SupervisorContext } from './supervisor-context.ts';
import { isSilent, redecide, rulingOn } from './supervisor-rulings.ts';
import { become, toDrift } from './supervisor-setup.ts';
import type { Step } from './supervisor-setup.ts';

/** S1, S2. */
export const noteLook = become((context, event, at) => {
  if (event.type !== 'supervisor.looked') return { context, out: [] };
  const { counts, beyond, doubt, staleSince, inHand, goesOn = false, unfinished } = event;
  const seen = { counts, beyond, doubt, staleSince, at, ...(unfinished && { unfinished }) };
  const told = { ...context, look: seen, skipped: null, inHand, ...(!goesOn && { refused: 0 }) };
  const closed = close(told, event, at);
  const opened = open(closed.context, event, at);
  const isOtherDoubt = (doubt === null) !== ((context.look?.doubt ?? null) === null);
  const wasUnseen = context.skipped !== null || isSilent(context.look);
  const keys =
    isOtherDoubt || wasUnseen || isSilent(seen)
      ? namesIn(opened.context.standing)
      : changedIn(context.inHand, inHand);
  const decided = redecide(opened.context, keys, { at });
  const served = serve(decided.context, at);
  return {
    context: served.context,
    out: [...closed.out, ...opened.out, ...decided.out, ...served.out],
  };
});

/** Those whose entry is another one. */
function changedIn(
  before: Readonly<Record<string, string>>,
  after: Readonly<Record<string, string>>,
): string[] {
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...keys].filter((key) => entryOf(before, key) !== entryOf(after, key));
}

/** What went well again, or is not desired any more. Its actor may have something in hand, and says when it has not. */
function close(context: SupervisorContext, { closed }: Look, at: number): Step {
  if (closed.length === 0) return { context, out: [] };
  let { standing, leaving } = context;
  const out: Outgoing[] = [];
  for (const { key, reason } of closed) {
    const stood = inShards(standing, key);
    if (stood === undefined) continue;
    standing = withoutEntry(standing, key);
    const { host, service } = stood.drift;
    leaving = withEntry(leaving, key, { host, service, reason, at });
    out.push(...toDrift(stood.drift, { type: 'drift.gone', reason }));
  }
  if (out.length === 0) return { context, out };
  const row = context.row.filter(({ key }) => inShards(standing, key) !== undefined);
  return { context: { ...context, standing, leaving, row }, out };
}

/** S2: what stands already as it is told to is not told again. */
function open(context: SupervisorContext, { opened, changed }: Look, at: number): Step {
  if (opened.length + changed.length === 0) return { context, out: [] };
  let { standing, leaving, refused } = context;
  const out: Outgoing[] = [];
  for (const told of criticalFirst([...opened, ...changed])) {
    const { drift, recommendation, dependants } = told;
    const { key } = drift;
    const stood = inShards(standing, key);
    if (stood !== undefined && isSame(stood, told)) continue;
    if (stood === undefined && !hasRoom(standing.size, leaving.size)) {
      refused += 1;
      continue;
    }
    const since = stood?.drift.kind === drift.kind ? stood.since : at;
    const ruling = rulingOn(context, told, at);
    const { decision, requiresHuman } = ruling;
    const { status, actionId } = stood ?? { status: 'recommended' as const, actionId: null };
    const now = { drift, recommendation, since, decision, requiresHuman, status, actionId };
    standing = withEntry(standing, key, now);
    leaving = withoutEntry(leaving, key);
    const news = { drift, recommendation, ...(dependants && { dependants }) };
    out.push(...toDrift(drift, { type: 'drift.stands', ...news, ...ruling }));
  }
  return { context: { ...context, standing, leaving, refused }, out };
}

const criticalFirst = (told: readonly Standing[]): Standing[] =>
  told.toSorted((a, b) => Number(b.drift.critical) - Number(a.drift.critical));

const hasRoom = (standing: number, leaving: number): boolean =>
  standing < MAX_DRIFTS && standing + leaving < MAX_DRIFTS + LEAVING_MARGIN;

function isSame(a: Standing, b: Standing): boolean {
  const { because: _a, ...one } = a.drift;
  const { because: _b, ...other } = b.drift;
  return (
    jsonEqual(asJsonObject(one), asJsonObject(other)) &&
    jsonEqual(asJsonObject(a.recommendation), asJsonObject(b.recommendation))
  );
}

export const noteSkipped = become((context, event, at) => {
  if (event.type !== 'supervisor.skipped') return { context, out: [] };
  const { since = at, times = 0 } = context.skipped ?? {};
  return {
    context: { ...context, skipped: { reason: event.reason, since, times: times + 1 } },
    out: [],
  };
});

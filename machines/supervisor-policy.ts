/**
 * What the policy says of a drift, and whether the policy may approve an action now. Pure: the supervisor asks, a replay of
 * recorded events against another policy asks too, and nobody else decides.
 *
 * P1 Nobody is approved whom a person has to decide about: a host that is always a person's, a remedy that is none of
 *    ACTING_REMEDIES (P7).
 * P2 What is not known approves nothing: no look, an old one, a part of one, one that failed, an observer that is silent or doubted, a time zone
 *    without a table.
 * P3 What is counted against a limit is counted by whoever asks before the next one is asked about.
 * P4 What comes back again and again is not mended by the same thing once more: after so many approvals on one target within an
 *    hour a person has to look.
 */
import { hasEarned } from './autonomy.ts';
import type { Answer, Refusal } from './gate-rules.ts';
import { concerns, nextOpening, spanAt } from './gate-windows.ts';
import { matchingGlob } from './globs.ts';
import type { Window, ZoneTable } from './remediation.ts';
import { ACTING_REMEDIES, DEFAULT_EARNED_AFTER, WORDS_ONLY } from './supervision.ts';
import type { Decision, Earned, Ruling, Standing } from './supervision.ts';
import type { SummaryCounts, SupervisorLimits, SupervisorPolicy } from './supervision.ts';
import type { SupervisorRule } from './supervision.ts';

export interface Circumstances {
  earned: Earned;
  /** Why the observer is doubted; null: it is not. */
  doubt: string | null;
  /** Why nobody can see how things stand now; null, or left out: somebody can. */
  unseen?: string | null;
  /** Somebody else's action that is open for the target. */
  inHand: string | null;
  /** Globs of hosts on which a person always decides. */
  alwaysHuman: readonly string[];
  /** Why the policy approves no more for the target (`whyWornOut`); null, or left out: it may. */
  wornOut?: string | null;
}

/** What is to be done, and whether a person has to say yes to it. */
export function decide(
  standing: Standing,
  policy: Pick<SupervisorPolicy, 'rules'>,
  circumstances: Circumstances,
): Pick<Ruling, 'decision' | 'requiresHuman' | 'escalates'> {
  const decision = decisionOn(standing, policy, circumstances);
  const { wornOut = null } = circumstances;
  if (decision.mode !== 'approve' || wornOut === null)
    return { decision, requiresHuman: decision.mode !== 'approve' };
  const because = `rule ${decision.rule ?? '?'}, but ${wornOut}: a person has to look`; // P4
  const mode = 'recommend';
  return { decision: { ...decision, mode, because }, requiresHuman: true, escalates: true };
}

const only = (because: string): Decision => ({ mode: 'recommend', rule: null, because });

function decisionOn(
  standing: Standing,
  policy: Pick<SupervisorPolicy, 'rules'>,
  { earned, doubt, unseen = null, inHand, alwaysHuman }: Circumstances,
): Decision {
  const { remedy } = standing.recommendation;
  if (WORDS_ONLY.includes(remedy)) return only(`${remedy} is for people to read`);
  if (doubt !== null) return only('the observer is doubted, so nothing is proposed');
  if (unseen !== null) return only(`${unseen}, so nothing is proposed`);
  if (inHand !== null) return only(`action ${inHand} is open for it`);
  const found = ruleFor(standing, policy);
  if (found === undefined) return only('no rule of the policy fits');
  const { rule, name } = found;
  const { mode } = rule;
  const says = { rule: name, because: `rule ${name}: ${mode}` };
  if (mode === 'recommend' || mode === 'propose') return { mode, ...says };
  const human = needsPerson(standing, alwaysHuman); // P1
  if (human !== null) return { mode: 'propose', rule: name, because: `rule ${name}, but ${human}` };
  if (mode === 'approve') return { mode, ...says };
  const { after = DEFAULT_EARNED_AFTER } = rule;
  const because = `rule ${name}: ${earnedText(earned, after)}`;
  return { mode: hasEarned(earned, after) ? 'approve' : 'propose', rule: name, because };
}

function earnedText({ successes, revokedBy }: Earned, after: number): string {
  if (revokedBy !== null) return `what it had earned was taken back by ${revokedBy}`;
  return successes >= after
    ? `earned by ${after} verified successes`
    : `${successes} of ${after} verified successes`;
}

/** P1. Null: the policy may decide. */
function needsPerson(
  { drift, recommendation }: Standing,
  alwaysHuman: readonly string[],
): string | null {
  if (!ACTING_REMEDIES.includes(recommendation.remedy))
    return `a person decides about ${recommendation.remedy}`;
  const glob = matchingGlob(alwaysHuman, drift.host);
  return glob === undefined ? null : `a person decides on ${glob}`;
}

/** The first rule that fits, with its name or its place. */
export function ruleFor(
  { drift, recommendation }: Standing,
  { rules }: Pick<SupervisorPolicy, 'rules'>,
): { rule: SupervisorRule; name: string } | undefined {
  const fits = (globs: string[] | undefined, name: string | null): boolean =>
    globs === undefined || (name !== null && matchingGlob(globs, name) !== undefined);
  const index = rules.findIndex(
    ({ drifts, actions, hosts, services }) =>
      fits(drifts, drift.kind) &&
      fits(actions, recommendation.remedy) &&
      fits(hosts, drift.host) &&
      fits(services, drift.service),
  );
  const rule = rules[index];
  return rule && { rule, name: rule.name ?? `supervisor/rules/${index}` };
}

/** What stands in the way of every approval, and what each counts against. */
export interface Approving {
  policy: SupervisorPolicy;
  alwaysHuman: readonly string[];
  zones: ZoneTable;
  frozen: boolean;
  look: {
    at: number;
    counts: SummaryCounts;
    doubt: string | null;
    staleSince: number | null;
    unfinished?: true;
  } | null;
  /** Why the last look found nothing out. */
  skipped: { reason: string } | null;
  inHand: Readonly<Record<string, string>>;
  /** By the key of the target: approved, and not over. */
  granted: Readonly<Record<string, { host: string }>>;
  /** Epoch ms of the approvals that count, the oldest first. */
  approvals: readonly number[];
  /** By the key of the target, those of them that were about it, but for those that lapsed. */
  approvedOf: Readonly<Record<string, readonly number[]>>;
}

export const HOUR_MS = 3_600_000;
/** Of those that stand in the way. */
const MAX_NAMED = 3;

const refused = (reason: string, until: number | null = null): Refusal => ({
  kind: 'refused',
  reason,
  until,
});

/** What keeps the policy from approving anything at all; undefined: nothing does. */
export function whyNotAny(state: Approving, at: number): Refusal | undefined {
  const { policy, frozen, look, skipped } = state;
  if (frozen) return refused('frozen: nothing is approved by a policy');
  if (look === null) return refused('nobody has looked yet');
  if (look.unfinished) return refused('only a part of the last look is known yet'); // P2
  if (skipped !== null) return refused(`the last look found nothing out: ${skipped.reason}`);
  if (look.at + policy.stale_after * 1000 < at) return refused('nobody has looked for too long');
  if (look.staleSince !== null)
    return refused(
      look.staleSince > at
        ? 'what was observed is of a time that has not come: a clock is wrong'
        : 'the observer is silent',
    );
  if (look.doubt !== null) return refused(`the observer is doubted: ${look.doubt}`);
  return tooOften(policy.limits, state.approvals, at) ?? tooMany(state, look.counts);
}

function tooOften(
  { approvals_per_hour: most }: SupervisorLimits,
  approvals: readonly number[],
  now: number,
): Refusal | undefined {
  if (most === undefined) return undefined;
  const recent = approvals.filter((at) => at > now - HOUR_MS);
  if (recent.length < most) return undefined;
  const frees = recent.at(-most);
  return refused(`${most} approvals an hour`, frees === undefined ? null : frees + HOUR_MS);
}

/** P4. Undefined: the policy may approve more for this target. */
export function whyWornOut(
  { policy: { limits }, approvedOf }: Pick<Approving, 'policy' | 'approvedOf'>,
  key: string,
  now: number,
): Refusal | undefined {
  const { approvals_per_target_per_hour: most } = limits;
  const given = Object.hasOwn(approvedOf, key) ? (approvedOf[key] ?? []) : [];
  const recent = given.filter((at) => at > now - HOUR_MS);
  if (most === undefined || recent.length < most) return undefined;
  const frees = recent.at(-most);
  const count = recent.length === 1 ? '1 action was' : `${recent.length} actions were`;
  const reason = `${count} approved for ${key} within an hour`;
  return refused(reason, frees === undefined ? null : frees + HOUR_MS);
}

function tooMany(
  { policy: { limits }, granted }: Pick<Approving, 'policy' | 'granted'>,
  { services }: SummaryCounts,
): Refusal | undefined {
  const { actions_at_once: actions, percent_at_once: percent } = limits;
  if (actions === undefined && percent === undefined) return undefined;
  const open = Object.keys(granted);
  const whose = open.slice(0, MAX_NAMED).join(', ');
  if (actions !== undefined && open.length >= actions)
    return refused(`${actions} at once: ${whose} is not over`);
  if (percent === undefined) return undefined;
  const most = Math.max(1, Math.floor((services.desired * percent) / 100));
  return open.length >= most ? refused(`${percent}% at once: ${whose} is not over`) : undefined;
}

/** What is the same for all that wait, until the next approval: asked of thousands, it is found out once. */
export interface Moment {
  /** How windows stand. */
  openings: Map<Window, { isOpen: boolean | undefined; next: number | null }>;
  /** Hosts of what is approved and not over; null: nobody has asked yet. */
  busy: ReadonlySet<string> | null;
}
export const newMoment = (): Moment => ({ openings: new Map(), busy: null });

/** Whether this one may be approved, when nothing stands in the way of all. */
export function mayApprove(
  state: Approving,
  { standing, decision }: { standing: Standing; decision: Decision },
  at: number,
  moment: Moment = newMoment(),
): Answer {
  const { key, host } = standing.drift;
  const { inHand, granted, alwaysHuman } = state;
  if (decision.mode !== 'approve') return refused(decision.because);
  const human = needsPerson(standing, alwaysHuman); // P1
  if (human !== null) return refused(human);
  if (Object.hasOwn(inHand, key)) return refused(`action ${inHand[key]} is open for it`);
  if (Object.hasOwn(granted, key)) return refused('the action before it is not over');
  const wornOut = whyWornOut(state, key, at); // P4
  if (wornOut !== undefined) return wornOut;
  return (
    tooManyHosts(state, host, moment) ??
    outsideOfWindows(state, standing, at, moment) ?? { kind: 'granted' }
  );
}

function tooManyHosts(
  { policy, granted }: Approving,
  host: string,
  moment: Moment,
): Refusal | undefined {
  const { hosts_at_once: most } = policy.limits;
  if (most === undefined) return undefined;
  const busy = (moment.busy ??= new Set(Object.values(granted).map((one) => one.host)));
  if (busy.size + (busy.has(host) ? 0 : 1) <= most) return undefined;
  const others = [...busy].filter((one) => one !== host).slice(0, MAX_NAMED);
  return refused(`${most} hosts at once: ${others.join(', ')}`);
}

function outsideOfWindows(
  { policy, zones }: Approving,
  standing: Standing,
  at: number,
  moment: Moment,
): Refusal | undefined {
  const windows = ruleFor(standing, policy)?.rule.windows;
  if (windows === undefined) return undefined;
  const { host, service } = standing.drift;
  const mine = windows
    .filter((window) => concerns(window, { host, service: service ?? '' }))
    .map((window) => openingOf(window, zones, at, moment));
  if (mine.some(({ isOpen }) => isOpen === true)) return undefined;
  const nexts = mine.flatMap(({ next }) => (next === null ? [] : [next]));
  const isUnknown = nexts.length === 0 && mine.some(({ isOpen }) => isOpen === undefined);
  if (isUnknown) return refused('nothing is known of the time zone of its window'); // P2
  return refused(
    'outside of the windows of its rule',
    nexts.length > 0 ? Math.min(...nexts) : null,
  );
}

function openingOf(window: Window, zones: ZoneTable, at: number, { openings }: Moment) {
  const known = openings.get(window);
  if (known !== undefined) return known;
  const span = spanAt(window, zones, at);
  const isOpen = span === undefined ? undefined : span !== null;
  const opening = { isOpen, next: nextOpening(window, zones, at) ?? null };
  openings.set(window, opening);
  return opening;
}

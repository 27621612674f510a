/** What is decided about the drifts that stand, and decided anew when something else holds. */
import { earnedBy } from './autonomy.ts';
import { asJsonObject, jsonEqual } from './json.ts';
import type { Outgoing } from './outgoing.ts';
import { inShards, withEntries } from './shards.ts';
import { autonomyClass } from './supervision.ts';
import type { Ruling, Standing } from './supervision.ts';
import { entryOf } from './supervisor-context.ts';
import type { Stood, SupervisorContext } from './supervisor-context.ts';
import { decide, whyWornOut } from './supervisor-policy.ts';
import { sendTo } from './supervisor-setup.ts';
import type { Step } from './supervisor-setup.ts';

export function rulingOn(context: SupervisorContext, standing: Standing, at: number): Ruling {
  const { policy, policySha256, alwaysHuman, look: seen, inHand, earned } = context;
  const { key } = standing.drift;
  const wornOut = whyWornOut(context, key, at)?.reason ?? null;
  const of = autonomyClass(standing.recommendation.remedy, key);
  const ruled = decide(standing, policy, {
    earned: earnedBy(earned, of),
    doubt: seen?.doubt ?? null,
    unseen: whyUnseen(context),
    inHand: entryOf(inHand, key) ?? null,
    alwaysHuman,
    wornOut: wornOut === null || hasAction(context, key) ? null : wornOut,
  });
  return { ...ruled, verifyWithin: policy.verify_within, policySha256 };
}

/** What was decided by what was seen before stays; nothing new is. */
function whyUnseen({ look, skipped }: SupervisorContext): string | null {
  if (skipped !== null) return 'the last look found nothing out';
  return isSilent(look) ? 'the observer is silent' : null;
}

export const isSilent = (look: SupervisorContext['look']): boolean =>
  look !== null && look.staleSince !== null;

/** One that waits for its turn waits on; one that is under way is not over. */
const hasAction = ({ row, granted }: SupervisorContext, key: string): boolean =>
  Object.hasOwn(granted, key) || row.some((one) => one.key === key);

/** `always`: they are told whatever has changed. */
export function redecide(
  context: SupervisorContext,
  keys: Iterable<string>,
  { at, always = false }: { at: number; always?: boolean },
): Step {
  const out: Outgoing[] = [];
  const changed: [key: string, stood: Stood][] = [];
  for (const key of keys) {
    const stood = inShards(context.standing, key);
    if (stood === undefined) continue;
    const ruling = rulingOn(context, stood, at);
    const { decision, requiresHuman } = ruling;
    const isNews = !jsonEqual(asJsonObject(decision), asJsonObject(stood.decision));
    if (!isNews && !always) continue;
    changed.push([key, { ...stood, decision, requiresHuman }]);
    out.push(sendTo(stood.drift, { type: 'drift.decided', ...ruling }));
  }
  if (out.length === 0) return { context, out };
  return { context: { ...context, standing: withEntries(context.standing, changed) }, out };
}

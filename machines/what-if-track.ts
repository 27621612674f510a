/** One recorded drift on its way through a replay, and what is to be said of it in the end. */
import type { Refusal } from './gate-rules.ts';
import type { DriftCase } from './recorded-drifts.ts';
import type { Decision, Mode } from './supervision.ts';
import { runView } from './what-if-gate.ts';
import type { Run } from './what-if-gate.ts';
import type { Verdict } from './what-if.ts';

export interface Track {
  item: DriftCase;
  decision: Decision;
  requiresHuman: boolean;
  life: 'recommended' | 'pending' | 'waiting' | 'approved' | 'over';
  /** Its drift is gone, or is another one. */
  isPast: boolean;
  /** The drift has had its answer: nothing more is proposed while it stands. */
  isAnswered: boolean;
  /** The policy had approved as many for its target as it may. */
  isWornOut: boolean;
  by: 'policy' | 'person' | null;
  /** Epoch ms. */
  approvedAt: number | null;
  /** Why the policy did not approve it when it was asked last. */
  refusal: Refusal | null;
  lapses: number;
  run: Run | null;
}

/** When several things fall on one time. */
export const RANK = { ends: 0, gone: 2, opened: 3, answered: 4, looks: 9 } as const;

export const freshTrack = (item: DriftCase): Track => ({
  item,
  decision: { mode: 'recommend', rule: null, because: 'it is later than the end of the record' },
  requiresHuman: true,
  life: 'recommended',
  isPast: false,
  isAnswered: false,
  isWornOut: false,
  by: null,
  approvedAt: null,
  refusal: null,
  lapses: 0,
  run: null,
});

/** `wants`: what the policy would say if nothing stood in the way. */
export function verdictOn(track: Track, wants: Mode): Verdict {
  const { item, decision, requiresHuman, refusal, by, approvedAt, life, isPast } = track;
  const run = runView(track.run);
  const action = item.standing.recommendation.remedy;
  const base = { action, requiresHuman, rule: decision.rule, because: decision.because, run };
  const unapproved = { ...base, approvedAt: null, until: null };
  if (by === 'policy') {
    const isTooLate = track.run?.at == null && (life === 'over' || isPast);
    if (isTooLate) return { ...unapproved, kind: 'blocked', ...reasonOf(track.run?.waited) };
    return { ...base, kind: 'approved', approvedAt, until: null };
  }
  if (by === 'person') return { ...unapproved, kind: 'proposed' }; // who was quicker than what stood in the way
  if (!requiresHuman && refusal !== null)
    return { ...unapproved, kind: 'blocked', ...reasonOf(refusal) };
  if (life !== 'recommended') return { ...unapproved, kind: 'proposed' };
  const isHeldUp = !track.isAnswered && wants !== 'recommend';
  return { ...unapproved, kind: isHeldUp ? 'blocked' : 'recommended' };
}

const reasonOf = (refusal: Refusal | null | undefined): Pick<Verdict, 'because' | 'until'> => ({
  because: refusal?.reason ?? 'the gate had not let it run when the drift was gone',
  until: refusal?.until ?? null,
});

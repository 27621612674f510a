/** Two policies put to the same record: how often each would have done what, and where they differ. */
import { actionKey } from './supervision.ts';
import type { RecordedAction } from './recorded-actions.ts';
import type { DriftCase } from './recorded-drifts.ts';
import type { Recording, Verdict, VerdictKind } from './what-if.ts';

export interface Compared {
  about: 'drift' | 'action';
  id: string;
  /** `host/service`, or `host`. */
  key: string;
  /** Kind of the drift, or type of the event. */
  kind: string;
  /** Epoch ms. */
  at: number;
  /** What was done then, in words. */
  recorded: string;
  old: Verdict;
  new: Verdict;
  /** Nothing else would have come of it. */
  isSame: boolean;
}

export type Tally = Record<VerdictKind | 'ran_at_once' | 'ran_later' | 'not_run', number>;

export interface Comparison {
  /** By time. */
  items: Compared[];
  counts: {
    old: Tally;
    new: Tally;
    recorded: Pick<Tally, 'approved' | 'proposed' | 'recommended'>;
  };
}

type Verdicts = ReadonlyMap<string, Verdict>;

/** Of what was not over before `since`, epoch ms. */
export function compare(
  { cases, actions }: Pick<Recording, 'cases' | 'actions'>,
  verdicts: { old: Verdicts; new: Verdicts },
  since: number,
): Comparison {
  const recorded = { approved: 0, proposed: 0, recommended: 0 };
  const items: Compared[] = [];
  for (const one of cases) {
    if ((one.until ?? Infinity) < since) continue;
    recorded[recordedKind(one)] += 1;
    const { drift } = one.standing;
    const named = { about: 'drift', id: one.id, key: drift.key, kind: drift.kind } as const;
    items.push({ ...named, at: one.at, recorded: caseWords(one), ...both(one.id, verdicts) });
  }
  for (const one of actions) {
    if ((one.settledAt ?? Infinity) < since) continue;
    recorded.proposed += 1;
    const key = actionKey(one);
    const named = { about: 'action', id: one.id, key, kind: one.eventType } as const;
    items.push({ ...named, at: one.createdAt, recorded: one.status, ...both(one.id, verdicts) });
  }
  items.sort((a, b) => a.at - b.at || (a.id < b.id ? -1 : 1));
  const counts = {
    old: tally(items.map((item) => item.old)),
    new: tally(items.map((item) => item.new)),
    recorded,
  };
  return { items, counts };
}

function both(id: string, verdicts: { old: Verdicts; new: Verdicts }) {
  const [before, after] = [verdicts.old.get(id), verdicts.new.get(id)];
  if (before === undefined || after === undefined) throw new Error(`${id} was not replayed`);
  return { old: before, new: after, isSame: effectOf(before) === effectOf(after) };
}

/** What comes of it; why is another matter. */
const effectOf = ({ kind, action, requiresHuman, approvedAt, run }: Verdict): string =>
  JSON.stringify([
    kind,
    action,
    kind === 'recommended' || requiresHuman,
    approvedAt,
    run && [run.at],
  ]);

const recordedKind = ({ recorded }: DriftCase): 'approved' | 'proposed' | 'recommended' => {
  if (recorded.approved?.by === 'policy') return 'approved';
  return recorded.proposedAt === null ? 'recommended' : 'proposed';
};

function caseWords({ recorded }: DriftCase): string {
  const { proposedAt, approved, declinedAt, outcome } = recorded;
  if (proposedAt === null) return 'recommended';
  if (declinedAt !== null) return 'proposed, and a person said no';
  if (approved === null) return 'proposed';
  const came = outcome === null ? '' : outcome.helped ? ', helped' : ', did not help';
  return `approved by ${approved.by === 'person' ? 'a person' : 'the policy'}${came}`;
}

function tally(verdicts: readonly Verdict[]): Tally {
  const kinds = { approved: 0, proposed: 0, recommended: 0, blocked: 0 };
  const counts = { ...kinds, ran_at_once: 0, ran_later: 0, not_run: 0 };
  for (const { kind, run } of verdicts) {
    counts[kind] += 1;
    if (run === null) continue;
    const how = run.at === null ? 'not_run' : run.because === null ? 'ran_at_once' : 'ran_later';
    counts[how] += 1;
  }
  return counts;
}

/** Those that a drift of the record proposed are told of with the drift; for how long they ran is known from their files. */
export function joined(
  cases: readonly DriftCase[],
  actions: readonly RecordedAction[],
): Pick<Recording, 'cases' | 'actions' | 'runs'> {
  const proposed = new Map(
    cases.flatMap(({ recorded }) =>
      recorded.actionId === null ? [] : [[recorded.actionId, recorded] as const],
    ),
  );
  const runs = new Map<string, number>();
  const others: RecordedAction[] = [];
  for (const action of actions) {
    const { id, drift, ranAt, ranUntil } = action;
    const mine = drift === null ? undefined : proposed.get(id);
    if (mine === undefined) {
      others.push(action);
      continue;
    }
    const isOfThen = ranAt !== null && ranAt >= (mine.proposedAt ?? Infinity);
    if (isOfThen && ranUntil !== null) runs.set(id, Math.max(0, ranUntil - ranAt));
  }
  return { cases, actions: others, runs };
}

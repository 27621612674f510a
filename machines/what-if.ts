/**
 * What another policy would have made of what was recorded: the drifts that stood and the actions that were proposed, in the order of
 * their times, put to the rules that decide (supervisor-policy.ts, guardrails.ts, gate-rules.ts). Pure.
 *
 * I1 The same record and the same policy give the same, in whatever order the record is told.
 * I2 What is counted against a limit is counted before the next is asked about, as the supervisor and the gate do.
 * I3 An approximation, where the record cannot tell: what ran then ends as it did then; what never ran is taken to run for
 *    `ASSUMED_RUN_MS` and to hold its place until the drift was gone, `verify_within` at most, and neither earns nor costs
 *    anything. A person answers as they did then, if they were asked then; the drifts are those that there were.
 */
import { Agenda } from './agenda.ts';
import type { RecordedAction } from './recorded-actions.ts';
import type { DriftCase } from './recorded-drifts.ts';
import type { Policy, ZoneTable } from './remediation.ts';
import type { SummaryCounts } from './supervision.ts';
import { ActionsReplay } from './what-if-actions.ts';
import { DriftsReplay } from './what-if-drifts.ts';
import { GateReplay } from './what-if-gate.ts';

export interface Recording {
  cases: readonly DriftCase[];
  /** But for those that a drift of `cases` proposed. */
  actions: readonly RecordedAction[];
  /** By id, of actions of `cases`: for how long they ran, ms. */
  runs: ReadonlyMap<string, number>;
  /** Nothing is known of what came after. Epoch ms. */
  until: number;
}

/** What the record does not say. */
export interface Assumptions {
  zones: ZoneTable;
  /** As of now; null: nobody knows, so that nothing is doubted, and a part of all services is one. */
  counts: SummaryCounts | null;
  /** Classes of actions of which a person took back what they had earned. */
  revoked: readonly string[];
}

export interface Verdict {
  /** `proposed`: to a person. `blocked`: the policy wants more, and something stood in the way until it was over. */
  kind: VerdictKind;
  /** What would be done. */
  action: string;
  requiresHuman: boolean;
  /** Of the supervisor's, or of the guardrails. */
  rule: string | null;
  because: string;
  /** The policy's approval; null: it gives none. Epoch ms. */
  approvedAt: number | null;
  /** When what stood in the way would have been worth asking again. */
  until: number | null;
  /** What the gate made of the approval; null: nobody approved it. */
  run: { at: number | null; because: string | null; until: number | null } | null;
}
export type VerdictKind = 'approved' | 'proposed' | 'recommended' | 'blocked';

/** By the id of the case, or of the action. */
export function replay(
  recording: Recording,
  policy: Policy,
  assumptions: Assumptions,
): Map<string, Verdict> {
  const agenda = new Agenda();
  const gate = new GateReplay(agenda, policy, assumptions.zones);
  const drifts = new DriftsReplay(recording, { agenda, gate, policy, assumptions });
  const hand = (key: string, id: string, isOpen: boolean): void => drifts.hand(key, id, isOpen);
  const actions = new ActionsReplay(recording, { agenda, gate, policy, hand });
  for (;;) {
    const at = agenda.nextAt();
    if (at === undefined || at > recording.until) break;
    while (agenda.nextAt() === at) agenda.pop()?.run(at);
    drifts.settle(at);
    gate.serve(at);
  }
  return new Map([...drifts.verdicts(), ...actions.verdicts()]);
}

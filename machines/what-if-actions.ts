/**
 * The part of a replay that is about actions which no drift proposed: what the guardrails would have made of the model's answer, and
 * what the gate of the approval that a person gave.
 */
import type { Agenda } from './agenda.ts';
import { applyGuardrails } from './guardrails.ts';
import { executorType } from './proposal.ts';
import type { RecordedAction } from './recorded-actions.ts';
import type { Policy } from './remediation.ts';
import { actionKey } from './supervision.ts';
import { ASSUMED_RUN_MS, runView } from './what-if-gate.ts';
import type { GateReplay, Run } from './what-if-gate.ts';
import type { Recording, Verdict } from './what-if.ts';

export interface ActionsReplayOptions {
  agenda: Agenda;
  gate: GateReplay;
  policy: Policy;
  /** It is open for that target, or is no more. */
  hand: (key: string, id: string, isOpen: boolean) => void;
}

/** When several things fall on one time: it is known before the drift that it is about. */
const HANDS = 1;
const ANSWERED = 4;

export class ActionsReplay {
  readonly #actions: readonly RecordedAction[];
  readonly #options: ActionsReplayOptions;
  readonly #runs = new Map<string, Run>();

  constructor({ actions }: Pick<Recording, 'actions'>, options: ActionsReplayOptions) {
    this.#actions = actions;
    this.#options = options;
    for (const action of actions) {
      if (action.drift === null) this.#hold(action);
      if (action.approvedAt !== null) this.#approve(action, action.approvedAt);
    }
  }

  verdicts(): [string, Verdict][] {
    return this.#actions.map((action) => [action.id, this.#verdictOn(action)]);
  }

  #hold({ id, host, service, createdAt, settledAt }: RecordedAction): void {
    const { agenda, hand } = this.#options;
    for (const key of keysOf(host, service)) {
      agenda.push({ at: createdAt, rank: HANDS, id, run: () => hand(key, id, true) });
      if (settledAt === null) continue;
      const at = Math.max(settledAt, createdAt);
      agenda.push({ at, rank: HANDS, id: `${id} ends`, run: () => hand(key, id, false) });
    }
  }

  #approve(action: RecordedAction, approvedAt: number): void {
    const { id, host, service, ranAt, ranUntil, declinedAt } = action;
    const { agenda, gate } = this.#options;
    const runMs = ranAt === null || ranUntil === null ? ASSUMED_RUN_MS : ranUntil - ranAt;
    const ask = (at: number): void => {
      this.#runs.set(id, gate.ask({ id, host, service, began: () => runMs }, at));
    };
    agenda.push({ at: approvedAt, rank: ANSWERED, id, run: ask });
    if (declinedAt === null || declinedAt < approvedAt) return;
    const rank = ANSWERED + 1;
    agenda.push({ at: declinedAt, rank, id, run: () => gate.withdraw(id) });
  }

  #verdictOn(action: RecordedAction): Verdict {
    const { id, host, service, type, requiresHuman, answered, eventType } = action;
    const subject = { host, service, type: eventType };
    const guarded = answered && applyGuardrails(answered, subject, this.#options.policy);
    const proposal = guarded?.proposal;
    const tightenings = guarded?.tightenings ?? [];
    return {
      kind: 'proposed',
      action: proposal === undefined ? type : executorType(proposal.action).type,
      requiresHuman: proposal?.requires_human ?? requiresHuman,
      rule: tightenings[0]?.rule ?? null,
      because: tightenings.map(({ because }) => because).join('; '),
      approvedAt: null,
      until: null,
      run: runView(this.#runs.get(id) ?? null),
    };
  }
}

/** As the supervisor looks for others' actions (looker.ts). */
function keysOf(host: string, service: string): string[] {
  const key = actionKey({ host, service });
  return service === host ? [key, host] : [key];
}

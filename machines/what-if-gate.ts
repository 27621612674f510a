/**
 * The gate's part of a replay: who would have been let run, and when, by the gate's own rules (gate-rules.ts). As the gate does it,
 * each that may run is counted before the next is looked at; who was approved earlier is looked at earlier; an approval that is
 * not used in time lapses.
 */
import type { Agenda } from './agenda.ts';
import { isRecent, mayRun } from './gate-rules.ts';
import type { GateState, Refusal } from './gate-rules.ts';
import type { Policy, ZoneTable } from './remediation.ts';
import type { Verdict } from './what-if.ts';

/** Of what never ran. */
export const ASSUMED_RUN_MS = 60_000;

export interface Asked {
  id: string;
  host: string;
  service: string;
  /** It is let run; returns how long that takes, ms. */
  began(at: number): number;
  ended?(at: number): void;
  lapsed?(at: number): void;
}

/** What became of an approval. */
export interface Run {
  /** Epoch ms; null: it was not let run. */
  at: number | null;
  /** Why it waits, or had to wait. */
  waited: Refusal | null;
}

interface Waiting {
  asked: Asked;
  run: Run;
}

/** When several things fall on one time. */
const ENDS = 0;
const LOOKS = 9;

export class GateReplay {
  readonly #agenda: Agenda;
  readonly #state: GateState;
  readonly #expiresMs: number;
  readonly #waiting = new Map<string, Waiting>();
  /** Those who have not been answered. */
  readonly #fresh = new Set<Waiting>();
  readonly #looks = new Set<number>();
  #isNews = false;

  /** As if the executor was on and nothing was ever frozen: neither is in the record. */
  constructor(agenda: Agenda, policy: Policy, zones: ZoneTable) {
    this.#agenda = agenda;
    this.#expiresMs = Math.max(1, policy.approval_expires * 1000);
    this.#state = { policy, mode: 'on', zones, frozen: null, running: [], grants: [] };
  }

  /** It was approved at this time. */
  ask(asked: Asked, at: number): Run {
    const waiting: Waiting = { asked, run: { at: null, waited: null } };
    const { id } = asked;
    this.#waiting.set(id, waiting);
    this.#fresh.add(waiting);
    const lapse = (now: number): void => {
      if (this.#waiting.get(id) !== waiting) return;
      this.withdraw(id);
      asked.lapsed?.(now);
    };
    this.#agenda.push({ at: at + this.#expiresMs, rank: ENDS, id, run: lapse });
    return waiting.run;
  }

  /** It wants to run no more. What runs goes on. */
  withdraw(id: string): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    this.#fresh.delete(waiting);
  }

  /** Lets run who may. */
  serve(at: number): void {
    const asking = this.#isNews ? [...this.#waiting.values()] : [...this.#fresh];
    this.#fresh.clear();
    this.#isNews = false;
    if (asking.length === 0) return;
    this.#state.grants = this.#state.grants.filter((one) => isRecent(one, at));
    for (const waiting of asking) this.#answer(waiting, at);
  }

  #answer({ asked, run }: Waiting, at: number): void {
    const { id, host, service } = asked;
    const asking = { actionId: id, address: id, host, service };
    const answer = mayRun(this.#state, asking, at);
    if (answer.kind === 'refused') {
      run.waited = answer;
      if (answer.until !== null) this.#lookAgain(Math.max(answer.until, at + 1));
      return;
    }
    this.#waiting.delete(id);
    this.#state.grants.push({ at, host, service, actionId: id });
    this.#state.running.push(asking);
    run.at = at;
    const until = at + Math.max(0, asked.began(at));
    const end = (now: number): void => {
      this.#state.running = this.#state.running.filter((one) => one !== asking);
      this.#isNews = true;
      asked.ended?.(now);
    };
    this.#agenda.push({ at: until, rank: ENDS, id, run: end });
  }

  #lookAgain(at: number): void {
    if (this.#looks.has(at)) return;
    this.#looks.add(at);
    const look = (): void => {
      this.#looks.delete(at);
      this.#isNews = true;
    };
    this.#agenda.push({ at, rank: LOOKS, id: '', run: look });
  }
}

export function runView(run: Run | null): Verdict['run'] {
  if (run === null) return null;
  const { at, waited } = run;
  return { at, because: waited?.reason ?? null, until: waited?.until ?? null };
}

/**
 * The policy's approvals in a replay: who waits for one, who gets one, what counts against the limits. By the supervisor's own rules
 * (supervisor-policy.ts), asked in its order: who waits for longest first, and each counted before the next is looked at.
 */
import type { Agenda } from './agenda.ts';
import type { Policy, ZoneTable } from './remediation.ts';
import type { SummaryCounts } from './supervision.ts';
import { HOUR_MS, mayApprove, newMoment, whyNotAny, whyWornOut } from './supervisor-policy.ts';
import type { Approving } from './supervisor-policy.ts';
import type { Refusal } from './gate-rules.ts';
import { RANK } from './what-if-track.ts';
import type { Track } from './what-if-track.ts';

/** Names come from outside: none of them is more than a name. */
const record = <T>(): Record<string, T> => Object.create(null) as Record<string, T>;

export class ApprovalRow {
  readonly #agenda: Agenda;
  readonly #state: Approving;
  readonly #inHand = record<string>();
  readonly #granted = record<{ host: string }>();
  readonly #approvedOf = record<readonly number[]>();
  /** Of the last hour, the oldest first. */
  #approvals: number[] = [];
  readonly #row = new Set<Track>();
  /** Those of the row who have not been answered. */
  readonly #fresh = new Set<Track>();
  /** Times at which the row is looked at anyway. */
  readonly #looks = new Set<number>();
  /** Somebody's turn may have come. */
  #isNews = false;

  constructor(agenda: Agenda, policy: Policy, zones: ZoneTable) {
    this.#agenda = agenda;
    this.#state = {
      policy: policy.supervisor,
      alwaysHuman: policy.always_human_hosts,
      zones,
      frozen: false,
      look: null,
      skipped: null,
      inHand: this.#inHand,
      granted: this.#granted,
      approvals: [],
      approvedOf: this.#approvedOf,
    };
  }

  /** As if somebody had looked just now. */
  look(at: number, counts: SummaryCounts, doubt: string | null): void {
    if (doubt === null && this.#state.look?.doubt != null) this.#isNews = true;
    this.#state.look = { at, counts, doubt, staleSince: null };
  }

  /** Somebody else's action is open for the target; null: none is. */
  noteInHand(key: string, id: string | null): void {
    if (id === null) delete this.#inHand[key];
    else this.#inHand[key] = id;
    this.#isNews = true;
  }

  inHand(key: string): string | null {
    return this.#inHand[key] ?? null;
  }

  whyWornOut(key: string, at: number): string | null {
    return whyWornOut(this.#state, key, at)?.reason ?? null;
  }

  /** At its end; who waits already keeps the place, and is answered anew. */
  add(track: Track): void {
    this.#row.add(track);
    this.#fresh.add(track);
  }

  leave(track: Track): void {
    this.#row.delete(track);
  }

  /** Its action is over, or its approval was not used: that was no try at the target. */
  giveBack({ item, approvedAt }: Track, how: 'used' | 'unused'): void {
    const { key } = item.standing.drift;
    delete this.#granted[key];
    const given = this.#approvedOf[key] ?? [];
    if (how === 'unused') this.#approvedOf[key] = given.filter((at) => at !== approvedAt);
    this.#isNews = true;
  }

  serve(at: number, approve: (track: Track) => void): void {
    const state = this.#state;
    this.#approvals = this.#approvals.filter((given) => given > at - HOUR_MS);
    state.approvals = this.#approvals;
    const moment = newMoment();
    let general = whyNotAny(state, at);
    for (const track of this.#isNews ? [...this.#row] : [...this.#fresh]) {
      if (!this.#row.has(track)) continue;
      const { item, decision } = track;
      const asking = { standing: item.standing, decision };
      const answer = general ?? mayApprove(state, asking, at, moment);
      if (answer.kind === 'refused') {
        this.#refuse(track, answer, at);
        continue;
      }
      this.#count(track, at);
      approve(track);
      general = whyNotAny(state, at);
      moment.busy = null;
    }
    this.#fresh.clear();
    this.#isNews = false;
  }

  #count(track: Track, at: number): void {
    const { key, host } = track.item.standing.drift;
    this.#row.delete(track);
    this.#granted[key] = { host };
    this.#approvals.push(at);
    this.#approvedOf[key] = [...(this.#approvedOf[key] ?? []), at];
  }

  #refuse(track: Track, refusal: Refusal, now: number): void {
    track.refusal = refusal;
    if (refusal.until === null) return;
    const at = Math.max(refusal.until, now + 1);
    if (this.#looks.has(at)) return;
    this.#looks.add(at);
    const look = (): void => {
      this.#looks.delete(at);
      this.#isNews = true;
    };
    this.#agenda.push({ at, rank: RANK.looks, id: '', run: look });
  }
}

/**
 * The part of a replay that is about drifts: what the policy would have said of each, when it would have approved, and what it would
 * have had to wait for. As the supervisor does it: what falls on one time is taken in, then decided, then served in the order in
 * which it waits.
 *
 * D1 An approval that lapses is given again so often and no more (P8).
 * D2 What was proposed stands in a file: a later decision takes no more than the policy's word back.
 */
import type { Agenda } from './agenda.ts';
import { earnedBy, revoked, withFailure, withSuccess } from './autonomy.ts';
import type { Ledger } from './autonomy.ts';
import { doubtIn } from './reconcile-summary.ts';
import type { DriftCase } from './recorded-drifts.ts';
import type { Policy } from './remediation.ts';
import { autonomyClass } from './supervision.ts';
import type { Standing, SummaryCounts } from './supervision.ts';
import { decide } from './supervisor-policy.ts';
import { ASSUMED_RUN_MS } from './what-if-gate.ts';
import type { GateReplay } from './what-if-gate.ts';
import { ApprovalRow } from './what-if-row.ts';
import { freshTrack, RANK, verdictOn } from './what-if-track.ts';
import type { Track } from './what-if-track.ts';
import type { Assumptions, Recording, Verdict } from './what-if.ts';

export interface DriftsReplayOptions {
  agenda: Agenda;
  gate: GateReplay;
  policy: Policy;
  assumptions: Assumptions;
}

/** D1. */
const MAX_LAPSES = 100;

export class DriftsReplay {
  readonly #options: DriftsReplayOptions;
  readonly #runs: Recording['runs'];
  readonly #row: ApprovalRow;
  /** By key, ids of others' open actions. */
  readonly #others = new Map<string, string[]>();
  readonly #tracks = new Map<string, Track>();
  /** By key. */
  readonly #standing = new Map<string, Track>();
  /** By key: why nothing more is proposed. */
  readonly #answered = new Map<string, string>();
  readonly #undecided = new Set<string>();
  /** Of services, that stand. */
  readonly #ofServices = new Set<Standing>();
  /** Hosts. */
  #offline = 0;
  #ledger: Ledger = {};
  #doubt: string | null = null;
  /** Others stand than before. */
  #isOther = false;

  constructor({ cases, runs }: Pick<Recording, 'cases' | 'runs'>, options: DriftsReplayOptions) {
    const { agenda, policy, assumptions } = options;
    this.#options = options;
    this.#runs = runs;
    this.#row = new ApprovalRow(agenda, policy, assumptions.zones);
    for (const of of assumptions.revoked) this.#ledger = revoked(this.#ledger, of, 'a person');
    for (const item of cases) this.#plan(item);
  }

  /** Somebody else's action is open for the target, or is no more. */
  hand(key: string, id: string, isOpen: boolean): void {
    const others = (this.#others.get(key) ?? []).filter((one) => one !== id);
    const ids = isOpen ? [...others, id].sort() : others;
    this.#others.set(key, ids);
    this.#row.noteInHand(key, ids[0] ?? null);
    this.#undecided.add(key);
  }

  /** What follows when all that falls on one time is taken in. */
  settle(at: number): void {
    this.#lookForDoubt();
    const counts = this.#options.assumptions.counts ?? NO_COUNTS;
    this.#row.look(at, counts, this.#doubt);
    for (const key of [...this.#undecided].sort()) this.#decide(key, at);
    this.#undecided.clear();
    this.#row.serve(at, (track) => this.#approve(track, 'policy', at));
  }

  verdicts(): [string, Verdict][] {
    return [...this.#tracks].map(([id, track]) => [
      id,
      verdictOn(track, this.#rulingOn(track, null).decision.mode),
    ]);
  }

  #plan(item: DriftCase): void {
    const { agenda } = this.#options;
    const { id, at, until, recorded } = item;
    const track = freshTrack(item);
    this.#tracks.set(id, track);
    agenda.push({ at, rank: RANK.opened, id, run: () => this.#open(track) });
    if (until !== null)
      agenda.push({ at: until, rank: RANK.gone, id, run: () => this.#close(track) });
    const { approved, declinedAt } = recorded;
    const rank = RANK.answered;
    if (approved?.by === 'person')
      agenda.push({ at: approved.at, rank, id, run: (now) => this.#personApproves(track, now) });
    if (declinedAt !== null)
      agenda.push({ at: declinedAt, rank, id, run: () => this.#personDeclines(track) });
  }

  #open(track: Track): void {
    const { standing } = track.item;
    const { key } = standing.drift;
    this.#standing.set(key, track);
    this.#count(standing, 1);
    this.#undecided.add(key);
  }

  #close(track: Track): void {
    const { standing, isResolved } = track.item;
    const { key } = standing.drift;
    this.#row.leave(track);
    track.isPast = true;
    if (this.#standing.get(key) === track) this.#standing.delete(key);
    this.#count(standing, -1);
    if (isResolved) this.#answered.delete(key);
  }

  #count(standing: Standing, more: 1 | -1): void {
    const { service, kind } = standing.drift;
    if (kind === 'offline_node') this.#offline += more;
    if (service !== null && more === 1) this.#ofServices.add(standing);
    if (service !== null && more === -1) this.#ofServices.delete(standing);
    this.#isOther = true;
  }

  #personApproves(track: Track, at: number): void {
    if (track.life !== 'pending' && track.life !== 'waiting') return;
    this.#row.leave(track);
    this.#approve(track, 'person', at);
  }

  #personDeclines(track: Track): void {
    if (track.life !== 'pending' && track.life !== 'waiting') return;
    this.#row.leave(track);
    track.life = 'over';
    if (!track.isPast) this.#answered.set(track.item.standing.drift.key, 'a person has said no');
  }

  #lookForDoubt(): void {
    const { assumptions, policy } = this.#options;
    if (!this.#isOther || assumptions.counts === null) return;
    this.#isOther = false;
    const nodes = { ...assumptions.counts.nodes, offline: this.#offline };
    const before = this.#doubt;
    this.#doubt = doubtIn(this.#ofServices, { ...assumptions.counts, nodes }, policy.supervisor);
    if ((this.#doubt === null) === (before === null)) return;
    for (const key of this.#standing.keys()) this.#undecided.add(key);
  }

  /** `at` null: if nothing stood in the way. */
  #rulingOn({ item: { standing }, life }: Track, at: number | null): ReturnType<typeof decide> {
    const { policy } = this.#options;
    const { key } = standing.drift;
    const of = autonomyClass(standing.recommendation.remedy, key);
    return decide(standing, policy.supervisor, {
      earned: earnedBy(this.#ledger, of),
      doubt: at === null ? null : this.#doubt,
      inHand: at === null ? null : this.#row.inHand(key),
      alwaysHuman: policy.always_human_hosts,
      wornOut: at === null || life !== 'recommended' ? null : this.#row.whyWornOut(key, at),
    });
  }

  #decide(key: string, at: number): void {
    const track = this.#standing.get(key);
    if (track === undefined || track.life === 'approved' || track.life === 'over') return;
    if (track.isWornOut) return;
    const why = this.#answered.get(key);
    if (why !== undefined && track.life === 'recommended') {
      track.isAnswered = true;
      track.decision = { mode: 'recommend', rule: null, because: why };
      return;
    }
    const { decision, requiresHuman, escalates = false } = this.#rulingOn(track, at);
    track.decision = decision;
    track.isWornOut = escalates;
    if (escalates) this.#answered.set(key, 'a person has to look');
    if (track.life === 'waiting') this.#row.add(track);
    if (track.life !== 'recommended' || decision.mode === 'recommend') return;
    track.requiresHuman = requiresHuman; // D2
    if (requiresHuman) track.life = 'pending';
    else this.#queueUp(track);
  }

  #queueUp(track: Track): void {
    track.life = 'waiting';
    this.#row.add(track);
  }

  #approve(track: Track, by: 'policy' | 'person', at: number): void {
    const { id, standing } = track.item;
    const { host, service } = standing.drift;
    this.#row.leave(track);
    Object.assign(track, { life: 'approved', by, approvedAt: at });
    const began = (): number => this.#runMs(track.item);
    const ended = (now: number): void => this.#ran(track, now);
    const lapsed = (): void => this.#lapse(track);
    const asked = { id, host, service: service ?? '', began, ended, lapsed };
    track.run = this.#options.gate.ask(asked, at);
  }

  #runMs({ recorded: { actionId, approved, ranUntil } }: DriftCase): number {
    const known = actionId === null ? undefined : this.#runs.get(actionId);
    if (known !== undefined) return known;
    return approved === null || ranUntil === null ? ASSUMED_RUN_MS : ranUntil - approved.at;
  }

  /** The approval was not used: it stands in pending/ again. D1. */
  #lapse(track: Track): void {
    const { by, run } = track;
    if (by === 'policy') this.#row.giveBack(track, 'unused');
    track.lapses += 1;
    if (by === 'person' || track.isPast || track.lapses >= MAX_LAPSES) {
      track.life = 'over';
      return;
    }
    Object.assign(track, { by: null, refusal: run?.waited ?? track.refusal });
    this.#queueUp(track);
  }

  /** What came of it is as it was then; else nobody knows, and it keeps its place for as long as it may. */
  #ran(track: Track, now: number): void {
    const { agenda, policy } = this.#options;
    const { id, recorded, until } = track.item;
    const { outcome, ranUntil } = recorded;
    const helped = outcome?.helped ?? null;
    const latest = now + policy.supervisor.verify_within * 1000;
    const at =
      outcome === null
        ? Math.min(latest, Math.max(now, until ?? latest))
        : now + Math.max(0, outcome.at - (ranUntil ?? outcome.at));
    agenda.push({ at, rank: RANK.ends, id, run: (then) => this.#end(track, helped, then) });
  }

  /** `helped` null: nobody knows. */
  #end(track: Track, helped: boolean | null, at: number): void {
    const { drift, recommendation } = track.item.standing;
    const of = autonomyClass(recommendation.remedy, drift.key);
    track.life = 'over';
    if (track.by === 'policy') this.#row.giveBack(track, 'used');
    if (helped === true) this.#ledger = withSuccess(this.#ledger, of, at);
    if (helped === false) this.#ledger = withFailure(this.#ledger, of, at);
    const isFailed = helped === false && !track.isPast;
    if (isFailed) this.#answered.set(drift.key, 'its action did not help: a person has to look');
    this.#undecided.add(drift.key);
  }
}

const NO_COUNTS: SummaryCounts = {
  nodes: { desired: 0, online: 0, offline: 0, unknown: 0 },
  services: { desired: 0, healthy: 0, unhealthy: 0, missing: 0, unknown: 0, unmonitored: 0 },
  unmanaged: 0,
};

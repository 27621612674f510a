/**
 * One look after the other: what is desired, what is observed, what stands; what came of it goes to the supervisor's actor.
 *
 * L1 What cannot be read is no look: it is said, and what was known holds (P6).
 * L2 The supervisor hears of a look when it found something, and otherwise often enough that it knows that somebody looks.
 * L3 A host whose file was never understood is not known to desire nothing: its drifts stand, and the whole is not nominal.
 * L4 A rehearsal tells nobody and changes nothing.
 * L5 How old something is that was written is judged by the machine's clock, which its writers have; the node's own, by which our
 *    observer counts, runs on as it began, whatever that one does (actors/clock.ts). A machine that slept, or was set right
 *    after its start, has two times, and either is believed.
 */
import { SUPERVISOR } from '../../machines/addresses.ts';
import { asJsonObject } from '../../machines/json.ts';
import { lookOf, partsOf, saysNoMore } from '../../machines/look.ts';
import type { OpenAction } from '../../machines/look.ts';
import { Reconciler } from '../../machines/reconcile.ts';
import type { Reconciled } from '../../machines/reconcile.ts';
import { freshSupervisor, standingOf } from '../../machines/supervisor-context.ts';
import type { SupervisorContext } from '../../machines/supervisor-context.ts';
import type { Look, SupervisorPolicy } from '../../machines/supervision.ts';
import type { ActorSystem } from '../system.ts';
import { contextIn } from './context-in.ts';
import type { DesiredSource } from './desired-source.ts';
import type { WorldSource } from './world-source.ts';

/** L5. Less than that is none, and more is rounded, so that two clocks that run apart are the same for a while. */
const SKEW_MS = 60_000;

export interface LookerOptions {
  system: Pick<ActorSystem, 'clock' | 'read' | 'send'>;
  desired: DesiredSource;
  world: WorldSource;
  policy: () => SupervisorPolicy;
  openActions: () => Iterable<OpenAction>;
}

export type LookResult =
  | {
      ok: true;
      at: number;
      observedAt: number | null;
      reconciled: Reconciled;
      look: Look;
    }
  | { ok: false; at: number; reason: string };

export class Looker {
  readonly #options: LookerOptions;
  readonly #reconciler = new Reconciler();
  #told: { look: Look; at: number } | undefined;

  constructor(options: LookerOptions) {
    this.#options = options;
  }

  /** Throws RuntimeError when the supervisor's actor cannot be told just now. */
  async look(): Promise<LookResult> {
    const result = await this.rehearse();
    if (result.ok) await this.#tell(result);
    else await this.#tellSkipped(result.reason);
    return result;
  }

  /** L4. */
  rehearse(): Promise<LookResult> {
    const { system, desired, world, policy, openActions } = this.#options;
    return lookOnce({
      at: system.clock.now().at,
      now: Date.now(),
      desired,
      world,
      reconciler: this.#reconciler,
      policy: policy(),
      context: contextIn(system) ?? freshSupervisor(),
      openActions,
    });
  }

  /** L2. */
  async #tell({ at, look }: Extract<LookResult, { ok: true }>): Promise<void> {
    const { policy, system } = this.#options;
    const refreshMs = (policy().stale_after * 1000) / 3;
    const told = this.#told;
    const isKnown = told !== undefined && at - told.at < refreshMs && saysNoMore(told.look, look);
    const context = contextIn(system);
    if (isKnown && context?.skipped === null && context.look?.unfinished !== true) return;
    for (const part of partsOf(look))
      await system.send(SUPERVISOR, { type: 'supervisor.looked', ...asJsonObject(part) });
    this.#told = { look, at };
  }

  async #tellSkipped(reason: string): Promise<void> {
    if (contextIn(this.#options.system)?.skipped?.reason === reason) return;
    await this.#options.system.send(SUPERVISOR, { type: 'supervisor.skipped', reason });
  }
}

export interface LookParts extends Pick<LookerOptions, 'desired' | 'world' | 'openActions'> {
  /** Epoch ms, by the node's clock. */
  at: number;
  /** L5. Epoch ms, by the machine's clock. */
  now: number;
  reconciler: Reconciler;
  policy: SupervisorPolicy;
  context: SupervisorContext;
}

/** What there is to be found now, whoever asks; nobody is told. */
export async function lookOnce(parts: LookParts): Promise<LookResult> {
  const { at, now, desired, world, reconciler, policy, context, openActions } = parts;
  const wanted = await desired.look(at);
  if (!wanted.ok) return { ok: false, at, reason: `inventory: ${wanted.reason}` }; // L1
  const seen = world.look(at, wanted.value.aliases);
  if (!seen.ok) return { ok: false, at, reason: `world: ${seen.reason}` };
  const standing = standingOf(context);
  const skewMs = SKEW_MS * Math.trunc((now - at) / SKEW_MS);
  const found = reconciler.look(wanted.value, seen.value, standing, policy, now, skewMs);
  const { changes, summary } = found;
  const unread = new Set(wanted.unread);
  const isKnownWhole = unread.size === 0 || summary !== 'nominal'; // L3
  const reconciled: Reconciled = isKnownWhole ? found : { ...found, summary: 'degraded' };
  const isKnown = ({ key }: { key: string }): boolean =>
    !unread.has(standing.get(key)?.drift.host ?? ''); // L3
  const { dependants } = wanted.value;
  const told = { ...changes, closed: changes.closed.filter(isKnown) };
  const look = lookOf({ ...reconciled, changes: told }, dependants, openActions());
  return { ok: true, at, observedAt: seen.value.at, reconciled, look };
}

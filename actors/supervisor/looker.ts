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
import { isDriftAddress, SUPERVISOR } from '../../machines/addresses.ts';
import { asJsonObject, jsonEqual } from '../../machines/json.ts';
import { Reconciler } from '../../machines/reconcile.ts';
import type { Reconciled } from '../../machines/reconcile.ts';
import { freshSupervisor, standingOf } from '../../machines/supervisor-context.ts';
import type { SupervisorContext } from '../../machines/supervisor-context.ts';
import type { Desired, Look, Standing, SupervisorPolicy } from '../../machines/supervision.ts';
import type { ActorSystem } from '../system.ts';
import { contextIn } from './context-in.ts';
import type { DesiredSource } from './desired-source.ts';
import type { WorldSource } from './world-source.ts';

/** In one event. */
const MAX_CHANGES = 200;
const MAX_DEPENDANTS = 50;
/** L5. Less than that is none, and more is rounded, so that two clocks that run apart are the same for a while. */
const SKEW_MS = 60_000;

export interface LookerOptions {
  system: Pick<ActorSystem, 'clock' | 'read' | 'send'>;
  desired: DesiredSource;
  world: WorldSource;
  policy: () => SupervisorPolicy;
  openActions: () => Iterable<OpenAction>;
}

/** `origin`: the address of who proposed it, if it was an actor. */
export interface OpenAction {
  id: string;
  host: string;
  service: string;
  origin: string | null;
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
    const isKnown = told !== undefined && at - told.at < refreshMs && isSame(told.look, look);
    if (isKnown && contextIn(this.#options.system)?.skipped === null) return;
    for (const part of partsOf(look))
      await system.send(SUPERVISOR, { type: 'supervisor.looked', ...asJsonObject(part) });
    this.#told = { look: { ...look, opened: [], changed: [], closed: [] }, at };
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
  const { changes, counts, beyond, doubt, staleSince, summary } = found;
  const unread = new Set(wanted.unread);
  const isKnownWhole = unread.size === 0 || summary !== 'nominal'; // L3
  const reconciled: Reconciled = isKnownWhole ? found : { ...found, summary: 'degraded' };
  const isKnown = ({ key }: { key: string }): boolean =>
    !unread.has(standing.get(key)?.drift.host ?? ''); // L3
  const look: Look = {
    opened: changes.opened.map((one) => withDependants(one, wanted.value)),
    changed: changes.changed.map((one) => withDependants(one, wanted.value)),
    closed: changes.closed.filter(isKnown),
    counts,
    beyond,
    doubt,
    staleSince,
    inHand: inHandOf(new Set(reconciled.drifts.map(({ drift }) => drift.key)), openActions()),
  };
  return { ok: true, at, observedAt: seen.value.at, reconciled, look };
}

/** Actions of others for what drifts: two remedies at a time are one too many. */
function inHandOf(drifting: ReadonlySet<string>, actions: Iterable<OpenAction>): Look['inHand'] {
  const found: [key: string, id: string][] = [];
  for (const { id, host, service, origin } of actions) {
    if (origin !== null && isDriftAddress(origin)) continue;
    const isOwn = service === '' || service === host; // an event about a host is one of the service that bears its name
    for (const key of new Set([`${host}/${service}`, ...(isOwn ? [host] : [])]))
      if (drifting.has(key)) found.push([key, id]);
  }
  return Object.fromEntries(found.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function withDependants(one: Standing, { dependants }: Desired): Standing {
  const found = dependants.get(one.drift.key) ?? [];
  return found.length === 0 ? one : { ...one, dependants: found.slice(0, MAX_DEPENDANTS) };
}

const isSame = (told: Look, look: Look): boolean =>
  look.opened.length + look.changed.length + look.closed.length === 0 &&
  jsonEqual(asJsonObject(told), asJsonObject({ ...look, opened: [], changed: [], closed: [] }));

/** What went comes first: it makes room. */
function partsOf(look: Look): Look[] {
  const { opened, changed, closed } = look;
  const pieces = [
    ...cut(closed).map((part) => ({ closed: part })),
    ...cut(changed).map((part) => ({ changed: part })),
    ...cut(opened).map((part) => ({ opened: part })),
  ];
  if (opened.length + changed.length + closed.length <= MAX_CHANGES) return [look];
  return pieces.map((piece) => ({ ...look, opened: [], changed: [], closed: [], ...piece }));
}

function cut<T>(list: readonly T[]): T[][] {
  const parts: T[][] = [];
  for (let from = 0; from < list.length; from += MAX_CHANGES)
    parts.push(list.slice(from, from + MAX_CHANGES));
  return parts;
}

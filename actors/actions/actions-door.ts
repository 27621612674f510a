/**
 * Actions as one of the node's doors: the folders are watched, the gate knows the policy and the mode, the effects are bound.
 *
 * D1 The gate is told policy and mode before anything is looked at: what an earlier life let run in another mode does not
 *    begin in this one.
 * D2 A policy that cannot be read leaves the last good one in force, and the status says so; without any nothing runs (P6).
 * D3 One door on a folder and a node: verbs find it by their node.
 * D4 A freeze is the folder's: a node that takes the folder over from another is told of it before it is told anything else.
 */
import { rmSync } from 'node:fs';
import { readFreeze, writeFreeze } from '../../cells/freeze-file.ts';
import type { Freeze } from '../../cells/freeze-file.ts';
import { outputFolder } from '../../cells/runtime-layout.ts';
import type { RuntimeLayout } from '../../cells/runtime-layout.ts';
import type { RuntimeOwner } from '../../cells/runtime-owner.ts';
import { GATE } from '../../machines/addresses.ts';
import type { GateContext } from '../../machines/gate.machine.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { asJsonObject, jsonEqual } from '../../machines/json.ts';
import type { JsonObject } from '../../machines/json.ts';
import { ACTION_STATUSES, DEFAULT_POLICY } from '../../machines/remediation.ts';
import type { ExecutorMode, GateEvent, Policy } from '../../machines/remediation.ts';
import { isoFromEpoch, isoOrNull } from '../../machines/time.ts';
import type { Executor } from '../executor/types.ts';
import type { MissionNode, OpenDoor } from '../node.ts';
import { effectKey } from '../records.ts';
import { refuseOnStandby } from '../runtime-holding.ts';
import type { ActorSystem, SystemLog } from '../system.ts';
import { bindActionEffects, plan } from './action.actor.ts';
import type { ActionHost } from './action.actor.ts';
import { ActionFiles } from './action-files.ts';
import { ActionIndex, ACTIONS, idOf } from './action-index.ts';
import { prepareFolders } from './action-moves.ts';
import { waitsWithNames } from './action-waits.ts';
import type { Standing } from './action-waits.ts';
import { ActionWatch } from './action-watch.ts';
import { zonesOf } from './zone-offsets.ts';

type ShownExecutor = Executor & {
  /** For the status. */
  view?: () => JsonObject;
};

export interface ActionsDoorOptions extends Pick<ActionHost, 'escalate' | 'nodeName'> {
  executor?: ShownExecutor | undefined;
  layout: RuntimeLayout;
  /** Who acted on the folder last. Left out: nobody but us. */
  before?: RuntimeOwner | null;
  mode: ExecutorMode;
  /** What the policy file says now; asked again at every rescan. Left out: `DEFAULT_POLICY`. Throws when it is no good. */
  loadPolicy?: () => Policy;
  /** Calls back when that says something else; the function that is returned ends it. */
  onPolicyChange?: (listener: () => void) => () => void;
  log: SystemLog;
  /** Default 120,000. */
  verifyMs?: number;
  rescanMs?: number;
  /** Of actions that have ended so many are remembered. Default 1000. */
  keptSettled?: number;
}

const VERIFY_MS = 120_000;
/** Of what waits, in the status. */
const MAX_SHOWN = 50;
const MAX_REFUSED = 5;
const DAY_MS = 24 * 3_600_000;

export interface ActionsDoor extends OpenDoor {
  files: ActionFiles;
  index: ActionIndex;
  mode: ExecutorMode;
  /** How it would be run; nothing is. */
  plan(run: Parameters<Executor['plan']>[0]): ReturnType<Executor['plan']>;
  /** Seconds for which an approval holds. */
  approvalExpires(): number;
  /** D4: what the gate is told of a freeze, for who acts on the folder next. */
  keepFreeze(freeze: Freeze | null): Promise<void>;
  /** Everything that stands in the folders now has been told when it resolves. */
  lookAtAll(): Promise<void>;
}

const doors = new WeakMap<MissionNode, ActionsDoor>();

/** Undefined: the node looks after no runtime folder. Throws RuntimeError NODE_LOCKED where it stands by. */
export function actionsDoorIfAny(node: MissionNode): ActionsDoor | undefined {
  refuseOnStandby(node);
  return doors.get(node);
}

/** D3. Throws RuntimeError NOT_CONFIGURED for a node without one, or a visit; NODE_LOCKED where it stands by. */
export function actionsDoorOf(node: MissionNode): ActionsDoor {
  const door = doors.get(node);
  if (door) return door;
  refuseOnStandby(node);
  throw new RuntimeError('no node runs here that looks after actions', {
    code: 'NOT_CONFIGURED',
    hint: 'Start one with the folder they are in: `lazarus up --runtime DIR`.',
  });
}

export async function openActionsDoor(
  node: MissionNode,
  options: ActionsDoorOptions,
): Promise<ActionsDoor> {
  const { layout, mode, executor, escalate, log, verifyMs = VERIFY_MS } = options;
  const { system } = node.kernel;
  const files = new ActionFiles(layout, node.nodeId);
  await prepareFolders(files, awaitedSteps(system), (fields, text) => log.warn(fields, text));
  const { nodeName } = options;
  const host = { files, system, layout, mode, executor, escalate, verifyMs, nodeName, log };
  bindActionEffects(system.effects, host);
  const gate = new GateKeeper(system, options);
  await gate.takeOverFreeze(node.nodeId); // D4
  await gate.tell(); // D1
  const index = new ActionIndex(system, log, {
    onRetired: (id) => rmSync(outputFolder(layout, id), { recursive: true, force: true }),
    ...(options.keptSettled !== undefined && { kept: options.keptSettled }),
  });
  const approvalExpires = (): number =>
    gate.policy?.approval_expires ?? DEFAULT_POLICY.approval_expires;
  const watch = new ActionWatch({
    files,
    index,
    system,
    log,
    approvalExpires,
    onLook: () => gate.tellSoon(),
    ...(options.rescanMs !== undefined && { rescanMs: options.rescanMs }),
  });
  watch.start();
  const unfollow = options.onPolicyChange?.(() => gate.tellSoon());
  const door: ActionsDoor = {
    files,
    index,
    mode,
    nodeFile: { runtime: layout.root },
    plan: (run) => plan(host, run),
    approvalExpires,
    keepFreeze: (freeze) => writeFreeze(layout, freeze),
    lookAtAll: () => watch.lookAtAll(),
    parts: () => {
      const standing = { gate: gate.context(), inDoubt: doubtfulOf(system) };
      return { ...actionsPart(index, watch, gate, standing), ...executorPart(mode, executor) };
    },
    async close() {
      doors.delete(node);
      unfollow?.();
      await watch.stop();
      await gate.settled;
      index.close();
    },
  };
  doors.set(node, door);
  return door;
}

/** Keys of the steps that an earlier life began and will come back for. */
function awaitedSteps(system: ActorSystem): string[] {
  const keys: string[] = [];
  for (const address of system.actors.keys()) {
    if (!address.startsWith(ACTIONS) || !system.has(address)) continue;
    try {
      for (const [id, { seq }] of Object.entries(system.read(address).invokes))
        keys.push(effectKey(address, seq, id));
    } catch (error) {
      if (!(error instanceof RuntimeError)) throw error; // held: what it waits for is not known
    }
  }
  return keys;
}

/** What the gate is told, and what it says. */
class GateKeeper {
  readonly #system: ActorSystem;
  readonly #options: ActionsDoorOptions;
  #told: { policy: Policy | null; day: number } | undefined;
  policy: Policy | null = null;
  /** Why the policy file is not what is in force. */
  problem: string | null = null;
  settled: Promise<void> = Promise.resolve();

  constructor(system: ActorSystem, options: ActionsDoorOptions) {
    this.#system = system;
    this.#options = options;
  }

  /** D4. */
  async takeOverFreeze(nodeId: string): Promise<void> {
    const system = this.#system;
    const { layout, before = null } = this.#options;
    if (!system.has(GATE)) await system.spawn(GATE, 'gate', {});
    const ours = this.context()?.frozen ?? null;
    const there = readFreeze(layout);
    const isOurs = before === null || before.node === nodeId;
    const holds = isOurs ? ours : freezeToTakeOver(ours, there, before.since);
    if (holds !== null && ours === null) {
      const { by, reason } = holds;
      await system.send(GATE, { type: 'gate.freeze', by, reason });
    }
    if (holds === null && ours !== null)
      await system.send(GATE, {
        type: 'gate.unfreeze',
        by: `whoever ended it at ${before?.node ?? '?'}`,
      });
    if ((holds === null) !== (there === null)) await writeFreeze(layout, holds);
  }

  /** Throws what keeps the gate from being told: a journal that cannot be written. */
  async tell(): Promise<void> {
    const system = this.#system;
    if (!system.has(GATE)) await system.spawn(GATE, 'gate', {});
    this.policy = this.#load();
    const now = system.clock.now().at;
    const day = Math.floor(now / DAY_MS); // the tables of time zones reach only so far
    const told = this.#told;
    if (told?.day === day && isSame(told.policy, this.policy)) return;
    const { mode } = this.#options;
    const zones = zonesOf(this.policy, now);
    const event: GateEvent = { type: 'gate.configured', policy: this.policy, mode, zones };
    await system.send(GATE, { ...asJsonObject(event), type: event.type });
    this.#told = { policy: this.policy, day };
  }

  tellSoon(): void {
    this.settled = this.settled
      .then(() => this.tell())
      .catch((error: unknown) =>
        this.#options.log.warn({ error: String(error) }, 'the gate is not told of the policy yet'),
      );
  }

  context(): GateContext | undefined {
    try {
      return this.#system.read(GATE).snapshot.context as GateContext;
    } catch (error) {
      if (error instanceof RuntimeError) return undefined; // held: the status says so
      throw error;
    }
  }

  /** D2. */
  #load(): Policy | null {
    const { loadPolicy = () => DEFAULT_POLICY, log } = this.#options;
    try {
      const policy = loadPolicy();
      this.problem = null;
      return policy;
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      if (this.problem !== problem) log.warn({ error: problem }, 'the policy file is not taken');
      this.problem = problem;
      return this.policy ?? this.context()?.policy ?? null;
    }
  }
}

/**
 * The other one's word is newer than ours, but for a freeze that was said to us while the other one acted.
 */
function freezeToTakeOver(
  ours: Freeze | null,
  there: Freeze | null,
  theirsSince: number,
): Freeze | null {
  if (ours !== null && (there !== null || ours.at > theirsSince)) return ours;
  return there;
}

const isSame = (a: Policy | null, b: Policy | null): boolean =>
  a === b || (a !== null && b !== null && jsonEqual(asJsonObject(a), asJsonObject(b)));

function doubtfulOf(system: ActorSystem): Set<string> {
  const addresses = system.inDoubt().map(({ address }) => address);
  return new Set(addresses.filter((address) => address.startsWith(ACTIONS)).map(idOf));
}

function actionsPart(
  index: ActionIndex,
  watch: ActionWatch,
  gate: GateKeeper,
  standing: Standing,
): JsonObject {
  const counts: Record<string, number> = { held: 0 };
  for (const status of ACTION_STATUSES) counts[status] = 0;
  const [asking, others]: [JsonObject[], JsonObject[]] = [[], []];
  for (const { id, status, waits: alone, until, description, host } of index.all()) {
    if (status !== null) counts[status] = (counts[status] ?? 0) + 1;
    const list = status === 'pending' || status === 'held' ? asking : others;
    if (list.length >= MAX_SHOWN) continue;
    const waits = waitsWithNames({ actionId: id, host, waits: alone }, standing);
    if (waits === null) continue;
    const when = isoOrNull(until);
    list.push({ action_id: id, status, reason: waits, until: when, description });
  }
  const waiting = [...asking, ...others].slice(0, MAX_SHOWN); // people first
  const { frozen = null } = standing.gate ?? {};
  const { trouble, beyond, refused } = watch;
  return {
    actions: {
      state: trouble === null ? 'up' : 'down',
      ...(trouble !== null && { reason: trouble }),
      counts,
      open: index.open,
      waiting,
      not_looked_after: beyond.size,
      refused_files: { count: refused.length, first: refused.slice(0, MAX_REFUSED) },
      frozen: frozen && { ...frozen, at: isoFromEpoch(frozen.at) },
      ...(gate.problem !== null && { policy_problem: gate.problem }),
    },
  };
}

function executorPart(mode: ExecutorMode, executor: ShownExecutor | undefined): JsonObject {
  if (mode === 'off') return { executor: { state: 'off', mode } };
  if (executor !== undefined) return { executor: { state: 'up', mode, ...executor.view?.() } };
  return { executor: { state: 'down', mode, reason: 'no drivers are configured' } };
}

/**
 * One node acts on a runtime folder; another one that is given the same folder stands by: it opens nothing, writes nothing
 * there, says whom it waits for, and takes over when that one is gone.
 *
 * S1 Everything that reads or writes the folder is opened by `open`, under the lock, and closed before the lock goes.
 * S2 What this node's own actors want done there waits meanwhile (parked effects), neither done nor given up.
 * S3 What is heard meanwhile is the other's to plan: this node's planner does not hear it.
 * S4 A node that does not look approves nothing: what its supervisor knew is old when it takes over.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { holdRuntime, runtimeOwner } from '../cells/runtime-owner.ts';
import type { RuntimeHeld, RuntimeOwner } from '../cells/runtime-owner.ts';
import type { RuntimeLayout } from '../cells/runtime-layout.ts';
import { RuntimeError, toPlainError } from '../machines/errors.ts';
import type { JsonObject } from '../machines/json.ts';
import { asJsonObject } from '../machines/json.ts';
import { isoFromEpoch } from '../machines/time.ts';
import type { MissionNode, OpenDoor } from './node.ts';
import { unsubscribePlanner } from './planner/bridge-subscription.ts';
import { holdSupervisor } from './supervisor/hold.ts';
import type { SystemLog } from './system.ts';

export interface HoldingOptions {
  layout: RuntimeLayout;
  /** `before`: who acted there last. */
  open: (before: RuntimeOwner | null) => Promise<OpenDoor[]>;
  log: SystemLog;
  /** Between two looks whether the folder is free, ms. Default 500. */
  lookMs?: number;
}

const LOOK_MS = 500;
/** Parts of the status that stand by with it. */
const PARTS = ['planner', 'actions', 'executor', 'observer', 'supervisor'];

const standbys = new WeakMap<MissionNode, Holding>();

/** Throws RuntimeError NODE_LOCKED where this node stands by: what is asked of it is another's to do. */
export function refuseOnStandby(node: MissionNode): void {
  const holding = standbys.get(node);
  if (holding?.isStandby !== true) return;
  const owner = holding.owner();
  throw new RuntimeError(`this node stands by: ${holding.reason}`, {
    code: 'NODE_LOCKED',
    details: asJsonObject({ owner }),
    hint: owner === null ? 'Ask the other node.' : `Ask that node: --missions ${owner.missions}`,
  });
}

/** Throws what `open` throws when the folder is free at once. */
export async function openHolding(node: MissionNode, options: HoldingOptions): Promise<OpenDoor> {
  const holding = new Holding(node, options);
  standbys.set(node, holding);
  if (!(await holding.takeOver())) await holding.standBy();
  return {
    nodeFile: { runtime: options.layout.root },
    parts: () => holding.parts(),
    metrics: () => holding.doors.flatMap(({ metrics }) => metrics?.() ?? []),
    begin: (scanned) => holding.begin(scanned),
    close: () => holding.close(),
  };
}

class Holding {
  readonly #node: MissionNode;
  readonly #options: HoldingOptions;
  readonly #stopping = new AbortController();
  #held: RuntimeHeld | undefined;
  #waiting: Promise<void> = Promise.resolve();
  #scanned: Promise<void> | undefined;
  /** Why it could not take over though the folder was free. */
  #trouble: string | null = null;
  doors: OpenDoor[] = [];

  constructor(node: MissionNode, options: HoldingOptions) {
    this.#node = node;
    this.#options = options;
  }

  get isStandby(): boolean {
    return this.#held === undefined;
  }

  owner(): RuntimeOwner | null {
    return runtimeOwner(this.#options.layout);
  }

  get reason(): string {
    if (this.#trouble !== null) return `it cannot take over: ${this.#trouble}`;
    const { root } = this.#options.layout;
    const owner = this.owner();
    if (owner === null) return `another node acts on ${root}`;
    const { node, pid, host, missions } = owner;
    return `node ${node} (pid ${pid} on ${host}, missions ${missions}) acts on ${root}`;
  }

  /** False: another one acts there. */
  async takeOver(): Promise<boolean> {
    const { layout, open } = this.#options;
    const { nodeId, layout: missions } = this.#node;
    const held = holdRuntime(layout, { node: nodeId, missions: missions.root });
    if (held === undefined) return false;
    try {
      this.doors = await open(held.before); // S1
    } catch (error) {
      held.release();
      throw error;
    }
    this.#held = held;
    if (this.#scanned) for (const door of this.doors) door.begin?.(this.#scanned);
    return true;
  }

  async standBy(): Promise<void> {
    const { log, layout } = this.#options;
    log.warn(
      { runtime: layout.root, reason: this.reason },
      'another node acts on the runtime folder: this one stands by',
    );
    await unsubscribePlanner(this.#node.kernel.system); // S3
    await holdSupervisor(this.#node.kernel.system); // S4
    this.#waiting = this.#wait();
  }

  parts(): JsonObject {
    if (!this.isStandby)
      return Object.assign({}, ...this.doors.map(({ parts }) => parts?.() ?? {})) as JsonObject;
    const owner = this.owner();
    const since = owner && isoFromEpoch(owner.since);
    const part = { state: 'standby', reason: this.reason, owner: owner && { ...owner, since } };
    return Object.fromEntries(PARTS.map((name) => [name, part]));
  }

  begin(scanned: Promise<void>): void {
    this.#scanned = scanned;
    for (const door of this.doors) door.begin?.(scanned);
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#waiting;
    standbys.delete(this.#node);
    for (const door of this.doors) await door.close();
    this.#held?.release(); // S1
  }

  async #wait(): Promise<void> {
    const { log, layout, lookMs = LOOK_MS } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await sleep(lookMs, null, { signal, ref: false }).catch(() => undefined);
      if (signal.aborted) return;
      try {
        if (!(await this.takeOver())) continue;
        log.warn({ runtime: layout.root }, 'the runtime folder is free: this node acts there now');
        return;
      } catch (error) {
        const { message } = toPlainError(error);
        if (this.#trouble !== message)
          log.warn({ error: message }, 'cannot take the runtime folder over yet');
        this.#trouble = message;
      }
    }
  }
}

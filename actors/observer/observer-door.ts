/**
 * The observer as one of the node's doors: hears the bridges, reads the event files, and writes what it makes of them into
 * `world/`, for those who have no other observer.
 *
 * D1 With `auto` it begins only where no other program writes that folder, and ends when one does.
 * D2 A journal that cannot be written just now keeps nothing from opening: the observer begins when it can.
 * D3 Off, it hears and reads nothing, and gives no sign of life: nobody would look at it.
 * D4 There is only so much room (machines/observer.machine.ts): when half of it is taken, hosts go that are in no inventory, when
 *    that has said the same for a minute: one that is being checked out misses many for a moment.
 */
import { mkdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RuntimeLayout } from '../../cells/runtime-layout.ts';
import { OBSERVER } from '../../machines/addresses.ts';
import type { ObserverMode } from '../../machines/daemon-config.ts';
import { toPlainError } from '../../machines/errors.ts';
import type { JsonObject } from '../../machines/json.ts';
import { MAX_OBSERVED_HOSTS } from '../../machines/observer.machine.ts';
import { isoOrNull } from '../../machines/time.ts';
import type { MissionNode, OpenDoor } from '../node.ts';
import { unsubscribe } from '../planner/bridge-subscription.ts';
import { Heartbeat } from '../planner/heartbeat.ts';
import type { PlannerLog } from '../planner/planner-log.ts';
import { carriedWorld, NOTHING_CARRIED } from './carried-world.ts';
import { EventReader } from './event-reader.ts';
import type { AskInventory, KnownHosts } from './known-hosts.ts';
import { ObserverRoot } from './observer-root.ts';
import { WorldView } from './world-view.ts';
import { WorldWriter } from './world-writer.ts';

export type ObserverLog = PlannerLog;

export interface ObserverDoorOptions {
  layout: RuntimeLayout;
  mode: ObserverMode;
  /** What else hosts are called, to their names in the inventory. */
  aliases: Record<string, string>;
  inventory?: AskInventory;
  log: ObserverLog;
  filesPerSecond?: number;
  /** Between two looks at the event folders, ms. Default 1000. */
  idleMs?: number;
  /** A file that was written so short a time ago may be half written, ms. Default 10,000. */
  youngMs?: number;
  /** Between two writes of the world, at least, ms. Default 1000. */
  writeMs?: number;
  /** Between two signs of life, ms. */
  heartbeatMs?: number;
  touchMs?: number;
  /** Between two questions about the inventory, ms. Default 10,000. */
  inventoryMs?: number;
  /** Of so many hosts, those that are in no inventory are forgotten. Default 2,500. */
  crowd?: number;
}

const WRITE_MS = 1000;
/** Where writing takes long (a large world, a slow disk) it is written less often: it pauses twice as long as it took. */
const PAUSE = 2;
const TOUCH_MS = 30_000;
const CROWD = MAX_OBSERVED_HOSTS / 2;
/** Hosts that are forgotten at a time. */
const MOST_FORGOTTEN = 500;
const INVENTORY_MS = 10_000;
/** D4. */
const SAME_ANSWERS = 6;

export async function openObserverDoor(
  node: MissionNode,
  options: ObserverDoorOptions,
): Promise<OpenDoor> {
  const { system } = node.kernel;
  const { mode, layout, log } = options;
  const writer = new WorldWriter(layout);
  const foreign = mode === 'auto' ? whoElse(writer) : undefined; // D1
  if (mode === 'off' || foreign !== undefined) {
    await unsubscribe(system, OBSERVER); // D3
    if (foreign !== undefined) log.info({ reason: foreign }, 'observer_off');
    return offDoor(foreign ?? 'observer: off');
  }
  const observer = new Observer(node, { ...options, writer });
  await observer.start();
  return {
    nodeFile: {},
    parts: () => ({ observer: observer.view() }),
    close: () => observer.close(),
  };
}

/** A folder that cannot be looked at is not ours to write. */
function whoElse(writer: WorldWriter): string | undefined {
  try {
    return writer.foreign();
  } catch (error) {
    return toPlainError(error).message;
  }
}

function offDoor(reason: string): OpenDoor {
  return {
    nodeFile: {},
    parts: () => ({ observer: { state: 'off', reason } }),
    close: () => Promise.resolve(),
  };
}

class Observer {
  readonly #options: ObserverDoorOptions & { writer: WorldWriter };
  readonly #root: ObserverRoot;
  readonly #view: WorldView;
  readonly #reader: EventReader;
  readonly #heartbeat: Heartbeat;
  readonly #node: MissionNode;
  readonly #stopping = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #inventory: KnownHosts | null = null;
  #askInventoryAt = 0;
  /** In a row, beside the first. */
  #sameAnswers = 0;
  #touchAt = 0;
  #writtenAt: number | null = null;
  #problem: string | null = null;
  /** Why it writes no more. */
  #stoppedBy: string | null = null;

  constructor(node: MissionNode, options: ObserverDoorOptions & { writer: WorldWriter }) {
    const { system } = node.kernel;
    const { layout, aliases, log, filesPerSecond, idleMs, youngMs } = options;
    this.#options = options;
    this.#node = node;
    const name = `${node.nodeId}.${system.epoch}`;
    this.#root = new ObserverRoot(system, { aliases, name, log });
    this.#view = new WorldView(system);
    this.#reader = new EventReader({
      system,
      events: layout.events,
      checkpoint: layout.observerCheckpoint,
      aliases: () => this.#root.aliases,
      log,
      generation: () => this.#root.context()?.generation,
      rebuild: (reason) => this.#rebuild(reason),
      checkpointed: (generation) => this.#root.checkpointed(generation),
      ...(filesPerSecond === undefined ? {} : { filesPerSecond }),
      ...(idleMs === undefined ? {} : { idleMs }),
      ...(youngMs === undefined ? {} : { youngMs }),
    });
    this.#heartbeat = new Heartbeat(layout.observerHeartbeat, log);
  }

  async start(): Promise<void> {
    const { layout, log, heartbeatMs, mode } = this.#options;
    for (const folder of [layout.world, layout.state, layout.events])
      mkdirSync(folder, { recursive: true });
    await this.#askInventory();
    await this.#root.start();
    this.#view.know(this.#root.hosts());
    const told = (file: string, problem: string): void =>
      log.warn({ file, problem }, 'what others knew is not carried on');
    this.#view.carry(carriedWorld(layout.world, Date.now(), told));
    this.#reader.start();
    await this.#heartbeat.start(heartbeatMs);
    this.#running = this.#run();
    log.info({ mode }, 'observer_started');
  }

  /** What is known is in the files when it resolves. */
  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    await this.#reader.close();
    if (this.#stoppedBy === null) await this.#write();
    this.#root.stop();
    this.#view.close();
    await this.#heartbeat.stop();
    this.#options.log.info({}, 'observer_stopped');
  }

  view(): JsonObject {
    const { mode } = this.#options;
    const { state, reason, ...counts } = this.#root.status();
    const off = this.#stoppedBy;
    const why = off ?? this.#problem ?? reason ?? null;
    return {
      state: off !== null ? 'off' : this.#problem === null ? (state ?? 'down') : 'down',
      ...(why === null ? {} : { reason: why }),
      mode,
      hosts: this.#view.hosts,
      ...counts,
      ...this.#view.counts(),
      files: this.#reader.view(),
      written_at: isoOrNull(this.#writtenAt),
      heartbeat: this.#heartbeat.view(),
    };
  }

  /** Whoever wants the world anew wants nothing carried on. */
  async #rebuild(reason: string): Promise<void> {
    if (await this.#root.rebuild(reason)) this.#view.carry(NOTHING_CARRIED);
  }

  async #run(): Promise<void> {
    const { writeMs = WRITE_MS } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted && this.#stoppedBy === null) {
      const began = performance.now();
      await this.#write();
      const pauseMs = Math.max(writeMs, PAUSE * (performance.now() - began));
      await sleep(pauseMs, null, { signal, ref: false }).catch(() => undefined);
    }
  }

  async #write(): Promise<void> {
    try {
      await this.#writeWorld();
      if (this.#problem !== null) this.#options.log.info({}, 'world_written_again');
      this.#problem = null;
    } catch (error) {
      const { message } = toPlainError(error);
      if (this.#problem !== message)
        this.#options.log.warn({ error: message }, 'world_not_written');
      this.#problem = message;
      this.#view.change();
    }
  }

  async #writeWorld(): Promise<void> {
    const { writer, mode, touchMs = TOUCH_MS } = this.#options;
    if (!this.#reader.isCaughtUp || !this.#root.isUp) return;
    const foreign = mode === 'auto' ? writer.foreign() : undefined;
    if (foreign !== undefined) return this.#giveWay(foreign);
    await this.#askInventory();
    const now = Date.now();
    await this.#makeRoom();
    if (writer.isMissing()) this.#view.change();
    const texts = await this.#view.texts(now, (host) => this.#nameOf(host));
    if (!this.#reader.isCaughtUp) return this.#view.change(); // records are made anew: what there is of them is no world
    const count = texts === undefined ? 0 : await writer.write(texts);
    if (count > 0) this.#writtenAt = now;
    if (performance.now() < this.#touchAt) return;
    if (this.#touchAt > 0) writer.touch();
    this.#touchAt = performance.now() + touchMs;
  }

  /** D1. */
  async #giveWay(foreign: string): Promise<void> {
    this.#stoppedBy = foreign;
    this.#options.log.warn({ reason: foreign }, 'observer_off');
    this.#root.stop();
    await unsubscribe(this.#node.kernel.system, OBSERVER);
    await Promise.all([this.#reader.close(), this.#heartbeat.stop()]); // D3
  }

  /** Null: the inventory does not have it. */
  #nameOf(host: string): string | null {
    const { aliases } = this.#root;
    const name = Object.hasOwn(aliases, host) ? aliases[host] : undefined;
    const isShown = this.#inventory === null || this.#inventory.hosts.has(host);
    return name ?? (isShown ? host : null);
  }

  /** D4. */
  async #makeRoom(): Promise<void> {
    const { crowd = CROWD, log } = this.#options;
    if (this.#inventory === null || this.#view.hosts < crowd) return;
    if (this.#sameAnswers < SAME_ANSWERS) return;
    const gone = this.#view.notShown((host) => this.#nameOf(host), MOST_FORGOTTEN);
    if (gone.length === 0) return;
    log.info({ hosts: gone.length }, 'hosts that are in no inventory are forgotten');
    await this.#root.forget(gone);
  }

  async #askInventory(): Promise<void> {
    const { inventory, aliases, inventoryMs = INVENTORY_MS } = this.#options;
    if (inventory === undefined || performance.now() < this.#askInventoryAt) return;
    this.#askInventoryAt = performance.now() + inventoryMs;
    const found = await inventory();
    this.#sameAnswers += 1;
    if (found !== this.#inventory) {
      this.#inventory = found;
      this.#sameAnswers = 0;
      this.#view.change();
    }
    await this.#root.call(found?.aliases ?? aliases);
  }
}

/**
 * One running node on one missions folder: the kernel, the door for files, the projections, the workers.
 *
 * N1 One node a folder (P5): the lock is taken before anything is read, and goes with the process.
 * N2 Whatever an earlier life left running is ended before any outcome file is believed or any step is started.
 * N3 A clean stop finishes the steps in hand (for a while), checkpoints everything and marks the cells clean.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { CellStore } from '../cells/checkpoint.ts';
import { writeWhole } from '../cells/durable.ts';
import { ErrorFiles } from '../cells/error-file.ts';
import { nodeIdentity, raiseEpoch } from '../cells/identity.ts';
import { CELL_FOLDERS, missionsLayout } from '../cells/layout.ts';
import type { MissionsLayout } from '../cells/layout.ts';
import { removeCellLeftovers, removeLeftovers } from '../cells/leftovers.ts';
import { lockMissions } from '../cells/lock.ts';
import type { NodeLock } from '../cells/lock.ts';
import { MissionsWatcher } from '../cells/watch.ts';
import { cellAddress, homeCell, SYSTEM_CELL_ID } from '../machines/addresses.ts';
import type { RunStepInput } from '../machines/agent-effects.ts';
import { runOf } from '../machines/cell-context.ts';
import type { CellContext } from '../machines/cell-context.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject } from '../machines/json.ts';
import type { Policies } from '../machines/mission.ts';
import { bindAgentEffects, LiveWorkers } from './agent.actor.ts';
import { bindCellEffects } from './cell.actor.ts';
import { CellDoor } from './cell-door.ts';
import { CellPlaces } from './cell-places.ts';
import { cutOffEffects, hasOutcome } from './cut-off.ts';
import type { DoubtfulEffect } from './effects.ts';
import { Kernel } from './kernel.ts';
import type { KernelOptions } from './kernel.ts';
import { bindLazarusEffects } from './lazarus.actor.ts';
import { MissionLog } from './mission-log.ts';
import { endLeftovers } from './processes.ts';
import { CellOwnership } from './ownership.ts';
import { Projector } from './projector.ts';
import { machineRegistry } from './registry.ts';
import { buildStatus } from './status.ts';
import type { StatusView } from './status.ts';
import type { CommittedRecord, SystemLog } from './system.ts';
import { WorkerPool } from './worker-pool.ts';

export { machineRegistry };

export interface NodeOptions {
  missionsDir: string;
  log: SystemLog & { error(fields: Record<string, unknown>, message: string): void };
  version: string;
  /** Defaults for cells that say nothing. */
  policies?: Partial<Policies>;
  /** False: a visit by the command line. Events are taken and files projected, but no effect or worker is started. */
  effects?: boolean;
  /** How long a stop waits for steps in hand, ms. Default 10,000. */
  drainMs?: number;
  rescanMs?: number;
  kernel?: Partial<KernelOptions>;
  /** Opens the ways by which the world reaches this node, before it says in node.json that it accepts work. */
  openDoors?: (node: MissionNode) => Promise<OpenDoor[]>;
}

/** One way in, open. */
export interface OpenDoor {
  /** What node.json says of it: `{"control": "<path of the socket>"}`. */
  nodeFile: JsonObject;
  close(): Promise<void>;
}

export class MissionNode {
  readonly layout: MissionsLayout;
  readonly nodeId: string;
  readonly kernel: Kernel;
  readonly places: CellPlaces;
  readonly workers = new LiveWorkers();
  readonly startedAt = new Date();
  readonly door: CellDoor;
  readonly projector: Projector;
  readonly #options: NodeOptions;
  readonly #lock: NodeLock;
  readonly #ownership: CellOwnership;
  readonly #pool: WorkerPool;
  readonly #watcher: MissionsWatcher;
  readonly #errorFiles: ErrorFiles;
  readonly #missionLog: MissionLog;
  #scanned: Promise<void> = Promise.resolve();
  #showing: Promise<void> = Promise.resolve();
  #doors: OpenDoor[] = [];
  #stopping: Promise<void> | undefined;

  private constructor(
    options: NodeOptions,
    parts: {
      lock: NodeLock;
      layout: MissionsLayout;
      nodeId: string;
      kernel: Kernel;
      places: CellPlaces;
      ownership: CellOwnership;
    },
  ) {
    this.#options = options;
    this.#lock = parts.lock;
    this.#ownership = parts.ownership;
    this.layout = parts.layout;
    this.nodeId = parts.nodeId;
    this.kernel = parts.kernel;
    this.places = parts.places;
    const { log, missionsDir } = options;
    const { kernel, places, nodeId, layout } = parts;
    const { system } = kernel;
    this.#pool = new WorkerPool({
      nodeId,
      log,
      compileCacheDir: join(layout.own, 'compile-cache'),
    });
    this.#errorFiles = new ErrorFiles({ log });
    this.#missionLog = new MissionLog(places, log);
    this.door = new CellDoor({
      kernel,
      places,
      nodeId,
      log,
      ownership: this.#ownership,
      errorFiles: this.#errorFiles,
      policies: options.policies ?? {},
      onCell: (_cellId, folder) => this.#watcher.watchCell(folder),
      onChange: (cellId) => this.projector.schedule(cellId),
      onCellGone: (cellId, folder) => this.#cellGone(cellId, folder),
    });
    this.projector = new Projector({ system, places, door: this.door, log });
    this.#watcher = new MissionsWatcher({
      missionsDir,
      log,
      ...(options.rescanMs === undefined ? {} : { rescanMs: options.rescanMs }),
      onCellDirty: (folder) => void this.door.lookAt(folder),
      onTopLevelChange: (names) => void this.#lookAtTop(names),
    });
    system.on('committed', (record) => this.#committed(record));
    system.on('doubt', (effect) => this.#tellDoubt(effect));
    system.on('released', (address) => {
      if (address === 'node') void this.door.scanAll();
    });
    if (options.effects === false) system.effects.suspend();
    this.#bindEffects();
  }

  /** Accepts work when it resolves. Throws RuntimeError NODE_LOCKED when another node runs on the folder. */
  static async start(options: NodeOptions): Promise<MissionNode> {
    const layout = missionsLayout(options.missionsDir);
    mkdirSync(layout.own, { recursive: true, mode: 0o700 });
    const lock = lockMissions(layout.lock, layout.node); // N1
    rmSync(layout.node, { force: true }); // a dead node's
    try {
      removeLeftovers(layout.own);
      const nodeId = await nodeIdentity(layout.nodeId);
      if (options.effects !== false) await endEarlierLife(nodeId, options.log); // N2
      const places = new CellPlaces(options.missionsDir);
      places.claimAll();
      makeSystemCell(places);
      const ownership = new CellOwnership(places, nodeId);
      const kernel = await Kernel.open({
        registry: machineRegistry(),
        store: new CellStore(places, options.log),
        journalFolder: layout.journal,
        indexFile: layout.index,
        uptimeFile: join(layout.own, 'uptime.json'),
        nodeId,
        raiseEpoch: (atLeast) => raiseEpoch(layout.epoch, atLeast),
        log: options.log,
        beforeWake: (address) => ownership.take(homeCell(address)),
        ...options.kernel,
      });
      ownership.epoch = kernel.system.epoch;
      const living = [...kernel.system.actors.values()].filter(({ stopped }) => !stopped);
      places.confirmAll(living.map(({ address }) => address));
      const node = new MissionNode(options, { lock, layout, nodeId, kernel, places, ownership });
      await node.#begin();
      return node;
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /** Everything that was on disk at start has been looked at. */
  get scanned(): Promise<void> {
    return this.#scanned;
  }

  status(): StatusView {
    const { system } = this.kernel;
    return buildStatus(
      {
        addresses: () => [...system.actors.values()].filter((a) => a.isShown).map((a) => a.address),
        context: (address) => {
          try {
            return { context: system.read(address).snapshot.context };
          } catch (error) {
            return { held: error instanceof Error ? error.message : String(error) };
          }
        },
        pidOf: (cellId, agentId) => this.workers.pidOf(cellId, agentId),
        folderOf: (cellId) => this.places.folderOf(cellId),
        inDoubt: () => system.inDoubt(),
        heldFolders: () => this.door.refused(),
      },
      {
        state: system.failure ? 'held: journal' : this.#stopping ? 'stopping' : 'running',
        pid: process.pid,
        started_at: this.startedAt.toISOString(),
        version: this.#options.version,
        missions: this.#options.missionsDir,
        node_id: this.nodeId,
        epoch: system.epoch,
        journal_bytes: this.kernel.journalBytes(),
        committed_lsn: this.kernel.committedLsn(),
        actors: system.actors.size,
        ...(system.failure ? { reason: system.failure.message } : {}),
      },
    );
  }

  /** N3. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #begin(): Promise<void> {
    await this.#watcher.start();
    if (this.#options.effects === false) {
      this.#scanned = this.door.scanAll().then(() => this.#listCutOff());
      return;
    }
    this.#doors = (await this.#options.openDoors?.(this)) ?? [];
    await this.#writeNodeFile();
    void this.kernel.wakeBusy().catch((error: unknown) => {
      this.#options.log.error({ error: String(error) }, 'waking actors failed');
    });
    this.#scanned = this.door.scanAll().catch((error: unknown) => {
      this.#options.log.error({ error: String(error) }, 'first scan failed; the rescan goes on');
    });
  }

  async #stop(): Promise<void> {
    const { system } = this.kernel;
    await this.#watcher.stop();
    await this.door.stop();
    await this.#scanned;
    system.effects.suspend();
    await system.effects.drained('runStep', this.#options.drainMs ?? 10_000);
    await system.effects.close();
    await this.#pool.close();
    this.#missionLog.flush();
    if (system.failure === undefined) {
      await system.settled();
      for (const cellId of this.#ownership.cells()) this.projector.schedule(cellId);
    }
    await this.projector.close();
    await this.#errorFiles.stop();
    await Promise.all(this.#doors.map((door) => door.close())); // open until here: a drain can be watched
    const wasHealthy = system.failure === undefined;
    await this.kernel.close();
    if (wasHealthy) this.#markClean();
    if (this.#options.effects !== false) rmSync(this.layout.node, { force: true });
    this.#lock.release();
  }

  /** Cells with a held actor stay unclean: its records are still in our journal alone. */
  #markClean(): void {
    const { actors } = this.kernel.system;
    const held = new Set<string>();
    for (const actor of actors.values()) if (actor.hold) held.add(homeCell(actor.address));
    this.#ownership.release(
      (cellId) => (held.has(cellId) ? undefined : actors.get(cellAddress(cellId))?.seq),
      this.kernel.system.clock.now().up,
    );
  }

  #bindEffects(): void {
    const { effects } = this.kernel.system;
    const { nodeId, places, workers } = this;
    const { log } = this.#options;
    const checkpoint = (address: string): Promise<void> => this.kernel.checkpoint(address);
    const begins = (run: RunStepInput): void => this.#showDoubt(run, null);
    const host = { nodeId, places, workers, checkpoint, begins, log, pool: this.#pool };
    bindAgentEffects(effects, host);
    bindCellEffects(effects, { nodeId, places });
    bindLazarusEffects(effects, this.layout.revivalLedger);
  }

  #committed(record: CommittedRecord): void {
    this.#missionLog.record(record);
    const [kind, cellId, agent] = record.address.split('/');
    if (kind === 'cell' && cellId !== undefined && agent === undefined)
      this.projector.schedule(cellId);
  }

  #cellGone(cellId: string, folder: string): void {
    this.#watcher.unwatchCell(folder);
    this.projector.forget(cellId);
  }

  async #lookAtTop(names: ReadonlySet<string> | null): Promise<void> {
    try {
      await this.door.lookAtTop(names);
    } catch (error) {
      this.#options.log.warn(
        { error: String(error) },
        'missions folder not read; the rescan tries again',
      );
    }
  }

  /** An effect in doubt delivers nothing to its agent; its cell is told, so that people see it on the task. */
  #tellDoubt({ src, input }: DoubtfulEffect): void {
    if (src !== 'runStep') return;
    const run = input as unknown as RunStepInput;
    const reason = `step ${run.step.name} was cut off and may have run; settle it with \`lazarus doubt\``;
    this.#showDoubt(run, reason);
  }

  /** One after the other: what a task shows must be what was said last. Null: nothing is in doubt any more. */
  #showDoubt(run: RunStepInput, reason: string | null): void {
    const { cellId, agentId, taskId, attempt } = run;
    const { system } = this.kernel;
    const show = async (): Promise<void> => {
      const context = system.read(cellAddress(cellId)).snapshot.context as CellContext;
      if ((runOf(context, taskId)?.doubt ?? null) === reason) return;
      const event = { type: 'task.doubted', agentId, taskId, attempt, reason };
      await system.send(cellAddress(cellId), event);
    };
    this.#showing = this.#showing.then(show).catch((error: unknown) => {
      const fields = { cellId, taskId, error: String(error) };
      this.#options.log.warn(fields, 'doubt not shown on the task');
    });
  }

  /** A visit starts no effects, so nothing finds out what became of those that an earlier life began: they are in doubt. */
  async #listCutOff(): Promise<void> {
    const { system } = this.kernel;
    await this.kernel.wakeBusy({ timers: false });
    for (const actor of system.actors.values())
      for (const effect of cutOffEffects(actor.address, actor.resident?.state.invokes ?? {}))
        if (!(await hasOutcome(this, effect)))
          system.effects.listDoubtful({ ...effect, since: system.clock.now().at });
  }

  async #writeNodeFile(): Promise<void> {
    const content = {
      pid: process.pid,
      started_at: this.startedAt.toISOString(),
      version: this.#options.version,
      missions: this.#options.missionsDir,
      runtime: null,
      http: null,
      http_token_file: null,
      inspector: null,
      nats: null,
      redis: null,
      ...Object.assign({}, ...this.#doors.map(({ nodeFile }) => nodeFile)),
    };
    await writeWhole(this.layout.node, `${JSON.stringify(content, null, 2)}\n`, {
      sync: false,
      mode: 0o600,
      what: 'node-file',
    });
  }
}

async function endEarlierLife(nodeId: string, log: SystemLog): Promise<void> {
  const swept = await endLeftovers(nodeId);
  if (!swept.supported) return;
  if (swept.ended > 0) log.warn({ pids: swept.pids }, 'ended processes left by an earlier life');
  if (swept.remaining.length > 0)
    throw new RuntimeError(
      `processes of an earlier life cannot be ended: ${swept.remaining.join(', ')}`,
      {
        code: 'CONFLICT',
        hint: 'End them by hand, then start again: a step of theirs may still be writing.',
      },
    );
}

function makeSystemCell(places: CellPlaces): void {
  const root = places.folderOf(SYSTEM_CELL_ID) as string;
  for (const folder of CELL_FOLDERS) mkdirSync(join(root, folder), { recursive: true });
  removeCellLeftovers(root);
}

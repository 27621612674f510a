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
import { removeUnfinished } from '../cells/drop.ts';
import { ErrorFiles } from '../cells/error-file.ts';
import { nodeIdentity, raiseEpoch } from '../cells/identity.ts';
import { CELL_FOLDERS, missionsLayout } from '../cells/layout.ts';
import type { MissionsLayout } from '../cells/layout.ts';
import { removeCellLeftovers, removeLeftovers } from '../cells/leftovers.ts';
import { lockMissions } from '../cells/lock.ts';
import type { NodeLock } from '../cells/lock.ts';
import { MissionsWatcher } from '../cells/watch.ts';
import { agentAddress, cellAddress, homeCell, SYSTEM_CELL_ID } from '../machines/addresses.ts';
import type { RunStepInput } from '../machines/agent-effects.ts';
import { runOf } from '../machines/cell-context.ts';
import type { CellContext } from '../machines/cell-context.ts';
import { mergeConfig } from '../machines/daemon-config.ts';
import type { EffectiveConfig } from '../machines/daemon-config.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject } from '../machines/json.ts';
import type { MetricFamily } from '../machines/metrics.ts';
import { bindAgentEffects } from './agent.actor.ts';
import type { AskModel } from './model-step.ts';
import { bindCellEffects } from './cell.actor.ts';
import { CellDoor } from './cell-door.ts';
import { Cgroups } from './cgroup.ts';
import type { MovesHost } from './cell-export.ts';
import { CellPlaces } from './cell-places.ts';
import { cutOffEffects, hasOutcome } from './cut-off.ts';
import { DaemonPolicies } from './daemon-policies.ts';
import type { DoubtfulEffect } from './effects.ts';
import { NodeHealth } from './health.ts';
import { HostWaits } from './host-waits.ts';
import { Kernel } from './kernel.ts';
import type { KernelOptions } from './kernel.ts';
import { bindLazarusEffects } from './lazarus.actor.ts';
import { LiveWorkers } from './live-workers.ts';
import { Mendings } from './mendings.ts';
import { MissionLog } from './mission-log.ts';
import { ACTION_EFFECTS, settledRun } from './actions/action.actor.ts';
import { reportFailures } from './failure-reports.ts';
import { RevivalDoor } from './revival-door.ts';
import { RevivalFiles } from './revival-files.ts';
import { RevivalLedger } from './revival-ledger.ts';
import { rollBackAgent } from './roll-back.ts';
import { endLeftovers, treeMeans } from './processes.ts';
import { CellOwnership } from './ownership.ts';
import { Projector } from './projector.ts';
import { machineRegistry } from './registry.ts';
import { RunningConfig } from './running-config.ts';
import type { Taken } from './running-config.ts';
import { buildStatus } from './status.ts';
import type { StatusView } from './status.ts';
import type { ActorSystem, CommittedRecord, SystemLog } from './system.ts';
import { uncleanCells } from './unclean-cells.ts';
import { WorkerPool } from './worker-pool.ts';
import type { WorkerCounts, WorkerPoolOptions } from './worker-pool.ts';
import { hostCompileCache } from './worker-spawn.ts';

export { machineRegistry };

export interface NodeOptions {
  missionsDir: string;
  log: SystemLog & { error(fields: Record<string, unknown>, message: string): void };
  version: string;
  /** What the daemon was told. Without it the defaults hold, and no cell is told anything (a visit). */
  config?: EffectiveConfig;
  /** False: a visit by the command line. Events are taken and files projected, but no effect or worker is started. */
  effects?: boolean;
  /** How long a stop waits for steps in hand, ms. Default 10,000. */
  drainMs?: number;
  rescanMs?: number;
  kernel?: Partial<KernelOptions>;
  /** How workers are started, instead of what the defaults and the configuration say. */
  workers?: Partial<Pick<WorkerPoolOptions, 'maxStarts' | 'maxWorkers' | 'standby'>>;
  /** Opens the ways by which the world reaches this node, before it says in node.json that it accepts work. */
  openDoors?: (node: MissionNode) => Promise<OpenDoor[]>;
}

/** One way in, open. */
export interface OpenDoor {
  /** What node.json says of it: `{"control": "<path of the socket>"}`. */
  nodeFile: JsonObject;
  /** What the status says of it under `parts`, by name: `{"nats": {"state": "up", ...}}`. */
  parts?: () => JsonObject;
  /** What `/metrics` shows of it beside the numbers of `parts` (part-metrics.ts). */
  metrics?: () => MetricFamily[];
  /** The node accepts work. `scanned`: all missions that were in the folder at the start are known. */
  begin?: (scanned: Promise<void>) => void;
  close(): Promise<void>;
}

const DRAIN_MS = 10_000;
/** Held actors that the status names one by one. */
const MAX_HELD = 1000;

export class MissionNode {
  readonly layout: MissionsLayout;
  readonly nodeId: string;
  readonly kernel: Kernel;
  readonly places: CellPlaces;
  readonly workers = new LiveWorkers();
  readonly #waits = new HostWaits();
  readonly startedAt = new Date();
  readonly door: CellDoor;
  readonly projector: Projector;
  readonly health: NodeHealth;
  readonly revivalLedger: RevivalLedger;
  /** What moves of cells need; call them through `move`. */
  readonly moves: MovesHost;
  readonly #options: NodeOptions;
  readonly #lock: NodeLock;
  readonly #ownership: CellOwnership;
  readonly #store: CellStore;
  readonly #revivalDoor: RevivalDoor;
  readonly #pool: WorkerPool;
  readonly #cgroups: Cgroups | null;
  readonly #watcher: MissionsWatcher;
  readonly #errorFiles: ErrorFiles;
  readonly #missionLog: MissionLog;
  readonly #mendings: Mendings;
  readonly #config: RunningConfig;
  readonly #daemonPolicies: DaemonPolicies;
  /** Set by whoever knows models; undefined: tasks are put to none. */
  askModel: AskModel | undefined;
  #scanned: Promise<void> = Promise.resolve();
  #showing: Promise<void> = Promise.resolve();
  #doors: OpenDoor[] = [];
  #stopping: Promise<void> | undefined;
  #moving: Promise<unknown> = Promise.resolve();

  private constructor(
    options: NodeOptions,
    parts: {
      lock: NodeLock;
      layout: MissionsLayout;
      nodeId: string;
      kernel: Kernel;
      places: CellPlaces;
      ownership: CellOwnership;
      store: CellStore;
      cgroups: Cgroups | null;
      config: RunningConfig;
      daemonPolicies: DaemonPolicies;
    },
  ) {
    this.#options = options;
    this.#lock = parts.lock;
    this.#ownership = parts.ownership;
    this.#store = parts.store;
    this.#cgroups = parts.cgroups;
    this.#config = parts.config;
    this.#daemonPolicies = parts.daemonPolicies;
    this.layout = parts.layout;
    this.revivalLedger = new RevivalLedger(parts.layout.revivalLedger);
    this.nodeId = parts.nodeId;
    this.kernel = parts.kernel;
    this.places = parts.places;
    const { log, missionsDir } = options;
    const { kernel, places, nodeId, layout } = parts;
    const { system } = kernel;
    this.#pool = new WorkerPool({
      nodeId,
      log,
      cgroups: parts.cgroups,
      compileCacheDir: hostCompileCache() ?? join(layout.own, 'compile-cache'), // the host's is warm on a new folder too
      standby: this.config.values.standby_workers,
      ...options.workers,
    });
    this.#errorFiles = new ErrorFiles({ log });
    this.#missionLog = new MissionLog(places, log);
    this.#mendings = new Mendings(system, (mending) => this.#missionLog.mended(mending));
    this.door = new CellDoor({
      kernel,
      places,
      nodeId,
      log,
      ownership: this.#ownership,
      errorFiles: this.#errorFiles,
      daemonWord: () => this.#config.word,
      onCell: (_cellId, folder) => this.#watcher.watchCell(folder),
      onChange: (cellId) => this.projector.schedule(cellId),
      onCellGone: (cellId, folder) => this.#cellGone(cellId, folder),
    });
    this.projector = new Projector({ system, places, door: this.door, log });
    this.moves = {
      kernel,
      places,
      nodeId,
      log,
      ownership: this.#ownership,
      store: this.#store,
      door: this.door,
      projector: this.projector,
      journalFolder: layout.journal,
      drainMs: options.drainMs ?? DRAIN_MS,
      flushLogs: () => this.#missionLog.flush(),
    };
    const { workers } = this;
    this.health = new NodeHealth({
      system,
      workers,
      layout,
      log,
      config: () => this.config.values,
    });
    this.#watcher = new MissionsWatcher({
      missionsDir,
      log,
      ...(options.rescanMs === undefined ? {} : { rescanMs: options.rescanMs }),
      onCellDirty: (folder) => void this.door.lookAt(folder),
      onTopLevelChange: (names) => void this.#lookAtTop(names),
    });
    this.#revivalDoor = new RevivalDoor({
      files: new RevivalFiles(layout.revivals),
      system,
      log,
      ...(options.rescanMs === undefined ? {} : { rescanMs: options.rescanMs }),
    });
    system.on('committed', (record) => this.#committed(record));
    system.on('doubt', (effect) => this.#tellDoubt(effect));
    system.on('released', (address) => {
      if (address === 'node') void this.door.scanAll();
    });
    if (options.effects === false) system.effects.suspend();
    this.#bindEffects();
    this.#daemonPolicies.attach(system);
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
      const cgroups = options.effects === false ? null : Cgroups.open(nodeId);
      if (options.effects !== false) await endEarlierLife(nodeId, cgroups, options.log); // N2
      const places = new CellPlaces(options.missionsDir);
      places.claimAll();
      makeSystemCell(places);
      const ownership = new CellOwnership(places, nodeId);
      const config = new RunningConfig(options.config ?? mergeConfig([], null));
      const daemonPolicies = new DaemonPolicies(options.log);
      if (options.config) daemonPolicies.set(config.word);
      const store = new CellStore(places, options.log);
      const kernel = await Kernel.open({
        registry: machineRegistry(),
        store,
        journalFolder: layout.journal,
        indexFile: layout.index,
        uptimeFile: join(layout.own, 'uptime.json'),
        nodeId,
        raiseEpoch: (atLeast) => raiseEpoch(layout.epoch, atLeast),
        log: options.log,
        beforeWake: (address) => {
          ownership.take(homeCell(address));
          daemonPolicies.woke(address);
        },
        placeCells: (addresses) => places.confirmAll(addresses),
        uncleanCells: () => uncleanCells(options.missionsDir, nodeId),
        ...options.kernel,
      });
      ownership.epoch = kernel.system.epoch;
      const parts = {
        lock,
        layout,
        nodeId,
        kernel,
        places,
        ownership,
        store,
        cgroups,
        config,
        daemonPolicies,
      };
      const node = new MissionNode(options, parts);
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
        addresses: () =>
          [...system.actors.values()]
            .filter((a) => a.isShown && (a.hold !== undefined || !isOneOfMany(a.address)))
            .map((a) => a.address),
        context: (address) => {
          try {
            const { snapshot } = system.read(address);
            return { context: snapshot.context, state: snapshot.value };
          } catch (error) {
            return { held: error instanceof Error ? error.message : String(error) };
          }
        },
        heldReason: (address) => heldReason(system, address),
        pidOf: (cellId, agentId) => this.workers.pidOf(cellId, agentId),
        healthOf: (cellId, agentId) => this.health.statusOf(cellId, agentId),
        complaintOf: (cellId, agentId) =>
          this.#waits.reasonOf(cellId, agentId) ?? this.health.complaintOf(cellId, agentId),
        folderOf: (cellId) => this.places.folderOf(cellId),
        inDoubt: () => system.inDoubt(),
        heldFolders: () => this.door.refused(),
        mended: () => this.#mendings.list(),
        clock: () => system.clock.now(),
        config: () => this.configView(),
        parts: () => this.parts(),
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
        held_actors: heldActors(system),
        workers: { ...this.workerCounts(), trees_ended_by: treeMeans(this.#cgroups) },
        ...(system.failure ? { reason: system.failure.message } : {}),
      },
    );
  }

  /** What joins the node to the world, by name, as its doors show it. */
  parts(): JsonObject {
    return Object.assign({}, ...this.#doors.map(({ parts }) => parts?.() ?? {})) as JsonObject;
  }

  /** What the open doors have to tell in numbers, beside their `parts`. */
  doorMetrics(): MetricFamily[] {
    return this.#doors.flatMap(({ metrics }) => metrics?.() ?? []);
  }

  workerCounts(): WorkerCounts {
    return this.#pool.counts();
  }

  get version(): string {
    return this.#options.version;
  }

  /** Why no work is taken at present; undefined while it is. */
  get trouble(): string | undefined {
    const { failure } = this.kernel.system;
    if (failure) return `the journal cannot be written: ${failure.message}`;
    return this.#stopping ? 'the node is stopping' : undefined;
  }

  /** What is in force. */
  get config(): EffectiveConfig {
    return this.#config.inForce;
  }

  /** What is in force, what waits for a restart, what is wrong with the newest one: for people, nothing secret. */
  configView(): JsonObject {
    return this.#config.view();
  }

  /** Control groups, where this host gives them. */
  get cgroups(): Cgroups | null {
    return this.#cgroups;
  }

  /** There is a model that can be asked: tasks without steps can be done from now on. It does not go back while running. */
  foundModels(): void {
    if (this.#config.hasModels) return;
    this.#config.hasModels = true;
    this.#daemonPolicies.set(this.#config.word);
  }

  /** Takes over what a running node can; the rest waits for a restart. */
  applyConfig(next: EffectiveConfig): Taken {
    const taken = this.#config.take(next);
    this.#daemonPolicies.set(this.#config.word);
    this.#pool.setStandby(this.config.values.standby_workers);
    return taken;
  }

  /** The newest configuration is no good: the last good one stays in force, and the status says so (P6). */
  refuseConfig(error: unknown): void {
    this.#config.refuse(error);
  }

  /** Cells leave and come one at a time; a stop waits for the one under way. */
  move<T>(work: () => Promise<T>): Promise<T> {
    const turn = async (): Promise<T> => {
      const { trouble } = this;
      if (trouble !== undefined) throw new RuntimeError(trouble, { code: 'BUSY', retryable: true });
      return work();
    };
    const mine = this.#moving.then(turn, turn);
    this.#moving = mine;
    return mine;
  }

  /** N3. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #begin(): Promise<void> {
    // Before anybody is told that work is accepted: from then on, what is being built is somebody's.
    await removeUnfinished(this.#options.missionsDir);
    await this.#watcher.start();
    if (this.#options.effects === false) {
      this.#scanned = this.door.scanAll().then(() => this.#listCutOff());
      return;
    }
    try {
      this.#doors = (await this.#options.openDoors?.(this)) ?? [];
    } catch (error) {
      await this.stop(); // nothing of a node that nobody can reach stays behind
      throw error;
    }
    await this.#writeNodeFile();
    this.#revivalDoor.start();
    void this.kernel.wakeBusy().catch((error: unknown) => {
      this.#options.log.error({ error: String(error) }, 'waking actors failed');
    });
    this.#scanned = this.door.scanAll().catch((error: unknown) => {
      this.#options.log.error({ error: String(error) }, 'first scan failed; the rescan goes on');
    });
    for (const door of this.#doors) door.begin?.(this.#scanned);
    void this.health.begin(this.#scanned);
  }

  async #stop(): Promise<void> {
    const { system } = this.kernel;
    await this.#moving.catch(() => undefined); // whoever asked for it hears of it
    await this.#watcher.stop();
    await this.#revivalDoor.stop();
    await this.door.stop();
    await this.#scanned;
    await this.#daemonPolicies.stop();
    system.effects.suspend();
    await Promise.all(
      ['runStep', 'runAction'].map((src) => system.effects.drained(src, this.moves.drainMs)),
    );
    await system.effects.close();
    await this.#pool.close();
    this.#cgroups?.close();
    this.#missionLog.flush();
    if (system.failure === undefined) {
      await system.settled();
      for (const cellId of this.#ownership.cells()) this.projector.schedule(cellId);
    }
    await this.projector.close();
    await this.#errorFiles.stop();
    await Promise.all(this.#doors.map((door) => door.close())); // open until here: a drain can be watched
    await this.health.close();
    const wasHealthy = system.failure === undefined;
    await this.kernel.close();
    if (wasHealthy) this.#markClean();
    if (this.#options.effects !== false) rmSync(this.layout.node, { force: true });
    this.#lock.release();
  }

  /** Cells with something that is in our journal alone (a held actor, a full disk) stay unclean. */
  #markClean(): void {
    const { actors } = this.kernel.system;
    const unsaved = this.kernel.unsaved();
    this.#ownership.release(
      (cellId) => (unsaved.has(cellId) ? undefined : actors.get(cellAddress(cellId))?.seq),
      this.kernel.system.clock.now().up,
    );
  }

  #bindEffects(): void {
    const { effects } = this.kernel.system;
    const { nodeId, places, workers } = this;
    const { log } = this.#options;
    const checkpoint = (address: string): Promise<void> => this.kernel.checkpoint(address);
    const begins = (run: RunStepInput): void => this.#showDoubt(run, null);
    const isCheckpointSound = (address: string): boolean => this.#store.isSound(address);
    const pool = this.#pool;
    const askModel = (): AskModel | undefined => this.askModel;
    const about = { nodeId, places, workers, waits: this.#waits, askModel };
    bindAgentEffects(effects, { ...about, checkpoint, isCheckpointSound, begins, log, pool });
    bindCellEffects(effects, { nodeId, places });
    const { system } = this.kernel;
    bindLazarusEffects(effects, {
      ledger: this.revivalLedger,
      files: this.#revivalDoor.files,
      release: ({ cellId, agentId }) => system.release(agentAddress(cellId, agentId)),
      rollBack: (agent) => rollBackAgent(system, this.#store, agent),
    });
    effects.park('incident', ['diagnose', 'writeEvent']);
    effects.park('drift', ['tell']);
    effects.park('action', ACTION_EFFECTS, settledRun);
    reportFailures(system, log);
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

/** The status tells of them as a whole, by the doors' own parts; thousands need not be looked at for it. */
const isOneOfMany = (address: string): boolean => /^system\/(action|planner)\/./.test(address);

/** For `fsck`, which cannot know it from the files. More than these are no help to anybody (P8). */
function heldActors({ actors }: ActorSystem): { address: string; code: string; reason: string }[] {
  const held: { address: string; code: string; reason: string }[] = [];
  for (const { address, hold } of actors.values())
    if (hold && held.length < MAX_HELD) held.push({ address, ...hold });
  return held;
}

/** As far as it is known: nobody is woken or read for it. */
function heldReason({ actors }: ActorSystem, address: string): string | null {
  const actor = actors.get(address);
  return actor?.hold && !actor.resident && !actor.frozen ? actor.heldError().message : null;
}

async function endEarlierLife(
  nodeId: string,
  cgroups: Cgroups | null,
  log: SystemLog,
): Promise<void> {
  const swept = await endLeftovers(nodeId); // workers before their steps (S2), then what is left in their groups
  const grouped = (await cgroups?.endAll()) ?? [];
  const remaining = [...new Set([...(swept.supported ? swept.remaining : []), ...grouped])];
  if (swept.supported && swept.ended > 0)
    log.warn({ pids: swept.pids }, 'ended processes left by an earlier life');
  if (remaining.length > 0)
    throw new RuntimeError(
      `processes of an earlier life cannot be ended: ${remaining.join(', ')}`,
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

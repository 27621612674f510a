/**
 * The state of a missions folder while no node runs on it, by reading alone: no lock is taken, nothing is written, and no
 * effect starts. The journal is folded as a start would fold it.
 *
 * O1 Nothing is shown as running: there are no pids, and an agent with a task in hand is idle until a node goes on with it.
 * O2 A node that starts meanwhile may drop a segment that was just listed: then everything is read once more.
 * O3 What lies in the folder and was never taken in (a new cell, a dropped file) is shown as waiting for a start.
 * O4 A cell that may not go on here is shown with the reason, not with what an older state of it was.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CellStore } from '../cells/checkpoint.ts';
import { hasCode } from '../cells/inside.ts';
import { missionsLayout } from '../cells/layout.ts';
import { scanCell } from '../cells/load.ts';
import { silentLog } from '../cells/log.ts';
import { isOwn, ownerProblem, readOwner } from '../cells/owner.ts';
import { scanMissions } from '../cells/scan-missions.ts';
import { cellAddress, homeCell } from '../machines/addresses.ts';
import { cellFileOf } from '../machines/cell-context.ts';
import type { CellContext } from '../machines/cell-context.ts';
import type { Actor } from './actor.ts';
import { CellPlaces } from './cell-places.ts';
import { cutOffEffects, hasOutcome } from './cut-off.ts';
import type { DoubtfulEffect } from './effects.ts';
import type { ActorState } from './fold.ts';
import { previewCell } from './preview.ts';
import { judgeLosses } from './loss-accounting.ts';
import { findActors } from './recovery.ts';
import type { Found } from './recovery.ts';
import { machineRegistry } from './registry.ts';
import { Restorer } from './restorer.ts';
import { buildStatus, doubtView } from './status.ts';
import { uncleanCells } from './unclean-cells.ts';
import type { DoubtView, NodeInfo, StatusView } from './status.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import type { MissionReader } from './control.ts';
import type { ActorView } from './verbs/verb.ts';

const GOES_ON = 'not running: it goes on at the next `lazarus up`';
const RETURNS = 'another node had it and left it cleanly: it goes on at the next `lazarus up`';
const STARTS = 'not taken in yet: it starts at the next `lazarus up`';

/** `node`: what is known of the node that is down. `config`: what the next one will be told (see `configView`). Throws what the file system throws for a folder that may not be read. */
export async function readOffline(
  missionsDir: string,
  node: Partial<NodeInfo> = {},
  config: JsonObject = {},
): Promise<MissionReader> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await new OfflineMissions(missionsDir, node, config).load();
    } catch (error) {
      if (tries >= 3 || !hasCode(error, 'ENOENT')) throw error; // O2
      if (!isFolder(missionsDir)) throw error;
    }
  }
}

class OfflineMissions implements MissionReader {
  readonly #missionsDir: string;
  readonly #node: Partial<NodeInfo>;
  readonly #config: JsonObject;
  readonly #places: CellPlaces;
  readonly #registry = machineRegistry();
  readonly #contexts = new Map<string, { context: unknown; state?: unknown } | { held: string }>();
  /** Cells that no node has taken in. */
  readonly #fresh = new Map<string, CellContext>();
  readonly #waiting: { folder: string; reason: string }[] = [];
  readonly #inDoubt: DoubtfulEffect[] = [];
  #one: (address: string) => ActorState | undefined = () => undefined;

  constructor(missionsDir: string, node: Partial<NodeInfo>, config: JsonObject) {
    this.#missionsDir = missionsDir;
    this.#node = node;
    this.#config = config;
    this.#places = new CellPlaces(missionsDir);
  }

  async load(): Promise<this> {
    const layout = missionsLayout(this.#missionsDir);
    this.#places.claimAll();
    const found = findActors({ indexFile: layout.index, journalFolder: layout.journal });
    const living = [...found.actors.values()].filter(({ stopped }) => !stopped);
    this.#places.confirmAll(living.map(({ address }) => address));
    const store = new CellStore(this.#places, silentLog);
    const { journal: journalFolder } = layout;
    const nodeId = readNodeId(layout.nodeId);
    const unclean = (): Set<string> => uncleanCells(this.#missionsDir, nodeId);
    judgeLosses(found, { journalFolder, store, uncleanCells: unclean });
    const restorer = new Restorer({
      registry: this.#registry,
      store,
      journalFolder,
      log: () => {}, // an older checkpoint serves a reader as well
      beforeWake: () => {},
    });
    this.#one = (address) => {
      const actor = found.actors.get(address);
      return actor && !actor.stopped ? this.#fold(restorer, actor) : undefined;
    };
    const busy = new Set(found.index.actors.filter((a) => a.busy).map((a) => a.address));
    const estranged = this.#estranged(nodeId);
    for (const actor of found.actors.values()) {
      const isAgent = actor.address.split('/')[2] === 'agent';
      if (
        actor.stopped ||
        estranged.has(homeCell(actor.address)) ||
        (isAgent && actor.tail === undefined && !busy.has(actor.address))
      )
        continue;
      const state = this.#fold(restorer, actor);
      if (state) await this.#lookForDoubt(actor, state, { nodeId, found });
    }
    await this.#lookForNewcomers(nodeId);
    return this;
  }

  /** O4. Cells whose folder another node had, or that were exported: what this journal knows of them is void. */
  #estranged(nodeId: string): Set<string> {
    const found = new Set<string>();
    for (const cellId of this.#places.ids()) {
      const owner = readOwner(this.#places.folderOf(cellId) as string);
      if (isOwn(owner, nodeId)) continue;
      found.add(cellId);
      const folder = this.#places.folderName(cellId) as string;
      this.#waiting.push({ folder, reason: ownerProblem(owner, nodeId) ?? RETURNS });
    }
    return found;
  }

  cell(cellId: string): CellContext | undefined {
    const known = this.#contexts.get(cellAddress(cellId));
    if (known && 'context' in known) return known.context as CellContext;
    return this.#fresh.get(cellId);
  }

  addresses(prefix: string): string[] {
    return [...this.#contexts.keys()].filter((address) => address.startsWith(prefix));
  }

  actor(address: string): ActorView | { held: string } | undefined {
    const state = this.#one(address);
    if (state) {
      const { logic, seq, snapshot, invokes } = state;
      const value = snapshot.value as JsonValue;
      return { machine: logic.id, seq, state: value, context: snapshot.context, invokes };
    }
    const known = this.#contexts.get(address);
    return known && 'held' in known ? known : undefined;
  }

  config(): JsonObject {
    return this.#config;
  }

  clock(): undefined {
    return undefined;
  }

  inDoubt(): DoubtView[] {
    return this.#inDoubt.map(doubtView);
  }

  status(): StatusView {
    const fresh = [...this.#fresh.keys()].map(cellAddress);
    const view = buildStatus(
      {
        addresses: () => [...this.#contexts.keys(), ...fresh],
        context: (address) =>
          this.#contexts.get(address) ?? { context: this.#fresh.get(address.split('/')[1] ?? '') },
        pidOf: () => null,
        folderOf: (cellId) => this.#places.folderOf(cellId),
        inDoubt: () => this.#inDoubt,
        heldFolders: () => this.#waiting,
        config: () => this.#config,
      },
      { state: 'stopped', pid: null, missions: this.#missionsDir, ...this.#node },
    );
    for (const cell of view.cells) this.#nothingRuns(cell);
    return view;
  }

  /** O1, O3. */
  #nothingRuns(cell: StatusView['cells'][number]): void {
    for (const agent of cell.agents)
      if (agent.status === 'active') Object.assign(agent, { status: 'idle', reason: GOES_ON });
    const fresh = this.#fresh.get(cell.cell_id);
    if (!fresh) return;
    cell.status = cellFileOf(fresh).status;
    cell.phase = 'loading';
    cell.reason = STARTS;
  }

  #fold(restorer: Restorer, actor: Actor): ActorState | undefined {
    try {
      const state = restorer.fold(actor);
      if (state) {
        const { context, value } = state.snapshot;
        this.#contexts.set(actor.address, { context, state: value });
      }
      return state;
    } catch (error) {
      if (hasCode(error, 'ENOENT')) throw error; // O2
      const held = error instanceof Error ? error.message : String(error);
      this.#contexts.set(actor.address, { held });
      return undefined;
    }
  }

  async #lookForDoubt(
    actor: Actor,
    state: ActorState,
    { nodeId, found }: { nodeId: string; found: Found },
  ): Promise<void> {
    const places = this.#places;
    for (const effect of cutOffEffects(actor.address, state.invokes))
      if (!(await hasOutcome({ places, nodeId }, effect)))
        this.#inDoubt.push({ ...effect, since: found.latest.at });
  }

  /** O3. */
  async #lookForNewcomers(nodeId: string): Promise<void> {
    const { cells, drops } = await scanMissions(this.#missionsDir);
    for (const name of drops)
      this.#waiting.push({
        folder: name,
        reason: 'a dropped file: it becomes a cell at the next `lazarus up`',
      });
    for (const folder of cells) {
      if (this.#places.idOf(folder) !== undefined) continue;
      const held = ownerProblem(readOwner(join(this.#missionsDir, folder)), nodeId);
      if (held !== undefined) {
        this.#waiting.push({ folder, reason: held });
        continue;
      }
      const scan = scanCell(join(this.#missionsDir, folder));
      const cellId = scan.changes.find(({ kind }) => kind === 'cell')?.content?.['cell_id'];
      const problem = scan.problems[0];
      if (typeof cellId !== 'string')
        this.#waiting.push({
          folder,
          reason: problem
            ? `${problem.path}: ${problem.problems[0]?.message ?? 'cannot be read'}`
            : STARTS,
        });
      else if (this.#contexts.has(cellAddress(cellId)) || this.#fresh.has(cellId))
        this.#waiting.push({ folder, reason: `a second folder with the cell_id ${cellId}` });
      else {
        this.#places.set(cellId, folder);
        const files = { cellId, changes: scan.changes, hold: STARTS };
        this.#fresh.set(cellId, previewCell(this.#registry, files));
      }
    }
  }
}

function readNodeId(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return ''; // no node ever ran here
    throw error;
  }
}

function isFolder(path: string): boolean {
  try {
    readdirSync(path);
    return true;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false;
    throw error;
  }
}

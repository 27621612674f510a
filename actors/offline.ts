/**
 * The state of a missions folder while no node runs on it, by reading alone: no lock is taken, nothing is written, and no
 * effect starts. The journal is folded as a start would fold it.
 *
 * O1 Nothing is shown as running: there are no pids, and an agent with a task in hand is idle until a node goes on with it.
 * O2 A node that starts meanwhile may drop a segment that was just listed: then everything is read once more.
 * O3 What lies in the folder and was never taken in (a new cell, a dropped file) is shown as waiting for a start.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CellStore } from '../cells/checkpoint.ts';
import { hasCode } from '../cells/inside.ts';
import { missionsLayout } from '../cells/layout.ts';
import { scanCell } from '../cells/load.ts';
import { silentLog } from '../cells/log.ts';
import { scanMissions } from '../cells/scan-missions.ts';
import { cellAddress } from '../machines/addresses.ts';
import { cellFileOf } from '../machines/cell-context.ts';
import type { CellContext } from '../machines/cell-context.ts';
import type { Actor } from './actor.ts';
import { CellPlaces } from './cell-places.ts';
import { cutOffEffects, hasOutcome } from './cut-off.ts';
import type { DoubtfulEffect } from './effects.ts';
import type { ActorState } from './fold.ts';
import { previewCell } from './preview.ts';
import { findActors, Restorer } from './recovery.ts';
import type { Found } from './recovery.ts';
import { machineRegistry } from './registry.ts';
import { buildStatus } from './status.ts';
import type { NodeInfo, StatusView } from './status.ts';
import type { MissionReader } from './control.ts';

const GOES_ON = 'not running: it goes on at the next `lazarus up`';
const STARTS = 'not taken in yet: it starts at the next `lazarus up`';

/** `node`: what is known of the node that is down. Throws what the file system throws for a folder that may not be read. */
export async function readOffline(
  missionsDir: string,
  node: Partial<NodeInfo> = {},
): Promise<MissionReader> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await new OfflineMissions(missionsDir, node).load();
    } catch (error) {
      if (tries >= 3 || !hasCode(error, 'ENOENT')) throw error; // O2
      if (!isFolder(missionsDir)) throw error;
    }
  }
}

class OfflineMissions implements MissionReader {
  readonly #missionsDir: string;
  readonly #node: Partial<NodeInfo>;
  readonly #places: CellPlaces;
  readonly #registry = machineRegistry();
  readonly #contexts = new Map<string, { context: unknown } | { held: string }>();
  /** Cells that no node has taken in. */
  readonly #fresh = new Map<string, CellContext>();
  readonly #waiting: { folder: string; reason: string }[] = [];
  readonly #inDoubt: DoubtfulEffect[] = [];

  constructor(missionsDir: string, node: Partial<NodeInfo>) {
    this.#missionsDir = missionsDir;
    this.#node = node;
    this.#places = new CellPlaces(missionsDir);
  }

  async load(): Promise<this> {
    const layout = missionsLayout(this.#missionsDir);
    this.#places.claimAll();
    const found = findActors({ indexFile: layout.index, journalFolder: layout.journal });
    this.#places.confirmAll(found.actors.keys());
    const restorer = new Restorer({
      registry: this.#registry,
      store: new CellStore(this.#places, silentLog),
      journalFolder: layout.journal,
      log: () => {}, // an older checkpoint serves a reader as well
      beforeWake: () => {},
    });
    const nodeId = readNodeId(layout.nodeId);
    const busy = new Set(found.index.actors.filter((a) => a.busy).map((a) => a.address));
    for (const actor of found.actors.values()) {
      const isAgent = actor.address.split('/')[2] === 'agent';
      if (actor.stopped || (isAgent && actor.tail === undefined && !busy.has(actor.address)))
        continue;
      const state = this.#fold(restorer, actor);
      if (state) await this.#lookForDoubt(actor, state, { nodeId, found });
    }
    await this.#lookForNewcomers();
    return this;
  }

  cell(cellId: string): CellContext | undefined {
    const known = this.#contexts.get(cellAddress(cellId));
    if (known && 'context' in known) return known.context as CellContext;
    return this.#fresh.get(cellId);
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
      if (state) this.#contexts.set(actor.address, { context: state.snapshot.context });
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
  async #lookForNewcomers(): Promise<void> {
    const { cells, drops } = await scanMissions(this.#missionsDir);
    for (const name of drops)
      this.#waiting.push({
        folder: name,
        reason: 'a dropped file: it becomes a cell at the next `lazarus up`',
      });
    for (const folder of cells) {
      if (this.#places.idOf(folder) !== undefined) continue;
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

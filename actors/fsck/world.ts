/** What every check looks at: the folder, its cells, whether a node runs on it, and the actors as a start would find them. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CellStore } from '../../cells/checkpoint.ts';
import { hasCode } from '../../cells/inside.ts';
import type { CorruptRegion } from '../../cells/journal-reader.ts';
import { missionsLayout } from '../../cells/layout.ts';
import type { MissionsLayout } from '../../cells/layout.ts';
import { readCellFile } from '../../cells/load.ts';
import { silentLog } from '../../cells/log.ts';
import { homeCell, SYSTEM_CELL_ID } from '../../machines/addresses.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { Actor } from '../actor.ts';
import { CellPlaces } from '../cell-places.ts';
import type { ActorState } from '../fold.ts';
import type { MachineRegistry } from '../logic.ts';
import { judgeLosses } from '../loss-accounting.ts';
import { findActors } from '../recovery.ts';
import type { Found } from '../recovery.ts';
import { machineRegistry } from '../registry.ts';
import { Restorer } from '../restorer.ts';
import { uncleanCells } from '../unclean-cells.ts';

export interface CellPlace {
  cellId: string;
  dir: string;
}

/** By the word of the node that runs. */
export interface HeldActor {
  /** See actor.ts, `Hold`. */
  code: string;
  reason: string;
}

export interface World {
  layout: MissionsLayout;
  /** A node runs here: what changes under its hands cannot be judged. */
  isUp: boolean;
  /** Records beyond this are not durable yet. */
  toLsn: number;
  /** By address: why the running node holds it; undefined: nobody said. */
  held: ReadonlyMap<string, HeldActor> | undefined;
  /** Empty when no node ever ran here. */
  nodeId: string;
  registry: MachineRegistry;
  store: CellStore;
  found: Found;
  /** Damage of the journal that no start has judged yet. */
  unjudged: ReadonlySet<CorruptRegion>;
  /** The cells that are checked, the system cell among them when all are. */
  cells: CellPlace[];
  /** Folders by the cell_id that their cell.json names. */
  folders: Map<string, string[]>;
  /** Everything, not only some cells. */
  isWhole: boolean;
  isChecked(address: string): boolean;
  dirOf(cellId: string): string | undefined;
  /** The state a start would give the actor; undefined when it was stopped. Throws what would hold it. */
  fold(address: string): ActorState | undefined;
}

export interface WorldOptions {
  missionsDir: string;
  /** Ids, or beginnings of them; empty: all. */
  cells: readonly string[];
  isUp: boolean;
  committedLsn: number | undefined;
  held?: ReadonlyMap<string, HeldActor> | undefined;
}

/** Throws RuntimeError NOT_FOUND for a cell that is not there, and what the file system throws for an unreadable folder. */
export function openWorld({ missionsDir, cells, isUp, committedLsn, held }: WorldOptions): World {
  const layout = missionsLayout(missionsDir);
  const places = new CellPlaces(missionsDir);
  places.claimAll();
  const found = findActors({ indexFile: layout.index, journalFolder: layout.journal });
  places.confirmAll(found.actors.keys());
  const folders = foldersById(missionsDir);
  for (const [cellId, [folder]] of folders)
    if (folder !== undefined && places.folderOf(cellId) === undefined) places.set(cellId, folder);
  const all = placedCells(places);
  const chosen = cells.length === 0 ? all : cells.map((name) => chooseCell(all, name));
  const ids = new Set(chosen.map(({ cellId }) => cellId));
  const registry = machineRegistry();
  const store = new CellStore(places, silentLog);
  const nodeId = readText(layout.nodeId)?.trim() ?? '';
  const { journal: journalFolder } = layout;
  const unclean = (): Set<string> => uncleanCells(missionsDir, nodeId);
  const fresh = judgeLosses(found, { journalFolder, store, uncleanCells: unclean });
  const restorer = new Restorer({
    registry,
    store,
    journalFolder: layout.journal,
    log: () => {}, // an older checkpoint is found by its own check
    beforeWake: () => {},
  });
  return {
    layout,
    isUp,
    toLsn: committedLsn ?? Infinity,
    held,
    nodeId,
    registry,
    store,
    found,
    unjudged: new Set(fresh),
    cells: chosen,
    folders,
    isWhole: cells.length === 0,
    isChecked: (address) => cells.length === 0 || ids.has(cellOfAddress(address)),
    dirOf: (cellId) => places.folderOf(cellId),
    fold: (address) => restorer.fold(found.actors.get(address) ?? new Actor(address)),
  };
}

/** The cell an actor is about: its home, and for a Lazarus the agent's. */
function cellOfAddress(address: string): string {
  const parts = address.split('/');
  return parts[1] === 'lazarus' ? (parts[2] ?? '') : homeCell(address);
}

function placedCells(places: CellPlaces): CellPlace[] {
  return [...places.ids(), SYSTEM_CELL_ID]
    .map((cellId) => ({ cellId, dir: places.folderOf(cellId) ?? '' }))
    .filter(({ dir }) => dir !== '' && existsSync(dir))
    .toSorted((a, b) => (a.cellId < b.cellId ? -1 : 1));
}

function chooseCell(all: readonly CellPlace[], name: string): CellPlace {
  const begun = all.filter(({ cellId }) => cellId === name || cellId.startsWith(name));
  const found = begun.find(({ cellId }) => cellId === name) ?? begun[0];
  if (found && (found.cellId === name || begun.length === 1)) return found;
  const code = begun.length > 1 ? 'AMBIGUOUS_ID' : 'NOT_FOUND';
  const ids = (begun.length > 1 ? begun : all).map(({ cellId }) => cellId);
  throw new RuntimeError(
    begun.length > 1 ? `cell ${name} can mean: ${ids.join(', ')}` : `there is no cell ${name}`,
    { code, hint: `There is ${ids.slice(0, 10).join(', ')}` },
  );
}

function foldersById(missionsDir: string): Map<string, string[]> {
  const folders = new Map<string, string[]>();
  for (const entry of readdirSync(missionsDir, { withFileTypes: true })) {
    if (!entry.isDirectory() || entry.name.startsWith('.')) continue;
    const read = readCellFile(join(missionsDir, entry.name), 'cell.json');
    if (read.outcome !== 'good') continue;
    const cellId = read.content['cell_id'] as string;
    folders.set(cellId, [...(folders.get(cellId) ?? []), entry.name]);
  }
  return folders;
}

/** undefined when there is no such file. */
export function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
}

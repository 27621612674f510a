/**
 * What lies directly in a missions folder: cells (folders with a cell.json), dropped files, and what is there by
 * mistake. A folder without a cell.json is not yet a cell and is left alone.
 */
import { lstatSync, realpathSync } from 'node:fs';
import type { Dirent } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { hasCode, readInside } from './inside.ts';
import { CELL_FOLDERS, ERROR_SUFFIX, isIgnoredName } from './layout.ts';
import type { FileProblem } from './load.ts';
import { MAX_FILE_BYTES, parseJsonObject } from './parse-json.ts';
import type { Problem } from './parse-json.ts';

export interface MissionsScan {
  /** Names of folders that hold a cell.json, in order. */
  cells: string[];
  /** Names of `*.json` files at the top, each a cell to be (cells/drop.ts). */
  drops: string[];
  problems: FileProblem[];
  errorFiles: string[];
  /** Of the names that were asked for: those that are not there. */
  absent: string[];
}

/** Longest time the event loop is kept, in ms. */
const SLICE_MS = 5;

/**
 * Everything at the top of the missions folder, or only `names` (what the watcher saw change): with ten thousand cells
 * a new one should not cost a look at the others. Throws what the file system throws when the folder cannot be read.
 */
export async function scanMissions(
  missionsDir: string,
  names?: Iterable<string>,
): Promise<MissionsScan> {
  const scan: MissionsScan = { cells: [], drops: [], problems: [], errorFiles: [], absent: [] };
  if (names) {
    for (const name of names) {
      const stats = lstatSync(join(missionsDir, name), { throwIfNoEntry: false });
      if (stats) place(scan, missionsDir, name, stats);
      else scan.absent.push(name);
    }
    return scan;
  }
  const entries = await readdir(missionsDir, { withFileTypes: true });
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  let sliceEnds = performance.now() + SLICE_MS;
  for (const entry of entries) {
    if (performance.now() > sliceEnds) {
      await nextTurn();
      sliceEnds = performance.now() + SLICE_MS;
    }
    place(scan, missionsDir, entry.name, entry);
  }
  return scan;
}

/** Whether a folder directly in the missions folder is a cell: it holds a cell.json, good or bad. */
export function hasCellFile(missionsDir: string, folder: string): boolean {
  try {
    return (
      lstatSync(join(missionsDir, folder, 'cell.json'), { throwIfNoEntry: false }) !== undefined
    );
  } catch (error) {
    if (hasCode(error, 'ENOTDIR')) return false;
    // EACCES and the like: there is a folder we cannot look into. It counts as a cell, so that its problem is shown.
    return true;
  }
}

function place(
  scan: MissionsScan,
  missionsDir: string,
  name: string,
  entry: Pick<Dirent, 'isDirectory' | 'isSymbolicLink'>,
): void {
  if (name.endsWith(ERROR_SUFFIX) && !name.startsWith('.')) scan.errorFiles.push(name);
  if (isIgnoredName(name)) return;
  if (entry.isDirectory()) {
    if (hasCellFile(missionsDir, name)) scan.cells.push(name);
  } else if (entry.isSymbolicLink()) {
    if (leadsToForeignCell(missionsDir, name) || name.endsWith('.json'))
      scan.problems.push({ path: name, problems: [linkProblem(name)] });
  } else if (name === 'cell.json') {
    scan.problems.push({ path: name, problems: [strayCell(missionsDir)] });
  } else if (name.endsWith('.json')) scan.drops.push(name);
}

/** A link to a cell elsewhere would be a cell that others can swap; one to a cell beside it (`latest`) is just a name. */
function leadsToForeignCell(missionsDir: string, name: string): boolean {
  try {
    const target = realpathSync.native(join(missionsDir, name));
    return (
      lstatSync(join(target, 'cell.json'), { throwIfNoEntry: false }) !== undefined &&
      dirname(target) !== realpathSync.native(missionsDir)
    );
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES')) return false; // leads nowhere we can go: no cell
    throw error;
  }
}

function linkProblem(name: string): Problem {
  return {
    pointer: '',
    line: 1,
    message: `${name} is a symbolic link; the runtime follows none`,
    fix: 'Move the real file or folder here, or start a node on the folder it lies in.',
  };
}

/**
 * `cell.json` directly in the missions folder: what is left when each line of the creation commands calls uuidgen anew,
 * so that `cd` goes to a folder `mkdir` did not make, fails, and the files land where the caller stood. It is never
 * taken for a dropped cell.
 */
export function strayCell(missionsDir: string): Problem {
  const cellId = strayCellId(missionsDir);
  const present = CELL_FOLDERS.filter((name) => isFolder(join(missionsDir, name)));
  const place = cellId ?? '$cell';
  const commands = [
    `cd ${shellQuote(missionsDir)}`,
    ...(cellId ? [] : ['cell=$(uuidgen)']),
    `mkdir -p "${place}"`,
    // cell.json last: the folder is a cell from that moment on
    `mv ${[...present, 'cell.json'].join(' ')} "${place}/"`,
  ];
  return {
    pointer: '',
    line: 1,
    message:
      'cell.json lies in the missions folder itself, not in a folder of its own. The usual cause: ' +
      '`mkdir` and `cd` each called uuidgen, which gives another id at every call, so `cd` failed ' +
      'and the files were written here',
    fix: `Call uuidgen once and use that id for both. To mend this one: ${commands.join(' && ')}`,
  };
}

/** The id the file gives itself, if it can be had. */
function strayCellId(missionsDir: string): string | null {
  try {
    const bytes = readInside(missionsDir, 'cell.json', { maxBytes: MAX_FILE_BYTES });
    const parsed = parseJsonObject(bytes);
    const id = parsed.ok ? parsed.value['cell_id'] : null;
    return typeof id === 'string' && /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(id) ? id : null;
  } catch {
    return null; // whatever is wrong with it, the advice is the same with a fresh id
  }
}

function isFolder(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function shellQuote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

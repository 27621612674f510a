/**
 * New files that the command line writes for people: a cell, an agent, a task. They work whether a node runs or not: a
 * running one takes them in like any file, a stopped one at its next start.
 *
 * C1 Checked as a whole before anything is written; what is shown of it afterwards is what was checked.
 * C2 It appears by one rename (a cell) or link (a file), complete and on disk, and never takes the place of another.
 * C3 A file goes into the cell's own folder: no symbolic link is followed (inside.ts).
 */
import { cpSync, linkSync, lstatSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject } from '../machines/json.ts';
import type { FileKind } from '../machines/mission.ts';
import { syncFolder, temporaryName, writeWhole } from './durable.ts';
import { hasCode, mkdirInside, openFolderInside } from './inside.ts';
import { CELL_FOLDERS, idProblem, isIgnoredName } from './layout.ts';
import { readCellFile, scanCell } from './load.ts';
import type { Problem } from './parse-json.ts';
import { validate } from './validate.ts';

export interface NewFile {
  /** Relative to the cell. */
  path: string;
  text: string;
}

export interface NewCell {
  cellId: string;
  files: readonly NewFile[];
  /** A folder whose content comes first; what a runtime has left in it does not. */
  from?: string;
}

/** Of a folder that is taken as a model: what an earlier run of it left. Its files are seen to in model.ts. */
const LEFT_BY_RUNS: ReadonlySet<string> = new Set(['checkpoints', 'logs', 'artifacts/logs']);

/** In this process: two that are asked for at once are built apart, and only one of them gets the name. */
let built = 0;

/** Makes the cell's folder, named by its id, and returns its path (C1, C2). */
export async function createCell(
  missionsDir: string,
  { cellId, files, from }: NewCell,
): Promise<string> {
  requireId(cellId);
  refuseTaken(missionsDir, cellId);
  const folder = join(missionsDir, cellId);
  const building = join(missionsDir, `.${cellId}.${process.pid}.${(built += 1)}.new`);
  try {
    await build(building, { files, ...(from === undefined ? {} : { from }) });
    const { problems } = scanCell(building);
    const [first] = problems;
    if (first) throw invalid(first.path, first.problems);
    await rename(building, folder);
    await syncFolder(missionsDir);
    return folder;
  } catch (error) {
    await rm(building, { recursive: true, force: true });
    if (hasCode(error, 'ENOTEMPTY', 'EEXIST', 'ENOTDIR')) throw taken(cellId, cellId);
    throw error;
  }
}

/** Writes one new file of a cell (C1, C2, C3). `content` has the id that the path is named after. */
export async function createFile(
  cellDir: string,
  { kind, path, content }: { kind: FileKind; path: string; content: JsonObject },
): Promise<void> {
  const text = `${JSON.stringify(content, null, 2)}\n`;
  requireId(basename(path, '.json'));
  const valid = validate(kind, content, { text, path });
  if (!valid.ok) throw invalid(path, valid.problems);
  mkdirInside(cellDir, dirname(path));
  const folder = openFolderInside(cellDir, dirname(path)); // C3
  const target = join(folder.path, basename(path));
  const temporary = temporaryName(target);
  try {
    await writeWhole(temporary, text, { sync: true });
    folder.recheck();
    linkSync(temporary, target); // unlike a rename it takes nobody's place
    await syncFolder(folder.path);
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
    throw new RuntimeError(`${join(cellDir, path)} is there already`, {
      code: 'CONFLICT',
      hint: 'Edit that file, or choose another id.',
    });
  } finally {
    rmSync(temporary, { force: true });
    folder.close();
  }
}

async function build(building: string, { files, from }: Omit<NewCell, 'cellId'>): Promise<void> {
  rmSync(building, { recursive: true, force: true });
  mkdirSync(building);
  if (from !== undefined)
    cpSync(from, building, {
      recursive: true,
      verbatimSymlinks: true,
      filter: (source) => isPartOfModel(from, source),
    });
  for (const folder of CELL_FOLDERS) mkdirSync(join(building, folder), { recursive: true });
  for (const { path, text } of files)
    await writeWhole(join(building, path), text, { sync: true, what: 'new-cell' });
  for (const folder of CELL_FOLDERS) await syncFolder(join(building, folder));
  await syncFolder(building);
}

function isPartOfModel(from: string, source: string): boolean {
  if (source === from) return true;
  return !isIgnoredName(basename(source)) && !LEFT_BY_RUNS.has(relative(from, source));
}

function requireId(id: string): void {
  const problem = idProblem(id);
  if (problem !== null)
    throw new RuntimeError(problem, {
      code: 'INVALID_ARGUMENT',
      hint: 'For example: nightly-report, agent_001',
    });
}

/** A folder's name is only a place, so the ids inside are looked at. */
function refuseTaken(missionsDir: string, cellId: string): void {
  if (lstatSync(join(missionsDir, cellId), { throwIfNoEntry: false })) throw taken(cellId, cellId);
  for (const entry of readdirSync(missionsDir, { withFileTypes: true })) {
    if (!entry.isDirectory() || entry.name.startsWith('.')) continue;
    const read = readCellFile(join(missionsDir, entry.name), 'cell.json');
    if (read.outcome === 'good' && read.content['cell_id'] === cellId)
      throw taken(cellId, entry.name);
  }
}

function taken(cellId: string, folder: string): RuntimeError {
  return new RuntimeError(`there is a cell ${cellId} already, in the folder ${folder}`, {
    code: 'CELL_DUPLICATE',
    hint: 'Choose another id with --id, or leave it out: then it is a new one.',
  });
}

/** FILE_INVALID, with every place that is wrong. */
export function invalid(path: string, problems: readonly Problem[]): RuntimeError {
  const places = problems.map(
    ({ pointer, line, message }) => `${path}:${line} ${pointer} ${message}`,
  );
  return new RuntimeError(places.join('\n'), {
    code: 'FILE_INVALID',
    details: { path, problems: problems.map((problem) => ({ ...problem })) },
    ...(problems[0] ? { hint: problems[0].fix } : {}),
  });
}

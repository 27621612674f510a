/**
 * A dropped file, `<missions>/<name>.json`, holds a whole mission and becomes a folder. Anyone can start a mission with
 * one `cp`, so the runtime may be killed at any point of the work and must neither show half a cell, nor make two, nor
 * lose the file.
 *
 * D1 The cell is built and fsynced under a dot-name and appears by one rename, complete.
 * D2 The same file always becomes the same cell: an absent cell_id is derived from the content. Until the file has been
 *    moved away, the cell carries a marker with the file's hash; a second run that finds it only finishes the move. One
 *    that stays behind the move (`finishDrop`) would have the same file, dropped once more, taken for done.
 * D3 The dropped file is kept in `.lazarus/dropped/` and overwrites nothing there.
 *
 * One call at a time for each name; the node's lock on the missions folder keeps other processes away.
 */
import { hash } from 'node:crypto';
import { lstatSync, mkdirSync, readFileSync, readdirSync, renameSync } from 'node:fs';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { isJsonObject } from '../machines/json.ts';
import { MAX_DROP_BYTES, planDrop } from './drop-plan.ts';
import type { DropPlan } from './drop-plan.ts';
import { faultPoint, syncFolder } from './durable.ts';
import { hasCode, readInside, statInside, unlinkInside } from './inside.ts';
import { CELL_FOLDERS, cellPath, encodeName, missionsLayout } from './layout.ts';
import type { Problem } from './parse-json.ts';

export interface DropOptions {
  /** The folder of a cell that the node already has under this id, else null. */
  knownFolder?: (cellId: string) => string | null;
}

export type DropResult =
  | { outcome: 'accepted'; cellId: string; folder: string }
  /** For `ErrorFiles.report`, whose quiet time also covers a file that is still being written. */
  | { outcome: 'refused'; problems: Problem[] }
  /** Someone wrote the file anew while it was worked on: look at it again. */
  | { outcome: 'changed' }
  | { outcome: 'absent' };

export async function acceptDrop(
  missionsDir: string,
  name: string,
  { knownFolder = () => null }: DropOptions = {},
): Promise<DropResult> {
  const read = planDrop(missionsDir, name);
  if (read.outcome !== 'planned') return read;
  const { cellId, sha256 } = read.plan;
  const folder = join(missionsDir, cellId);
  if (markerOf(folder) !== sha256) {
    const taken = knownFolder(cellId) ?? (isFree(folder) ? null : cellId);
    if (taken !== null) return refuseTaken(cellId, taken);
    const built = await build(missionsDir, name, read.plan);
    if (!(await reveal(built, folder))) return refuseTaken(cellId, cellId);
    await syncFolder(missionsDir);
    faultPoint('drop.after-reveal');
  }
  if (!(await putAway(missionsDir, name, sha256))) return { outcome: 'changed' };
  faultPoint('drop.after-move');
  if (unlinkInside(folder, cellPath.dropMarker)) await syncFolder(join(folder, cellPath.own));
  faultPoint('drop.after-unmark');
  return { outcome: 'accepted', cellId, folder: cellId };
}

/**
 * A cell's marker and the file it names: `unfinished` while that file still lies there, which `acceptDrop` finishes; `left`
 * when it was moved away, or somebody put another in its place.
 */
export function dropMark(missionsDir: string, folder: string): 'none' | 'unfinished' | 'left' {
  const dir = join(missionsDir, folder);
  try {
    if (!statInside(dir, cellPath.dropMarker)) return 'none';
  } catch (error) {
    if (hasCode(error, 'PATH_ESCAPES_CELL')) return 'none'; // a link is none of ours
    throw error;
  }
  const marker = readMarker(dir);
  if (marker === null || marker.name !== basename(marker.name)) return 'left';
  return hashAt(missionsDir, marker.name) === marker.sha256 ? 'unfinished' : 'left';
}

/** D2, for a run that was killed behind the move: what was left of it goes. Returns whether there was something. */
export async function finishDrop(missionsDir: string, folder: string): Promise<boolean> {
  if (dropMark(missionsDir, folder) !== 'left') return false;
  const dir = join(missionsDir, folder);
  if (!unlinkInside(dir, cellPath.dropMarker)) return false;
  await syncFolder(join(dir, cellPath.own));
  return true;
}

/** Removes what a killed run was building. Called once at start, before the first `acceptDrop`. */
export async function removeUnfinished(missionsDir: string): Promise<void> {
  for (const name of await readdir(missionsDir))
    if (name.startsWith('.') && name.endsWith('.building'))
      await rm(join(missionsDir, name), { recursive: true, force: true });
}

/** D1. Returns the dot-folder, complete and on disk. */
async function build(missionsDir: string, name: string, plan: DropPlan): Promise<string> {
  const building = join(missionsDir, `.${encodeName(name)}.${plan.sha256.slice(0, 8)}.building`);
  await rm(building, { recursive: true, force: true });
  const folders = [...CELL_FOLDERS, cellPath.own];
  for (const folder of folders) await mkdir(join(building, folder), { recursive: true });
  faultPoint('drop.before-files');
  const marker = JSON.stringify({ name, sha256: plan.sha256 });
  const files = [...plan.files, { path: cellPath.dropMarker, text: marker }];
  // In groups: as many open files as there are agents and tasks could be more than the process may have.
  for (let at = 0; at < files.length; at += 16)
    await Promise.all(
      files.slice(at, at + 16).map(async ({ path, text }) => writeNew(join(building, path), text)),
    );
  faultPoint('drop.after-files');
  await Promise.all(folders.map(async (folder) => syncFolder(join(building, folder))));
  await syncFolder(building);
  faultPoint('drop.before-reveal');
  return building;
}

async function writeNew(path: string, text: string): Promise<void> {
  const handle = await open(path, 'wx', 0o644);
  try {
    await handle.writeFile(text);
    await handle.datasync();
  } finally {
    await handle.close();
  }
}

/** False when the place was taken meanwhile: rename(2) replaces an empty folder, but no other. */
async function reveal(building: string, folder: string): Promise<boolean> {
  try {
    await rename(building, folder);
    return true;
  } catch (error) {
    if (!hasCode(error, 'ENOTEMPTY', 'EEXIST', 'ENOTDIR')) throw error;
    await rm(building, { recursive: true, force: true });
    return false;
  }
}

/** D3. False when the file is not the one that was read: then it is put back to be looked at again. */
async function putAway(missionsDir: string, name: string, sha256: string): Promise<boolean> {
  const { dropped } = missionsLayout(missionsDir);
  mkdirSync(dropped, { recursive: true });
  const source = join(missionsDir, name);
  // Synchronous, so that no other drop of this process takes the free name in between.
  const target = freeName(dropped, name);
  try {
    renameSync(source, target);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return true; // removed by its owner: the cell stands, there is nothing to keep
    throw error;
  }
  if (hash('sha256', readFileSync(target)) !== sha256) {
    if (isAbsent(source)) renameSync(target, source);
    return false;
  }
  await syncFolder(dropped);
  await syncFolder(dirname(dropped));
  await syncFolder(missionsDir);
  return true;
}

/** `mission.json`, then `mission.2.json`, ... */
function freeName(folder: string, name: string): string {
  const stem = name.replace(/\.json$/, '');
  for (let count = 1; ; count += 1) {
    const path = join(folder, count === 1 ? name : `${stem}.${count}.json`);
    if (isAbsent(path)) return path;
  }
}

/** Hash of the dropped file whose move is not finished (D2). */
const markerOf = (folder: string): string | null => readMarker(folder)?.sha256 ?? null;

interface Marker {
  name: string;
  sha256: string;
}

function readMarker(folder: string): Marker | null {
  try {
    const text = readInside(folder, cellPath.dropMarker, { maxBytes: 64 * 1024 }).toString('utf8');
    const marker: unknown = JSON.parse(text);
    if (!isJsonObject(marker)) return null;
    const { name, sha256 } = marker;
    return typeof name === 'string' && typeof sha256 === 'string' ? { name, sha256 } : null;
  } catch (error) {
    // Absent, a file in the folder's place, a link, damaged: in each case no marker of ours, and the place is taken.
    if (error instanceof SyntaxError) return null;
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'PATH_ESCAPES_CELL', 'FILE_INVALID')) return null;
    throw error;
  }
}

/** Null when there is no such file, or none that could have been a drop. */
function hashAt(missionsDir: string, name: string): string | null {
  try {
    return hash('sha256', readInside(missionsDir, name, { maxBytes: MAX_DROP_BYTES }));
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'PATH_ESCAPES_CELL', 'FILE_INVALID')) return null;
    throw error;
  }
}

/** Whether a cell can be put there: nothing, or an empty folder. */
function isFree(folder: string): boolean {
  const stats = lstatSync(folder, { throwIfNoEntry: false });
  if (!stats) return true;
  return stats.isDirectory() && readdirSync(folder).length === 0;
}

function isAbsent(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) === undefined;
}

function refuseTaken(cellId: string, folder: string): DropResult {
  const problem = {
    pointer: '/cell_id',
    line: 1,
    message: `there is a cell ${cellId} already, in the folder ${folder}`,
    fix: 'Give this one a cell_id of its own; a file without one has the id of its content, so a copy has the same.',
  };
  return { outcome: 'refused', problems: [problem] };
}

/**
 * How the runtime touches files of a cell. A cell's folder can be written by people, other programs and the agents
 * themselves, so any part of a path may be a symbolic link, or become one between a check and its use. Node has no
 * openat2(2); on Linux a folder is therefore opened first, its true path is asked from the kernel
 * (`readlink /proc/self/fd/N`), and its entries are reached through that descriptor (`/proc/self/fd/N/<name>`), which
 * is openat(2) in all but name.
 *
 * I1 No symbolic link is followed below the cell's folder, not even one that points back inside it: a worker may write
 *    to `artifacts/`, and a link there must not lead the runtime's own writes to `agents/` either.
 * I2 `..`, absolute paths and NUL are refused before the file system is asked.
 * I3 Only regular files are opened; fifos, devices and sockets are refused without blocking.
 *
 * Where /proc is missing (macOS) each component is checked with lstat before and after the use: that finds links, but
 * not one that is swapped in and out again in between. Hard links cannot be told from files on any platform.
 * Everything is synchronous: the files are small and local. Absent files throw the file system's own ENOENT.
 */
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  unlinkSync,
} from 'node:fs';
import type { Dirent, Stats } from 'node:fs';
import { basename, join } from 'node:path';
import { RuntimeError } from '../machines/errors.ts';
import { writeWhole } from './durable.ts';
import type { WriteWholeOptions } from './durable.ts';

const { O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_TRUNC } = constants;
const { O_RDONLY, O_RDWR, O_WRONLY } = constants;

const FLAGS = {
  r: O_RDONLY,
  'r+': O_RDWR,
  w: O_WRONLY | O_CREAT | O_TRUNC,
  wx: O_WRONLY | O_CREAT | O_EXCL,
  a: O_WRONLY | O_CREAT | O_APPEND,
  ax: O_WRONLY | O_CREAT | O_APPEND | O_EXCL,
} as const;
export type OpenFlags = keyof typeof FLAGS | number;

const hasProc = existsSync('/proc/self/fd');

/** A folder of a cell, held open: `join(path, name)` names an entry of exactly this folder, whatever moves meanwhile. */
export interface FolderInside {
  root: string;
  /** Relative to the root; '' is the root itself. */
  relPath: string;
  path: string;
  /** Throws when the folder is no longer where it was opened. */
  recheck(): void;
  close(): void;
}

/** Opens a folder of the cell; '' is the cell's own folder. */
export function openFolderInside(root: string, relPath: string): FolderInside {
  const parts = relPath === '' ? [] : splitInside(root, relPath);
  const direct = hasProc ? openDirectly(join(root, ...parts)) : undefined;
  if (direct !== undefined) return heldFolder(direct, join(root, ...parts), { root, relPath });
  const realRoot = realpathSync.native(root);
  const expected = join(realRoot, ...parts);
  if (!hasProc) {
    const recheck = (): void => refuseLinks(root, realRoot, parts);
    recheck();
    return { root, relPath, path: expected, recheck, close: () => {} };
  }
  const fd = openFolder(root, relPath, realRoot, parts);
  const folder = heldFolder(fd, expected, { root, relPath });
  try {
    folder.recheck();
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return folder;
}

/** The common case: this is the folder's true path, so no link was passed. undefined: the careful way says what is. */
function openDirectly(path: string): number | undefined {
  let fd: number;
  try {
    fd = openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK);
  } catch {
    return undefined;
  }
  if (readlinkSync(`/proc/self/fd/${fd}`) === path) return fd;
  closeSync(fd);
  return undefined;
}

function heldFolder(
  fd: number,
  expected: string,
  { root, relPath }: { root: string; relPath: string },
): FolderInside {
  const recheck = (): void => {
    const actual = readlinkSync(`/proc/self/fd/${fd}`);
    if (actual === expected) return;
    if (actual === `${expected} (deleted)`) throw goneError(expected);
    throw escapes(root, relPath, actual);
  };
  return { root, relPath, path: `/proc/self/fd/${fd}`, recheck, close: () => closeSync(fd) };
}

/** Opens a regular file and returns its descriptor, which the caller closes. `flags` as of open(2) or Node's letters. */
export function openInside(root: string, relPath: string, flags: OpenFlags, mode = 0o644): number {
  return inFolder(root, relPath, (folder, name) => openIn(folder, name, flags, mode));
}

/** `openInside` for an entry of a folder that is open already. */
export function openIn(folder: FolderInside, name: string, flags: OpenFlags, mode = 0o644): number {
  const relPath = join(folder.relPath, ...splitInside(folder.root, name));
  const path = join(folder.path, name);
  const before = lstatOrNull(path);
  if (before) refuseIrregular(folder.root, relPath, before);
  const bits = typeof flags === 'number' ? flags : FLAGS[flags];
  const fd = openEntry(folder.root, relPath, path, bits | O_NOFOLLOW | O_NONBLOCK, mode);
  try {
    const stats = fstatSync(fd);
    refuseIrregular(folder.root, relPath, stats);
    folder.recheck();
    if (!hasProc && lstatSync(path).ino !== stats.ino) throw escapes(folder.root, relPath, path);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return fd;
}

/** The whole content. Throws FILE_INVALID when it is larger than `maxBytes`, without reading further. */
export function readInside(root: string, relPath: string, options: { maxBytes: number }): Buffer {
  return (
    readDirectly(root, relPath, options) ??
    inFolder(root, relPath, (folder, name) => readIn(folder, name, options))
  );
}

/** `readInside`; undefined when the file, or a folder on its way, is absent. */
export function readIfThere(
  root: string,
  relPath: string,
  options: { maxBytes: number },
): Buffer | undefined {
  try {
    return readInside(root, relPath, options);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/**
 * The common case with few system calls, for starts that read 50,000 files: the path of the open descriptor proves that no
 * link was passed. undefined: something is unusual, and the careful way says what.
 */
function readDirectly(
  root: string,
  relPath: string,
  { maxBytes }: { maxBytes: number },
): Buffer | undefined {
  if (!hasProc) return undefined;
  splitInside(root, relPath);
  const path = `${root}/${relPath}`;
  let fd: number;
  try {
    fd = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch {
    return undefined; // absent, a link, not allowed: the careful way tells them apart
  }
  try {
    if (!isAt(fd, root, relPath)) return undefined;
    const stats = fstatSync(fd);
    return stats.isFile() ? readBounded(fd, path, maxBytes, stats.size) : undefined;
  } finally {
    closeSync(fd);
  }
}

/** Whether the descriptor's true path is this one: then no link was passed. Above the root there may be links. */
function isAt(fd: number, root: string, relPath: string): boolean {
  const actual = readlinkSync(`/proc/self/fd/${fd}`);
  return actual === `${root}/${relPath}` || actual === `${realpathSync.native(root)}/${relPath}`;
}

/** `readInside` for an entry of a folder that is open already. */
export function readIn(folder: FolderInside, name: string, options: { maxBytes: number }): Buffer {
  const fd = openIn(folder, name, 'r');
  try {
    const path = join(folder.root, folder.relPath, name);
    return readBounded(fd, path, options.maxBytes, fstatSync(fd).size);
  } finally {
    closeSync(fd);
  }
}

/**
 * `readIn` for a file that a listing of the folder has just shown to be a regular one, with few system calls. Whether the
 * folder is still in its place is for the caller to recheck, once for all of its files.
 */
export function readListed(
  folder: FolderInside,
  name: string,
  options: { maxBytes: number },
): Buffer {
  if (!hasProc) return readIn(folder, name, options);
  let fd: number;
  try {
    fd = openSync(join(folder.path, name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch {
    return readIn(folder, name, options); // says what is unusual about it
  }
  try {
    const stats = fstatSync(fd);
    const relPath = join(folder.relPath, name);
    refuseIrregular(folder.root, relPath, stats);
    return readBounded(fd, join(folder.root, relPath), options.maxBytes, stats.size);
  } finally {
    closeSync(fd);
  }
}

/** Makes the folder and its parents; one that is there already is fine. */
export function mkdirInside(root: string, relPath: string): void {
  makeWithParents(root, splitInside(root, relPath));
  openFolderInside(root, relPath).close(); // an entry that existed may be a link or a file
}

/** From below: most often no more than the last is missing. */
function makeWithParents(root: string, parts: readonly string[]): void {
  const make = (): void =>
    inFolder(root, parts.join('/'), (folder, name) => {
      try {
        mkdirSync(join(folder.path, name));
      } catch (error) {
        if (!hasCode(error, 'EEXIST')) throw error;
      }
    });
  try {
    make();
  } catch (error) {
    if (!hasCode(error, 'ENOENT') || parts.length === 1) throw error;
    makeWithParents(root, parts.slice(0, -1));
    make();
  }
}

/** lstat of an entry, null when it or its folder is absent. Throws PATH_ESCAPES_CELL for a link. */
export function statInside(root: string, relPath: string): Stats | null {
  try {
    return inFolder(root, relPath, (folder, name) => {
      const stats = lstatOrNull(join(folder.path, name));
      if (stats?.isSymbolicLink()) throw escapes(root, relPath, join(root, relPath));
      folder.recheck();
      return stats;
    });
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null;
    throw error;
  }
}

/** Entries of a folder in the order of their names, null when it is absent. Links are listed, as links. */
export function listInside(root: string, relPath: string): Dirent[] | null {
  let folder: FolderInside;
  try {
    folder = openFolderInside(root, relPath);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null;
    throw error;
  }
  try {
    const entries = readdirSync(folder.path, { withFileTypes: true });
    folder.recheck();
    return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  } finally {
    folder.close();
  }
}

/** Removes a file or a link (never what a link points to). False when it was not there. */
export function unlinkInside(root: string, relPath: string): boolean {
  try {
    inFolder(root, relPath, (folder, name) => unlinkSync(join(folder.path, name)));
    return true;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false;
    throw error;
  }
}

/** `writeWhole` of cells/durable.ts for a file of a cell. Its folder must exist: a removed one is never made again. */
export async function writeWholeInside(
  root: string,
  relPath: string,
  data: string | Uint8Array,
  options: WriteWholeOptions,
): Promise<boolean> {
  const parts = splitInside(root, relPath);
  const folder = openFolderInside(root, parts.slice(0, -1).join('/'));
  try {
    const replaced = await writeWhole(join(folder.path, parts.at(-1) ?? ''), data, options);
    folder.recheck();
    return replaced;
  } finally {
    folder.close();
  }
}

/** Runs `use` with the folder of `relPath` held open and the last name of the path. */
function inFolder<T>(
  root: string,
  relPath: string,
  use: (folder: FolderInside, name: string) => T,
): T {
  const parts = splitInside(root, relPath);
  const folder = openFolderInside(root, parts.slice(0, -1).join('/'));
  try {
    return use(folder, parts.at(-1) ?? '');
  } finally {
    folder.close();
  }
}

/** I2. Returns the components; `.` and empty ones (`a//b`) are refused too, as one file has one name here. */
function splitInside(root: string, relPath: string): string[] {
  const parts = relPath.split('/');
  if (relPath.includes('\0') || parts.some((part) => part === '' || part === '.' || part === '..'))
    throw escapes(root, relPath, relPath);
  return parts;
}

function openFolder(root: string, relPath: string, realRoot: string, parts: string[]): number {
  try {
    return openSync(join(realRoot, ...parts), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    // ENOTDIR and ELOOP are what a link gives here, ENOENT what one gives that leads nowhere: then the link is the news.
    refuseLinks(root, realRoot, parts, relPath);
    throw error;
  }
}

function openEntry(
  root: string,
  relPath: string,
  path: string,
  flags: number,
  mode: number,
): number {
  try {
    return openSync(path, flags, mode);
  } catch (error) {
    if (hasCode(error, 'ELOOP', 'EMLINK')) throw escapes(root, relPath, path, error);
    if (hasCode(error, 'ENXIO', 'EISDIR')) throw irregular(root, relPath, error);
    throw error;
  }
}

/** Throws when a component below the root is a symbolic link. Components that are absent are not its business. */
function refuseLinks(root: string, realRoot: string, parts: string[], relPath?: string): void {
  let path = realRoot;
  for (const part of parts) {
    path = join(path, part);
    const stats = lstatOrNull(path);
    if (stats === null) return;
    if (stats.isSymbolicLink()) throw escapes(root, relPath ?? parts.join('/'), path);
  }
}

function refuseIrregular(root: string, relPath: string, stats: Stats): void {
  if (stats.isSymbolicLink()) throw escapes(root, relPath, join(root, relPath));
  if (!stats.isFile()) throw irregular(root, relPath);
}

/** `size`: what the file had when it was opened. */
function readBounded(fd: number, path: string, maxBytes: number, size: number): Buffer {
  // One byte more than the file had: a file that grows while it is read is read on.
  let buffer = Buffer.allocUnsafe(Math.min(size, maxBytes) + 1);
  let length = 0;
  for (;;) {
    const count = readSync(fd, buffer, length, buffer.length - length, null);
    length += count;
    if (length > maxBytes)
      throw new RuntimeError(`${path} is larger than ${maxBytes} bytes`, {
        code: 'FILE_INVALID',
        details: { path, maxBytes },
        hint: 'Make the file smaller, or move bulk data to artifacts/.',
      });
    // There was room for more, so what ends where it was measured to end is the whole.
    if (count === 0 || length === size) return buffer.subarray(0, length);
    if (length === buffer.length)
      buffer = Buffer.concat([buffer], Math.min(length * 2, maxBytes + 1));
  }
}

function escapes(root: string, relPath: string, where: string, cause?: unknown): RuntimeError {
  return new RuntimeError(
    `${basename(root)}: ${relPath} leaves its cell, or is or passes a symbolic link`,
    {
      code: 'PATH_ESCAPES_CELL',
      details: { root, path: relPath, where },
      hint: 'Put a real file or folder there; nothing in a cell may be a symbolic link.',
      cause,
    },
  );
}

function irregular(root: string, relPath: string, cause?: unknown): RuntimeError {
  return new RuntimeError(`${join(root, relPath)} is not a regular file`, {
    code: 'FILE_INVALID',
    details: { root, path: relPath },
    hint: 'Replace it by a plain file: fifos, sockets, devices and folders are not read.',
    cause,
  });
}

function goneError(path: string): Error {
  return Object.assign(new Error(`ENOENT: folder was removed, '${path}'`), { code: 'ENOENT' });
}

function lstatOrNull(path: string): Stats | null {
  try {
    return lstatSync(path);
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return null;
    throw error;
  }
}

/** Whether a thrown value is a file system error with one of these codes. */
export function hasCode(error: unknown, ...codes: string[]): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    codes.includes(error.code)
  );
}

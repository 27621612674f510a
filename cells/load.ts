/**
 * A cell's folder as data: every file people write, read once, checked, hashed. Nothing is remembered here: whoever
 * calls hands in what it knows (hashes by path) and gets the difference, so a missed file system event costs nothing.
 *
 * L1 Unreadable is never empty (P6): a file or folder that cannot be read is a problem, and what was known of it stays
 *    known; only a file that is truly absent is reported as removed.
 * L2 A symbolic link is a problem, whatever it points to; it is not followed (cells/inside.ts).
 */
import { hash } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { readdirSync } from 'node:fs';
import { RuntimeError, toPlainError } from '../machines/errors.ts';
import type { JsonObject } from '../machines/json.ts';
import type { FileChange, FileKind } from '../machines/mission.ts';
import { hasCode, openFolderInside, readIn, readInside, readListed } from './inside.ts';
import type { FolderInside } from './inside.ts';
import { ERROR_SUFFIX, fileKindOf, idProblem, isIgnoredName } from './layout.ts';
import { MAX_FILE_BYTES, lineOfPointer, parseJsonObject } from './parse-json.ts';
import type { Problem } from './parse-json.ts';
import { validate } from './validate.ts';

/** What is wrong with one file or folder; `path` is relative to the folder that was scanned. */
export interface FileProblem {
  path: string;
  problems: Problem[];
}

export interface GoodFile {
  outcome: 'good';
  path: string;
  kind: FileKind;
  /** The agent's or task's id, else the kind. */
  id: string;
  /** SHA-256 of the bytes, in hex. */
  hash: string;
  /** The runtime's write that this file was edited from (`_rev`), null in a file it never wrote. */
  rev: number | null;
  content: JsonObject;
}

export type ReadFile =
  GoodFile | ({ outcome: 'bad' } & FileProblem) | { outcome: 'absent'; path: string };

export interface CellScan {
  /** The cell's folder itself is absent; everything else is empty then. */
  gone: boolean;
  /** Against `known`: new, changed and (content null) removed files, cell.json first. */
  changes: FileChange[];
  /** Of the good files now; a bad file keeps the hash it had when it was good. */
  hashes: Map<string, string>;
  problems: FileProblem[];
  /** Error files of ours that lie there, for `ErrorFiles.update`. */
  errorFiles: string[];
}

/** Files read from one folder; more are a problem, not a longer wait (P8). */
export const MAX_FILES_PER_FOLDER = 10_000;

/** Folders of a cell in which people write files, in the order in which they are read. */
const SCANNED_FOLDERS = ['', 'config', 'agents', 'tasks'] as const;

/** One file of a cell. `relPath` must be one of those people write (`fileKindOf`). */
export function readCellFile(cellDir: string, relPath: string): ReadFile {
  try {
    return check(relPath, readInside(cellDir, relPath, { maxBytes: MAX_FILE_BYTES }));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return { outcome: 'absent', path: relPath };
    return { outcome: 'bad', path: relPath, problems: [unreadable(error)] };
  }
}

/** All files of a cell in one synchronous pass; `known`: hashes of what the caller has already. */
export function scanCell(
  cellDir: string,
  { known = new Map() }: { known?: ReadonlyMap<string, string> } = {},
): CellScan {
  const scan: CellScan = {
    gone: false,
    changes: [],
    hashes: new Map(),
    problems: [],
    errorFiles: [],
  };
  const top = new Set<string>();
  for (const folder of SCANNED_FOLDERS) {
    if (top.size > 0 && folder !== '' && !top.has(folder)) continue; // absent, as most `config` are
    const state = scanFolder(scan, cellDir, folder, { known, top });
    if (folder === '' && state === 'absent') return { ...scan, gone: true };
    if (state === 'unreadable') keepKnown(scan, known, folder); // L1
  }
  for (const path of known.keys()) {
    const file = fileKindOf(path);
    if (file && !scan.hashes.has(path)) scan.changes.push({ path, ...file, content: null });
  }
  return scan;
}

function scanFolder(
  scan: CellScan,
  cellDir: string,
  relFolder: string,
  { known, top }: { known: ReadonlyMap<string, string>; top: Set<string> },
): 'read' | 'absent' | 'unreadable' {
  let folder: FolderInside | null = null;
  try {
    folder = openFolderInside(cellDir, relFolder);
    const entries = readdirSync(folder.path, { withFileTypes: true });
    // Without regard to case, as some file systems look names up.
    if (relFolder === '') for (const { name } of entries) top.add(name.toLowerCase());
    entries.sort((a, b) => (a.name < b.name ? -1 : 1));
    const files = entries.filter((entry) => isInput(scan, relFolder, entry));
    for (const entry of files.slice(0, MAX_FILES_PER_FOLDER)) scanFile(scan, folder, entry, known);
    folder.recheck();
    if (files.length <= MAX_FILES_PER_FOLDER) return 'read';
    scan.problems.push({ path: relFolder, problems: [tooMany(files.length)] });
    return 'unreadable';
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return 'absent';
    scan.problems.push({ path: relFolder, problems: [unreadable(error)] });
    return 'unreadable';
  } finally {
    folder?.close();
  }
}

/** Whether an entry is a file people write; error files are noted by the way. */
function isInput(scan: CellScan, relFolder: string, { name }: Dirent): boolean {
  const path = relFolder === '' ? name : `${relFolder}/${name}`;
  if (name.endsWith(ERROR_SUFFIX) && !name.startsWith('.')) scan.errorFiles.push(path);
  return !isIgnoredName(name) && fileKindOf(path) !== null;
}

function scanFile(
  scan: CellScan,
  folder: FolderInside,
  entry: Dirent,
  known: ReadonlyMap<string, string>,
): void {
  const { name } = entry;
  const path = folder.relPath === '' ? name : `${folder.relPath}/${name}`;
  const before = known.get(path);
  let file: ReadFile;
  try {
    const read = entry.isFile() ? readListed : readIn;
    const bytes = read(folder, name, { maxBytes: MAX_FILE_BYTES });
    if (before !== undefined && hash('sha256', bytes) === before) {
      scan.hashes.set(path, before);
      return;
    }
    file = check(path, bytes);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return; // removed since the folder was listed
    file = { outcome: 'bad', path, problems: [unreadable(error)] };
  }
  if (file.outcome === 'good') {
    scan.hashes.set(path, file.hash);
    scan.changes.push({ path, kind: file.kind, id: file.id, content: file.content });
  } else if (file.outcome === 'bad') {
    scan.problems.push({ path, problems: file.problems });
    if (before !== undefined) scan.hashes.set(path, before); // L1
  }
}

function keepKnown(scan: CellScan, known: ReadonlyMap<string, string>, folder: string): void {
  for (const [path, hash] of known) {
    const parent = path.includes('/') ? path.slice(0, path.indexOf('/')) : '';
    if (parent === folder && !scan.hashes.has(path)) scan.hashes.set(path, hash);
  }
}

/** Parsed, valid, and named as its content says. */
function check(path: string, bytes: Buffer): ReadFile {
  const file = fileKindOf(path);
  if (!file)
    throw new RuntimeError(`${path} is no file that people write in a cell`, {
      code: 'INVALID_ARGUMENT',
      details: { path },
    });
  const parsed = parseJsonObject(bytes);
  if (!parsed.ok) return { outcome: 'bad', path, problems: parsed.problems };
  const { value, text } = parsed;
  const valid = validate(file.kind, value, { text, path });
  if (!valid.ok) return { outcome: 'bad', path, problems: valid.problems };
  const misnamed = nameProblem(file, value, text);
  if (misnamed) return { outcome: 'bad', path, problems: [misnamed] };
  const rev = typeof value['_rev'] === 'number' ? value['_rev'] : null;
  return { outcome: 'good', path, ...file, hash: hash('sha256', bytes), rev, content: value };
}

/** agents/x.json must hold agent_id x, so that one id has one place. */
function nameProblem(
  { kind, id }: { kind: FileKind; id: string },
  value: JsonObject,
  text: string,
): Problem | null {
  if (kind !== 'agent' && kind !== 'task') return null;
  const field = `${kind}_id`;
  const inside = value[field];
  if (inside === id) return null;
  const reason = idProblem(id);
  return {
    pointer: `/${field}`,
    line: lineOfPointer(text, `/${field}`),
    message: reason
      ? `the file's name is no ${kind} id: ${reason}`
      : `${field} is ${JSON.stringify(inside)}, but the file is named ${id}.json`,
    fix: reason
      ? `Name the file after its ${field}.`
      : `Write "${field}": "${id}", or name the file ${typeof inside === 'string' ? inside : ''}.json.`,
  };
}

/** A problem of the file as a whole, from what opening or reading it threw. */
export function unreadable(error: unknown): Problem {
  const { code, message } = toPlainError(error);
  const hint = error instanceof RuntimeError ? error.hint : undefined;
  return {
    pointer: '',
    line: 1,
    message: hint === undefined ? `cannot be read: ${message}` : message,
    fix:
      hint ??
      (code === 'EACCES' ? 'Let the runtime read it: check owner and mode.' : 'Make it readable.'),
  };
}

function tooMany(count: number): Problem {
  return {
    pointer: '',
    line: 1,
    message: `${count} files lie here; only the first ${MAX_FILES_PER_FOLDER} by name are read`,
    fix: 'Split the mission into several cells.',
  };
}

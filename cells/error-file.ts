/**
 * `<file>.error` beside a file that was not accepted: what is wrong, where, and how to mend it. It is the only answer
 * someone gets who works with an editor and no command line.
 *
 * E1 Written only when the bad file has stood unchanged for `quietMs`: someone who is still typing gets no answer yet.
 * E2 Removed when the file is good or gone, also when that happened while no node ran: a scan hands in the error files
 *    it saw. Only files that begin with our own line are ever removed.
 * E3 Never written through a symbolic link, and never makes a folder that is gone.
 */
import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { toPlainError } from '../machines/errors.ts';
import { hasCode, readInside, unlinkInside, writeWholeInside } from './inside.ts';
import { ERROR_SUFFIX } from './layout.ts';
import type { FileProblem } from './load.ts';
import { silentLog } from './log.ts';
import type { CellsLog } from './log.ts';
import type { Problem } from './parse-json.ts';

export interface ErrorFilesOptions {
  /** How long a bad file must stand unchanged. Default 500. */
  quietMs?: number;
  log?: CellsLog;
}

interface Entry {
  root: string;
  path: string;
  text: string;
  /** What the bad file looked like when the quiet time began. */
  signature: string;
  timer: NodeJS.Timeout | null;
}

const FIRST_LINE = 'Not accepted by lazarus:';
const MAX_ERROR_FILE_BYTES = 256 * 1024;

export class ErrorFiles {
  readonly #quietMs: number;
  readonly #log: CellsLog;
  readonly #entries = new Map<string, Entry>();
  readonly #writes = new Set<Promise<void>>();

  constructor({ quietMs = 500, log = silentLog }: ErrorFilesOptions = {}) {
    this.#quietMs = quietMs;
    this.#log = log;
  }

  /** The file at `path` below `root` (a cell's folder or the missions folder) is bad. */
  report(root: string, { path, problems }: FileProblem): void {
    if (path === '') return; // the folder itself cannot be read: nothing can be written there either
    const key = join(root, path);
    const text = errorText(path, problems);
    const entry = this.#entries.get(key);
    if (entry?.text === text && (entry.timer || entry.signature === signatureOf(key))) return;
    if (entry?.timer) clearTimeout(entry.timer);
    const next: Entry = { root, path, text, signature: signatureOf(key), timer: null };
    this.#entries.set(key, next);
    this.#wait(key, next);
  }

  /** The file is good or gone. */
  clear(root: string, path: string): void {
    const key = join(root, path);
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    if (entry.timer) clearTimeout(entry.timer);
    this.#remove(root, path);
  }

  /** After a *whole* scan of `root`: every problem it found and every error file it saw (E2). */
  update(root: string, problems: readonly FileProblem[], seen: readonly string[]): void {
    const bad = new Set(problems.map(({ path }) => path));
    for (const problem of problems) this.report(root, problem);
    for (const { root: other, path } of this.#entries.values())
      if (other === root && !bad.has(path)) this.clear(root, path);
    for (const name of seen) {
      const path = name.slice(0, -ERROR_SUFFIX.length);
      if (!bad.has(path)) this.#remove(root, path);
    }
  }

  /** The folder is gone: nothing is left to write or remove. */
  forget(root: string): void {
    for (const [key, entry] of this.#entries) {
      if (entry.root !== root) continue;
      if (entry.timer) clearTimeout(entry.timer);
      this.#entries.delete(key);
    }
  }

  /** Drops what waits for its quiet time and resolves when writes under way have ended. */
  async stop(): Promise<void> {
    for (const { timer } of this.#entries.values()) if (timer) clearTimeout(timer);
    this.#entries.clear();
    await Promise.all(this.#writes);
  }

  #wait(key: string, entry: Entry): void {
    entry.timer = setTimeout(() => {
      entry.timer = null;
      const signature = signatureOf(key);
      if (signature === entry.signature) return this.#write(key, entry);
      if (signature === 'absent') return this.clear(entry.root, entry.path);
      entry.signature = signature; // E1: it was touched, so the quiet time begins anew
      this.#wait(key, entry);
    }, this.#quietMs);
  }

  #write(key: string, entry: Entry): void {
    const write = this.#writeNow(key, entry)
      .catch((error: unknown) => {
        if (hasCode(error, 'ENOENT')) return; // E3: the folder is gone
        const fields = { file: `${key}${ERROR_SUFFIX}`, error: toPlainError(error) };
        this.#log.warn(fields, 'error file not written');
      })
      .finally(() => this.#writes.delete(write));
    this.#writes.add(write);
  }

  async #writeNow(key: string, entry: Entry): Promise<void> {
    const path = `${entry.path}${ERROR_SUFFIX}`;
    if (readText(entry.root, path) === entry.text) return;
    await writeWholeInside(entry.root, path, entry.text, { sync: false, what: 'error-file' });
    // Mended while it was written: `clear` found nothing to remove then.
    if (!this.#entries.has(key)) this.#remove(entry.root, entry.path);
  }

  #remove(root: string, path: string): void {
    try {
      const file = `${path}${ERROR_SUFFIX}`;
      if (readText(root, file)?.startsWith(FIRST_LINE)) unlinkInside(root, file);
    } catch (error) {
      const fields = { file: join(root, path), error: toPlainError(error) };
      this.#log.warn(fields, 'error file not removed');
    }
  }
}

/** No times and no counters: the same problems give the same bytes, so a restart does not write it again. */
export function errorText(path: string, problems: readonly Problem[]): string {
  const items = problems.map(({ pointer, line, message, fix }) => {
    const place = pointer === '' ? `line ${line}` : `${pointer} (line ${line})`;
    return `${place}: ${message}\n    ${fix}\n`;
  });
  return (
    `${FIRST_LINE} ${path}\n` +
    'Nothing was changed by it; an earlier good version stays in force.\n\n' +
    `${items.join('\n')}\n` +
    'This file goes away by itself when the other one is mended or removed.\n'
  );
}

/** Null when it is absent, or not a file we could have written. */
function readText(root: string, path: string): string | null {
  try {
    return readInside(root, path, { maxBytes: MAX_ERROR_FILE_BYTES }).toString('utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'PATH_ESCAPES_CELL', 'FILE_INVALID')) return null;
    throw error;
  }
}

function signatureOf(path: string): string {
  try {
    const stats = lstatSync(path, { bigint: true });
    return `${stats.mtimeNs}:${stats.ctimeNs}:${stats.size}:${stats.ino}`;
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return 'absent';
    return 'unreadable';
  }
}

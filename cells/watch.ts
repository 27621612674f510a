/**
 * Tells the node which cells to look at. It says only *where* something may have changed (level, not edge): whoever
 * listens reads the files and finds the difference, so events may be merged, doubled or late.
 *
 * We use node's own fs.watch: one watch for the missions folder and one for each folder of a watched cell. chokidar is
 * the well-kept library of this field, but it makes a watch for every *file* and keeps a stat of each; for 10,000 cells
 * that is beyond what a kernel gives one user, and the start-up walk alone would take longer than ours may.
 *
 * W1 Nothing is lost for good: every round of the rescan (cells/rescan.ts) finds what the events missed.
 * W2 A bound on watches, ours or the kernel's, is never an error: the rest goes by rescans, and that is said once.
 * W3 A folder that appears is watched before it is reported, and reported again after a folder inside it is first
 *    watched, so that nothing falls between.
 */
import { lstatSync, watch as fsWatch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { toPlainError } from '../machines/errors.ts';
import { hasCode } from './inside.ts';
import { isIgnoredName } from './layout.ts';
import type { CellsLog } from './log.ts';
import { Rescanner } from './rescan.ts';
import { hasCellFile } from './scan-missions.ts';

export interface MissionsWatcherOptions {
  missionsDir: string;
  /** `paths`: files relative to the cell, or null: look at all of them. Also called when the folder is gone. */
  onCellDirty(folder: string, paths: ReadonlySet<string> | null): void;
  /** Names at the top that came, went or changed, or null: look at all of them. */
  onTopLevelChange(names: ReadonlySet<string> | null): void;
  /** Pause between two rescans, in ms. Default 30,000. */
  rescanMs?: number;
  /** Cells, and folders that may become cells, that are watched at once. Default 2,000. */
  maxWatchedCells?: number;
  log: CellsLog;
  /** Replaced by tests that need a kernel without watches to give. */
  watch?: (path: string, listener: Listener) => FSWatcher;
}

type Listener = (event: string, name: string | null) => void;

/** Events of this long, in ms, become one call: an editor's save is three of them. */
const COALESCE_MS = 5;
/** Paths remembered for one cell before it is simply looked at as a whole. */
const MAX_PATHS = 256;
const SUBFOLDERS = ['agents', 'tasks', 'config'] as const;
type Subfolder = (typeof SUBFOLDERS)[number];

interface CellWatch {
  ino: bigint;
  folder: FSWatcher;
  subfolders: Map<Subfolder, FSWatcher>;
}

export class MissionsWatcher {
  readonly #options: MissionsWatcherOptions;
  readonly #dir: string;
  #missions: FSWatcher | null = null;
  #missionsIno: bigint | null = null;
  readonly #cells = new Map<string, CellWatch>();
  /** Folders without a cell.json: it may be written at any moment, and only a watch sees that soon. */
  readonly #candidates = new Map<string, FSWatcher>();
  /** Cells that should be watched but go by rescans (W2). */
  readonly #waiting = new Set<string>();
  readonly #rescanner: Rescanner;
  #rescanTimer: NodeJS.Timeout | null = null;
  #rescan: Promise<void> = Promise.resolve();
  #flushTimer: NodeJS.Timeout | null = null;
  #dirty = new Map<string, Set<string> | null>();
  #top: Set<string> | null = new Set();
  readonly #said = new Set<string>();
  #kernelFull = false;
  #stopped = false;

  constructor(options: MissionsWatcherOptions) {
    this.#options = options;
    this.#dir = options.missionsDir;
    this.#rescanner = new Rescanner(this.#dir, Date.now());
  }

  /** Make the node's first scan after this has resolved: what changes from then on is reported. */
  async start(): Promise<void> {
    this.#watchMissions();
    for (const entry of await readdir(this.#dir, { withFileTypes: true }))
      if (entry.isDirectory() && !isIgnoredName(entry.name)) this.#watchCandidate(entry.name);
    this.#scheduleRescan();
  }

  /** From now on changes in this cell are seen at once. A cell beyond the bound goes by rescans (W2). */
  watchCell(folder: string): void {
    if (this.#stopped || this.#cells.has(folder)) return;
    this.#closeCandidate(folder);
    this.#waiting.add(folder);
    if (!this.#roomLeft()) return;
    const path = join(this.#dir, folder);
    const stats = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    if (!stats?.isDirectory()) {
      this.#waiting.delete(folder);
      return;
    }
    const watcher = this.#open(path, (event, name) => this.#onCellEvent(folder, event, name));
    if (!watcher) return;
    this.#waiting.delete(folder);
    this.#cells.set(folder, { ino: stats.ino, folder: watcher, subfolders: new Map() });
    for (const subfolder of SUBFOLDERS) this.#watchSubfolder(folder, subfolder);
  }

  unwatchCell(folder: string): void {
    this.#waiting.delete(folder);
    this.#closeCell(folder);
    const [next] = this.#waiting;
    if (next === undefined || !this.#roomLeft()) return;
    this.watchCell(next);
    this.#markDirty(next, null);
  }

  /** A round of the rescan now, after the one under way. */
  async rescanNow(): Promise<void> {
    this.#rescan = this.#rescan.then(async () => this.#rescanOnce());
    await this.#rescan;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#rescanner.stop();
    if (this.#rescanTimer) clearTimeout(this.#rescanTimer);
    if (this.#flushTimer) clearTimeout(this.#flushTimer);
    this.#missions?.close();
    for (const folder of this.#cells.keys()) this.#closeCell(folder);
    for (const folder of this.#candidates.keys()) this.#closeCandidate(folder);
    await this.#rescan;
  }

  #watchMissions(): void {
    this.#missionsIno = this.#inodeOf('.');
    this.#missions = this.#open(this.#dir, (_event, name) => this.#onTopEvent(name));
  }

  #onTopEvent(name: string | null): void {
    if (name === null) return this.#markTop(null);
    if (isIgnoredName(name)) return;
    if (name === basename(this.#dir) && this.#inodeOf('.') !== this.#missionsIno)
      return this.#lostMissions();
    const watched = this.#cells.get(name);
    if (watched && this.#inodeOf(name) !== watched.ino) {
      // Removed, renamed away, or another folder in its place: the old watch follows the old folder.
      this.#closeCell(name);
      this.#markDirty(name, null);
      this.watchCell(name);
    }
    this.#closeCandidate(name);
    this.#watchCandidate(name);
    this.#markTop(name);
  }

  #onCellEvent(folder: string, event: string, name: string | null): void {
    if (name === null) return this.#markDirty(folder, null);
    if (name === 'cell.json') return this.#markDirty(folder, 'cell.json');
    const subfolder = SUBFOLDERS.find((item) => item === name);
    if (subfolder) {
      this.#watchSubfolder(folder, subfolder);
      this.#markDirty(folder, null); // W3
    } else if (event === 'rename' && name === basename(folder) && this.#inodeOf(folder) === null) {
      this.#closeCell(folder);
      this.#markDirty(folder, null);
      this.#markTop(folder);
    }
  }

  /** Anew each time the name appears: it may be another folder than before. */
  #watchSubfolder(folder: string, subfolder: Subfolder): void {
    const cell = this.#cells.get(folder);
    if (!cell) return;
    cell.subfolders.get(subfolder)?.close();
    cell.subfolders.delete(subfolder);
    const path = join(this.#dir, folder, subfolder);
    if (!lstatSync(path, { throwIfNoEntry: false })?.isDirectory()) return; // a link is not followed
    const watcher = this.#open(path, (_event, name) => {
      if (name === null) this.#markDirty(folder, null);
      else if (name.endsWith('.json') && !isIgnoredName(name))
        this.#markDirty(folder, `${subfolder}/${name}`);
    });
    if (watcher) cell.subfolders.set(subfolder, watcher);
  }

  /** Watches a folder until it becomes a cell. */
  #watchCandidate(folder: string): void {
    if (this.#stopped || this.#cells.has(folder) || this.#candidates.has(folder)) return;
    if (hasCellFile(this.#dir, folder) || !this.#roomLeft()) return;
    const path = join(this.#dir, folder);
    if (!lstatSync(path, { throwIfNoEntry: false })?.isDirectory()) return;
    const watcher = this.#open(path, () => this.#lookAtCandidate(folder));
    if (!watcher) return;
    this.#candidates.set(folder, watcher);
    this.#lookAtCandidate(folder); // W3: it may have been written just before
  }

  #lookAtCandidate(folder: string): void {
    if (this.#inodeOf(folder) !== null && !hasCellFile(this.#dir, folder)) return;
    this.#closeCandidate(folder);
    this.#markTop(folder);
  }

  #open(path: string, listener: Listener): FSWatcher | null {
    try {
      const open = this.#options.watch ?? ((at, listen) => fsWatch(at, listen));
      const watcher = open(path, (event, name) => {
        if (!this.#stopped) listener(event, name);
      });
      watcher.on('error', (error) => {
        watcher.close();
        this.#sayOnce('a watch ended; rescans go on', { path, error: toPlainError(error) });
      });
      return watcher;
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ENOTDIR')) return null; // went meanwhile; its parent's event or a rescan says so
      const fields = { path, error: toPlainError(error) };
      this.#kernelFull ||= hasCode(error, 'ENOSPC', 'EMFILE', 'ENFILE');
      this.#sayOnce('no more watches to be had; the rest is found by rescans', fields);
      return null;
    }
  }

  #roomLeft(): boolean {
    const { maxWatchedCells = 2000 } = this.#options;
    if (this.#kernelFull) return false;
    if (this.#cells.size + this.#candidates.size < maxWatchedCells) return true;
    this.#sayOnce('more cells than are watched; the rest is found by rescans', { maxWatchedCells });
    return false;
  }

  #closeCell(folder: string): void {
    const cell = this.#cells.get(folder);
    if (!cell) return;
    this.#cells.delete(folder);
    cell.folder.close();
    for (const watcher of cell.subfolders.values()) watcher.close();
  }

  #closeCandidate(folder: string): void {
    this.#candidates.get(folder)?.close();
    this.#candidates.delete(folder);
  }

  #lostMissions(): void {
    this.#missions?.close();
    this.#missions = null;
    this.#sayOnce('the missions folder is gone; looking for it at every rescan', {
      path: this.#dir,
    });
  }

  #scheduleRescan(): void {
    const { rescanMs = 30_000 } = this.#options;
    this.#rescanTimer = setTimeout(() => {
      void this.rescanNow().finally(() => {
        if (!this.#stopped) this.#scheduleRescan();
      });
    }, rescanMs);
  }

  /** Never rejects: a folder that cannot be read now may be readable at the next round. */
  async #rescanOnce(): Promise<void> {
    if (this.#stopped) return;
    try {
      if (this.#inodeOf('.') !== this.#missionsIno) this.#lostMissions();
      if (!this.#missions) this.#watchMissions();
      await this.#rescanner.run({
        top: (name) => this.#markTop(name),
        cell: (folder) => this.#markDirty(folder, null),
      });
    } catch (error) {
      const fields = { path: this.#dir, error: toPlainError(error) };
      this.#options.log.warn(fields, 'rescan failed; what was known stays');
    }
  }

  #markTop(name: string | null): void {
    if (name === null) this.#top = null;
    else this.#top?.add(name);
    this.#scheduleFlush();
  }

  #markDirty(folder: string, path: string | null): void {
    const paths = this.#dirty.get(folder);
    if (path === null || paths === null || (paths && paths.size >= MAX_PATHS))
      this.#dirty.set(folder, null);
    else if (paths) paths.add(path);
    else this.#dirty.set(folder, new Set([path]));
    this.#scheduleFlush();
  }

  #scheduleFlush(): void {
    if (this.#stopped) return;
    this.#flushTimer ??= setTimeout(() => this.#flush(), COALESCE_MS);
  }

  #flush(): void {
    this.#flushTimer = null;
    const dirty = this.#dirty;
    const top = this.#top;
    this.#dirty = new Map();
    this.#top = new Set();
    if (top === null || top.size > 0) this.#options.onTopLevelChange(top);
    for (const [folder, paths] of dirty) this.#options.onCellDirty(folder, paths);
  }

  #inodeOf(folder: string): bigint | null {
    // `/.`: the missions folder itself may be a link.
    const path = folder === '.' ? `${this.#dir}/.` : join(this.#dir, folder);
    return lstatSync(path, { bigint: true, throwIfNoEntry: false })?.ino ?? null;
  }

  #sayOnce(message: string, fields: Record<string, unknown>): void {
    if (this.#said.has(message)) return;
    this.#said.add(message);
    this.#options.log.warn(fields, message);
  }
}

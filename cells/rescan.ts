/**
 * The slow look at everything that the file system's events may have missed: a lost event, a cell that is not watched,
 * a file system without events. It remembers one short hash for each cell and compares.
 *
 * R1 The first look at a cell has nothing to compare with. What changed after `startedAt` is reported then; older states
 *    were seen by the scan that the node makes at its start. (ctime cannot be set by cp -p or rsync.)
 * R2 A missions folder that cannot be read says nothing about its cells (P6).
 * R3 The event loop is kept for at most a few ms at a time.
 */
import { hash } from 'node:crypto';
import { lstatSync, readdirSync } from 'node:fs';
import type { BigIntStats } from 'node:fs';
import { opendir } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { hasCode } from './inside.ts';
import { isIgnoredName } from './layout.ts';

export interface RescanFindings {
  /** Folder or file names at the top that came, went or changed. */
  top(name: string): void;
  /** Cells in which something changed, or that are gone. */
  cell(folder: string): void;
}

/** Longest slice of work, in ms (R3). */
const SLICE_MS = 3;
/** How far the clock of the file system may lag behind ours, in ms. */
const CLOCK_SLACK_MS = 2000;
const NO_CELL = 'no cell';

export class Rescanner {
  readonly #missionsDir: string;
  readonly #startedAt: number;
  /** By folder name: hash of its files' stat data, or `NO_CELL`. */
  readonly #folders = new Map<string, string>();
  /** By name of a dropped file: its stat data. */
  readonly #files = new Map<string, string>();
  #stopped = false;

  /** `startedAt`: epoch ms, before the node's own first scan. */
  constructor(missionsDir: string, startedAt: number) {
    this.#missionsDir = missionsDir;
    this.#startedAt = startedAt - CLOCK_SLACK_MS;
  }

  /** One round. Throws what reading the missions folder throws (R2). */
  async run(findings: RescanFindings): Promise<void> {
    const entries = await opendir(this.#missionsDir, { bufferSize: 128 });
    const present = new Set<string>();
    let sliceEnds = performance.now() + SLICE_MS;
    for await (const entry of entries) {
      if (this.#stopped) return;
      if (performance.now() > sliceEnds) {
        await nextTurn();
        sliceEnds = performance.now() + SLICE_MS;
      }
      if (isIgnoredName(entry.name)) continue;
      present.add(entry.name);
      if (entry.isDirectory()) this.#lookAtFolder(entry.name, findings);
      else if (entry.name.endsWith('.json')) this.#lookAtFile(entry.name, findings);
    }
    for (const name of this.#files.keys())
      if (!present.has(name) && this.#files.delete(name)) findings.top(name);
    for (const name of this.#folders.keys()) {
      if (present.has(name) || !this.#folders.delete(name)) continue;
      findings.top(name);
      findings.cell(name);
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  #lookAtFolder(name: string, findings: RescanFindings): void {
    const { signature, newest } = cellSignature(join(this.#missionsDir, name));
    const before = this.#folders.get(name);
    this.#folders.set(name, signature);
    if (before === signature) return;
    const recent = newest >= this.#startedAt;
    if (before === undefined && !recent) return; // R1
    if (before === undefined || before === NO_CELL) findings.top(name);
    if (signature !== NO_CELL || before !== undefined) findings.cell(name);
  }

  #lookAtFile(name: string, findings: RescanFindings): void {
    const stats = lstatOf(join(this.#missionsDir, name));
    const signature = stats ? statText(name, stats) : '';
    const before = this.#files.get(name);
    this.#files.set(name, signature);
    if (before === signature) return;
    if (before !== undefined || Number(stats?.ctimeMs ?? 0) >= this.#startedAt) findings.top(name);
  }
}

/** Of every file people write: name, time, size and inode. `newest`: latest change, epoch ms. */
function cellSignature(cellDir: string): { signature: string; newest: number } {
  const cell = lstatOf(join(cellDir, 'cell.json'));
  if (!cell) return { signature: NO_CELL, newest: 0 };
  let text = statText('cell.json', cell);
  let newest = Number(cell.ctimeMs);
  for (const folder of ['agents', 'tasks', 'config']) {
    const path = join(cellDir, folder);
    const stats = lstatOf(path);
    text += `\n${folder}`;
    if (!stats) continue;
    newest = Math.max(newest, Number(stats.ctimeMs));
    if (!stats.isDirectory())
      text += statText(' ', stats); // a link, for example: not looked into
    else
      for (const name of filesOf(path)) {
        const file = lstatOf(join(path, name));
        if (!file) continue;
        text += statText(name, file);
        newest = Math.max(newest, Number(file.ctimeMs));
      }
  }
  return { signature: hash('sha1', text, 'base64'), newest };
}

function filesOf(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.json') && !isIgnoredName(name))
      .sort();
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return []; // went since its lstat: the next round sees it
    if (hasCode(error, 'EACCES', 'EIO')) return ['?']; // a change that the cell's own scan will name
    throw error;
  }
}

function statText(name: string, stats: BigIntStats): string {
  return `\n${name} ${stats.mtimeNs} ${stats.ctimeNs} ${stats.size} ${stats.ino}`;
}

function lstatOf(path: string): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true, throwIfNoEntry: false });
  } catch (error) {
    if (hasCode(error, 'ENOTDIR', 'EACCES', 'EIO')) return undefined;
    throw error;
  }
}

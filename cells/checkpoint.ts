/**
 * Checkpoints and journal copies in the cells' own folders: what makes a cell a folder that can be moved.
 *
 * C1 A checkpoint is one line of JSON whose first member is the sha256 of the rest. It is believed only when that, the
 *    schema and the address fit; otherwise the next older one is tried, and the caller is told that it is older.
 * C2 The new one is durable before an old one is removed.
 * C3 A cell's copy of its records only grows, in order of lsn; it is bounded, and the oldest file of it goes first. What
 *    came with the cell from another node is sealed: its lsns are not ours (journal-copy.ts).
 */
import { hash } from 'node:crypto';
import { appendFileSync, closeSync, fdatasyncSync, linkSync } from 'node:fs';
import { join } from 'node:path';
import { homeCell } from '../machines/addresses.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { Checkpoint, CopyRecord, StoredCheckpoint } from '../machines/persisted.ts';
import { checkpointProblem } from './checkpoint-guard.ts';
import { copyFiles, COPY_LIMIT, isCurrent, readCellCopy } from './journal-copy.ts';
import { faultPoint, syncFolderSync } from './durable.ts';
import { encodeBatch, readBatches } from './journal-format.ts';
import {
  hasCode,
  listInside,
  mkdirInside,
  openInside,
  readIfThere,
  readInside,
  statInside,
  unlinkInside,
  writeWholeInside,
} from './inside.ts';
import { cellPath, checkpointPaths } from './layout.ts';
import type { CellsLog } from './log.ts';

const STATE = 'state.json';
/** Older checkpoints kept beside the newest. */
const KEPT = 2;
const MAX_CHECKPOINT_BYTES = 64 << 20;
/** Size above which a cell's copy goes on in a new file, and how many such files are kept. */
const COPY_FILE_BYTES = 8 << 20;
const COPY_FILES = 8;

export interface CellFolders {
  /** Absolute path of a cell's folder; undefined when it has none (any more). */
  folderOf(cellId: string): string | undefined;
}

export class CellStore {
  readonly #folders: CellFolders;
  readonly #log: CellsLog;

  constructor(folders: CellFolders, log: CellsLog) {
    this.#folders = folders;
    this.#log = log;
  }

  hasCell(cellId: string): boolean {
    return this.#folders.folderOf(cellId) !== undefined;
  }

  /** C1. Throws RuntimeError CHECKPOINT_CORRUPT when there are some and none is sound. */
  readCheckpoint(address: string): StoredCheckpoint | undefined {
    const root = this.#folders.folderOf(homeCell(address));
    if (root === undefined) return undefined;
    const paths = checkpointPaths(address);
    const newest = read(root, paths.state);
    const parsed = newest === undefined ? undefined : parseCheckpoint(newest, address);
    if (parsed?.ok) return { checkpoint: parsed.checkpoint, older: false };
    for (const seq of olderSeqs(root, paths.folder)) {
      const older = parseCheckpoint(read(root, paths.older(seq)) ?? EMPTY, address);
      if (older.ok) return { checkpoint: older.checkpoint, older: true };
    }
    if (parsed === undefined) return undefined;
    const file = join(root, paths.state);
    throw new RuntimeError(
      `${file} is damaged (${parsed.problem}), and no older checkpoint is sound`,
      {
        code: 'CHECKPOINT_CORRUPT',
        details: { file, problem: parsed.problem },
        hint: 'Put back a sound copy of that file from a backup of the cell, then start again.',
      },
    );
  }

  /** False when the newest checkpoint is damaged; what is not there is not damaged. */
  isSound(address: string): boolean {
    const root = this.#folders.folderOf(homeCell(address));
    const newest = root === undefined ? undefined : read(root, checkpointPaths(address).state);
    return newest === undefined || parseCheckpoint(newest, address).ok;
  }

  /** The newest of the older checkpoints that are sound. */
  previousCheckpoint(address: string): Checkpoint | undefined {
    return this.#older(address).next().value;
  }

  /** All sound ones, newest first. */
  *checkpoints(address: string): Generator<Checkpoint, undefined> {
    const root = this.#folders.folderOf(homeCell(address));
    const newest = root === undefined ? undefined : read(root, checkpointPaths(address).state);
    const parsed = newest === undefined ? undefined : parseCheckpoint(newest, address);
    if (parsed?.ok) yield parsed.checkpoint;
    return yield* this.#older(address);
  }

  *#older(address: string): Generator<Checkpoint, undefined> {
    const root = this.#folders.folderOf(homeCell(address));
    if (root === undefined) return;
    const paths = checkpointPaths(address);
    for (const seq of olderSeqs(root, paths.folder)) {
      const older = parseCheckpoint(read(root, paths.older(seq)) ?? EMPTY, address);
      if (older.ok) yield older.checkpoint;
    }
    return;
  }

  /** C2. */
  async writeCheckpoint(checkpoint: Checkpoint): Promise<void> {
    const root = this.#folders.folderOf(homeCell(checkpoint.address));
    if (root === undefined)
      throw new RuntimeError(`the folder of ${checkpoint.address} is gone`, { code: 'NOT_FOUND' });
    const paths = checkpointPaths(checkpoint.address);
    mkdirInside(root, paths.folder);
    const names = namesIn(root, paths.folder); // most often it is the first, and there is nothing to read
    const present = names.includes(STATE) ? read(root, paths.state) : undefined;
    const before = parseCheckpoint(present ?? EMPTY, checkpoint.address);
    const kept = olderAmong(names);
    if (before.ok) {
      keepAs(join(root, paths.state), join(root, paths.older(before.checkpoint.seq)));
      kept.push(before.checkpoint.seq);
    }
    faultPoint('checkpoint.after-keep');
    await writeWholeInside(root, paths.state, encodeCheckpoint(checkpoint), {
      sync: true,
      what: 'checkpoint',
    });
    for (const seq of newestFirst(kept).slice(KEPT)) unlinkInside(root, paths.older(seq));
    faultPoint('checkpoint.after-trim');
  }

  readCopy(address: string, afterSeq: number): string[] {
    const root = this.#folders.folderOf(homeCell(address));
    if (root === undefined) return [];
    const bySeq = new Map<number, string>();
    for (const record of readCellCopy(root)) {
      if (record.address !== address) continue;
      const seq = (JSON.parse(record.line) as { n: number }).n;
      if (seq > afterSeq) bySeq.set(seq, record.line);
    }
    return [...bySeq].toSorted(([a], [b]) => a - b).map(([, line]) => line);
  }

  /** C3. */
  appendCopy(cellId: string, records: CopyRecord[]): Promise<void> {
    const root = this.#folders.folderOf(cellId);
    if (root === undefined || records.length === 0) return Promise.resolve();
    mkdirInside(root, cellPath.journal);
    const files = copyFiles(root);
    const newest = files.filter(isCurrent).at(-1);
    const state = newest === undefined ? undefined : endOf(root, `${cellPath.journal}/${newest}`);
    const fresh = records.filter(({ lsn }) => lsn > (state?.lastLsn ?? 0));
    const first = fresh[0];
    if (first === undefined) return Promise.resolve();
    const goOn =
      newest !== undefined && state !== undefined && state.whole && state.end < COPY_FILE_BYTES;
    const name = goOn ? newest : `${String(first.lsn).padStart(15, '0')}.wal`;
    const lines = fresh.map(({ line }) => line);
    const previousEnd = goOn ? state.end : 0;
    const batch = encodeBatch(lines, { lsn: first.lsn, previousEnd });
    const fd = openInside(root, `${cellPath.journal}/${name}`, 'a', 0o600); // as the shared journal: payloads are nobody else's
    try {
      faultPoint('copy.before-write');
      appendFileSync(fd, batch);
      faultPoint('copy.after-write');
      fdatasyncSync(fd);
      faultPoint('copy.after-sync');
    } finally {
      closeSync(fd);
    }
    if (!goOn) syncFolderSync(join(root, cellPath.journal));
    faultPoint('copy.after-folder-sync');
    const end = previousEnd + batch.length;
    remember(join(root, cellPath.journal, name), {
      end,
      whole: true,
      size: end,
      lastLsn: first.lsn + lines.length - 1,
    });
    for (const old of files.slice(0, Math.max(0, files.length - COPY_FILES))) {
      unlinkInside(root, `${cellPath.journal}/${old}`);
      this.#log.warn(
        { cellId, file: old },
        "oldest part of a cell's journal copy dropped: bound reached",
      );
    }
    return Promise.resolve();
  }
}

function encodeCheckpoint(checkpoint: Checkpoint): string {
  const text = JSON.stringify(checkpoint);
  return `{"sha256":"${sha256(text)}",${text.slice(1)}\n`;
}

const HEAD = /^\{"sha256":"([0-9a-f]{64})",/;
/** `{"sha256":"<64 digits>"`: behind it stands a comma where the text that was hashed has its brace. */
const HEAD_BYTES = 11 + 64 + 1;
const [BRACE, NEWLINE] = ['{', '\n'].map((character) => character.charCodeAt(0));
const EMPTY = Buffer.alloc(0);

type Parsed = { ok: true; checkpoint: Checkpoint } | { ok: false; problem: string };

/** C1. Takes the bytes over. */
export function parseCheckpoint(bytes: Buffer, address: string): Parsed {
  const head = HEAD.exec(bytes.toString('latin1', 0, HEAD_BYTES + 1));
  if (head === null) return { ok: false, problem: 'it does not begin with its hash' };
  const end = bytes.at(-1) === NEWLINE ? bytes.length - 1 : bytes.length;
  bytes[HEAD_BYTES] = BRACE as number;
  const body = bytes.subarray(HEAD_BYTES, end);
  if (hash('sha256', body) !== head[1])
    return { ok: false, problem: 'its hash does not match its content' };
  const value = parseJson(body.toString());
  const problem = checkpointProblem(value);
  if (problem !== undefined) return { ok: false, problem };
  const checkpoint = value as Checkpoint;
  return checkpoint.address === address
    ? { ok: true, checkpoint }
    : { ok: false, problem: `it is that of ${checkpoint.address}` };
}

/** undefined, which no guard takes, when it is not JSON. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const sha256 = (text: string): string => hash('sha256', text);

const read = (root: string, path: string): Buffer | undefined =>
  readIfThere(root, path, { maxBytes: MAX_CHECKPOINT_BYTES });

/** Seqs of the older checkpoints, newest first. */
const olderSeqs = (root: string, folder: string): number[] =>
  newestFirst(olderAmong(namesIn(root, folder)));

const namesIn = (root: string, folder: string): string[] =>
  (listInside(root, folder) ?? []).map(({ name }) => name);

const olderAmong = (names: readonly string[]): number[] =>
  names
    .map((name) => Number(/^state\.([0-9]+)\.json$/.exec(name)?.[1] ?? Number.NaN))
    .filter((seq) => !Number.isNaN(seq));

const newestFirst = (seqs: readonly number[]): number[] =>
  [...new Set(seqs)].toSorted((a, b) => b - a);

/** A second name for the present checkpoint; it is whole and synced already. */
function keepAs(present: string, kept: string): void {
  try {
    linkSync(present, kept);
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error; // kept by an earlier try that a crash cut off
  }
}

interface CopyEnd {
  end: number;
  lastLsn: number;
  /** False when something that is no batch stands behind the last one: then a new file is begun. */
  whole: boolean;
}

/** Remembered by path and size, so that a busy cell's copy is not read again for each append. */
const ends = new Map<string, CopyEnd & { size: number }>();

function endOf(root: string, path: string): CopyEnd | undefined {
  const stats = statInside(root, path);
  if (stats === null) return undefined;
  const key = join(root, path);
  const known = ends.get(key);
  if (known?.size === stats.size) return known;
  const bytes = readInside(root, path, COPY_LIMIT);
  const found: CopyEnd = { end: 0, lastLsn: 0, whole: true };
  for (const batch of readBatches(bytes)) {
    if (!('lines' in batch)) continue;
    found.end = batch.end;
    found.lastLsn = batch.lsn + batch.lines.length - 1;
  }
  found.whole = found.end === bytes.length;
  remember(key, { ...found, size: bytes.length });
  return found;
}

function remember(key: string, end: CopyEnd & { size: number }): void {
  if (ends.size > 1000) ends.clear();
  ends.set(key, end);
}

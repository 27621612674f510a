/**
 * Every write that must survive goes through this file, so that there is one place to read about fsync and one list of
 * the moments at which a crash matters.
 *
 * D1 A reader sees the old file or the new one, never a part (P6): written beside the target, then renamed.
 * D2 With `sync`, content and name are on disk when the promise resolves: fdatasync of the file, fsync of its folder.
 */
import { closeSync, fdatasyncSync, fsyncSync, openSync } from 'node:fs';
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { open, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/**
 * The crash harness (test/crash) preloads a module that puts a function here; it is called at each named moment and may
 * end the process. Nothing in the product sets it.
 */
type FaultHook = (point: string) => void;
const hook = (globalThis as { __lazarusFaultPoint?: FaultHook }).__lazarusFaultPoint;

/** Marks a durable boundary: `<what>.before-write`, `.after-write`, `.before-sync`, `.after-sync`, `.before-rename`, ... */
export const faultPoint: FaultHook = hook ?? (() => {});

/**
 * Of this process. A pid alone comes again: in a container every life of a node may have the same one. Of the time, ns
 * since boot, the last 32 bits: as good as chance, and node:crypto is slow to load (sha256.ts).
 */
const startedAt = (process.hrtime.bigint() & 0xffffffffn).toString(16).padStart(8, '0');
const processToken = `${process.pid}-${startedAt}`;
let temporaryCounter = 0;

/** Names of files that are being written; a leading dot keeps them out of every glob, and start-up removes leftovers. */
export function temporaryName(path: string): string {
  temporaryCounter += 1;
  return join(dirname(path), `.${basename(path)}.${processToken}.${temporaryCounter}.tmp`);
}

/** Whether this is what another process of ours was writing when it was killed (cells/leftovers.ts). */
export function isLeftover(name: string): boolean {
  const token = /^\..+\.(\d+-[0-9a-f]{8})\.\d+\.tmp$/.exec(name)?.[1];
  return token !== undefined && token !== processToken;
}

export interface WriteWholeOptions {
  /** fsync content and folder before resolving (D2). */
  sync: boolean;
  mode?: number;
  /** Name used for the fault points. */
  what?: string;
  /** Asked in the same synchronous turn as the rename; false: the file that is there stays. */
  onlyIf?: () => boolean;
}

/**
 * Replaces `path` as a whole (D1). Throws what the file system throws; then the old file still stands. False when `onlyIf`
 * said no.
 */
export async function writeWhole(
  path: string,
  data: string | Uint8Array,
  { sync, mode = 0o644, what = 'file', onlyIf }: WriteWholeOptions,
): Promise<boolean> {
  const temporary = temporaryName(path);
  faultPoint(`${what}.before-write`);
  const handle = await open(temporary, 'wx', mode);
  try {
    try {
      await handle.writeFile(data);
      faultPoint(`${what}.after-write`);
      if (sync) {
        await handle.datasync();
        faultPoint(`${what}.after-sync`);
      }
    } finally {
      await handle.close();
    }
    faultPoint(`${what}.before-rename`);
    if (onlyIf === undefined) await rename(temporary, path);
    else if (onlyIf()) renameSync(temporary, path);
    else {
      await unlink(temporary);
      return false;
    }
    faultPoint(`${what}.after-rename`);
  } catch (error) {
    await unlink(temporary).catch(() => undefined); // best effort: the write's own error is the one to report
    throw error;
  }
  if (!sync) return true;
  await syncFolder(dirname(path));
  faultPoint(`${what}.after-folder-sync`);
  return true;
}

/** As `writeWhole` with `sync`, for the few places where a write must stand before the next line of a synchronous turn. */
export function writeWholeSync(path: string, data: string, what: string): void {
  const temporary = temporaryName(path);
  faultPoint(`${what}.before-write`);
  const fd = openSync(temporary, 'wx', 0o644);
  try {
    try {
      writeFileSync(fd, data);
      faultPoint(`${what}.after-write`);
      fdatasyncSync(fd);
      faultPoint(`${what}.after-sync`);
    } finally {
      closeSync(fd);
    }
    faultPoint(`${what}.before-rename`);
    renameSync(temporary, path);
    faultPoint(`${what}.after-rename`);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  syncFolderSync(dirname(path));
  faultPoint(`${what}.after-folder-sync`);
}

/** Makes names in a folder durable. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export function syncFolderSync(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

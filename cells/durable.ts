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

let temporaryCounter = 0;

/** Names of files that are being written; a leading dot keeps them out of every glob, and start-up removes leftovers. */
export function temporaryName(path: string): string {
  temporaryCounter += 1;
  return join(dirname(path), `.${basename(path)}.${process.pid}.${temporaryCounter}.tmp`);
}

export interface WriteWholeOptions {
  /** fsync content and folder before resolving (D2). */
  sync: boolean;
  mode?: number;
  /** Name used for the fault points. */
  what?: string;
}

/** Replaces `path` as a whole (D1). Throws what the file system throws; then the old file still stands. */
export async function writeWhole(
  path: string,
  data: string | Uint8Array,
  { sync, mode = 0o644, what = 'file' }: WriteWholeOptions,
): Promise<void> {
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
    await rename(temporary, path);
    faultPoint(`${what}.after-rename`);
  } catch (error) {
    await unlink(temporary).catch(() => undefined); // best effort: the write's own error is the one to report
    throw error;
  }
  if (!sync) return;
  await syncFolder(dirname(path));
  faultPoint(`${what}.after-folder-sync`);
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

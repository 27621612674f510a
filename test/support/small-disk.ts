/** A file system of a few MB in memory, for tests that fill it; needs the right to mount. */
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, writeSync } from 'node:fs';

/** Why none can be mounted; null: it is. Unmount with `unmount`. */
export function mountSmallDisk(folder: string, size: string): string | null {
  if (process.platform !== 'linux') return `on ${process.platform}`;
  try {
    const how = ['-t', 'tmpfs', '-o', `size=${size}`, 'none', folder];
    execFileSync('mount', how, { stdio: 'pipe' });
    return null;
  } catch (error) {
    return error instanceof Error ? error.message.trim() : String(error);
  }
}

export function unmount(folder: string): void {
  execFileSync('umount', [folder]);
}

/** To the last byte. */
export function fillUp(path: string): void {
  const fd = openSync(path, 'w');
  try {
    for (let size = 1 << 20; size >= 1; size >>= 1) writeWhileRoom(fd, Buffer.alloc(size));
  } finally {
    closeSync(fd);
  }
}

function writeWhileRoom(fd: number, block: Buffer): void {
  try {
    while (writeSync(fd, block) > 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
}

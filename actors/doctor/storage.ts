/** The missions folder: whether it can be had, what it lies on, and how long a durable write takes there. */
import {
  fdatasyncSync,
  mkdtempSync,
  openSync,
  closeSync,
  readFileSync,
  realpathSync,
} from 'node:fs';
import { rmSync, statSync, statfsSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { missionsLayout } from '../../cells/layout.ts';
import { syncFolderSync } from '../../cells/durable.ts';
import { needed, ok, warn } from './check.ts';
import type { Probe } from './check.ts';

export function storageProbes(missionsDir: string, because: string): Probe[] {
  return [
    { group: 'missions', name: 'folder', look: () => lookAtFolder(missionsDir, because) },
    { group: 'missions', name: 'file system', look: () => lookAtFileSystem(missionsDir) },
    { group: 'missions', name: 'durable write', look: () => lookAtSync(missionsDir) },
    { group: 'missions', name: 'free space', look: () => lookAtSpace(missionsDir) },
  ];
}

const OTHER = 'name another folder: --missions DIR';

function lookAtFolder(missionsDir: string, because: string) {
  const stats = statSync(missionsDir, { throwIfNoEntry: false });
  const name = `${missionsDir} (${because})`;
  if (stats !== undefined && !stats.isDirectory()) return needed(`${name} is not a folder`, OTHER);
  try {
    inProbeFolder(missionsDir, () => undefined);
  } catch (error) {
    const what = stats === undefined ? 'cannot be made' : 'cannot be written to';
    return needed(`${name} ${what}: ${codeOf(error)}`, fixFor(error, missionsDir));
  }
  return ok(stats === undefined ? `${name} can be made` : `${name} can be written to`);
}

function fixFor(error: unknown, missionsDir: string): string {
  if (codeOf(error) !== 'EACCES') return OTHER;
  return `sudo install -d -o $USER ${missionsDir}   or ${OTHER}`;
}

/** Kinds that keep what was synced, and whose locks hold between processes. */
const SOUND = new Set(['ext2', 'ext3', 'ext4', 'xfs', 'btrfs', 'zfs', 'f2fs', 'bcachefs', 'apfs']);
const UNSOUND: readonly [RegExp, string][] = [
  [/^(tmpfs|ramfs)$/, 'it is gone when the machine restarts'],
  [/^overlay$/, 'it is gone with the container: use a volume'],
  [
    /^(nfs|cifs|smb|9p|ceph|fuse\.(sshfs|glusterfs|s3))/,
    'locks and syncs over a network may not hold',
  ],
  [/^(vfat|exfat|msdos)$/, 'it has no permissions and no journal of its own'],
];

function lookAtFileSystem(missionsDir: string) {
  const mount = mountOf(realpathSync(nearestThere(missionsDir)));
  if (mount === null) return ok('its kind cannot be asked for here');
  const detail = `${mount.kind} on ${mount.point}`;
  const problem = UNSOUND.find(([pattern]) => pattern.test(mount.kind))?.[1];
  if (problem !== undefined) return warn(`${detail}: ${problem}`, OTHER);
  return SOUND.has(mount.kind) ? ok(detail) : warn(`${detail}: a kind nobody tried`, null);
}

/** As proc_pid_mountinfo(5) has it; null where there is none. The last of the mounts on the longest path covers the rest. */
function mountOf(path: string): { point: string; kind: string } | null {
  let text: string;
  try {
    text = readFileSync('/proc/self/mountinfo', 'utf8');
  } catch {
    return null; // not Linux
  }
  let found: { point: string; kind: string } | null = null;
  for (const line of text.split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const point = (before.split(' ')[4] ?? '').replaceAll(/\\(\d{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    const covers = path === point || path.startsWith(point.endsWith('/') ? point : `${point}/`);
    if (point !== '' && covers && point.length >= (found?.point.length ?? 0))
      found = { point, kind: after.split(' ')[0] ?? '' };
  }
  return found;
}

const WRITES = 16;
/** A journal waits for this once a batch. */
const SLOW_MS = 50;

/** Appends as the journal does. */
function lookAtSync(missionsDir: string) {
  try {
    const times = inProbeFolder(missionsDir, timeSyncs).sort((a, b) => a - b);
    const [middle = 0, worst = 0] = [times[times.length >> 1], times.at(-1)];
    const detail = `fdatasync takes ${round(middle)} ms (worst of ${WRITES}: ${round(worst)} ms)`;
    return middle > SLOW_MS
      ? warn(`${detail}: slow`, 'use a disk of its own, or an SSD')
      : ok(detail);
  } catch (error) {
    return needed(`writes cannot be made durable: ${codeOf(error)}`, OTHER);
  }
}

function timeSyncs(folder: string): number[] {
  const fd = openSync(join(folder, 'probe'), 'wx', 0o600);
  try {
    const block = Buffer.alloc(4096, 'x');
    const times = Array.from({ length: WRITES }, () => {
      writeSync(fd, block);
      const before = performance.now();
      fdatasyncSync(fd);
      return performance.now() - before;
    });
    syncFolderSync(folder);
    return times;
  } finally {
    closeSync(fd);
  }
}

const TIGHT_BYTES = 64 << 20;
const LITTLE_BYTES = 1 << 30;

function lookAtSpace(missionsDir: string) {
  const { bavail, bsize, files, ffree } = statfsSync(nearestThere(missionsDir));
  const free = bavail * bsize;
  const detail = `${free >= LITTLE_BYTES ? `${(free / 2 ** 30).toFixed(1)} GiB` : `${Math.floor(free / 2 ** 20)} MiB`} free`;
  if (free < TIGHT_BYTES) return needed(`${detail}: the journal cannot grow`, 'free disk space');
  if (files > 0 && ffree < 10_000) return warn(`${detail}, but only ${ffree} files more`, OTHER);
  return free < LITTLE_BYTES ? warn(detail, 'free disk space') : ok(detail);
}

/** A hidden folder on the same file system, for as long as `work` takes: no node looks at names with a leading dot. */
function inProbeFolder<T>(missionsDir: string, work: (folder: string) => T): T {
  const { own } = missionsLayout(missionsDir);
  const parent = isFolder(own) ? own : nearestThere(missionsDir);
  const folder = mkdtempSync(join(parent, '.lazarus-doctor-'));
  try {
    return work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** It, or the nearest above it that there is: whatever that is, and whether we may see it or not. */
function nearestThere(path: string): string {
  for (let place = path; ; place = dirname(place))
    if (isThere(place) || place === dirname(place)) return place;
}

function isThere(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return true; // not for us to see: the probe that writes there says so
  }
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false; // absent, or not for us to see: the probe that writes says which
  }
}

const round = (ms: number): number => Math.round(ms * 100) / 100;

function codeOf(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  return code ?? (error instanceof Error ? error.message : String(error));
}

/**
 * A missions folder on a file system of a few MB that the test fills and frees: the node must be held while nothing can be
 * written, go on by itself when there is room again, and lose nothing, also when it is killed or started while full.
 * Needs the right to mount; without it the part is skipped, and says so.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readReport } from './report.ts';
import type { Line } from './report.ts';
import { Trial } from './trial.ts';

const SIZE = '6m';
const HELD_WITHIN_MS = 10_000;
const EVENTS = 400;

export type SmallDiskResult =
  { skipped: string } | { skipped: null; trial: Trial; timesHeld: number };

export async function fillTheDisk(root: string): Promise<SmallDiskResult> {
  const disk = join(root, 'small-disk');
  mkdirSync(disk);
  if (process.platform !== 'linux') return { skipped: 'tmpfs is of Linux' };
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${SIZE}`, 'lazarus-crash', disk]);
  if (mounted.status !== 0) return { skipped: `cannot mount: ${String(mounted.stderr).trim()}` };
  try {
    return await onSmallDisk(root, disk);
  } finally {
    spawnSync('umount', ['-l', disk]);
  }
}

async function onSmallDisk(root: string, disk: string): Promise<SmallDiskResult> {
  const missionsDir = join(disk, 'missions');
  const trial = new Trial(root, { upTo: EVENTS, gapMs: 10, inFlight: 4, missionsDir });
  const ballast = join(disk, 'ballast');
  let timesHeld = 0;
  const fill = async (report: string): Promise<void> => {
    await until(report, (line) => line.t === 'ack');
    fillUp(ballast);
    if (await until(report, (line) => line.t === 'shown' && line.state === 'held: journal'))
      timesHeld += 1;
    else trial.violations.push({ kind: 'other', what: 'a full disk did not hold the node' });
  };
  await trial.live({
    torment: async ({ pid, report }) => {
      await fill(report);
      process.kill(pid, 'SIGKILL');
    },
  });
  const tried = await trial.live({ mayFail: true });
  if (tried.how !== 'failed')
    trial.violations.push({ kind: 'other', what: `a start on a full disk: ${tried.how}` });
  rmSync(ballast);
  await trial.live({
    torment: async ({ report }) => {
      await fill(report);
      await sleep(200);
      rmSync(ballast);
    },
  });
  trial.finish();
  return { skipped: null, trial, timesHeld };
}

/** To the last byte. */
function fillUp(path: string): void {
  const fd = openSync(path, 'w');
  try {
    for (let size = 1 << 20; size >= 1; size = size >> 1) writeAll(fd, Buffer.alloc(size));
  } finally {
    closeSync(fd);
  }
}

function writeAll(fd: number, block: Buffer): void {
  try {
    while (writeSync(fd, block) > 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
}

async function until(report: string, isSo: (line: Line) => boolean): Promise<boolean> {
  for (let left = HELD_WITHIN_MS; left > 0; left -= 20) {
    if (readReport(report).some(isSo)) return true;
    await sleep(20);
  }
  return false;
}

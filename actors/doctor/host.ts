/** What this machine and its user give every process: Node, /proc, limits, a clock. */
import { mkdtempSync, readFileSync, rmSync, watch } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasProc } from '../proc-fs.ts';
import { asRoot, missing, needed, ok, warn } from './check.ts';
import type { Probe } from './check.ts';
import { firstLine, run } from './probe.ts';

/** The oldest Node that runs TypeScript as it is. */
const OLDEST_NODE = [24, 12] as const;
/** Files and watches for some thousand cells; below it large folders are in for trouble. */
const ENOUGH_FILES = 4096;
const ENOUGH_WATCHES = 65_536;
const ENOUGH_INSTANCES = 64;
/** This program is younger than that. */
const BORN_AT = Date.UTC(2026, 0, 1);

export function hostProbes({ nodePid }: { nodePid: number | null }): Probe[] {
  return [
    { group: 'host', name: 'node', look: lookAtNode },
    { group: 'host', name: 'proc', look: lookAtProc },
    { group: 'host', name: 'open files', look: () => lookAtFiles(nodePid) },
    { group: 'host', name: 'file watches', look: lookAtWatches },
    { group: 'host', name: 'clock', look: lookAtClock },
  ];
}

function lookAtNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const isOld = major < OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor < OLDEST_NODE[1]);
  const detail = `${process.version}, ${process.execPath}`;
  return isOld ? needed(detail, 'npm ci   (it brings a Node of its own)') : ok(detail);
}

function lookAtProc() {
  if (hasProc) return ok('mounted: what a dead worker left running is found by its mark');
  const detail =
    'no /proc: of what a dead worker left running only its process group can be ended, not what left it';
  const fix = process.platform === 'linux' ? asRoot('mount -t proc proc /proc') : null;
  return warn(detail, fix);
}

/** Of the running node when there is one: it may have been started with other limits than this shell. */
function lookAtFiles(nodePid: number | null) {
  const [limit, whose] =
    nodePid === null
      ? [ownFileLimit(), 'this shell']
      : [fileLimitOf(nodePid) ?? ownFileLimit(), `the node (pid ${nodePid})`];
  if (limit === null) return warn('the limit cannot be read', null);
  const detail = `${limit === Infinity ? 'unlimited' : limit} for ${whose}`;
  if (limit >= ENOUGH_FILES) return ok(detail);
  return warn(`${detail}: few, for many cells`, `ulimit -n ${ENOUGH_FILES * 4}   (before \`up\`)`);
}

function fileLimitOf(pid: number): number | null {
  try {
    const limits = readFileSync(`/proc/${pid}/limits`, 'utf8');
    const soft = /^Max open files\s+(\d+|unlimited)/m.exec(limits)?.[1];
    return soft === undefined ? null : soft === 'unlimited' ? Infinity : Number(soft);
  } catch {
    return null; // gone, or no /proc: the caller has another way
  }
}

function ownFileLimit(): number | null {
  // Newer than the types that we have.
  const report = process.report as typeof process.report & { excludeNetwork?: boolean };
  const before = report.excludeNetwork ?? false;
  report.excludeNetwork = true; // it would look up names
  const { userLimits } = report.getReport() as { userLimits?: { open_files?: { soft: unknown } } };
  report.excludeNetwork = before;
  const soft = userLimits?.open_files?.soft;
  return soft === 'unlimited' ? Infinity : typeof soft === 'number' ? soft : null;
}

function lookAtWatches() {
  const folder = mkdtempSync(join(tmpdir(), 'lazarus-doctor-'));
  try {
    watch(folder).close();
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException;
    return missing(`no file can be watched (${code}): changes are found by the slow rescan`, MORE);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const watches = inotifyLimit('max_user_watches');
  const instances = inotifyLimit('max_user_instances');
  if (watches === null || instances === null) return ok('watching works');
  const detail = `watching works; ${watches} watches, ${instances} instances for this user`;
  const isEnough = watches >= ENOUGH_WATCHES && instances >= ENOUGH_INSTANCES;
  return isEnough ? ok(detail) : warn(`${detail}: few, for many cells`, MORE);
}

const MORE = asRoot(
  `sysctl fs.inotify.max_user_watches=${ENOUGH_WATCHES * 8} fs.inotify.max_user_instances=512`,
);

function inotifyLimit(name: string): number | null {
  try {
    return Number(readFileSync(`/proc/sys/fs/inotify/${name}`, 'utf8'));
  } catch {
    return null; // not Linux
  }
}

async function lookAtClock() {
  const now = new Date();
  if (now.getTime() < BORN_AT)
    return warn(`it says ${now.toISOString()}, which is past`, asRoot('timedatectl set-ntp true'));
  const kept = await run(['timedatectl', 'show', '--property=NTPSynchronized', '--value']);
  const answer = kept.kind === 'ended' && kept.code === 0 ? firstLine(kept.out) : '';
  if (answer === 'no')
    return warn(`${now.toISOString()}; it is not synchronised`, asRoot('timedatectl set-ntp true'));
  const how = answer === 'yes' ? 'synchronised' : 'whether it is synchronised, nobody says here';
  return ok(`${now.toISOString()}; ${how}`);
}

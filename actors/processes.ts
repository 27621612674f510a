/**
 * Ending processes for sure. A step may fork, leave its process group, detach with setsid and a double fork, or ignore
 * SIGTERM; a killed worker cannot clean up after itself. Two nets catch what is left: the process group, and the marks
 * that every process of ours carries in its environment and hands on (marks.ts).
 *
 * S1 A sweep never touches this process or one above it.
 * S2 Workers are killed before their steps: a worker that saw its step die of our sweep would record that as the step's
 *    own end, and an unknown outcome would pass for a known one (P4).
 * S3 A sweep is over when a whole pass, with all pids that appeared during it, finds nobody (forks race with us) and
 *    nobody in the middle of execve(2), where a process shows no environment for a moment. Those it killed have ended by then:
 *    a process that dies has no environment any more, and for as long as its memory is large still its files and locks.
 * S4 A pid is believed only together with its start time, since the kernel uses pids again.
 *
 * Not caught: a program that leaves its group, detaches *and* clears its environment; a worker's cgroup ends that one with
 * the worker, where the host gives cgroups (cgroup.ts). Without /proc (macOS) there is no sweep, and the result says so.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { invariant } from '../machines/invariant.ts';
import type { Cgroups } from './cgroup.ts';
import { findMarked } from './marks.ts';
import type { Mark } from './marks.ts';
import { hasProc, isRunning, listPids, readStat } from './proc-fs.ts';

export interface SweepOptions {
  /** Pids to leave alone, besides our own line. */
  spare?: ReadonlySet<number>;
  /** Longest time to go on killing. Default 5000. */
  timeoutMs?: number;
}

export type SweepResult =
  | { supported: false }
  | {
      supported: true;
      ended: number;
      pids: number[];
      /** Still there when time was up: in uninterruptible sleep, or not ours to kill. */
      remaining: number[];
    };

/** For processes in the middle of execve(2): long for an exec, even one that waits for the disk. */
const EXEC_PATIENCE_MS = 1000;

/** By which means a whole process tree can be ended on this host; the status says so. */
export type TreeMeans = 'cgroup' | 'environment sweep' | 'process group only';

export function treeMeans(cgroups: Cgroups | null): TreeMeans {
  if (cgroups) return 'cgroup';
  return hasProc ? 'environment sweep' : 'process group only';
}

/** SIGKILLs every process that carries one of the marks, until none is left (S3). */
export async function sweepByMark(
  mark: Mark | readonly Mark[],
  { spare, timeoutMs = 5000 }: SweepOptions = {},
): Promise<SweepResult> {
  const marks: readonly Mark[] = isList(mark) ? mark : [mark];
  if (!hasProc) return { supported: false };
  const killed = new Map<number, number | null>(); // when each was started (S4)
  const begun = performance.now();
  for (let waitMs = 1; ; waitMs = Math.min(waitMs * 2, 50)) {
    const { pids, starting } = await findMarked(marks, spare);
    for (const pid of pids) {
      const startTime = startTimeOf(pid);
      if (sendSignal(pid, 'SIGKILL')) killed.set(pid, startTime);
    }
    const dying = [...killed].filter(([pid, startTime]) => pidAlive(pid, startTime));
    const remaining = [...new Set([...pids, ...dying.map(([pid]) => pid)])];
    const elapsedMs = performance.now() - begun;
    const isClear = remaining.length === 0 && (!starting || elapsedMs >= EXEC_PATIENCE_MS); // S3
    if (isClear || elapsedMs >= timeoutMs)
      return { supported: true, ended: killed.size, pids: [...killed.keys()], remaining };
    await sleep(waitMs);
  }
}

const isList = (mark: Mark | readonly Mark[]): mark is readonly Mark[] => Array.isArray(mark);

/** Clock ticks of CPU time that those with this mark have used so far; null where it cannot be known. */
export async function cpuTicksOf(mark: Mark): Promise<number | null> {
  if (!hasProc) return null;
  const { pids } = await findMarked([mark]);
  return pids.reduce((total, pid) => total + (readStat(pid)?.cpuTicks ?? 0), 0);
}

/** Ends whatever an earlier run of this missions folder's node left behind. At start-up, before any worker is started. */
export function endLeftovers(nodeId: string, options: SweepOptions = {}): Promise<SweepResult> {
  return sweepByMark({ LAZARUS_NODE: nodeId }, options);
}

export interface EndGroupOptions {
  /** Time between SIGTERM and SIGKILL; 0 sends SIGKILL at once. Default 2000. */
  graceMs?: number;
}

/** How long a killed group may take to vanish before we say that it did not. */
const KILL_WAIT_MS = 5000;

/** SIGTERM, grace, SIGKILL to a whole process group. False when something of it was still there at the end. */
export async function endGroup(group: number, options: EndGroupOptions = {}): Promise<boolean> {
  const { graceMs = 2000 } = options;
  if (!groupAlive(group)) return true;
  if (graceMs > 0) {
    signalGroup(group, 'SIGTERM');
    if (await groupGoneWithin(group, graceMs)) return true;
  }
  signalGroup(group, 'SIGKILL');
  return groupGoneWithin(group, KILL_WAIT_MS);
}

/** For processes that were killed and are about to vanish: a sweep meanwhile would find them and have to look again. */
const DYING_MS = 10;

/** SIGKILLs groups and gives their first processes the moment that they need to end; what is left is for a sweep. */
export async function killGroups(groups: readonly number[]): Promise<void> {
  for (const group of groups) signalGroup(group, 'SIGKILL');
  if (!hasProc) return;
  const deadline = performance.now() + DYING_MS;
  const isDying = (): boolean => groups.some((leader) => isRunning(readStat(leader)));
  while (isDying() && performance.now() < deadline) await nextTurn();
}

/** False when there was nobody to signal. */
export function signalGroup(group: number, signal: NodeJS.Signals): boolean {
  invariant(Number.isSafeInteger(group) && group > 1, `not a process group: ${group}`); // -1 is everybody
  return sendSignal(-group, signal);
}

/** How often a deadline is looked at. */
const DEADLINE_TICK_MS = 50;

/**
 * Waits for the end of a process, its deadline or the abort, whichever is first. The deadline is looked at by ticks of the
 * monotonic clock, because a timer of more than 24.8 days would fire at once.
 */
export function firstOf(
  ended: Promise<unknown>,
  timeoutMs: number | null,
  signal: AbortSignal,
): Promise<'ended' | 'timeout' | 'aborted'> {
  return new Promise((resolve) => {
    const deadline = performance.now() + (timeoutMs ?? Infinity);
    const timer = setInterval(() => {
      if (performance.now() >= deadline) settleAs('timeout');
    }, DEADLINE_TICK_MS);
    const onAbort = (): void => settleAs('aborted');
    const settleAs = (cause: 'ended' | 'timeout' | 'aborted'): void => {
      clearInterval(timer);
      signal.removeEventListener('abort', onAbort);
      resolve(cause);
    };
    signal.addEventListener('abort', onAbort);
    void ended.then(() => settleAs('ended'));
    if (signal.aborted) onAbort();
  });
}

/** Whether this very process still runs (S4). Without /proc, or with a null start time, the pid alone must do. */
export function pidAlive(pid: number, startTime: number | null): boolean {
  invariant(Number.isSafeInteger(pid) && pid > 0, `not a pid: ${pid}`);
  if (!hasProc) return exists(pid);
  const stat = readStat(pid);
  return isRunning(stat) && (startTime === null || stat.startTime === startTime);
}

/** Null where it cannot be known, or when there is no such process. */
export function startTimeOf(pid: number): number | null {
  return hasProc ? (readStat(pid)?.startTime ?? null) : null;
}

let setprivPath: string | null | undefined;

/** The host's setpriv, if there is one that works. Found by trying, which takes some ms, once. */
export function setpriv(): string | null {
  if (setprivPath === undefined) setprivPath = findSetpriv();
  return setprivPath;
}

/** For a process whose parent has found it out already. */
export function useSetpriv(path: string | null): void {
  setprivPath = path;
}

/**
 * The argv under `setpriv` with these options (`--pdeathsig KILL`, `--no-new-privs`), or as it is where this host has no
 * setpriv that works. setpriv replaces itself by the program, so the pid stays. The parent death signal comes when the
 * *thread* that spawned ends: spawn from the main thread only.
 */
export function underSetpriv(argv: readonly string[], options: readonly string[]): string[] {
  const path = setpriv();
  return path === null ? [...argv] : [path, ...options, '--', ...argv];
}

function findSetpriv(): string | null {
  if (process.platform !== 'linux') return null;
  for (const folder of (process.env['PATH'] ?? '').split(':').filter(isAbsolute)) {
    const path = join(folder, 'setpriv');
    try {
      accessSync(path, constants.X_OK);
    } catch {
      continue; // not in this folder
    }
    const probe = ['--no-new-privs', '--pdeathsig', 'KILL', '--', 'true'];
    if (spawnSync(path, probe, { stdio: 'ignore', timeout: 5000 }).status === 0) return path;
  }
  return null;
}

async function groupGoneWithin(group: number, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  for (let waitMs = 1; groupAlive(group); waitMs = Math.min(waitMs * 2, 25)) {
    if (performance.now() >= deadline) return false;
    await sleep(waitMs);
  }
  return true;
}

/** Zombies do not count: in a container whose init collects nobody they would stay for ever. */
function groupAlive(group: number): boolean {
  invariant(Number.isSafeInteger(group) && group > 1, `not a process group: ${group}`);
  if (!exists(-group)) return false;
  if (!hasProc) return true;
  return listPids().some((pid) => {
    const stat = readStat(pid);
    return stat?.group === group && isRunning(stat);
  });
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Linux: somebody is there whom we may not signal. macOS says EPERM for a group of nothing but zombies.
    return process.platform === 'linux' && codeOf(error) === 'EPERM';
  }
}

function sendSignal(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    if (codeOf(error) === 'ESRCH' || codeOf(error) === 'EPERM') return false; // gone, or not ours: callers look again
    throw error;
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

/**
 * Ending processes for sure. A step may fork, leave its process group, detach with setsid and a double fork, or ignore
 * SIGTERM; a killed worker cannot clean up after itself. Two nets catch what is left: the process group, and the marks
 * (`LAZARUS_NODE`, `_CELL`, `_AGENT`, `_KEY`) that every process of ours carries in its environment and hands on.
 *
 * S1 A sweep never touches this process or one above it.
 * S2 Workers are killed before their steps: a worker that saw its step die of our sweep would record that as the step's
 *    own end, and an unknown outcome would pass for a known one (P4).
 * S3 A sweep is over when a whole pass, with all pids that appeared during it, finds nobody (forks race with us) and
 *    nobody in the middle of execve(2), where a process shows no environment for a moment.
 * S4 A pid is believed only together with its start time, since the kernel uses pids again.
 *
 * Not caught: a program that leaves its group, detaches *and* clears its environment; only a pid namespace (level_2)
 * holds that one. Without /proc (macOS) there is no sweep, and the result says so.
 */
import assert from 'node:assert';
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  hasProc,
  isRunning,
  listPids,
  mayHaveEnvironment,
  ownLine,
  readEnvironment,
  readStat,
} from './proc-fs.ts';

/** Environment variables and their values; a process is meant when it has all of them. */
export type Mark = Readonly<Record<string, string>>;

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

/** SIGKILLs every process that carries the mark, until none is left (S3). */
export async function sweepByMark(mark: Mark, options: SweepOptions = {}): Promise<SweepResult> {
  const { spare = new Set(), timeoutMs = 5000 } = options;
  const entries = markEntries(mark);
  if (!hasProc) return { supported: false };
  const ended = new Set<number>();
  const begun = performance.now();
  for (let waitMs = 1; ; waitMs = Math.min(waitMs * 2, 50)) {
    const { found, starting } = findMarked(entries, spare);
    for (const pid of found) if (sendSignal(pid, 'SIGKILL')) ended.add(pid);
    const elapsedMs = performance.now() - begun;
    const isClear = found.length === 0 && (!starting || elapsedMs >= EXEC_PATIENCE_MS); // S3
    if (isClear || elapsedMs >= timeoutMs)
      return { supported: true, ended: ended.size, pids: [...ended], remaining: found };
    await sleep(waitMs);
  }
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

/** False when there was nobody to signal. */
export function signalGroup(group: number, signal: NodeJS.Signals): boolean {
  assert(Number.isSafeInteger(group) && group > 1, `not a process group: ${group}`); // -1 is everybody
  return sendSignal(-group, signal);
}

/** Whether this very process still runs (S4). Without /proc, or with a null start time, the pid alone must do. */
export function pidAlive(pid: number, startTime: number | null): boolean {
  assert(Number.isSafeInteger(pid) && pid > 0, `not a pid: ${pid}`);
  if (!hasProc) return exists(pid);
  const stat = readStat(pid);
  return isRunning(stat) && (startTime === null || stat.startTime === startTime);
}

/** Null where it cannot be known, or when there is no such process. */
export function startTimeOf(pid: number): number | null {
  return hasProc ? (readStat(pid)?.startTime ?? null) : null;
}

let setprivPath: string | null | undefined;

/**
 * The argv under `setpriv` with these options (`--pdeathsig KILL`, `--no-new-privs`), or as it is where this host has no
 * setpriv that works. setpriv replaces itself by the program, so the pid stays. The parent death signal comes when the
 * *thread* that spawned ends: spawn from the main thread only.
 */
export function underSetpriv(argv: readonly string[], options: readonly string[]): string[] {
  if (setprivPath === undefined) setprivPath = findSetpriv();
  return setprivPath === null ? [...argv] : [setprivPath, ...options, '--', ...argv];
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

function markEntries(mark: Mark): Buffer[] {
  const entries = Object.entries(mark);
  assert(entries.length > 0, 'a sweep without a mark would end every process');
  return entries.map(([name, value]) => {
    assert(/^LAZARUS_[A-Z]+$/.test(name) && value !== '' && !value.includes('\0'), `mark ${name}`);
    return Buffer.from(`\0${name}=${value}\0`);
  });
}

/** Rounds of looking for pids that appeared while we read; each is as short as the one before it was busy. */
const MAX_ROUNDS = 20;
const STEP_MARK = Buffer.from('\0LAZARUS_KEY=');

/**
 * Everybody with the mark, workers first (S2), and whether somebody is between two programs and must be looked at
 * again (S3).
 */
function findMarked(
  entries: readonly Buffer[],
  spare: ReadonlySet<number>,
): { found: number[]; starting: boolean } {
  const seen = new Set([...ownLine(), ...spare]); // S1
  const workers: number[] = [];
  const steps: number[] = [];
  let starting = false;
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const fresh = listPids().filter((pid) => !seen.has(pid));
    if (fresh.length === 0) break;
    for (const pid of fresh) {
      seen.add(pid);
      const environment = readEnvironment(pid);
      if (environment?.length === 0) starting = mayHaveEnvironment(pid) || starting;
      else if (environment && entries.every((entry) => environment.includes(entry)))
        (environment.includes(STEP_MARK) ? steps : workers).push(pid);
    }
  }
  return { found: [...workers, ...steps], starting };
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
  assert(Number.isSafeInteger(group) && group > 1, `not a process group: ${group}`);
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

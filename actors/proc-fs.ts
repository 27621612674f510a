/**
 * What Linux tells about processes under /proc, read synchronously and in one go: a few ms for 300 processes, and no
 * other work of ours can come between looking and acting. Where there is no /proc (macOS), `hasProc` is false and the
 * callers say that they cannot look; nothing here guesses.
 *
 * A process may end between any two reads: then it is absent, which is an answer and not an error.
 */
import { closeSync, existsSync, openSync, readFileSync, readSync, readdirSync } from 'node:fs';

export const hasProc = process.platform === 'linux' && existsSync('/proc/self/stat');

export interface ProcessStat {
  pid: number;
  /** One letter of proc(5): `R`, `S`, `D`, `T`, `Z` ... */
  state: string;
  parent: number;
  group: number;
  /** Clock ticks since boot. With the pid it names one process: a pid is used again, the pair is not. */
  startTime: number;
  /** Clock ticks of CPU time: its own, and its ended children's that it has collected. */
  cpuTicks: number;
  /** A thread of the kernel itself: it has no program and no environment. */
  isKernel: boolean;
  /** Addresses between which the environment lies; both 0 until execve(2) has laid it out, or when it is not ours. */
  environment: { start: number; end: number };
}

/** Codes that mean: the process is gone, or it is not ours to look at. */
const UNSEEN = new Set(['ENOENT', 'ESRCH', 'EACCES', 'EPERM']);

export function listPids(): number[] {
  return readdirSync('/proc').flatMap((name) => (/^[1-9]\d*$/.test(name) ? [Number(name)] : []));
}

/** Flag of the kernel's include/linux/sched.h. */
const PF_KTHREAD = 0x00200000;

/** Null when the process does not exist. */
export function readStat(pid: number): ProcessStat | null {
  const text = unlessGone(() => readFileSync(`/proc/${pid}/stat`, 'latin1'));
  if (text === null) return null;
  // The name, field 2, is in parentheses and may itself hold spaces and parentheses.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return {
    pid,
    state: fields[0] ?? '?',
    parent: Number(fields[1]),
    group: Number(fields[2]),
    startTime: Number(fields[19]),
    cpuTicks: sum(fields.slice(11, 15)),
    isKernel: (Number(fields[6]) & PF_KTHREAD) !== 0,
    environment: { start: Number(fields[47]), end: Number(fields[48]) },
  };
}

/** Of a process's first thread, ms since it was made: on a processor, and ready to run but kept waiting for one. */
export interface Scheduling {
  ranMs: number;
  waitedMs: number;
}

/** Null when the process does not exist, or the kernel keeps no such account. */
export function readScheduling(pid: number): Scheduling | null {
  const text = unlessGone(() => readFileSync(`/proc/${pid}/schedstat`, 'latin1'));
  if (text === null) return null;
  const [ranNs, waitedNs] = text.split(' ').map(Number);
  return { ranMs: (ranNs ?? 0) / 1e6, waitedMs: (waitedNs ?? 0) / 1e6 };
}

const sum = (fields: readonly string[]): number =>
  fields.reduce((total, field) => total + Number(field), 0);

/** A zombie has ended; only its exit status waits to be collected. */
export function isRunning(stat: ProcessStat | null): stat is ProcessStat {
  return stat !== null && stat.state !== 'Z' && stat.state !== 'X';
}

/** This process and everything above it, up to init. */
export function ownLine(): Set<number> {
  const line = new Set<number>();
  let pid = process.pid;
  while (pid > 0 && !line.has(pid)) {
    line.add(pid);
    pid = readStat(pid)?.parent ?? 0;
  }
  return line;
}

/** An environment larger than this is looked at only up to here. The kernel's own bound is a quarter of the stack. */
const MAX_ENVIRONMENT = 2 * 1024 * 1024;
const chunk = Buffer.allocUnsafe(64 * 1024);

/**
 * The environment a process was started with, as `\0NAME=value\0NAME=value\0`; null when it is gone or another user's.
 * Empty when it has none: also, for a moment, in the middle of execve(2). The buffer is valid until the next call.
 */
export function readEnvironment(pid: number): Buffer | null {
  const fd = unlessGone(() => openSync(`/proc/${pid}/environ`, 'r'));
  if (fd === null) return null;
  try {
    const length = unlessGone(() => readSync(fd, chunk, 1, chunk.length - 2, null));
    if (length === null) return null;
    if (length === 0) return Buffer.alloc(0);
    chunk[0] = 0;
    chunk[length + 1] = 0;
    if (length < chunk.length - 2) return chunk.subarray(0, length + 2);
    return readRest(fd, Buffer.from(chunk.subarray(0, length + 1)));
  } finally {
    closeSync(fd);
  }
}

/**
 * For a process whose environment was just read as empty: whether that says nothing, because it was in the middle of
 * execve(2). False when it has ended, or truly has none.
 */
export function mayHaveEnvironment(pid: number): boolean {
  const stat = readStat(pid);
  if (!isRunning(stat) || stat.isKernel) return false;
  const { start, end } = stat.environment;
  return end === 0 || start !== end;
}

function readRest(fd: number, start: Buffer): Buffer {
  const parts = [start];
  let total = start.length;
  while (total < MAX_ENVIRONMENT) {
    const length = unlessGone(() => readSync(fd, chunk, 0, chunk.length, null)) ?? 0;
    if (length === 0) break;
    parts.push(Buffer.from(chunk.subarray(0, length)));
    total += length;
  }
  return Buffer.concat([...parts, Buffer.of(0)]);
}

function unlessGone<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (UNSEEN.has(code)) return null;
    throw error;
  }
}

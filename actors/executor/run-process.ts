/**
 * Runs one process of an action: argv and no shell, a session and group of its own, an environment of our making, output to
 * files. Nothing of it is left when the promise settles.
 *
 * P1 Its group is ended, its marks are swept and its control group is emptied *before* anyone hears how it ended.
 * P2 An end is a fact: it ended by itself, at its time limit, at its output limit, or could not be started.
 * P3 An *aborted* process has no end: we cut it off, so what it did is unknown. Rejects with the abort's reason; OUTCOME_UNKNOWN
 *    when it could not be ended.
 * P4 It dies with us, by the kernel's hand where setpriv is there (Linux): nothing runs on while nobody watches.
 */
import { spawn } from 'node:child_process';
import { fstatSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { faultPoint } from '../../cells/durable.ts';
import { hasCode } from '../../cells/inside.ts';
import { sha256 } from '../../cells/sha256.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { Cgroups } from '../cgroup.ts';
import { baseEnvironment } from '../environment.ts';
import { endGroup, firstOf, signalGroup, sweepByMark, underSetpriv } from '../processes.ts';

/** Whose processes these are: the marks by which they are found again. */
export interface ProcessOwner {
  nodeId: string;
  actionId: string;
  /** Unique to what is run. */
  key: string;
  cgroups: Cgroups | null;
}

export interface ProcessRequest {
  argv: readonly string[];
  owner: ProcessOwner;
  timeoutMs: number;
  stdin: number | 'ignore';
  stdout: number;
  stderr: number;
  /** Handed on to ssh alone: where its agent listens. */
  environment?: Record<string, string>;
  maxOutputBytes?: number;
  graceMs?: number;
}

export interface ProcessEnd {
  exit_code: number | null;
  signal: string | null;
  timed_out: boolean;
  /** When we had a hand in the end, or it could not be started. */
  reason: string | null;
}

/** While it runs; what is kept is less. */
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;
const GRACE_MS = 2000;
const LEFTOVER_GRACE_MS = 500;
const TICK_MS = 50;
const REAP_MS = 10_000;

type Ended = Pick<ProcessEnd, 'exit_code' | 'signal'> | { error: unknown };

export async function runProcess(
  request: ProcessRequest,
  signal: AbortSignal,
): Promise<ProcessEnd> {
  signal.throwIfAborted();
  faultPoint('executor.before-spawn');
  const { pid, ended } = start(request);
  faultPoint('executor.after-spawn');
  if (pid === undefined) return refused(request, await ended);
  const limit = watchOutput(pid, request);
  try {
    const cause = await firstOf(ended, request.timeoutMs, signal);
    faultPoint('executor.after-end');
    const end = await settle(pid, ended, request, cause === 'ended');
    if (cause === 'aborted') throw signal.reason; // P3
    const timedOut = cause === 'timeout';
    const late = timedOut ? `ended by us after its ${request.timeoutMs / 1000} s` : null;
    return { ...end, timed_out: timedOut, reason: limit.passed() ?? late };
  } finally {
    limit.stop();
  }
}

/** Ends what an earlier life of ours left of this. The pids that are still there; null where nobody can tell. */
export async function endPredecessor({
  nodeId,
  key,
  cgroups,
}: ProcessOwner): Promise<number[] | null> {
  const swept = await sweepByMark({ LAZARUS_NODE: nodeId, LAZARUS_KEY: key });
  const grouped = (await cgroups?.end(groupName(key))) ?? [];
  return swept.supported ? [...swept.remaining, ...grouped] : null;
}

function start(request: ProcessRequest): { pid: number | undefined; ended: Promise<Ended> } {
  const { owner, stdin, stdout, stderr } = request;
  const group = owner.cgroups?.make(groupName(owner.key)) ?? null;
  const inGroup =
    group === null ? request.argv : [...ENTER, `${group}/cgroup.procs`, ...request.argv];
  const [command = '', ...args] = underSetpriv(inGroup, ['--pdeathsig', 'KILL']); // P4
  try {
    const child = spawn(command, args, {
      cwd: '/',
      env: {
        ...baseEnvironment(),
        ...request.environment,
        LAZARUS_NODE: owner.nodeId,
        LAZARUS_ACTION: owner.actionId,
        LAZARUS_KEY: owner.key,
      },
      detached: true,
      stdio: [stdin, stdout, stderr],
    });
    const ended = new Promise<Ended>((resolve) => {
      child.once('error', (error) => resolve({ error }));
      child.once('exit', (code, name) => resolve({ exit_code: code, signal: name }));
    });
    return { pid: child.pid, ended };
  } catch (error) {
    return { pid: undefined, ended: Promise.resolve({ error }) };
  }
}

/** It goes into its control group by itself, as cgroup.ts says; where that fails, marks must do. */
const ENTER = ['/bin/sh', '-c', 'echo 0 2>/dev/null >"$0"; exec "$@"'];

const groupName = (key: string): string => `run-${sha256(key).slice(0, 24)}`;

/** P2. Nothing ran, so this is a known end; the codes are a shell's. */
function refused({ argv }: ProcessRequest, result: Ended): ProcessEnd {
  const error = 'error' in result ? result.error : new Error('no process was made');
  const why = error instanceof Error ? error.message : String(error);
  const code = hasCode(error, 'ENOENT', 'ENOTDIR') ? 127 : 126;
  const reason = `could not be started: ${argv[0] ?? ''}: ${why}`;
  return { exit_code: code, signal: null, timed_out: false, reason };
}

/** P1. */
async function settle(
  pid: number,
  ended: Promise<Ended>,
  { owner, graceMs = GRACE_MS, argv }: ProcessRequest,
  byItself: boolean,
): Promise<Pick<ProcessEnd, 'exit_code' | 'signal'>> {
  const isGone = await endGroup(pid, { graceMs: byItself ? LEFTOVER_GRACE_MS : graceMs });
  const end = await Promise.race([ended, sleep(REAP_MS, null, { ref: false })]);
  const left = (await endPredecessor(owner)) ?? [];
  if (end !== null && 'exit_code' in end && isGone && left.length === 0) return end;
  const pids = [...new Set([...(isGone ? [] : [pid]), ...left])].join(', ');
  throw new RuntimeError(`${argv[0] ?? ''} ran, but its processes cannot be ended: ${pids}`, {
    code: 'OUTCOME_UNKNOWN',
    details: { key: owner.key },
    hint: 'See what it did, then settle it: `lazarus doubt list`.',
  });
}

/** Kills the group of one that writes too much. */
function watchOutput(pid: number, request: ProcessRequest) {
  const max = request.maxOutputBytes ?? MAX_OUTPUT_BYTES;
  let passed = false;
  const timer = setInterval(() => {
    if ([request.stdout, request.stderr].every((fd) => fstatSync(fd).size <= max)) return;
    passed = true;
    signalGroup(pid, 'SIGKILL');
  }, TICK_MS);
  return {
    stop: (): void => clearInterval(timer),
    passed: (): string | null => (passed ? `ended by us: its output passed ${max} bytes` : null),
  };
}

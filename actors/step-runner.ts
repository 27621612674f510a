/**
 * Runs one step: a process from argv, no shell, in the cell's folder, with an environment of our own making. The same
 * code serves in a worker (level_1) and in the host (level none).
 *
 * R1 A finished step leaves nothing behind: its group is ended and its marks are swept *before* the outcome is written.
 * R2 An outcome is a fact: the step ended by itself, at its time limit, at its output limit, or could not be started
 *    (127 not found, 126 not executable). It is on disk before the promise resolves.
 * R3 An *aborted* step has no outcome. We ended it in the middle of something, so what it did is unknown; writing
 *    "SIGTERM" would make a failure of it that even a `safe` step had to answer for. When it had ended by itself before
 *    the abort took hold, that outcome stands and the abort comes too late.
 * R4 Rejections: the abort's reason; OUTCOME_UNKNOWN when it ran but could not be accounted for; any other RuntimeError
 *    means that it was never started.
 * R5 The step dies with the process that started it, by the kernel's hand where setpriv is there (Linux), and its
 *    output cannot fill the disk.
 */
import { spawn } from 'node:child_process';
import { fstatSync, ftruncateSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { faultPoint } from '../cells/durable.ts';
import { hasCode } from '../cells/inside.ts';
import { RuntimeError } from '../machines/errors.ts';
import { stepEnvironment } from './environment.ts';
import { isFull, patiently } from './patience.ts';
import { endGroup, firstOf, signalGroup, sweepByMark, underSetpriv } from './processes.ts';
import { hashArgv, openAttempt, writeOutcome } from './step-files.ts';
import type { AttemptFiles } from './step-files.ts';
import type { StepOutcome, StepRequest } from './step-request.ts';

export { readOutcome } from './step-files.ts';

export interface RunStepOptions {
  signal: AbortSignal;
  /** The pid is also the process group. `outputBytes` tells, until the promise settles, how much the step has written. */
  onStarted?: (pid: number, outputBytes: () => number) => void;
  /** Bound of each of the two streams, in bytes. Default 64 MiB. */
  maxOutputBytes?: number;
  /** Between SIGTERM and SIGKILL, at the time limit and on abort. Default 2000. */
  graceMs?: number;
}

const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;
const GRACE_MS = 2000;
/** For what the step itself left in its group when it ended. */
const LEFTOVER_GRACE_MS = 500;
/** How often output is looked at. */
const TICK_MS = 50;
/** How long a killed process may stay in the kernel before we say that we do not know. */
const REAP_MS = 10_000;

export async function runStep(request: StepRequest, options: RunStepOptions): Promise<StepOutcome> {
  const { signal, maxOutputBytes = MAX_OUTPUT_BYTES, graceMs = GRACE_MS } = options;
  signal.throwIfAborted();
  const files = await openAttempt(request).catch((error: unknown) => {
    throw notStarted(request, error);
  });
  try {
    const attempt = { files, startedAt: new Date(), signal };
    faultPoint('step.before-spawn');
    const child = start(request, files);
    faultPoint('step.after-spawn');
    if (child.pid === undefined)
      return await record(request, attempt, await refused(request, files, child.ended));
    const watch = watchLimits(child.pid, files, maxOutputBytes);
    try {
      options.onStarted?.(child.pid, () => sizeOf(files));
      const cause = await firstOf(child.ended, request.timeoutMs, signal);
      faultPoint('step.after-end');
      const ended = await settle(
        request,
        child.pid,
        child.ended,
        cause === 'ended' ? null : graceMs,
      );
      if (cause === 'aborted') throw signal.reason;
      const reason = watch.finish();
      const end = { ...ended, timed_out: cause === 'timeout', ...(reason ? { reason } : {}) };
      return await record(request, attempt, end);
    } finally {
      watch.stop();
    }
  } finally {
    files.close();
  }
}

type End = Pick<StepOutcome, 'exit_code' | 'signal'>;
type Ended = End | { error: unknown };

interface Started {
  pid: number | undefined;
  /** Resolves when the process is reaped, or could not be made; never rejects. */
  ended: Promise<Ended>;
}

function start(request: StepRequest, files: AttemptFiles): Started {
  const [command = '', ...args] = underSetpriv(request.run, ['--pdeathsig', 'KILL']); // R5
  try {
    const child = spawn(command, args, {
      cwd: request.cellDir,
      env: stepEnvironment(request, files.attempt),
      detached: true, // a session and process group of its own
      stdio: [files.stdin, files.stdout, files.stderr],
    });
    const ended = new Promise<Ended>((resolve) => {
      child.once('error', (error) => resolve({ error }));
      child.once('exit', (code, signal) => resolve({ exit_code: code, signal }));
    });
    return { pid: child.pid, ended };
  } catch (error) {
    return { pid: undefined, ended: Promise.resolve({ error }) };
  }
}

/** What the operating system says of a program that is not there, and of one that it will not run. */
const NOT_FOUND = ['ENOENT', 'ENOTDIR'];
/** Of a host that has no process, memory or descriptor to spare just now. */
const NO_ROOM = ['EAGAIN', 'ENOMEM', 'EMFILE', 'ENFILE'];
const NOT_EXECUTABLE = ['EACCES', 'EPERM', 'ENOEXEC', 'E2BIG', 'ELOOP', 'ENAMETOOLONG', 'ETXTBSY'];

/** A program that cannot be run is a known end, as in a shell; a host that cannot fork just now is not. */
async function refused(
  request: StepRequest,
  files: AttemptFiles,
  ended: Promise<Ended>,
): Promise<End & Pick<StepOutcome, 'timed_out' | 'reason'>> {
  const result = await ended;
  const error = 'error' in result ? result.error : new Error('no process was made');
  const code = hasCode(error, ...NOT_FOUND) ? 127 : hasCode(error, ...NOT_EXECUTABLE) ? 126 : null;
  if (code === null) throw notStarted(request, error);
  const reason = `cannot run ${request.run[0]}: ${error instanceof Error ? error.message : ''}`;
  writeSync(files.stderr, `lazarus: ${reason}\n`);
  return { exit_code: code, signal: null, timed_out: false, reason };
}

/** R1. Ends the group (with `graceMs` if we are the ones to end the step), reaps the child, sweeps what escaped. */
async function settle(
  request: StepRequest,
  pid: number,
  ended: Promise<Ended>,
  graceMs: number | null,
): Promise<End> {
  const mark = { LAZARUS_NODE: request.nodeId, LAZARUS_KEY: request.key };
  const look = async (): Promise<{ end: Ended | null; left: number[] }> => {
    const groupGone = await endGroup(pid, { graceMs: graceMs ?? LEFTOVER_GRACE_MS });
    const end = await Promise.race([ended, sleep(REAP_MS, null, { ref: false })]);
    const sweep = await sweepByMark(mark);
    return {
      end,
      left: [...(groupGone ? [] : [pid]), ...(sweep.supported ? sweep.remaining : [])],
    };
  };
  const { end, left } = await look().catch((error: unknown) => {
    throw unknown(request, 'its processes cannot be looked at', {}, error);
  });
  if (end && 'exit_code' in end && left.length === 0) return end;
  throw unknown(
    request,
    `its processes cannot be ended: ${[...new Set([pid, ...left])].join(', ')}`,
  );
}

function sizeOf({ stdout, stderr }: AttemptFiles): number {
  return fstatSync(stdout).size + fstatSync(stderr).size;
}

/** Kills the group of a step that writes too much, in its grace periods too. */
function watchLimits(pid: number, { stdout, stderr }: AttemptFiles, maxBytes: number) {
  let passed = false;
  const isOver = (): boolean => [stdout, stderr].some((fd) => fstatSync(fd).size > maxBytes);
  const timer = setInterval(() => {
    if (!isOver()) return;
    passed = true;
    signalGroup(pid, 'SIGKILL');
  }, TICK_MS);
  return {
    stop: (): void => clearInterval(timer),
    /** Cuts what was written too much; says so, or null when all was within the bound. Call when nobody writes. */
    finish: (): string | null => {
      clearInterval(timer);
      if (!passed && !isOver()) return null;
      for (const fd of [stdout, stderr])
        if (fstatSync(fd).size > maxBytes) ftruncateSync(fd, maxBytes);
      const reason = `output passed ${maxBytes} bytes and was cut${passed ? '; the step was ended' : ''}`;
      writeSync(stderr, `\nlazarus: ${reason}\n`);
      return reason;
    },
  };
}

async function record(
  request: StepRequest,
  { files, startedAt, signal }: { files: AttemptFiles; startedAt: Date; signal: AbortSignal },
  end: End & Pick<StepOutcome, 'timed_out' | 'reason'>,
): Promise<StepOutcome> {
  const outcome: StepOutcome = {
    key: request.key,
    argv_sha256: hashArgv(request.run),
    exit_code: end.exit_code,
    signal: end.signal,
    timed_out: end.timed_out,
    started_at: startedAt.toISOString(),
    finished_at: new Date().toISOString(),
    attempt: files.attempt,
    ...(end.reason === undefined ? {} : { reason: end.reason }),
  };
  try {
    // R2. What is known must not become unknown because a disk is full for a while.
    await patiently(() => writeOutcome({ ...request, cellDir: files.cellDir() }, outcome), {
      signal,
      onWait: () => undefined,
    });
    return outcome;
  } catch (error) {
    throw unknown(request, 'its outcome could not be written', { outcome }, error);
  }
}

function notStarted(request: StepRequest, error: unknown): RuntimeError {
  if (error instanceof RuntimeError) return error;
  const why = error instanceof Error ? error.message : String(error);
  return new RuntimeError(`step ${request.taskId}/${request.name} was not started: ${why}`, {
    code: isFull(error) || hasCode(error, ...NO_ROOM) ? 'BUSY' : 'STEP_FAILED',
    retryable: true,
    details: { key: request.key, cellDir: request.cellDir },
    hint: 'See that the cell folder is there and writable and that the host has space, processes and files to spare.',
    cause: error,
  });
}

function unknown(
  request: StepRequest,
  why: string,
  details: Record<string, unknown> = {},
  cause?: unknown,
): RuntimeError {
  return new RuntimeError(`step ${request.taskId}/${request.name} ran, but ${why}`, {
    code: 'OUTCOME_UNKNOWN',
    details: { key: request.key, cellDir: request.cellDir, ...details },
    hint: `See what it did, then settle it: \`lazarus doubt list\`.`,
    cause,
  });
}

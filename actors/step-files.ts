/**
 * The files of one attempt of a step: what it wrote, and how it ended.
 *
 *   artifacts/logs/<task>/<step>.<attempt>.out | .err | .outcome.json          (probes: `<step>.probe.<attempt>...`)
 *
 * F1 An attempt has a number of its own, taken by creating its `.out` exclusively; nothing of an earlier one is reused.
 * F2 An outcome is whole and on disk, with its folder, before anyone hears of it, so that it survives the worker.
 * F3 An outcome is believed only if it is the *newest* attempt's, names the same key and the same argv, and is whole.
 *    A newer attempt without an outcome may have run: then an older outcome says nothing (P4).
 */
import { closeSync, readlinkSync, writeSync } from 'node:fs';
import { encodeName, cellPath } from '../cells/layout.ts';
import {
  hasCode,
  listInside,
  mkdirInside,
  openFolderInside,
  openInside,
  readInside,
  statInside,
  unlinkInside,
  writeWholeInside,
} from '../cells/inside.ts';
import { faultPoint, syncFolder } from '../cells/durable.ts';
import { removeLeftovers } from '../cells/leftovers.ts';
import { sha256 } from '../cells/sha256.ts';
import { RuntimeError } from '../machines/errors.ts';
import { isJsonObject } from '../machines/json.ts';
import type { JsonValue } from '../machines/json.ts';
import type { StepOutcome, StepRequest } from './step-request.ts';

export interface AttemptFiles {
  /** 1-based. */
  attempt: number;
  stdin: number | 'ignore';
  stdout: number;
  stderr: number;
  /** Where the cell's folder is now: people may have renamed it since the step began. */
  cellDir(): string;
  close(): void;
}

/** Names tried when others take attempts of the same step at the same time. */
const MAX_TRIES = 100;

/** Opens the files of the next attempt (F1). */
export async function openAttempt(request: StepRequest): Promise<AttemptFiles> {
  await makeLogFolder(request);
  removeLeftovers(request.cellDir, logFolder(request)); // one agent at a time has a task: whoever wrote here is gone
  let attempt = newestAttempt(request) + 1;
  const stdout = claim(request, () => attempt++);
  attempt -= 1;
  faultPoint('attempt.after-claim');
  const fds = [stdout];
  const close = (): void => fds.splice(0).forEach((fd) => closeSync(fd));
  const cellDir = (): string => presentFolder(request, attempt, stdout);
  try {
    const stderr = openInside(request.cellDir, attemptPath(request, attempt, 'err'), 'ax');
    fds.push(stderr);
    if (request.stdin === undefined)
      return { attempt, stdin: 'ignore', stdout, stderr, cellDir, close };
    const stdin = openInput(request, attempt, request.stdin);
    fds.push(stdin);
    return { attempt, stdin, stdout, stderr, cellDir, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** `artifacts/logs/<task>/<step>.3.out`. Probes and criteria are numbered apart from the step whose name they bear. */
export function attemptPath(
  request: Pick<StepRequest, 'taskId' | 'name' | 'kind'>,
  attempt: number,
  ending: 'out' | 'err' | 'outcome.json',
): string {
  return `${logFolder(request)}/${stem(request)}.${attempt}.${ending}`;
}

export function hashArgv(argv: readonly string[]): string {
  return sha256(JSON.stringify(argv));
}

/** F2. */
export async function writeOutcome(request: StepRequest, outcome: StepOutcome): Promise<void> {
  const path = attemptPath(request, outcome.attempt, 'outcome.json');
  const text = `${JSON.stringify(outcome)}\n`;
  await writeWholeInside(request.cellDir, path, text, { sync: true, what: 'outcome' });
}

/** Outcomes are some 400 bytes; keys are addresses of bounded ids. */
const MAX_OUTCOME_BYTES = 64 * 1024;

/**
 * How the step of this request ended, if that is known (F3). Call it only when everything of an earlier run is gone.
 * A file that is bad, partial, too large or a link counts as none; any other failure to read is thrown.
 */
export async function readOutcome(request: StepRequest): Promise<StepOutcome | null> {
  const outcome = newestOutcome(request);
  const isSame = outcome?.key === request.key && outcome.argv_sha256 === hashArgv(request.run);
  return isSame ? outcome : null;
}

type StepPlace = Pick<StepRequest, 'cellDir' | 'taskId' | 'name' | 'kind'>;

/** How the newest attempt of a step ended, whoever asked for it. */
export function newestOutcome(step: StepPlace): StepOutcome | null {
  const attempt = newestAttempt(step);
  if (attempt === 0) return null;
  const value = readJson(step.cellDir, attemptPath(step, attempt, 'outcome.json'));
  return isOutcome(value) && value.attempt === attempt ? value : null;
}

function readJson(cellDir: string, path: string): JsonValue | undefined {
  try {
    return JSON.parse(readInside(cellDir, path, { maxBytes: MAX_OUTCOME_BYTES }).toString('utf8'));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RuntimeError) return undefined;
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function isOutcome(value: JsonValue | undefined): value is JsonValue & StepOutcome {
  if (!isJsonObject(value)) return false;
  const { exit_code: exitCode, signal } = value;
  const ended =
    (typeof exitCode === 'number' && Number.isSafeInteger(exitCode) && signal === null) ||
    (exitCode === null && typeof signal === 'string' && /^SIG[A-Z0-9]+$/.test(signal));
  return (
    ended &&
    typeof value['key'] === 'string' &&
    typeof value['argv_sha256'] === 'string' &&
    typeof value['timed_out'] === 'boolean' &&
    Number.isSafeInteger(value['attempt']) &&
    isTime(value['started_at']) &&
    isTime(value['finished_at']) &&
    (value['reason'] === undefined || typeof value['reason'] === 'string')
  );
}

function isTime(value: JsonValue | undefined): boolean {
  return typeof value === 'string' && !Number.isNaN(Date.parse(value));
}

function logFolder({ taskId }: Pick<StepRequest, 'taskId'>): string {
  return cellPath.stepLogs(encodeName(taskId));
}

function stem({ name, kind }: Pick<StepRequest, 'name' | 'kind'>): string {
  return kind === 'step' ? encodeName(name) : `${encodeName(name)}.${kind}`;
}

/** Linux tells by an open file where it is; elsewhere, and when the file is gone, the folder is where it was. */
function presentFolder(request: StepRequest, attempt: number, fd: number): string {
  const inCell = `/${attemptPath(request, attempt, 'out')}`;
  try {
    const path = readlinkSync(`/proc/self/fd/${fd}`);
    return path.endsWith(inCell) ? path.slice(0, -inCell.length) : request.cellDir;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return request.cellDir;
    throw error;
  }
}

/** A new folder's name must be durable before an outcome in it can be. */
async function makeLogFolder(request: StepRequest): Promise<void> {
  const path = logFolder(request);
  if (statInside(request.cellDir, path)) return;
  mkdirInside(request.cellDir, path);
  for (const above of ['artifacts/logs', 'artifacts', '']) {
    const folder = openFolderInside(request.cellDir, above);
    try {
      await syncFolder(folder.path);
    } finally {
      folder.close();
    }
  }
}

/** The highest number that any file of this step bears; 0 when it was never tried. */
function newestAttempt(request: StepPlace): number {
  const prefix = `${stem(request)}.`;
  let newest = 0;
  for (const { name } of listInside(request.cellDir, logFolder(request)) ?? []) {
    if (!name.startsWith(prefix)) continue;
    const number = /^([1-9]\d{0,8})\.(out|err|outcome\.json)$/.exec(name.slice(prefix.length))?.[1];
    if (number !== undefined) newest = Math.max(newest, Number(number));
  }
  return newest;
}

function claim(request: StepRequest, nextAttempt: () => number): number {
  for (let tries = 1; ; tries += 1) {
    try {
      return openInside(request.cellDir, attemptPath(request, nextAttempt(), 'out'), 'ax');
    } catch (error) {
      if (!hasCode(error, 'EEXIST') || tries === MAX_TRIES) throw error;
    }
  }
}

/**
 * The step's input as a file without a name. Not a pipe: Node makes socket pairs, which cannot be opened again as
 * /dev/stdin, and the writer would have to live as long as the reader.
 */
function openInput(request: StepRequest, attempt: number, text: string): number {
  const path = `${logFolder(request)}/${stem(request)}.${attempt}.in`;
  const data = Buffer.from(text);
  const writer = openInside(request.cellDir, path, 'wx', 0o600);
  try {
    for (let done = 0; done < data.length;) done += writeSync(writer, data, done);
    return openInside(request.cellDir, path, 'r');
  } finally {
    closeSync(writer);
    unlinkInside(request.cellDir, path);
  }
}

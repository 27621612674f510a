/**
 * The step of a task that is put to a model: asked by the runtime, answered into `artifacts/reports/<task>.md`.
 *
 * M1 An answer is paid for once: the report and then the step's outcome are whole and on disk before anybody hears of them,
 *    and after a crash an outcome that is there is adopted (step-files.ts, F2 and F3). Only a question that was cut off
 *    before its answer came is asked again.
 * M2 A model that cannot be reached is no failure of the task: it waits, and the task's timeout bounds that.
 * M3 The agent's worker must live for the question to be asked and for the answer to count, as for every step.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, fstatSync, readSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { faultPoint } from '../cells/durable.ts';
import { hasCode, mkdirInside, openInside, writeWholeInside } from '../cells/inside.ts';
import { cellPath } from '../cells/layout.ts';
import { reportPath } from '../machines/cell-tasks.ts';
import type { ModelTask } from '../machines/cell-tasks.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { REPORT_SCHEMA, reportAnswer, reportMessages } from '../machines/report-prompt.ts';
import type { ReadArtifact } from '../machines/report-prompt.ts';
import { hashArgv, openAttempt, readOutcome, writeOutcome } from './step-files.ts';
import type { AttemptFiles } from './step-files.ts';
import type { StepOutcome, StepRequest } from './step-request.ts';
import { utf8Text } from './utf8-text.ts';

export interface Question {
  messages: { role: 'system' | 'user' | 'assistant'; content: string }[];
  schema: { id: string; schema: JsonObject };
  maxOutputTokens: number;
  promptVersion: string;
}
export interface Answered {
  content: JsonValue;
  /** Which one answered. */
  model: string;
  attempts: readonly unknown[];
  latencyMs: number;
}
/** Throws RuntimeError; `retryable`: nobody could be asked just now, or answered. */
export type AskModel = (
  question: Question,
  how: { signal: AbortSignal; context: JsonObject },
) => Promise<Answered>;

const PROMPT_VERSION = 'report-1';
const MAX_OUTPUT_TOKENS = 4096;
/** Of what earlier tasks put out: in all, and of one file, in bytes. */
const MAX_GIVEN = 16 << 10;
const MAX_FILE = 8 << 10;
const MAX_FILES = 50;
const WAIT_FIRST_MS = 2000;
const WAIT_MOST_MS = 60_000;

export interface ModelStepHost {
  ask: AskModel;
  /** M3. */
  worker: () => Promise<unknown>;
  /** Nobody can be asked: it waits, until what this returns is called. */
  onWait: (error: RuntimeError) => () => void;
}

/** `isAdopted`: an earlier life had the answer. */
export async function runModelStep(
  request: StepRequest,
  host: ModelStepHost,
  signal: AbortSignal,
): Promise<{ outcome: StepOutcome; isAdopted: boolean }> {
  await host.worker();
  const known = await readOutcome(request);
  if (known) return { outcome: known, isAdopted: true }; // M1
  const startedAt = new Date();
  const answered = await askPatiently(request, host, signal);
  faultPoint('model-step.after-answer');
  const answer = reportAnswer(answered.content);
  if (answer?.outcome !== 'done')
    throw new RuntimeError(
      `${answered.model} says that it cannot be done: ${answer?.report.slice(0, 500) ?? 'no report'}`,
      { code: 'MODEL_DECLINED', hint: 'Give the task what is missing, then `lazarus task retry`.' },
    );
  const outcome = await keep(request, { answered, report: answer.report, startedAt });
  await host.worker();
  return { outcome, isAdopted: false };
}

/** M2. */
async function askPatiently(
  request: StepRequest,
  { ask, onWait }: ModelStepHost,
  signal: AbortSignal,
): Promise<Answered> {
  const { cellId, agentId, taskId, key } = request;
  const task = JSON.parse(request.stdin ?? '{}') as ModelTask;
  const mark = `data-${randomBytes(9).toString('hex')}`;
  const question: Question = {
    messages: reportMessages(task, readArtifacts(request.cellDir, task), mark),
    schema: { id: 'report', schema: REPORT_SCHEMA },
    maxOutputTokens: MAX_OUTPUT_TOKENS,
    promptVersion: PROMPT_VERSION,
  };
  const context = { for: 'task', cell_id: cellId, agent_id: agentId, task_id: taskId, key };
  for (let waitMs = WAIT_FIRST_MS; ; waitMs = Math.min(WAIT_MOST_MS, waitMs * 2)) {
    try {
      return await ask(question, { signal, context });
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof RuntimeError) || !error.retryable) throw error;
      const goOn = onWait(error);
      try {
        await sleep(waitMs, undefined, { signal });
      } finally {
        goOn();
      }
    }
  }
}

/** M1. */
async function keep(
  request: StepRequest,
  { answered, report, startedAt }: { answered: Answered; report: string; startedAt: Date },
): Promise<StepOutcome> {
  const files = await openAttempt(request);
  try {
    noteAnswer(files, answered);
    const folder = files.cellDir();
    const path = `${cellPath.artifacts}/${reportPath(request.taskId)}`;
    const text = report.endsWith('\n') ? report : `${report}\n`;
    mkdirInside(folder, path.slice(0, path.lastIndexOf('/')));
    await writeWholeInside(folder, path, text, { sync: true, what: 'report' });
    faultPoint('model-step.after-report');
    const outcome: StepOutcome = {
      key: request.key,
      argv_sha256: hashArgv(request.run),
      exit_code: 0,
      signal: null,
      timed_out: false,
      started_at: startedAt.toISOString(),
      finished_at: new Date().toISOString(),
      attempt: files.attempt,
    };
    await writeOutcome({ ...request, cellDir: folder }, outcome);
    return outcome;
  } finally {
    files.close();
  }
}

/** For people: who answered, beside the raw answer. */
function noteAnswer(files: AttemptFiles, { content, model, attempts, latencyMs }: Answered): void {
  writeSync(files.stdout, `${JSON.stringify(content, null, 2)}\n`);
  const seconds = (latencyMs / 1000).toFixed(1);
  writeSync(files.stderr, `answered by ${model} after ${seconds} s, ${attempts.length} attempts\n`);
}

function readArtifacts(cellDir: string, { dependencies }: ModelTask): ReadArtifact[] {
  const read: ReadArtifact[] = [];
  let room = MAX_GIVEN;
  for (const { id, artifacts } of dependencies)
    for (const path of artifacts.slice(0, MAX_FILES)) {
      const one = readArtifact(cellDir, path, Math.min(room, MAX_FILE));
      room -= Buffer.byteLength(one.text ?? '');
      read.push({ path, taskId: id, ...one });
    }
  return read.slice(0, MAX_FILES);
}

function readArtifact(
  cellDir: string,
  path: string,
  room: number,
): Pick<ReadArtifact, 'text' | 'note'> {
  const inside = path.startsWith(`${cellPath.artifacts}/`) ? path : `${cellPath.artifacts}/${path}`;
  let fd: number;
  try {
    fd = openInside(cellDir, inside, 'r');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return { text: null, note: 'it is not there' };
    if (error instanceof RuntimeError) return { text: null, note: error.message };
    throw error;
  }
  try {
    const { size } = fstatSync(fd);
    const buffer = Buffer.alloc(Math.max(0, Math.min(size, room)));
    const bytes = buffer.subarray(0, readSync(fd, buffer, 0, buffer.length, 0));
    const isText = !bytes.includes(0);
    const text = isText ? utf8Text(bytes, { isCut: size > bytes.length }) : undefined;
    if (text === undefined) return { text: null, note: `${size} bytes, not text` };
    if (bytes.length === size) return { text, note: null };
    return { text, note: `the first ${bytes.length} of ${size} bytes` };
  } finally {
    closeSync(fd);
  }
}

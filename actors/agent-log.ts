/**
 * `logs/<agent>.log`: for people, never read back. The host appends to it after a step has ended, because a worker may
 * write only to `artifacts/`. One write per step, so that lines of two writers do not mix; bounded by keeping one
 * older file beside it.
 */
import { closeSync, fstatSync, readSync, renameSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { faultPoint } from '../cells/durable.ts';
import { hasCode, mkdirInside, openFolderInside, openInside } from '../cells/inside.ts';
import { cellPath, encodeName } from '../cells/layout.ts';
import { RuntimeError } from '../machines/errors.ts';
import { attemptPath } from './step-files.ts';
import type { StepOutcome, StepRequest } from './step-request.ts';

/** Most of a step's output that goes into the log, in bytes; errors have the first claim on half of it. */
const MAX_TAIL = 4096;
/** Beyond this size the log becomes `<agent>.log.1`, in place of the one before. */
const MAX_LOG_BYTES = 16 * 1024 * 1024;

/** Appends time, step, attempt, end and the last lines of output. Host side: see "What a worker may write". */
export async function appendAgentLog(request: StepRequest, outcome: StepOutcome): Promise<void> {
  const path = cellPath.agentLog(encodeName(request.agentId));
  const text = Buffer.from(`${describe(request, outcome)}\n${outputTail(request, outcome)}`);
  mkdirInside(request.cellDir, dirname(path));
  const fd = openInside(request.cellDir, path, 'a');
  try {
    faultPoint('agent-log.before-write');
    writeSync(fd, text); // O_APPEND: one write is one piece
    faultPoint('agent-log.after-write');
    if (fstatSync(fd).size > MAX_LOG_BYTES) rotate(request.cellDir, path);
  } finally {
    closeSync(fd);
  }
}

function describe(request: StepRequest, outcome: StepOutcome): string {
  const what = request.kind === 'step' ? '' : `${request.kind} of `;
  const end = outcome.signal === null ? `exit ${outcome.exit_code}` : `ended by ${outcome.signal}`;
  const why = [outcome.timed_out ? 'timed out' : null, outcome.reason ?? null].filter(Boolean);
  const name = `${what}${request.taskId}/${request.name}`;
  const line = `${outcome.finished_at} ${name} attempt ${outcome.attempt}: ${end}`;
  return printable(why.length === 0 ? line : `${line} (${why.join('; ')})`).replaceAll('\n', ' ');
}

function outputTail(request: StepRequest, outcome: StepOutcome): string {
  const errors = tail(request, outcome, 'err', MAX_TAIL / 2);
  const rest = MAX_TAIL - Buffer.byteLength(errors);
  return tail(request, outcome, 'out', rest) + errors;
}

/** The last whole lines of a stream within the bound, each marked with the stream's name. */
function tail(
  request: StepRequest,
  outcome: StepOutcome,
  stream: 'out' | 'err',
  max: number,
): string {
  const { text, cut } = readEnd(
    request.cellDir,
    attemptPath(request, outcome.attempt, stream),
    max,
  );
  const lines = printable(text).split('\n');
  if (lines.at(-1) === '') lines.pop();
  if (cut && lines.length > 1) lines.shift(); // its beginning is missing
  const kept: string[] = [];
  let room = max;
  for (const line of lines.reverse()) {
    const marked = `  ${stream}| ${line}\n`;
    room -= Buffer.byteLength(marked);
    if (room < 0) break;
    kept.unshift(marked);
  }
  const last = lines[0]; // reversed: too long to stand whole, so its end stands for it; 3 bytes a character at most
  if (kept.length === 0 && last !== undefined && max > 100)
    return `  ${stream}| \u{2026}${last.slice(-Math.floor((max - 16) / 3))}\n`;
  return kept.join('');
}

function readEnd(cellDir: string, path: string, max: number): { text: string; cut: boolean } {
  let fd: number;
  try {
    fd = openInside(cellDir, path, 'r');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return { text: '', cut: false }; // the step may tidy up after itself
    if (error instanceof RuntimeError)
      return { text: `(unreadable: ${error.message})`, cut: false };
    throw error;
  }
  try {
    const { size } = fstatSync(fd);
    const buffer = Buffer.alloc(Math.min(size, max));
    const length = readSync(fd, buffer, 0, buffer.length, Math.max(0, size - max));
    return { text: buffer.toString('utf8', 0, length), cut: size > max };
  } finally {
    closeSync(fd);
  }
}

/** Escape sequences in a step's output shall not reach the terminal of whoever reads the log. */
function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return text.replaceAll('\r\n', '\n').replace(/[\0-\x08\x0b-\x1f\x7f-\x9f]/g, '\u{fffd}');
}

function rotate(cellDir: string, path: string): void {
  const folder = openFolderInside(cellDir, dirname(path));
  try {
    renameSync(join(folder.path, basename(path)), join(folder.path, `${basename(path)}.1`));
  } finally {
    folder.close();
  }
}

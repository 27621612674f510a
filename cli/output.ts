/** What a verb says and how it ends: results on standard output, errors as `Error:` and `Try:` on standard error. */
import { stripVTControlCharacters } from 'node:util';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonValue } from '../machines/json.ts';
import { escapeUnseen } from '../machines/plain-text.ts';

/** Exit statuses: done, failed, usage or invalid input. */
export const DONE = 0;
export const FAILED = 1;
export const MISUSED = 2;

export interface Flags {
  json?: boolean;
  missions?: string;
}

/** One JSON document, or lines for people. */
export function show(flags: Flags, result: JsonValue, lines: () => string[]): void {
  if (flags.json) return print(escapeUnseen(JSON.stringify(result, null, 2)));
  for (const line of lines()) print(line);
}

/** One line. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

const INVALID: readonly string[] = ['INVALID_ARGUMENT', 'AMBIGUOUS_ID', 'FILE_INVALID'];

/** Tells what went wrong and returns the exit status. With --json the error is the one document. */
export function tell(error: unknown, { json = false }: { json?: boolean } = {}): number {
  const { message, code, hint, retryable } = describe(error);
  process.stderr.write(`Error: ${printable(message)}\n`);
  if (hint !== null) process.stderr.write(`Try: ${printable(hint)}\n`);
  if (json) print(JSON.stringify({ error: { code, message, hint, retryable } }, null, 2));
  return INVALID.includes(code) ? MISUSED : FAILED;
}

function describe(error: unknown): {
  message: string;
  code: string;
  hint: string | null;
  retryable: boolean;
} {
  if (error instanceof RuntimeError) {
    const { message, code, hint = null, retryable } = error;
    return { message, code, hint, retryable };
  }
  const { message, code = 'INTERNAL' } =
    error instanceof Error ? (error as NodeJS.ErrnoException) : { message: String(error) };
  // The operating system's own words, where it is its error; else a defect, with the place for the report.
  const stack = error instanceof Error && code === 'INTERNAL' ? (error.stack ?? '') : '';
  const hint =
    code === 'INTERNAL'
      ? `Report this with the place: ${stack.split('\n')[1]?.trim() ?? 'unknown'}`
      : (HINTS[code] ?? null);
  return { message, code, hint, retryable: false };
}

const HINTS: Record<string, string> = {
  EACCES: 'Run the command as the user who runs the node, or name another folder with --missions.',
  ENOSPC: 'Free disk space.',
  EROFS: 'Name a folder that can be written to with --missions.',
};

/**
 * Names and messages come from files that anyone may write: nothing of them may steer a terminal, or hide or turn around what
 * stands beside it.
 */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  const plain = stripVTControlCharacters(text).replace(/[\0-\x08\x0b-\x1f\x7f-\x9f]/g, '\u{fffd}');
  return escapeUnseen(plain);
}

/**
 * `config/executor.json` of the runtime folder, read and checked: what is wrong with it is told with its place and its line.
 *
 * E1 "Unreadable" is never "empty" (P6): only a file that is not there says nothing.
 * E2 Whoever can write the file has commands run as us. One that everybody can write to is refused.
 */
import { statSync } from 'node:fs';
import { EMPTY_EXECUTOR_CONFIG } from '../machines/executor-config.ts';
import type { ExecutorConfig } from '../machines/executor-config.ts';
import { executorFindings } from '../machines/executor-rules.ts';
import { RuntimeError } from '../machines/errors.ts';
import { readConfigBytes } from './config-place.ts';
import { lineOfPointer, parseJsonObject } from './parse-json.ts';
import type { Problem } from './parse-json.ts';
import { sha256 } from './sha256.ts';
import { validate } from './validate.ts';

export interface ExecutorFile {
  config: ExecutorConfig;
  /** Of its text; null: there is no file. */
  sha256: string | null;
}

/** Throws RuntimeError FILE_INVALID with every problem of the file (`details.problems`). */
export function readExecutorFile(file: string): ExecutorFile {
  const bytes = read(file);
  if (bytes === null) return { config: EMPTY_EXECUTOR_CONFIG, sha256: null };
  refuseWritable(file);
  const parsed = parseJsonObject(bytes);
  if (!parsed.ok) throw invalid(file, parsed.problems);
  const { text } = parsed;
  const checked = validate('executor', parsed.value, { text, path: file });
  if (!checked.ok) throw invalid(file, checked.problems);
  const findings = executorFindings(checked.value);
  const problems = findings.map((found) => ({
    ...found,
    line: lineOfPointer(text, found.pointer),
  }));
  if (problems.length > 0) throw invalid(file, problems);
  const given: Partial<ExecutorConfig> = checked.value; // it fits the schema
  return { config: { ...EMPTY_EXECUTOR_CONFIG, ...given }, sha256: sha256(text) };
}

function read(file: string): Uint8Array | null {
  try {
    return readConfigBytes(file);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw invalid(file, [{ pointer: '', line: 1, message, fix: 'Make it a file we can read.' }]);
  }
}

/** E2. */
function refuseWritable(file: string): void {
  const stats = statSync(file, { throwIfNoEntry: false });
  if (stats === undefined || (stats.mode & 0o002) === 0) return;
  const message = 'everybody on this host can write to the file, and so have commands run as us';
  throw invalid(file, [{ pointer: '', line: 1, message, fix: `chmod o-w ${file}` }]);
}

function invalid(file: string, problems: readonly Problem[]): RuntimeError {
  const lines = problems.map(
    ({ line, pointer, message, fix }) =>
      `  ${file}:${line} ${pointer === '' ? '' : `${pointer} `}${message}. ${fix}`,
  );
  return new RuntimeError([`${file} was not accepted:`, ...lines].join('\n'), {
    code: 'FILE_INVALID',
    details: { file, problems: [...problems] },
    hint: `Mend ${file}; docs/executor.md has every key.`,
  });
}

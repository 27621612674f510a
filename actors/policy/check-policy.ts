/** A policy file looked through before it is in force: what is wrong with it, and what its rules do not do. */
import { existsSync } from 'node:fs';
import { lineOfPointer } from '../../cells/parse-json.ts';
import type { Problem } from '../../cells/parse-json.ts';
import { readPolicyFile } from '../../cells/policy-file.ts';
import type { ReadPolicy } from '../../cells/policy-file.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { policyWarnings } from '../../machines/policy-warnings.ts';
import type { Policy } from '../../machines/remediation.ts';

export interface CheckedPolicy {
  file: string;
  exists: boolean;
  /** It is not taken while there are any. */
  problems: Problem[];
  /** It is taken, and does not do what one may think. */
  warnings: Problem[];
  /** Null: it is no good. Without a file: the defaults. */
  read: ReadPolicy | null;
}

/** Throws what the file system throws, but for a file that is not there. */
export function checkPolicy(file: string): CheckedPolicy {
  const exists = existsSync(file);
  const reading = readPolicyFile(file);
  if (!reading.ok) return { file, exists, problems: reading.problems, warnings: [], read: null };
  const { policy, sha256, text = '' } = reading;
  const warnings = warningsOf(policy, text);
  return { file, exists, problems: [], warnings, read: { policy, sha256 } };
}

export const warningsOf = (policy: Policy, text: string): Problem[] =>
  policyWarnings(policy)
    .map((warning) => ({ ...warning, line: lineOfPointer(text, warning.pointer) }))
    .sort((a, b) => a.line - b.line);

/** Throws RuntimeError FILE_INVALID with all that is wrong; `isNeeded`: INVALID_ARGUMENT when there is none. */
export function requirePolicy(file: string, isNeeded: boolean): ReadPolicy {
  const { exists, problems, read } = checkPolicy(file);
  if (!exists && isNeeded) throw missingPolicy(file);
  if (read !== null) return read;
  throw new RuntimeError(
    [`the policy cannot be used:`, ...problemLines(file, problems)].join('\n'),
    {
      code: 'FILE_INVALID',
      details: { file, problems },
      hint: `lazarus policy validate ${file}`,
    },
  );
}

export const missingPolicy = (file: string): RuntimeError =>
  new RuntimeError(`there is no policy ${file}`, {
    code: 'INVALID_ARGUMENT',
    hint: 'Name the file; cells/schemas/policy.json and docs/policy.md say what may stand in it.',
  });

export const problemLines = (file: string, problems: readonly Problem[]): string[] =>
  problems.map(
    ({ line, pointer, message, fix }) =>
      `  ${file}:${line} ${pointer === '' ? '' : `${pointer} `}${message}. ${fix}`,
  );

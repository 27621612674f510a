/**
 * The policy file of a homelab: what the guardrails and the gate go by. Without one the defaults hold. One that cannot be
 * understood is never read as something else: it has problems, and whoever asked keeps what held before (P6). What it approves
 * no person is asked about: one that everybody can write to is refused.
 */
import { hash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { DEFAULT_POLICY } from '../machines/remediation.ts';
import type { Policy } from '../machines/remediation.ts';
import { policyOf, policyRules } from '../machines/remediation-policy.ts';
import { hasCode } from './inside.ts';
import { lineOfPointer, parseJsonObject } from './parse-json.ts';
import type { Problem } from './parse-json.ts';
import { validate } from './validate.ts';

export const MAX_POLICY_BYTES = 256 * 1024;

export interface ReadPolicy {
  policy: Policy;
  /** Of the file's text; null: there is no file, and the defaults hold. */
  sha256: string | null;
}

/** `text`: as the file stands; left out: there is none. */
export type PolicyReading =
  ({ ok: true; text?: string } & ReadPolicy) | { ok: false; problems: Problem[] };

export const DEFAULTS: ReadPolicy = { policy: DEFAULT_POLICY, sha256: null };

/** Throws what the file system throws, but for a file that is not there. */
export function readPolicyFile(file: string): PolicyReading {
  let bytes: Buffer;
  try {
    const stats = statSync(file);
    if (!stats.isFile()) return problem('it is no file', 'Put a file there, or remove it.');
    if ((stats.mode & 0o002) !== 0)
      return problem('everybody on this host can write to it', `chmod o-w ${file}`);
    if (stats.size > MAX_POLICY_BYTES)
      return problem(`it has more than ${MAX_POLICY_BYTES} bytes`, 'Make it smaller.');
    bytes = readFileSync(file);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return { ok: true, ...DEFAULTS };
    throw error;
  }
  const parsed = parseJsonObject(bytes, MAX_POLICY_BYTES);
  if (!parsed.ok) return parsed;
  const { value, text } = parsed;
  const checked = validate('policy', value, { text, path: file });
  if (!checked.ok) return { ok: false, problems: checked.problems };
  const problems = policyRules(value).map((rule) => ({
    ...rule,
    line: lineOfPointer(text, rule.pointer),
  }));
  if (problems.length > 0) return { ok: false, problems };
  return { ok: true, policy: policyOf(value), sha256: hash('sha256', bytes), text };
}

const problem = (message: string, fix: string): PolicyReading => ({
  ok: false,
  problems: [{ pointer: '', line: 1, message, fix }],
});

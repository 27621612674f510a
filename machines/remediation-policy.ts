/**
 * What a person wrote in the policy file, as the guardrails and the gate use it. The file's form is checked by its schema
 * (cells/policy-file.ts); what a schema cannot say is checked here, with JSON pointers.
 */
import { isJsonObject } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';
import { DEFAULT_POLICY } from './remediation.ts';
import type { Policy } from './remediation.ts';

export interface PolicyProblem {
  /** JSON pointer to the offending place. */
  pointer: string;
  message: string;
  fix: string;
}

/** Each key by itself: what is left out is as in `DEFAULT_POLICY`. Only for content that fits schema and rules. */
export function policyOf(content: JsonObject): Policy {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the schema's promise
  const given = content as Partial<Policy>;
  return {
    ...DEFAULT_POLICY,
    ...Object.fromEntries(Object.entries(given).filter(([key]) => Object.hasOwn(KEYS, key))),
    rate_limits: { ...DEFAULT_POLICY.rate_limits, ...given.rate_limits },
    blast_radius: { ...DEFAULT_POLICY.blast_radius, ...given.blast_radius },
  };
}
const KEYS: Record<keyof Policy, true> = {
  always_human_hosts: true,
  always_notify_types: true,
  confidence_floor: true,
  closed_windows: true,
  open_windows: true,
  rate_limits: true,
  blast_radius: true,
  approval_expires: true,
};

/** What is wrong with content that fits its schema. */
export function policyRules(content: JsonObject): PolicyProblem[] {
  return (['closed_windows', 'open_windows'] as const).flatMap((key) => {
    const windows = content[key];
    if (!Array.isArray(windows)) return [];
    return windows.flatMap((window, i) => windowRules(window, `/${key}/${i}`));
  });
}

function windowRules(window: JsonValue, pointer: string): PolicyProblem[] {
  if (!isJsonObject(window)) return [];
  const { from, to, timezone } = window;
  const problems: PolicyProblem[] = [];
  if (typeof from === 'string' && from === to)
    problems.push({
      pointer: `${pointer}/to`,
      message: `the window begins and ends at ${from}`,
      fix: 'For a whole day write from 00:00 to 24:00.',
    });
  if (typeof timezone === 'string' && !isTimeZone(timezone))
    problems.push({
      pointer: `${pointer}/timezone`,
      message: `'${timezone.slice(0, 60)}' is no time zone this runtime knows`,
      fix: 'Name one as IANA does, for example Europe/Warsaw or UTC.',
    });
  return problems;
}

export function isTimeZone(name: string): boolean {
  try {
    Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** The first of the globs that fits the name; undefined: none does. */
export const matchingGlob = (globs: readonly string[], name: string): string | undefined =>
  globs.find((glob) => globMatches(glob, name));

/**
 * `*` stands for any characters, `?` for one; case does not count, so that `Chelsty-HA` does not slip through `chelsty-*`.
 * Never goes back further than the last `*`: no pattern takes more than length times length steps.
 */
export function globMatches(glob: string, name: string): boolean {
  const [pattern, text] = [Array.from(glob.toLowerCase()), Array.from(name.toLowerCase())];
  let [p, t, star, mark] = [0, 0, -1, 0];
  while (t < text.length) {
    if (pattern[p] === '*') [star, mark, p] = [p, t, p + 1];
    else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === text[t]))
      [p, t] = [p + 1, t + 1];
    else if (star >= 0) [p, mark, t] = [star + 1, mark + 1, mark + 1];
    else return false;
  }
  while (pattern[p] === '*') p += 1;
  return p === pattern.length;
}

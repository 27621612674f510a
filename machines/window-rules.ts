/** What is wrong with windows of a policy that fit its schema, with JSON pointers. When one is open: gate-windows.ts. */
import { isJsonObject } from './json.ts';
import type { JsonValue } from './json.ts';

export interface PolicyProblem {
  /** JSON pointer to the offending place. */
  pointer: string;
  message: string;
  fix: string;
}

export const windowsRules = (windows: JsonValue | undefined, pointer: string): PolicyProblem[] =>
  Array.isArray(windows)
    ? windows.flatMap((window, i) => windowRules(window, `${pointer}/${i}`))
    : [];

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

function isTimeZone(name: string): boolean {
  try {
    Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

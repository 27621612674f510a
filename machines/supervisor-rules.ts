/**
 * What is wrong with the supervisor's part of a policy that fits its schema: above all, that a rule which approves says by name
 * what it approves.
 */
import { globMatches } from './globs.ts';
import { isJsonObject } from './json.ts';
import type { JsonValue } from './json.ts';
import { ACTING_REMEDIES, DRIFT_KINDS, REMEDIES } from './supervision.ts';
import { windowsRules } from './window-rules.ts';
import type { PolicyProblem } from './window-rules.ts';

const MAY = ACTING_REMEDIES.join(', ');
const OTHERS = REMEDIES.filter((remedy) => !ACTING_REMEDIES.includes(remedy));

export function supervisorRules(supervisor: JsonValue | undefined): PolicyProblem[] {
  const rules = isJsonObject(supervisor) ? supervisor['rules'] : undefined;
  if (!Array.isArray(rules)) return [];
  return rules.flatMap((rule, i) => {
    if (!isJsonObject(rule)) return [];
    const pointer = `/supervisor/rules/${i}`;
    return [
      ...windowsRules(rule['windows'], `${pointer}/windows`),
      ...unknownNames(rule['drifts'], DRIFT_KINDS, `${pointer}/drifts`),
      ...unknownNames(rule['actions'], REMEDIES, `${pointer}/actions`),
      ...modeRules(rule).map((problem) => ({ ...problem, pointer: pointer + problem.pointer })),
    ];
  });
}

function modeRules({ mode, actions, after, windows }: Record<string, JsonValue>): PolicyProblem[] {
  const approves = mode === 'approve' || mode === 'earn';
  const problems = approves ? approvingRules(actions) : [];
  if (after !== undefined && mode !== 'earn')
    problems.push({
      pointer: '/after',
      message: '"after" says when an approval is earned, and this rule is not of the mode earn',
      fix: 'Remove it, or set "mode": "earn".',
    });
  if (windows !== undefined && !approves)
    problems.push({
      pointer: '/windows',
      message: '"windows" say when a rule approves, and this one never does',
      fix: 'Remove them, or set "mode": "approve".',
    });
  return problems;
}

function approvingRules(actions: JsonValue | undefined): PolicyProblem[] {
  if (!Array.isArray(actions) || actions.length === 0)
    return [
      {
        pointer: actions === undefined ? '' : '/actions',
        message: 'a rule that approves has to name the actions that it approves',
        fix: `Write "actions": a list of some of ${MAY}.`,
      },
    ];
  return actions.flatMap((glob, i) => {
    if (typeof glob !== 'string') return [];
    const other = OTHERS.find((name) => globMatches(glob, name));
    if (other === undefined) return [];
    return [
      {
        pointer: `/actions/${i}`,
        message: `'${glob.slice(0, 60)}' stands for ${other} too, which no policy may approve`,
        fix: `Name only ${MAY} here, and let a rule of the mode propose see to the rest.`,
      },
    ];
  });
}

function unknownNames(
  globs: JsonValue | undefined,
  known: readonly string[],
  pointer: string,
): PolicyProblem[] {
  if (!Array.isArray(globs)) return [];
  return globs.flatMap((glob, i) => {
    if (typeof glob !== 'string' || known.some((name) => globMatches(glob, name))) return [];
    const message = `'${glob.slice(0, 60)}' fits none of ${known.join(', ')}`;
    return [{ pointer: `${pointer}/${i}`, message, fix: 'Write one of these, or a glob of them.' }];
  });
}

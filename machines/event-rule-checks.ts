/** What is wrong with `event_rules` of a policy that fits its schema, and what in them does not do what their writer may think. */
import type { EventRule } from './event-rules.ts';
import { globsCover } from './globs.ts';
import { isJsonObject } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';
import type { PolicyProblem } from './window-rules.ts';

export function eventRuleProblems(rules: JsonValue | undefined): PolicyProblem[] {
  if (!Array.isArray(rules)) return [];
  return rules.flatMap((rule, i) =>
    isJsonObject(rule)
      ? problemsOf(rule).map((problem) => ({
          ...problem,
          pointer: `/event_rules/${i}${problem.pointer}`,
        }))
      : [],
  );
}

function problemsOf(rule: JsonObject): PolicyProblem[] {
  const { action, cooldown, service, unless_open: unless, unless_younger: younger } = rule;
  const problems: PolicyProblem[] = [];
  if (action === undefined && cooldown === undefined && unless === undefined)
    problems.push({
      pointer: '',
      message: 'this rule says nothing but whom it fits',
      fix: 'Write "action", "cooldown" or "unless_open", or remove the rule.',
    });
  if (service !== undefined && action === undefined)
    problems.push({
      pointer: '/service',
      message: '"service" says whom the action is about, and here the model decides',
      fix: 'Write "action" too, or remove it: what a model proposes is about the event\'s own service.',
    });
  if (younger !== undefined && unless === undefined)
    problems.push({
      pointer: '/unless_younger',
      message: '"unless_younger" says how long "unless_open" holds, and there is none',
      fix: 'Write "unless_open" too, or remove it.',
    });
  return problems;
}

/** Comparisons of globs; rules that would take more are not looked through to the end. */
const MOST = 500_000;

export function eventRuleWarnings(rules: readonly EventRule[]): PolicyProblem[] {
  const budget = { left: MOST };
  const covers = (wide: string[] | undefined, narrow: string[] | undefined): boolean =>
    globsCover(wide, narrow, budget);
  return rules.flatMap((rule, i): PolicyProblem[] => {
    const taker = rules.findIndex(
      (earlier, j) =>
        j < i &&
        covers(earlier.types, rule.types) &&
        covers(earlier.hosts, rule.hosts) &&
        covers(earlier.services, rule.services),
    );
    if (taker < 0) return [];
    return [
      {
        pointer: `/event_rules/${i}`,
        message: `this rule never gets a turn: ${ruleName(rules, taker)} before it fits whatever it fits`,
        fix: 'Put it before that one, or remove it: the first rule that fits decides.',
      },
    ];
  });
}

/** As people find it in its list. */
export const ruleName = (rules: readonly { name?: string }[], i: number): string =>
  rules[i]?.name === undefined ? `rule ${i}` : `rule ${i} ('${rules[i].name}')`;

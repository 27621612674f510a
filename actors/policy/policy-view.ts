/**
 * The policy as people are shown it: each value with the line that says so, the rules in their order in words, what classes of
 * actions have earned, and what is wrong with the file.
 */
import type { RuntimeLayout } from '../../cells/runtime-layout.ts';
import { lineOfPointer } from '../../cells/parse-json.ts';
import { readPolicyFile } from '../../cells/policy-file.ts';
import { earnedBy, hasEarned } from '../../machines/autonomy.ts';
import type { Ledger } from '../../machines/autonomy.ts';
import { DEFAULT_YOUNGER } from '../../machines/event-rules.ts';
import type { EventRule } from '../../machines/event-rules.ts';
import { asJsonObject, isJsonObject } from '../../machines/json.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { ACTING, fitsOccasion } from '../../machines/policy-warnings.ts';
import { matchingGlob } from '../../machines/globs.ts';
import type { Policy } from '../../machines/remediation.ts';
import { DEFAULT_EARNED_AFTER } from '../../machines/supervision.ts';
import type { SupervisorRule } from '../../machines/supervision.ts';
import { earnedView } from '../supervisor/autonomy-file.ts';
import { warningsOf } from './check-policy.ts';

export interface InForce {
  /** What a running node goes by; null: none runs, and the file's will hold. */
  policy: Policy | null;
  sha256: string | null;
  ledger: Ledger;
}

/** Throws what the file system throws, but for a file that is not there. */
export function policyView(layout: RuntimeLayout, { policy: holds, sha256, ledger }: InForce) {
  const { policyFile: file } = layout;
  const reading = readPolicyFile(file);
  const { text = '' } = reading.ok ? reading : {};
  const policy = reading.ok ? reading.policy : holds;
  const source = { text, file, content: JSON.parse(text === '' ? '{}' : text) as JsonValue };
  const isBehind = reading.ok && holds !== null && reading.sha256 !== sha256;
  return {
    file,
    sha256: reading.ok ? reading.sha256 : null,
    exists: !reading.ok || reading.sha256 !== null,
    problems: reading.ok ? [] : reading.problems.map(asJsonObject),
    warnings: reading.ok ? warningsOf(reading.policy, text).map(asJsonObject) : [],
    in_force: inForce(reading.ok, holds, isBehind),
    values: policy === null ? [] : valuesOf(policy, source),
    event_rules: policy === null ? [] : eventRulesOf(policy, source),
    rules: policy === null ? [] : rulesOf(policy, source),
    earned: policy === null ? [] : earnedOf(policy, ledger),
  } satisfies JsonObject;
}

function inForce(isGood: boolean, holds: Policy | null, isBehind: boolean): string {
  if (holds === null)
    return isGood
      ? 'no node runs: it holds at the next start'
      : 'no node runs: at the next start everything needs a person, and nothing runs';
  if (!isGood) return 'the file is no good: what held before it holds';
  return isBehind ? 'the file was changed, and is taken over in a moment' : 'it is in force';
}

interface Source {
  text: string;
  /** That text, parsed. */
  content: JsonValue;
  file: string;
}

/** `file:line`, or `default`. */
function originOf(pointer: string, { text, content, file }: Source): string {
  if (valueAt(content, pointer) === undefined) return 'default';
  return `${file}:${lineOfPointer(text, pointer)}`;
}

function valueAt(root: JsonValue, pointer: string): JsonValue | undefined {
  let value: JsonValue | undefined = root;
  for (const name of pointer.split('/').slice(1)) {
    if (Array.isArray(value)) value = value[Number(name)];
    else if (isJsonObject(value) && Object.hasOwn(value, name)) value = value[name];
    else return undefined;
  }
  return value;
}

/** What has members of its own is told member by member. */
const GROUPS: readonly string[] = [
  '/rate_limits',
  '/blast_radius',
  '/supervisor',
  '/supervisor/limits',
];

/** Told in words. */
const RULES: readonly string[] = ['/event_rules', '/supervisor/rules'];

function valuesOf(policy: Policy, source: Source): JsonObject[] {
  const told = (value: JsonValue, pointer: string): JsonObject[] => {
    if (RULES.includes(pointer)) return [];
    if (isJsonObject(value) && (pointer === '' || GROUPS.includes(pointer)))
      return Object.entries(value).flatMap(([name, member]) => told(member, `${pointer}/${name}`));
    const key = pointer.slice(1).replaceAll('/', '.');
    return [{ key, value, origin: originOf(pointer, source) }];
  };
  return told(asJsonObject(policy), '');
}

function eventRulesOf({ event_rules: rules }: Policy, source: Source): JsonObject[] {
  const isOwn = valueAt(source.content, '/event_rules') !== undefined;
  return rules.map((rule, i) => ({
    name: rule.name ?? `event_rules/${i}`,
    origin: isOwn ? originOf(`/event_rules/${i}`, source) : 'default',
    words: eventRuleWords(rule),
    rule: asJsonObject(rule),
  }));
}

const list = (globs: readonly string[] | undefined, before: string): string =>
  globs === undefined ? '' : `${before}${globs.join(' or ')}`;

function eventRuleWords(rule: EventRule): string {
  const { types, services, hosts, action, service, cooldown, unless_open: unless } = rule;
  const what = `${types.join(', ')}${list(services, ' of ')}${list(hosts, ' on ')}`;
  const whom = service === undefined ? '' : ` of ${service}`;
  const then = {
    notify: 'a person is told',
    restart: `a restart${whom} is proposed to a person`,
    redeploy: `a redeploy${whom} is proposed to a person`,
    ignore: 'nothing is done',
    model: 'the model decides',
  }[action ?? 'model'];
  const quiet = cooldown === undefined ? '' : `, then it is quiet for ${cooldown} s`;
  const younger = rule.unless_younger ?? DEFAULT_YOUNGER;
  return `${what}: ${then}${quiet}${list(unless, `; not within ${younger} s after `)}`;
}

function rulesOf({ supervisor: { rules } }: Policy, source: Source): JsonObject[] {
  return rules.map((rule, i) => ({
    name: nameOf(rule, i),
    mode: rule.mode,
    origin: originOf(`/supervisor/rules/${i}`, source),
    words: ruleWords(rule),
    rule: asJsonObject(rule),
  }));
}

/** As decisions call it. */
const nameOf = ({ name }: SupervisorRule, i: number): string => name ?? `supervisor/rules/${i}`;

function ruleWords({ drifts, actions, hosts, services, mode, after, windows }: SupervisorRule) {
  const what = list(actions, '') || 'whatever is recommended';
  const where = [list(drifts, ' for '), list(services, ' of '), list(hosts, ' on ')].join('');
  const when = windows === undefined ? '' : `, in ${windows.map(windowWords).join(' or ')} only`;
  const then = {
    recommend: 'is only recommended',
    propose: 'is proposed to a person',
    approve: `is approved within the limits${when}`,
    earn: `is proposed until it has helped ${after ?? DEFAULT_EARNED_AFTER} times, then approved within the limits${when}`,
  }[mode];
  return `${what}${where} ${then}`;
}

type Window = NonNullable<SupervisorRule['windows']>[number];
function windowWords({ from, to, days, timezone = 'UTC', hosts, services }: Window): string {
  const where = [...(services ?? []), ...(hosts ?? [])].join(', ');
  const on = where === '' ? '' : ` (${where})`;
  return `${days === undefined ? '' : `${days.join(', ')} `}${from} to ${to} ${timezone}${on}`;
}

/** Those with the newest news first. */
function earnedOf({ supervisor: { rules } }: Policy, ledger: Ledger): JsonObject[] {
  return Object.keys(ledger)
    .toReversed()
    .map((of) => {
      const cut = of.indexOf(' ');
      const [remedy, key] = [of.slice(0, cut), of.slice(cut + 1)];
      const earned = earnedBy(ledger, of);
      const rule = ruleAbout(rules, remedy, key);
      const after = rule?.rule.after ?? DEFAULT_EARNED_AFTER;
      const isEarned = rule?.rule.mode === 'earn' && hasEarned(earned, after);
      return {
        class: of,
        ...earnedView(earned),
        rule: rule?.name ?? null,
        mode: rule?.rule.mode ?? null,
        after: rule?.rule.mode === 'earn' ? after : null,
        has_earned: isEarned,
      };
    });
}

/** The first that may fit, whatever the drift. */
function ruleAbout(rules: readonly SupervisorRule[], remedy: string, key: string) {
  const cut = key.indexOf('/');
  const [host, service] = cut < 0 ? [key, null] : [key.slice(0, cut), key.slice(cut + 1)];
  const occasions = ACTING.filter(
    (one) => one.remedy === remedy && one.isOfHost === (service === null),
  );
  const isNamed = (globs: string[] | undefined, name: string | null): boolean =>
    globs === undefined || (name !== null && matchingGlob(globs, name) !== undefined);
  const i = rules.findIndex(
    (rule) =>
      occasions.some((one) => fitsOccasion(rule, one)) &&
      isNamed(rule.hosts, host) &&
      isNamed(rule.services, service),
  );
  const rule = rules[i];
  return rule && { rule, name: nameOf(rule, i) };
}

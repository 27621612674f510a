/** `lazarus policy ...`: what may be done without a person, checked, tried on what was recorded, and taken back. */
import type { Command } from 'commander';
import { resolve } from 'node:path';
import type { Problem } from '../cells/parse-json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { read, write } from './access.ts';
import { act, CONFIG_OPTION, group, verb } from './command.ts';
import { homelabPlace, RUNTIME_OPTION } from './homelab-place.ts';
import type { PlaceFlags } from './homelab-place.ts';
import { chooseMissions } from './missions.ts';
import { DONE, MISUSED, printable, show } from './output.ts';
import { test } from './policy-test.ts';
import { brief, paint, table } from './terminal.ts';

export function command(): Command {
  return group('policy', 'What may be done to the homelab without a person: see, check, try it.', [
    showing(),
    validating(),
    test(),
    revoking(),
  ]);
}

interface RuleRow {
  name: string;
  origin: string;
  words: string;
}

interface Shown {
  running: boolean;
  file: string;
  exists: boolean;
  in_force: string;
  problems: Problem[];
  warnings: Problem[];
  values: { key: string; value: JsonValue; origin: string }[];
  event_rules: RuleRow[];
  rules: RuleRow[];
  earned: {
    class: string;
    successes: number;
    after: number | null;
    has_earned: boolean;
    revoked: boolean;
    revoked_by: string | null;
    rule: string | null;
  }[];
}

function showing(): Command {
  const looking = verb(
    'show',
    'The policy: each value and where it comes from, its rules in words, what was earned.',
    'lazarus policy show\nlazarus policy show --runtime /opt/homelab --json',
  )
    .option(...RUNTIME_OPTION)
    .option(...CONFIG_OPTION);
  return act<PlaceFlags>(looking, async (_args, flags) => {
    const isNamed = flags.runtime !== undefined || flags.config !== undefined;
    const result = isNamed
      ? await viewOf(flags)
      : await read(chooseMissions(flags.missions), 'policy.show', {});
    const view = result as unknown as Shown;
    show(flags, result, () => viewLines(view));
    return view.problems.length > 0 ? MISUSED : DONE;
  });
}

/** Of a folder that is named: what a node would go by that starts on it. */
async function viewOf(flags: PlaceFlags): Promise<JsonObject> {
  const { layout } = await homelabPlace(flags);
  const [{ policyView }, { ledgerIn }] = await Promise.all([
    import('../actors/policy/policy-view.ts'),
    import('../actors/policy/record-reader.ts'),
  ]);
  const ledger = ledgerIn(layout);
  return { running: false, ...policyView(layout, { policy: null, sha256: null, ledger }) };
}

function viewLines({ file, exists, in_force: holds, ...view }: Shown): string[] {
  const { problems, warnings, values, event_rules: eventRules, rules, earned } = view;
  const short = (origin: string): string => origin.replace(`${file}:`, 'line ');
  const rows = values.map(({ key, value, origin }) => [
    key,
    brief(JSON.stringify(value), 80),
    short(origin),
  ]);
  const said = (list: readonly RuleRow[]): string[] =>
    table(
      ['', '', '', ''],
      list.map(({ name, words, origin }, i) => [
        `${i + 1}.`,
        brief(name, 40),
        brief(words, 200),
        short(origin),
      ]),
    ).slice(1);
  return [
    `${paint('bold', file)}${exists ? '' : ' (there is none: the defaults)'}: ${holds}`,
    ...findings(file, problems, 'red'),
    ...findings(file, warnings, 'yellow'),
    '',
    ...(rows.length > 0 ? table(['SETTING', 'VALUE', 'FROM'], rows) : []),
    '',
    ...(eventRules.length > 0
      ? ['Of events, the first rule that fits decides, before a model:', ...said(eventRules), '']
      : []),
    ...(rules.length > 0
      ? ['Of drifts, the first rule that fits decides:', ...said(rules)]
      : ['No rules: the supervisor recommends, and proposes nothing.']),
    ...(earned.length > 0
      ? ['', 'Earned:', ...table(['', '', ''], earned.map(earnedRow)).slice(1)]
      : []),
  ];
}

function earnedRow(one: Shown['earned'][number]): string[] {
  const { successes, after, has_earned: isEarned, revoked, revoked_by: by, rule } = one;
  const count = after === null ? String(successes) : `${successes} of ${after}`;
  const state = revoked
    ? paint('red', `taken back by ${by ?? '?'}`)
    : isEarned
      ? 'approved'
      : 'asks';
  const byRule = after === null ? 'does not go by it' : state;
  const how = rule === null ? 'no rule fits' : `${byRule} (rule ${rule})`;
  return [brief(one.class, 80), count, revoked ? state : how];
}

const findings = (file: string, problems: readonly Problem[], colour: 'red' | 'yellow') =>
  problems.map(({ line, pointer, message, fix }) =>
    paint(colour, printable(`  ${file}:${line} ${pointer} ${message}. ${fix}`)),
  );

function validating(): Command {
  const checking = verb(
    'validate',
    'Checks a policy file: every problem with its line, and rules that do not do what they say.',
    'lazarus policy validate\nlazarus policy validate new.json',
  )
    .argument('[file]', 'left out: the one of the folder that the homelab shares')
    .option(...RUNTIME_OPTION)
    .option(...CONFIG_OPTION);
  return act<PlaceFlags>(checking, async ([given], flags) => {
    const file =
      given === undefined ? (await homelabPlace(flags)).layout.policyFile : resolve(given);
    const { checkPolicy, missingPolicy } = await import('../actors/policy/check-policy.ts');
    const { exists, problems, warnings } = checkPolicy(file);
    if (!exists && given !== undefined) throw missingPolicy(file);
    const isGood = problems.length === 0;
    const result = { file, exists, ok: isGood, problems, warnings } as unknown as JsonObject;
    show(flags, result, () => [
      ...findings(file, problems, 'red'),
      ...findings(file, warnings, 'yellow'),
      isGood
        ? `${file}: ${exists ? 'good' : 'there is none, and the defaults hold'}${warnings.length > 0 ? `, ${warnings.length} to look at` : ''}`
        : `${file}: not taken while ${problems.length === 1 ? 'this stands' : 'these stand'} in it`,
    ]);
    return isGood ? DONE : MISUSED;
  });
}

function revoking(): Command {
  const taking = verb(
    'revoke',
    'Takes back what a kind of action has earned on a service: a person decides again.',
    'lazarus policy revoke container_restart vps/web',
  )
    .argument('<action>', 'container_restart, redeploy or disk_cleanup')
    .argument('<target>', '<host>/<service>, or <host>');
  return act(taking, async ([remedy = '', target = ''], flags) => {
    const result = await write(chooseMissions(flags.missions), 'policy.revoke', { remedy, target });
    const { class: of, had_successes: had } = result as { class: string; had_successes: number };
    show(flags, result, () => [
      `${brief(of, 200)}: taken back (it had ${had} verified ${had === 1 ? 'success' : 'successes'}); a person decides`,
    ]);
  });
}

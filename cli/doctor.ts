/** `lazarus doctor`: what this host can do, what is missing, and the command that mends it. */
import type { Command } from 'commander';
import { examineHost, isFit } from '../actors/doctor/examine.ts';
import type { Check } from '../actors/doctor/examine.ts';
import { asJsonObject } from '../machines/json.ts';
import { act, CONFIG_OPTION, verb } from './command.ts';
import { configSource, missionsAround } from './config-source.ts';
import type { ConfigFlags } from './config-source.ts';
import { DONE, FAILED, printable, show } from './output.ts';
import { pad, paint } from './terminal.ts';

export function command(): Command {
  const doctor = verb(
    'doctor',
    'What this host can do, what is missing, and the command that mends it.',
    'lazarus doctor',
  ).option(...CONFIG_OPTION);
  return act<ConfigFlags>(doctor, async (_args, flags) => {
    const source = configSource(flags);
    const { dir, because } = missionsAround(flags.missions, source.place);
    const { place, load } = source;
    const environment = process.env;
    const checks = await examineHost({ missionsDir: dir, because, place, load, environment });
    const isGood = isFit(checks);
    const result = { ok: isGood, missions: dir, checks: checks.map(asJsonObject) };
    show(flags, result, () => lines(checks, isGood));
    return isGood ? DONE : FAILED;
  });
}

const STYLES = { ok: 'green', warn: 'yellow', missing: 'red' } as const;

function lines(checks: readonly Check[], isGood: boolean): string[] {
  const width = Math.max(...checks.map(({ name }) => name.length));
  const said: string[] = [];
  let group = '';
  for (const check of checks) {
    if (check.group !== group) said.push(...(group === '' ? [] : ['']), paint('bold', check.group));
    group = check.group;
    const [first = '', ...more] = printable(check.detail).split('\n');
    const indent = ' '.repeat(width + 13);
    said.push(`  ${state(check)} ${pad(check.name, width)}  ${first}`);
    said.push(...more.map((line) => `${indent}${line.trim()}`));
    if (check.fix !== null) said.push(`${indent}${paint('dim', `Try: ${printable(check.fix)}`)}`);
  }
  const verdict = isGood
    ? 'Everything that is needed is here.'
    : 'Something that is needed is missing.';
  return [...said, '', paint(isGood ? 'green' : 'red', verdict)];
}

/** What is missing and needed stands out from what would only be welcome. */
function state({ state: word, needed }: Check): string {
  const text = pad(word, 'missing'.length);
  return needed ? paint(['red', 'bold'], `${text}!`) : `${paint(STYLES[word], text)} `;
}

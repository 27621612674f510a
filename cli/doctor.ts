/** `lazarus doctor`: what this host can do, what is missing, and the command that mends it. */
import type { Command } from 'commander';
import { examineHost, isFit } from '../actors/doctor/examine.ts';
import type { Check } from '../actors/doctor/examine.ts';
import { asJsonObject } from '../machines/json.ts';
import { readNodeFile } from './access.ts';
import { act, CONFIG_OPTION, verb } from './command.ts';
import { configSource, missionsAround } from './config-source.ts';
import type { ConfigFlags } from './config-source.ts';
import { DONE, FAILED, printable, show } from './output.ts';
import { pad, paint } from './terminal.ts';

export function command(): Command {
  const doctor = verb(
    'doctor',
    'What this host can do, what is missing, and the command that mends it.',
    'lazarus doctor\nlazarus doctor --runtime /opt/homelab --redis redis://127.0.0.1:6379',
  )
    .option(...CONFIG_OPTION)
    .option('--runtime [dir]', 'as `lazarus up` would be told')
    .option('--redis <url>', 'as `lazarus up` would be told');
  return act<ConfigFlags>(doctor, async (_args, flags) => {
    const source = configSource(flags);
    const { dir, because } = missionsAround(flags.missions, source.place);
    const { place } = source;
    let loading: ReturnType<typeof source.load> | undefined;
    const load: typeof source.load = () => (loading ??= source.load()); // all checks see the same
    const environment = process.env;
    const node = readNodeFile({ dir, because });
    const running = { runtime: node?.runtime ?? null, redis: node?.redis ?? null };
    const what = { missionsDir: dir, because, place, load, environment, running };
    const checks = await examineHost(what);
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

/** `lazarus reconcile`: a look at what should be and what is, now. A rehearsal needs no node. */
import type { Command } from 'commander';
import { join } from 'node:path';
import type { JsonValue } from '../machines/json.ts';
import { readNodeFile, write } from './access.ts';
import { act, CONFIG_OPTION, verb } from './command.ts';
import { configSource } from './config-source.ts';
import type { ConfigFlags } from './config-source.ts';
import { chooseMissions } from './missions.ts';
import type { Missions } from './missions.ts';
import { show } from './output.ts';
import { brief, paint, table } from './terminal.ts';
import { unknownText } from './unknown-text.ts';

interface Row {
  key: string;
  kind: string;
  because: string;
  recommendation: { event: string; remedy: string };
}

interface Looked {
  dry_run: boolean;
  looked: boolean;
  reason?: string;
  state: string;
  unknown: string[];
  doubt: string | null;
  opened: Row[];
  changed: Row[];
  closed: { key: string; reason: string }[];
  drifts: Row[];
  inventory: { problems?: { file: string; line: number; problem: string; fix: string }[] };
}

type Options = ConfigFlags & { dryRun?: boolean };

export function command(): Command {
  const looking = verb(
    'reconcile',
    'Compares what should be with what is, now.',
    'lazarus reconcile\nlazarus reconcile --dry-run --runtime /opt/homelab',
  )
    .option('--dry-run', 'only say what a look would change; without a node as well')
    .option('--runtime <dir>', 'without a node: the folder shared with the homelab')
    .option('--inventory <dir>', 'without a node: what should run where')
    .option(...CONFIG_OPTION);
  return act<Options>(looking, async (_args, flags) => {
    const dryRun = flags.dryRun === true;
    const missions = chooseMissions(flags.missions);
    const isOwn = flags.runtime !== undefined || readNodeFile(missions) === undefined;
    const result =
      dryRun && isOwn
        ? await rehearse(missions, flags)
        : await write(missions, 'reconcile', { dry_run: dryRun });
    show(flags, result, () => linesOf(result as unknown as Looked));
  });
}

/** Against what the last node left standing. */
async function rehearse(missions: Missions, flags: Options): Promise<JsonValue> {
  const [sources, { runtimeLayout }, { readPolicyFile }] = await Promise.all([
    import('../actors/supervisor/rehearsal.ts'),
    import('../cells/runtime-layout.ts'),
    import('../cells/policy-file.ts'),
  ]);
  const { values } = await configSource(flags).load();
  if (values.runtime_path === 'off') throw sources.noRuntime();
  const layout = runtimeLayout(values.runtime_path);
  return sources.rehearseWithout({
    layout,
    inventory: values.inventory_path ?? join(layout.root, 'inventory'),
    aliases: values.node_aliases,
    policy: readPolicyFile(layout.policyFile),
    missions: missions.dir,
  });
}

function linesOf(looked: Looked): string[] {
  const problems = (looked.inventory.problems ?? []).map(({ file, line, problem, fix }) =>
    paint('yellow', brief(`${file}:${line} ${problem}. ${fix}`, 200)),
  );
  if (!looked.looked)
    return [
      ...problems,
      paint('yellow', `Nothing was found out: ${brief(looked.reason ?? '', 300)}`),
    ];
  const { state, opened, changed, closed, drifts, doubt, dry_run: isDry } = looked;
  const unsaid = unknownText(looked.unknown);
  const rows = [
    ...opened.map((row) => ['+', ...cellsOf(row)]),
    ...changed.map((row) => ['~', ...cellsOf(row)]),
    ...closed.map(({ key, reason }) => ['-', brief(key, 60), '', '', reason]),
  ];
  const [would, is] = isDry ? ['would be', 'Nothing would change'] : ['is', 'Nothing changed'];
  const sum = `${paint('bold', state)}: ${drifts.length} ${drifts.length === 1 ? 'drift' : 'drifts'}`;
  return [
    ...problems,
    [sum, ...unsaid].join('; '),
    ...(doubt === null ? [] : [paint('yellow', brief(doubt, 300))]),
    ...(rows.length === 0
      ? [`${is}.`]
      : [
          `What ${would} new (+), otherwise (~), gone (-):`,
          ...table(['', '', '', '', ''], rows, '').slice(1),
        ]),
  ];
}

const cellsOf = ({ key, kind, because, recommendation }: Row): string[] => [
  brief(key, 60),
  kind,
  recommendation.remedy,
  brief(because, 90),
];

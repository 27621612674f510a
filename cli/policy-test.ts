/** `lazarus policy test`: what another policy would have made of what was recorded. Reads, and touches nothing. */
import type { Command } from 'commander';
import { resolve } from 'node:path';
import { RuntimeError } from '../machines/errors.ts';
import { act, CONFIG_OPTION, verb } from './command.ts';
import { homelabPlace, RUNTIME_OPTION } from './homelab-place.ts';
import type { PlaceFlags } from './homelab-place.ts';
import { show } from './output.ts';
import { brief, paint, table } from './terminal.ts';

type Flags = PlaceFlags & { since: string; policy: string; against?: string; all?: true };

export function test(): Command {
  const testing = verb(
    'test',
    'What another policy would have made of what was recorded; nothing is touched.',
    'lazarus policy test --since 7d --policy new.json\nlazarus policy test --since 2026-11-01 --policy new.json --against old.json',
  )
    .requiredOption('--policy <file>', 'the policy that is tried')
    .option('--since <when>', 'a span (30m, 12h, 7d) or a time (ISO-8601)', '7d')
    .option('--against <file>', 'the policy it is compared with (default: the one of the folder)')
    .option('--all', 'also name what stays as it is')
    .option(...RUNTIME_OPTION)
    .option(...CONFIG_OPTION);
  return act<Flags>(testing, async (_args, flags) => {
    const [{ requirePolicy }, { testPolicy }] = await Promise.all([
      import('../actors/policy/check-policy.ts'),
      import('../actors/policy/policy-test.ts'),
    ]);
    const now = Date.now();
    const since = sinceOf(flags.since, now);
    const place = await homelabPlace(flags);
    const file = resolve(flags.policy);
    const old = flags.against === undefined ? place.layout.policyFile : resolve(flags.against);
    const result = await testPolicy({
      place,
      since,
      now,
      old: { file: old, ...requirePolicy(old, flags.against !== undefined) },
      new: { file, ...requirePolicy(file, true) },
    });
    show(flags, result, () => testLines(result as unknown as Tested, flags.all === true));
  });
}

const UNIT_MS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Epoch ms. Throws RuntimeError INVALID_ARGUMENT. */
function sinceOf(text: string, now: number): number {
  const [, count, unit = ''] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  const at = count === undefined ? Date.parse(text) : now - Number(count) * (UNIT_MS[unit] ?? 0);
  if (Number.isFinite(at) && at <= now) return at;
  throw new RuntimeError(`${JSON.stringify(text)} is no time before now`, {
    code: 'INVALID_ARGUMENT',
    hint: 'Write a span as 30m, 12h or 7d, or a time as 2026-11-01T12:00:00Z.',
  });
}

interface Verdict {
  verdict: string;
  action: string;
  requires_human: boolean;
  because: string;
  approved_at: string | null;
  until: string | null;
  run: { at: string | null; waited_for: string | null; until: string | null } | null;
}
interface Case {
  key: string;
  kind: string;
  at: string;
  recorded: string;
  old: Verdict;
  new: Verdict;
}
type Counts = Record<string, number>;
interface Tested {
  since: string;
  old: { file: string };
  new: { file: string };
  cases: number;
  differ: number;
  counts: { recorded: Counts; old: Counts; new: Counts };
  differences: Case[];
  unchanged: Case[];
  notes: string[];
}

const ROWS: [string, string][] = [
  ['approved', 'approved by the policy'],
  ['proposed', 'proposed to a person'],
  ['recommended', 'recommended only'],
  ['blocked', 'held up until it was over'],
  ['ran_at_once', 'approved, and let run at once'],
  ['ran_later', 'approved, and let run later'],
  ['not_run', 'approved, and not let run'],
];
/** More is in --json. */
const MOST_LINES = 200;

function testLines(tested: Tested, isAll: boolean): string[] {
  const { since, cases, differ, differences, unchanged, notes, counts } = tested;
  if (cases === 0)
    return [`Nothing is on record since ${since}: no drift, no action.`, ...notes.map(noteLine)];
  const rows = ROWS.map(([name, words]) =>
    [words, counts.recorded[name] ?? '', counts.old[name] ?? 0, counts.new[name] ?? 0].map(String),
  );
  const shown = isAll ? [...differences, ...unchanged] : differences;
  const more = shown.length - MOST_LINES;
  return [
    `${cases} ${cases === 1 ? 'case' : 'cases'} since ${since}; ${paint('bold', String(differ))} would have gone otherwise.`,
    `old: ${tested.old.file}`,
    `new: ${tested.new.file}`,
    '',
    ...table(['', 'THEN', 'OLD', 'NEW'], rows),
    ...(shown.length > 0 ? ['', ...caseLines(shown.slice(0, MOST_LINES))] : []),
    ...(more > 0 ? [`  and ${more} more: --json has them`] : []),
    '',
    ...notes.map(noteLine),
  ];
}

const noteLine = (note: string): string => paint('dim', `(${note})`);

function caseLines(cases: readonly Case[]): string[] {
  const rows = cases.map((one) => [
    one.at.slice(0, 19),
    brief(`${one.key}: ${one.kind}`, 60),
    brief(one.recorded, 40),
    brief(verdictWords(one.old), 60),
    brief(verdictWords(one.new), 60),
    brief(one.new.because, 100),
  ]);
  return table(['WHEN', 'WHAT', 'THEN', 'OLD', 'NEW', 'WHY'], rows);
}

function verdictWords({ verdict, action, requires_human: human, ...more }: Verdict): string {
  const { approved_at: approvedAt, until, run } = more;
  const when = approvedAt === null ? '' : ` at ${approvedAt.slice(11, 19)}`;
  const wait = until === null ? '' : ` until ${until.slice(0, 19)}`;
  const person = verdict === 'proposed' && !human ? ', no person needed' : '';
  const ran =
    run === null || run.waited_for === null
      ? ''
      : run.at === null
        ? `; not run: ${run.waited_for}`
        : `; run ${run.at.slice(0, 19)}: ${run.waited_for}`;
  return `${verdict} ${action}${when}${wait}${person}${ran}`;
}

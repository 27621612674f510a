/** `lazarus actions ...`: what is proposed for the homelab, and what a person says to it. */
import type { Command } from 'commander';
import type { ActionLine, ActionView } from '../actors/actions/action-view.ts';
import type { ExpectedEffect } from '../actors/actions/expected-effect.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { actionKey } from '../machines/supervision.ts';
import { read, write } from './access.ts';
import { act, group, verb } from './command.ts';
import { chooseMissions } from './missions.ts';
import { show } from './output.ts';
import type { Flags } from './output.ts';
import { brief, paint, table } from './terminal.ts';

export function command(): Command {
  return group('actions', 'Actions on the homelab: look at them, approve, reject, cancel.', [
    list(),
    showOne(),
    approve(),
    ending('reject', 'Says no to a proposed action.'),
    ending('cancel', 'Takes back an action that does not run yet.'),
    run(),
  ]);
}

const ID = 'action_id: the name of its file without .json';

interface Listed {
  running: boolean;
  executor: string | null;
  frozen: { by: string; reason: string } | null;
  actions: ActionLine[];
}

function list(): Command {
  const listing = verb(
    'list',
    'Actions that are proposed, wait, run, or ended lately.',
    'lazarus actions list\nlazarus actions list --status pending --host vps',
  )
    .option('--status <status>', 'only those: pending, approved, running, held, completed, ...')
    .option('--host <host>', 'only those on this host');
  return act<{ status?: string; host?: string }>(listing, async (_args, flags) => {
    const { status, host } = flags;
    const wanted = { ...(status !== undefined && { status }), ...(host !== undefined && { host }) };
    const result = await read(chooseMissions(flags.missions), 'actions.list', wanted);
    show(flags, result, () => listLines(result as unknown as Listed));
  });
}

function listLines({ actions, executor, frozen, running }: Listed): string[] {
  const head = frozen ? [paint('red', `Frozen by ${frozen.by}: ${frozen.reason}`), ''] : [];
  if (actions.length === 0) return [...head, 'There is no action here.'];
  const rows = actions.map((one) => [
    one.action_id,
    colour(one.status),
    one.type,
    actionKey(one),
    brief(nowOf(one), 70),
    brief(one.description, 70),
  ]);
  const isOff = executor === 'off' && actions.some(({ status }) => status === 'approved');
  return [
    ...head,
    ...table(['ACTION', 'STATUS', 'TYPE', 'WHERE', 'NOW', 'WHY'], rows, ''),
    ...(isOff
      ? ['', 'The executor is off: `lazarus up --executor on` runs what is approved.']
      : []),
    ...restLines(running),
  ];
}

/** Of one that has ended, what was said of it. */
function nowOf({ waits, state, status, reason }: ActionLine): string {
  if (waits !== null) return waits;
  if (state === 'settled') return reason ?? '';
  return state === status ? '' : state;
}

const restLines = (running: boolean): string[] =>
  running ? [] : ['', 'No node runs here: nothing moves until `lazarus up`.'];

function showOne(): Command {
  const showing = verb(
    'show',
    'One action: what it is, what an approval of it names, what came of it.',
    'lazarus actions show plan-vps-web-1790000000',
  ).argument('<id>', ID);
  return act(showing, async ([id = ''], flags) => {
    const result = await read(chooseMissions(flags.missions), 'actions.show', { id });
    const view = result as unknown as Shown;
    show(flags, result, () => [...viewLines(view), ...restLines(view.running)]);
  });
}

type Shown = ActionView & { running: boolean; expected_effect: ExpectedEffect | null };

function viewLines(view: Shown): string[] {
  const { action_id: id, content, approval, run, story } = view;
  const facts: [string, JsonValue | undefined][] = [
    ['what', `${view.type} of ${actionKey(view)}`],
    ['why', view.description],
    ['risk', `${view.risk}${view.requires_human ? ', needs a person' : ''}`],
    ...effectFacts(view.expected_effect),
    ['from', view.origin ?? undefined],
    ['model', content?.['llm_model']],
    ['confidence', content?.['confidence']],
    ['now', view.waits ?? view.state],
    ['until', view.until ?? undefined],
    [
      'approved',
      approval === null ? undefined : `${word(approval, 'by')}, ${word(approval, 'at')}`,
    ],
    ['runs by', run === null ? undefined : `${word(run, 'driver')}, ${word(run, 'via')}`],
    ['reason', view.reason ?? undefined],
    ['names', view.sha256 ?? undefined],
  ];
  const rows = facts.flatMap(([name, value]) =>
    value === undefined || value === '' ? [] : [[name, brief(textOf(value), 160)]],
  );
  const asks = view.status === 'pending' || view.status === 'held';
  return [
    `${paint('bold', `Action ${id}`)}  ${colour(view.status)}`,
    ...table(['', ''], rows).slice(1),
    '',
    ...story.map((line) => `  ${brief(line, 200)}`),
    ...(asks
      ? ['', `  lazarus actions approve ${id}`, `  lazarus actions reject ${id} --reason ...`]
      : []),
  ];
}

function effectFacts(effect: ExpectedEffect | null): [string, JsonValue | undefined][] {
  if (effect === null) return [];
  const { removes, dependants } = effect;
  const whose = dependants === null ? 'nobody knows' : dependants.join(', ') || 'nothing';
  return [
    ['removes', removes ?? undefined],
    ['depend on it', whose],
  ];
}

const textOf = (value: JsonValue): string =>
  typeof value === 'string' ? value : JSON.stringify(value);
const word = (object: JsonObject, name: string): string => textOf(object[name] ?? '?');

function approve(): Command {
  const approving = verb(
    'approve',
    'Approves an action: it runs as soon as the gate lets it.',
    'lazarus actions approve plan-vps-web-1790000000',
  )
    .argument('<id>', ID)
    .option('--sha256 <sum>', 'what you looked at: if it is another by now, nothing is approved');
  return act<{ sha256?: string }>(approving, async ([id = ''], flags) => {
    const { sha256 } = flags;
    await decide('approve', flags, { id, ...(sha256 !== undefined && { sha256 }) });
  });
}

function ending(kind: 'reject' | 'cancel', summary: string): Command {
  const ending = verb(kind, summary, `lazarus actions ${kind} plan-vps-web-1790000000`)
    .argument('<id>', ID)
    .option('--reason <text>', 'why, for the record');
  return act<{ reason?: string }>(ending, async ([id = ''], flags) => {
    const { reason } = flags;
    await decide(kind, flags, { id, ...(reason !== undefined && { reason }) });
  });
}

async function decide(
  kind: 'approve' | 'reject' | 'cancel',
  flags: Flags,
  input: Record<string, JsonValue>,
): Promise<void> {
  const result = await write(chooseMissions(flags.missions), `actions.${kind}`, input);
  show(flags, result, () => [answerLine(result as unknown as ActionView)]);
}

const answerLine = ({ action_id: id, status, waits }: ActionView): string =>
  `action ${id}: ${status}${waits === null ? '' : `; ${waits}`}`;

function run(): Command {
  const running = verb(
    'run',
    'Says how an action would be run, and what it waits for.',
    'lazarus actions run plan-vps-web-1790000000 --dry-run',
  )
    .argument('<id>', ID)
    .option('--dry-run', 'also for one that is not approved; nothing is run');
  return act<{ dryRun?: boolean }>(running, async ([id = ''], flags) => {
    const input = { id, dry_run: flags.dryRun === true };
    const result = await write(chooseMissions(flags.missions), 'actions.run', input);
    show(flags, result, () => planLines(result as unknown as Planned));
  });
}

interface Planned {
  action_id: string;
  status: string;
  waits: string | null;
  would_run: { driver: string; via: string; semantics: string; shown: string[] };
}

function planLines({ action_id: id, status, waits, would_run: plan }: Planned): string[] {
  return [
    `action ${id}: ${status}${waits === null ? '' : `; ${waits}`}`,
    `  ${plan.driver}, ${plan.via} (${plan.semantics})`,
    ...plan.shown.map((line) => `  ${brief(line, 200)}`),
  ];
}

function colour(status: string): string {
  if (status === 'completed') return paint('green', status);
  if (status === 'failed' || status === 'held') return paint('red', status);
  return paint(status === 'pending' ? 'yellow' : 'cyan', status);
}

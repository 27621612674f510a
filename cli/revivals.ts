/** `lazarus revivals ...`: failed agents, what Lazarus does about them, and what it wants from a person. */
import type { Command } from 'commander';
import type { RevivalView } from '../actors/status.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonValue } from '../machines/json.ts';
import { read, write } from './access.ts';
import { act, group, verb } from './command.ts';
import { chooseMissions } from './missions.ts';
import { show } from './output.ts';
import { brief, paint, span, table } from './terminal.ts';

export function command(): Command {
  return group('revivals', 'Failed agents: what Lazarus does about them, what it asks you.', [
    list(),
    showOne(),
    approve(),
    reject(),
  ]);
}

const NAMES = 'its id, <cell_id>/<agent_id>, or the agent_id when only one of that name failed';

function list(): Command {
  const listing = verb('list', 'Every agent that ever failed.', 'lazarus revivals list');
  return act(listing, async (_args, flags) => {
    const result = await read(chooseMissions(flags.missions), 'revivals.list', {});
    const { revivals, running } = result as unknown as Listed;
    show(flags, result, () =>
      revivals.length === 0
        ? ['No agent ever failed here.']
        : [...listLines(revivals), ...restLines(running)],
    );
  });
}

interface Listed {
  revivals: RevivalView[];
  running: boolean;
}

/** Times of what comes next are those of a node that runs. */
const restLines = (running: boolean): string[] =>
  running ? [] : ['', 'No node runs here: nothing moves until `lazarus up`.'];

function listLines(revivals: readonly RevivalView[]): string[] {
  const open = revivals.toSorted((a, b) => Number(b.needs_person) - Number(a.needs_person));
  return table(
    ['REVIVAL', 'STATUS', 'REVIVED', 'NOW', 'FAILURE'],
    open.map((revival) => [
      revival.revival_id ?? `${revival.cell_id}/${revival.agent_id}`,
      colour(revival),
      revival.revivals === 0 ? '' : `${revival.revivals}x`,
      brief(`${revival.doing}${nextOf(revival)}`, 90),
      brief(revival.reason, 80),
    ]),
    '',
  );
}

function showOne(): Command {
  const showing = verb(
    'show',
    'One of them: the whole story and the choices.',
    'lazarus revivals show writer_1',
  ).argument('<revival>', NAMES);
  return act(showing, async ([revival = ''], flags) => {
    const result = await read(chooseMissions(flags.missions), 'revivals.show', { revival });
    const { running } = result as unknown as Listed;
    show(flags, result, () => [...storyLines(viewOf(result)), ...restLines(running)]);
  });
}

const viewOf = (result: JsonValue): RevivalView => result as unknown as RevivalView;

function storyLines(revival: RevivalView): string[] {
  const { revival_id: id, cell_id: cell, agent_id: agent, story, choices, earlier } = revival;
  const lines = [
    `${paint('bold', `Agent ${cell}/${agent}`)}  ${colour(revival)}  ${id ?? ''}`,
    `  ${brief(revival.reason, 200)}`,
    `  now: ${brief(revival.doing, 200)}${nextOf(revival)}`,
    `  ${timesOf(revival)}`,
    '',
    ...earlier.map((line) => paint('dim', `  before: ${brief(line, 190)}`)),
    ...story.map((line) => `  ${brief(line, 200)}`),
  ];
  if (choices.length > 0)
    lines.push(
      '',
      paint('bold', 'Choose'),
      ...table(
        ['', '', ''],
        choices.map(({ choice, means, command: line }) => [choice, brief(means, 90), line]),
      ).slice(1),
    );
  return lines;
}

function timesOf({ revivals, took_ms: tookMs }: RevivalView): string {
  if (revivals === 0) return 'never revived so far';
  const times = revivals === 1 ? 'once' : `${revivals} times`;
  if (tookMs === null) return `revived ${times}`;
  const took = tookMs < 10_000 ? `${tookMs} ms` : span(tookMs);
  return `revived ${times}, the last took ${took}`;
}

interface ApproveFlags {
  previousCheckpoint?: boolean;
  substitute?: string;
}

function approve(): Command {
  const approving = verb(
    'approve',
    'Brings the agent back, or has another one take its task over.',
    'lazarus revivals approve writer_1\nlazarus revivals approve writer_1 --substitute writer_2',
  )
    .argument('<revival>', NAMES)
    .option('--previous-checkpoint', 'first put its state back to the checkpoint before the last')
    .option('--substitute <agent>', 'hand its task over to this agent instead');
  return act<ApproveFlags>(approving, async ([revival = ''], flags) => {
    const result = await write(chooseMissions(flags.missions), 'revivals.approve', {
      revival,
      ...choiceOf(flags),
    });
    show(flags, result, () => answerLines(viewOf(result)));
  });
}

/** What `revivals approve` and `agent revive` hand on. */
export function choiceOf({ previousCheckpoint, substitute }: ApproveFlags): Record<string, string> {
  if (substitute !== undefined && previousCheckpoint === true)
    throw new RuntimeError('--substitute and --previous-checkpoint exclude each other', {
      code: 'INVALID_ARGUMENT',
      hint: 'A task that is handed over goes on with what is done; nothing is put back.',
    });
  if (substitute !== undefined) return { choice: 'substitute', substitute };
  return previousCheckpoint ? { choice: 'previous_checkpoint' } : {};
}

function reject(): Command {
  const rejecting = verb(
    'reject',
    'Leaves the agent failed; what does not depend on it goes on.',
    'lazarus revivals reject writer_1',
  ).argument('<revival>', NAMES);
  return act(rejecting, async ([revival = ''], flags) => {
    const result = await write(chooseMissions(flags.missions), 'revivals.reject', { revival });
    show(flags, result, () => answerLines(viewOf(result)));
  });
}

export function answerLines(revival: RevivalView): string[] {
  return [`agent ${revival.cell_id}/${revival.agent_id}: ${revival.doing}`];
}

export function nextOf({ next, next_at: at }: RevivalView): string {
  if (next === null || at === null) return '';
  const ms = Date.parse(at) - Date.now();
  return ms > 0 ? `; ${next} in ${span(ms)}` : `; ${next} now`;
}

function colour({ status, needs_person: needsPerson }: RevivalView): string {
  if (status === 'revived') return paint('green', status);
  return paint(needsPerson ? 'yellow' : 'cyan', status);
}

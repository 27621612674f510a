/** `lazarus cell ...`: missions as a whole. */
import type { Command } from 'commander';
import { Option } from 'commander';
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import type { CellStatusView } from '../actors/status.ts';
import { read, write } from './access.ts';
import { exportOne, importOne } from './cell-moves.ts';
import { act, group, verb } from './command.ts';
import { chooseMissions } from './missions.ts';
import { MISUSED, show } from './output.ts';
import { cellLines } from './status-view.ts';
import { brief, paint, table } from './terminal.ts';

export function command(): Command {
  return group(
    'cell',
    'Create, list, show, pause, resume, cancel, export, import, validate missions.',
    [
      create(),
      list(),
      showOne(),
      asking('pause', 'Stops giving out work; steps under way finish.'),
      asking('resume', 'Leaves a pause, or begins again after a timeout or a cancellation.'),
      asking('cancel', 'Ends the mission as failed; nothing of it runs on.').option(
        '--reason <text>',
        'why, for the record',
      ),
      confirm(),
      release(),
      exportOne(),
      importOne(),
      validateOne(),
    ],
  );
}

interface CreateFlags {
  id?: string;
  from?: string;
  template?: string | true;
  autoRevive?: string;
}

function create(): Command {
  const made = verb(
    'create',
    'Makes the folder of a new mission; a node that runs starts on it at once.',
    'lazarus cell create "Nightly report"\nlazarus cell create --from examples/hello.json\nlazarus cell create --template release-notes',
  )
    .argument('[name]', 'the name of the mission')
    .option('--id <cell_id>', 'its id (default: a new uuid)')
    .addOption(
      new Option(
        '--from <path>',
        'a mission in one file, or a folder of one, to begin with',
      ).conflicts('template'),
    )
    .option('--template [name]', 'begin with a template: basic, or the name of an example')
    .addOption(
      new Option('--auto-revive <policy>', 'yes, no or ask').choices(['yes', 'no', 'ask']),
    );
  return act<CreateFlags>(made, async ([name], flags) => {
    const { createMission } = await import('./cell-create.ts');
    const result = await createMission(name, flags);
    show(flags, result, () => [
      `cell ${field(result, 'cell_id')}: ${field(result, 'path')}`,
      field(result, 'note'),
    ]);
  });
}

function list(): Command {
  const listing = verb('list', 'The missions, a line each.', 'lazarus cell list');
  return act(listing, async (_args, flags) => {
    const missions = chooseMissions(flags.missions);
    const result = await read(missions, 'cell.list', {});
    const cells = (result as { cells: JsonObject[] }).cells;
    show(flags, result, () =>
      cells.length === 0
        ? [`No missions in ${missions.dir}.`]
        : table(
            ['CELL', 'MISSION', 'STATUS', 'TASKS', 'AGENTS'],
            cells.map((cell) => [
              text(cell['cell_id']),
              brief(text(cell['mission_name']), 50),
              text(cell['status']),
              `${text(cell['tasks_completed'])}/${text(cell['tasks'])}`,
              text(cell['agents']),
            ]),
            '',
          ),
    );
  });
}

function showOne(): Command {
  const showing = verb(
    'show',
    'One mission: agents, tasks, success criteria, what happened last.',
    'lazarus cell show 5c0e6e08',
  ).argument('<cell>', 'its id, or the first characters of it');
  return act(showing, async ([cell = ''], flags) => {
    const missions = chooseMissions(flags.missions);
    const result = await read(missions, 'cell.show', { cell });
    show(flags, result, () => showLines(result as unknown as Shown));
  });
}

interface Shown extends CellStatusView {
  running: boolean;
  success_criteria: {
    name: string;
    met: boolean | null;
    detail: string | null;
    run: string[] | null;
    confirmed_by: string | null;
  }[];
}

function showLines(cell: Shown): string[] {
  const criteria = cell.success_criteria.map(({ name, met, detail, run, confirmed_by: by }) => {
    const hint = run === null ? `lazarus cell confirm ${cell.cell_id} ${JSON.stringify(name)}` : '';
    const state =
      met === true
        ? paint('green', 'met')
        : met === false
          ? paint('yellow', 'open')
          : 'not checked';
    return [brief(name, 80), state, detail ?? (by === null ? hint : `confirmed by ${by}`)];
  });
  return [
    ...cellLines(cell, !cell.running),
    ...(criteria.length > 0 ? table(['CRITERION', 'STATE', ''], criteria) : []),
    ...(cell.notes.length > 0
      ? table(
          ['NOTE', ''],
          cell.notes.slice(-10).map(({ at, text: note }) => [at, brief(note, 160)]),
        )
      : []),
    paint('dim', `  ${cell.path ?? 'its folder is gone'}`),
  ];
}

function asking(name: 'pause' | 'resume' | 'cancel', summary: string): Command {
  const asked = verb(name, summary, `lazarus cell ${name} 5c0e6e08`).argument(
    '<cell>',
    'its id, or the first characters of it',
  );
  return act<{ reason?: string }>(asked, async ([cell = ''], flags) => {
    const reason = flags.reason === undefined ? {} : { reason: flags.reason };
    const result = await write(chooseMissions(flags.missions), `cell.${name}`, { cell, ...reason });
    show(flags, result, () => [`cell ${field(result, 'cell_id')}: ${field(result, 'status')}`]);
  });
}

function confirm(): Command {
  const confirming = verb(
    'confirm',
    'Says that a success criterion without a command is met.',
    'lazarus cell confirm 5c0e6e08 "The editor likes it"',
  )
    .argument('<cell>', 'its id, or the first characters of it')
    .argument('<criterion>', 'the name of the criterion, as cell.json has it');
  return act(confirming, async ([cell = '', name = ''], flags) => {
    const result = await write(chooseMissions(flags.missions), 'criterion.confirm', { cell, name });
    show(flags, result, () => [`cell ${field(result, 'cell_id')}: ${field(result, 'status')}`]);
  });
}

function release(): Command {
  const releasing = verb(
    'release',
    'Lets a held actor go on: its fault is mended, or you accept that what is lost is lost.',
    'lazarus cell release cell/5c0e6e08-6d3f-4b6e-9d0c-3f1f6d1c2b7a',
  ).argument('<address>', 'its address, as the status shows it');
  return act(releasing, async ([address = ''], flags) => {
    const result = await write(chooseMissions(flags.missions), 'actor.release', { address });
    show(flags, result, () => [`${address}: released`]);
  });
}

function validateOne(): Command {
  const validating = verb(
    'validate',
    'Checks a mission without a node: its files, and what in it could never run.',
    'lazarus cell validate ./my-mission\nlazarus cell validate hello.json',
  ).argument('<path>', "a mission's folder, a mission in one file, or one file of a mission");
  return act(validating, async ([path = ''], flags) => {
    const { validatePath } = await import('./cell-validate.ts');
    const found = validatePath(path);
    show(flags, found as unknown as JsonValue, () => [
      ...found.problems.flatMap(({ file, line, pointer, message, fix }) => [
        `${paint('red', 'wrong')}  ${file}:${line}${pointer === '' ? '' : ` ${pointer}`}: ${message}`,
        `       ${fix}`,
      ]),
      ...found.warnings.map((warning) => `${paint('yellow', 'stuck')}  ${warning}`),
      found.valid ? `${path}: valid` : `${path}: ${found.problems.length} to mend`,
    ]);
    return found.valid ? undefined : MISUSED;
  });
}

const text = (value: JsonValue | undefined): string =>
  typeof value === 'string' ? value : JSON.stringify(value ?? null);

export function field(value: JsonValue, name: string): string {
  return isJsonObject(value) ? text(value[name]) : '';
}

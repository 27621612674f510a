/** `lazarus task ...` */
import type { Command } from 'commander';
import { Option } from 'commander';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject } from '../machines/json.ts';
import { write } from './access.ts';
import { field } from './cell.ts';
import { act, group, verb } from './command.ts';
import { chooseMissions } from './missions.ts';
import { show } from './output.ts';

export function command(): Command {
  return group('task', 'Add, retry, cancel tasks.', [
    add(),
    asking('retry', 'Tries a failed task again.'),
    asking('cancel', 'Ends a task as failed.').option('--reason <text>', 'why, for the record'),
  ]);
}

interface AddFlags {
  title?: string;
  description?: string;
  assign?: string;
  after: string[];
  priority: string;
  artifact: string[];
  step: string[];
  retry: string;
  timeout?: string;
  from?: string;
}

function add(): Command {
  const adding = verb(
    'add',
    'Adds a task to a mission.',
    `lazarus task add 5c0e6e08 tidy --title "Tidy up" --step "clean=rm -f artifacts/*.tmp" --retry safe\nlazarus task add 5c0e6e08 tidy --from tidy.json`,
  )
    .argument('<cell>', "the mission's id, or the first characters of it")
    .argument('<task>', 'the new id')
    .option('--title <text>', 'what is to be done, in a line (default: the id)')
    .option('--description <text>', 'what is to be done, in full')
    .option('--assign <agent>', 'who does it (default: whoever can)')
    .option('--after <task...>', 'tasks that must be completed before', [])
    .addOption(
      new Option('--priority <priority>', 'which goes first')
        .choices(['high', 'medium', 'low'])
        .default('medium'),
    )
    .option('--artifact <path...>', 'files it must leave in artifacts/', [])
    .option('--step <name=command...>', 'a step, run by sh; several in their order', [])
    .addOption(
      new Option(
        '--retry <policy>',
        'of its steps, when one is cut off: run it again, or leave it in doubt',
      )
        .choices(['safe', 'never'])
        .default('never'),
    )
    .option('--timeout <seconds>', 'of active time')
    .option('--from <file>', 'the whole task file instead');
  return act<AddFlags>(adding, async ([cell = '', id = ''], flags) => {
    const [{ add: ask }, { readModel }] = await Promise.all([
      import('./add.ts'),
      import('./read-model.ts'),
    ]);
    const fields = flags.from === undefined ? taskOf(flags) : { file: readModel(flags.from) };
    const asked = { cell, task_id: id, ...fields };
    const result = await ask(chooseMissions(flags.missions), 'task.add', asked);
    show(flags, result, () => [`task ${id}: ${field(result, 'path')}`, field(result, 'note')]);
  });
}

function taskOf(flags: AddFlags): JsonObject {
  const { title, description, assign, after, priority, artifact, step, retry, timeout } = flags;
  return {
    ...(title === undefined ? {} : { title }),
    ...(description === undefined ? {} : { description }),
    ...(assign === undefined ? {} : { assigned_to: assign }),
    priority,
    dependencies: after,
    ...(timeout === undefined ? {} : { timeout: Number(timeout) }),
    artifacts: artifact,
    ...(step.length === 0 ? {} : { steps: step.map((text) => stepOf(text, retry)) }),
  };
}

function stepOf(text: string, retry: string): JsonObject {
  const cut = text.indexOf('=');
  if (cut > 0) return { name: text.slice(0, cut), run: ['sh', '-c', text.slice(cut + 1)], retry };
  throw new RuntimeError(`a step is name=command, not ${JSON.stringify(text)}`, {
    code: 'INVALID_ARGUMENT',
    hint: '--step "clean=rm -f artifacts/*.tmp"',
  });
}

function asking(name: 'retry' | 'cancel', summary: string): Command {
  const asked = verb(name, summary, `lazarus task ${name} tidy`).argument(
    '<task>',
    'its id, or <cell_id>/<task_id> when several missions have one of that name',
  );
  return act<{ reason?: string }>(asked, async ([task = ''], flags) => {
    const reason = flags.reason === undefined ? {} : { reason: flags.reason };
    const result = await write(chooseMissions(flags.missions), `task.${name}`, { task, ...reason });
    show(flags, result, () => [`task ${field(result, 'task_id')}: ${field(result, 'status')}`]);
  });
}

/** `lazarus doubt ...`: steps that were cut off and may have run. */
import type { Command } from 'commander';
import type { DoubtView } from '../actors/status.ts';
import { read, write } from './access.ts';
import { field } from './cell.ts';
import { act, group, verb } from './command.ts';
import { chooseMissions } from './missions.ts';
import { show } from './output.ts';
import { brief, table } from './terminal.ts';

export function command(): Command {
  return group('doubt', 'Steps that may have run: list them, say how they ended.', [
    list(),
    settling('done', 'It did its work: the task goes on after it.'),
    settling('retry', 'It did nothing: it is run (again).'),
    settling('fail', 'It failed: its task fails.'),
  ]);
}

function list(): Command {
  const listing = verb('list', 'The steps whose outcome nobody knows.', 'lazarus doubt list');
  return act(listing, async (_args, flags) => {
    const result = await read(chooseMissions(flags.missions), 'doubt.list', {});
    const doubts = (result as unknown as { in_doubt: DoubtView[] }).in_doubt;
    show(flags, result, () =>
      doubts.length === 0
        ? ['Nothing is in doubt.']
        : [
            ...table(
              ['CELL', 'TASK', 'STEP', 'AGENT', 'SINCE', 'KEY'],
              doubts.map((doubt) => [
                doubt.cell_id,
                doubt.task_id,
                brief(doubt.step, 40),
                doubt.agent_id,
                doubt.since,
                doubt.key,
              ]),
              '',
            ),
            '',
            'Look at what it did (artifacts/logs/<task>/; of an action, state/lazarus/actions/<id>/ of the runtime folder),',
            'then: lazarus doubt done|retry|fail <task>',
          ],
    );
  });
}

function settling(answer: 'done' | 'retry' | 'fail', summary: string): Command {
  const settle = verb(answer, summary, `lazarus doubt ${answer} publish`).argument(
    '<step>',
    'its task (or <cell_id>/<task_id>), or its key',
  );
  return act(settle, async ([doubt = ''], flags) => {
    const result = await write(chooseMissions(flags.missions), `doubt.${answer}`, { doubt });
    show(flags, result, () => [
      `${field(result, 'task_id')}/${field(result, 'step')}: settled as ${answer}`,
    ]);
  });
}

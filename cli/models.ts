/** `lazarus models ...`: the language models of the chain, how each stands, and asking one again. */
import type { Command } from 'commander';
import { read, write } from './access.ts';
import { act, group, verb } from './command.ts';
import { chooseMissions } from './missions.ts';
import { show } from './output.ts';
import { brief, paint, table } from './terminal.ts';

interface ModelRow {
  model: string;
  state: string;
  reason: string | null;
  calls: number;
  failures: number;
  spent: { today: { usd: number; tokens: number } };
}

export function command(): Command {
  return group('models', 'Language models: which can be asked, why not, what they cost.', [
    reset(),
  ]).addCommand(list(), { isDefault: true });
}

function list(): Command {
  const listing = verb(
    'list',
    'The chain in its order, and what each model cost today (UTC).',
    'lazarus models',
  );
  return act(listing, async (_args, flags) => {
    const result = await read(chooseMissions(flags.missions), 'models.list', {});
    const { models } = result as unknown as { models: ModelRow[] };
    show(flags, result, () =>
      models.length === 0
        ? ['No model is on record here; `lazarus up` says which could be asked.']
        : table(['MODEL', 'STATE', 'CALLS', 'FAILED', 'TODAY', 'WHY'], models.map(rowOf), ''),
    );
  });
}

function rowOf({ model, state, reason, calls, failures, spent }: ModelRow): string[] {
  const { usd, tokens } = spent.today;
  const colour = state === 'up' ? 'green' : state === 'unknown' ? 'dim' : 'yellow';
  return [
    brief(model, 60),
    paint(colour, state),
    String(calls),
    String(failures),
    `$${usd.toFixed(4)}, ${tokens} tokens`,
    brief(reason ?? '', 120),
  ];
}

function reset(): Command {
  const resetting = verb(
    'reset',
    'Asks a model again at once that is left out: its key or its server is mended.',
    'lazarus models reset claude-haiku-5-5\nlazarus models reset',
  ).argument('[model]', 'as the list names it; left out: all');
  return act(resetting, async ([model], flags) => {
    const input = model === undefined ? {} : { model };
    const result = await write(chooseMissions(flags.missions), 'models.reset', input);
    const { models } = result as unknown as { models: string[] };
    show(flags, result, () => [
      models.length === 0
        ? 'no model was ever asked here'
        : `asked again with the next question: ${brief(models.join(', '), 200)}`,
    ]);
  });
}

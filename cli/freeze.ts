/** `lazarus freeze` and `unfreeze`: no action runs in between, whatever was approved. */
import type { Command } from 'commander';
import type { JsonValue } from '../machines/json.ts';
import { write } from './access.ts';
import { act, verb } from './command.ts';
import { chooseMissions } from './missions.ts';
import { show } from './output.ts';

interface Said {
  frozen: { by: string; reason: string } | null;
  waiting: number;
  running: string[];
}

export function command(): Command {
  const freezing = verb(
    'freeze',
    'Lets no action run until it is ended; what runs already goes on.',
    'lazarus freeze "moving house"',
  ).argument('<reason>', 'why, for those who wait');
  return act(freezing, async ([reason = ''], flags) => {
    const result = await write(chooseMissions(flags.missions), 'freeze', { reason });
    show(flags, result, () => linesOf(result));
  });
}

export function unfreezeCommand(): Command {
  const ending = verb(
    'unfreeze',
    'Ends a freeze: approved actions may run again.',
    'lazarus unfreeze',
  );
  return act(ending, async (_args, flags) => {
    const result = await write(chooseMissions(flags.missions), 'unfreeze', {});
    show(flags, result, () => linesOf(result));
  });
}

function linesOf(result: JsonValue): string[] {
  const { frozen, waiting, running } = result as unknown as Said;
  const now = frozen ? `frozen by ${frozen.by}: ${frozen.reason}` : 'not frozen';
  const still = running.length === 0 ? '' : `; still running: ${running.join(', ')}`;
  return [`${now}; ${waiting} approved actions wait${still}`];
}

/** `lazarus cooldowns ...`: services that get no new proposal for a while. */
import type { Command } from 'commander';
import { read, write } from './access.ts';
import { field } from './cell.ts';
import { act, group, verb } from './command.ts';
import { chooseMissions } from './missions.ts';
import { show } from './output.ts';
import { brief, table } from './terminal.ts';

interface CooldownView {
  host: string;
  service: string;
  remaining_seconds: number;
  until: string;
  occurrences: number;
  /** Quiet by a rule of the policy, whatever else is heard of the service. */
  types: { type: string; remaining_seconds: number; until: string }[];
}

export function command(): Command {
  return group('cooldowns', 'Services that get no new proposal for a while.', [list(), reset()]);
}

function list(): Command {
  const listing = verb(
    'list',
    'Which services cool down, and how long yet.',
    'lazarus cooldowns list',
  );
  return act(listing, async (_args, flags) => {
    const result = await read(chooseMissions(flags.missions), 'cooldowns.list', {});
    const { cooldowns } = result as unknown as { cooldowns: CooldownView[] };
    show(flags, result, () =>
      cooldowns.length === 0
        ? ['No service cools down: the next event of any of them is diagnosed.']
        : table(
            ['SERVICE', 'SECONDS LEFT', 'UNTIL', 'EVENTS', 'QUIET'],
            cooldowns.flatMap(rowsOf),
            '',
          ),
    );
  });
}

function rowsOf({ host, service, types, occurrences, ...whole }: CooldownView): string[][] {
  const all = { type: 'all events', ...whole };
  return [...(whole.remaining_seconds > 0 ? [all] : []), ...types].map((one) => [
    brief(`${host}/${service}`, 60),
    String(one.remaining_seconds),
    one.until,
    String(occurrences),
    brief(one.type, 40),
  ]);
}

function reset(): Command {
  const resetting = verb(
    'reset',
    'Ends the cooldown of a service: its next event is diagnosed.',
    'lazarus cooldowns reset piha/mosquitto',
  ).argument('<service>', '<host>/<service>');
  return act(resetting, async ([service = ''], flags) => {
    const result = await write(chooseMissions(flags.missions), 'cooldowns.reset', { service });
    show(flags, result, () => [
      `${field(result, 'host')}/${field(result, 'service')}: its next event is diagnosed`,
    ]);
  });
}

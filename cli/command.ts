/** The form all verbs of the command line share: `--missions`, `--json`, an example in the help, and an exit status. */
import { Command } from 'commander';
import type { Flags } from './output.ts';
import { DONE } from './output.ts';

/** A verb, ready for its arguments, options and `act`. */
export function verb(name: string, summary: string, example: string): Command {
  return new Command(name)
    .summary(summary)
    .description(summary)
    .option(
      '-m, --missions <dir>',
      'the missions folder (default: $LAZARUS_MISSIONS, else /var/missions, else ./var/missions)',
    )
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `\nExample:\n${example
        .split('\n')
        .map((line) => `  $ ${line}`)
        .join('\n')}\n`,
    );
}

/** For verbs to which it matters beyond where the missions are. */
export const CONFIG_OPTION: [string, string] = [
  '--config <file>',
  'the configuration (default: $LAZARUS_CONFIG, else ~/.lazarus/config.json; none: no file)',
];

/** Verbs that belong together: `lazarus cell ...`. */
export function group(name: string, summary: string, verbs: Command[]): Command {
  const command = new Command(name).summary(summary).description(summary);
  for (const member of verbs) command.addCommand(member);
  return command;
}

type Handler<Options> = (args: string[], flags: Flags & Options) => Promise<number | void>;

/** What the handler returns is the exit status; nothing is 0. What it throws is told by main.ts. */
export function act<Options = unknown>(command: Command, handler: Handler<Options>): Command {
  return command.action(async (...values: unknown[]) => {
    const args = values.slice(0, command.registeredArguments.length) as string[];
    process.exitCode = (await handler(args, command.opts())) ?? DONE;
  });
}

/** `lazarus demo [--stay]`: arguments and help of demo.ts. */
import type { Command } from 'commander';
import { act, verb } from './command.ts';

export function command(): Command {
  const demo = verb(
    'demo',
    'Run a real mission, kill one of its agents in the middle of a step, verify the result.',
    'lazarus demo\nlazarus demo --stay',
  ).option('--stay', 'work in the missions folder and stay up afterwards (npm start)');
  return act<{ stay?: boolean }>(demo, async (_args, { stay = false, json = false, missions }) => {
    const { demo: run } = await import('./demo.ts');
    const status = await run({ stay, json, ...(missions === undefined ? {} : { missions }) });
    process.exit(status);
  });
}

/** `lazarus status [--watch]` */
import type { Command } from 'commander';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StatusView } from '../actors/status.ts';
import { configPlace } from '../cells/config-place.ts';
import { read } from './access.ts';
import { act, CONFIG_OPTION, verb } from './command.ts';
import { chooseMissions } from './missions.ts';
import type { Missions } from './missions.ts';
import { DONE, print, show } from './output.ts';
import type { Flags } from './output.ts';
import { onStop } from './signals.ts';
import { changesBetween } from './changes.ts';
import { statusLines } from './status-view.ts';
import { LiveRegion } from './terminal.ts';

const INTERVAL_MS = 400;

export function command(): Command {
  const status = verb(
    'status',
    'What runs, what is stuck and why, what waits for you.',
    'lazarus status\nlazarus status --watch',
  )
    .option(...CONFIG_OPTION)
    .option('-w, --watch', 'go on: a live table in a terminal, one line for each change in a pipe');
  return act<{ config?: string; watch?: boolean }>(status, async (_args, flags) => {
    const missions = chooseMissions(flags.missions, configPlace(flags.config, process.env));
    if (flags.watch) return watch(missions, flags);
    const view = await readStatus(missions);
    show(flags, view as never, () => statusLines(view));
    return DONE;
  });
}

export async function readStatus(missions: Missions): Promise<StatusView> {
  return (await read(missions, 'status', {})) as unknown as StatusView;
}

/** Until a signal. With --json one document a line, each time something changed. */
async function watch(missions: Missions, flags: Flags): Promise<number> {
  onStop(() => process.exit(DONE));
  const live = process.stdout.isTTY && !flags.json ? new LiveRegion() : undefined;
  let before: StatusView | undefined;
  for (;;) {
    const view = await readStatus(missions);
    const changes = changesBetween(before, view);
    if (live) live.draw(statusLines(view));
    else if (flags.json && (before === undefined || changes.length > 0))
      print(JSON.stringify(view));
    else if (!flags.json) for (const line of changes) print(`${new Date().toISOString()} ${line}`);
    before = view;
    await sleep(INTERVAL_MS);
  }
}

/** Which folder of a homelab a verb is about that needs no node: the one that is named, else that of the node that runs, else the configured one. */
import { resolve } from 'node:path';
import type { RuntimeLayout } from '../cells/runtime-layout.ts';
import { readNodeFile } from './access.ts';
import { configSource, missionsAround } from './config-source.ts';

export interface PlaceFlags {
  runtime?: string;
  config?: string;
  missions?: string;
}

export const RUNTIME_OPTION: [string, string] = [
  '--runtime <dir>',
  'the folder shared with the homelab (default: that of the node, else as configured)',
];

export interface HomelabPlace {
  layout: RuntimeLayout;
  /** The log of drifts. */
  eventsLog: string;
}

/** Throws RuntimeError NOT_CONFIGURED, and as `loadConfig` does. */
export async function homelabPlace(flags: PlaceFlags): Promise<HomelabPlace> {
  const [{ runtimeLayout }, { noRuntime }] = await Promise.all([
    import('../cells/runtime-layout.ts'),
    import('../actors/policy/no-runtime.ts'),
  ]);
  const source = configSource(flags);
  const { runtime_path: configured, agent_events_log: log } = (await source.load()).values;
  const path = flags.runtime ?? runningPlace(flags, source.place) ?? configured;
  if (path === 'off') throw noRuntime();
  const layout = runtimeLayout(resolve(path));
  return { layout, eventsLog: log ?? layout.agentEventsLog };
}

function runningPlace(
  { missions }: PlaceFlags,
  place: ReturnType<typeof configSource>['place'],
): string | null {
  return readNodeFile(missionsAround(missions, place))?.runtime ?? null;
}

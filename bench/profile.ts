/** CPU profiles as a list of the functions that use the time themselves: of this process, or of one that wrote a file. */
import { readdirSync, readFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import type { Profiler, Runtime } from 'node:inspector';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { HotSpot } from './harness.ts';

/** Functions named; the rest is the long tail. */
const TOP = 15;
const root = fileURLToPath(new URL('..', import.meta.url));

/** Runs `work` in this process under the sampling profiler. */
export async function profiled(work: () => Promise<void> | void): Promise<HotSpot[]> {
  const session = new Session();
  session.connect();
  try {
    await session.post('Profiler.enable');
    await session.post('Profiler.setSamplingInterval', { interval: 200 });
    await session.post('Profiler.start');
    await work();
    const { profile } = await session.post('Profiler.stop');
    return hotSpots(profile);
  } finally {
    session.disconnect();
  }
}

/** Node flags with which a child writes its profile into `folder` when it exits. */
export const profilingFlags = (folder: string): string[] => [
  '--cpu-prof',
  '--cpu-prof-interval=200',
  `--cpu-prof-dir=${folder}`,
];

/** The profile that a child left in `folder`. Throws when there is none. */
export function readProfile(folder: string): HotSpot[] {
  const file = readdirSync(folder).find((name) => name.endsWith('.cpuprofile'));
  if (file === undefined) throw new Error(`no profile in ${folder}`);
  return hotSpots(JSON.parse(readFileSync(join(folder, file), 'utf8')) as Profiler.Profile);
}

function hotSpots({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): HotSpot[] {
  const places = new Map(nodes.map(({ id, callFrame }) => [id, placeOf(callFrame)]));
  const selfUs = new Map<string, number>();
  let totalUs = 0;
  for (const [i, id] of samples.entries()) {
    const place = places.get(id) ?? '?';
    if (place === '(idle)' || place.startsWith('post node:inspector')) continue; // waiting, and the profiler itself
    const us = timeDeltas[i] ?? 0;
    totalUs += us;
    selfUs.set(place, (selfUs.get(place) ?? 0) + us);
  }
  return [...selfUs]
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, TOP)
    .map(([place, us]) => ({ place, selfPercent: (us / totalUs) * 100 }));
}

function placeOf({ functionName, url, lineNumber }: Runtime.CallFrame): string {
  if (url === '') return functionName;
  const path = url.startsWith('file:') ? relative(root, fileURLToPath(url)) : url;
  return `${functionName || '(anonymous)'} ${path}:${lineNumber + 1}`;
}

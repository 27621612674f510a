/**
 * A node with an observer that reads event files and hears a bridge, and kills itself at the named visit of a fault point:
 * `node observer-child.ts <missions> <runtime> <point>:<visit> <epoch s of the event>`. With `list` it lives until all is in the world, and prints
 * the visits.
 */
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const [, , missionsDir = '', runtime = '', at = 'list', time = ''] = process.argv;
const visits = new Map<string, number>();
const seen: string[] = [];
let isArmed = false;
Object.assign(globalThis, {
  __lazarusFaultPoint: (point: string): void => {
    if (!isArmed) return;
    const visit = (visits.get(point) ?? 0) + 1;
    visits.set(point, visit);
    seen.push(`${point}:${visit}`);
    if (at === `${point}:${visit}`) process.kill(process.pid, 'SIGKILL');
  },
});
// After the hook: cells/durable.ts reads it once.
const { MissionNode } = await import('../../actors/node.ts');
const { machineRegistry } = await import('../../actors/registry.ts');
const { runtimeLayout } = await import('../../cells/runtime-layout.ts');
const { openObserver, readWorld } = await import('./observer.ts');
const { linesTo, publish } = await import('./planner.ts');
const { homelabEvent } = await import('./incidents.ts');
const { CRASH_SERVICES } = await import('./observer-crash.ts');

const layout = runtimeLayout(runtime);
const quiet = (): void => undefined;
const node = await MissionNode.start({
  missionsDir,
  version: 'test',
  log: { info: quiet, warn: quiet, error: quiet },
  kernel: { registry: machineRegistry() },
  openDoors: (mine) => openObserver(mine, { layout, log: linesTo([]), filesPerSecond: 200 }),
});
isArmed = true;
await publish(node, homelabEvent(Number(time) * 1000), 'the event');
const isDone = (): boolean => {
  try {
    const isKnown = Object.keys(readWorld(layout, 'services')).length > CRASH_SERVICES;
    return isKnown && existsSync(layout.observerCheckpoint);
  } catch {
    return false; // not there yet
  }
};
while (!isDone()) await sleep(5);
await sleep(50);
process.stdout.write(JSON.stringify(seen));
process.kill(process.pid, 'SIGKILL');

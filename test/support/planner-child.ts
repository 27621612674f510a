/**
 * A node with a planner that hears one event and kills itself at the named visit of a fault point:
 * `node planner-child.ts <missions> <runtime> <point>:<visit>`. With `list` it lives on and prints the visits.
 */
import { mkdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const [, , missionsDir = '', runtime = '', at = 'list'] = process.argv;
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
const { runtimeLayout } = await import('../../cells/runtime-layout.ts');
const { eventFilesIn, linesTo, openPlanner, plannerRegistry, publish, ScriptedModel } =
  await import('./planner.ts');
const { homelabEvent, proposal } = await import('./incidents.ts');

const layout = runtimeLayout(runtime);
mkdirSync(layout.root, { recursive: true });
const model = new ScriptedModel();
model.answer = () => proposal();
const quiet = (): void => undefined;
const node = await MissionNode.start({
  missionsDir,
  version: 'test',
  log: { info: quiet, warn: quiet, error: quiet },
  kernel: { registry: plannerRegistry() },
  openDoors: (mine) => openPlanner(mine, { layout, router: model, log: linesTo([]) }),
});
isArmed = true;
await publish(node, homelabEvent(1_764_000_000_000), 'the event');
while (eventFilesIn(layout).length === 0) await sleep(5);
await node.kernel.system.settled();
await sleep(50); // the last effect's outcome is on its way to the journal
process.stdout.write(JSON.stringify(seen));
process.kill(process.pid, 'SIGKILL');

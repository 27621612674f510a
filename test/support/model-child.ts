/** A node whose models are the environment's, for tests that kill it: `node model-child.ts <missions>`; at the fault point `KILL_AT` it kills itself. */
const at = process.env['KILL_AT'];
Object.assign(globalThis, {
  __lazarusFaultPoint: (point: string): void => {
    if (point === at) process.kill(process.pid, 'SIGKILL');
  },
});
// After the hook: cells/durable.ts reads it once.
const { MissionNode } = await import('../../actors/node.ts');
const { openModelDoor } = await import('../../actors/model-door.ts');
const quiet = (): void => undefined;
const log = { info: quiet, warn: quiet, error: quiet };
await MissionNode.start({
  missionsDir: process.argv[2] ?? '',
  version: 'test',
  drainMs: 100,
  log,
  openDoors: async (node) => [openModelDoor(node, { environment: process.env, log, lookMs: 50 })],
});
process.stdout.write('up\n');

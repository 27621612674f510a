/** As node-child.ts, with a bus: `node bus-child.ts <missions> <embedded | URL>`. */
import { openNatsDoor } from '../../actors/nats-door.ts';
import { MissionNode } from '../../actors/node.ts';
import { SOON } from './bus-intervals.ts';

const quiet = (): void => undefined;
const log = { info: quiet, warn: quiet, error: quiet };
const [, , missionsDir = '', nats = 'embedded'] = process.argv;
await MissionNode.start({
  missionsDir,
  version: '1.0.0',
  drainMs: 100,
  log,
  openDoors: async (node) => [
    await openNatsDoor(node, { nats, options: { context: false }, log, intervals: SOON }),
  ],
});
process.stdout.write('up\n');

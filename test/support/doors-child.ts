/** As node-child.ts, with every door: `node doors-child.ts <missions> <nats> <redis>`. What it warns of goes to standard error. */
import { MissionNode } from '../../actors/node.ts';
import { allDoors } from './all-doors.ts';

const [missionsDir = '', nats = '', redis = ''] = process.argv.slice(2);
const warn = (fields: object, message: string): void =>
  console.error(`${message} ${JSON.stringify(fields)}`);
const log = { info: () => undefined, warn, error: warn };
await MissionNode.start({
  missionsDir,
  version: 'test',
  drainMs: 100,
  log,
  openDoors: allDoors({ nats, redis }, log),
});
process.on('disconnect', () => process.exit(1)); // nobody is left to kill it
process.stdout.write('up\n');

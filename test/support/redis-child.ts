/**
 * A node with a Redis bridge for tests to kill: `node redis-child.ts <missions> <url>` says `up` when it accepts work. Any
 * message to it is answered by the bridge's status.
 */
import { MissionNode } from '../../actors/node.ts';
import { openRedisDoor } from '../../actors/redis-door.ts';

const [missionsDir = '', url = ''] = process.argv.slice(2);
const quiet = (): void => undefined;
const log = { info: quiet, warn: quiet, error: quiet };
const node = await MissionNode.start({
  missionsDir,
  version: 'test',
  drainMs: 100,
  log,
  openDoors: async (mine) => [
    await openRedisDoor(mine, {
      url,
      log,
      backoff: { firstMs: 20, mostMs: 100 },
      stream: { pollMs: 20 },
    }),
  ],
});
process.on('SIGTERM', () => void node.stop());
process.on('message', () => process.send?.(node.status().parts['redis']));
process.on('disconnect', () => process.exit(1)); // nobody is left to kill it
process.stdout.write('up\n');

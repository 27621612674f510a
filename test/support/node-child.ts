/** A node for tests to kill: `node node-child.ts <missions>` says `up` when it accepts work, and stops on SIGTERM. */
import { MissionNode } from '../../actors/node.ts';

const quiet = (): void => undefined;
const node = await MissionNode.start({
  missionsDir: process.argv[2] ?? '',
  version: 'test',
  drainMs: 100,
  log: { info: quiet, warn: quiet, error: quiet },
});
process.on('SIGTERM', () => void node.stop());
process.stdout.write('up\n');

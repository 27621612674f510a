/**
 * A node for tests to kill: `node actions-child.ts <missions> <runtime>` proposes the action `a`, approves it, and runs it,
 * which leaves a line in `<runtime>/ran`. It says `settled` when that is over.
 */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openActionsDoor } from '../../actors/actions/actions-door.ts';
import { runVerb } from '../../actors/control.ts';
import { MissionNode } from '../../actors/node.ts';
import { runtimeLayout } from '../../cells/runtime-layout.ts';
import { actionAddress } from '../../machines/addresses.ts';
import { proposal } from './action.ts';
import { RecordingExecutor } from './actions.ts';
import { WELL } from './action.ts';

const [, , missionsDir = '', root = ''] = process.argv;
const quiet = (): void => undefined;
const executor = new RecordingExecutor();
executor.answer = () => {
  appendFileSync(join(root, 'ran'), 'a\n');
  return Promise.resolve(WELL);
};
const node = await MissionNode.start({
  missionsDir,
  version: 'test',
  drainMs: 100,
  log: { info: quiet, warn: quiet, error: quiet },
  openDoors: async (opening) => [
    await openActionsDoor(opening, {
      layout: runtimeLayout(root),
      mode: 'on',
      executor,
      log: { info: quiet, warn: quiet },
      rescanMs: 100,
    }),
  ],
});
const { system } = node.kernel;
const address = actionAddress('a');
await system.spawn(address, 'action', { actionId: 'a' });
await system.send(address, {
  type: 'action.propose',
  content: proposal('a'),
  origin: 'system/planner/vps/web',
});
while (system.read(address).snapshot.value !== 'pending') await sleep(5);
await runVerb(node, 'actions.approve', { id: 'a', by: 'alice (x)' });
while (!system.read(address).snapshot.hasTag('settled')) await sleep(5);
process.stdout.write('settled\n');
process.exit(0);

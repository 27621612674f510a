/** As bus-child.ts, and at work: `node bus-writer.ts <missions> <cell>` says `up`, then pauses and resumes the mission for ever. */
import { openNatsDoor } from '../../actors/nats-door.ts';
import { MissionNode } from '../../actors/node.ts';
import { cellAddress } from '../../machines/addresses.ts';

const [missionsDir = '', cellId = ''] = process.argv.slice(2);
const quiet = (): void => undefined;
const log = { info: quiet, warn: quiet, error: quiet };
const node = await MissionNode.start({
  missionsDir,
  version: '1.0.0',
  log,
  openDoors: async (opening) => [
    await openNatsDoor(opening, { nats: 'embedded', options: { context: false }, log }),
  ],
});
await node.scanned;
process.stdout.write('up\n');
for (let n = 0; ; n += 1) {
  const type = n % 2 === 0 ? 'cell.pause' : 'cell.resume';
  await node.kernel.system.send(cellAddress(cellId), { type }).catch(quiet); // it may be paused from before
}

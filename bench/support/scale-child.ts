/** One side of the scale row: so many actors in a process of their own. Arguments: `ours` or `bare`, count, folder. */
import { serve, tell } from './child.ts';
import { openKernel, spawnTicks } from './kernel.ts';
import { bareActors, bareLoad, durableLoad } from './load.ts';

/** The same for every count, so that only the number of actors differs. */
const IN_FLIGHT = 1000;

/** So much that no segment closes: what checkpoints cost is the throughput row's sustained figure. */
const SEGMENT_BYTES = 1 << 30;

const [side, size, folder = ''] = process.argv.slice(2);
const count = Number(size);

if (side === 'bare') {
  const actors = bareActors(count);
  serve((ms) => Promise.resolve(bareLoad(actors, { ms: ms as number })));
} else {
  const kernel = await openKernel(folder, { segmentBytes: SEGMENT_BYTES });
  const addresses = await spawnTicks(kernel, count);
  serve((ms) => durableLoad(kernel.system, addresses, { inFlight: IN_FLIGHT, ms: ms as number }));
}
tell('up');

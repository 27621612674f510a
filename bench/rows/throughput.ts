/**
 * Durable events a second with 1,000 actors in flight, against `send` of XState alone: what durability, addressing and
 * acknowledgement cost on top of the machines themselves.
 */
import { alternate, perSecond, pooledRate, shown, spread, target } from '../harness.ts';
import type { Row } from '../harness.ts';
import { profiled } from '../profile.ts';
import { openKernel, spawnTicks } from '../support/kernel.ts';
import { bareActors, bareLoad, durableLoad } from '../support/load.ts';

const ACTORS = 1000;

export const row: Row = {
  name: 'throughput',
  title: 'Durable events/s, 1,000 actors in flight, against bare XState send',
  async measure(bench) {
    const kernel = await openKernel(bench.folder('throughput'));
    const addresses = await spawnTicks(kernel, ACTORS);
    const bare = bareActors(ACTORS);
    const ms = bench.pick({ full: 1000, quick: 400 });
    const { ours, baseline } = await alternate(
      bench.rounds,
      async () => {
        const sample = await durableLoad(kernel.system, addresses, { inFlight: ACTORS, ms });
        await kernel.compact(); // its cost is in the sustained figure, not in the baseline's turn
        return sample;
      },
      () => bareLoad(bare, { ms }),
    );
    const [rate, bareRate] = [pooledRate(ours), pooledRate(baseline)];
    const longMs = bench.pick({ full: 8000, quick: 6000 });
    const long = await durableLoad(kernel.system, addresses, { inFlight: ACTORS, ms: longMs });
    await kernel.close();
    return [
      target(
        'durable / bare',
        (rate / bareRate) * 100,
        { unit: '%', better: 'higher', atLeast: 35, aim: 50 },
        `${perSecond(rate)} against ${perSecond(bareRate)}; ${spread(ours, baseline)}`,
      ),
      shown(
        'sustained, with checkpoints and copies',
        pooledRate([long]),
        '/s',
        `over ${(long.ms / 1000).toFixed(0)} s in which upkeep empties the journal`,
        'higher',
      ),
    ];
  },
  async profile(bench) {
    const kernel = await openKernel(bench.folder('throughput'));
    const addresses = await spawnTicks(kernel, ACTORS);
    await durableLoad(kernel.system, addresses, { inFlight: ACTORS, ms: 500 });
    const spots = await profiled(async () => {
      await durableLoad(kernel.system, addresses, { inFlight: ACTORS, ms: 1500 });
    });
    await kernel.close();
    return spots;
  },
};

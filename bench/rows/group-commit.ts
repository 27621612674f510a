/** 64 events in flight, against an ideal journal with the same group commit and 64 lines in flight. */
import { alternate, perSecond, pooledRate, spread, target } from '../harness.ts';
import type { Row } from '../harness.ts';
import { profiled } from '../profile.ts';
import { idealLoad } from '../support/ideal-journal.ts';
import { openKernel, spawnTicks } from '../support/kernel.ts';
import { durableLoad } from '../support/load.ts';

const IN_FLIGHT = 64;

export const row: Row = {
  name: 'group-commit',
  title: '64 in flight, against an ideal journal with the same group commit',
  async measure(bench) {
    const folder = bench.folder('group-commit');
    const kernel = await openKernel(folder);
    const addresses = await spawnTicks(kernel, IN_FLIGHT);
    const load = { inFlight: IN_FLIGHT, ms: bench.pick({ full: 700, quick: 300 }) };
    const { ours, baseline } = await alternate(
      bench.pick({ full: 10, quick: 3 }),
      async () => {
        const sample = await durableLoad(kernel.system, addresses, load);
        await kernel.compact();
        return sample;
      },
      () => idealLoad(folder, load),
    );
    await kernel.close();
    const [rate, idealRate] = [pooledRate(ours), pooledRate(baseline)];
    return [
      target(
        'durable / ideal journal',
        (rate / idealRate) * 100,
        { unit: '%', better: 'higher', atLeast: 40, aim: 60 },
        `${perSecond(rate)} against ${perSecond(idealRate)}; ${spread(ours, baseline)}`,
      ),
    ];
  },
  async profile(bench) {
    const kernel = await openKernel(bench.folder('group-commit'));
    const addresses = await spawnTicks(kernel, IN_FLIGHT);
    await durableLoad(kernel.system, addresses, { inFlight: IN_FLIGHT, ms: 500 });
    const spots = await profiled(async () => {
      await durableLoad(kernel.system, addresses, { inFlight: IN_FLIGHT, ms: 1500 });
    });
    await kernel.close();
    return spots;
  },
};

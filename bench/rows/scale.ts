/**
 * What one event costs with 10 to 100,000 actors, events going round all of them: how the cost grows, against how that of
 * bare `send` grows. Always 1,000 events in flight, so that commits hold as many events whatever the number of actors.
 */
import { perSecond, pooledRate, shown, target } from '../harness.ts';
import type { Bench, Count, Figure, Row } from '../harness.ts';
import { profilingFlags, readProfile } from '../profile.ts';
import { startChild } from '../support/child.ts';
import type { BenchChild } from '../support/child.ts';

export const row: Row = {
  name: 'scale',
  title: 'Cost per event from 10 to 100,000 actors, against bare send at the same counts',
  async measure(bench) {
    const counts = bench.pick({ full: [10, 1000, 10_000, 100_000], quick: [10, 10_000] });
    const costs: { count: number; ours: number; bare: number }[] = [];
    for (const count of counts) costs.push({ count, ...(await costAt(bench, count)) });
    const [first] = costs;
    const last = costs.at(-1);
    if (first === undefined || last === undefined) throw new Error('no counts');
    const growth = last.ours / first.ours / (last.bare / first.bare);
    const what = `growth from 10 to ${last.count.toLocaleString('en')}, ours / bare`;
    const detail = `ours ${(last.ours / first.ours).toFixed(2)} x, bare ${(last.bare / first.bare).toFixed(2)} x`;
    return [
      last.count === 100_000
        ? target(what, growth, { unit: 'x', better: 'lower', atLeast: 1.3, aim: 1.1 }, detail)
        : shown(what, growth, 'x', `${detail}; a full run goes to 100,000`),
      ...costs.map(costFigure),
    ];
  },
  async profile(bench) {
    const profiles = bench.folder('profiles');
    const child = startSide('ours', 100_000, bench, profilingFlags(profiles));
    await child.next();
    await child.ask(3000);
    await child.exit();
    return readProfile(profiles);
  },
};

function startSide(side: 'ours' | 'bare', count: number, bench: Bench, more: string[]): BenchChild {
  const flags = ['--max-old-space-size=4096', ...more];
  return startChild('scale-child.ts', {
    args: [side, String(count), bench.folder('scale')],
    flags,
  });
}

/** us per event of either side, both alive at the same time, taking turns. */
async function costAt(bench: Bench, count: number): Promise<{ ours: number; bare: number }> {
  const sides = [startSide('ours', count, bench, []), startSide('bare', count, bench, [])] as const;
  for (const side of sides) await side.next();
  const ms = bench.pick({ full: 600, quick: 400 });
  const samples: [Count[], Count[]] = [[], []];
  for (let round = 0; round <= bench.rounds; round += 1)
    for (const i of round % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const)) {
      const sample = await sides[i].ask<Count>(ms);
      if (round > 0) samples[i].push(sample);
    }
  for (const side of sides) await side.kill();
  return { ours: 1e6 / pooledRate(samples[0]), bare: 1e6 / pooledRate(samples[1]) };
}

function costFigure({ count, ours, bare }: { count: number; ours: number; bare: number }): Figure {
  const rates = `${perSecond(1e6 / ours)}; bare ${bare.toFixed(1)} us`;
  return shown(`${count.toLocaleString('en')} actors, per event`, ours, 'us', rates);
}

/**
 * What the inspector costs: durable events a second with 1,000 actors in flight, with it and nobody watching, and with one
 * watcher, each against the same kernel without it; and the processor time of one event, which other programs on the machine
 * disturb less. The kernel has a listener for committed records, as a node always has.
 */
import type { Kernel } from '../../actors/kernel.ts';
import { alternate, perSecond, pooledRate, shown, spread } from '../harness.ts';
import type { Bench, Count, Figure, Row } from '../harness.ts';
import { profiled } from '../profile.ts';
import { inspected, startWatcher } from '../support/inspected.ts';
import { openKernel, spawnTicks } from '../support/kernel.ts';
import { durableLoad } from '../support/load.ts';

const ACTORS = 1000;

/** One turn of load. */
type Turn = Count & { cpuMs: number };

export const row: Row = {
  name: 'inspector',
  title: 'Inspector: durable events/s with it and nobody watching, and with one watcher',
  async measure(bench) {
    const { kernel, load } = await loaded(bench);
    const withDoor = async (): Promise<Turn> => {
      const door = await inspected(kernel);
      const sample = await load();
      await door.close();
      return sample;
    };
    const quiet = await alternate(bench.rounds, withDoor, load);
    const door = await inspected(kernel);
    const watcher = await startWatcher(door.inspector, ACTORS);
    const told: Count[] = [];
    const withWatcher = async (): Promise<Turn> => {
      await watcher.ask('watch');
      const sample = await load();
      told.push({ count: await watcher.ask<number>('rest'), ms: sample.ms });
      return sample;
    };
    const watched = await alternate(bench.rounds, withWatcher, load);
    const { skipped_events: skipped, dropped } = door.inspector.counts;
    await watcher.kill();
    await door.close();
    await kernel.close();
    return [
      ...figures('nobody watches', quiet),
      ...figures('one watches', watched),
      shown(
        'messages the watcher got',
        pooledRate(told),
        '/s',
        `${skipped} events left out, ${dropped} watchers dropped`,
        'higher',
      ),
    ];
  },
  async profile(bench) {
    const { kernel, load } = await loaded(bench);
    const door = await inspected(kernel);
    const watcher = await startWatcher(door.inspector, ACTORS);
    await watcher.ask('watch');
    const spots = await profiled(async () => {
      for (let turn = 0; turn < 3; turn += 1) await load();
    });
    await watcher.kill();
    await door.close();
    await kernel.close();
    return spots;
  },
};

async function loaded(bench: Bench): Promise<{ kernel: Kernel; load: () => Promise<Turn> }> {
  const kernel = await openKernel(bench.folder('inspector'));
  kernel.system.on('committed', () => undefined);
  const addresses = await spawnTicks(kernel, ACTORS);
  const ms = bench.pick({ full: 1000, quick: 400 });
  const load = async (): Promise<Turn> => {
    const before = process.cpuUsage();
    const sample = await durableLoad(kernel.system, addresses, { inFlight: ACTORS, ms });
    const { user, system } = process.cpuUsage(before);
    await kernel.compact();
    return { ...sample, cpuMs: (user + system) / 1000 };
  };
  return { kernel, load };
}

function figures(what: string, { ours, baseline }: { ours: Turn[]; baseline: Turn[] }): Figure[] {
  const [rate, bare] = [pooledRate(ours), pooledRate(baseline)];
  const [cpu, bareCpu] = [cpuOf(ours), cpuOf(baseline)];
  const detail = `${perSecond(rate)} against ${perSecond(bare)}; ${spread(ours, baseline)}`;
  return [
    shown(`${what}, of the rate without it`, (rate / bare) * 100, '%', detail, 'higher'),
    shown(
      `${what}, processor time of an event`,
      cpu / bareCpu,
      'x',
      `${cpu.toFixed(1)} us against ${bareCpu.toFixed(1)} us`,
    ),
  ];
}

/** us of an event. */
const cpuOf = (turns: readonly Turn[]): number => {
  const [cpuMs, count] = [turns.map((t) => t.cpuMs), turns.map((t) => t.count)].map((all) =>
    all.reduce((sum, n) => sum + n, 0),
  ) as [number, number];
  return (cpuMs / count) * 1000;
};

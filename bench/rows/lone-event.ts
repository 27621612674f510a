/** One durable event at a time, nothing else in flight, against one bare append and fdatasync of as many bytes. */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ActorSystem } from '../../actors/system.ts';
import { alternate, quantile, target } from '../harness.ts';
import type { Row } from '../harness.ts';
import { profiled } from '../profile.ts';
import { lineOf } from '../support/ideal-journal.ts';
import { openKernel, spawnTicks } from '../support/kernel.ts';
import { stepEvent } from '../support/machine.ts';

/** Events of one turn: short turns, so that a slow moment of the disk meets both sides. */
const TURN = 50;

export const row: Row = {
  name: 'lone-event',
  title: 'One durable event alone, against one bare append + fdatasync',
  async measure(bench) {
    const folder = bench.folder('lone-event');
    const kernel = await openKernel(folder);
    const [address = ''] = await spawnTicks(kernel, 1);
    const fd = openSync(join(folder, 'bare.log'), 'a');
    const { ours, baseline } = await alternate(
      bench.pick({ full: 60, quick: 12 }),
      () => loneEvents(kernel.system, address),
      () => bareAppends(fd),
    );
    closeSync(fd);
    await kernel.close();
    const [event, bare] = [ours.flat(), baseline.flat()];
    return (
      [
        ['p50', 0.5, 1.5, 1.25],
        ['p99', 0.99, 2.5, 2],
      ] as const
    ).map(([name, q, atLeast, aim]) => {
      const [us, bareUs] = [quantile(event, q) * 1000, quantile(bare, q) * 1000];
      return target(
        `event / bare append, ${name}`,
        us / bareUs,
        { unit: 'x', better: 'lower', atLeast, aim },
        `${us.toFixed(0)} us against ${bareUs.toFixed(0)} us, ${event.length} each`,
      );
    });
  },
  async profile(bench) {
    const kernel = await openKernel(bench.folder('lone-event'));
    const [address = ''] = await spawnTicks(kernel, 1);
    const spots = await profiled(async () => {
      for (let turn = 0; turn < 60; turn += 1) await loneEvents(kernel.system, address);
    });
    await kernel.close();
    return spots;
  },
};

async function loneEvents(system: ActorSystem, address: string): Promise<number[]> {
  const took: number[] = [];
  for (let n = 0; n < TURN; n += 1) {
    const event = stepEvent(n);
    const startedAt = performance.now();
    await system.send(address, event);
    took.push(performance.now() - startedAt);
    await nextTurn();
  }
  return took;
}

async function bareAppends(fd: number): Promise<number[]> {
  const took: number[] = [];
  for (let n = 0; n < TURN; n += 1) {
    const line = lineOf(n);
    const startedAt = performance.now();
    writeSync(fd, line);
    fdatasyncSync(fd);
    took.push(performance.now() - startedAt);
    await nextTurn();
  }
  return took;
}

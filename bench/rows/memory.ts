/** What actors that do nothing cost in memory, beside bare XState, and what the runtime itself takes. */
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { MachineRegistry } from '../../actors/logic.ts';
import { cellMachine } from '../../machines/cell.machine.ts';
import { alternate, median, target } from '../harness.ts';
import type { Bench, Figure, Row } from '../harness.ts';
import { profiled } from '../profile.ts';
import { spawnCells } from '../support/cells.ts';
import { startChild, warmCompileCache } from '../support/child.ts';
import { openKernel, spawnTicks } from '../support/kernel.ts';
import { bareActors } from '../support/load.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

export const row: Row = {
  name: 'memory',
  title: 'Memory: resident actor, passivated cell, empty runtime',
  async measure(bench) {
    const actors = bench.pick({ full: 20_000, quick: 5000 });
    const cells = 2000;
    const bareKb = await heapPerItem(actors, () => Promise.resolve(bareActors(actors)));
    const kernel = await openKernel(bench.folder('memory'));
    const residentKb = await heapPerItem(actors, async () => {
      await spawnTicks(kernel, actors);
      await kernel.system.settled();
      return kernel.system;
    });
    await kernel.halt();
    const { awakeKb, passiveKb } = await heapOfCells(bench.folder('memory-cells'), cells);
    return [
      target(
        'heap of a resident idle actor',
        residentKb,
        { unit: 'KB', better: 'lower', atLeast: 6, aim: 5 },
        `bare XState ${bareKb.toFixed(2)} KB; ${actors} actors each`,
      ),
      target(
        'heap of a passivated cell',
        passiveKb,
        { unit: 'KB', better: 'lower', atLeast: 1, aim: 0.5 },
        `awake ${awakeKb.toFixed(1)} KB with one task in its files; ${cells} cells`,
      ),
      await emptyRuntime(bench, bench.pick({ full: 5, quick: 2 })),
    ];
  },
  async profile(bench) {
    const kernel = await openKernel(bench.folder('memory'));
    const spots = await profiled(async () => void (await spawnTicks(kernel, 20_000)));
    await kernel.halt();
    return spots;
  },
};

/** Cell actors while they are awake, and after the kernel sent them to sleep. */
async function heapOfCells(
  folder: string,
  count: number,
): Promise<{ awakeKb: number; passiveKb: number }> {
  const registry = new MachineRegistry().register({ machine: cellMachine });
  const kernel = await openKernel(folder, { registry });
  kernel.system.effects.suspend();
  const before = await settledHeap();
  await spawnCells(kernel, count);
  const awake = await settledHeap();
  await kernel.passivateIdle();
  const passive = await settledHeap();
  const left = [...kernel.system.actors.values()].filter(({ resident }) => resident !== undefined);
  if (left.length > 0) throw new Error(`${left.length} cells are still awake`);
  await kernel.halt();
  return {
    awakeKb: (awake - before) / count / 1024,
    passiveKb: (passive - before) / count / 1024,
  };
}

/** A node on an empty folder, a second after it is up. */
async function emptyRuntime(bench: Bench, rounds: number): Promise<Figure> {
  const folder = bench.folder('memory-node');
  const compileCache = await warmCompileCache(bench);
  const { ours: node, baseline: bare } = await alternate(
    rounds,
    async () => {
      const child = startChild('node-child.ts', { args: [folder], compileCache });
      await child.next();
      await sleep(1000);
      const bytes = await child.ask<number>({ t: 'rss' });
      await child.leave();
      return bytes / 2 ** 20;
    },
    async () => {
      const child = startChild('bare-child.mjs');
      const bytes = await child.next<number>();
      await child.kill();
      return bytes / 2 ** 20;
    },
  );
  return target(
    'RSS of an empty runtime',
    median(node),
    { unit: 'MB', better: 'lower', atLeast: 100, aim: 80 },
    `bare Node ${median(bare).toFixed(0)} MB; median of ${rounds}`,
  );
}

/** KB of heap that each of `count` things holds. */
async function heapPerItem(count: number, make: () => Promise<unknown>): Promise<number> {
  const before = await settledHeap();
  const alive = [await make()];
  const kb = ((await settledHeap()) - before) / count / 1024;
  alive.length = 0; // named here, so that nothing was collected before the second look
  return kb;
}

/** Bytes in use when nothing more can be collected. */
async function settledHeap(): Promise<number> {
  for (let i = 0; i < 3; i += 1) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return process.memoryUsage().heapUsed;
}

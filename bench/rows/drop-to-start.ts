/**
 * A mission file is moved into the folder of a running node, until its agent has started: with `isolation_level: none`
 * the agent's first step is announced, with `level_1` its worker process has answered too. As in the product's default,
 * two workers stand by and are replaced while the next missions are dropped.
 */
import type { MissionNode } from '../../actors/node.ts';
import { quantile, target } from '../harness.ts';
import type { Bench, Figure, Row } from '../harness.ts';
import { profiled } from '../profile.ts';
import { committed, dropMission, startNode } from '../support/mission-node.ts';

type Level = 'none' | 'level_1';

export const row: Row = {
  name: 'drop-to-start',
  title: 'File dropped to agent started, in a running node',
  async measure(bench) {
    return onNode(bench, async (node, folder) => {
      const samples = bench.pick({ full: 120, quick: 20 });
      const took: Record<Level, number[]> = { none: [], level_1: [] };
      const endAt = performance.now() + bench.pick({ full: 25_000, quick: 8000 });
      for (let n = 0; n < samples && performance.now() < endAt; n += 1)
        for (const level of ['none', 'level_1'] as const) {
          const ms = await dropOne(node, folder, { n, level });
          if (n >= samples / 20) took[level].push(ms); // the first few warm up
        }
      return (['none', 'level_1'] as const).map((level) => figure(level, took[level]));
    });
  },
  async profile(bench) {
    return onNode(bench, (node, folder) =>
      profiled(async () => {
        for (let n = 0; n < 20; n += 1) await dropOne(node, folder, { n, level: 'level_1' });
      }),
    );
  },
};

async function onNode<T>(
  bench: Bench,
  work: (node: MissionNode, folder: string) => Promise<T>,
): Promise<T> {
  const folder = bench.folder('drop');
  const node = await startNode(folder);
  await node.scanned;
  try {
    return await work(node, folder);
  } finally {
    await node.stop();
  }
}

/** ms from the rename to the agent's start; returns when the mission is over. */
async function dropOne(
  node: MissionNode,
  folder: string,
  { n, level }: { n: number; level: Level },
): Promise<number> {
  const cellId = `drop-${level}-${n}`;
  const cell = `cell/${cellId}`;
  const stepping = committed(
    node,
    `first step of ${cellId}`,
    ({ address, event }) =>
      address === cell && event.type === 'task.progressed' && event['step'] !== null,
  );
  const worker =
    level === 'none'
      ? 0
      : committed(
          node,
          `worker of ${cellId}`,
          ({ address, event }) => address === `${cell}/agent/a0` && event.type === 'worker.started',
        );
  const over = committed(
    node,
    `end of ${cellId}`,
    ({ address, event }) => address === cell && event.type === 'task.finished',
  );
  const droppedAt = dropMission(folder, { cellId, level, run: ['true'] });
  const startedAt = Math.max(await stepping, await worker);
  await over;
  return startedAt - droppedAt;
}

function figure(level: Level, took: readonly number[]): Figure {
  const what = level === 'none' ? 'level none, p99' : 'level_1 (its worker has answered), p99';
  return target(
    what,
    quantile(took, 0.99),
    { unit: 'ms', better: 'lower', atLeast: 100, aim: 50 },
    `p50 ${quantile(took, 0.5).toFixed(1)} ms, ${took.length} drops`,
  );
}

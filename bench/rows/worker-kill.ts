/**
 * An agent's worker is SIGKILLed in the middle of a step, until the step runs again in the next worker. Baseline: an empty
 * Node child is SIGKILLed, and the next one spawned when the end of the first is known.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { MissionNode } from '../../actors/node.ts';
import { alternate, median, quantile, shown, target } from '../harness.ts';
import type { Bench, Row } from '../harness.ts';
import { profiled } from '../profile.ts';
import { startChild } from '../support/child.ts';
import { committed, dropMission, startNode } from '../support/mission-node.ts';

/** Says by a file that it runs, for each try another one, and stays. */
const STEP = ['sh', '-c', ': > "artifacts/runs.$LAZARUS_AGENT.$LAZARUS_ATTEMPT"; exec sleep 600'];

/** ms since the kill. */
interface Revival {
  exitKnown: number;
  ready: number;
  resumed: number;
}

export const row: Row = {
  name: 'worker-kill',
  title: 'Agent worker SIGKILLed to its work resumed',
  async measure(bench) {
    const agents = bench.pick({ full: 24, quick: 6 });
    return onMission(bench, agents, async (node, artifacts) => {
      let next = 0;
      const revivals: Revival[] = [];
      const { baseline } = await alternate(
        agents - 1, // each agent is killed once: a second kill without progress would be met with backoff
        async () => {
          revivals.push(await killWorker(node, artifacts, `a${next++}`));
          return 0;
        },
        killBare,
      );
      const resumed = revivals.slice(1).map((revival) => revival.resumed);
      const stage = (name: keyof Revival): string =>
        median(revivals.map((revival) => revival[name])).toFixed(0);
      const way = `exit known ${stage('exitKnown')} ms, worker ready ${stage('ready')} ms, step runs ${stage('resumed')} ms`;
      return [
        target(
          'cold, against kill detection + bare spawn',
          median(resumed) / median(baseline),
          { unit: 'x', better: 'lower', atLeast: 1.3, aim: 1.1 },
          `${median(resumed).toFixed(1)} ms against ${median(baseline).toFixed(1)} ms, ${resumed.length} each; ${way}`,
        ),
        shown('cold, p99', quantile(resumed, 0.99), 'ms', ''),
        target(
          'warm standby',
          median(resumed),
          { unit: 'ms', better: 'lower', atLeast: 15, aim: 10 },
          'the node starts the next worker after the kill: no standby was ready',
        ),
      ];
    });
  },
  profile: (bench) =>
    onMission(bench, 12, (node, artifacts) =>
      profiled(async () => {
        for (let n = 0; n < 12; n += 1) await killWorker(node, artifacts, `a${n}`);
      }),
    ),
};

/** A node with one mission whose agents all run a step that does not end. */
async function onMission<T>(
  bench: Bench,
  agents: number,
  work: (node: MissionNode, artifacts: string) => Promise<T>,
): Promise<T> {
  const folder = bench.folder('worker-kill');
  const node = await startNode(folder);
  await node.scanned;
  const cellId = 'killed';
  const artifacts = join(folder, cellId, 'artifacts');
  try {
    dropMission(folder, { cellId, level: 'level_1', run: STEP, agents });
    for (let n = 0; n < agents; n += 1) await untilThere(join(artifacts, `runs.a${n}.1`));
    return await work(node, artifacts);
  } finally {
    await node.stop();
  }
}

async function killWorker(node: MissionNode, artifacts: string, agent: string): Promise<Revival> {
  const pid = node.workers.get('killed', agent)?.pid;
  if (pid === undefined) throw new Error(`agent ${agent} has no worker`);
  const address = `cell/killed/agent/${agent}`;
  const heard = (type: string): Promise<number> =>
    committed(node, `${type} of ${agent}`, (r) => r.address === address && r.event.type === type);
  const [exit, ready] = [heard('xstate.done.actor.worker'), heard('worker.started')];
  const killedAt = performance.now();
  process.kill(pid, 'SIGKILL');
  const resumedAt = await untilThere(join(artifacts, `runs.${agent}.2`));
  return {
    exitKnown: (await exit) - killedAt,
    ready: (await ready) - killedAt,
    resumed: resumedAt - killedAt,
  };
}

async function killBare(): Promise<number> {
  const first = startChild('bare-child.mjs');
  await first.next();
  const killedAt = performance.now();
  await first.kill();
  const second = startChild('bare-child.mjs');
  await second.next();
  const took = performance.now() - killedAt;
  await second.kill();
  return took;
}

/** Looks every millisecond, which is as exact as a figure of tens of them needs. */
async function untilThere(path: string): Promise<number> {
  const deadline = performance.now() + 30_000;
  while (!existsSync(path)) {
    if (performance.now() > deadline) throw new Error(`${path} never came`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return performance.now();
}

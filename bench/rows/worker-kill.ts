/**
 * An agent's worker is SIGKILLed in the middle of a step, until the step runs again in the next worker. Baseline: an empty
 * Node child is SIGKILLed, and the next one spawned when the end of the first is known.
 *
 * Warm: another worker stands by. Cold: none ever does, so a process is started when Lazarus has decided. Shown beside
 * them: the one that stood by was taken by an agent that was killed just before, so the next process is started as soon as
 * the worker's end is known.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MissionNode } from '../../actors/node.ts';
import { alternate, median, quantile, shown, target } from '../harness.ts';
import type { Bench, Row } from '../harness.ts';
import { profiled } from '../profile.ts';
import { startChild } from '../support/child.ts';
import { committed, dropMission, standingBy, startNode } from '../support/mission-node.ts';

/** Says by a file that it runs, for each try another one, and stays. */
const STEP = ['sh', '-c', ': > "artifacts/runs.$LAZARUS_AGENT.$LAZARUS_ATTEMPT"; exec sleep 600'];

/** Until the first workers have left their compiled code, as they have on every start of the product but the first. */
const CACHE_MS = 1500;

/** ms since the kill. */
interface Revival {
  exitKnown: number;
  ready: number;
  resumed: number;
}

/** A node with one mission whose agents all run a step that does not end. */
interface Mission {
  node: MissionNode;
  standby: number;
  artifacts: string;
}

export const row: Row = {
  name: 'worker-kill',
  title: 'Agent worker SIGKILLed to its work resumed',
  async measure(bench) {
    const rounds = bench.pick({ full: 12, quick: 3 });
    // Each agent is killed once: a second kill without progress would be met with backoff.
    const { warm, taken, bare } = await onMission(
      bench,
      { agents: 2 * (rounds + 1), standby: 1 },
      (mission) => killPairs(mission, rounds),
    );
    const never = await onMission(bench, { agents: rounds + 1, standby: 0 }, (mission) =>
      killSingly(mission, rounds),
    );
    const baseline = median(bare);
    const against = (took: readonly Revival[]): string =>
      `${median(resumed(took)).toFixed(1)} ms against ${baseline.toFixed(1)} ms, ${took.length} each; ${stages(took)}`;
    return [
      target(
        'cold, against kill detection + bare spawn',
        median(resumed(never)) / baseline,
        { unit: 'x', better: 'lower', atLeast: 1.3, aim: 1.1 },
        against(never),
      ),
      shown(
        'the one that stood by was just taken',
        median(resumed(taken)) / baseline,
        'x',
        against(taken),
      ),
      shown('cold, p99', quantile(resumed(never), 0.99), 'ms', ''),
      target(
        'warm standby',
        median(resumed(warm)),
        { unit: 'ms', better: 'lower', atLeast: 15, aim: 10 },
        `${warm.length} kills; ${stages(warm)}`,
      ),
    ];
  },
  profile: (bench) =>
    onMission(bench, { agents: 12, standby: 1 }, (mission) =>
      profiled(async () => {
        for (let n = 0; n < 12; n += 1) await killWhenReady(mission, n);
      }),
    ),
};

const resumed = (took: readonly Revival[]): number[] => took.map((revival) => revival.resumed);

function stages(took: readonly Revival[]): string {
  const stage = (name: keyof Revival): string =>
    median(took.map((revival) => revival[name])).toFixed(0);
  return `exit known ${stage('exitKnown')} ms, worker ready ${stage('ready')} ms, step runs ${stage('resumed')} ms`;
}

/** One that finds a worker standing by, and at once another one that does not; in turns with the baseline. */
async function killPairs(
  mission: Mission,
  rounds: number,
): Promise<{ warm: Revival[]; taken: Revival[]; bare: number[] }> {
  let next = 0;
  const warm: Revival[] = [];
  const taken: Revival[] = [];
  const { baseline } = await alternate(
    rounds,
    async () => {
      warm.push(await killWhenReady(mission, next++));
      taken.push(await killWorker(mission, next++));
      await standingBy(mission.node, mission.standby); // whose start must not disturb the baseline
      return 0;
    },
    killBare,
  );
  return { warm: warm.slice(1), taken: taken.slice(1), bare: baseline }; // the first round warms up
}

async function killSingly(mission: Mission, rounds: number): Promise<Revival[]> {
  const took: Revival[] = [];
  for (let n = 0; n <= rounds; n += 1) took.push(await killWhenReady(mission, n));
  return took.slice(1);
}

async function onMission<T>(
  bench: Bench,
  { agents, standby }: { agents: number; standby: number },
  work: (mission: Mission) => Promise<T>,
): Promise<T> {
  const folder = bench.folder('worker-kill');
  const node = await startNode(folder, { standby });
  await node.scanned;
  const cellId = 'killed';
  const artifacts = join(folder, cellId, 'artifacts');
  try {
    dropMission(folder, { cellId, level: 'level_1', run: STEP, agents });
    for (let n = 0; n < agents; n += 1) await untilThere(join(artifacts, `runs.a${n}.1`));
    await sleep(CACHE_MS);
    return await work({ node, artifacts, standby });
  } finally {
    await node.stop();
  }
}

async function killWhenReady(mission: Mission, agent: number): Promise<Revival> {
  await standingBy(mission.node, mission.standby);
  return killWorker(mission, agent);
}

async function killWorker({ node, artifacts }: Mission, number: number): Promise<Revival> {
  const agent = `a${number}`;
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
    await sleep(1);
  }
  return performance.now();
}

/**
 * What supervising costs: the CPU time and memory of a node that has 10,000 agents and nothing to do, against the same
 * node with none; and 10,000 agents that fail at the same moment, until Lazarus has decided about each, and until each is
 * back and stands in the ledger.
 */
import { median, shown } from '../harness.ts';
import type { Bench, Figure, Row } from '../harness.ts';
import { profilingFlags, readProfile } from '../profile.ts';
import { startChild, warmCompileCache } from '../support/child.ts';
import type { BenchChild } from '../support/child.ts';
import { AGENTS_PER_CELL, buildManyCells } from '../support/many-cells.ts';
import type { Idle, Together } from '../support/supervised.ts';

export const row: Row = {
  name: 'supervision',
  title: 'Supervising 10,000 agents',
  async measure(bench) {
    const compileCache = await warmCompileCache(bench);
    const agents = agentsOf(bench);
    const windowMs = bench.pick({ full: 10_000, quick: 2000 });
    const bare = startChild('node-child.ts', { args: [bench.folder('empty')], compileCache });
    const full = startChild('node-child.ts', { args: [await built(bench)], compileCache });
    await Promise.all([bare.next(), full.next()]);
    await full.ask({ t: 'agents' });
    const [without, with_] = [await idle(bare, windowMs), await idle(full, windowMs)];
    const together = await full.ask<Together>({ t: 'fail together' });
    await Promise.all([bare.kill(), full.kill()]);
    return [...idleFigures(agents, without, with_), ...togetherFigures(agents, together)];
  },
  async profile(bench) {
    const profiles = bench.folder('profiles');
    const flags = profilingFlags(profiles);
    const child = startChild('node-child.ts', { args: [await built(bench)], flags });
    await child.next();
    await child.ask({ t: 'agents' });
    await child.ask({ t: 'fail together' });
    await child.exit();
    return readProfile(profiles);
  },
};

const agentsOf = (bench: Bench): number => bench.pick({ full: 10_000, quick: 1000 });

let folder: Promise<string> | undefined;

function built(bench: Bench): Promise<string> {
  folder ??= (async () => {
    const path = bench.folder('supervised');
    await buildManyCells(path, agentsOf(bench) / AGENTS_PER_CELL);
    return path;
  })();
  return folder;
}

/** The first window is not counted: what a start leaves to do is done in it. */
async function idle(child: BenchChild, windowMs: number): Promise<Idle> {
  const windows: Idle[] = [];
  for (let n = 0; n < 4; n += 1)
    windows.push(await child.ask<Idle>({ t: 'idle', ms: windowMs / 4 }));
  const counted = windows.slice(1);
  return {
    cpuMsPerS: median(counted.map(({ cpuMsPerS }) => cpuMsPerS)),
    rss: median(counted.map(({ rss }) => rss)),
  };
}

function idleFigures(agents: number, without: Idle, with_: Idle): Figure[] {
  const perAgent = (with_.rss - without.rss) / agents / 1024;
  return [
    shown(
      `CPU time in a second, ${agents} agents idle`,
      with_.cpuMsPerS,
      'ms',
      `${without.cpuMsPerS.toFixed(1)} ms with none`,
    ),
    shown(
      `RSS an agent, cell included`,
      perAgent,
      'KB',
      `${mb(with_.rss)} MB with ${agents}, ${mb(without.rss)} MB with none`,
    ),
  ];
}

function togetherFigures(agents: number, { decided, back, recorded }: Together): Figure[] {
  const each = (ms: number): string => `${((ms / agents) * 1000).toFixed(0)} us each`;
  return [
    shown(`${agents} fail at once, all decided about`, decided, 'ms', each(decided)),
    shown(`... all back`, back, 'ms', each(back)),
    shown(`... all in the ledger, durable`, recorded, 'ms', each(recorded)),
  ];
}

const mb = (bytes: number): string => (bytes / 1024 / 1024).toFixed(0);

/**
 * A node starts on a folder with 10,000 cells and 40,000 agents, all at rest: until it accepts work, until every agent has
 * answered a read, and until it has found the edits that people made while it was down. Times from the process's start.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { median, shown, target } from '../harness.ts';
import type { Bench, Figure, Row } from '../harness.ts';
import { profilingFlags, readProfile } from '../profile.ts';
import { startChild, warmCompileCache } from '../support/child.ts';
import { AGENTS_PER_CELL, buildManyCells, manyCellId } from '../support/many-cells.ts';

/** Cells that are edited while the node is down, spread over all. */
const EDITS = 50;

interface Start {
  accepting: number;
  answering: number;
  found: number;
}

export const row: Row = {
  name: 'many-cells',
  title: 'Restart with 10,000 cells and 40,000 agents',
  async measure(bench) {
    const cells = cellsOf(bench);
    const folder = await built(bench);
    const compileCache = await warmCompileCache(bench);
    const starts: Start[] = [];
    const rounds = bench.pick({ full: 3, quick: 1 });
    const endAt = performance.now() + 30_000; // a slow disk is measured once
    while (starts.length < rounds && (starts.length === 0 || performance.now() < endAt))
      starts.push(await startOnce(folder, { cells, round: starts.length, compileCache }));
    const detail = `${starts.length} start(s), the first behind a clean stop, others behind a kill`;
    return [
      figure(
        cells,
        'accepting',
        starts.map((s) => s.accepting),
        0.5,
        0.3,
        detail,
      ),
      figure(
        cells,
        'every agent answers',
        starts.map((s) => s.answering),
        3,
        2,
        detail,
      ),
      figure(
        cells,
        `${EDITS} offline edits found`,
        starts.map((s) => s.found),
        10,
        5,
        detail,
      ),
    ];
  },
  async profile(bench) {
    const profiles = bench.folder('profiles');
    const args = [await built(bench)];
    const child = startChild('node-child.ts', { args, flags: profilingFlags(profiles) });
    await child.next();
    await child.ask({ t: 'agents' });
    await child.exit();
    return readProfile(profiles);
  },
};

const cellsOf = (bench: Bench): number => bench.pick({ full: 10_000, quick: 500 });

let folder: Promise<string> | undefined;

/** Half a minute's work, so it is done once. */
function built(bench: Bench): Promise<string> {
  folder ??= (async () => {
    const path = bench.folder('many-cells');
    await buildManyCells(path, cellsOf(bench));
    return path;
  })();
  return folder;
}

async function startOnce(
  folder: string,
  { cells, round, compileCache }: { cells: number; round: number; compileCache: string },
): Promise<Start> {
  const name = `edited ${round}`;
  const edited = Array.from({ length: EDITS }, (_, i) =>
    manyCellId(Math.floor(((i + 0.5) * cells) / EDITS)),
  );
  for (const cellId of edited) rename(join(folder, cellId, 'agents', 'a0.json'), name);
  const startedAt = performance.now();
  const child = startChild('node-child.ts', { args: [folder], compileCache });
  await child.next();
  const accepting = performance.now() - startedAt;
  const agents = await child.ask<number>({ t: 'agents' });
  const answering = performance.now() - startedAt;
  if (agents !== cells * AGENTS_PER_CELL) throw new Error(`${agents} agents answered`);
  await child.ask({ t: 'renamed', cellIds: edited, name });
  const found = performance.now() - startedAt;
  await child.kill();
  return { accepting, answering, found };
}

/** An edit as an editor makes it: the runtime's own fields stay. */
function rename(path: string, name: string): void {
  const content = JSON.parse(readFileSync(path, 'utf8')) as object;
  writeFileSync(path, JSON.stringify({ ...content, name }));
}

/** Targets hold for the full number of cells only. */
function figure(
  cells: number,
  what: string,
  took: readonly number[],
  atLeastS: number,
  aimS: number,
  detail: string,
): Figure {
  const ms = median(took);
  if (cells !== 10_000) return shown(what, ms, 'ms', `${detail}; with ${cells} cells only`);
  return target(
    what,
    ms,
    { unit: 'ms', better: 'lower', atLeast: atLeastS * 1000, aim: aimS * 1000 },
    detail,
  );
}

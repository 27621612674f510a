/**
 * `npm run crash`: the crash and fault proof. Prints what was tried and what came of it; exit 1 on any violation, whose
 * folder is then kept. `--short` is for every change: each named fault point once and twenty seconds of random kills, and
 * ten seconds each of the chain from an event to an action and of the loop from a drift to its end; the full form tries every
 * visit of every point and kills at random for ten minutes. `--seed N` repeats the random choices, `--only
 * boundaries|random|disk|chain|loop` runs one part, `--seconds N` bounds each but the disk.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { listPoints, nameOf, spread, tryPoint } from './boundaries.ts';
import type { BoundaryResult } from './boundaries.ts';
import { listChain, tryChain } from './chain.ts';
import { Chance } from './random.ts';
import { listLoop, tryLoop } from './loop.ts';
import { killAtRandom } from './random-kills.ts';
import { fillTheDisk } from './small-disk.ts';
import { KINDS } from './report.ts';
import type { Trial } from './trial.ts';

const { values } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    seed: { type: 'string' },
    only: { type: 'string' },
    seconds: { type: 'string' },
  },
});
const seed = Number(values.seed ?? Date.now() % 1_000_000);
const bound = values.seconds === undefined ? undefined : Number(values.seconds) * 1000;
const root = mkdtempSync(join(tmpdir(), 'lazarus-crash-'));
/** A life waits a third of its time, for disks, timers and processes, and uses one processor at a time. */
const AT_ONCE = Math.min(8, 2 * availableParallelism());

type Tried = Pick<Trial, 'folder' | 'violations' | 'recoveries' | 'acknowledged' | 'remove'>;

interface Part {
  name: string;
  tried: string;
  trials: Tried[];
  skipped?: string;
}

interface Walk {
  name: string;
  /** From where to where. */
  way: string;
  list: () => Promise<{ points: string[]; trial: Tried }>;
  try: (at: string) => Promise<{ trial: Tried; wasKilled: boolean }>;
}

const CHAIN: Walk = {
  name: 'chain',
  way: 'from an event to a verified action',
  list: listChain,
  try: tryChain,
};
const LOOP: Walk = {
  name: 'loop',
  way: 'from a drift that is found to one that is gone',
  list: listLoop,
  try: tryLoop,
};

console.log(`seed ${seed}; ${values.short ? 'short' : 'full'} form; folders in ${root}`);
const parts: Part[] = [];
if (wants('boundaries')) parts.push(await boundaries());
if (wants('random')) parts.push(await randomKills());
if (wants('disk')) parts.push(await smallDisk());
if (wants('chain')) parts.push(await walked(CHAIN));
if (wants('loop')) parts.push(await walked(LOOP));
const violations = report(parts);
if (violations === 0) rmSync(root, { recursive: true, force: true });
process.exit(violations === 0 && parts.length > 0 ? 0 : 1);

function wants(part: string): boolean {
  return values.only === undefined || values.only === part;
}

async function boundaries(): Promise<Part> {
  const { points, clean } = await listPoints(root);
  const chance = new Chance(seed);
  const queue = spread(points, () => chance.next());
  const names = new Set(points.map(nameOf));
  const until = performance.now() + (bound ?? (values.short ? 60_000 : Infinity));
  const least = values.short || bound !== undefined ? names.size : points.length;
  console.log(`${points.length} visits of ${names.size} fault points`);
  const results: BoundaryResult[] = [...clean];
  let taken = 0;
  const worker = async (): Promise<void> => {
    while (taken < queue.length && (performance.now() < until || taken < least)) {
      const point = queue[taken];
      taken += 1;
      if (point === undefined) return;
      const result = await tryPoint(root, point);
      results.push(result);
      done(result.trial, `${point.life} life, ${point.at}`);
      if (taken % 100 === 0) console.log(`  ${taken} of ${queue.length} tried`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  const hit = results.filter(({ wasKilled }) => wasKilled);
  const hitNames = new Set(hit.map(({ point }) => (point ? nameOf(point) : '')));
  const tried = `${hit.length} kills at ${hitNames.size} of ${names.size} points; ${taken - hit.length} visits did not come again`;
  return { name: 'boundaries', tried, trials: results.map(({ trial }) => trial) };
}

async function randomKills(): Promise<Part> {
  const until = performance.now() + (bound ?? (values.short ? 20_000 : 600_000));
  const chance = new Chance(seed + 1);
  const onTrial = (trial: Trial): void => done(trial, 'random kills');
  const { trials, kills, workerKills } = await killAtRandom(root, { chance, until, onTrial });
  const tried = `${kills} runtimes and ${workerKills} workers killed in ${trials.length} rounds`;
  return { name: 'random kills', tried, trials };
}

async function smallDisk(): Promise<Part> {
  const result = await fillTheDisk(root);
  if (result.skipped !== null)
    return { name: 'small disk', tried: '', trials: [], skipped: result.skipped };
  const { trial, timesHeld } = result;
  done(trial, 'small disk');
  return { name: 'small disk', tried: `node held ${timesHeld} times`, trials: [trial] };
}

async function walked({ name, way, list, try: tryPoint }: Walk): Promise<Part> {
  const { points, trial: clean } = await list();
  const until = performance.now() + (bound ?? (values.short ? 10_000 : Infinity));
  done(clean, name);
  const chance = new Chance(seed + 2);
  const queue = spread(
    points.map((at) => ({ life: 'first', at })),
    () => chance.next(),
  );
  const trials: Tried[] = [clean];
  let [taken, kills] = [0, 0];
  const worker = async (): Promise<void> => {
    for (let point = queue[taken++]; point && performance.now() < until; point = queue[taken++]) {
      const { trial, wasKilled } = await tryPoint(point.at);
      kills += wasKilled ? 1 : 0;
      trials.push(trial);
      done(trial, `${name}, ${point.at}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  const tried = `${kills} kills at ${points.length} visits of ${new Set(queue.map(nameOf)).size} points, ${way}`;
  return { name, tried, trials };
}

/** Says at once what went wrong, and keeps the folder only then. */
function done(trial: Tried, what: string): void {
  if (trial.violations.length === 0) return trial.remove();
  console.log(`VIOLATION (${what}) in ${trial.folder}`);
  for (const violation of trial.violations)
    console.log(`  ${violation.kind}: ${violation.what.slice(0, 1000)}`);
}

function report(all: readonly Part[]): number {
  let total = 0;
  for (const { name, tried, trials, skipped } of all) {
    if (skipped !== undefined) {
      console.log(`\n${name}: SKIPPED, ${skipped}`);
      continue;
    }
    const found = trials.flatMap((trial) => trial.violations);
    const recoveries = trials.flatMap((trial) => trial.recoveries).toSorted((a, b) => a - b);
    const acknowledged = trials.reduce((sum, trial) => sum + trial.acknowledged, 0);
    const counts = KINDS.map((kind) => `${kind} ${found.filter((v) => v.kind === kind).length}`);
    console.log(`\n${name}: ${tried}`);
    console.log(`  ${acknowledged} events acknowledged; ${counts.join(', ')}`);
    console.log(
      `  recovery, from spawn to answers: median ${at(recoveries, 0.5)} ms, p99 ${at(recoveries, 0.99)} ms, longest ${at(recoveries, 1)} ms (${recoveries.length})`,
    );
    total += found.length;
  }
  console.log(`\n${total === 0 ? 'no violation' : `${total} violations`}`);
  return total;
}

function at(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}

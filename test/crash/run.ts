/**
 * `npm run crash`: the crash and fault proof. Prints what was tried and what came of it; exit 1 on any violation, whose
 * folder is then kept. `--short` is for every change: named fault points, chosen at random, for 75 seconds, two to a trial where
 * they can follow each other; a dozen random kills, or what twenty seconds allow; eight points, or ten seconds, each of the chain
 * from an event to an action and of the loop from a drift to its end. `--each` is that with each named point once, however
 * long that takes (four minutes). The full form tries every visit of every point by itself and kills at random for ten minutes.
 * `--seed N` repeats the random choices, `--only boundaries|random|disk|chain|loop` runs one part, `--seconds N` bounds each but
 * the disk.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { listPoints, nameOf, paired, spread, tryPoints } from './boundaries.ts';
import type { BoundaryResult, Point, Way } from './boundaries.ts';
import { ChainTrial } from './chain.ts';
import { Chance } from './random.ts';
import { LoopTrial } from './loop.ts';
import { killAtRandom } from './random-kills.ts';
import { fillTheDisk } from './small-disk.ts';
import { KINDS } from './report.ts';
import type { Trial } from './trial.ts';

const { values } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    each: { type: 'boolean', default: false },
    seed: { type: 'string' },
    only: { type: 'string' },
    seconds: { type: 'string' },
  },
});
const isShort = values.short || values.each;
/** In the short form, however slow the machine. */
const LEAST_WAYS = 30;
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

/** A homelab whose runtime is killed on the way from one thing to another. */
interface Walker extends Tried {
  /** `at`: where its first life dies; false: it never came there. `list`: where the names of all visits are written. */
  run(options: { at: string } | { list: string }): Promise<boolean>;
  close(): Promise<void>;
}

interface Walk {
  name: string;
  /** From where to where. */
  way: string;
  open: () => Promise<Walker>;
}

const CHAIN: Walk = {
  name: 'chain',
  way: 'from an event to a verified action',
  open: ChainTrial.open,
};
const LOOP: Walk = {
  name: 'loop',
  way: 'from a drift that is found to one that is gone',
  open: LoopTrial.open,
};

console.log(`seed ${seed}; ${isShort ? 'short' : 'full'} form; folders in ${root}`);
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

/**
 * In the short form two points share a trial where they can; where each is to be tried, those whose visit did not come get one
 * of their own. The full form tries each by itself.
 */
async function boundaries(): Promise<Part> {
  const { points, clean } = await listPoints(root);
  const chance = new Chance(seed);
  const { ofEachName, rest } = spread(points, () => chance.next());
  const alone = (some: readonly Point[]): Way[] => some.map((point): Way => [point]);
  const ways = isShort ? paired(ofEachName) : alone(ofEachName);
  console.log(`${points.length} visits of ${ofEachName.length} fault points`);
  const results: BoundaryResult[] = [...clean];
  const attempt = async (way: Way): Promise<void> => {
    const result = await tryPoints(root, way);
    results.push(result);
    done(result.trial, way.map((point) => `${point?.life} life, ${point?.at}`).join('; then '));
    if (results.length % 100 === 0) console.log(`  ${results.length} trials`);
  };
  const names = (): Set<string> => new Set(results.flatMap(({ killed }) => killed).map(nameOf));
  const until = performance.now() + (bound ?? (isShort ? 75_000 : Infinity));
  const least = values.short && !values.each ? LEAST_WAYS : ways.length;
  await atOnce(ways.slice(0, least), attempt);
  await atOnce(ways.slice(least), attempt, until);
  const missed = ofEachName.filter((point) => !names().has(nameOf(point)));
  if (values.each) await atOnce(alone(missed), attempt);
  if (!isShort) await atOnce(alone(rest), attempt, until);
  const kills = results.reduce((sum, { killed }) => sum + killed.length, 0);
  const tried = `${kills} kills at ${names().size} of ${ofEachName.length} points in ${results.length} trials`;
  return { name: 'boundaries', tried, trials: results.map(({ trial }) => trial) };
}

/** Each of them, in order, as many at a time as pay; no more are begun after `until`. */
async function atOnce<T>(
  all: readonly T[],
  attempt: (one: T) => Promise<void>,
  until = Infinity,
): Promise<void> {
  const left = [...all].values();
  const worker = async (): Promise<void> => {
    while (performance.now() < until) {
      const { value, done: isOver } = left.next();
      if (isOver) return;
      await attempt(value);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

async function randomKills(): Promise<Part> {
  const until = performance.now() + (bound ?? (isShort ? 20_000 : 600_000));
  const chance = new Chance(seed + 1);
  const onTrial = (trial: Trial): void => done(trial, 'random kills');
  const options = { chance, until, least: isShort ? 12 : 1, onTrial };
  const { trials, kills, workerKills } = await killAtRandom(root, options);
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

async function walked({ name, way, open }: Walk): Promise<Part> {
  const clean = await open();
  const list = join(clean.folder, 'points.log');
  await clean.run({ list });
  await clean.close();
  const points = new Set(readFileSync(list, 'utf8').trimEnd().split('\n'));
  const until = performance.now() + (bound ?? (isShort ? 10_000 : Infinity));
  done(clean, name);
  const chance = new Chance(seed + 2);
  const { ofEachName, rest } = spread(
    [...points].map((at) => ({ life: 'first', at })),
    () => chance.next(),
  );
  const trials: Tried[] = [clean];
  let kills = 0;
  const attempt = async ({ at: point }: Point): Promise<void> => {
    const trial = await open();
    const wasKilled = await trial.run({ at: point });
    await trial.close();
    if (wasKilled) kills += 1;
    trials.push(trial);
    done(trial, `${name}, ${point}`);
  };
  const all = [...ofEachName, ...rest];
  const least = isShort ? 8 : 0; // however little time there is
  await atOnce(all.slice(0, least), attempt);
  await atOnce(all.slice(least), attempt, until);
  const tried = `${kills} kills at ${points.size} visits of ${ofEachName.length} points, ${way}`;
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

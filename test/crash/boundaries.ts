/**
 * SIGKILL at every durable boundary in turn. A clean run lists the fault points with the number of the visit; then each
 * gets a folder of its own: run until the kill, start again without the hook, let it complete, check.
 *
 * Five lists: points of a first life, of a second one that itself begins with a recovery, and of lives in which a worker is
 * killed and its agent revived by policy, revived from its previous checkpoint because a person said so, or its task handed
 * over.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Trial } from './trial.ts';
import type { TrialOptions } from './trial.ts';

/** Few events, spread over the mission, so that visits stay countable. */
const LOAD: TrialOptions = { upTo: 12, gapMs: 60, inFlight: 2 };
/** Where the first life ends when it is the second that is looked at: a step is under way and nothing is tidy. */
const FIRST_DEATH = 'host:effect.runStep.before-run:2';
/** Where a worker dies when it is the revival that is looked at. */
const WORKER_DEATH = 'worker:step.after-spawn:1';

const LIVES = ['first', 'second', 'revival', 'asked', 'handed over'] as const;

export interface Point {
  life: (typeof LIVES)[number];
  /** `<role>:<point>:<visit>` */
  at: string;
}

/** Where the lives of one trial die: one point, or a second one in the life after it. */
export type Way = readonly [point: Point, next?: Point | undefined];

export interface BoundaryResult {
  trial: Trial;
  /** Of its points those whose visit came. */
  killed: Point[];
}

/** The fault points of each kind of life, from one run, which must itself be without fault. */
export async function listPoints(
  root: string,
): Promise<{ points: Point[]; clean: BoundaryResult[] }> {
  const lists = await Promise.all(LIVES.map((life) => listLife(root, life)));
  return {
    points: lists.flatMap(({ points }) => points),
    clean: lists.map(({ trial }) => ({ trial, killed: [] })),
  };
}

async function listLife(
  root: string,
  life: Point['life'],
): Promise<{ points: Point[]; trial: Trial }> {
  const trial = new Trial(root, loadOf(life));
  const log = join(trial.folder, 'points.log');
  if (life === 'second') await dieFirst(trial);
  await trial.live({ hook: { log, list: true, at: others(life) } });
  trial.finish();
  const names = new Set(readFileSync(log, 'utf8').trimEnd().split('\n'));
  return { points: [...names].map((at) => ({ life, at })), trial };
}

export async function tryPoints(root: string, [point, next]: Way): Promise<BoundaryResult> {
  const trial = new Trial(root, loadOf(point.life));
  const log = join(trial.folder, 'points.log');
  if (point.life === 'second') await dieFirst(trial);
  await trial.live({ hook: { log, at: [point.at, ...others(point.life)] } });
  if (next !== undefined) await trial.live({ hook: { log, at: [next.at] } });
  if (!trial.isDone || isOfHost(next ?? point)) await trial.live();
  trial.finish();
  const points = next === undefined ? [point] : [point, next];
  return { trial, killed: points.filter(({ at }) => existsSync(`${log}.${at}.killed`)) };
}

const isOfHost = ({ at }: Point): boolean => at.startsWith('host:');

const others = (life: Point['life']): string[] =>
  life === 'first' || life === 'second' ? [] : [WORKER_DEATH];

function loadOf(life: Point['life']): TrialOptions {
  if (life === 'asked') return { ...LOAD, policies: { auto_revive: 'ask' } };
  if (life !== 'handed over') return LOAD;
  const handover = { handoff_approval: 'auto', substitute_agents: ['a2', 'a1'] };
  return { ...LOAD, policies: { max_retries: 0, ...handover } };
}

async function dieFirst(trial: Trial): Promise<void> {
  const log = join(trial.folder, 'first.log');
  await trial.live({ hook: { log, at: [FIRST_DEATH] } });
}

/**
 * A part of the points that has every named one at least once: all of a kind come first with a visit chosen at random,
 * the rest in random order until the caller has had enough. Where a name has a visit in a second life that one is likely to
 * be chosen, for it can follow another (see `paired`).
 */
export function spread(
  points: readonly Point[],
  random: () => number,
): { ofEachName: Point[]; rest: Point[] } {
  const shuffled = points
    .map((point) => ({ point, key: random() * (point.life === 'second' ? 0.2 : 1) }))
    .toSorted((a, b) => a.key - b.key)
    .map(({ point }) => point);
  const first = new Map<string, Point>();
  for (const point of shuffled) if (!first.has(nameOf(point))) first.set(nameOf(point), point);
  const chosen = new Set(first.values());
  return { ofEachName: [...chosen], rest: shuffled.filter((point) => !chosen.has(point)) };
}

/**
 * Ways of two points where that can be, so that one trial with three lives does for two with five: a host that dies, and a
 * point of a second life that dies in the recovery from it. A handover is left alone: it has no third agent to hand over to.
 */
export function paired(points: readonly Point[]): Way[] {
  const canGoOn = (point: Point): boolean =>
    isOfHost(point) && point.life !== 'second' && point.life !== 'handed over';
  const befores = points.filter(canGoOn);
  const seconds = points.filter(({ life }) => life === 'second');
  const both = befores.slice(0, seconds.length);
  const pairs = both.map((point, nth): Way => [point, seconds[nth]]);
  const taken = new Set<Point | undefined>(pairs.flat());
  return [...pairs, ...points.filter((point) => !taken.has(point)).map((point): Way => [point])];
}

/** The point without its visit; what both lives have in common counts once. */
export const nameOf = ({ at }: Point): string => at.slice(0, at.lastIndexOf(':'));

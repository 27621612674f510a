/**
 * What every row of the bench shares: how sides are measured against each other, and what a measured figure is.
 *
 * B1 A figure is compared with a baseline of the same run: sides take turns, who goes first changes from round to round,
 *    one warm-up round is not counted, and samples of all rounds are pooled before anything is computed from them.
 * B2 Nothing here knows a target's value: rows hand in the targets of DESIGN section 10, figures come from clocks only.
 */
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';

/** One line of the table. `atLeast` is what must hold, `aim` what we want; null: shown for scale, not judged. */
export interface Figure {
  what: string;
  value: number;
  unit: 'x' | '%' | 'us' | 'ms' | 'B' | 'KB' | 'MB' | '/s';
  better: 'higher' | 'lower';
  atLeast: number | null;
  aim: number | null;
  /** Both sides in absolute terms, for the reader. */
  detail: string;
}

export type Verdict = 'aim' | 'pass' | 'miss' | 'shown';

export interface Row {
  /** For `--only`, and the name of the row's file. */
  name: string;
  title: string;
  measure(bench: Bench): Promise<Figure[]>;
  /** Where the time goes; called after a miss. */
  profile(bench: Bench): Promise<HotSpot[]>;
}

export interface HotSpot {
  /** `function file:line` */
  place: string;
  /** Share of all samples that were not idle, in percent. */
  selfPercent: number;
}

export interface Bench {
  quick: boolean;
  /** Counted rounds; at least five unless `quick`. */
  rounds: number;
  /** One of two sizes. */
  pick<T>(sizes: { full: T; quick: T }): T;
  /** A new folder, removed when the row is over. */
  folder(name: string): string;
}

/** Folders are made below `root`, which whoever made it removes: a row that hangs and is killed cannot. */
export function openBench({ quick, root }: { quick: boolean; root: string }): Bench {
  return {
    quick,
    rounds: quick ? 2 : 6,
    pick: ({ full, quick: small }) => (quick ? small : full),
    folder: (name) => mkdtempSync(join(root, `${name}-`)),
  };
}

/** B1. Each side is run once a round; returns the counted samples of both. */
export async function alternate<T>(
  rounds: number,
  ours: () => Promise<T> | T,
  baseline: () => Promise<T> | T,
): Promise<{ ours: T[]; baseline: T[] }> {
  const samples = { ours: [] as T[], baseline: [] as T[] };
  for (let round = 0; round <= rounds; round += 1) {
    const sides = [['ours', ours] as const, ['baseline', baseline] as const];
    for (const [side, run] of round % 2 === 0 ? sides : sides.toReversed()) {
      const sample = await run();
      if (round > 0) samples[side].push(sample);
    }
  }
  return samples;
}

/** So many things in so many ms. */
export interface Count {
  count: number;
  ms: number;
}

export function pooledRate(samples: readonly Count[]): number {
  return (sum(samples.map(({ count }) => count)) / sum(samples.map(({ ms }) => ms))) * 1000;
}

/** Lowest and highest ratio of a round's two sides: how far to trust the pooled one. */
export function spread(ours: readonly Count[], baseline: readonly Count[]): string {
  const ratios = ours.map((sample, i) => {
    const other = baseline[i] ?? sample;
    return (sample.count / sample.ms / (other.count / other.ms)) * 100;
  });
  return `rounds ${Math.min(...ratios).toFixed(0)}-${Math.max(...ratios).toFixed(0)}%`;
}

/** Nearest rank; `q` in 0..1. Throws RangeError when there is no sample. */
export function quantile(samples: readonly number[], q: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const value = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
  if (value === undefined) throw new RangeError('no samples');
  return value;
}

export const median = (samples: readonly number[]): number => quantile(samples, 0.5);

const sum = (values: readonly number[]): number => values.reduce((total, v) => total + v, 0);

export function verdictOf({ value, better, atLeast, aim }: Figure): Verdict {
  const reaches = (target: number): boolean =>
    better === 'higher' ? value >= target : value <= target;
  if (atLeast === null) return 'shown';
  if (aim !== null && reaches(aim)) return 'aim';
  return reaches(atLeast) ? 'pass' : 'miss';
}

/** A figure that has a target. */
export function target(
  what: string,
  value: number,
  {
    unit,
    better,
    atLeast,
    aim,
  }: Pick<Figure, 'unit' | 'better'> & { atLeast: number; aim: number },
  detail: string,
): Figure {
  return { what, value, unit, better, atLeast, aim, detail };
}

/** A figure that stands there for scale. */
export function shown(
  what: string,
  value: number,
  unit: Figure['unit'],
  detail: string,
  better: Figure['better'] = 'lower',
): Figure {
  return { what, value, unit, better, atLeast: null, aim: null, detail };
}

export const perSecond = (rate: number): string => `${Math.round(rate).toLocaleString('en')}/s`;

/**
 * Numbers for people who watch many nodes. Whoever has some keeps plain numbers and says what they are when it is asked;
 * nothing is done for them while nobody asks. The form in which they leave the process is bus/metrics.ts.
 *
 * Names follow the field: `lazarus_` first, the unit last, `_total` for what only rises. docs/metrics.md lists them all.
 */

export interface Sample {
  labels?: Readonly<Record<string, string>>;
  value: number;
}

export type MetricFamily =
  | { name: string; help: string; type: 'counter' | 'gauge'; samples: readonly Sample[] }
  | { name: string; help: string; type: 'histogram'; histogram: Histogram };

/** What only rises while the process lives. */
export const counter = (
  name: string,
  help: string,
  value: number | readonly Sample[],
): MetricFamily => ({ name, help, type: 'counter', samples: samplesOf(value) });

export const gauge = (
  name: string,
  help: string,
  value: number | readonly Sample[],
): MetricFamily => ({ name, help, type: 'gauge', samples: samplesOf(value) });

export const histogram = (name: string, help: string, of: Histogram): MetricFamily => ({
  name,
  help,
  type: 'histogram',
  histogram: of,
});

/** One sample for each entry, told apart by one label. */
export const byLabel = (
  label: string,
  values: Readonly<Record<string, number>> | ReadonlyMap<string, number>,
): Sample[] =>
  [...(values instanceof Map ? values : Object.entries(values))].map(([name, value]) => ({
    labels: { [label]: name },
    value: value as number,
  }));

const samplesOf = (value: number | readonly Sample[]): readonly Sample[] =>
  typeof value === 'number' ? [{ value }] : value;

/** How often something took how long: counts by upper bound, without the values themselves. */
export class Histogram {
  readonly bounds: readonly number[];
  /** One for each bound, and one for what is above them all. */
  readonly counts: number[];
  sum = 0;
  count = 0;

  /** `bounds`: upper bounds (inclusive), rising, in the unit of what is observed. */
  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = Array.from({ length: bounds.length + 1 }, () => 0);
  }

  observe(value: number): void {
    let at = 0;
    while (at < this.bounds.length && value > (this.bounds[at] as number)) at += 1;
    this.counts[at] = (this.counts[at] as number) + 1;
    this.sum += value;
    this.count += 1;
  }
}

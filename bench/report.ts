/** The bench's output: a table for people, one JSON document for programs. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { arch, cpus, loadavg, platform, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { verdictOf } from './harness.ts';
import type { Figure, HotSpot, Verdict } from './harness.ts';

export interface RowResult {
  name: string;
  title: string;
  figures: Figure[];
  /** Why the row could not be measured. */
  error: string | null;
  /** Of the workload, when a target was missed. */
  profile: HotSpot[] | null;
  tookMs: number;
}

const RESULTS = fileURLToPath(new URL('./results/', import.meta.url));
const MARKS: Record<Verdict, string> = { aim: 'aim ', pass: 'pass', miss: 'MISS', shown: '    ' };

export function printRow({ title, figures, error, profile, tookMs }: RowResult): void {
  console.log(`\n${title}  (${(tookMs / 1000).toFixed(0)} s)`);
  for (const figure of figures) console.log(lineOf(figure));
  if (error !== null) console.log(`  could not be measured: ${error}`);
  if (profile === null) return;
  console.log('       where the time goes (self time):');
  for (const { place, selfPercent } of profile)
    console.log(`         ${selfPercent.toFixed(1).padStart(5)}%  ${place}`);
}

function lineOf(figure: Figure): string {
  const { what, value, unit, better, atLeast, aim, detail } = figure;
  const sign = better === 'higher' ? '>=' : '<=';
  const targets =
    atLeast === null
      ? ''
      : `${sign} ${format(atLeast, unit)}${aim === null ? '' : `, aim ${format(aim, unit)}`}`;
  const head = `  ${MARKS[verdictOf(figure)]} ${what.padEnd(44)}${format(value, unit).padStart(11)}`;
  return `${head}  ${targets.padEnd(24)} ${detail}`.trimEnd();
}

function format(value: number, unit: Figure['unit']): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  const number = value.toLocaleString('en', { maximumFractionDigits: digits });
  return unit === '%' || unit === '/s' ? `${number}${unit}` : `${number} ${unit}`;
}

/** Writes `<date>.json` and `latest.json`; returns the path of the first. */
export function writeResults(results: readonly RowResult[], { quick }: { quick: boolean }): string {
  const at = new Date().toISOString();
  const rows = results.map((row) => ({
    ...row,
    figures: row.figures.map((figure) => ({ ...figure, verdict: verdictOf(figure) })),
  }));
  const machine = {
    platform: platform(),
    release: release(),
    arch: arch(),
    node: process.version,
    cpus: cpus().length,
    cpu: cpus()[0]?.model ?? '',
    memoryBytes: totalmem(),
    load: loadavg(),
  };
  const text = `${JSON.stringify({ at, quick, machine, rows }, null, 2)}\n`;
  mkdirSync(RESULTS, { recursive: true });
  const path = join(RESULTS, `${at.replaceAll(':', '-').slice(0, 19)}.json`);
  writeFileSync(path, text);
  writeFileSync(join(RESULTS, 'latest.json'), text);
  return path;
}

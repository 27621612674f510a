/**
 * `npm run bench`: every row of DESIGN section 10 against its baseline, one after the other, each in its own process.
 * Exits 0 also when a target is missed (the table says so), 1 when a row could not be measured, 2 on a wrong flag.
 */
import { fork } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { verdictOf } from './harness.ts';
import type { Verdict } from './harness.ts';
import { printRow, writeResults } from './report.ts';
import type { RowResult } from './report.ts';

/** Each is a file below rows/. */
const ROWS = [
  'throughput',
  'group-commit',
  'lone-event',
  'actor-failure',
  'worker-kill',
  'runtime-restart',
  'memory',
  'drop-to-start',
  'scale',
  'supervision',
  'inspector',
  'bus',
  'redis-to-nats',
  'redis-bridge',
  'llm-router',
  'planner',
  'reconcile',
  'many-cells', // last: the disk has long to do with what it makes
];
/** A row that takes longer hangs. */
const ROW_TIMEOUT_MS = 240_000;
const HELP = `Usage: npm run bench -- [--only <row>]... [--quick]
Rows: ${ROWS.join(', ')}`;

function readFlags(): { only: string[]; quick: boolean; help: boolean } {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', multiple: true },
      quick: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
  const { only = [], quick = false, help = false } = values;
  const unknown = only.find((name) => !ROWS.includes(name));
  if (unknown !== undefined) throw new Error(`no row is named ${unknown}`);
  return { only, quick, help };
}

async function measure(name: string, { quick }: { quick: boolean }): Promise<RowResult> {
  const root = mkdtempSync(join(tmpdir(), 'lazarus-bench-'));
  const startedAt = performance.now();
  const entry = fileURLToPath(new URL('./row-process.ts', import.meta.url));
  const child = fork(entry, [name, quick ? 'quick' : 'full', root], {
    execArgv: ['--disable-warning=ExperimentalWarning'], // a flag of V8's would slow the start of every child
    env: { ...process.env, NATS_URL: 'off' }, // a row that is about the bus names its own
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), ROW_TIMEOUT_MS);
  let result: RowResult | undefined;
  child.on('message', (message) => (result = message as RowResult));
  const how = await new Promise<string>((resolve) =>
    child.once('exit', (code, signal) => resolve(signal ?? `code ${code}`)),
  );
  clearTimeout(timer);
  await rm(root, { recursive: true, force: true, maxRetries: 3 });
  const tookMs = performance.now() - startedAt;
  const error = `its process ended by ${how} after ${(tookMs / 1000).toFixed(0)} s`;
  return { ...(result ?? { name, title: name, figures: [], error, profile: null }), tookMs };
}

async function run({ only, quick }: { only: string[]; quick: boolean }): Promise<0 | 1> {
  const results: RowResult[] = [];
  for (const name of only.length > 0 ? only : ROWS) {
    const result = await measure(name, { quick });
    printRow(result);
    results.push(result);
  }
  const path = writeResults(results, { quick });
  const verdicts = results.flatMap(({ figures }) => figures.map(verdictOf));
  const count = (verdict: Verdict): number => verdicts.filter((item) => item === verdict).length;
  const failed = results.filter(({ error }) => error !== null).map(({ name }) => name);
  console.log(`\n${count('aim')} at the aim, ${count('pass')} pass, ${count('miss')} missed`);
  console.log(path);
  if (failed.length > 0) console.error(`Error: not measured: ${failed.join(', ')}`);
  return failed.length > 0 ? 1 : 0;
}

function flagsOrUsage(): ReturnType<typeof readFlags> | undefined {
  try {
    return readFlags();
  } catch (error) {
    console.error(`Error: ${error instanceof Error ? error.message : String(error)}\n${HELP}`);
    return undefined;
  }
}

const flags = flagsOrUsage();
if (flags === undefined) process.exitCode = 2;
else if (flags.help) console.log(HELP);
else process.exitCode = await run(flags);

/** One life of a runtime process: started on a trial's folder, ended by its own hand, the hook's, or ours. */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readReport } from './report.ts';
import type { LifeArguments, Line } from './report.ts';

const runtime = fileURLToPath(new URL('runtime.ts', import.meta.url));
const hook = new URL('hook.ts', import.meta.url);
const compileCache = fileURLToPath(new URL('../../node_modules/.cache/compile', import.meta.url));

/** A life that is still there after this is hung. */
const HANG_MS = 60_000;

export interface LifeOptions {
  /** `list`: note the fault points in the log. `at`: those at which a process dies; each leaves `<log>.<at>.killed`. */
  hook?: { log: string; list?: true; at?: string[] };
  /** Called with the running process: kills it, or its workers, as it likes. */
  torment?: (life: { pid: number; report: string; ended: AbortSignal }) => Promise<void>;
}

export interface LifeEnd {
  how: 'killed' | 'stopped' | 'hung' | 'failed';
  /** When it failed: what it said last. */
  said: string;
  lines: Line[];
}

export async function live(
  args: LifeArguments,
  { hook: point, torment }: LifeOptions,
): Promise<LifeEnd> {
  writeFileSync(args.report, '', { flag: 'a' });
  const errors = `${args.report}.err`;
  const stderr = openSync(errors, 'a');
  const preload = point === undefined ? [] : ['--import', hookUrl(point)];
  const argv = ['--disable-warning=ExperimentalWarning', ...preload, runtime, JSON.stringify(args)];
  const child = spawn(process.execPath, argv, {
    stdio: ['ignore', 'ignore', stderr],
    env: { ...process.env, NODE_COMPILE_CACHE: compileCache, NATS_URL: 'off' },
  });
  closeSync(stderr);
  const ended = new AbortController();
  let isHung = false;
  const timer = setTimeout(() => {
    isHung = true;
    child.kill('SIGKILL');
  }, HANG_MS);
  const exit = new Promise<[number | null, string | null]>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve([code, signal]));
  });
  const tormented = torment?.({ pid: child.pid ?? 0, report: args.report, ended: ended.signal });
  const [code, signal] = await exit;
  clearTimeout(timer);
  ended.abort();
  await tormented;
  const lines = readReport(args.report);
  const how = isHung ? 'hung' : signal === 'SIGKILL' ? 'killed' : code === 0 ? 'stopped' : 'failed';
  return { how, said: readFileSync(errors, 'utf8').slice(-2000), lines };
}

function hookUrl({ log, list, at = [] }: NonNullable<LifeOptions['hook']>): string {
  const url = new URL(hook);
  url.searchParams.set('log', log);
  if (list) url.searchParams.set('list', '');
  for (const point of at) url.searchParams.append('at', point);
  return url.href;
}

/**
 * Preloaded into a runtime (`node --import 'hook.ts?log=<file>&at=<role>:<point>:<visit>'`), and by inheritance of Node's
 * options into its workers: puts a function where cells/durable.ts looks for one.
 *
 * H1 With `list` every visit of a fault point is appended to the log, so that a clean run tells all there is to try.
 * H2 At a visit named by an `at` the process of that role kills itself, in the middle of that very call: nothing it would
 *    have done next is done. Each `at` kills once: a revived worker lives.
 * H3 With `from=<file>` visits count only from when that file is there: a test says when the part it looks at begins.
 */
import { appendFileSync, closeSync, existsSync, openSync } from 'node:fs';

const { searchParams } = new URL(import.meta.url);
const log = searchParams.get('log') ?? '';
const list = searchParams.has('list');
const at = searchParams.getAll('at');
const from = searchParams.get('from');
const role = process.argv[1]?.endsWith('worker.ts') ? 'worker' : 'host';
const visits = new Map<string, number>();
let hasBegun = from === null;

function visited(point: string): void {
  hasBegun ||= existsSync(from ?? '');
  if (!hasBegun) return; // H3
  const visit = (visits.get(point) ?? 0) + 1;
  visits.set(point, visit);
  const name = `${role}:${point}:${visit}`;
  if (list) appendFileSync(log, `${name}\n`);
  if (at.includes(name) && isFirst(name)) process.kill(process.pid, 'SIGKILL');
}

function isFirst(name: string): boolean {
  try {
    closeSync(openSync(`${log}.${name}.killed`, 'wx'));
    return true;
  } catch {
    return false; // another process of this role was first
  }
}

Object.assign(globalThis, { __lazarusFaultPoint: visited });

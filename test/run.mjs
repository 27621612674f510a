/**
 * `npm test`: everything a change must pass, one stage after the other, all of them even when one fails.
 * Plain JavaScript, so that an old Node can at least say what is wrong. `npm test -- unit` runs the stages named.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname ?? '.', '..');
const bin = (name) => join(root, 'node_modules', '.bin', name);
const quiet = '--disable-warning=ExperimentalWarning';

/** @type {[name: string, what: string, argv: string[]][]} */
const stages = [
  ['set-up', 'the servers that the tests start', [process.execPath, quiet, 'test/set-up.ts']],
  ['format', 'every file as Prettier writes it', [bin('prettier'), '--check', '.']],
  ['lint', 'oxlint with type information', [bin('oxlint'), '--type-aware', '--deny-warnings']],
  ['types', 'tsc, strict', [bin('tsc')]],
  [
    'unit',
    'unit, property and integration tests on real files and processes',
    [bin('vitest'), 'run'],
  ],
  [
    'crash',
    'SIGKILL at durable boundaries and at random, short form',
    [process.execPath, quiet, 'test/crash/run.ts', '--short'],
  ],
];

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 24 || (major === 24 && minor < 12)) {
  console.error(`Error: these tests need Node 24.12 or newer; this is ${process.versions.node}.`);
  console.error("Try: npm ci && npm test (npm puts the project's own Node first on the PATH).");
  process.exit(2);
}
if (!existsSync(bin('vitest'))) {
  console.error('Error: the dependencies are not installed.\nTry: npm ci');
  process.exit(2);
}

const wanted = process.argv.slice(2);
if (wanted.includes('unit')) wanted.push('set-up'); // at once, when all is there
const results = [];
for (const [name, what, [command, ...args]] of stages) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  console.log(`\n=== ${name}: ${what}`);
  const started = Date.now();
  const { status, signal, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  results.push({
    name,
    ok: status === 0,
    seconds,
    why: error?.message ?? signal ?? `exit ${status}`,
  });
}

console.log('\n=== summary');
for (const { name, ok, seconds, why } of results)
  console.log(
    `${ok ? 'ok  ' : 'FAIL'} ${name.padEnd(8)} ${seconds.padStart(7)} s${ok ? '' : `  (${why})`}`,
  );
const failed = results.filter(({ ok }) => !ok).length;
console.log(`stages: ${results.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 && results.length > 0 ? 0 : 1);

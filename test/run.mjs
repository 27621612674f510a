/**
 * `npm test`: everything a change must pass, all of it even when something fails. Plain JavaScript, so that an old Node can at
 * least say what is wrong. `npm test -- unit` runs the stages named.
 *
 * What only reads goes on beside the unit tests, which leave a processor idle now and then: less urgently than those, so that
 * these wait no longer than alone. It is told in one piece when it has ended. The crash proof comes last and alone: it uses all
 * there is, and beside it tests that wait for something would wait too long.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { setPriority } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dirname ?? '.', '..');
const bin = (name) => join(root, 'node_modules', '.bin', name);
const quiet = '--disable-warning=ExperimentalWarning';

/** @typedef {[name: string, what: string, argv: string[]]} Stage */

/** @type {Stage} */
const setUp = [
  'set-up',
  'the servers that the tests start',
  [process.execPath, quiet, 'test/set-up.ts'],
];
/** @type {Stage[]} */
const reading = [
  ['format', 'every file as Prettier writes it', [bin('prettier'), '--check', '.']],
  ['lint', 'oxlint with type information', [bin('oxlint'), '--type-aware', '--deny-warnings']],
  ['types', 'tsc, strict', [bin('tsc')]],
];
/** @type {Stage} */
const unit = [
  'unit',
  'unit, property and integration tests on real files and processes',
  [bin('vitest'), 'run'],
];
/** @type {Stage} */
const crash = [
  'crash',
  'SIGKILL at durable boundaries and at random, short form',
  [process.execPath, quiet, 'test/crash/run.ts', '--short'],
];
/** As `nice` counts. */
const LESS_URGENT = 10;

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
const isWanted = ([name]) => wanted.length === 0 || wanted.includes(name);
/** In the order in which they are told at the end. */
const results = [setUp, ...reading, unit, crash].filter(isWanted).map(([name]) => ({ name }));

if (isWanted(setUp)) await run(setUp);
const running = [unit, crash];
const isBeside = running.some(isWanted);
await Promise.all([inTurn(running, run), inTurn(reading, isBeside ? besides : run)]);

/** @param {(stage: Stage) => Promise<void>} how */
async function inTurn(stages, how) {
  for (const stage of stages.filter(isWanted)) await how(stage);
}

/** What it says is seen at once. */
async function run(stage) {
  console.log(heading(stage));
  await ended(stage, { output: 'inherit', priority: 0 });
}

/** In one piece, and less urgent. */
async function besides(stage) {
  const said = await ended(stage, { output: 'pipe', priority: LESS_URGENT });
  console.log(`${heading(stage)}\n${said}`);
}

function heading([name, what]) {
  return `\n=== ${name}: ${what}`;
}

/** @returns {Promise<string>} what it said, where that was to be kept */
function ended([name, , [command, ...args]], { output, priority }) {
  const result = results.find((one) => one.name === name);
  const started = Date.now();
  const child = spawn(command, args, { cwd: root, stdio: ['inherit', output, output] });
  if (child.pid !== undefined && priority > 0) setPriority(child.pid, priority);
  const said = [];
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk) => said.push(chunk));
  return new Promise((resolve) => {
    const tell = (ok, why) => {
      const seconds = ((Date.now() - started) / 1000).toFixed(1);
      Object.assign(result, { ok, seconds, why });
      resolve(Buffer.concat(said).toString().trimEnd());
    };
    child.once('error', (error) => tell(false, error.message));
    child.once('close', (code, signal) => tell(code === 0, signal ?? `exit ${code}`));
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

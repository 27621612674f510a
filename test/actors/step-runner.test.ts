import { readdirSync, statSync, symlinkSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isRunning, readStat } from '../../actors/proc-fs.ts';
import { readOutcome, runStep } from '../../actors/step-runner.ts';
import type { StepRequest } from '../../actors/step-request.ts';
import type { RunStepOptions } from '../../actors/step-runner.ts';
import { hashArgv } from '../../actors/step-files.ts';
import { eventually } from '../support/eventually.ts';
import { detached, makeCell, pidIn, pidsMarked, refuseLeftovers } from '../support/steps.ts';
import type { TestCell } from '../support/steps.ts';

let cell: TestCell;
beforeEach(() => {
  cell = makeCell();
});
afterEach(() => {
  refuseLeftovers(cell); // R1, after every one of these tests
  cell.remove();
});

const run = (request: StepRequest, options: Partial<RunStepOptions> = {}) =>
  runStep(request, { signal: new AbortController().signal, ...options });
const out = (attempt = 1): string => cell.read(`artifacts/logs/build/compile.${attempt}.out`);
const err = (attempt = 1): string => cell.read(`artifacts/logs/build/compile.${attempt}.err`);

describe('how a step ends', () => {
  test.each([0, 1, 77, 255])('exit code %i is recorded as it is', async (code) => {
    const outcome = await run(cell.script(`exit ${code}`));
    expect(outcome).toMatchObject({ exit_code: code, signal: null, timed_out: false, attempt: 1 });
    expect(outcome.reason).toBeUndefined();
  });

  test.each(['SIGKILL', 'SIGTERM', 'SIGSEGV'])('a step that dies by %s says so', async (signal) => {
    const outcome = await run(cell.script(`kill -${signal.slice(3)} $$; sleep 5`));
    expect(outcome).toMatchObject({ exit_code: null, signal, timed_out: false });
  });

  test('a program that does not exist is the known end 127, with the reason in its .err', async () => {
    expect(await run(cell.request(['/no/such/program']))).toMatchObject({ exit_code: 127 });
    expect(err()).toContain('/no/such/program');
  });

  test('a file that is not executable is the known end 126', async () => {
    writeFileSync(join(cell.dir, 'artifacts/data'), 'no program', { mode: 0o600 });
    expect(await run(cell.request(['artifacts/data']))).toMatchObject({ exit_code: 126 });
    expect(err()).toContain('artifacts/data');
  });

  test('given a cell folder that is gone, then the step is refused as not started', async () => {
    const request = cell.request(['true'], { cellDir: join(cell.dir, 'gone') });
    await expect(run(request)).rejects.toMatchObject({ code: 'STEP_FAILED', retryable: true });
  });
});

describe('what a step is given', () => {
  test('its environment is exactly the ten variables, and nothing of the runtime', async () => {
    process.env['LAZARUS_TEST_SECRET'] = 'do not leak';
    const request = cell.request(['/usr/bin/env', '-0'], { name: 'com\npile "x"' });
    await run(request);
    delete process.env['LAZARUS_TEST_SECRET'];
    const file = readdirSync(join(cell.dir, 'artifacts/logs/build')).find((n) =>
      n.endsWith('.out'),
    );
    const text = cell.read(`artifacts/logs/build/${file}`);
    const entries = text.split('\0').filter(Boolean);
    expect(
      Object.fromEntries(entries.map((e) => [e.split('=')[0], e.slice(e.indexOf('=') + 1)])),
    ).toEqual({
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      LANG: process.env['LANG'] ?? 'C.UTF-8',
      LAZARUS_NODE: cell.nodeId,
      LAZARUS_CELL: 'c1',
      LAZARUS_AGENT: 'builder',
      LAZARUS_TASK: 'build',
      LAZARUS_STEP: 'com\npile "x"',
      LAZARUS_ATTEMPT: '1',
      LAZARUS_KEY: request.key,
    });
  });

  test('arguments reach the program untouched: no shell has a hand in it', async () => {
    const words = ['a b', '"q\'', 'line\nbreak', '$HOME `id` $(id)', '*', ';', '', '--', '\\'];
    await run(cell.request(['printf', '%s\\0', ...words]));
    expect(out().split('\0').slice(0, -1)).toEqual(words);
  });

  test('it stands in the cell folder, in a process group of its own', async () => {
    await run(cell.script('pwd; echo $$; ps -o pgid= -p $$'));
    const [folder, pid, group] = out()
      .split('\n')
      .map((line) => line.trim());
    expect(folder).toBe(cell.dir);
    expect(group).toBe(pid);
  });

  test('stdin is a file that can be opened again, and is empty when none is given', async () => {
    const text = `${'x'.repeat(200_000)}\n`;
    await run(cell.script('cat /dev/stdin', { stdin: text }));
    expect(out()).toBe(text);
    await run(cell.script('cat', {}));
    expect(out(2)).toBe('');
    expect(
      readdirSync(join(cell.dir, 'artifacts/logs/build')).filter((n) => n.includes('.in')),
    ).toEqual([]);
  });

  test('output goes to the files of its attempt, and a second attempt has its own', async () => {
    await run(cell.script('echo first; echo oops >&2'));
    const second = await run(cell.script('echo second'));
    expect(second.attempt).toBe(2);
    expect([out(1), err(1), out(2), err(2)]).toEqual(['first\n', 'oops\n', 'second\n', '']);
  });

  test('a probe is numbered apart from the step whose name it bears', async () => {
    await run(cell.script('echo step'));
    const probe = await run(cell.script('echo probe', { kind: 'probe' }));
    expect(probe.attempt).toBe(1);
    expect(cell.read('artifacts/logs/build/compile.probe.1.out')).toBe('probe\n');
  });
});

describe('limits', () => {
  test('a step that takes too long gets SIGTERM, and is recorded as timed out', async () => {
    const request = cell.script('trap "echo asked; exit 3" TERM; sleep 60 & wait', {
      timeoutMs: 200,
    });
    const outcome = await run(request);
    expect(outcome).toMatchObject({ exit_code: 3, timed_out: true });
    expect(out()).toBe('asked\n');
    expect(await readOutcome(request)).toEqual(outcome);
  });

  test('one that ignores SIGTERM gets SIGKILL after the grace', async () => {
    const request = cell.script('trap "" TERM; sleep 60', { timeoutMs: 100 });
    expect(await run(request, { graceMs: 100 })).toMatchObject({
      signal: 'SIGKILL',
      timed_out: true,
    });
  });

  test('a time limit of a month does not fire at once', async () => {
    const request = cell.script('sleep 0.2', { timeoutMs: 30 * 86_400_000 });
    expect(await run(request)).toMatchObject({ exit_code: 0, timed_out: false });
  });

  test('endless output ends the step, the file is cut and the reason stands', async () => {
    const outcome = await run(cell.request(['yes']), { maxOutputBytes: 100_000 });
    expect(outcome).toMatchObject({ exit_code: null, signal: 'SIGKILL', timed_out: false });
    expect(outcome.reason).toMatch(/output passed 100000 bytes.*ended/);
    expect(statSync(join(cell.dir, 'artifacts/logs/build/compile.1.out')).size).toBe(100_000);
    expect(err()).toContain('output passed');
  });
});

describe('abort', () => {
  test('given a running step, when it is aborted, then it rejects with the reason, all is gone and nothing is recorded', async () => {
    const stop = new AbortController();
    const reason = new Error('withdrawn');
    const request = cell.script('sleep 60 & sleep 60');
    const done = run(request, { signal: stop.signal, onStarted: () => stop.abort(reason) });
    await expect(done).rejects.toBe(reason);
    expect(pidsMarked('LAZARUS_KEY', request.key)).toEqual([]);
    expect(await readOutcome(request)).toBeNull();
  });

  test('given an abort before the start, then no process and no file is made', async () => {
    const request = cell.script('touch artifacts/ran');
    await expect(run(request, { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
    expect(readdirSync(join(cell.dir, 'artifacts'))).toEqual([]);
  });
});

describe('R1: a finished step leaves nothing behind', () => {
  test('background children in its group are ended', async () => {
    const outcome = await run(cell.script('sleep 60 & echo $! > artifacts/pid; exit 0'));
    expect(outcome.exit_code).toBe(0);
    expect(isRunning(readStat(pidIn(cell, 'artifacts/pid')))).toBe(false);
  });

  test('a grandchild that detached by setsid and double fork is swept before the outcome', async () => {
    const script = `${detached('echo $BASHPID > artifacts/pid; exec sleep 60')}
      until [ -s artifacts/pid ]; do sleep 0.01; done; exit 5`;
    expect(await run(cell.script(script))).toMatchObject({ exit_code: 5 });
    expect(isRunning(readStat(pidIn(cell, 'artifacts/pid')))).toBe(false);
  });

  test('one that forks again and again is swept too', async () => {
    const hop = 'hop() { sleep 0.01; hop & }; hop; wait';
    expect(await run(cell.script(`${detached(hop)}\nsleep 0.2`))).toMatchObject({ exit_code: 0 });
  });

  test('on timeout and on abort the detached ones go as well', async () => {
    const script = `${detached('echo $BASHPID > artifacts/pid; exec sleep 60')}\nsleep 60`;
    const stop = new AbortController();
    const done = run(cell.script(script), { signal: stop.signal });
    const pid = await eventually(() => pidIn(cell, 'artifacts/pid'));
    stop.abort();
    await expect(done).rejects.toThrow(/abort/i);
    expect(isRunning(readStat(pid))).toBe(false);
  });
});

describe('links', () => {
  test.each(['artifacts/logs', 'artifacts/logs/build'])(
    'given a symlink planted at %s, then the step is refused and nothing is written through it',
    async (place) => {
      mkdirSync(join(cell.dir, 'elsewhere'));
      mkdirSync(join(cell.dir, place, '..'), { recursive: true });
      symlinkSync(join(cell.dir, 'elsewhere'), join(cell.dir, place));
      const request = cell.script('echo hello');
      await expect(run(request)).rejects.toMatchObject({ code: 'PATH_ESCAPES_CELL' });
      expect(readdirSync(join(cell.dir, 'elsewhere'))).toEqual([]);
    },
  );

  test('given a step that swaps its log folder for a link, then its end is unknown and nothing is written there', async () => {
    mkdirSync(join(cell.dir, 'elsewhere'));
    const request = cell.script(
      'mv artifacts/logs/build x; ln -s ../../elsewhere artifacts/logs/build',
    );
    await expect(run(request)).rejects.toMatchObject({
      code: 'OUTCOME_UNKNOWN',
      details: { outcome: { exit_code: 0 } },
    });
    expect(readdirSync(join(cell.dir, 'elsewhere'))).toEqual([]);
  });
});

test('the outcome names the key, the hash of the argv and both times', async () => {
  const request = cell.request(['true']);
  const outcome = await run(request);
  expect(outcome).toMatchObject({ key: request.key, argv_sha256: hashArgv(['true']) });
  expect(Date.parse(outcome.finished_at)).toBeGreaterThanOrEqual(Date.parse(outcome.started_at));
  expect(JSON.parse(cell.read('artifacts/logs/build/compile.1.outcome.json'))).toEqual(outcome);
});

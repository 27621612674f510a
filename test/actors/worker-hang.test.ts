/**
 * H5 and H6 of worker-pool.ts: alive, hung and stuck are three things. Beats come every 200 ms here. Most of these tests
 * wait, so those whose workers stand still for a while do it together.
 */
import { describe, expect, test } from 'vitest';
import type { TestContext } from 'vitest';
import { hasProc } from '../../actors/proc-fs.ts';
import { pidAlive } from '../../actors/processes.ts';
import { readOutcome } from '../../actors/step-runner.ts';
import type { WorkerHandle } from '../../actors/worker-pool.ts';
import { eventually } from '../support/eventually.ts';
import { detached, pidIn, pidsMarked, rejection } from '../support/steps.ts';
import { openPool, withFault } from '../support/workers.ts';
import type { TestPool } from '../support/workers.ts';

const BEAT_MS = 200;
const never = new AbortController().signal;

function open({ onTestFinished }: TestContext): TestPool {
  const at = openPool({ beatIntervalMs: BEAT_MS, standby: 0 });
  onTestFinished(() => at.close());
  return at;
}

/** On a busy machine a beat may be late. */
const healthy = (worker: WorkerHandle): Promise<void> =>
  eventually(() => expect(worker.health()).toMatchObject({ status: 'healthy', misses: 0 }));

describe('a hung worker (H5)', () => {
  test('given SIGSTOP in mid-step, then it is killed with all it ran, and the exit says why', async (context) => {
    const at = open(context);
    const worker = await at.start();
    const script = `${detached('exec sleep 61')}\necho $$ > artifacts/pid; sleep 60`;
    const request = at.cell.script(script);
    const failed = rejection(worker.run(request, never));
    await eventually(() => pidIn(at.cell, 'artifacts/pid'));
    process.kill(worker.pid, 'SIGSTOP');
    await eventually(() => expect(worker.health().status).toBe('degraded'));
    expect(await worker.exited).toMatchObject({
      signal: 'SIGKILL',
      cause: 'hung',
      detail: expect.stringMatching(/^no heartbeat for \d\.\d s$/),
      leftovers: [],
    });
    expect(pidsMarked('LAZARUS_KEY', request.key)).toEqual([]);
    expect(await failed).toMatchObject({
      code: 'WORKER_LOST',
      message: expect.stringContaining('no heartbeat'),
    });
    expect(await readOutcome(request)).toBeNull();
  });

  test('given a busy loop in the worker itself, then it is killed too', async (context) => {
    const at = open(context);
    const worker = await withFault('loop=400', () => at.start());
    await worker.ready;
    expect(await worker.exited).toMatchObject({ signal: 'SIGKILL', cause: 'hung' });
  });

  test('given a host that was busy for many intervals, then nobody is called hung', async (context) => {
    const at = open(context);
    const worker = await at.start();
    await worker.ready;
    const until = performance.now() + 12 * BEAT_MS;
    while (performance.now() < until);
    const resumedAt = Date.now();
    expect(worker.health().status).not.toBe('unhealthy');
    for (let beats = 1; beats <= 3; beats += 1)
      await eventually(() =>
        expect(worker.lastBeatAt()).toBeGreaterThan(resumedAt + beats * BEAT_MS),
      );
    await healthy(worker);
    expect(worker.isEnding).toBe(false);
  });

  test('given one that ends by itself, then the exit does not speak of a hang', async (context) => {
    const at = open(context);
    const worker = await at.start();
    await worker.ready;
    process.kill(worker.pid, 'SIGKILL');
    expect(await worker.exited).toMatchObject({ cause: 'exit', detail: null, signal: 'SIGKILL' });
  });
});

describe.runIf(hasProc)('a stuck step (H6)', { concurrent: true }, () => {
  const progressTimeoutMs = 1000;

  test('given neither output nor CPU time for long, then its worker is killed, and the exit names the step', async (context) => {
    const at = open(context);
    const worker = await at.start('builder', { progressTimeoutMs });
    const request = at.cell.script('echo $$ > artifacts/pid; sleep 60');
    const failed = rejection(worker.run(request, never));
    expect(await worker.exited).toMatchObject({
      cause: 'stuck',
      detail: expect.stringMatching(
        /^step build\/compile: no output and no CPU time for \d\.\d s$/,
      ),
    });
    expect(pidAlive(pidIn(at.cell, 'artifacts/pid'), null)).toBe(false);
    expect(await failed).toMatchObject({ code: 'WORKER_LOST', details: { cause: 'stuck' } });
  });

  test.for<[what: string, script: string]>([
    ['writes now and then', 'for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.3; done'],
    ['computes without a word', 'end=$((SECONDS + 3)); while [ $SECONDS -lt $end ]; do :; done'],
    [
      'waits for what it started outside its group and family, which computes',
      `${detached('while :; do :; done')}\nsleep 3`,
    ],
  ])('given one that %s, then it is left alone', async ([, script], context) => {
    const at = open(context);
    const worker = await at.start('builder', { progressTimeoutMs });
    expect(await worker.run(at.cell.script(script), never)).toMatchObject({ exit_code: 0 });
    expect(worker.isEnding).toBe(false);
  });

  test('given no limit, then how long it stands still is only shown', async (context) => {
    const at = open(context);
    const worker = await at.start();
    const stop = new AbortController();
    const failed = rejection(worker.run(at.cell.script('sleep 60'), stop.signal));
    expect(worker.health().stuckForMs).toBeNull();
    await eventually(() =>
      expect(worker.health().stuckForMs).toBeGreaterThan(2 * progressTimeoutMs),
    );
    await healthy(worker);
    stop.abort();
    await failed;
    await eventually(() => expect(worker.health().stuckForMs).toBeNull());
  });

  test('given a limit, then a worker without a step is never stuck', async (context) => {
    const at = open(context);
    const worker = await at.start('builder', { progressTimeoutMs: 1 });
    await worker.ready;
    const from = Date.now();
    await eventually(() => expect(worker.lastBeatAt()).toBeGreaterThan(from + 10 * BEAT_MS));
    expect(worker.isEnding).toBe(false);
  });
});

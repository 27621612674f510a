import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { endLeftovers, pidAlive } from '../../actors/processes.ts';
import { readOutcome } from '../../actors/step-runner.ts';
import { WorkerPool } from '../../actors/worker-pool.ts';
import type { WorkerHandle } from '../../actors/worker-pool.ts';
import { eventually } from '../support/eventually.ts';
import { detached, pidIn, pidsMarked, rejection } from '../support/steps.ts';
import type { TestCell } from '../support/steps.ts';
import { openPool } from '../support/workers.ts';
import type { TestPool } from '../support/workers.ts';

let at: TestPool;
let cell: TestCell;

beforeEach(() => {
  at = openPool();
  ({ cell } = at);
});
afterEach(() => at.close());

const start = (agentId?: string): Promise<WorkerHandle> => at.start(agentId);
const never = new AbortController().signal;
const hanging = 'echo $$ > artifacts/pid; sleep 60';
const stepPid = (): Promise<number> => eventually(() => pidIn(cell, 'artifacts/pid'));

describe('a worker', () => {
  test('answers, beats, runs steps one after the other and stops with exit 0', async () => {
    const worker = await start();
    await worker.ready;
    await eventually(() => expect(worker.lastBeatAt()).toBeGreaterThan(0));
    const order = 'echo $LAZARUS_STEP >> artifacts/order; sleep 0.05; echo end >> artifacts/order';
    const runs = ['a', 'b', 'c'].map((name) => worker.run(cell.script(order, { name }), never));
    expect((await Promise.all(runs)).map((outcome) => outcome.exit_code)).toEqual([0, 0, 0]);
    expect(cell.read('artifacts/order')).toBe('a\nend\nb\nend\nc\nend\n');
    await worker.stop();
    expect(await worker.exited).toEqual({
      code: 0,
      signal: null,
      cause: 'exit',
      detail: null,
      leftovers: [],
    });
  });

  test('keeps beating while its step runs', async () => {
    const worker = await start();
    const stop = new AbortController();
    const done = worker.run(cell.script(hanging), stop.signal);
    await stepPid();
    const before = worker.lastBeatAt();
    await eventually(() => expect(worker.lastBeatAt()).toBeGreaterThan(before));
    stop.abort();
    await expect(done).rejects.toThrow(/abort/i);
  });

  test("has an environment of its own: not the host's, and the step's is the step runner's", async () => {
    process.env['LAZARUS_TEST_SECRET'] = 'do not leak';
    const worker = await start();
    await worker.run(cell.request(['/usr/bin/env']), never);
    delete process.env['LAZARUS_TEST_SECRET'];
    const names = cell
      .read('artifacts/logs/build/compile.1.out')
      .trim()
      .split('\n')
      .map((line) => line.split('=')[0]);
    const marks = ['AGENT', 'ATTEMPT', 'CELL', 'KEY', 'NODE', 'STEP', 'TASK'];
    expect(new Set(names)).toEqual(
      new Set(['HOME', 'LANG', 'PATH', ...marks.map((m) => `LAZARUS_${m}`)]),
    );
  });

  test.runIf(process.platform === 'linux')('does not hand its channel to the step', async () => {
    await (await start()).run(cell.script('ls -l /proc/self/fd'), never);
    expect(cell.read('artifacts/logs/build/compile.1.out')).not.toContain('socket:');
  });

  test('passes on why a step was refused', async () => {
    const request = cell.request(['true'], { cellDir: `${cell.dir}/gone` });
    await expect((await start()).run(request, never)).rejects.toMatchObject({
      code: 'STEP_FAILED',
      retryable: true,
    });
  });

  test('takes only so many steps at a time', async () => {
    const worker = await start();
    const stop = new AbortController();
    const runs = Array.from({ length: 17 }, (_, i) =>
      worker.run(cell.script('sleep 60', { name: `s${i}` }), stop.signal),
    );
    await expect(runs[16]).rejects.toMatchObject({ code: 'BUSY' });
    stop.abort();
    for (const run of runs.slice(0, 16)) await expect(run).rejects.toThrow(/abort/i);
  });

  test('passes by the signals that are meant for its host', async () => {
    const worker = await start();
    await worker.ready;
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.kill(worker.pid, signal);
    expect(await worker.run(cell.script('exit 7'), never)).toMatchObject({ exit_code: 7 });
  });
});

describe('abort', () => {
  test('given a running step, then it rejects with the reason when all is gone, and the worker lives on', async () => {
    const worker = await start();
    const stop = new AbortController();
    const request = cell.script(hanging);
    const started: number[] = [];
    const done = worker.run(request, stop.signal, (pid) => started.push(pid));
    const pid = await stepPid();
    stop.abort(new Error('withdrawn'));
    await expect(done).rejects.toThrow('withdrawn');
    expect(started).toEqual([pid]);
    expect(pidsMarked('LAZARUS_KEY', request.key)).toEqual([]);
    expect(await readOutcome(request)).toBeNull();
    expect(await worker.run(cell.script('exit 0'), never)).toMatchObject({ exit_code: 0 });
  });

  test('given a worker that hangs, when it is stopped, then it is killed and its step with it', async () => {
    const worker = await start();
    const done = worker.run(cell.script(hanging), never);
    const pid = await stepPid();
    process.kill(worker.pid, 'SIGSTOP');
    worker.kill();
    await expect(done).rejects.toMatchObject({ code: 'WORKER_LOST' });
    expect(pidAlive(pid, null)).toBe(false);
  });

  test('stop aborts the step in flight, which has no outcome', async () => {
    const worker = await start();
    const request = cell.script(hanging);
    const done = worker.run(request, never);
    const failed = rejection(done);
    await stepPid();
    await worker.stop();
    expect(await failed).toMatchObject({ message: expect.stringMatching(/abort/i) });
    expect((await worker.exited).code).toBe(0);
    expect(await readOutcome(request)).toBeNull();
  });
});

describe('H1: a killed worker', () => {
  test('given a step in flight, then run() rejects WORKER_LOST, and step and descendants are gone', async () => {
    const worker = await start();
    const script = `${detached('exec sleep 61')}\nsleep 62 & ${hanging}`;
    const request = cell.script(script);
    const done = worker.run(request, never);
    const failed = rejection(done);
    await stepPid();
    await eventually(() =>
      expect(pidsMarked('LAZARUS_KEY', request.key).length).toBeGreaterThanOrEqual(4),
    );
    process.kill(worker.pid, 'SIGKILL');
    expect(await worker.exited).toMatchObject({ code: null, signal: 'SIGKILL', leftovers: [] });
    expect(pidsMarked('LAZARUS_KEY', request.key)).toEqual([]);
    expect(await failed).toMatchObject({
      code: 'WORKER_LOST',
      details: { signal: 'SIGKILL', mayHaveRun: true, leftovers: [] },
    });
    expect(await readOutcome(request)).toBeNull();
  });

  test('given a worker that died right after writing an outcome, then the outcome is adopted', async () => {
    const worker = await start();
    const request = cell.script('exit 9');
    const done = worker.run(request, never).catch(() => null);
    await eventually(() =>
      expect(readdirSync(`${cell.dir}/artifacts/logs/build`)).toContain('compile.1.outcome.json'),
    );
    process.kill(worker.pid, 'SIGKILL');
    await worker.exited;
    await done;
    expect(await readOutcome(request)).toMatchObject({ exit_code: 9, attempt: 1 });
  });

  test('given one that is gone, then it takes no step and says that none ran', async () => {
    const worker = await start();
    worker.kill();
    await worker.exited;
    await expect(worker.ready).rejects.toMatchObject({ code: 'WORKER_LOST' });
    await expect(worker.run(cell.script('exit 0'), never)).rejects.toMatchObject({
      code: 'WORKER_LOST',
      details: { mayHaveRun: false },
    });
  });

  test('given its successor is there, when it is killed in mid-step, then the successor lives and takes over', async () => {
    const [first, next] = [await start(), await start()];
    await next.ready;
    const lost = first.run(cell.script(hanging), never);
    const failed = rejection(lost);
    const pid = await stepPid();
    await expect(next.run(cell.script('exit 0'), never)).rejects.toMatchObject({
      code: 'CONFLICT',
    });
    first.kill();
    const outcome = await next.run(cell.script('exit 0'), never); // H3: waits for the first to be gone
    expect(outcome).toMatchObject({ exit_code: 0 });
    expect(pidAlive(pid, null)).toBe(false);
    expect(await failed).toMatchObject({ code: 'WORKER_LOST' });
  });

  test("another agent's worker and step are left alone", async () => {
    const [mine, other] = [await start('builder'), await start('tester')];
    const request = cell.script('sleep 0.5; exit 3', { agentId: 'tester' });
    const done = other.run(request, never);
    await eventually(() => expect(pidsMarked('LAZARUS_KEY', request.key)).not.toEqual([]));
    mine.kill();
    await mine.exited;
    expect(await done).toMatchObject({ exit_code: 3 });
  });

  test('a crash is in the log', async () => {
    const worker = await start();
    await worker.ready;
    process.kill(worker.pid, 'SIGABRT');
    await worker.exited;
    expect(at.logged.find(({ message }) => message === 'worker gone')?.fields).toMatchObject({
      agentId: 'builder',
      signal: 'SIGABRT',
    });
  });
});

describe('the pool', () => {
  test('has a bound, and takes nobody once it is closed', async () => {
    const { nodeId } = cell;
    const log = { info: () => {}, warn: () => {}, error: () => {} };
    const small = new WorkerPool({ nodeId, log, maxWorkers: 1 });
    const place = { cellId: 'c1', agentId: 'a', cellDir: cell.dir };
    const worker = await small.start(place);
    await expect(small.start(place)).rejects.toMatchObject({ code: 'BUSY' });
    await small.close();
    expect(pidAlive(worker.pid, null)).toBe(false);
    await expect(small.start(place)).rejects.toMatchObject({ code: 'BUSY' });
  });
});

describe('given a host in mid-step (W1)', () => {
  const entry = fileURLToPath(new URL('../support/worker-host.ts', import.meta.url));
  async function hostWithStep(script: string, level = 'level_1') {
    const request = cell.script(script);
    const host = spawn(process.execPath, [entry, JSON.stringify(request), level], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = await once(host.stdout, 'data');
    return { host, request, workerPid: Number(String(line)), step: await stepPid() };
  }

  test.each(['SIGKILL', 'SIGTERM'] as const)(
    'when it dies by %s, then worker, step and all descendants are gone, and no outcome is left',
    async (signal) => {
      const { host, request, workerPid, step } = await hostWithStep(
        `${detached('exec sleep 61')}\nsleep 62 & ${hanging}`,
      );
      expect(pidAlive(workerPid, null)).toBe(true);
      host.kill(signal);
      await once(host, 'exit');
      await eventually(() => expect(pidsMarked('LAZARUS_NODE', cell.nodeId)).toEqual([]));
      expect(pidAlive(step, null)).toBe(false);
      expect(await readOutcome(request)).toBeNull();
    },
  );

  test('when it dies by SIGKILL, then the workers that stand by are gone too', async () => {
    const { host } = await hostWithStep(hanging, 'standby');
    expect(pidsMarked('LAZARUS_NODE', cell.nodeId).length).toBeGreaterThanOrEqual(4);
    host.kill('SIGKILL');
    await once(host, 'exit');
    await eventually(() => expect(pidsMarked('LAZARUS_NODE', cell.nodeId)).toEqual([]));
  });

  test('when it dies and its worker hangs, then the next start ends what is left, without an outcome', async () => {
    const { host, request, workerPid } = await hostWithStep(hanging);
    process.kill(workerPid, 'SIGSTOP');
    host.kill('SIGKILL');
    await once(host, 'exit');
    expect(await endLeftovers(cell.nodeId)).toMatchObject({ supported: true, remaining: [] });
    expect(pidsMarked('LAZARUS_NODE', cell.nodeId)).toEqual([]);
    expect(await readOutcome(request)).toBeNull();
  });

  test('at level none: when it dies, then the step dies with it and the next start ends its descendants', async () => {
    const { host, request, step } = await hostWithStep(`sleep 62 & ${hanging}`, 'none');
    host.kill('SIGKILL');
    await once(host, 'exit');
    await eventually(() => expect(pidAlive(step, null)).toBe(false));
    await endLeftovers(cell.nodeId);
    expect(pidsMarked('LAZARUS_NODE', cell.nodeId)).toEqual([]);
    expect(await readOutcome(request)).toBeNull();
  });
});

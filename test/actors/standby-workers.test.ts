/** Workers that stand by: B1 to B4 of standby-workers.ts, and what the pool promises with them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { pidAlive } from '../../actors/processes.ts';
import { readEnvironment } from '../../actors/proc-fs.ts';
import type { WorkerHandle } from '../../actors/worker-pool.ts';
import { eventually } from '../support/eventually.ts';
import { detached, pidIn, pidsMarked, rejection } from '../support/steps.ts';
import { openPool, withFault } from '../support/workers.ts';
import type { TestPool } from '../support/workers.ts';

const never = new AbortController().signal;
const opened: TestPool[] = [];
afterEach(async () => {
  for (const at of opened.splice(0)) await at.close();
});

function open(options: Parameters<typeof openPool>[0] = {}): TestPool {
  const at = openPool(options);
  opened.push(at);
  return at;
}
const processesOf = ({ cell }: TestPool): number[] => pidsMarked('LAZARUS_NODE', cell.nodeId);
const standby = (at: TestPool, count: number): Promise<void> =>
  eventually(() => expect(at.pool.counts().standby).toBe(count));
/** A first agent has its worker, and so many stand by that have answered. */
async function warm(at: TestPool, count = 2): Promise<{ first: WorkerHandle; waiting: number[] }> {
  const first = await at.start('first');
  await first.ready;
  await standby(at, count);
  let pids: number[] = [];
  await eventually(() => {
    pids = processesOf(at); // looked at once: one that is just being started has the marks of who starts it
    expect(pids.length).toBe(count + 1);
  });
  return { first, waiting: pids.filter((pid) => pid !== first.pid) };
}

describe('a worker that stands by', () => {
  test('is not there before an agent has asked for a worker (B1), and then two are', async () => {
    const at = open();
    expect(processesOf(at)).toEqual([]);
    const { waiting } = await warm(at);
    expect(waiting.length).toBe(2);
    expect(at.pool.counts()).toEqual({ workers: 3, starting: 0, standby: 2, waiting: 0 });
  });

  test('serves any agent that comes, whose steps bear its marks, and is replaced', async () => {
    const at = open();
    const { waiting } = await warm(at);
    const worker = await at.start('writer');
    expect(waiting).toContain(worker.pid);
    const request = at.cell.request(['/usr/bin/env'], { agentId: 'writer' });
    expect(await worker.run(request, never)).toMatchObject({ exit_code: 0 });
    const names = at.cell.read('artifacts/logs/build/compile.1.out');
    for (const mark of ['CELL=c1', 'AGENT=writer', `NODE=${at.cell.nodeId}`, `KEY=${request.key}`])
      expect(names).toContain(`LAZARUS_${mark}\n`);
    expect(names).not.toContain('LAZARUS_WORKER');
    await standby(at, 2);
  });

  test('is nobody else’s any more: a step of another agent is refused', async () => {
    const at = open();
    await warm(at);
    const worker = await at.start('writer');
    await expect(worker.run(at.cell.script('true'), never)).rejects.toThrow(/builder|deep/);
  });

  test('is replaced when it dies', async () => {
    const at = open();
    const { waiting } = await warm(at);
    process.kill(waiting[0] ?? 0, 'SIGKILL');
    await eventually(() => {
      const now = processesOf(at);
      expect(now).not.toContain(waiting[0]);
      expect(now.length).toBe(3);
    });
  });

  test('is passed over when it hangs, and replaced', async () => {
    const at = open({ beatIntervalMs: 200 });
    const { waiting } = await warm(at);
    const [hung = 0, well = 0] = waiting;
    process.kill(hung, 'SIGSTOP');
    await eventually(() => expect(pidAlive(hung, null)).toBe(false));
    expect((await at.start('writer')).pid).toBe(well);
    await eventually(() => {
      const gone = at.logged.filter(({ message }) => message === 'worker gone');
      expect(gone.map(({ fields }) => fields)).toMatchObject([
        { pid: hung, standby: true, cause: 'hung' },
      ]);
    });
    await standby(at, 2);
  });

  test('counts among the most workers, and never keeps an agent from one', async () => {
    const at = open({ maxWorkers: 2 });
    const { waiting } = await warm(at, 1);
    expect((await at.start('second')).pid).toBe(waiting[0]);
    await expect(at.start('third')).rejects.toMatchObject({ code: 'BUSY' });
    expect(at.pool.counts()).toMatchObject({ workers: 2, standby: 0, waiting: 0 });
  });

  test('can be asked for or sent away while the node runs', async () => {
    const at = open({ standby: 0 });
    const first = await at.start('first');
    await first.ready;
    at.pool.setStandby(3);
    await standby(at, 3);
    at.pool.setStandby(1);
    await eventually(() => expect(at.pool.counts()).toMatchObject({ workers: 2, standby: 1 }));
    at.pool.setStandby(0);
    await eventually(() => expect(processesOf(at)).toEqual([first.pid]));
  });
});

test('H3: given one taken over while its predecessor’s step still has processes, then its first step waits for their end', async () => {
  const at = open();
  await warm(at);
  const worker = await at.start();
  const script = `${detached('exec sleep 61')}\necho $$ > artifacts/pid; sleep 60`;
  const request = at.cell.script(script);
  const failed = rejection(worker.run(request, never));
  const pid = await eventually(() => pidIn(at.cell, 'artifacts/pid'));
  worker.kill();
  const next = await at.start(); // at once, though Lazarus would wait for the end of the other
  await next.ready;
  const look = at.cell.script(`! grep -qs LAZARUS_KEY /proc/${pid}/environ`, { name: 'look' });
  expect(await next.run(look, never)).toMatchObject({ exit_code: 0 });
  expect(pidsMarked('LAZARUS_KEY', request.key)).toEqual([]);
  expect(await failed).toMatchObject({ code: 'WORKER_LOST' });
});

test.runIf(process.platform === 'linux')(
  'given a worker killed between fork and execve of a step, then what shows only the worker’s own mark is ended',
  async () => {
    const at = open({ standby: 0 });
    const worker = await at.start();
    const forked = `env -i PATH="$PATH" LAZARUS_NODE=${at.cell.nodeId}`;
    const script = `read -r w < artifacts/mark; ( ${forked} "$w" setsid sleep 60 & ); echo $$ > artifacts/pid; sleep 60`;
    await worker.ready;
    const own = readEnvironment(worker.pid)?.toString('latin1') ?? '';
    const mark = /LAZARUS_WORKER=[^\0]+/.exec(own)?.[0] ?? '';
    writeFileSync(`${at.cell.dir}/artifacts/mark`, `${mark}\n`);
    const failed = rejection(worker.run(at.cell.script(script), never));
    await eventually(() => pidIn(at.cell, 'artifacts/pid'));
    const [, id = ''] = mark.split('=');
    await eventually(() => expect(pidsMarked('LAZARUS_WORKER', id).length).toBe(2));
    process.kill(worker.pid, 'SIGKILL');
    expect((await worker.exited).leftovers).toEqual([]);
    expect(pidsMarked('LAZARUS_WORKER', id)).toEqual([]);
    await failed;
  },
);

test('B3: given that nobody stands by, when an agent’s worker dies, then the next is started before anyone asks', async () => {
  const at = open({ standby: 1 });
  const { waiting } = await warm(at, 1);
  const worker = await at.start('second');
  expect(worker.pid).toBe(waiting[0]);
  process.kill(worker.pid, 'SIGKILL');
  await worker.exited;
  expect(at.pool.counts().starting).toBe(1);
  await (
    await at.start('second')
  ).ready;
});

test('B4: given workers that die as soon as they start, then they are not started for ever, and it is said', async () => {
  const at = open();
  const lost = await withFault('die', async () => {
    const worker = await at.start();
    await expect(worker.ready).rejects.toMatchObject({ code: 'WORKER_LOST', details: { code: 3 } });
    const isWarning = ({ message }: { message: string }): boolean =>
      message.startsWith('standby workers die as soon');
    await eventually(() => expect(at.logged.some(isWarning)).toBe(true));
    return worker;
  });
  expect((await lost.exited).code).toBe(3);
  const died = at.logged.filter(({ message }) => message === 'worker gone');
  expect(died.length).toBe(6);
  expect(at.pool.counts()).toEqual({ workers: 0, starting: 0, standby: 0, waiting: 0 });
  await (
    await at.start()
  ).ready; // mended: it goes on
  await standby(at, 2);
});

test('H7: given many workers that die together, then all come back, and only so many start at a time', async () => {
  const maxStarts = 3;
  const cacheDir = mkdtempSync(join(tmpdir(), 'lazarus-compile-'));
  const at = open({ standby: 2, maxStarts, compileCacheDir: cacheDir });
  const agents = Array.from({ length: 40 }, (_, n) => `agent-${n}`);
  const answered = new Set<number>();
  let most = 0;
  const watch = setInterval(() => {
    const unanswered = processesOf(at).filter((pid) => !answered.has(pid));
    most = Math.max(most, unanswered.length);
  }, 50);
  const bring = async (agentId: string): Promise<WorkerHandle> => {
    const worker = await at.start(agentId);
    await worker.ready;
    answered.add(worker.pid);
    return worker;
  };
  const first = await Promise.all(agents.map(bring));
  most = 0;
  const ends = first.map((worker) => worker.exited);
  for (const { pid } of first) process.kill(pid, 'SIGKILL');
  const second = await Promise.all(ends.map((end, n) => end.then(() => bring(agents[n] ?? ''))));
  clearInterval(watch);
  expect(new Set(second.map(({ pid }) => pid)).size).toBe(agents.length);
  expect(most).toBeGreaterThan(0);
  expect(most).toBeLessThanOrEqual(maxStarts + 3); // those that stand by, and one that has just answered
  rmSync(cacheDir, { recursive: true });
}, 90_000);

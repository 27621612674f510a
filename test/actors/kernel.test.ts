/** The kernel's rules (DESIGN 4), each with the test that would catch its breaking. Real files, no mocks. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { createMachine } from 'xstate';
import type { AnyStateMachine } from 'xstate';
import { checkpointPaths } from '../../cells/layout.ts';
import { readSegments } from '../../cells/journal-reader.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { Kernel } from '../../actors/kernel.ts';
import { stateText } from '../../actors/fold.ts';
import { MachineRegistry } from '../../actors/logic.ts';
import type { JsonObject } from '../../machines/json.ts';
import { failingIo } from '../support/failing-io.ts';
import { eventually } from '../support/eventually.ts';
import { counterAddress, counterMachine, openKernel } from '../support/kernel.ts';
import type { KernelFixture } from '../support/kernel.ts';

const fixtures: KernelFixture[] = [];
async function open(options?: Parameters<typeof openKernel>[0]): Promise<KernelFixture> {
  const fixture = await openKernel(options);
  fixtures.push(fixture);
  return fixture;
}
afterEach(async () => {
  for (const fixture of fixtures.splice(0)) await fixture.dispose();
});

const A = counterAddress(1);
const B = counterAddress(2);
const C = counterAddress(3);

async function spawn(kernel: Kernel, ...addresses: string[]): Promise<void> {
  for (const address of addresses) await kernel.system.spawn(address, 'counter', { self: address });
}
const context = (kernel: Kernel, address: string): Record<string, unknown> =>
  kernel.system.read(address).snapshot.context as Record<string, unknown>;
const live = (kernel: Kernel, address: string): string =>
  stateText(kernel.system.wake(kernel.system.actors.get(address) as never).state);

describe('write-ahead and replay', () => {
  test('an acknowledged event is there after a crash, and the state is byte for byte the live one', async () => {
    const f = await open();
    await spawn(f.kernel, A);
    for (let n = 1; n <= 20; n += 1) await f.kernel.system.send(A, { type: 'add', n });
    const before = live(f.kernel, A);
    const kernel = await f.reopen('crash');
    expect(live(kernel, A)).toBe(before);
    expect(context(kernel, A)['total']).toBe(210);
  });

  test('reads show nothing that is not durable', async () => {
    const f = await open();
    await spawn(f.kernel, A);
    const pending = f.kernel.system.send(A, { type: 'add', n: 7 });
    expect(context(f.kernel, A)['total']).toBe(0);
    await pending;
    expect(context(f.kernel, A)['total']).toBe(7);
  });

  test('an actor whose first record is not durable yet is seen by nobody', async () => {
    const f = await open();
    const spawned = spawn(f.kernel, A);
    expect(() => f.kernel.system.read(A)).toThrow(/no actor lives/);
    await spawned;
    expect(context(f.kernel, A)['total']).toBe(0);
  });

  test('a chain of actors costs one commit, and lands whole', async () => {
    const f = await open();
    await spawn(f.kernel, A, B, C);
    await f.kernel.system.send(A, { type: 'chain', to: [B, C, A, B] });
    const kernel = await f.reopen('crash');
    expect([A, B, C].map((a) => context(kernel, a)['total'])).toEqual([2, 2, 1]);
    const records = [...readSegments(join(f.folder, 'journal'))].filter((r) =>
      r.line.includes('"chain"'),
    );
    expect(records.map((r) => r.address)).toEqual([A, B, C, A, B]);
  });

  test('checkpoint and tail give what the full replay gives, also after many snapshots and clean stops', async () => {
    const f = await open({ limits: { snapshotEvery: 4 } });
    await spawn(f.kernel, A, B);
    for (let n = 1; n <= 50; n += 1) {
      await f.kernel.system.send(A, { type: 'forward', to: B, n });
      if (n === 20) await f.kernel.checkpoint(A);
    }
    const before = [live(f.kernel, A), live(f.kernel, B)];
    let kernel = await f.reopen('crash');
    expect([live(kernel, A), live(kernel, B)]).toEqual(before);
    kernel = await f.reopen('clean');
    kernel = await f.reopen('clean');
    expect([live(kernel, A), live(kernel, B)]).toEqual(before);
  });

  test('times in the journal never go back, whatever the wall clock does', async () => {
    const f = await open();
    await spawn(f.kernel, A);
    await f.kernel.system.send(A, { type: 'add', n: 1 });
    const [first] = context(f.kernel, A)['times'] as number[];
    const realNow = Date.now;
    Date.now = () => realNow() - 3_600_000;
    try {
      const kernel = await f.reopen('crash');
      await kernel.system.send(A, { type: 'add', n: 1 });
      const times = context(kernel, A)['times'] as number[];
      expect(times[1]).toBeGreaterThanOrEqual(first as number);
    } finally {
      Date.now = realNow;
    }
  });
});

describe('once', () => {
  test('an outside id is applied once, also across a restart, and answers with its first seq', async () => {
    const f = await open();
    await spawn(f.kernel, A);
    const first = await f.kernel.system.send(A, { type: 'add', n: 5 }, { id: 'x' });
    const again = await f.kernel.system.send(A, { type: 'add', n: 5 }, { id: 'x' });
    expect(again).toEqual({ seq: first.seq, duplicate: true });
    const kernel = await f.reopen('crash');
    expect(await kernel.system.send(A, { type: 'add', n: 5 }, { id: 'x' })).toEqual(again);
    expect(context(kernel, A)['total']).toBe(5);
  });

  test('a duplicate is acknowledged only when the first of its kind is durable', async () => {
    const disk = failingIo();
    const f = await open({ journalIo: disk.io });
    await spawn(f.kernel, A);
    disk.fail('EIO');
    const send = () => f.kernel.system.send(A, { type: 'add', n: 5 }, { id: 'x' });
    const results = await Promise.allSettled([send(), send()]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    disk.mend();
    await eventually(() => expect(f.kernel.system.failure).toBeUndefined());
    expect(await send()).not.toHaveProperty('duplicate');
    expect(context(f.kernel, A)['total']).toBe(5);
  });

  test('a stream position is applied once; a stream made anew starts afresh', async () => {
    const f = await open();
    await spawn(f.kernel, A);
    const at = (created: string, seq: number) => ({ stream: { stream: 'S', created, seq } });
    await f.kernel.system.send(A, { type: 'add', n: 1 }, at('t1', 1));
    await f.kernel.system.send(A, { type: 'add', n: 1 }, at('t1', 1));
    await f.kernel.system.send(A, { type: 'add', n: 1 }, at('t2', 1));
    expect(context(f.kernel, A)['total']).toBe(2);
  });

  test('spawning an address that lives changes nothing', async () => {
    const f = await open();
    await spawn(f.kernel, A);
    await f.kernel.system.send(A, { type: 'add', n: 3 });
    expect(await f.kernel.system.spawn(A, 'counter', { self: A })).toMatchObject({
      duplicate: true,
    });
    expect(context(f.kernel, A)['total']).toBe(3);
  });
});

describe('poison', () => {
  test('an event that throws changes nothing, is told to its sender, and replays as rejected', async () => {
    const f = await open();
    await spawn(f.kernel, A);
    await f.kernel.system.send(A, { type: 'add', n: 2 });
    await expect(f.kernel.system.send(A, { type: 'boom' })).rejects.toMatchObject({
      code: 'EVENT_REJECTED',
    });
    await f.kernel.system.send(A, { type: 'add', n: 2 });
    const before = live(f.kernel, A);
    const kernel = await f.reopen('crash');
    expect(live(kernel, A)).toBe(before);
    expect(context(kernel, A)['total']).toBe(4);
  });
});

describe('effects', () => {
  test('an effect starts only after its cause is durable, under a key of its own', async () => {
    const f = await open();
    const seen: string[] = [];
    f.kernel.system.effects.register('counter', 'job', {
      semantics: 'idempotent',
      run: (c) => {
        const onDisk = [...readSegments(join(f.folder, 'journal'))].at(-1)?.line;
        seen.push(c.key, String(onDisk?.includes('"work"')));
        return Promise.resolve('ok');
      },
    });
    await spawn(f.kernel, A);
    const { seq } = await f.kernel.system.send(A, { type: 'work', job: 'j' });
    await eventually(() => expect(context(f.kernel, A)['done']).toEqual(['ok']));
    expect(seen).toEqual([`${A}#${seq}#job`, 'true']);
  });

  test('leaving the state aborts the effect, and its late result is dropped', async () => {
    const f = await open();
    let aborted = false;
    f.kernel.system.effects.register('counter', 'job', {
      semantics: 'idempotent',
      run: ({ signal }) =>
        new Promise((resolve) =>
          signal.addEventListener('abort', () => ((aborted = true), resolve('late'))),
        ),
    });
    await spawn(f.kernel, A);
    await f.kernel.system.send(A, { type: 'work', job: 'j' });
    await f.kernel.system.send(A, { type: 'cancel' });
    await eventually(() => expect(aborted).toBe(true));
    await f.kernel.system.settled();
    expect(context(f.kernel, A)['done']).toEqual([]);
  });

  const bind = (
    kernel: Kernel,
    semantics: 'idempotent' | 'verify' | 'at_most_once',
    found: 'done' | 'not_started' | 'unknown',
  ) => {
    const runs: string[] = [];
    kernel.system.effects.register('counter', 'job', {
      semantics,
      run: ({ key }) => (runs.push(key), Promise.resolve('ran')),
      recover: () =>
        Promise.resolve(found === 'done' ? { kind: 'done', output: 'adopted' } : { kind: found }),
      settledOutput: () => 'settled',
    });
    return runs;
  };
  const hang = (kernel: Kernel, semantics: 'idempotent' | 'at_most_once' | 'verify') => {
    const started: string[] = [];
    kernel.system.effects.register('counter', 'job', {
      semantics,
      run: ({ key }) => (started.push(key), new Promise(() => undefined)),
    });
    return started;
  };

  test.each([
    ['idempotent', 'done', 'adopted', 0],
    ['idempotent', 'unknown', 'ran', 1],
    ['verify', 'done', 'adopted', 0],
    ['verify', 'not_started', 'ran', 1],
    ['at_most_once', 'done', 'adopted', 0],
  ] as const)(
    'cut off in flight: %s whose recovery says %s delivers %s',
    async (semantics, found, output, runs) => {
      const f = await open();
      const started = hang(f.kernel, semantics);
      await spawn(f.kernel, A);
      await f.kernel.system.send(A, { type: 'work', job: 'j' });
      await eventually(() => expect(started).toHaveLength(1));
      f.kernel.system.effects.close = () => Promise.resolve(); // the hanging promise dies with its process
      const kernel = await f.reopen('crash');
      const ran = bind(kernel, semantics, found);
      await kernel.wakeBusy();
      await eventually(() => expect(context(kernel, A)['done']).toEqual([output]));
      expect(ran).toEqual(started.slice(0, runs));
    },
  );

  test.each(['verify', 'at_most_once'] as const)(
    'cut off in flight: %s with unknown outcome is in doubt, delivers nothing, and stays so over a restart',
    async (semantics) => {
      const f = await open();
      const started = hang(f.kernel, semantics);
      await spawn(f.kernel, A);
      await f.kernel.system.send(A, { type: 'work', job: 'j' });
      await eventually(() => expect(started).toHaveLength(1));
      f.kernel.system.effects.close = () => Promise.resolve();
      let kernel = await f.reopen('crash');
      for (const how of ['crash', 'clean'] as const) {
        const ran = bind(kernel, semantics, 'unknown');
        await kernel.wakeBusy();
        await eventually(() => expect(kernel.system.inDoubt().map((d) => d.key)).toEqual(started));
        expect(ran).toEqual([]);
        expect(context(kernel, A)['done']).toEqual([]);
        kernel = await f.reopen(how);
      }
    },
  );

  test.each([
    ['done', { done: ['settled'], failed: [] }],
    ['failed', { done: [], failed: ['it did not work'] }],
    ['not_started', { done: ['ran'], failed: [] }],
  ] as const)('an effect in doubt settled as %s', async (verdict, expected) => {
    const f = await open();
    const started = hang(f.kernel, 'at_most_once');
    await spawn(f.kernel, A);
    await f.kernel.system.send(A, { type: 'work', job: 'j' });
    await eventually(() => expect(started).toHaveLength(1));
    f.kernel.system.effects.close = () => Promise.resolve();
    let kernel = await f.reopen('crash');
    bind(kernel, 'at_most_once', 'unknown');
    await kernel.wakeBusy();
    await eventually(() => expect(kernel.system.inDoubt()).toHaveLength(1));
    const [key] = started as [string];
    const error = { name: 'Error', message: 'it did not work' };
    await kernel.system.settle(
      key,
      verdict === 'failed' ? { kind: verdict, error } : { kind: verdict },
      'tester',
    );
    await eventually(() => expect(context(kernel, A)).toMatchObject(expected));
    expect(kernel.system.inDoubt()).toEqual([]);
    await expect(kernel.system.settle(key, { kind: 'done' }, 'tester')).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    kernel = await f.reopen('crash');
    bind(kernel, 'at_most_once', 'unknown');
    await kernel.wakeBusy();
    expect(context(kernel, A)).toMatchObject(expected);
  });

  test.each(['verify', 'at_most_once'] as const)(
    'cut off in flight: %s is in doubt, not failed, when finding out fails',
    async (semantics) => {
      const f = await open();
      const started = hang(f.kernel, semantics);
      await spawn(f.kernel, A);
      await f.kernel.system.send(A, { type: 'work', job: 'j' });
      await eventually(() => expect(started).toHaveLength(1));
      f.kernel.system.effects.close = () => Promise.resolve();
      const kernel = await f.reopen('crash');
      kernel.system.effects.register('counter', 'job', {
        semantics,
        run: () => Promise.reject(new Error('it ran again')),
        recover: () => Promise.reject(new Error('EIO: the outcome file cannot be read')),
      });
      await kernel.wakeBusy();
      await eventually(() => expect(kernel.system.inDoubt().map((d) => d.key)).toEqual(started));
      expect(context(kernel, A)).toMatchObject({ done: [], failed: [] });
    },
  );

  test('an effect that meets a held journal has not begun, and begins when the journal is open again', async () => {
    const disk = failingIo();
    const f = await open({ journalIo: disk.io });
    const ran = bind(f.kernel, 'at_most_once', 'unknown');
    await spawn(f.kernel, A);
    f.kernel.system.once('committed', () => disk.fail('ENOSPC')); // the cause is durable, its `started` is not
    await f.kernel.system.send(A, { type: 'work', job: 'j' });
    await eventually(() => expect(f.kernel.system.failure).toBeDefined());
    expect(ran).toEqual([]);
    disk.mend();
    await eventually(() => expect(context(f.kernel, A)['done']).toEqual(['ran']));
    expect([ran.length, context(f.kernel, A)['failed']]).toEqual([1, []]);
  });

  test('an at_most_once effect whose start was not yet journaled is not in doubt: it never ran', async () => {
    const f = await open();
    await spawn(f.kernel, A);
    f.kernel.system.effects.start = () => undefined; // dies between the cause's commit and the `started` record
    await f.kernel.system.send(A, { type: 'work', job: 'j' });
    const kernel = await f.reopen('crash');
    const ran = bind(kernel, 'at_most_once', 'unknown');
    await kernel.wakeBusy();
    await eventually(() => expect(context(kernel, A)['done']).toEqual(['ran']));
    expect(ran).toHaveLength(1);
  });
});

describe('timers', () => {
  test('a timer fires after a restart, and for a passivated actor', async () => {
    const f = await open();
    await spawn(f.kernel, A, B);
    await f.kernel.system.send(A, { type: 'sleep', ms: 60 });
    let kernel = await f.reopen('crash');
    await kernel.wakeBusy();
    await eventually(() => expect(context(kernel, A)['done']).toEqual(['slept']));
    await kernel.system.send(B, { type: 'sleep', ms: 60 });
    await kernel.passivateIdle();
    expect(kernel.system.actors.get(B)?.resident).toBeUndefined();
    kernel = await f.reopen('clean');
    await kernel.wakeBusy();
    expect(kernel.system.actors.get(B)?.resident).toBeUndefined();
    await eventually(() => expect(context(kernel, B)['done']).toEqual(['slept']));
  });

  test('a timer that was left does not fire', async () => {
    const f = await open();
    await spawn(f.kernel, A);
    await f.kernel.wakeBusy();
    await f.kernel.system.send(A, { type: 'sleep', ms: 600 });
    await f.kernel.system.send(A, { type: 'cancel' });
    await f.kernel.system.send(A, { type: 'sleep', ms: 100_000 });
    await new Promise((resolve) => setTimeout(resolve, 800));
    expect(context(f.kernel, A)['done']).toEqual([]);
  });

  test('a deadline 100 days away neither fires early nor overflows', async () => {
    const f = await open();
    await spawn(f.kernel, A);
    await f.kernel.wakeBusy();
    await f.kernel.system.send(A, { type: 'nap', until: Date.now() + 100 * 86_400_000 });
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(f.kernel.system.read(A).snapshot.value).toBe('napping');
    expect(f.kernel.system.timers.size).toBe(1);
  });

  test('active time stands still while no node runs; absolute time does not', async () => {
    const f = await open();
    await spawn(f.kernel, A, B);
    await f.kernel.system.send(A, { type: 'sleep', ms: 5000 });
    await f.kernel.system.send(B, { type: 'nap', until: Date.now() + 5000 });
    const realNow = Date.now;
    Date.now = () => realNow() + 10_000; // the machine was off for ten seconds
    try {
      const kernel = await f.reopen('crash');
      await kernel.wakeBusy();
      await eventually(() => expect(context(kernel, B)['done']).toEqual(['napped']));
      expect(context(kernel, A)['done']).toEqual([]);
    } finally {
      Date.now = realNow;
    }
  });
});

describe('checkpoints', () => {
  test('a damaged checkpoint is cured by an older one and the whole tail', async () => {
    const f = await open();
    await spawn(f.kernel, A);
    for (let n = 1; n <= 9; n += 1) {
      await f.kernel.system.send(A, { type: 'add', n });
      if (n % 3 === 0) await f.kernel.checkpoint(A);
    }
    const before = live(f.kernel, A);
    await f.kernel.close();
    const cell = join(f.folder, 'cells', 'c1');
    const { state, folder } = checkpointPaths(A);
    expect(readdirSync(join(cell, folder)).length).toBeGreaterThan(1);
    const text = readFileSync(join(cell, state), 'utf8');
    writeFileSync(join(cell, state), text.replace('"total":45', '"total":46'));
    const kernel = await f.reopen('crash');
    expect(live(kernel, A)).toBe(before);
    expect(f.warnings.map((w) => w.message)).toContain(
      'newest checkpoint damaged, an older one is used',
    );
  });

  test('when no checkpoint is sound and its records are gone too, the actor is held with the reason, and its neighbours go on', async () => {
    const f = await open();
    await spawn(f.kernel, A, B);
    await f.kernel.system.send(A, { type: 'add', n: 1 });
    await f.kernel.close();
    const cell = join(f.folder, 'cells', 'c1');
    const { folder } = checkpointPaths(A);
    for (const name of readdirSync(join(cell, folder)))
      writeFileSync(join(cell, folder, name), 'garbage');
    rmSync(join(cell, '.lazarus'), { recursive: true });
    const kernel = await f.reopen('crash');
    await expect(kernel.system.send(A, { type: 'add', n: 1 })).rejects.toMatchObject({
      code: 'ACTOR_HELD',
    });
    await kernel.system.send(B, { type: 'forward', to: A, n: 4 });
    expect(kernel.system.actors.get(A)?.hold?.code).toBe('CHECKPOINT_CORRUPT');
    const kept = [...readSegments(join(f.folder, 'journal'))].filter((r) => r.address === A);
    expect(kept.at(-1)?.line).toContain('"type":"add"');
  });

  test('segments are dropped once checkpoints and copies cover them; history stays in the cell', async () => {
    const f = await open({ segmentBytes: 4096 });
    await spawn(f.kernel, A, B);
    for (let n = 1; n <= 200; n += 1)
      await f.kernel.system.send(n % 2 ? A : B, { type: 'add', n: 1 });
    const before = [live(f.kernel, A), live(f.kernel, B)];
    const segments = () =>
      readdirSync(join(f.folder, 'journal')).filter((name) => name.endsWith('.wal'));
    const many = segments().length;
    await f.kernel.compact();
    expect(segments().length).toBeLessThan(many);
    const kernel = await f.reopen('crash');
    expect([live(kernel, A), live(kernel, B)]).toEqual(before);
  });
});

test('without the node index, spawning goes on from what the cell holds, also for a stopped actor', async () => {
  const f = await open();
  await spawn(f.kernel, A, B);
  await f.kernel.system.send(A, { type: 'add', n: 5 });
  await f.kernel.system.send(B, { type: 'add', n: 5 });
  await f.kernel.system.stop(B, 'test');
  const { seq } = f.kernel.system.actors.get(B) ?? { seq: 0 };
  await f.kernel.close();
  rmSync(join(f.folder, 'index.json'));
  let kernel = await f.reopen('crash');
  expect(await kernel.system.spawn(A, 'counter', { self: A })).toMatchObject({ duplicate: true });
  expect((await kernel.system.spawn(B, 'counter', { self: B })).seq).toBe(seq + 1);
  kernel = await f.reopen('crash');
  await kernel.system.spawn(A, 'counter', { self: A });
  expect([A, B].map((a) => context(kernel, a)['total'])).toEqual([5, 0]);
});

describe('bounds', () => {
  test('a loop that feeds itself is held, its records are kept, and release lets it go on', async () => {
    const f = await open({ limits: { burst: 100, ratePerSecond: 1 } });
    await spawn(f.kernel, A, B);
    await f.kernel.system.send(A, { type: 'ping-self' });
    expect(f.kernel.system.actors.get(A)?.hold?.reason).toContain('feeds itself');
    await f.kernel.system.send(B, { type: 'forward', to: A, n: 5 });
    await f.kernel.system.release(A);
    await f.kernel.system.settled();
    expect(f.kernel.system.actors.get(A)?.hold?.reason).toContain('feeds itself');
    expect(context(f.kernel, A)['total']).toBe(5);
  });

  test('what a held actor would have sent is sent after a restart, once', async () => {
    const f = await open();
    await spawn(f.kernel, A, B, C);
    f.kernel.system.holdActor(f.kernel.system.actors.get(B) as never, {
      code: 'BUSY',
      reason: 'test',
    });
    await f.kernel.system.send(A, { type: 'chain', to: [B, C] });
    expect(context(f.kernel, C)['total']).toBe(0);
    let kernel = await f.reopen('crash');
    await kernel.wakeBusy();
    await eventually(() => expect(context(kernel, C)['total']).toBe(1));
    kernel = await f.reopen('crash');
    await kernel.wakeBusy();
    await kernel.system.settled();
    expect([A, B, C].map((a) => context(kernel, a)['total'])).toEqual([1, 1, 1]);
  });

  test('doors answer BUSY above the bound', async () => {
    const f = await open({ limits: { softBound: 10 } });
    await spawn(f.kernel, A);
    const sends = Array.from({ length: 12 }, () => f.kernel.system.send(A, { type: 'add', n: 1 }));
    const results = await Promise.allSettled(sends);
    const refused = results.filter((r) => r.status === 'rejected');
    expect(refused).toHaveLength(2);
    expect(refused[0]).toMatchObject({ reason: { code: 'BUSY', retryable: true } });
    expect(context(f.kernel, A)['total']).toBe(10);
  });
});

describe('a failing journal', () => {
  test('holds the node, shows nothing that was lost, loses nothing acknowledged, and goes on when the disk does', async () => {
    const disk = failingIo();
    const f = await open({ journalIo: disk.io });
    await spawn(f.kernel, A, B);
    await f.kernel.system.send(A, { type: 'add', n: 1 });
    disk.fail('ENOSPC');
    await expect(f.kernel.system.send(A, { type: 'add', n: 10 })).rejects.toMatchObject({
      code: 'JOURNAL_HELD',
    });
    expect(f.kernel.system.failure).toBeInstanceOf(RuntimeError);
    expect(context(f.kernel, A)['total']).toBe(1);
    await expect(f.kernel.system.send(B, { type: 'add', n: 1 })).rejects.toMatchObject({
      code: 'JOURNAL_HELD',
    });
    disk.mend();
    await eventually(() => expect(f.kernel.system.failure).toBeUndefined());
    await f.kernel.system.send(A, { type: 'add', n: 100 });
    expect(context(f.kernel, A)['total']).toBe(101);
    const kernel = await f.reopen('crash');
    expect(context(kernel, A)['total']).toBe(101);
  });
});

describe('P1: an end is shown when it is durable', () => {
  test('a stopped actor is there for readers until its stop is on disk, and what is sent meanwhile hears of it then', async () => {
    const f = await open();
    await spawn(f.kernel, A);
    await f.kernel.system.send(A, { type: 'add', n: 3 });
    const { system } = f.kernel;
    const story: string[] = [];
    const stopping = system.stop(A, 'test').then(() => story.push('stopped'));
    const again = system.stop(A, 'test').then(() => story.push('stopped again'));
    const sending = system
      .send(A, { type: 'add', n: 1 })
      .catch((e: Error) => story.push(e.message));
    expect([system.has(A), context(f.kernel, A)['total']]).toEqual([true, 3]);
    await Promise.all([stopping, again, sending]);
    expect(story).toEqual(['stopped', 'stopped again', `no actor lives at ${A}`]);
    expect(system.has(A)).toBe(false);
    expect(() => system.read(A)).toThrow(/no actor lives/);
  });

  test.each(['awake', 'held'])(
    'a stop of an actor that is %s, which the disk did not take, never was',
    async (how) => {
      const disk = failingIo();
      const f = await open({ journalIo: disk.io });
      await spawn(f.kernel, A);
      await f.kernel.system.send(A, { type: 'add', n: 3 });
      const { system } = f.kernel;
      if (how === 'held')
        system.holdActor(system.actors.get(A) as never, { code: 'BUSY', reason: 'test' });
      disk.fail('EIO');
      await expect(system.stop(A, 'test')).rejects.toMatchObject({ code: 'JOURNAL_HELD' });
      expect([system.has(A), context(f.kernel, A)['total']]).toEqual([true, 3]);
      disk.mend();
      await eventually(() => expect(system.failure).toBeUndefined());
      expect(system.actors.get(A)?.hold?.reason).toBe(how === 'held' ? 'test' : undefined);
      await system.release(A);
      await system.send(A, { type: 'add', n: 4 });
      expect(context(f.kernel, A)['total']).toBe(7);
    },
  );
});

test('what a held actor asked for is sent, though the journal fails in the very turn of its return', async () => {
  const disk = failingIo();
  const f = await open({ journalIo: disk.io });
  await spawn(f.kernel, A, B, C);
  const held = f.kernel.system.actors.get(B) as never;
  f.kernel.system.holdActor(held, { code: 'BUSY', reason: 'test' });
  await f.kernel.system.send(A, { type: 'chain', to: [B, C] });
  const kernel = await f.reopen('crash');
  disk.fail('EIO');
  await kernel.wakeBusy();
  await eventually(() => expect(kernel.system.failure).toBeDefined());
  disk.mend();
  await eventually(() => expect(kernel.system.failure).toBeUndefined());
  await eventually(() => expect(context(kernel, C)['total']).toBe(1));
  expect([A, B, C].map((a) => context(kernel, a)['total'])).toEqual([1, 1, 1]);
});

/** The counter with another configuration, as a later build might have it. */
const variant = (change: Record<string, unknown>): AnyStateMachine =>
  createMachine(
    { ...counterMachine.config, ...change } as never,
    counterMachine.implementations as never,
  );

describe('versions', () => {
  test('a changed definition under the same version is refused, not guessed', async () => {
    const f = await open();
    await spawn(f.kernel, A);
    const registry = new MachineRegistry().register({ machine: variant({ on: {} }) });
    const kernel = await f.reopen('crash', { registry });
    expect(() => kernel.system.read(A)).toThrow(/changed its definition/);
    await expect(kernel.system.send(A, { type: 'add', n: 1 })).rejects.toThrow(/is held/);
    expect(kernel.system.actors.get(A)?.hold?.code).toBe('MACHINE_MISMATCH');
  });

  test('a machine version this build does not have is refused with its name', async () => {
    const f = await open();
    await spawn(f.kernel, A);
    const registry = new MachineRegistry().register({ machine: variant({ id: 'counter@3' }) });
    const kernel = await f.reopen('crash', { registry });
    expect(() => kernel.system.read(A)).toThrow(/no machine counter@1/);
  });

  test('the tail is folded with the version that wrote it, then migrated once, effects included', async () => {
    const f = await open();
    f.kernel.system.effects.register('counter', 'job', {
      semantics: 'idempotent',
      run: () => new Promise(() => undefined),
    });
    f.kernel.system.effects.close = () => Promise.resolve();
    await spawn(f.kernel, A);
    await f.kernel.system.send(A, { type: 'add', n: 4 });
    const { seq } = await f.kernel.system.send(A, { type: 'work', job: 'j' });
    const migrated: number[] = [];
    const registry = (): MachineRegistry =>
      new MachineRegistry().register({ machine: counterMachine }).register({
        machine: variant({ id: 'counter@2' }),
        migrate: (persisted) => {
          const next = persisted as { context: { total: number } } & JsonObject;
          migrated.push(next.context.total);
          return { ...next, context: { ...next.context, total: next.context.total * 10 } };
        },
      });
    let kernel = await f.reopen('crash', { registry: registry() });
    const keys: string[] = [];
    kernel.system.effects.register('counter', 'job', {
      semantics: 'idempotent',
      run: ({ key }) => (keys.push(key), Promise.resolve('ok')),
    });
    await kernel.wakeBusy();
    await eventually(() => expect(context(kernel, A)).toMatchObject({ total: 40, done: ['ok'] }));
    expect(keys).toEqual([`${A}#${seq}#job`]);
    kernel = await f.reopen('crash', { registry: registry() });
    expect(context(kernel, A)['total']).toBe(40);
    expect(migrated).toEqual([4]);
    expect(kernel.system.actors.get(A)?.machine).toBe('counter@2');
  });
});

describe('rollback', () => {
  test('going back in state is a record of its own; ids seen meanwhile stay seen', async () => {
    const f = await open();
    await spawn(f.kernel, A);
    await f.kernel.system.send(A, { type: 'add', n: 1 }, { id: 'one' });
    const earlier = f.kernel.system.read(A);
    const snapshot = JSON.parse(
      JSON.stringify(earlier.snapshot.machine.getPersistedSnapshot(earlier.snapshot)),
    );
    await f.kernel.system.send(A, { type: 'add', n: 9 }, { id: 'two' });
    await f.kernel.system.rollBack(A, { seq: earlier.seq, snapshot }, 'test');
    expect(context(f.kernel, A)['total']).toBe(1);
    expect(await f.kernel.system.send(A, { type: 'add', n: 9 }, { id: 'two' })).toMatchObject({
      duplicate: true,
    });
    const before = live(f.kernel, A);
    const kernel = await f.reopen('crash');
    expect(live(kernel, A)).toBe(before);
  });
});

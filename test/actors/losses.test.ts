/** A damaged journal: who is held, why, for how long, and how it is settled. Real files, whole batches wiped. */
import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { Kernel } from '../../actors/kernel.ts';
import { lossesPath } from '../../actors/losses.ts';
import { decodeSegmentHeader, linesOf, scanBatches } from '../../cells/journal-format.ts';
import { findWitnesses } from '../../cells/journal-witness.ts';
import { eventually } from '../support/eventually.ts';
import { counterAddress, openKernel } from '../support/kernel.ts';
import type { KernelFixture } from '../support/kernel.ts';

const [A, B, C, D] = [1, 2, 3, 4].map(counterAddress) as [string, string, string, string];
const fixtures: KernelFixture[] = [];
afterEach(async () => {
  for (const fixture of fixtures.splice(0)) await fixture.dispose();
});

/** Actors that all live, with nothing after their first record. */
async function opened(
  addresses = [A, B, C, D],
  options: Parameters<typeof openKernel>[0] = {},
): Promise<KernelFixture> {
  const fixture = await openKernel(options);
  fixtures.push(fixture);
  for (const self of addresses) await fixture.kernel.system.spawn(self, 'counter', { self });
  return fixture;
}

const add = (kernel: Kernel, to: string, n: number) => kernel.system.send(to, { type: 'add', n });
const total = ({ system }: Kernel, address: string): unknown =>
  (system.read(address).snapshot.context as { total: number }).total;

/** The total, or `held`. */
function shown(kernel: Kernel, address: string): unknown {
  try {
    return total(kernel, address);
  } catch (error) {
    return error instanceof Error && /damaged part|records of/.test(error.message) ? 'held' : error;
  }
}
const all = (kernel: Kernel): unknown[] => [A, B, C, D].map((address) => shown(kernel, address));

const segments = ({ folder }: KernelFixture): string[] =>
  readdirSync(join(folder, 'journal'))
    .filter((name) => name.endsWith('.wal'))
    .toSorted()
    .map((name) => join(folder, 'journal', name));

/** Zeros over the whole batch with that text in it. */
function wipe(fixture: KernelFixture, text: string): void {
  for (const path of segments(fixture)) {
    const bytes = readFileSync(path);
    const start = decodeSegmentHeader(bytes)?.end ?? 0;
    for (const span of scanBatches(bytes, { start }))
      if (span.kind === 'batch' && linesOf(bytes, span).some((line) => line.includes(text)))
        return writeFileSync(path, bytes.fill(0, span.start, span.end));
  }
  throw new Error(`no batch has ${text}`);
}

const warnings = ({ warnings: told }: KernelFixture): number =>
  told.filter(({ message }) => message.startsWith('journal has a bad region')).length;

describe('given a batch of which nothing can be read', () => {
  /** B's newest record is wiped; A and C have some behind it, D has none. */
  async function struck(): Promise<KernelFixture> {
    const f = await opened();
    await add(f.kernel, B, 5);
    await add(f.kernel, B, 555);
    for (const busy of [A, C]) await add(f.kernel, busy, 1);
    await f.reopen('crash', {}, () => wipe(f, '"n":555'));
    return f;
  }

  test('then all who may have had records in it are held until that is settled, and told of once', async () => {
    const f = await struck();
    expect(all(f.kernel)).toEqual([1, 'held', 1, 'held']);
    expect(warnings(f)).toBe(1);
    for (const how of ['crash', 'clean', 'crash'] as const) {
      await f.kernel.compact();
      await f.reopen(how);
      expect(all(f.kernel)).toEqual([1, 'held', 1, 'held']);
    }
    expect(warnings(f)).toBe(1);
    await expect(add(f.kernel, B, 1)).rejects.toMatchObject({
      code: 'ACTOR_HELD',
      hint: expect.stringContaining('lazarus cell release') as unknown,
    });
  });

  test('a release that does not speak of the loss does not accept it', async () => {
    const f = await struck();
    await expect(f.kernel.system.release(B)).rejects.toMatchObject({ code: 'ACTOR_HELD' });
    expect(shown(f.kernel, B)).toBe('held');
  });

  test('when the loss is accepted, each goes on from what is left, and its sends are not taken for old ones', async () => {
    const f = await struck();
    await f.kernel.system.send(A, { type: 'forward', to: B, n: 20 }); // kept for it
    for (const address of [B, D]) await f.kernel.system.release(address, { acceptLoss: true });
    await f.kernel.system.send(B, { type: 'forward', to: A, n: 100 });
    const expected = [101, 25, 1, 0];
    expect(all(f.kernel)).toEqual(expected);
    for (const how of ['crash', 'clean', 'crash'] as const) {
      await f.reopen(how);
      expect(all(f.kernel)).toEqual(expected);
    }
    expect(readdirSync(f.folder)).not.toContain(basename(lossesPath(join(f.folder, 'index.json'))));
  });

  test('a crash right after the acceptance leaves it held, or settled: never in between', async () => {
    const f = await struck();
    void f.kernel.system.release(B, { acceptLoss: true });
    await new Promise((resolve) => setImmediate(resolve));
    await f.reopen('crash');
    expect(['held', 5]).toContain(shown(f.kernel, B));
    expect(shown(f.kernel, D)).toBe('held');
  });

  test('when the segment is put back, then nothing was lost', async () => {
    const f = await opened();
    await add(f.kernel, B, 555);
    await add(f.kernel, A, 1);
    const [first = ''] = segments(f);
    const backup = join(f.folder, 'backup');
    await f.reopen('crash', {}, () => {
      copyFileSync(first, backup);
      wipe(f, '"n":555');
    });
    expect(shown(f.kernel, B)).toBe('held');
    await f.reopen('crash', {}, () => copyFileSync(backup, first));
    expect(all(f.kernel)).toEqual([1, 555, 0, 0]);
  });
});

describe('given every lost record is accounted for', () => {
  test('by the gap of an actor that went on, then it alone is held, until the loss is accepted', async () => {
    const f = await opened();
    await add(f.kernel, B, 5);
    await add(f.kernel, B, 555);
    await add(f.kernel, B, 7);
    await f.reopen('crash', {}, () => wipe(f, '"n":555'));
    expect(all(f.kernel)).toEqual([0, 'held', 0, 0]);
    await expect(add(f.kernel, B, 1)).rejects.toThrow(/are missing/);
    await f.kernel.system.send(A, { type: 'forward', to: B, n: 20 });
    await f.kernel.system.release(B, { acceptLoss: true });
    expect(shown(f.kernel, B)).toBe(25); // what followed the gap could not follow the state
    await f.kernel.system.settled();
    await f.reopen('crash');
    expect(all(f.kernel)).toEqual([0, 25, 0, 0]);
  });

  test('by a checkpoint, then nobody is held', async () => {
    const f = await opened();
    await add(f.kernel, B, 555);
    await f.kernel.checkpoint(B);
    await add(f.kernel, A, 1);
    await f.reopen('crash', {}, () => wipe(f, '"n":555'));
    expect(all(f.kernel)).toEqual([1, 555, 0, 0]);
  });

  test('by a snapshot record behind it, then nobody is held', async () => {
    const f = await opened([A, B, C, D], { limits: { snapshotEvery: 3 } });
    await add(f.kernel, B, 555);
    for (let n = 0; n < 40; n += 1) await add(f.kernel, B, 1);
    await f.reopen('crash', {}, () => wipe(f, '"n":555'));
    expect(all(f.kernel)).toEqual([0, 595, 0, 0]);
  });

  test('by what can still be read of it, then only those are held', async () => {
    const f = await opened();
    await add(f.kernel, B, 555);
    await add(f.kernel, A, 1);
    await f.reopen('crash', {}, () => {
      const [path = ''] = segments(f);
      const bytes = readFileSync(path);
      bytes.write('999', bytes.indexOf('555'));
      writeFileSync(path, bytes);
    });
    expect(all(f.kernel)).toEqual([1, 'held', 0, 0]);
  });
});

test('cells that were left clean have nothing to lose: none of their actors is held', async () => {
  const uncleanCells = () => new Set(['c2', 'c3']);
  const f = await opened([A, B, C, D], { uncleanCells });
  await add(f.kernel, B, 555);
  await add(f.kernel, C, 1);
  await f.reopen('crash', {}, () => wipe(f, '"n":555'));
  expect(all(f.kernel)).toEqual([0, 'held', 1, 0]);
});

test('an actor of which no record is left is not begun anew in silence', async () => {
  const f = await opened([A]);
  await f.kernel.system.spawn(B, 'counter', { self: B });
  await add(f.kernel, A, 1);
  let kernel = await f.reopen('crash', {}, () => wipe(f, `"self":"${B}"`));
  expect(shown(kernel, A)).toBe(1);
  for (const how of ['crash', 'clean'] as const) {
    await kernel.system.spawn(B, 'counter', { self: B }); // as its cell's folder would be found again
    await expect(add(kernel, B, 1)).rejects.toThrow(/may have had records/);
    kernel = await f.reopen(how);
  }
  await kernel.system.spawn(B, 'counter', { self: B });
  await kernel.system.release(B, { acceptLoss: true });
  expect((await kernel.system.spawn(B, 'counter', { self: B })).seq).toBeGreaterThan(1);
  await add(kernel, B, 3);
  kernel = await f.reopen('crash');
  expect(shown(kernel, B)).toBe(3);
});

describe('given the newest segment is gone', () => {
  test('then all that may have been in it are held with the reason, and no lsn of it is given again', async () => {
    const f = await opened();
    await add(f.kernel, B, 555);
    const lsn = f.kernel.committedLsn();
    await eventually(() => expect(witnessed(segments(f).at(-1) ?? '')).toBe(lsn + 1));
    let kernel = await f.reopen('crash', {}, () => rmSync(segments(f).at(-1) ?? ''));
    for (const self of [A, B, C, D]) await kernel.system.spawn(self, 'counter', { self });
    expect(all(kernel)).toEqual(['held', 'held', 'held', 'held']);
    await expect(add(kernel, B, 1)).rejects.toThrow(/the newest segment is missing/);
    kernel = await f.reopen('clean');
    expect(all(kernel)).toEqual(['held', 'held', 'held', 'held']);
    for (const self of [A, B, C, D]) await kernel.system.release(self, { acceptLoss: true });
    for (const self of [A, B, C, D]) await kernel.system.spawn(self, 'counter', { self });
    await add(kernel, B, 1);
    expect(kernel.committedLsn()).toBeGreaterThan(lsn);
    kernel = await f.reopen('crash');
    expect(all(kernel)).toEqual([0, 1, 0, 0]);
  });

  test('after checkpoints of all, then too: nobody knows what it held', async () => {
    const f = await opened();
    for (const self of [A, B]) await f.kernel.checkpoint(self);
    const kernel = await f.reopen('crash', {}, () => rmSync(segments(f).at(-1) ?? ''));
    for (const self of [A, B]) await kernel.system.spawn(self, 'counter', { self });
    expect([A, B].map((self) => shown(kernel, self))).toEqual(['held', 'held']);
  });

  test('after a clean stop, then nothing is lost', async () => {
    const f = await opened();
    await add(f.kernel, B, 5);
    await f.kernel.close();
    const kernel = await f.reopen('crash', {}, () => rmSync(join(f.folder, 'journal'), RECURSIVE));
    expect(all(kernel)).toEqual([0, 5, 0, 0]);
    await add(kernel, B, 1);
    await f.reopen('crash');
    expect(all(f.kernel)).toEqual([0, 6, 0, 0]);
  });

  test('when the file that says whose records are lost is damaged too, all are held', async () => {
    const f = await opened();
    await add(f.kernel, B, 555);
    await add(f.kernel, A, 1);
    await f.reopen('crash', {}, () => wipe(f, '"n":555'));
    const path = lossesPath(join(f.folder, 'index.json'));
    await f.reopen('crash', {}, () => writeFileSync(path, 'garbage'));
    expect(all(f.kernel)).toEqual(['held', 'held', 'held', 'held']);
    await f.reopen('crash');
    expect(all(f.kernel)).toEqual(['held', 'held', 'held', 'held']);
  });
});

const RECURSIVE = { recursive: true };
const witnessed = (path: string) => findWitnesses(readFileSync(path), 0).newest?.nextLsn;

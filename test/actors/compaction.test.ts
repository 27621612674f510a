/** What leaves the shared journal, and what must stay in it. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { ActorStore } from '../../actors/store.ts';
import type { Kernel } from '../../actors/kernel.ts';
import { isSnapshotLine } from '../../actors/records.ts';
import { readSegments } from '../../cells/journal-reader.ts';
import { readCellCopy } from '../../cells/journal-copy.ts';
import { counterAddress, folderStore, homeCell, openKernel } from '../support/kernel.ts';
import type { KernelFixture } from '../support/kernel.ts';
import { fillUp, mountSmallDisk, unmount } from '../support/small-disk.ts';

const [A, B] = [1, 2].map(counterAddress) as [string, string];
const fixtures: KernelFixture[] = [];
afterEach(async () => {
  for (const fixture of fixtures.splice(0)) await fixture.dispose();
});

async function open(...args: Parameters<typeof openKernel>): Promise<KernelFixture> {
  const fixture = await openKernel(...args);
  fixtures.push(fixture);
  for (const self of [A, B]) await fixture.kernel.system.spawn(self, 'counter', { self });
  return fixture;
}

const add = (kernel: Kernel, to: string, n: number, pad = '') =>
  kernel.system.send(to, { type: 'add', n, pad });
const total = (kernel: Kernel, address: string): unknown =>
  (kernel.system.read(address).snapshot.context as { total: number }).total;

/** The cell's store, with some of its work done by the test. */
function storeWith(change: (real: ActorStore) => Partial<ActorStore>): {
  store: (folder: string) => ActorStore;
} {
  return {
    store: (folder) => {
      const real = folderStore(folder);
      const bound: ActorStore = {
        readCheckpoint: (address) => real.readCheckpoint(address),
        writeCheckpoint: (checkpoint) => real.writeCheckpoint(checkpoint),
        readCopy: (address, afterSeq) => real.readCopy(address, afterSeq),
        appendCopy: (cellId, records) => real.appendCopy(cellId, records),
        hasCell: (cellId) => real.hasCell(cellId),
      };
      return { ...bound, ...change(bound) };
    },
  };
}

test('each record is copied once, though a held actor keeps every segment', async () => {
  const copied: number[] = [];
  const { store } = storeWith((real) => ({
    appendCopy: (cellId, records) => {
      if (cellId === homeCell(A)) copied.push(...records.map(({ lsn }) => lsn));
      return real.appendCopy(cellId, records);
    },
  }));
  const folder = mkdtempSync(join(tmpdir(), 'lazarus-kernel-'));
  const f = await open({ segmentBytes: 4096, store: store(folder) });
  const { system } = f.kernel;
  await add(f.kernel, B, 1);
  system.holdActor(system.actors.get(B) as never, { code: 'BUSY', reason: 'test' });
  for (let round = 0; round < 6; round += 1) {
    for (let n = 0; n < 40; n += 1) await add(f.kernel, A, 1);
    await f.kernel.compact();
  }
  expect(copied.length).toBeGreaterThan(200);
  expect(new Set(copied).size).toBe(copied.length);
  await f.reopen('clean');
  for (let n = 0; n < 60; n += 1) await add(f.kernel, A, 1);
  await f.kernel.compact();
  expect(new Set(copied).size).toBe(copied.length);
  rmSync(folder, { recursive: true });
});

describe('segments that only the bus still wants', () => {
  const firstLsn = ({ folder }: KernelFixture): number =>
    [...readSegments(join(folder, 'journal'))][0]?.lsn ?? 0;
  const work = async (f: KernelFixture): Promise<void> => {
    for (let n = 0; n < 120; n += 1) await add(f.kernel, A, 1);
    await f.kernel.compact();
  };

  test('stay until it has taken them', async () => {
    const f = await open({ segmentBytes: 4096 });
    let wanted = 1;
    f.kernel.keepFor(() => wanted);
    await work(f);
    expect(firstLsn(f)).toBe(1);
    wanted = f.kernel.committedLsn();
    await work(f);
    expect(firstLsn(f)).toBeGreaterThan(1);
  });

  test('go, the oldest first, when they are more than the bound', async () => {
    const f = await open({ segmentBytes: 4096, outboxBound: 8192 });
    f.kernel.keepFor(() => 1);
    await work(f);
    await work(f);
    const first = firstLsn(f);
    expect(first).toBeGreaterThan(1);
    expect(first).toBeLessThan(f.kernel.committedLsn() - 20);
    expect(total(f.kernel, A)).toBe(240);
    await f.reopen('crash');
    expect(total(f.kernel, A)).toBe(240);
  });
});

test('a cell that takes no copy for a while gets all of it later, and its neighbour does not wait', async () => {
  let isBroken = true;
  const folder = mkdtempSync(join(tmpdir(), 'lazarus-kernel-'));
  const { store } = storeWith((real) => ({
    appendCopy: (cellId, records) =>
      isBroken && cellId === homeCell(A)
        ? Promise.reject(new Error('EROFS'))
        : real.appendCopy(cellId, records),
  }));
  const f = await open({ segmentBytes: 4096, store: store(folder) });
  const copyOf = (address: string): unknown[] =>
    [...readCellCopy(join(folder, 'cells', homeCell(address)))].filter(
      ({ line }) => !isSnapshotLine(line),
    );
  for (let n = 0; n < 60; n += 1) for (const to of [A, B]) await add(f.kernel, to, 1);
  await f.kernel.compact();
  mkdirSync(join(folder, 'cells', homeCell(A)), { recursive: true });
  expect([copyOf(A).length, copyOf(B).length > 30]).toEqual([0, true]);
  isBroken = false;
  for (let n = 0; n < 60; n += 1) await add(f.kernel, A, 1);
  await f.kernel.close();
  expect(copyOf(A)).toHaveLength(1 + 120);
  rmSync(folder, { recursive: true });
});

test('long records are copied in parts; a cell that refuses one gets none behind it before it has that', async () => {
  const parts: { cell: string; chars: number }[] = [];
  let refusals = 1;
  const folder = mkdtempSync(join(tmpdir(), 'lazarus-kernel-'));
  const { store } = storeWith((real) => ({
    appendCopy: (cell, records) => {
      if (cell === homeCell(A) && records.length > 3 && refusals > 0) {
        refusals -= 1;
        return Promise.reject(new Error('ENOSPC'));
      }
      parts.push({ cell, chars: records.reduce((sum, { line }) => sum + line.length, 0) });
      return real.appendCopy(cell, records);
    },
  }));
  const f = await open({ segmentBytes: 1 << 20, store: store(folder) });
  const pad = 'x'.repeat(1 << 20);
  const copyOf = (address: string): unknown[] =>
    [...readCellCopy(join(folder, 'cells', homeCell(address)))].filter(
      ({ line }) => !isSnapshotLine(line),
    );
  await add(f.kernel, B, 1);
  for (let n = 0; n < 20; n += 1) await add(f.kernel, A, 1, pad);
  await f.kernel.compact();
  expect([refusals, copyOf(A).length, copyOf(B).length]).toEqual([0, 0, 2]);
  await add(f.kernel, A, 1);
  const kernel = await f.reopen('clean');
  expect(copyOf(A)).toHaveLength(1 + 20 + 1);
  expect(parts.filter(({ cell }) => cell === homeCell(A)).length).toBeGreaterThan(2);
  for (const { chars } of parts) expect(chars).toBeLessThan(10 << 20);
  expect([total(kernel, A), total(kernel, B)]).toEqual([21, 1]);
  await kernel.close();
  rmSync(folder, { recursive: true });
});

test('the journal keeps what a checkpoint under way is to cover: it may yet fail', async () => {
  const { promise: gate, reject: failIt } = Promise.withResolvers<void>();
  gate.catch(() => undefined);
  const folder = mkdtempSync(join(tmpdir(), 'lazarus-kernel-'));
  let isGated = false;
  const { store } = storeWith((real) => ({
    writeCheckpoint: (checkpoint) =>
      isGated && checkpoint.address === A ? gate : real.writeCheckpoint(checkpoint),
  }));
  const f = await open({ segmentBytes: 4096, store: store(folder) });
  await add(f.kernel, A, 5);
  await f.kernel.checkpoint(A);
  for (let n = 0; n < 60; n += 1) await add(f.kernel, A, 1);
  isGated = true;
  const writing = f.kernel.checkpoint(A);
  for (let n = 0; n < 60; n += 1) await add(f.kernel, B, 1);
  await f.kernel.compact();
  failIt(new Error('ENOSPC'));
  await expect(writing).rejects.toThrow('ENOSPC');
  isGated = false;
  const kernel = await f.reopen('crash');
  expect([total(kernel, A), total(kernel, B)]).toEqual([65, 60]);
  rmSync(folder, { recursive: true });
});

describe('a clean stop on a disk without a free byte', () => {
  const disk = mkdtempSync(join(tmpdir(), 'lazarus-small-'));
  const mountError = mountSmallDisk(disk, '8m');
  afterEach(() => {
    if (mountError === null) unmount(disk);
    rmSync(disk, { recursive: true, force: true });
  });
  if (mountError !== null) console.log(`skipped: no tmpfs can be mounted here (${mountError})`);

  test.skipIf(mountError !== null)('leaves every actor in its own folder', async () => {
    const f = await open({ segmentBytes: 2 << 20 }, disk);
    for (let n = 0; n < 20; n += 1) await add(f.kernel, A, 1, 'x'.repeat(1000));
    const ballast = join(disk, 'ballast');
    fillUp(ballast);
    await f.kernel.close();
    expect([...f.kernel.unsaved()]).toEqual([]);
    rmSync(ballast);
    const kernel = await f.reopen('crash', {}, () =>
      rmSync(join(f.folder, 'journal'), { recursive: true }),
    );
    expect([total(kernel, A), total(kernel, B)]).toEqual([20, 0]);
    await kernel.close();
  });
});

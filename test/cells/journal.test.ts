import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readSegments, recoverJournal } from '../../cells/journal-reader.ts';
import { fileSystem } from '../../cells/journal-segment.ts';
import { findWitnesses } from '../../cells/journal-witness.ts';
import { eventually } from '../support/eventually.ts';
import {
  BreakableDisk,
  commit,
  diskError,
  folderAfterKill,
  linesIn,
  openJournal,
  recordLine,
  temporaryFolder,
} from '../support/journal.ts';

const lines = (from: number, to: number, text = ''): string[] =>
  Array.from({ length: to - from + 1 }, (_, index) => recordLine(from + index, text));

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('committing', () => {
  test('a committed record is read back with its lsn, address and segment, by the same and the next run', async () => {
    const { journal, folder, batches } = await openJournal(temporaryFolder());
    expect(await commit(journal, lines(1, 3, 'zwölf\n"'))).toBe(3);
    expect(journal.committedLsn).toBe(3);
    expect(batches).toEqual([{ firstLsn: 1, lastLsn: 3 }]);
    expect([...readSegments(folder)]).toEqual(
      [1, 2, 3].map((n) => ({
        lsn: n,
        address: `cell/c1/agent/a${n % 3}`,
        line: recordLine(n, 'zwölf\n"'),
        segment: 1,
      })),
    );
    await journal.close();
    expect(linesIn(folder)).toEqual(lines(1, 3, 'zwölf\n"'));
  });

  test('given a reading that is overtaken by a new segment, then nothing is left out between what it hands out (R5)', async () => {
    const { journal, folder } = await openJournal(temporaryFolder());
    const isPrepared = (): boolean => readdirSync(folder).length > 1;
    let last = 0;
    for (; !isPrepared(); await turn())
      last = await commit(journal, lines(last + 1, last + 1, 'x'.repeat(20_000)));
    const reading = readSegments(folder);
    const read = [reading.next().value?.lsn]; // the first segment is in its hands, the second was empty
    const isBegun = (): boolean => journal.segments().length > 1;
    while (!isBegun()) last = await commit(journal, lines(last + 1, last + 1, 'x'.repeat(20_000)));
    last = await commit(journal, lines(last + 1, last + 3));
    for (const { lsn } of reading) read.push(lsn);
    expect(read).toEqual(read.map((_, index) => index + 1));
    expect(linesIn(folder)).toHaveLength(last);
    await journal.close();
  });

  test('J1: nothing is committed or told before the sync has returned', async () => {
    const syncs: (() => void)[] = [];
    const io = {
      ...fileSystem,
      fdatasync: (fd: number, done: (error: Error | null) => void) => {
        if (syncs.length > 0 || isOpen) syncs.push(() => fileSystem.fdatasync(fd, done));
        else fileSystem.fdatasync(fd, done);
      },
    };
    let isOpen = false;
    const { journal, batches } = await openJournal(temporaryFolder(), { io, syncAlone: false });
    isOpen = true;
    let heard = false;
    const done = journal.committed(journal.append(recordLine(1))).then(() => (heard = true));
    journal.flush();
    await turn();
    expect({ heard, batches, committed: journal.committedLsn }).toEqual({
      heard: false,
      batches: [],
      committed: 0,
    });
    isOpen = false;
    syncs.pop()?.();
    await done;
    expect(batches).toEqual([{ firstLsn: 1, lastLsn: 1 }]);
    await journal.close();
  });

  test('append alone does no I/O, and flush without records does nothing', async () => {
    const { journal, folder, batches } = await openJournal(temporaryFolder());
    journal.flush();
    journal.append(recordLine(1));
    expect([journal.pendingRecords, journal.pendingBytes]).toEqual([1, recordLine(1).length + 1]);
    await turn();
    expect(linesIn(folder)).toEqual([]);
    expect(batches).toEqual([]);
    await journal.close();
    expect(linesIn(folder)).toEqual(lines(1, 1));
  });

  test('J2: records that gather while a sync is under way are one batch, and follow at once', async () => {
    const { journal, batches } = await openJournal(temporaryFolder(), { syncAlone: false });
    journal.append(recordLine(1));
    journal.flush();
    for (let n = 2; n <= 5; n += 1) {
      journal.append(recordLine(n));
      journal.flush();
    }
    await journal.committed(5);
    expect(batches).toEqual([
      { firstLsn: 1, lastLsn: 1 },
      { firstLsn: 2, lastLsn: 5 },
    ]);
    await journal.close();
  });

  test('J2: a group that is being appended when a sync ends is not committed in part', async () => {
    const { journal, batches } = await openJournal(temporaryFolder(), {
      onCommit: (batch) => {
        batchesSeen.push(batch);
        if (batch.firstLsn !== 1) return;
        journal.append(recordLine(3)); // its second half follows below, in the same turn
        journal.flush();
        journal.append(recordLine(4));
        journal.flush();
      },
    });
    const batchesSeen: unknown[] = batches;
    await commit(journal, lines(1, 2));
    await journal.committed(4);
    expect(batchesSeen).toEqual([
      { firstLsn: 1, lastLsn: 2 },
      { firstLsn: 3, lastLsn: 4 },
    ]);
    await journal.close();
  });

  test('a commit that nothing follows gets a witness, and the next commits go their way', async () => {
    const { journal, folder } = await openJournal(temporaryFolder());
    const witnessed = (): unknown => {
      const [name = ''] = readdirSync(folder);
      return findWitnesses(readFileSync(join(folder, name)), 0).newest?.nextLsn;
    };
    for (const n of [1, 2, 3]) {
      await commit(journal, lines(n, n, 'x'.repeat(3000)));
      await eventually(() => expect(witnessed()).toBe(n + 1));
      const copy = folderAfterKill(folder);
      expect(recoverJournal(copy)).toMatchObject({ nextLsn: n + 1, corrupt: [], tornBytes: 0 });
    }
    await journal.close();
    expect(linesIn(folder)).toEqual(lines(1, 3, 'x'.repeat(3000)));
  });

  test('a group of any size stays one batch', async () => {
    const { journal, folder, batches } = await openJournal(temporaryFolder());
    const group = lines(1, 30, 'x'.repeat(700_000));
    await commit(journal, group);
    expect(batches).toEqual([{ firstLsn: 1, lastLsn: 30 }]);
    await journal.close();
    expect(linesIn(folder)).toEqual(group);
  });

  test('what is not a line of JSON with an address is refused as a broken invariant', async () => {
    const { journal } = await openJournal(temporaryFolder());
    for (const bad of ['', '{"n":1}', `${recordLine(1)}\n${recordLine(2)}`])
      expect(() => journal.append(bad)).toThrow('not a journal line');
    expect(() => journal.committed(1)).toThrow('nobody was given');
    await journal.close();
  });

  test('P8: what may wait for the journal is bounded', async () => {
    const disk = new BreakableDisk({
      writeSync: () => {
        throw diskError('ENOSPC');
      },
    });
    const { journal } = await openJournal(temporaryFolder(), { io: disk.io });
    const long = recordLine(1, 'x'.repeat(30 << 20));
    for (let i = 0; i < 4; i += 1) journal.append(long);
    expect(() => journal.append(long)).toThrow(expect.objectContaining({ code: 'BUSY' }));
    expect(journal.pendingRecords).toBe(4);
    disk.isBroken = true; // so that the test need not write them
    await expect(journal.close()).rejects.toMatchObject({ code: 'JOURNAL_HELD' });
  });

  test('after close, which commits what waited, appending is refused', async () => {
    const { journal, folder } = await openJournal(temporaryFolder());
    journal.append(recordLine(1));
    const closing = journal.close();
    expect(() => journal.append(recordLine(2))).toThrow(
      expect.objectContaining({ code: 'JOURNAL_HELD' }),
    );
    await closing;
    await journal.close();
    expect(linesIn(folder)).toEqual(lines(1, 1));
    expect(statSync(journal.segments()[0]?.path ?? '').size).toBe(journal.segments()[0]?.bytes);
  });
});

describe('runs', () => {
  test('J4: lsns go on over clean stops and kills, each run has its own segment and epoch', async () => {
    let folder = temporaryFolder();
    for (let run = 1; run <= 6; run += 1) {
      const { journal } = await openJournal(folder, { epoch: run });
      expect(journal.append(recordLine(2 * run - 1))).toBe(2 * run - 1);
      await commit(journal, [recordLine(2 * run)]);
      if (run % 2 === 0) await journal.close();
      else {
        const left = folder;
        folder = folderAfterKill(left);
        await journal.close();
      }
    }
    expect(linesIn(folder)).toEqual(lines(1, 12));
    const recovered = recoverJournal(folder);
    expect(recovered).toMatchObject({ nextLsn: 13, lastEpoch: 6, tornBytes: 0, corrupt: [] });
    expect(recovered.segments.map(({ firstLsn, lastLsn }) => [firstLsn, lastLsn])).toEqual(
      [1, 3, 5, 7, 9, 11].map((n) => [n, n + 1]),
    );
  });

  test('an empty or absent folder is a journal without records', () => {
    expect(recoverJournal('/nonexistent/journal')).toEqual({
      last: null,
      nextLsn: 1,
      nextNumber: 1,
      lastEpoch: 0,
      tornBytes: 0,
      corrupt: [],
      mended: [],
      segments: [],
    });
    expect(linesIn(temporaryFolder())).toEqual([]);
  });

  test('runs that write nothing keep the lsn, also when all segments with records were dropped', async () => {
    const folder = temporaryFolder();
    const first = await openJournal(folder);
    await commit(first.journal, lines(1, 7));
    await first.journal.close();
    for (let run = 0; run < 3; run += 1) {
      const { journal } = await openJournal(folder);
      await journal.dropBefore(8);
      expect(journal.committedLsn).toBe(7);
      await journal.close();
    }
    expect(readdirSync(folder)).toHaveLength(1);
    expect(recoverJournal(folder)).toMatchObject({ nextLsn: 8, corrupt: [] });
  });

  test('J6: what recovery adopts is written again and synced before the new segment is made', async () => {
    const { journal, folder } = await openJournal(temporaryFolder());
    await commit(journal, lines(1, 2));
    await commit(journal, lines(3, 4));
    const copy = folderAfterKill(folder);
    await journal.close();
    const calls: string[] = [];
    const { last } = recoverJournal(copy);
    const again = await openJournal(copy, {
      io: {
        ...fileSystem,
        openSync: (path, flags, mode) => {
          calls.push(`open ${flags}`);
          return fileSystem.openSync(path, flags, mode);
        },
        writeSync: (fd, data, offset, length, position) => {
          calls.push(`write ${position} ${length}`);
          return fileSystem.writeSync(fd, data, offset, length, position);
        },
        fdatasyncSync: (fd) => {
          calls.push('sync');
          fileSystem.fdatasyncSync(fd);
        },
      },
    });
    const { settleFrom = 0, end = 0 } = last ?? {};
    expect(calls.slice(0, 4)).toEqual([
      'open r+',
      `write ${settleFrom} ${end - settleFrom}`,
      'sync',
      'open wx',
    ]);
    expect(linesIn(copy)).toEqual(lines(1, 4));
    await again.journal.close();
  });

  test('reading from an lsn gives exactly the records from there on', async () => {
    const { journal, folder } = await openJournal(temporaryFolder(), { segmentBytes: 4096 });
    for (let n = 1; n <= 60; n += 3) {
      await commit(journal, lines(n, n + 2, 'x'.repeat(100)));
      if (n % 12 === 1) await journal.roll();
    }
    await journal.close();
    for (const fromLsn of [1, 2, 13, 14, 15, 16, 40, 60, 61, 99]) {
      const expected = Array.from({ length: Math.max(0, 61 - fromLsn) }, (_, i) => fromLsn + i);
      const onRecord: number[] = [];
      recoverJournal(folder, { fromLsn, onRecord: ({ lsn }) => onRecord.push(lsn) });
      expect([...readSegments(folder, { fromLsn })].map(({ lsn }) => lsn)).toEqual(expected);
      expect(onRecord).toEqual(expected);
    }
  });
});

describe('rolling and dropping', () => {
  test('roll commits what waits into a new segment and closes the one before', async () => {
    const { journal, folder } = await openJournal(temporaryFolder());
    await journal.roll(); // nothing to do
    await commit(journal, lines(1, 2));
    journal.append(recordLine(3));
    await journal.roll();
    expect(journal.segments()).toMatchObject([
      { firstLsn: 1, lastLsn: 2, closed: true },
      { firstLsn: 3, lastLsn: 3, closed: false },
    ]);
    await journal.roll();
    expect(journal.segments()).toMatchObject([
      { lastLsn: 2, closed: true },
      { firstLsn: 3, lastLsn: 3, closed: true },
      { firstLsn: 4, lastLsn: 3, closed: false },
    ]);
    expect(recoverJournal(folderAfterKill(folder))).toMatchObject({ nextLsn: 4, corrupt: [] });
    for (const { path, bytes } of journal.segments().filter(({ closed }) => closed))
      expect(statSync(path).size).toBe(bytes);
    await journal.close();
  });

  test('dropBefore deletes closed segments whose records are all older, and nothing else', async () => {
    const { journal, folder } = await openJournal(temporaryFolder());
    for (const n of [1, 3, 5]) {
      await commit(journal, lines(n, n + 1));
      await journal.roll();
    }
    expect(await journal.dropBefore(4)).toBe(1);
    expect(linesIn(folder)).toEqual(lines(3, 6));
    expect(await journal.dropBefore(100)).toBe(2);
    expect(journal.segments()).toMatchObject([{ firstLsn: 7, closed: false }]);
    expect(recoverJournal(folder)).toMatchObject({ nextLsn: 7, corrupt: [] });
    await journal.close();
    expect(readdirSync(folder)).toHaveLength(1);
  });

  test('many rolls under load lose nothing, and none happens in the middle of a group', async () => {
    const { journal, folder } = await openJournal(temporaryFolder(), { segmentBytes: 16 << 10 });
    const written: string[] = [];
    const waiters: Promise<void>[] = [];
    const rolls: Promise<void>[] = [];
    for (let round = 0; round < 150; round += 1) {
      for (let i = 0; i < 1 + (round % 7); i += 1) {
        const line = recordLine(written.length + 1, `${round} ${'x'.repeat(round % 300)}`);
        waiters.push(journal.committed(journal.append(line)));
        written.push(line);
      }
      journal.flush();
      if (round === 40 || round === 41) rolls.push(journal.roll());
      if (round % 3 === 0) await turn();
      if (round % 10 === 0) await Promise.all(waiters);
    }
    await Promise.all([...waiters, ...rolls]);
    await journal.close();
    expect(linesIn(folder)).toEqual(written);
    expect(journal.segments().length).toBeGreaterThan(3);
    expect(recoverJournal(folder)).toMatchObject({ corrupt: [], tornBytes: 0 });
  });
});

import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { recoverJournal } from '../../cells/journal-reader.ts';
import { fileSystem, type JournalIo } from '../../cells/journal-segment.ts';
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
import { mountSmallDisk, unmount } from '../support/small-disk.ts';

const held = expect.objectContaining({ code: 'JOURNAL_HELD', retryable: true });

const fail = (code: 'EIO' | 'ENOSPC') => (): never => {
  throw diskError(code);
};
const failingSync: JournalIo['fdatasync'] = (_fd, done) => {
  setImmediate(done, diskError('EIO'));
};
const halfWrite: JournalIo['writeSync'] = (fd, data, offset, length, position) => {
  if (length < 2) throw diskError('ENOSPC');
  return fileSystem.writeSync(fd, data, offset, Math.floor(length / 2), position);
};
/** Closing and the like must go on: what fails is named. */
const kinds: [string, Partial<JournalIo>, boolean][] = [
  ['an fdatasync in the thread pool', { fdatasync: failingSync }, false],
  ['an fdatasync on the main thread', { fdatasyncSync: fail('EIO'), fdatasync: failingSync }, true],
  [
    'an fdatasync, and the cutting too',
    { fdatasync: failingSync, ftruncateSync: fail('EIO') },
    false,
  ],
  ['a write with ENOSPC', { writeSync: fail('ENOSPC') }, true],
  ['a write in its middle', { writeSync: halfWrite }, true],
  [
    'a write in its middle, and the cutting',
    { writeSync: halfWrite, ftruncateSync: fail('EIO') },
    true,
  ],
];

describe.each(kinds)('given %s fails', (_name, broken, syncAlone) => {
  test('J5: then waiters reject, appending is refused, and reopen goes on behind the last commit', async () => {
    const disk = new BreakableDisk(broken);
    const { journal, folder, failures, batches } = await openJournal(temporaryFolder(), {
      io: disk.io,
      syncAlone,
    });
    await commit(journal, [recordLine(1), recordLine(2)]);
    disk.isBroken = true;
    await expect(commit(journal, [recordLine(3, 'lost')])).rejects.toEqual(held);
    expect(failures).toMatchObject([{ error: { code: 'JOURNAL_HELD' }, firstLostLsn: 3 }]);
    expect(journal.isHeld).toBe(true);
    expect(() => journal.append(recordLine(3))).toThrow(held);
    await expect(journal.committed(3)).rejects.toEqual(held);
    await expect(journal.roll()).rejects.toEqual(held);
    journal.flush();

    await expect(journal.reopen()).rejects.toEqual(held);
    disk.isBroken = false;
    await Promise.all([journal.reopen(), journal.reopen()]);
    expect(journal.append(recordLine(3, 'anew'))).toBe(3);
    await commit(journal, [recordLine(4)]);
    const copy = folderAfterKill(folder);
    await journal.close();

    const survivors = [recordLine(1), recordLine(2), recordLine(3, 'anew'), recordLine(4)];
    for (const found of [copy, folder]) {
      expect(linesIn(found)).toEqual(survivors);
      expect(recoverJournal(found)).toMatchObject({ nextLsn: 5, corrupt: [], tornBytes: 0 });
    }
    expect(failures).toHaveLength(1);
    expect(batches.map(({ lastLsn }) => lastLsn)).toEqual([2, 4]);
  });

  test('and the node ends without reopening, then the next run finds what was committed and goes on', async () => {
    const disk = new BreakableDisk(broken);
    const { journal, folder } = await openJournal(temporaryFolder(), { io: disk.io, syncAlone });
    await commit(journal, [recordLine(1)]);
    disk.isBroken = true;
    await expect(commit(journal, [recordLine(2, 'lost')])).rejects.toEqual(held);
    await journal.close();
    const found = linesIn(folder);
    // Only when the bytes could not be cut off either may an unacknowledged record be met again.
    expect(found.slice(0, 1)).toEqual([recordLine(1)]);
    expect(found.length).toBeLessThanOrEqual(broken.ftruncateSync === undefined ? 1 : 2);
    const next = await openJournal(folder);
    await commit(next.journal, [recordLine(9)]);
    await next.journal.close();
    expect(linesIn(folder)).toEqual([...found, recordLine(9)]);
    expect(recoverJournal(folder).corrupt).toEqual([]);
  });
});

test('records that gather behind a failing sync are lost with it, in one failure', async () => {
  const disk = new BreakableDisk({ fdatasync: failingSync });
  const { journal, failures } = await openJournal(temporaryFolder(), {
    io: disk.io,
    syncAlone: false,
  });
  disk.isBroken = true;
  const first = commit(journal, [recordLine(1)]);
  const second = commit(journal, [recordLine(2), recordLine(3)]);
  expect(await Promise.allSettled([first, second])).toMatchObject([
    { status: 'rejected' },
    { status: 'rejected' },
  ]);
  expect(failures).toMatchObject([{ firstLostLsn: 1 }]);
  await journal.close();
});

test('given the write of the following batch fails, then the one before is still told as committed, first', async () => {
  const disk = new BreakableDisk({ writeSync: fail('EIO') });
  const story: string[] = [];
  const { journal } = await openJournal(temporaryFolder(), {
    io: disk.io,
    syncAlone: false,
    onCommit: ({ lastLsn }) => story.push(`committed ${lastLsn}`),
    onFailure: (_error, lsn) => story.push(`lost ${lsn}`),
  });
  const first = commit(journal, [recordLine(1)]);
  disk.isBroken = true;
  const second = commit(journal, [recordLine(2)]);
  await first;
  await expect(second).rejects.toEqual(held);
  expect(story).toEqual(['committed 1', 'lost 2']);
  await journal.close();
});

test('a short write is completed, not a failure', async () => {
  const disk = new BreakableDisk({
    writeSync: (fd, data, offset, length, position) =>
      fileSystem.writeSync(fd, data, offset, Math.min(length, 1 + (position % 100)), position),
  });
  disk.isBroken = true;
  const { journal, folder, failures } = await openJournal(temporaryFolder(), { io: disk.io });
  await commit(journal, [recordLine(1, 'x'.repeat(500)), recordLine(2)]);
  await journal.close();
  expect(linesIn(folder)).toEqual([recordLine(1, 'x'.repeat(500)), recordLine(2)]);
  expect(failures).toEqual([]);
});

describe('given a roll fails', () => {
  test('at the first commit of the new segment, then that segment never counted', async () => {
    const disk = new BreakableDisk({ fdatasync: failingSync, fdatasyncSync: fail('EIO') });
    let segmentsMade = 0;
    const syncFolder = async (path: string): Promise<void> => {
      await disk.io.syncFolder(path);
      segmentsMade += 1;
    };
    const { journal, folder } = await openJournal(temporaryFolder(), {
      io: { ...disk.io, syncFolder },
      segmentBytes: 4096,
    });
    await commit(journal, [recordLine(1, 'x'.repeat(5000))]);
    await eventually(() => expect(segmentsMade).toBe(2));
    disk.isBroken = true;
    await expect(commit(journal, [recordLine(2, 'lost')])).rejects.toEqual(held);
    disk.isBroken = false;
    expect(linesIn(folderAfterKill(folder))).toHaveLength(1);
    await journal.reopen();
    expect(await commit(journal, [recordLine(2, 'anew')])).toBe(2);
    await journal.roll();
    await journal.close();
    expect(linesIn(folder).slice(1)).toEqual([recordLine(2, 'anew')]);
    expect(recoverJournal(folder)).toMatchObject({ nextLsn: 3, corrupt: [], tornBytes: 0 });
  });

  test('because no segment can be made, then the present one goes on for a while, then the journal is held', async () => {
    const disk = new BreakableDisk({ openSync: fail('ENOSPC') });
    const { journal, folder, failures } = await openJournal(temporaryFolder(), {
      io: disk.io,
      segmentBytes: 4096,
    });
    disk.isBroken = true;
    await commit(journal, [recordLine(1, 'x'.repeat(5000))]);
    await expect(journal.roll()).rejects.toThrow('ENOSPC');
    await commit(journal, [recordLine(2, 'x'.repeat(12_000))]);
    expect(failures).toEqual([]);
    await expect(commit(journal, [recordLine(3)])).rejects.toEqual(held);
    disk.isBroken = false;
    await journal.reopen();
    await commit(journal, [recordLine(3)]);
    await journal.close();
    expect(linesIn(folder)).toHaveLength(3);
  });
});

describe('given no room for the zeros of a segment', () => {
  const isBig = (length: number): boolean => length > 4096;
  const noRoom: Partial<JournalIo> = {
    write: (fd, data, offset, length, position) =>
      isBig(length)
        ? Promise.reject(diskError('ENOSPC'))
        : fileSystem.write(fd, data, offset, length, position),
    writeSync: (fd, data, offset, length, position) => {
      if (isBig(length)) throw diskError('ENOSPC');
      return fileSystem.writeSync(fd, data, offset, length, position);
    },
  };

  test('then small records are committed and segments rolled all the same', async () => {
    const disk = new BreakableDisk(noRoom);
    const { journal, folder, failures } = await openJournal(temporaryFolder(), {
      io: disk.io,
      segmentBytes: 8192,
    });
    disk.isBroken = true;
    const lines = Array.from({ length: 60 }, (_, n) => recordLine(n + 1, 'x'.repeat(500)));
    for (const line of lines) {
      await commit(journal, [line]);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await journal.roll();
    await journal.close();
    expect(failures).toEqual([]);
    expect(linesIn(folder)).toEqual(lines);
    expect(journal.segments().length).toBeGreaterThan(2);
  });

  test('what the journal kept in reserve is free for others once it is given up, and it still commits and rolls', async () => {
    const { journal, folder } = await openJournal(temporaryFolder(), { segmentBytes: 1 << 20 });
    const files = () => readdirSync(folder).map((name) => statSync(join(folder, name)).size);
    await commit(journal, [recordLine(1, 'x'.repeat(600_000))]);
    await eventually(() => expect(files()).toEqual([1 << 20, 1 << 20])); // the next one is prepared
    journal.giveUpReserve();
    await eventually(() => expect(files()).toEqual([expect.closeTo(600_000, -5)]));
    await commit(journal, [recordLine(2)]);
    await journal.roll();
    await commit(journal, [recordLine(3)]);
    expect(files().reduce((sum, size) => sum + size)).toBeLessThan(650_000);
    await journal.close();
    expect(linesIn(folder).slice(1)).toEqual([recordLine(2), recordLine(3)]);
  });
});

describe('a disk that is really full', () => {
  const folder = temporaryFolder();
  const mountError = mountSmallDisk(folder, '2m');
  afterEach(() => {
    if (mountError === null) unmount(folder);
    rmSync(folder, { recursive: true, force: true });
  });
  if (mountError !== null) console.log(`skipped: no tmpfs can be mounted here (${mountError})`);

  test.skipIf(mountError !== null)(
    'then what was acknowledged stays, nothing else does, and freed space is enough to go on',
    async () => {
      const journalFolder = join(folder, 'journal');
      mkdirSync(journalFolder);
      const { journal, failures } = await openJournal(journalFolder, { segmentBytes: 256 << 10 });
      const committed: string[] = [];
      const filler = join(folder, 'filler');
      writeFileSync(filler, Buffer.alloc(700 << 10));
      const fill = async (): Promise<void> => {
        for (;;) {
          const line = recordLine(committed.length + 1, 'x'.repeat(20_000));
          await commit(journal, [line]);
          committed.push(line);
        }
      };
      await expect(fill()).rejects.toEqual(held);
      expect(failures).toMatchObject([{ firstLostLsn: committed.length + 1 }]);
      expect(linesIn(journalFolder)).toEqual(committed);
      rmSync(filler);
      await journal.reopen();
      const line = recordLine(committed.length + 1, 'after');
      await commit(journal, [line]);
      await journal.close();
      expect(committed.length).toBeGreaterThan(20);
      expect(linesIn(journalFolder)).toEqual([...committed, line]);
      expect(recoverJournal(journalFolder)).toMatchObject({ corrupt: [], tornBytes: 0 });
    },
  );
});

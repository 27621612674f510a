import * as fc from 'fast-check';
import {
  copyFileSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { scanBatches } from '../../cells/journal-format.ts';
import { readSegments, recoverJournal } from '../../cells/journal-reader.ts';
import { commit, linesIn, openJournal, recordLine, temporaryFolder } from '../support/journal.ts';

interface Stored {
  name: string;
  bytes: Buffer;
}

const load = (folder: string): Stored[] =>
  readdirSync(folder)
    .sort()
    .map((name) => ({ name, bytes: readFileSync(join(folder, name)) }));

function withFolder<T>(files: Stored[], run: (folder: string) => T): T {
  const folder = temporaryFolder();
  try {
    for (const { name, bytes } of files) writeFileSync(join(folder, name), bytes);
    return run(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Three segments of three batches of two records each. */
let files: Stored[] = [];
const fileAt = (index: number): Stored => files[index] ?? { name: '', bytes: Buffer.alloc(0) };
const written = new Map<number, string>();

beforeAll(async () => {
  const { journal, folder } = await openJournal(temporaryFolder());
  for (let n = 1; n <= 18; n += 2) {
    const group = [recordLine(n, 'ä'), recordLine(n + 1)];
    const last = await commit(journal, group);
    group.forEach((line, index) => written.set(last - 1 + index, line));
    if (n === 5 || n === 11) await journal.roll();
  }
  await journal.close();
  files = load(folder);
  rmSync(folder, { recursive: true });
});

const lsns = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);

/** Reads everything, checks that each record is one that was written, and returns the lsns. */
function lsnsIn(folder: string): number[] {
  return [...readSegments(folder)].map(({ lsn, line }) => {
    expect(line).toBe(written.get(lsn));
    return lsn;
  });
}

/** Start and end of the batches of a file. */
function batchesOf({ bytes }: Stored): { start: number; end: number; lsn: number }[] {
  return [...scanBatches(bytes)].filter((span) => span.kind === 'batch');
}

describe('a torn tail', () => {
  test('given the last batch cut at any length, then it alone is missing and its lsns are given again', async () => {
    const last = fileAt(2);
    const { start = 0, end = 0 } = batchesOf(last).at(-1) ?? {};
    for (let length = start; length < end; length += 1)
      withFolder(files, (folder) => {
        truncateSync(join(folder, last.name), length);
        if (length % 2 === 0) truncateSync(join(folder, last.name), end + 5000); // zeros, as prepared
        expect(lsnsIn(folder)).toEqual(lsns(1, 16));
        const { nextLsn, corrupt, tornBytes } = recoverJournal(folder);
        expect({ nextLsn, corrupt }).toEqual({ nextLsn: 17, corrupt: [] });
        expect(tornBytes > 0).toBe(length > start);
      });
  });

  test('once cut by the next run it stays cut, and what that run writes follows', async () => {
    for (const cut of [1, 20, 60]) {
      const folder = temporaryFolder();
      for (const { name, bytes } of files) writeFileSync(join(folder, name), bytes);
      const last = join(folder, fileAt(2).name);
      truncateSync(last, statSync(last).size - cut);
      for (const n of [17, 18]) {
        const { journal } = await openJournal(folder);
        expect(await commit(journal, [recordLine(n, 'again')])).toBe(n);
        await journal.close();
      }
      expect(recoverJournal(folder)).toMatchObject({ nextLsn: 19, corrupt: [], tornBytes: 0 });
      expect(linesIn(folder).slice(-2)).toEqual([recordLine(17, 'again'), recordLine(18, 'again')]);
      expect(linesIn(folder)).toHaveLength(18);
    }
  });

  test('zeros, garbage or half a batch behind the end lose nothing', () => {
    const last = fileAt(2);
    const tails = fc.oneof(
      fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
      fc.nat(5000).map((length) => Buffer.alloc(length)),
      fc
        .nat(40)
        .map((length) => last.bytes.subarray(batchesOf(last)[0]?.start).subarray(0, length)),
    );
    fc.assert(
      fc.property(fc.array(tails, { maxLength: 3 }), (pieces) => {
        const grown = Buffer.concat([last.bytes, ...pieces]);
        withFolder([...files.slice(0, -1), { name: last.name, bytes: grown }], (folder) => {
          expect(lsnsIn(folder)).toEqual(lsns(1, 18));
          expect(recoverJournal(folder)).toMatchObject({ nextLsn: 19, corrupt: [] });
        });
      }),
      { numRuns: 40 },
    );
  });
});

describe('damage', () => {
  test('given one bit flipped anywhere, then nothing is lost, and the place is named', () => {
    fc.assert(
      fc.property(fc.nat(2), fc.nat(), fc.nat(7), (index, place, bit) => {
        const { name, bytes } = fileAt(index);
        const at = place % bytes.length;
        const flipped = Buffer.from(bytes);
        flipped.writeUInt8(flipped.readUInt8(at) ^ (1 << bit), at);
        const isInBatch = batchesOf(fileAt(index)).some(
          ({ start, end }) => at >= start && at < end,
        );
        withFolder(files.with(index, { name, bytes: flipped }), (folder) => {
          expect(lsnsIn(folder)).toEqual(lsns(1, 18));
          const mended = isInBatch ? [{ segment: index + 1, at }] : [];
          expect(recoverJournal(folder)).toMatchObject({ nextLsn: 19, corrupt: [], mended });
        });
      }),
      { numRuns: 300 },
    );
  });

  test('R2: given two neighbouring bytes spoilt anywhere, then it is reported and all other batches are read', () => {
    fc.assert(
      fc.property(fc.nat(2), fc.nat(), (index, place) => {
        const { name, bytes } = fileAt(index);
        const at = place % (bytes.length - 1);
        const bad = Buffer.from(bytes);
        for (const byte of [at, at + 1]) bad.writeUInt8(bad.readUInt8(byte) ^ 0xff, byte);
        const hits = batchesOf(fileAt(index)).filter(
          ({ start, end }) => at + 1 >= start && at < end,
        );
        withFolder(files.with(index, { name, bytes: bad }), (folder) => {
          const lost = hits.flatMap(({ lsn }) => [lsn, lsn + 1]);
          expect(lsnsIn(folder)).toEqual(lsns(1, 18).filter((lsn) => !lost.includes(lsn)));
          const { corrupt, tornBytes } = recoverJournal(folder);
          const isTorn = lost.includes(18);
          expect(tornBytes > 0).toBe(isTorn);
          const reported = isTorn ? [] : lost; // with nothing whole behind it and no witness, it is a torn tail
          const told = corrupt.flatMap(({ lostLsn }) => lostLsn ?? []);
          expect(told.flatMap(({ from, to }) => lsns(from, to))).toEqual(reported);
        });
      }),
      { numRuns: 300 },
    );
  });

  test('R3: given a segment in the middle gone, then its lsns are reported; at the start it is normal', () => {
    withFolder([fileAt(0), fileAt(2)], (folder) => {
      expect(lsnsIn(folder)).toEqual([...lsns(1, 6), ...lsns(13, 18)]);
      expect(recoverJournal(folder).corrupt).toMatchObject([
        { segment: 3, lostLsn: { from: 7, to: 12 } },
      ]);
    });
    withFolder(files.slice(1), (folder) => {
      expect(lsnsIn(folder)).toEqual(lsns(7, 18));
      expect(recoverJournal(folder).corrupt).toEqual([]);
    });
  });

  describe('R4: what others know of the journal tells what is missing at its ends', () => {
    const known = (lsn: number, segment: number, isAll = false) => ({ lsn, segment, isAll });

    test('given its first segment gone, then the records from where it began are lost', () => {
      withFolder(files.slice(1), (folder) => {
        expect(recoverJournal(folder, { begin: 3 }).corrupt).toMatchObject([
          { segment: 2, lostLsn: { from: 3, to: 6 } },
        ]);
        expect(recoverJournal(folder, { begin: 7 }).corrupt).toEqual([]);
        expect(recoverJournal(folder, { begin: 9 }).corrupt).toEqual([]);
      });
    });

    test('given its last segment gone, then nobody knows how much is lost, and no lsn of it is given again', () => {
      withFolder(files.slice(0, 2), (folder) => {
        for (const what of [known(12, 3), known(15, 3), known(15, 2)]) {
          const { corrupt, nextLsn, nextNumber } = recoverJournal(folder, { known: what });
          expect(corrupt).toMatchObject([{ lostLsn: { from: 13, isOpen: true } }]);
          expect(nextLsn).toBeGreaterThan(1e9);
          expect(nextNumber).toBe(what.segment + 1);
        }
        expect(recoverJournal(folder, { known: known(12, 2) })).toMatchObject({
          corrupt: [],
          nextLsn: 13,
        });
      });
    });

    test('given it had been closed, then what was in it is known exactly', () => {
      withFolder(files.slice(0, 2), (folder) => {
        expect(recoverJournal(folder, { known: known(18, 3, true) })).toMatchObject({
          corrupt: [{ segment: 3, lostLsn: { from: 13, to: 18 } }],
          nextLsn: 19,
        });
        expect(recoverJournal(folder, { known: known(12, 3, true) })).toMatchObject({
          corrupt: [],
          nextLsn: 13,
          nextNumber: 4,
        });
      });
    });

    test('given all of it gone, then everything since the index is lost, or nothing when nothing was', () => {
      withFolder([], (folder) => {
        expect(recoverJournal(folder, { begin: 8 }).corrupt).toMatchObject([
          { lostLsn: { from: 8, isOpen: true } },
        ]);
        const closed = { begin: 19, known: known(18, 3, true) };
        expect(recoverJournal(folder, closed)).toMatchObject({ corrupt: [], nextLsn: 19 });
      });
    });

    test('the gap that such a loss leaves is the same loss at the next reading', async () => {
      const folder = temporaryFolder();
      for (const { name, bytes } of files.slice(0, 2)) writeFileSync(join(folder, name), bytes);
      const { corrupt } = recoverJournal(folder, { known: known(14, 3) });
      const { journal } = await openJournal(folder, {}, { known: known(14, 3) });
      const lsn = await commit(journal, [recordLine(1)]);
      await journal.close();
      const again = recoverJournal(folder, { known: known(lsn, journal.activeNumber) });
      expect(again.nextLsn).toBe(lsn + 1);
      expect(again.corrupt.map(({ lostLsn }) => lostLsn?.from)).toEqual([
        corrupt[0]?.lostLsn?.from,
      ]);
    });
  });

  test('given a closed segment cut short, then the loss is corrupt, not torn', () => {
    const { name, bytes } = fileAt(1);
    withFolder(files.with(1, { name, bytes: bytes.subarray(0, bytes.length - 10) }), (folder) => {
      expect(lsnsIn(folder)).toEqual(lsns(1, 18).filter((lsn) => lsn !== 11 && lsn !== 12));
      expect(recoverJournal(folder)).toMatchObject({
        tornBytes: 0,
        nextLsn: 19,
        corrupt: [{ segment: 2, to: bytes.length, lostLsn: { from: 11, to: 12 } }],
      });
    });
  });

  test('given two bad batches at the very end, then the first one is a loss and no lsn of it is given again', () => {
    const { name, bytes } = fileAt(2);
    const bad = Buffer.from(bytes);
    for (const { start } of batchesOf(fileAt(2)).slice(1)) bad.writeUInt8(0, start + 50);
    withFolder(files.with(2, { name, bytes: bad }), (folder) => {
      expect(recoverJournal(folder)).toMatchObject({
        nextLsn: 17,
        corrupt: [{ segment: 3, lostLsn: { from: 15, to: 16 } }],
      });
    });
  });

  test('files that are not segments are left alone', () => {
    withFolder([...files, { name: 'notes.txt', bytes: Buffer.from('hello') }], (folder) => {
      copyFileSync(join(folder, 'notes.txt'), join(folder, '.000000000009.wal.tmp'));
      expect(lsnsIn(folder)).toEqual(lsns(1, 18));
      expect(recoverJournal(folder).segments).toHaveLength(3);
    });
  });

  test('any bytes as segments: no exception, and a journal that can be opened and written', async () => {
    const garbage = fc.array(
      fc.oneof(
        fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
        fc.integer({ min: 0, max: 2 }).map((index) => files[index]?.bytes ?? Buffer.alloc(0)),
        fc.nat(200).map((length) => Buffer.alloc(length)),
      ),
      { maxLength: 4 },
    );
    await fc.assert(
      fc.asyncProperty(garbage, async (contents) => {
        const folder = temporaryFolder();
        contents.forEach((bytes, index) =>
          writeFileSync(join(folder, `${String(index + 1).padStart(12, '0')}.wal`), bytes),
        );
        const before = linesIn(folder);
        const { journal } = await openJournal(folder);
        const lsn = await commit(journal, [recordLine(99)]);
        await journal.close();
        expect(linesIn(folder)).toEqual([...before, recordLine(99)]);
        expect(recoverJournal(folder).nextLsn).toBe(lsn + 1);
        rmSync(folder, { recursive: true });
      }),
      { numRuns: 40 },
    );
  });
});

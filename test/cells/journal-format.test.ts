import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  BatchEncoder,
  decodeSegmentHeader,
  encodeBatch,
  encodeSegmentHeader,
  readBatches,
  type SegmentHeader,
} from '../../cells/journal-format.ts';
import { encodeWitness, witnessOffset } from '../../cells/journal-witness.ts';
import { recordLine } from '../support/journal.ts';

const header: SegmentHeader = {
  format: 1,
  number: 7,
  epoch: 3,
  node: 'nöde',
  createdAt: 1_763_700_000_000,
  firstLsn: 41,
  previous: { number: 5, end: 4096 },
};

/** A file of batches, with the lines of each. */
function fileOf(groups: string[][]): { file: Buffer; ends: number[] } {
  const ends: number[] = [];
  let file = Buffer.alloc(0);
  let lsn = 1;
  for (const lines of groups) {
    file = Buffer.concat([file, encodeBatch(lines, { lsn, previousEnd: file.length })]);
    ends.push(file.length);
    lsn += lines.length;
  }
  return { file, ends };
}

const linesRead = (file: Buffer): string[][] =>
  [...readBatches(file)].flatMap((span) => (span.kind === 'batch' ? [span.lines] : []));

const groupsOf = fc.array(
  fc.array(
    fc.string({ unit: 'binary', maxLength: 30 }).map((text) => recordLine(1, text)),
    { minLength: 1, maxLength: 4 },
  ),
  { minLength: 1, maxLength: 6 },
);

describe('segment header', () => {
  test('is read back, aligned to 64 bytes', () => {
    const block = encodeSegmentHeader(header);
    expect(block.length % 64).toBe(0);
    expect(decodeSegmentHeader(Buffer.concat([block, Buffer.alloc(100)]))).toEqual({
      header,
      end: block.length,
    });
  });

  test('F5: in which one bit has turned is read as it was written', () => {
    const block = encodeSegmentHeader(header);
    for (let at = 0; at < 8 * block.length; at += 1) {
      const bad = Buffer.from(block);
      bad.writeUInt8(bad.readUInt8(at >> 3) ^ (1 << (at & 7)), at >> 3);
      expect(decodeSegmentHeader(bad)?.header).toEqual(header);
    }
  });

  test('of any other bytes is null, never an exception', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(decodeSegmentHeader(Buffer.from(bytes))).toBeNull();
        expect(decodeSegmentHeader(Buffer.concat([Buffer.from('LZJ1'), bytes]))).toBeNull();
      }),
    );
  });
});

describe('batches', () => {
  test('any groups of lines are read back as they were written', () => {
    fc.assert(
      fc.property(groupsOf, (groups) => {
        expect(linesRead(fileOf(groups).file)).toEqual(groups);
      }),
      { numRuns: 50 },
    );
  });

  test('the encoder may be used again, for longer and shorter batches', () => {
    const encoder = new BatchEncoder();
    for (const length of [10, 200_000, 5, 6_000_000, 70_000]) {
      const lines = [recordLine(1, 'é'.repeat(length)), recordLine(2)];
      const batch = encoder.encode(lines, { lsn: 9, previousEnd: 0 });
      expect(linesRead(Buffer.from(batch))).toEqual([lines]);
    }
  });

  test('F4: given a file cut anywhere, then all whole batches are read and the rest is torn', () => {
    const { file, ends } = fileOf([
      [recordLine(1)],
      [recordLine(2), recordLine(3)],
      [recordLine(4)],
    ]);
    for (let length = 0; length <= file.length; length += 1) {
      const spans = [...readBatches(Buffer.concat([file.subarray(0, length), Buffer.alloc(50)]))];
      const whole = ends.filter((end) => end <= length);
      expect(spans.filter((span) => span.kind === 'batch').map((span) => span.end)).toEqual(whole);
      expect(spans.filter((span) => span.kind === 'corrupt')).toEqual([]);
      const torn = spans.find((span) => span.kind === 'torn');
      expect(torn?.from).toBe(
        whole.includes(length) || length === 0 ? undefined : (whole.at(-1) ?? 0),
      );
    }
  });

  test('F5: given one flipped bit anywhere, then everything is read as it was written, and the bit is named', () => {
    fc.assert(
      fc.property(groupsOf, fc.nat(), fc.nat(7), (groups, place, bit) => {
        const { file, ends } = fileOf(groups);
        const at = place % file.length;
        file.writeUInt8(file.readUInt8(at) ^ (1 << bit), at);
        expect(linesRead(file)).toEqual(groups);
        const spans = [...readBatches(file)];
        const hit = ends.findIndex((end) => at < end);
        expect(spans.map((span) => span.kind === 'batch' && span.flip)).toEqual(
          groups.map((_, index) => (index === hit ? { at, mask: 1 << bit } : undefined)),
        );
      }),
      { numRuns: 300 },
    );
  });

  test('F1: given worse damage, then all other batches are read and it is reported', () => {
    fc.assert(
      fc.property(groupsOf, fc.nat(), fc.integer({ min: 1, max: 255 }), (groups, place, change) => {
        const { file, ends } = fileOf(groups);
        const hit = place % ends.length;
        const start = ends[hit - 1] ?? 0;
        const end = ends[hit] ?? 0;
        const at = start + (place % (end - start - 1));
        file.writeUInt8(file.readUInt8(at) ^ change, at);
        file.writeUInt8(file.readUInt8(at + 1) ^ 255, at + 1);
        const spans = [...readBatches(file)];
        expect(linesRead(file)).toEqual(groups.filter((_, index) => index !== hit));
        expect(spans.filter((span) => span.kind !== 'batch')).toHaveLength(1);
      }),
      { numRuns: 200 },
    );
  });

  test('F2: a line whose text is a batch is not taken for one when its own batch is damaged', () => {
    const inner = encodeBatch([recordLine(666)], { lsn: 2, previousEnd: 0 }).toString('latin1');
    const { file, ends } = fileOf([[recordLine(1)], [recordLine(2, inner)], [recordLine(3)]]);
    file.writeUInt8(0, (ends[0] ?? 0) + 5);
    expect(linesRead(file)).toEqual([[recordLine(1)], [recordLine(3)]]);
  });

  test('F3: bytes that a later batch names as given up are void, not corrupt', () => {
    const { file } = fileOf([[recordLine(1)]]);
    const next = encodeBatch([recordLine(2)], { lsn: 2, previousEnd: file.length });
    const spans = [...readBatches(Buffer.concat([file, Buffer.from('LZB1 torn'), next]))];
    expect(spans.map((span) => span.kind)).toEqual(['batch', 'batch']);
  });

  test('given a page of zeros amid the content, then what follows it is read and the hole is corrupt', () => {
    const { file, ends } = fileOf([[recordLine(1)], [recordLine(2)], [recordLine(3)]]);
    file.fill(0, ends[0], ends[1]);
    expect([...readBatches(file)]).toMatchObject([
      { kind: 'batch' },
      { kind: 'corrupt', from: ends[0], to: ends[1] },
      { kind: 'batch' },
    ]);
  });

  test('F4: given two bad batches at the end, then only the last may be torn, the one before is corrupt', () => {
    const { file, ends } = fileOf([[recordLine(1)], [recordLine(2)], [recordLine(3)]]);
    const [first = 0, second = 0] = ends;
    for (const at of [first + 40, second + 40]) file.writeUInt8(1, at);
    expect([...readBatches(file)]).toMatchObject([
      { kind: 'batch' },
      { kind: 'corrupt', from: first, to: second },
      { kind: 'torn', from: second, to: file.length },
    ]);
  });

  test('F4: given a witness behind a bad end, then what it speaks of is corrupt, with the lsn that follows', () => {
    const { file, ends } = fileOf([[recordLine(1)], [recordLine(2), recordLine(3)]]);
    const whole = Buffer.alloc(20_000);
    file.copy(whole);
    encodeWitness({ end: file.length, nextLsn: 4 }).copy(whole, witnessOffset(file.length));
    expect([...readBatches(whole)].map((span) => span.kind)).toEqual(['batch', 'batch']);
    const from = ends[0] ?? 0;
    whole.fill(0, from, file.length);
    expect([...readBatches(whole)].slice(1)).toEqual([
      { kind: 'corrupt', from, to: file.length, reason: 'no readable batch', nextLsn: 4 },
    ]);
  });

  test('a witness that a later commit left behind, or a damaged one, changes nothing', () => {
    const { file, ends } = fileOf([[recordLine(1)], [recordLine(2)]]);
    const place = witnessOffset(ends[0] ?? 0);
    const old = encodeWitness({ end: ends[0] ?? 0, nextLsn: 2 });
    const whole = Buffer.alloc(20_000);
    file.copy(whole);
    old.copy(whole, place);
    expect([...readBatches(whole)].map((span) => span.kind)).toEqual(['batch', 'batch']);
    whole.fill(0, ends[0], file.length);
    expect([...readBatches(whole)].map((span) => span.kind)).toEqual(['batch']);
    whole.fill(0, 0, ends[0]);
    whole.writeUInt8(1, place + 20);
    expect([...readBatches(whole)].map((span) => span.kind)).toEqual(['torn']);
  });

  test('given a known end, then a bad end is corrupt', () => {
    const { file } = fileOf([[recordLine(1)], [recordLine(2)]]);
    const cut = file.subarray(0, file.length - 3);
    expect([...readBatches(cut, { end: file.length })].at(-1)).toMatchObject({
      kind: 'corrupt',
      to: file.length,
    });
  });

  test('any bytes at all: no exception, spans in order, nothing read that was not written', () => {
    const written = fileOf([[recordLine(1)], [recordLine(2)]]).file;
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes)),
      fc.constantFrom(Buffer.from('LZB1'), Buffer.alloc(40), written, written.subarray(0, 50)),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        let at = 0;
        for (const span of readBatches(Buffer.concat(pieces))) {
          const [from, to] = span.kind === 'batch' ? [span.start, span.end] : [span.from, span.to];
          expect(from).toBeGreaterThanOrEqual(at);
          expect(to).toBeGreaterThan(from);
          at = to;
        }
        for (const read of linesRead(Buffer.concat(pieces)))
          expect([[recordLine(1)], [recordLine(2)]]).toContainEqual(read);
      }),
      { numRuns: 200 },
    );
  });
});

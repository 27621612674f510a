/** Where a node goes on in the stream of events from outside, and what waits there. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { InjectionPlace, MAX_WAITING } from '../../actors/injection-place.ts';
import { temporaryFolder } from '../support/cell-files.ts';

const EARLIER = '2026-11-01T00:00:00.123456789Z';
const AT = '2026-11-10T00:00:00.000Z';
const LATER = '2026-11-20T00:00:00.123456789Z';

const stored = (more: object = {}): string =>
  JSON.stringify({ created: EARLIER, from: 1, seq: 7, at: AT, waiting: [], others: [], ...more });

function placeIn(content?: string): { place: InjectionPlace; file: string } {
  const file = join(temporaryFolder(), 'injected.json');
  if (content !== undefined) writeFileSync(file, content);
  const place = new InjectionPlace(file);
  place.load();
  return { place, file };
}

/** `readUpTo`: what the server knows; `others`: who else reads the stream, whose last message is 20. */
const BEGINNINGS: [
  what: string,
  file: string | undefined,
  stream: { created: string; readUpTo: number | null },
  others: string[],
  then: { next: number; from: number },
][] = [
  [
    'new here, alone: it begins at the beginning',
    undefined,
    { created: EARLIER, readUpTo: null },
    [],
    { next: 1, from: 1 },
  ],
  [
    'new here, among others: what was before is theirs',
    undefined,
    { created: EARLIER, readUpTo: null },
    ['b'],
    { next: 21, from: 21 },
  ],
  [
    'known to the server alone, as one of an earlier version is',
    undefined,
    { created: EARLIER, readUpTo: 12 },
    ['b'],
    { next: 13, from: 1 },
  ],
  [
    'forgotten by the server',
    stored(),
    { created: EARLIER, readUpTo: null },
    ['b'],
    { next: 8, from: 1 },
  ],
  [
    'with a file that is behind the server',
    stored(),
    { created: EARLIER, readUpTo: 9 },
    [],
    { next: 10, from: 1 },
  ],
  [
    'in a stream that was made anew',
    stored(),
    { created: LATER, readUpTo: null },
    ['b'],
    { next: 1, from: 1 },
  ],
  [
    'on another server, whose stream is older than what it did here',
    stored({ created: LATER, at: '2026-11-21T00:00:00.000Z' }),
    { created: EARLIER, readUpTo: null },
    ['b'],
    { next: 21, from: 21 },
  ],
];

test.each(BEGINNINGS)('given a node %s', async (_what, content, stream, others, { next, from }) => {
  const { place, file } = placeIn(content);
  expect(await place.begin({ ...stream, lastSeq: 20 }, others)).toBe(next);
  expect(place.from).toBe(from);
  const again = new InjectionPlace(file);
  again.load();
  expect([again.from, again.seq]).toEqual([from, next - 1]);
});

describe('what waits', () => {
  test('is on disk when it is said to wait, and is told from what this life has begun', async () => {
    const { place, file } = placeIn(stored({ waiting: [[5, 'm']] }));
    await place.begin({ created: EARLIER, lastSeq: 20, readUpTo: null }, []);
    expect(await place.wait(9, 'm')).toBe(true);
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({
      seq: 9,
      waiting: [
        [5, 'm'],
        [9, 'm'],
      ],
    });
    expect(place.waiting.map(({ isOld }) => isOld)).toEqual([true, false]);
    expect([place.upTo('m'), place.upTo('other')]).toEqual([4, 9]);
    await place.settled(5);
    expect(place.upTo('m')).toBe(8);
  });

  test('is bounded', async () => {
    const waiting = Array.from({ length: MAX_WAITING - 1 }, (_, n) => [n + 1, 'm']);
    const { place } = placeIn(stored({ seq: MAX_WAITING, waiting }));
    expect(await place.wait(MAX_WAITING, 'm')).toBe(true);
    expect(await place.wait(MAX_WAITING + 1, 'm')).toBe(false);
    expect(await place.wait(7, 'm')).toBe(true); // it does already
    await place.settled(7);
    expect(await place.wait(MAX_WAITING + 1, 'm')).toBe(true);
  });
});

test.each(['', '{', '[]', stored({ seq: 'x' }), stored({ waiting: [[1]] }), stored({ others: 1 })])(
  'given a file that is no place (%s), then it is not taken for a beginning',
  (content) => {
    expect(() => placeIn(content)).toThrow(
      expect.objectContaining({ code: 'FILE_INVALID' }) as Error,
    );
  },
);

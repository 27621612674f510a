/** Work in turns: in order, bounded, and never so much at once that others wait. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Turns } from '../../bus/turns.ts';
import { eventually } from '../support/eventually.ts';

const ROOM = { most: 1000, mostBytes: Infinity };

function busyFor(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

test('the first is begun at once, all are begun in order, and each once, also what is brought by one of them', async () => {
  const turns = new Turns({ ...ROOM, perTurn: 3 });
  const begun: number[] = [];
  const bring = (n: number): boolean =>
    turns.take(1, () => {
      begun.push(n);
      if (n === 1) bring(100);
      return Promise.resolve();
    });
  for (let n = 0; n < 10; n += 1) bring(n);
  expect(begun).toEqual([0, 1, 100]);
  await eventually(() => expect(begun).toEqual([0, 1, 100, 2, 3, 4, 5, 6, 7, 8, 9]));
});

test('given long work, then other turns of the event loop come between', async () => {
  const turns = new Turns(ROOM);
  let done = 0;
  for (let n = 0; n < 12; n += 1)
    turns.take(1, () => {
      busyFor(5);
      done += 1;
      return Promise.resolve();
    });
  expect(done).toBeGreaterThan(0);
  expect(done).toBeLessThan(12);
  const seen: number[] = [];
  do {
    seen.push(done);
    await nextTurn();
  } while (seen.at(-1) !== 12);
  expect(new Set(seen).size).toBeGreaterThan(1);
});

test('what finds no room is refused, by number and by bytes, and there is room when something is done', async () => {
  const turns = new Turns({ most: 2, mostBytes: 100 });
  const ends = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const;
  expect(turns.take(500, () => ends[0].promise)).toBe(true); // one that is alone has room
  expect(turns.take(1, () => Promise.resolve())).toBe(false);
  ends[0].resolve();
  await nextTurn();
  expect(turns.take(60, () => ends[1].promise)).toBe(true);
  expect(turns.take(60, () => Promise.resolve())).toBe(false);
  expect(turns.take(40, () => Promise.resolve())).toBe(true);
  expect(turns.take(0, () => Promise.resolve())).toBe(false); // two already
  await eventually(() => expect(turns.take(40, () => Promise.resolve())).toBe(true));
  ends[1].resolve();
});

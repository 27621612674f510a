import { describe, expect, test } from 'vitest';
import { Dedupe, ID_WINDOW_COUNT, ID_WINDOW_MOST, ID_WINDOW_MS } from '../../actors/dedupe.ts';

const copy = (dedupe: Dedupe): Dedupe =>
  Dedupe.restore(JSON.parse(JSON.stringify(dedupe)) as never);

describe('outside ids', () => {
  test('are remembered for a day even when there are more than ten thousand', () => {
    const dedupe = new Dedupe();
    for (let n = 0; n < ID_WINDOW_COUNT + 500; n += 1) dedupe.recordId(`id${n}`, n, n);
    expect(dedupe.checkId('id0', undefined)).toEqual({ kind: 'duplicate', seq: 0 });
  });

  test('the last ten thousand are remembered however old they are', () => {
    const dedupe = new Dedupe();
    for (let n = 0; n < ID_WINDOW_COUNT; n += 1) dedupe.recordId(`id${n}`, 1000 + n, n);
    dedupe.recordId('late', 1000 + 10 * ID_WINDOW_MS, 99);
    expect(dedupe.checkId('id1', undefined)).toEqual({ kind: 'duplicate', seq: 1 });
  });

  test('what was forgotten is refused as too old by its date, and what is newer is not', () => {
    const dedupe = new Dedupe();
    for (let n = 0; n < ID_WINDOW_COUNT; n += 1) dedupe.recordId(`id${n}`, 1000 + n, n);
    dedupe.recordId('late', 1000 + 10 * ID_WINDOW_MS, 99);
    const after = copy(dedupe);
    expect(after.checkId('id0', 1000)).toEqual({ kind: 'too_old' });
    expect(after.checkId('never seen', 1000)).toEqual({ kind: 'too_old' });
    expect(after.checkId('never seen', 1001)).toEqual({ kind: 'new' });
  });
});

test('given a flood of ids within a day, then no more than the bound is kept: the newest', () => {
  const dedupe = new Dedupe();
  const last = ID_WINDOW_MOST + 25_000;
  for (let n = 0; n <= last; n += 1) dedupe.recordId(`id${n}`, 1000 + n, n);
  const after = copy(dedupe);
  expect(after.toJSON().ids.length).toBeLessThanOrEqual(ID_WINDOW_MOST);
  expect(after.checkId(`id${last - ID_WINDOW_MOST / 2}`, undefined).kind).toBe('duplicate');
  expect(after.checkId('id0', undefined).kind).toBe('new'); // nobody can tell, and it has no date
  expect(after.checkId('id0', 1000).kind).toBe('too_old');
});

test('internal senders are exact by seq and position, for ever, also after a restart', () => {
  const dedupe = new Dedupe();
  dedupe.recordSend('cell/a', 7, 2);
  const after = copy(dedupe);
  expect(after.seenSend('cell/a', 7, 1)).toBe(true);
  expect(after.seenSend('cell/a', 7, 2)).toBe(true);
  expect(after.seenSend('cell/a', 7, 3)).toBe(false);
  expect(after.seenSend('cell/a', 8, 1)).toBe(false);
  expect(after.seenSend('cell/b', 1, 1)).toBe(false);
});

test('a sender may be called as it likes', () => {
  const dedupe = new Dedupe();
  expect(dedupe.seenSend('__proto__', 1, 1)).toBe(false);
  dedupe.recordSend('__proto__', 1, 1);
  expect(copy(dedupe).seenSend('__proto__', 1, 1)).toBe(true);
  expect(copy(dedupe).seenSend('constructor', 1, 1)).toBe(false);
});

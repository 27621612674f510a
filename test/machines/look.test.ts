/** A look, and the parts in which it is told. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { lookOf, partsOf, saysNoMore } from '../../machines/look.ts';
import type { OpenAction } from '../../machines/look.ts';
import { COUNTS, look, standing } from '../support/supervision.ts';

const many = (count: number, name: string) =>
  Array.from({ length: count }, (_, i) => standing(`${name}${i}`, 'web'));
const gone = (count: number) =>
  Array.from({ length: count }, (_, i) => ({
    key: `x${i}`,
    reason: 'drift_resolved_auto' as const,
  }));

test('whatever has changed, the parts hold all of it once, what went first, each but the first goes on, and each but the last is unfinished', () => {
  const size = fc.oneof(fc.nat(5), fc.nat(700));
  fc.assert(
    fc.property(size, size, size, (opens, changes, closes) => {
      const whole = look({
        opened: many(opens, 'o'),
        changed: many(changes, 'c'),
        closed: gone(closes),
        doubt: 'everything drifts',
      });
      const parts = partsOf(whole);
      expect(parts.flatMap(({ opened }) => opened)).toEqual(whole.opened);
      expect(parts.flatMap(({ changed }) => changed)).toEqual(whole.changed);
      expect(parts.flatMap(({ closed }) => closed)).toEqual(whole.closed);
      expect(parts.every(({ doubt }) => doubt === whole.doubt)).toBe(true);
      expect(parts.map(({ goesOn = false }) => goesOn)).toEqual(parts.map((_, nth) => nth > 0));
      const last = parts.length - 1;
      expect(parts.map(({ unfinished = false }) => unfinished)).toEqual(
        parts.map((_, nth) => nth < last),
      );
      for (const { opened, changed, closed } of parts)
        expect(opened.length + changed.length + closed.length).toBeLessThanOrEqual(200);
      const lastOfClosed = parts.findLastIndex(({ closed }) => closed.length > 0);
      const firstOfOpened = parts.findIndex(({ opened }) => opened.length > 0);
      if (parts.length > 1 && opens > 0) expect(lastOfClosed).toBeLessThan(firstOfOpened);
    }),
    { numRuns: 50 },
  );
});

test('what somebody else does for what drifts is in hand; what a drift proposed itself is not', () => {
  const drifts = [standing('vps', 'web'), standing('vps', null), standing('nas', 'db')];
  const changes = { opened: [], changed: [], closed: [] };
  const found = { drifts, changes, counts: COUNTS, beyond: 0, doubt: null, staleSince: null };
  const actions: OpenAction[] = [
    { id: 'a', host: 'vps', service: 'web', origin: null },
    { id: 'b', host: 'vps', service: 'vps', origin: 'system/planner/vps/vps' },
    { id: 'c', host: 'nas', service: 'db', origin: 'system/supervisor/nas/db' },
    { id: 'd', host: 'nas', service: 'other', origin: null },
  ];
  expect(lookOf(found, new Map(), actions).inHand).toEqual({ 'vps/web': 'a', vps: 'b' });
});

test('a look that found no change, and nothing else, says no more than the one before it, whatever that had changed', () => {
  const first = look({ opened: many(3, 'o') });
  expect(saysNoMore(first, look())).toBe(true);
  expect(saysNoMore(first, look({ doubt: 'everything drifts' }))).toBe(false);
  expect(saysNoMore(look(), first)).toBe(false);
});

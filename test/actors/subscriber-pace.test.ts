import { expect, test } from 'vitest';
import { SubscriberPace } from '../../actors/subscriber-pace.ts';

const LIMITS = { burst: 20, ratePerSecond: 200 };

test('half of the burst goes at once, then half of the rate, for each subscriber by itself', () => {
  const pace = new SubscriberPace(LIMITS);
  const sent = (at: number, to: string[]): number => {
    let count = 0;
    while (pace.waitMs(to, at) === 0) count += 1;
    return count;
  };
  expect(sent(0, ['a'])).toBe(10);
  expect(sent(0, ['b'])).toBe(10);
  expect(pace.waitMs(['a'], 0)).toBe(10);
  expect(sent(100, ['a', 'b'])).toBe(10);
  expect(sent(10_000, ['a'])).toBe(10); // no more is saved up than one burst
});

test('given one of several subscribers must wait, then nobody is charged for the event', () => {
  const pace = new SubscriberPace(LIMITS);
  for (let n = 0; n < 10; n += 1) pace.waitMs(['slow'], 0);
  for (let n = 0; n < 50; n += 1) expect(pace.waitMs(['slow', 'other'], 0)).toBeGreaterThan(0);
  expect(pace.waitMs(['other'], 0)).toBe(0);
});

test('an event that nobody wants waits for nobody', () => {
  const pace = new SubscriberPace({ burst: 2, ratePerSecond: 1 });
  for (let n = 0; n < 100; n += 1) expect(pace.waitMs([], 0)).toBe(0);
});

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AwakeClock } from '../../actors/awake-clock.ts';

describe('the awake clock', () => {
  test('goes with time while it is ticked', () => {
    let ms = 5000;
    const clock = new AwakeClock(1000, () => ms);
    for (let n = 0; n < 3; n += 1) {
      ms += 1010;
      clock.tick();
    }
    expect(clock.now()).toBe(3030);
    ms += 200;
    expect(clock.now()).toBe(3230);
  });

  test('given a host that slept for an hour, then hardly more than an interval has passed', () => {
    let ms = 0;
    const clock = new AwakeClock(1000, () => ms);
    ms += 3_600_000;
    expect(clock.now()).toBe(1500);
    clock.tick();
    expect(clock.now()).toBe(1500);
    ms += 100;
    expect(clock.now()).toBe(1600);
  });

  test('never goes back and never faster than time', () => {
    const step = fc.record({ ms: fc.nat(5000), tick: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        let ms = 0;
        let last = 0;
        const clock = new AwakeClock(1000, () => ms);
        for (const { ms: passed, tick } of steps) {
          ms += passed;
          if (tick) clock.tick();
          const now = clock.now();
          expect(now).toBeGreaterThanOrEqual(last);
          expect(now - last).toBeLessThanOrEqual(passed);
          last = now;
        }
      }),
    );
  });
});

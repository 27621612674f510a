import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { TimerIndex } from '../../actors/timers.ts';
import type { Timer } from '../../actors/timers.ts';

/** A clock driven by vitest's timers, so that days pass in no time. */
function index(): { timers: TimerIndex; fired: string[]; start: number } {
  vi.useFakeTimers();
  const start = Date.now();
  const fired: string[] = [];
  const clock = { now: () => ({ at: Date.now(), up: Date.now() - start }) };
  const timers = new TimerIndex(clock, ({ invoke }) => fired.push(invoke));
  timers.start();
  return { timers, fired, start };
}
afterEach(() => vi.useRealTimers());

const timer = (invoke: string, up: number, armSeq = 1): Timer => ({
  address: 'cell/a',
  invoke,
  armSeq,
  deadline: { up },
});

describe('a timer', () => {
  test('beyond what setTimeout can hold fires when it is due, not before', () => {
    const { timers, fired } = index();
    const days = 86_400_000;
    timers.arm(timer('far', 100 * days));
    vi.advanceTimersByTime(99 * days);
    expect(fired).toEqual([]);
    vi.advanceTimersByTime(1 * days + 1);
    expect(fired).toEqual(['far']);
  });

  test('armed again is a new one, and the old one does not fire', () => {
    const { timers, fired } = index();
    timers.arm(timer('x', 100, 1));
    timers.arm(timer('x', 300, 2));
    vi.advanceTimersByTime(200);
    expect(fired).toEqual([]);
    vi.advanceTimersByTime(200);
    expect(fired).toEqual(['x']);
  });

  test('armed twice for the same record stays one', () => {
    const { timers, fired } = index();
    timers.arm(timer('x', 100));
    timers.arm(timer('x', 100));
    vi.advanceTimersByTime(1000);
    expect(fired).toEqual(['x']);
  });

  test('absolute and active deadlines fire in the order of time', () => {
    const { timers, fired, start } = index();
    timers.arm({ ...timer('b', 0), deadline: { at: start + 200 } });
    timers.arm(timer('a', 100));
    timers.arm(timer('c', 300));
    vi.advanceTimersByTime(1000);
    expect(fired).toEqual(['a', 'b', 'c']);
  });
});

test('any mix of arming and disarming fires what is left, in order, once', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ id: fc.nat(20), due: fc.nat(1000), disarm: fc.boolean() }), {
        maxLength: 200,
      }),
      (steps) => {
        const { timers, fired } = index();
        const left = new Map<string, number>();
        steps.forEach(({ id, due, disarm }, n) => {
          if (disarm) {
            timers.disarm('cell/a', `${id}`);
            left.delete(`${id}`);
          } else {
            timers.arm(timer(`${id}`, due, n + 1));
            left.set(`${id}`, due);
          }
        });
        vi.advanceTimersByTime(2000);
        expect(fired.toSorted()).toEqual([...left.keys()].toSorted());
        const dues = fired.map((id) => left.get(id) ?? -1);
        expect(dues).toEqual(dues.toSorted((a, b) => a - b));
        vi.useRealTimers();
      },
    ),
    { numRuns: 200 },
  );
});

import { describe, expect, test } from 'vitest';
import { LifeSigns } from '../../actors/worker-health.ts';
import { statusOfMisses } from '../../machines/heartbeats.ts';
import type { Progress } from '../../actors/worker-health.ts';
import { isFromWorker } from '../../actors/worker-messages.ts';

const progress = (more: Partial<Progress> = {}): Progress => ({
  id: 1,
  outputBytes: 0,
  cpuTicks: 0,
  ...more,
});

describe('misses (L1)', () => {
  test.each([
    [0, 0, 'healthy'],
    [1000, 0, 'healthy'],
    [1099, 0, 'healthy'],
    [1100, 1, 'degraded'],
    [2100, 2, 'degraded'],
    [3099, 2, 'degraded'],
    [3100, 3, 'unhealthy'],
    [60_000, 59, 'unhealthy'],
  ] as const)('given %i ms without a word, then %i, which is %s', (ms, misses, status) => {
    const signs = new LifeSigns(1000, 500);
    expect(signs.misses(500 + ms)).toBe(misses);
    expect(statusOfMisses(misses)).toBe(status);
  });

  test('a word makes it healthy', () => {
    const signs = new LifeSigns(1000, 0);
    expect(signs.misses(5000)).toBe(4);
    signs.heard(5000);
    expect(signs.misses(5001)).toBe(0);
  });
});

describe('progress (L3)', () => {
  test('is any change of output or CPU time, and none of it without a step', () => {
    const signs = new LifeSigns(1000, 0);
    expect(signs.stuckForMs(100)).toBeNull();
    signs.reported(progress(), 1000);
    signs.reported(progress(), 2000);
    expect(signs.stuckForMs(2500)).toBe(1500);
    signs.reported(progress({ cpuTicks: 1 }), 3000);
    expect(signs.stuckForMs(3000)).toBe(0);
    signs.reported(progress({ cpuTicks: 1, outputBytes: 7 }), 4000);
    expect(signs.stuckForMs(4500)).toBe(500);
    signs.reported(null, 5000);
    expect(signs.stuckForMs(9000)).toBeNull();
  });

  test('the next step begins anew, however alike its numbers are', () => {
    const signs = new LifeSigns(1000, 0);
    signs.reported(progress(), 1000);
    signs.reported(progress({ id: 2 }), 60_000);
    expect(signs.stuckForMs(60_000)).toBe(0);
  });
});

test('what is not of the right shape is not taken from a worker', () => {
  const beat = { t: 'beat', seq: 1, progress: null };
  expect(isFromWorker(beat)).toBe(true);
  expect(isFromWorker({ ...beat, progress: progress({ cpuTicks: null }) })).toBe(true);
  for (const bad of [{}, { ...progress(), outputBytes: -1 }, { ...progress(), cpuTicks: '1' }, 7])
    expect(isFromWorker({ ...beat, progress: bad })).toBe(false);
});

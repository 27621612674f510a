import { expect, test } from 'vitest';
import { StartSlots } from '../../actors/start-slots.ts';

const never = new AbortController().signal;
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('so many at a time, the others in the order in which they came', async () => {
  const slots = new StartSlots(2);
  const begun: number[] = [];
  for (let n = 0; n < 5; n += 1) void slots.take(never).then(() => begun.push(n));
  await settled();
  expect([begun, slots.waiting, slots.isIdle]).toEqual([[0, 1], 3, false]);
  expect(slots.tryTake()).toBe(false);
  slots.release();
  await settled();
  expect(begun).toEqual([0, 1, 2]);
  for (let n = 0; n < 4; n += 1) slots.release();
  await settled();
  expect([begun, slots.waiting, slots.isIdle]).toEqual([[0, 1, 2, 3, 4], 0, true]);
});

test('who is withdrawn while waiting takes no slot, and hears the reason', async () => {
  const slots = new StartSlots(1);
  await slots.take(never);
  const withdrawn = new AbortController();
  const waiting = slots.take(withdrawn.signal);
  withdrawn.abort(new Error('no more needed'));
  await expect(waiting).rejects.toThrow('no more needed');
  await expect(slots.take(withdrawn.signal)).rejects.toThrow('no more needed');
  slots.release();
  expect(slots.isIdle).toBe(true);
});

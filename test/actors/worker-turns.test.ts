/** What a caller hears of its turn (H7), from a pool of real processes that starts one at a time. */
import { expect, onTestFinished, test } from 'vitest';
import type { StartOptions } from '../../actors/worker-pool.ts';
import { openPool } from '../support/workers.ts';
import type { TestPool } from '../support/workers.ts';

function onePool(): TestPool {
  const pool = openPool({ maxStarts: 1, standby: 0 });
  onTestFinished(() => pool.close());
  return pool;
}

const noting = (told: string[], id: string, more: StartOptions = {}): StartOptions => ({
  onQueued: () => void told.push(`${id} waits`),
  onTurn: () => void told.push(`${id} starts`),
  ...more,
});

test('given three that start together, then two hear that they wait, and each when it is its turn', async () => {
  const turns = onePool();
  const told: string[] = [];
  const starts = ['a', 'b', 'c'].map((id) => turns.start(id, noting(told, id)));
  expect(told).toEqual(['b waits', 'c waits']);
  expect(turns.pool.counts().waiting).toBe(2);
  const workers = await Promise.all(starts);
  expect(told).toEqual(['b waits', 'c waits', 'b starts', 'c starts']);
  await Promise.all(workers.map(({ ready }) => ready));
  await turns.start('d', noting(told, 'd'));
  expect(told.length).toBe(4);
});

test('given one that gives up while it waits, then its turn never comes, and the next one is not kept waiting', async () => {
  const turns = onePool();
  const told: string[] = [];
  const giveUp = new AbortController();
  const first = turns.start('a', noting(told, 'a'));
  const second = turns.start('b', noting(told, 'b', { signal: giveUp.signal }));
  const third = turns.start('c', noting(told, 'c'));
  giveUp.abort(new Error('nobody waits for it'));
  await expect(second).rejects.toThrow('nobody waits for it');
  await Promise.all([(await first).ready, (await third).ready]);
  expect(told).toEqual(['b waits', 'c waits', 'c starts']);
});

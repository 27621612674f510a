import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { schedule } from '../../machines/schedule.ts';
import type { PlannedTask } from '../../machines/schedule.ts';
import type { Priority, TaskStatus } from '../../machines/mission.ts';

const task = (
  id: string,
  dependencies: string[] = [],
  extra: Partial<PlannedTask> = {},
): PlannedTask => ({
  id,
  status: 'pending',
  dependencies,
  priority: 'medium',
  createdAt: null,
  ...extra,
});

describe('what blocks a task', () => {
  test.each<[string, PlannedTask[], Record<string, string>]>([
    ['nothing', [task('a'), task('b', ['a'])], {}],
    ['a task that does not exist', [task('a', ['x'])], { a: 'waits for x, which does not exist' }],
    [
      'a task that failed, and what waits behind it',
      [task('a', [], { status: 'failed' }), task('b', ['a']), task('c', ['b'])],
      { b: 'waits for a, which failed', c: 'waits for b, which is blocked' },
    ],
    ['itself', [task('a', ['a'])], { a: 'dependency cycle: a -> a' }],
    [
      'a cycle, named in full in each of its tasks',
      [task('b', ['c']), task('a', ['b']), task('c', ['a']), task('after', ['c'])],
      {
        a: 'dependency cycle: a -> b -> c -> a',
        b: 'dependency cycle: a -> b -> c -> a',
        c: 'dependency cycle: a -> b -> c -> a',
        after: 'waits for c, which is blocked',
      },
    ],
    [
      'two cycles that share a task',
      [task('a', ['b', 'c']), task('b', ['a']), task('c', ['a'])],
      {
        a: 'dependency cycle: a -> b -> a',
        b: 'dependency cycle: a -> b -> a',
        c: 'waits for a, which is in a dependency cycle: a -> b -> a',
      },
    ],
    [
      'what comes after a cycle, several steps on',
      [task('z', ['y']), task('y', ['x']), task('x', ['a']), task('a', ['b']), task('b', ['a'])],
      {
        a: 'dependency cycle: a -> b -> a',
        b: 'dependency cycle: a -> b -> a',
        x: 'waits for a, which is blocked',
        y: 'waits for x, which is blocked',
        z: 'waits for y, which is blocked',
      },
    ],
  ])('%s', (_, tasks, reasons) => {
    expect(Object.fromEntries(schedule(tasks).blocked)).toEqual(reasons);
  });

  test('a ready task that nobody can do, and what waits behind it', () => {
    const plan = schedule([task('a'), task('b', ['a'])], () => 'nobody can');
    expect(Object.fromEntries(plan.blocked)).toEqual({
      a: 'nobody can',
      b: 'waits for a, which is blocked',
    });
  });

  test('a completed task breaks what would be a cycle', () => {
    const plan = schedule([task('a', ['b']), task('b', ['a'], { status: 'completed' })]);
    expect(plan).toEqual({ ready: ['a'], blocked: new Map() });
  });

  test('a cycle of thousands is found and named briefly', () => {
    const tasks = Array.from({ length: 5000 }, (_, i) => task(`t${i}`, [`t${(i + 1) % 5000}`]));
    const { blocked } = schedule(tasks);
    expect(blocked.size).toBe(5000);
    expect(blocked.get('t7')?.length).toBeLessThan(200);
    expect(blocked.get('t7')).toContain('more)');
  });
});

test('ready tasks come by priority, then age, then id', () => {
  const tasks = [
    task('d'),
    task('c', [], { createdAt: '2026-01-02T00:00:00Z' }),
    task('b', [], { createdAt: '2026-01-01T00:00:00Z' }),
    task('low', [], { priority: 'low' }),
    task('high', [], { priority: 'high', createdAt: '2026-02-01T00:00:00Z' }),
  ];
  expect(schedule(tasks).ready).toEqual(['high', 'd', 'b', 'c', 'low']);
});

const ids = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
const graph = fc.tuple(
  ...ids.map((id) =>
    fc.record({
      id: fc.constant(id),
      status: fc.constantFrom<TaskStatus>(
        'pending',
        'pending',
        'pending',
        'completed',
        'failed',
        'in_progress',
      ),
      dependencies: fc.uniqueArray(fc.constantFrom(...ids, 'missing'), { maxLength: 3 }),
      priority: fc.constantFrom<Priority>('high', 'medium', 'low'),
      createdAt: fc.constantFrom(null, '2026-01-01', '2026-01-02'),
    }),
  ),
);

describe('any graph', () => {
  test('a task is ready exactly when it is pending and all it depends on is completed (T1)', () => {
    fc.assert(
      fc.property(graph, (tasks) => {
        const completed = new Set(tasks.filter((t) => t.status === 'completed').map((t) => t.id));
        const expected = tasks.filter(
          (t) => t.status === 'pending' && t.dependencies.every((id) => completed.has(id)),
        );
        expect(new Set(schedule(tasks).ready)).toEqual(new Set(expected.map((t) => t.id)));
      }),
    );
  });

  test('a pending task has a reason exactly when no ordinary progress can make it ready (T2)', () => {
    fc.assert(
      fc.property(graph, (tasks) => {
        const reachable = canComplete(tasks);
        const stuck = tasks.filter((t) => t.status === 'pending' && !reachable.has(t.id));
        expect(new Set(schedule(tasks).blocked.keys())).toEqual(new Set(stuck.map((t) => t.id)));
      }),
    );
  });
});

/** What could ever be completed if every task that becomes ready succeeds: the slow and obvious way. */
function canComplete(tasks: readonly PlannedTask[]): Set<string> {
  const done = new Set(
    tasks.filter((t) => t.status === 'completed' || t.status === 'in_progress').map((t) => t.id),
  );
  for (let size = -1; size !== done.size;) {
    size = done.size;
    for (const t of tasks)
      if (t.status === 'pending' && t.dependencies.every((id) => done.has(id))) done.add(t.id);
  }
  return done;
}

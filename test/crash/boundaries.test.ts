/** Which points of the crash proof share a trial. What is killed there is shown by the proof itself. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nameOf, paired, spread } from './boundaries.ts';
import type { Point } from './boundaries.ts';
import { Chance } from './random.ts';

const anyPoint = fc.record<Point>({
  life: fc.constantFrom('first', 'second', 'revival', 'asked', 'handed over'),
  at: fc
    .tuple(fc.constantFrom('host', 'worker'), fc.constantFrom('a', 'b', 'c', 'd'), fc.nat(3))
    .map((parts) => parts.join(':')),
});

test('given any points, then each name is tried once, and each of the points is in one way', () => {
  const property = fc.property(fc.array(anyPoint), fc.nat(), (points, seed) => {
    const chance = new Chance(seed);
    const { ofEachName, rest } = spread(points, () => chance.next());
    expect(new Set(ofEachName.map(nameOf)).size).toBe(ofEachName.length);
    expect(new Set(ofEachName.map(nameOf))).toEqual(new Set(points.map(nameOf)));
    expect(new Set([...ofEachName, ...rest])).toEqual(new Set(points));
    const tried = paired(ofEachName).flat();
    expect(tried).toHaveLength(ofEachName.length);
    expect(new Set(tried)).toEqual(new Set(ofEachName));
  });
  fc.assert(property);
});

test('given a way of two points, then the first ends a host whose mission can go on, and the other is of a second life', () => {
  const property = fc.property(fc.array(anyPoint), (points) => {
    for (const [point, next] of paired(points)) {
      if (next === undefined) continue;
      expect(next.life).toBe('second');
      expect(point.at).toMatch(/^host:/);
      expect(['first', 'revival', 'asked']).toContain(point.life);
    }
  });
  fc.assert(property);
});

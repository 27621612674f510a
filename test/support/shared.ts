/** A fixture for several tests that do not disturb each other: most of their time would be its start. */
import { afterAll, beforeAll } from 'vitest';

/** Says what is to be done when whoever asked for a fixture has ended, last said first: vitest's `onTestFinished`, or `shared`. */
export type AtEnd = (end: () => void | Promise<void>) => void;

/** In a `describe`: made before its first test, ended after its last. */
export function shared<T>(make: (atEnd: AtEnd) => Promise<T>): () => T {
  let made: { fixture: T } | undefined;
  const ends: (() => void | Promise<void>)[] = [];
  beforeAll(async () => {
    made = { fixture: await make((end) => void ends.push(end)) };
  });
  afterAll(async () => {
    for (const end of ends.toReversed()) await end();
  });
  return () => {
    if (made === undefined) throw new Error('it is made before the first test, not before');
    return made.fixture;
  };
}

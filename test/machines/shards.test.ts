/** A sharded record against a plain map. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { entriesIn, inShards, namesIn, noShards } from '../../machines/shards.ts';
import { valuesIn, withEntries, withEntry, withoutEntry } from '../../machines/shards.ts';
import type { Shards } from '../../machines/shards.ts';

const key = fc.oneof(
  fc.constantFrom('a', 'b', '__proto__', 'constructor', 'toString', '7', ''),
  fc.string({ maxLength: 3 }),
);

test('whatever is put in and dropped, it holds what a map holds, and nothing empty', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(key, fc.option(fc.nat()))), (changes) => {
      let sharded: Shards<number> = noShards();
      const plain = new Map<string, number>();
      for (const [name, value] of changes) {
        const before = JSON.stringify(sharded);
        const next = value === null ? withoutEntry(sharded, name) : withEntry(sharded, name, value);
        expect(JSON.stringify(sharded)).toBe(before);
        sharded = next;
        if (value === null) plain.delete(name);
        else plain.set(name, value);
        expect([sharded.size, inShards(sharded, name)]).toEqual([plain.size, plain.get(name)]);
      }
      const copy = JSON.parse(JSON.stringify(sharded)) as Shards<number>;
      expect(new Map(entriesIn(copy))).toEqual(plain);
      expect(Object.values(copy.by).every((one) => Object.keys(one).length > 0)).toBe(true);
    }),
  );
});

test('many at once are what one after the other would have been', () => {
  const entries = fc.array(fc.tuple(key, fc.nat()));
  fc.assert(
    fc.property(entries, entries, (first, then) => {
      const start = withEntries(noShards<number>(), first);
      const before = JSON.stringify(start);
      const all = withEntries(start, then);
      let one = start;
      for (const [name, value] of then) one = withEntry(one, name, value);
      expect(all).toEqual(one);
      expect(JSON.stringify(start)).toBe(before);
      const plain = new Map([...first, ...then]);
      expect(new Set(namesIn(all))).toEqual(new Set(plain.keys()));
      expect(new Map(entriesIn(all))).toEqual(plain);
      expect(valuesIn(all)).toEqual(entriesIn(all).map(([, value]) => value));
    }),
  );
});

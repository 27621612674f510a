/** A sharded record against a plain map. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { entriesIn, inShards, noShards, withEntry, withoutEntry } from '../../machines/shards.ts';
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

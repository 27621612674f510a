import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { JsonValue } from '../../machines/json.ts';
import { entriesIn } from '../../machines/shards.ts';
import type { Shards } from '../../machines/shards.ts';
import { freshSupervisor, withShards } from '../../machines/supervisor-context.ts';

const standingIn = (context: JsonValue): Shards<JsonValue> =>
  (context as unknown as { standing: Shards<JsonValue> }).standing;

test('given drifts that stand in one record, as they once did, then the same ones stand in shards', () => {
  const name = fc.oneof(fc.string(), fc.constantFrom('size', 'by', '__proto__', 'vps/web'));
  fc.assert(
    fc.property(fc.dictionary(name, fc.record({ since: fc.nat() })), (flat) => {
      const found = withShards(
        JSON.parse(JSON.stringify({ standing: flat, row: [] })) as JsonValue,
      );
      const { size } = standingIn(found);
      const byName = ([a]: [string, unknown], [b]: [string, unknown]): number => (a < b ? -1 : 1);
      expect(entriesIn(standingIn(found)).sort(byName)).toEqual(Object.entries(flat).sort(byName));
      expect(size).toBe(Object.keys(flat).length);
      expect(withShards(found)).toBe(found);
      expect(found).toMatchObject({ row: [] });
    }),
  );
});

test('given one that stands as it does now, or nothing, then it is left alone', () => {
  const fresh = JSON.parse(JSON.stringify(freshSupervisor())) as JsonValue;
  expect(withShards(fresh)).toBe(fresh);
  expect(withShards(null)).toBe(null);
});

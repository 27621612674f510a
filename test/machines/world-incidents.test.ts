import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { JsonValue } from '../../machines/json.ts';
import { incidentsIn } from '../../machines/world-incidents.ts';

const read = (content: JsonValue): ReturnType<typeof incidentsIn> =>
  incidentsIn({ content, mtimeMs: 0 });

const OPEN = {
  id: 'inc-1795300000-piha-redis',
  node: 'piha',
  service: 'redis',
  status: 'active',
  type: 'service_unhealthy',
  severity: 'error',
  occurrence_count: 3,
  created_at: 1_795_300_000,
  last_seen: 1_795_300_060.5,
  resolved_at: null,
};

test('given the known form, then each field is told, and times are ISO', () => {
  expect(read({ [OPEN.id]: OPEN })).toEqual([
    {
      id: 'inc-1795300000-piha-redis',
      host: 'piha',
      service: 'redis',
      active: true,
      type: 'service_unhealthy',
      severity: 'error',
      occurrences: 3,
      created_at: '2026-11-21T22:26:40.000Z',
      last_seen: '2026-11-21T22:27:40.500Z',
      resolved_at: null,
      resolved_by: null,
    },
  ]);
});

test.each<[what: string, content: JsonValue, told: object]>([
  ['a list', [{ incident_id: 'x', host: 'vps', trigger: 'odd' }], { id: 'x', service: null }],
  [
    'the list under its name',
    { incidents: [{ id: 'x', node: 'vps', service: 'vps' }] },
    { service: null },
  ],
  [
    'resolved',
    { x: { status: 'resolved', resolved_by: 'a' } },
    { active: false, resolved_by: 'a' },
  ],
  ['resolved without a word', { x: { resolved_at: '2026-11-21T22:00:00Z' } }, { active: false }],
  ['a text that would hide others', { x: { severity: 'a\u202eb\nc' } }, { severity: 'ab c' }],
  ['a count that is none', { x: { occurrence_count: -1 } }, { occurrences: 1 }],
])('given %s, then it is understood', (_what, content, told) => {
  expect(read(content)).toMatchObject([told]);
});

test('the newest comes first, whichever time it gives', () => {
  const found = read({
    old: { last_seen: 10 },
    none: {},
    new: { created_at: '2026-11-21T22:00:00Z' },
    same: { last_seen: 10 },
  });
  expect(found.map(({ id }) => id)).toEqual(['new', 'old', 'same', 'none']);
});

test('any JSON gives a list', () => {
  const field = fc.oneof(fc.jsonValue(), fc.double(), fc.constantFrom('active', 8.64e18, -1e300));
  const entry = fc.record(
    {
      id: field,
      node: field,
      status: field,
      last_seen: field,
      created_at: field,
      resolved_at: field,
    },
    { requiredKeys: [] },
  );
  const content = fc.oneof(
    fc.jsonValue(),
    fc.dictionary(fc.string(), fc.oneof(entry, fc.jsonValue())),
  );
  fc.assert(
    fc.property(content, (value) => {
      for (const { id, occurrences } of read(value as JsonValue)) {
        expect(id).not.toBe('');
        expect(occurrences).toBeGreaterThanOrEqual(1);
      }
    }),
    { numRuns: 500 },
  );
  expect(incidentsIn(null)).toEqual([]);
});

/** The schemas of the inventory are for editors, the reader decides: here they are held to each other. */
import { Ajv } from 'ajv';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { schemaOf } from '../../cells/validate.ts';
import type { SchemaKind } from '../../cells/validate.ts';
import { readHostServices, readTopology } from '../../machines/desired.ts';
import type { InventoryProblem } from '../../machines/desired.ts';

const fits = (kind: string): ((content: unknown) => boolean) =>
  new Ajv({ strict: false }).compile(schemaOf(kind as SchemaKind)) as (content: unknown) => boolean;

const odd = fc.constantFrom(null, true, 7, '', [], {}, ['x'], { x: 1 });
const name = fc.oneof(
  { weight: 12, arbitrary: fc.stringMatching(/^[a-z]{1,4}$/) },
  fc.constantFrom(
    ' x',
    'x ',
    'a  b',
    'a b',
    'a\tb',
    'a\nb',
    'é',
    '\u202ex',
    'a/b',
    '1.5',
    '\u3000x',
  ),
);
const flag = fc.oneof({ weight: 4, arbitrary: fc.boolean() }, odd);
const references = fc.oneof(
  { weight: 4, arbitrary: fc.array(name, { maxLength: 3 }) },
  { weight: 2, arbitrary: name },
  odd,
);
const record = (keys: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<unknown> =>
  fc.record(keys, { requiredKeys: [] });
const service = { monitor: flag, critical: flag, depends_on: references, exposure: odd };
const host = { monitor: flag, critical: flag, aliases: references, description: odd };
const listed = (keys: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<unknown> =>
  fc.oneof(
    { weight: 4, arbitrary: fc.array(fc.oneof(name, record(keys)), { maxLength: 4 }) },
    {
      weight: 4,
      arbitrary: fc.dictionary(name, fc.oneof({ weight: 5, arbitrary: record(keys) }, odd), {
        maxKeys: 3,
      }),
    },
    odd,
  );

const servicesFile = fc.oneof(
  {
    weight: 12,
    arbitrary: record({
      services: listed({ name, ...service }),
      monitor: flag,
      critical: flag,
      other: odd,
    }),
  },
  odd,
);
const topologyFile = fc.oneof(
  {
    weight: 12,
    arbitrary: record({
      nodes: listed({ name, node: name, id: odd, ...host }),
      hosts: listed({ hostname: name, id: name, ...host }),
    }),
  },
  odd,
);

/** That a name stands there twice is beyond a schema, and the second one is not looked into. */
const isTwice = ({ message }: InventoryProblem): boolean => message.endsWith('stands there twice');

test.each([
  {
    kind: 'host-services',
    file: servicesFile,
    read: (content: unknown) => readHostServices('vps', content),
  },
  { kind: 'topology', file: topologyFile, read: readTopology },
])('the schema of $kind accepts exactly the files that are understood', ({ kind, file, read }) => {
  const accepts = fits(kind);
  const seen = { good: 0, bad: 0 };
  fc.assert(
    fc.property(file, (content) => {
      const found = read(content);
      if (!found.ok && found.problems.some(isTwice)) return;
      seen[found.ok ? 'good' : 'bad'] += 1;
      expect(accepts(content)).toBe(found.ok);
    }),
    { numRuns: 2000 },
  );
  expect(Math.min(seen.good, seen.bad)).toBeGreaterThan(200);
});

test.each(['host-services', 'topology'])('%s.json says its bounds', (kind) => {
  const most = kind === 'topology' ? 5000 : 500;
  const key = kind === 'topology' ? 'nodes' : 'services';
  const some = (n: number): object => ({ [key]: Array.from({ length: n }, (_, i) => `x${i}`) });
  const accepts = fits(kind);
  expect([accepts(some(most)), accepts(some(most + 1))]).toEqual([true, false]);
});

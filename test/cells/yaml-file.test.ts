import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { stringify } from 'yaml';
import { parseYaml } from '../../cells/yaml-file.ts';
import type { ParsedYaml } from '../../cells/yaml-file.ts';
import type { Problem } from '../../cells/parse-json.ts';
import type { JsonValue } from '../../machines/json.ts';

const MAX = 256 * 1024;
const read = (text: string | Buffer, maxBytes = MAX): ParsedYaml =>
  parseYaml(Buffer.from(text), maxBytes);

function valueOf(text: string): JsonValue {
  const parsed = read(text);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.value;
}

function problemsOf(text: string | Buffer): Problem[] {
  const parsed = read(text);
  return parsed.ok ? [] : parsed.problems;
}

describe('what people write is read as they meant it', () => {
  it.each<[what: string, text: string, value: JsonValue]>([
    ['a list', 'services:\n  - web\n  - name: db\n', { services: ['web', { name: 'db' }] }],
    ['Windows line ends', 'a:\r\n  - b\r\n  - c: d\r\n', { a: ['b', { c: 'd' }] }],
    ['a byte order mark', '\uFEFFa: 1\n', { a: 1 }],
    ['a document mark', '# what runs here\n---\na: 1\n...\n', { a: 1 }],
    ['an alias', 'a: &x [1, 2]\nb: *x\n', { a: [1, 2], b: [1, 2] }],
    [
      'an anchor that is named again',
      'a: &x 1\nb: *x\nc: &x 2\nd: *x\n',
      { a: 1, b: 1, c: 2, d: 2 },
    ],
    [
      'an anchor inside of what an alias repeats',
      'a: &x {in: &y 1}\nb: &y 2\nc: *x\nd: *y\n',
      { a: { in: 1 }, b: 2, c: { in: 1 }, d: 2 },
    ],
    [
      'a merge key',
      'base: &d {monitor: false, critical: true}\nweb: {<<: *d, critical: false}\n',
      { base: { monitor: false, critical: true }, web: { critical: false, monitor: false } },
    ],
    [
      'several merge keys, of which the first counts',
      'a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc:\n  <<: [*a, *b]\nd:\n  <<: *b\n  <<: *a\n',
      { a: { x: 1 }, b: { x: 2, y: 2 }, c: { x: 1, y: 2 }, d: { x: 2, y: 2 } },
    ],
    [
      'names that look like numbers',
      '1.10: a\non: b\n0x10: c\nnull: d\n',
      { '1.10': 'a', on: 'b', '0x10': 'c', null: 'd' },
    ],
    ['an old version', '%YAML 1.1\n---\na: yes\nb: 2020-01-01\n', { a: 'yes', b: '2020-01-01' }],
    ["another program's tag", 'a: !secret web_password\n', { a: 'web_password' }],
    ['a key without a value', 'a:\nb: ~\n? c\n', { a: null, b: null, c: null }],
    ['names of objects', 'constructor: 1\ntoString: {}\n', { constructor: 1, toString: {} }],
  ])('%s', (_what, text, value) => expect(valueOf(text)).toEqual(value));

  test('any JSON value that is written as YAML', () => {
    const value = fc.jsonValue({ maxDepth: 4 }).filter((it) => it !== null && !isOdd(it));
    fc.assert(
      fc.property(value, (given) => {
        expect(valueOf(stringify(given))).toEqual(JSON.parse(JSON.stringify(given)));
      }),
      { numRuns: 500 },
    );
  });
});

const isOdd = (value: unknown): boolean =>
  /\\u0000|__proto__|-0/.test(JSON.stringify(value)) || hasMinusZero(value);
const hasMinusZero = (value: unknown): boolean =>
  Object.is(value, -0) ||
  (typeof value === 'object' && value !== null && Object.values(value).some(hasMinusZero));

describe('what cannot be taken is told with its line, several at once', () => {
  it.each<[what: string, text: string | Buffer, problems: Partial<Problem>[]]>([
    ['nothing', '', [{ line: 1, message: 'the file is empty' }]],
    ['blank lines', ' \n\n', [{ line: 1, message: 'the file is empty' }]],
    ['comments only', '# soon\n', [{ line: 1, message: 'the file says nothing' }]],
    ['a tab', 'services:\n\t- web\n', [{ line: 2, fix: 'Indent by spaces.' }]],
    [
      'names that stand twice',
      'services:\n  web: {a: 1}\n  db: {}\n  web: {b: 1}\nservices: []\n',
      [
        { line: 4, pointer: '/services/web', message: "'web' stands twice in this map" },
        { line: 5, pointer: '/services', message: "'services' stands twice in this map" },
      ],
    ],
    [
      'a list that is not closed',
      'a: [1,\nb: 2\n',
      [{ message: expect.stringMatching(/^not YAML/) }],
    ],
    [
      'two documents',
      'a: 1\n---\nb: 2\n',
      [{ line: 2, message: 'not YAML: the file holds several documents' }],
    ],
    ['an alias of nothing', 'a: 1\nb: *x\n', [{ line: 2, pointer: '/b' }]],
    ['a value that contains itself', 'a: &a\n  - *a\n', [{ line: 2, pointer: '/a/0' }]],
    ['a merge of itself', 'a: &a\n  <<: *a\n', [{ line: 2 }]],
    [
      'a merge of a text',
      'a:\n  <<: b\n',
      [{ line: 2, message: "<< merges maps, not the text 'b'" }],
    ],
    [
      'no number',
      'a: .nan\nb: -.inf\n',
      [
        { line: 1, pointer: '/a' },
        { line: 2, pointer: '/b' },
      ],
    ],
    ['a list as a name', '? [a, b]\n: 1\n', [{ line: 1 }]],
    [
      'a prototype',
      '__proto__: {admin: true}\n',
      [{ line: 1, message: "'__proto__' cannot be a name here" }],
    ],
    ['NUL', 'a: "x\\0y"\n', [{ line: 1, pointer: '/a' }]],
    [
      'no UTF-8',
      Buffer.from([0x61, 0x3a, 0x20, 0xff]),
      [{ message: expect.stringContaining('UTF-8') }],
    ],
  ])('%s', (_what, text, problems) => {
    expect(problemsOf(text)).toEqual(problems.map((problem) => expect.objectContaining(problem)));
    for (const { fix } of problemsOf(text)) expect(fix).toMatch(/\.$/);
  });

  test('a file that is too large', () => {
    const parsed = read('a: 1\n', 4);
    expect(parsed).toMatchObject({
      ok: false,
      problems: [{ message: expect.stringContaining('4 bytes') }],
    });
  });
});

describe('the line of a pointer', () => {
  const text =
    'services:\n  - web\n  - name: db\n    depends_on:\n      - cache\nby: &b\n  a/b: 1\nc: *b\n';
  it.each([
    ['', 1],
    ['/services', 1],
    ['/services/0', 2],
    ['/services/1/name', 3],
    ['/services/1/depends_on/0', 5],
    ['/services/1/depends_on/7', 4],
    ['/services/1/nothing', 3],
    ['/by/a~1b', 7],
    ['/c/a~1b', 7],
    ['/nowhere/at/all', 1],
  ])('%s', (pointer, line) => {
    const parsed = read(text);
    expect(parsed.ok && parsed.lineOf(pointer)).toBe(line);
  });
});

describe('given a file that is made to cost much', () => {
  const letters = 'abcdefghi'.split('');
  it.each([
    [
      'laughs',
      letters
        .map(
          (name, i) => `${name}: &${name} [${(i === 0 ? 'x,' : `*${letters[i - 1]},`).repeat(9)}]`,
        )
        .join('\n'),
    ],
    [
      'merges',
      `a: &a {${Array.from({ length: 2000 }, (_, i) => `k${i}: 1`).join()}}\n${Array.from({ length: 500 }, (_, i) => `m${i}: {<<: *a}`).join('\n')}`,
    ],
    ['lists in lists', '['.repeat(100_000)],
    ['lists in lists, well formed', `a: ${'['.repeat(1000)}${']'.repeat(1000)}`],
    ['lines in lines', '- '.repeat(20_000)],
    ['keys in keys', '? '.repeat(20_000)],
    [
      'aliases in aliases',
      `a0: &a0 {}\n${Array.from({ length: 200 }, (_, i) => `a${i + 1}: &a${i + 1} {x: *a${i}}`).join('\n')}`,
    ],
    ['more than can be told', '}{'.repeat(10_000)],
  ])('%s: it is refused', (_what, text) => {
    const problems = problemsOf(text);
    expect(problems.length).toBeGreaterThan(0);
    expect(problems.length).toBeLessThanOrEqual(20);
  });

  it.each([
    ['many names', Array.from({ length: 20_000 }, (_, i) => `k${i}: 1`).join('\n')],
    ['many names in one line', `{${Array.from({ length: 20_000 }, (_, i) => `k${i}: 1`).join()}}`],
    ['many aliases', `a: &a {x: 1}\nb: [${'*a,'.repeat(10_000)}]`],
  ])('%s: it is read', (_what, text) => expect(read(text)).toMatchObject({ ok: true }));
});

test('no bytes make it throw', () => {
  const piece = fc.constantFrom(
    'a',
    ':',
    ' ',
    '\n',
    '- ',
    '? ',
    '{',
    '}',
    '[',
    ']',
    ',',
    '&a',
    '*a',
    '<<: ',
    '!',
    '|',
    '>',
    '"',
    "'",
    '#',
    '%',
    '---\n',
    '...\n',
    '\t',
    '\r',
    '\0',
    '@',
    '`',
    '\uFEFF',
  );
  const bytes = fc.oneof(
    fc.array(piece, { maxLength: 60 }).map((parts) => Buffer.from(parts.join(''))),
    fc.uint8Array({ maxLength: 60 }),
  );
  fc.assert(
    fc.property(bytes, (given) => {
      const parsed = parseYaml(given, MAX);
      if (!parsed.ok) expect(parsed.problems.length).toBeGreaterThan(0);
    }),
    { numRuns: 5000 },
  );
});

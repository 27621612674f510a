/** What nobody should send: as a whole message, and as one value in an input that is otherwise as it should be. */
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { isJsonObject } from '../../machines/json.ts';

const MB = 1 << 20;
const deep = (depth: number): string => `${'['.repeat(depth)}${']'.repeat(depth)}`;

/** Bodies that no subject, route or tool takes, whatever it is for. */
export const BODIES: readonly [what: string, body: string | Buffer][] = [
  ['cut off', '{"cell": "m", "task'],
  ['null', 'null'],
  ['a number', '5'],
  ['a text', '"cell.pause"'],
  ['a list', '[{"type": "cell.pause"}]'],
  ['no number', '{"a": NaN}'],
  ['two', '{}{}'],
  ['a prototype', '{"__proto__": {"admin": true}, "constructor": {"prototype": {"x": 1}}}'],
  ['a name with zeros in it', '{"a\\u0000b": 1}'],
  ['half a character', '{"\\ud800": "\\udfff"}'],
  ['zeros', Buffer.alloc(4096)],
  ['no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0xc0, 0x80, 0x22, 0x3a, 0x31, 0x7d])],
  ['noise', Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 7919) % 256))],
  ['deep', deep(100_000)],
  ['a little too deep', `{"event": ${deep(70)}, "to": ${deep(70)}}`],
  ['many names', `{${Array.from({ length: 20_000 }, (_, i) => `"n${i}":1`).join()}}`],
  ['longer than 1 MB', JSON.stringify({ cell: 'x'.repeat(MB) })],
  ['2 MB of nothing', Buffer.alloc(2 * MB, 0x20)],
];

const VALUES: readonly JsonValue[] = [
  '',
  '../../../../tmp/escaped',
  '/etc/passwd',
  '__proto__',
  '$(touch escaped); `id` | sh',
  '<img src=x onerror=alert(1)></script>',
  'a\0b\r\nSet-Cookie: a=b',
  '\u202E\uD800%00%2e%2e%2f',
  'x'.repeat(50_000),
  '*.>',
  -1,
  1e308,
  null,
  true,
  ['m', ['m']],
  { __proto__: null, toString: 1, length: -1, constructor: 'x' },
];

/** One input for each member and each value that it should not have; the other members are what the schema wants. */
export function hostileInputs(schema: JsonObject): JsonObject[] {
  const properties = isJsonObject(schema['properties']) ? schema['properties'] : {};
  const required = (schema['required'] ?? []) as string[];
  const good = Object.fromEntries(required.map((name) => [name, plausible(properties[name])]));
  const members = [...Object.keys(properties), 'nobody_knows_this'];
  return members.flatMap((name) => VALUES.map((value) => ({ ...good, [name]: value })));
}

function plausible(schema: JsonValue | undefined): JsonValue {
  if (!isJsonObject(schema)) return 'm';
  const { enum: allowed, type } = schema;
  if (Array.isArray(allowed)) return allowed[0] ?? null;
  if (type === 'object') return { type: 'cell.pause' };
  if (type === 'array') return [];
  return type === 'number' || type === 'integer' ? 1 : 'm';
}

/** A subject, or a path, that a pattern of ours takes. */
export const HOSTILE_NAMES: readonly string[] = [
  'm',
  'x'.repeat(300),
  '__proto__',
  '%2E%2E%2F%2E%2E%2Fetc%2Fpasswd',
  '%00',
  '%FF',
  '%zz',
];

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeHomelabEvent, readEntry, readMessage } from '../../machines/homelab-events.ts';
import type { HomelabEvent, Reading } from '../../machines/homelab-events.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';

const ABOUT = { channel: 'health_events', id: 'redis:health_events:n.1:7', at: 1_764_000_000_000 };
const NOW = '2025-11-24T16:00:00.000Z';

const read = (raw: JsonValue): Reading => readMessage(JSON.stringify(raw), ABOUT);

function eventOf(reading: Reading): HomelabEvent {
  if (reading.kind === 'refused') throw new Error(`refused: ${reading.reason}`);
  return reading.event;
}
const reasonOf = (reading: Reading): string =>
  reading.kind === 'refused' ? reading.reason : 'accepted';

describe('both shapes', () => {
  test('of a node agent: type, node, service, severity, payload', () => {
    const raw = {
      type: 'service_unhealthy',
      node: 'piha',
      service: 'mosquitto',
      severity: 'error',
      timestamp: 1764000000.25,
      source: 'stability-agent',
      payload: { status: 'exited' },
    };
    const reading = read(raw);
    expect(reading).toEqual({
      kind: 'event',
      hasOwnId: false,
      original: JSON.stringify(raw),
      event: {
        id: ABOUT.id,
        type: 'service_unhealthy',
        at: '2025-11-24T16:00:00.250Z',
        source: 'stability-agent',
        data: {
          host: 'piha',
          service: 'mosquitto',
          severity: 'error',
          payload: { status: 'exited' },
          channel: 'health_events',
        },
      },
    });
    expect(describeHomelabEvent(eventOf(reading))).toBe(
      '[service_unhealthy] piha/mosquitto (error)',
    );
  });

  test('of the observer: event_type and details, with what is missing filled in', () => {
    const event = eventOf(
      read({ event_type: ' node_offline ', node: ' vps ', details: { for: 3 } }),
    );
    expect(event).toMatchObject({
      type: 'node_offline',
      at: NOW,
      source: 'redis:health_events',
      data: { host: 'vps', service: 'vps', severity: 'info', payload: { for: 3 } },
    });
  });
});

test.each<[string, JsonObject, Partial<HomelabEvent['data']>]>([
  ['service in details', { details: { service: ' a ' } }, { service: 'a' }],
  ['service in payload', { payload: { service: 'b' } }, { service: 'b' }],
  [
    'details before payload',
    { details: { service: 'a' }, payload: { service: 'b' } },
    { service: 'a' },
  ],
  ['an empty service', { service: '  ' }, { service: 'h' }],
  ['a service that is no text', { service: 7, details: [] }, { service: 'h' }],
  ['an empty payload gives way', { payload: {}, details: { x: 1 } }, { payload: { x: 1 } }],
  ['a payload that is no object', { payload: 'text', details: { x: 1 } }, { payload: {} }],
  ['a list as payload', { payload: [1] }, { payload: {} }],
  ['severity in capitals', { severity: ' CRITICAL ' }, { severity: 'critical' }],
  ['another name of one', { severity: 'warn' }, { severity: 'warning' }],
  ['a severity that is none', { severity: 'purple' }, { severity: 'info' }],
  ['a name of every object', { severity: 'constructor' }, { severity: 'info' }],
])('data: %s', (_name, more, data) => {
  expect(eventOf(read({ type: 't', node: 'h', ...more })).data).toMatchObject(data);
});

test.each<[JsonValue, string]>([
  [0, '1970-01-01T00:00:00.000Z'],
  [1764000000, NOW],
  [1764000000000, NOW],
  ['1764000000.5', '2025-11-24T16:00:00.500Z'],
  ['2026-03-01T12:30:00Z', '2026-03-01T12:30:00.000Z'],
  ['2026-03-01T12:30:00.123456+02:00', '2026-03-01T10:30:00.123Z'],
  ['2026-03-01 12:30:00-0530', '2026-03-01T18:00:00.000Z'],
  ['2026-03-01T12:30', '2026-03-01T12:30:00.000Z'],
  ['2026-03-01', '2026-03-01T00:00:00.000Z'],
  ['2026-02-30T00:00:00Z', NOW],
  ['2026-13-01T00:00:00Z', NOW],
  ['2026-03-01T24:00:00Z', NOW],
  ['yesterday', NOW],
  [-5, NOW],
  [1e300, NOW],
  [null, NOW],
  [{ at: 1 }, NOW],
])('the time %j is %s', (timestamp, at) => {
  expect(eventOf(read({ type: 't', node: 'h', timestamp })).at).toBe(at);
});

test.each<[JsonValue, string, boolean]>([
  [' evt-1 ', 'evt-1', true],
  [42, '42', true],
  ['', ABOUT.id, false],
  [null, ABOUT.id, false],
  [{ a: 1 }, ABOUT.id, false],
  ['x'.repeat(201), ABOUT.id, false],
  ['a\nb', ABOUT.id, false],
])('the id %j is %s', (id, expected, hasOwnId) => {
  const reading = read({ type: 't', node: 'h', id });
  expect([eventOf(reading).id, reading.kind === 'event' && reading.hasOwnId]).toEqual([
    expected,
    hasOwnId,
  ]);
});

describe('refused, with the reason', () => {
  const deep = (levels: number): string => `${'['.repeat(levels)}${']'.repeat(levels)}`;
  test.each<[string, string, RegExp]>([
    ['no JSON', 'service down!', /no JSON/],
    ['nothing', '', /no JSON/],
    ['half of it', '{"type": "t", "node"', /no JSON/],
    ['a list', '[{"type": "t", "node": "h"}]', /no JSON object/],
    ['a number', '7', /no JSON object/],
    ['null', 'null', /no JSON object/],
    ['no type', '{"node": "h"}', /no type/],
    ['a type of blanks', '{"type": "  ", "node": "h"}', /no type/],
    ['no node', '{"type": "t"}', /names no node/],
    ['a node that is no text', '{"type": "t", "node": {"x": 1}}', /names no node/],
    ['a long name', `{"type": "${'t'.repeat(201)}", "node": "h"}`, /type is longer/],
    ['a line end in a name', '{"type": "t", "node": "h\\nx"}', /node holds characters/],
    [
      'half a character in a name',
      '{"type": "t", "node": "h", "service": "\\ud800"}',
      /service holds/,
    ],
    ['a number beyond range', '{"type": "t", "node": "h", "payload": {"x": [1e999]}}', /beyond/],
    ['deep nesting', `{"type": "t", "node": "h", "payload": {"x": ${deep(64)}}}`, /nested/],
    ['very deep nesting', `{"type": "t", "node": "h", "x": ${deep(200_000)}}`, /nested/],
    ['nothing but brackets', '['.repeat(500_000), /no JSON/],
  ])('%s', (_name, text, reason) => {
    expect(reasonOf(readMessage(text, ABOUT))).toMatch(reason);
  });

  test('a type that is no text gives way to event_type', () => {
    expect(eventOf(read({ type: 3, event_type: 't', node: 'h' })).type).toBe('t');
  });

  test('members called as what every object has change nothing', () => {
    const text = '{"type":"t","node":"h","__proto__":{"type":"x"},"payload":{"__proto__":{"y":1}}}';
    const event = eventOf(readMessage(text, ABOUT));
    expect(event.type).toBe('t');
    expect(Object.getPrototypeOf(event.data.payload)).toBe(Object.prototype);
    expect(JSON.stringify(event.data.payload)).toBe('{"__proto__":{"y":1}}');
  });
});

describe('an entry of a stream', () => {
  test('with a field for each member', () => {
    const fields: [string, string][] = [
      ['type', 'service_unhealthy'],
      ['node', 'vps'],
      ['timestamp', '1764000000'],
      ['details', '{"service": "nginx", "code": 502}'],
    ];
    const reading = readEntry(fields, ABOUT);
    expect(eventOf(reading)).toMatchObject({
      type: 'service_unhealthy',
      at: NOW,
      data: { host: 'vps', service: 'nginx', payload: { code: 502 } },
    });
    expect(reading.kind === 'event' && reading.original).toBe(JSON.stringify(fields));
  });

  test.each(['data', 'event', 'payload', 'anything'])('with the whole event in %s', (name) => {
    const text = JSON.stringify({ type: 't', node: 'h' });
    const reading = readEntry([[name, text]], ABOUT);
    expect(eventOf(reading).data.host).toBe('h');
    expect(reading.kind === 'event' && reading.original).toBe(text);
  });

  test('with members called as what every object has', () => {
    const fields: [string, string][] = [
      ['__proto__', 'x'],
      ['type', 't'],
      ['node', 'h'],
    ];
    expect(eventOf(readEntry(fields, ABOUT)).type).toBe('t');
  });

  test('a payload that looks like JSON and is none is refused', () => {
    const fields: [string, string][] = [
      ['type', 't'],
      ['node', 'h'],
      ['payload', '{oops'],
    ];
    expect(reasonOf(readEntry(fields, ABOUT))).toBe('payload: it is no JSON');
  });
});

describe('any input', () => {
  const survives = (reading: Reading): void => {
    expect(JSON.parse(JSON.stringify(reading))).toEqual(reading);
    if (reading.kind === 'refused') return;
    const { type, at, data } = reading.event;
    for (const name of [type, data.host, data.service]) {
      expect(name.length).toBeGreaterThan(0);
      expect(name.length).toBeLessThanOrEqual(200);
      expect(name).toBe(name.trim());
    }
    expect(new Date(at).toISOString()).toBe(at);
  };
  const member = fc.oneof(fc.jsonValue(), fc.string({ unit: 'binary' }), fc.double());
  const names = ['type', 'event_type', 'node', 'service', 'severity', 'id', 'source', 'timestamp'];
  const shaped = fc
    .dictionary(fc.constantFrom(...names, 'payload', 'details'), member)
    .map((raw) => ({ type: 't', node: 'h', ...raw }));

  test('as text gives an event or a reason, and both survive JSON (H1, H3)', () => {
    const text = fc.oneof(
      fc.string(),
      fc.json(),
      shaped.map((raw) => JSON.stringify(raw)),
    );
    fc.assert(
      fc.property(text, (input) => survives(readMessage(input, ABOUT))),
      { numRuns: 2000 },
    );
  });

  test('as fields gives an event or a reason, and both survive JSON (H1, H3)', () => {
    const name = fc.oneof(fc.constantFrom(...names, 'payload', 'details', 'data'), fc.string());
    const fields = fc.array(fc.tuple(name, fc.oneof(fc.string(), fc.json())));
    fc.assert(
      fc.property(fields, (input) => survives(readEntry(input, ABOUT))),
      { numRuns: 2000 },
    );
  });

  test('says the same of the same, and keeps the text (H4)', () => {
    fc.assert(
      fc.property(shaped, (raw) => {
        const text = JSON.stringify(raw);
        const reading = readMessage(text, ABOUT);
        expect(readMessage(text, ABOUT)).toEqual(reading);
        if (reading.kind === 'event') expect(reading.original).toBe(text);
      }),
    );
  });
});

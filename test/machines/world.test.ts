/** The world's files, in every form that programs of a homelab write them in. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { JsonValue } from '../../machines/json.ts';
import type { Observed } from '../../machines/supervision.ts';
import { changedHosts, observeWorld } from '../../machines/world.ts';
import { NOW, desiredOf, observedOf } from '../support/homelab-sketch.ts';

const seconds = (ms: number): number => ms / 1000;
const nodeOf = (entry: JsonValue): unknown =>
  observedOf({ nodes: { vps: entry } }).hosts.get('vps')?.node;
const serviceOf = (entry: JsonValue, more: { incidents?: JsonValue } = {}): unknown =>
  observedOf({ services: { 'vps/web': entry }, ...more })
    .hosts.get('vps')
    ?.services.get('web');

describe('status words', () => {
  test.each([
    ['well', ['healthy', 'ok', 'OK', 'running', 'up', 'online', 'active', true]],
    [
      'ill',
      [
        'unhealthy',
        'failed',
        'down',
        'offline',
        'exited',
        'dead',
        'error',
        'critical',
        'degraded',
        'unreachable',
        'inactive',
        'Not Running',
        'not-running',
        false,
      ],
    ],
    ['changing', ['starting', 'restarting', 'deploying', 'updating', 'in_progress']],
    ['unknown', ['unknown', 'whatever', '', 'constructor', '__proto__', 7, null, ['up'], {}]],
  ])('given a service, when its status is one of these, then it is %s', (condition, words) => {
    for (const status of words) expect(serviceOf({ status })).toMatchObject({ condition });
  });

  test.each([
    ['well', ['online', 'up', 'healthy', 'degraded', 'warning']],
    ['ill', ['offline', 'down', 'unreachable', 'inactive', 'dead']],
    ['changing', ['rebooting', 'starting']],
    ['unknown', ['unhealthy', 'critical', 'error', 'whatever']],
  ])(
    'given a host, when its status is one of these, then its being there is %s',
    (condition, words) => {
      for (const status of words) expect(nodeOf({ status })).toMatchObject({ status, condition });
    },
  );

  test.each<[JsonValue, string, string]>([
    [{ availability: 'offline' }, 'offline', 'ill'],
    [{ state: 'running', health: 'unhealthy' }, 'unhealthy', 'ill'],
    [{ status: 'unknown', state: 'running' }, 'running', 'well'],
    [{ status: 'healthy', state: 'restarting' }, 'restarting', 'changing'],
    ['healthy', 'healthy', 'well'],
    [{}, 'unknown', 'unknown'],
    [{ status: ' two\nlines ' }, 'two lines', 'unknown'],
  ])(
    'given the entry %j, when it is read, then it is %s, which is %s',
    (entry, status, condition) => {
      expect(serviceOf(entry)).toMatchObject({ status, condition });
    },
  );
});

describe('times', () => {
  const MIN = 60_000;
  test.each<[string, JsonValue, number | null]>([
    ['nothing', { status: 'up' }, null],
    ['float seconds', { status: 'up', last_seen: seconds(NOW) - 60.5 }, NOW - 60_500],
    ['milliseconds', { status: 'up', updated_at: NOW - MIN }, NOW - MIN],
    ['ISO', { status: 'up', last_check: '2026-11-21T11:59:00Z' }, NOW - MIN],
    ['nonsense', { status: 'up', last_seen: 'yesterday' }, null],
    [
      'several',
      { status: 'up', last_seen: seconds(NOW) - 60, updated_at: seconds(NOW) - 999 },
      NOW - MIN,
    ],
    ['a time after the file was written', { status: 'up', last_seen: seconds(NOW) + 999 }, NOW],
    [
      'when it was last there, of something that is gone',
      { status: 'down', last_seen: seconds(NOW) - 9999 },
      null,
    ],
    ['when somebody found it gone', { status: 'down', checked_at: seconds(NOW) - 60 }, NOW - MIN],
  ])('given %s, when it is read, then the news is as old as that', (_, entry, seenAt) => {
    expect(nodeOf(entry)).toMatchObject({ seenAt });
    expect(serviceOf(entry)).toMatchObject({ seenAt });
  });

  test('given no time anywhere, when it is read, then nobody says', () => {
    const file = { content: { vps: { status: 'up' } }, mtimeMs: null };
    const observed = observeWorld({ nodes: file }, new Map());
    expect(observed.at).toBeNull();
    expect(observed.hosts.get('vps')?.node?.seenAt).toBeNull();
  });

  test('given files of several ages, when they are read, then the observer spoke when the newest was written', () => {
    const content = {};
    const files = {
      nodes: { content, mtimeMs: 5 },
      services: { content, mtimeMs: 9 },
      incidents: null,
    };
    expect(observeWorld(files, new Map()).at).toBe(9);
    expect(observeWorld({}, new Map()).at).toBeNull();
  });
});

describe('forms', () => {
  const asObject = {
    nodes: { vps: { status: 'online', disk_pressure: 'high' } },
    services: { 'vps/web': { status: 'ok' }, 'vps/a/b': { status: 'ok' } },
    incidents: {
      i1: { node: 'vps', service: 'web', type: 'x', status: 'active', occurrence_count: 3 },
    },
    deployments: { d1: { node: 'vps', service: 'web', status: 'failed', completed_at: 5 } },
  };
  const asLists = {
    nodes: [{ node: 'vps', status: 'online', disk_pressure: true }],
    services: [
      { node: 'vps', service: 'web', status: 'ok' },
      { host: 'vps', name: 'a/b', status: 'ok' },
    ],
    incidents: [
      { id: 'i1', node: 'vps', service: 'web', type: 'x', status: 'active', occurrence_count: 3 },
    ],
    deployments: [{ node: 'vps', service: 'web', status: 'failed', completed_at: 5 }],
  };
  test.each([
    ['lists', asLists],
    [
      'objects under the name of the file',
      Object.fromEntries(
        Object.entries(asObject).map(([name, value]) => [name, { [name]: value, version: 2 }]),
      ),
    ],
    [
      'lists under the name of the file',
      Object.fromEntries(Object.entries(asLists).map(([name, value]) => [name, { [name]: value }])),
    ],
  ])('given %s, when read, then they say what objects by key say', (_, world) => {
    expect(observedOf(world)).toEqual(observedOf(asObject));
    expect(observedOf(asObject).hosts.get('vps')).toEqual({
      node: { status: 'online', condition: 'well', seenAt: null, diskPressure: true },
      services: new Map(
        ['web', 'a/b'].map((name) => [
          name,
          { status: 'ok', condition: 'well', seenAt: null, trigger: null },
        ]),
      ),
      deployments: new Map([['web', { failures: 1, lastFailedAt: 5000 }]]),
      incidents: [{ id: 'i1', service: 'web', type: 'x', occurrences: 3 }],
    });
  });

  test('given no services.json, when read, then nobody can say what runs', () => {
    expect(
      observedOf({ nodes: { vps: 'up' }, services: null }).hosts.get('vps')?.servicesKnown,
    ).toBe(false);
    expect(observedOf({ nodes: { vps: 'up' } }).hosts.get('vps')).not.toHaveProperty(
      'servicesKnown',
    );
  });

  test.each<[JsonValue, boolean]>([
    ['high', true],
    ['critical', true],
    [true, true],
    ['normal', false],
    [null, false],
    [false, false],
    [95, false],
  ])('given disk_pressure %j, when read, then it is %s', (disk_pressure, diskPressure) => {
    expect(nodeOf({ status: 'up', disk_pressure })).toMatchObject({ diskPressure });
  });
});

describe('aliases', () => {
  const desired = desiredOf({ vps: ['web'] }, { aliases: { saturn: 'vps', vps1: 'vps' } });
  test('given entries under an alias, when read, then they are the host’s', () => {
    const observed = observedOf(
      {
        nodes: { saturn: 'up' },
        services: { 'saturn/web': 'up' },
        incidents: { i: { node: 'saturn', service: 'saturn', type: 'x' } },
        deployments: { d: { node: 'vps1', service: 'web', status: 'failed' } },
      },
      desired,
    );
    expect([...observed.hosts.keys()]).toEqual(['vps']);
    expect(observed.hosts.get('vps')).toMatchObject({
      node: { condition: 'well' },
      incidents: [{ service: null }],
    });
  });

  test('given entries under both names, when read, then the own name counts; of aliases the newer', () => {
    const nodes = {
      saturn: 'down',
      vps: { status: 'up', last_seen: seconds(NOW) - 60 },
      vps1: 'down',
    };
    for (const order of [nodes, Object.fromEntries(Object.entries(nodes).toReversed())])
      expect(observedOf({ nodes: order }, desired).hosts.get('vps')?.node).toMatchObject({
        condition: 'well',
      });
    const services = { 'saturn/web': { status: 'down', checked_at: 5 }, 'vps1/web': 'up' };
    for (const order of [services, Object.fromEntries(Object.entries(services).toReversed())])
      expect(
        observedOf({ services: order }, desired).hosts.get('vps')?.services.get('web'),
      ).toMatchObject({ status: 'up' });
  });
});

describe('triggers', () => {
  test('given entries under both names, when one names an incident, then it explains nothing of the other', () => {
    const desired = desiredOf({ vps: ['web'] }, { aliases: { saturn: 'vps' } });
    const services: JsonValue = {
      'saturn/web': { status: 'down', incidents: ['i1'] },
      'vps/web': 'down',
    };
    const incidents = { i1: { type: 'containers_not_running' } };
    for (const order of [services, Object.fromEntries(Object.entries(services).toReversed())]) {
      const { hosts } = observedOf({ services: order, incidents }, desired);
      expect(hosts.get('vps')?.services.get('web')).toMatchObject({ trigger: null });
    }
  });

  test.each<[string, JsonValue, string | null]>([
    ['its trigger', { trigger: 'mqtt_unreachable', reason: 'other' }, 'mqtt_unreachable'],
    ['its reason', { reason: 'containers_not_running' }, 'containers_not_running'],
    ['its last event', { last_event: { type: 'healthcheck_failed' } }, 'healthcheck_failed'],
    [
      'no sentence',
      { reason: 'exit code 137', last_event_type: 'service_unhealthy' },
      'service_unhealthy',
    ],
    ['the incident that it names', { active_incidents: ['i0', 'i1'] }, 'containers_not_running'],
    ['nothing of an incident that is over', { incident_id: 'i2' }, null],
    ['nothing', {}, null],
  ])(
    'given a service that is ill, when read, then what made it ill is %s',
    (_, fields, trigger) => {
      const incidents = {
        i1: { type: 'containers_not_running', status: 'active' },
        i2: { type: 'containers_not_running', status: 'resolved' },
      };
      const entry = { status: 'unhealthy', ...(fields as object) } as JsonValue;
      expect(serviceOf(entry, { incidents })).toMatchObject({ trigger });
    },
  );

  test('given a service that is well, when it names a last event, then that made nothing ill', () => {
    expect(serviceOf({ status: 'ok', trigger: 'containers_not_running' })).toMatchObject({
      trigger: null,
    });
  });
});

describe('incidents and deployments', () => {
  test.each<[JsonValue, boolean]>([
    [{ status: 'active' }, true],
    [{ status: 'OPEN' }, true],
    [{}, true],
    [{ resolved_at: 5 }, false],
    [{ status: 'resolved' }, false],
    [{ status: 'whatever' }, false],
  ])('given the incident %j, when read, then whether it is active is %s', (fields, isActive) => {
    const incidents = { i: { node: 'vps', ...(fields as object) } } as JsonValue;
    expect(observedOf({ incidents }).hosts.get('vps')?.incidents.length ?? 0).toBe(
      isActive ? 1 : 0,
    );
  });

  const attempts = (...list: [status: string, at?: number | string][]): JsonValue =>
    list.map(([status, at]) => ({
      node: 'vps',
      service: 'web',
      status,
      ...(at !== undefined && { completed_at: at }),
    }));
  test.each<[string, JsonValue, number]>([
    ['failures alone', attempts(['failed', 1], ['failed', 2]), 2],
    [
      'failures since the last that went well',
      attempts(['failed', 4], ['completed', 3], ['failed', 1], ['error', 5]),
      2,
    ],
    ['one that went well last', attempts(['failed', 1], ['success', 2]), 0],
    ['one that went well at the same time', attempts(['failed', 2], ['success', 2]), 0],
    ['nothing that has ended', attempts(['running', 1], ['pending'], ['cancelled', 3]), 0],
    ['failures without times', attempts(['failed'], ['failed']), 2],
    ['a failure without a time before one that went well', attempts(['failed'], ['ok', 1]), 0],
    [
      'one entry for several',
      [{ node: 'vps', service: 'web', status: 'failed', consecutive_failures: 3 }],
      3,
    ],
    ['an entry by host and service', { 'vps/web': { status: 'failed' } }, 1],
  ])(
    'given %s, when read in any order, then so many failed in a row',
    (_, deployments, failures) => {
      for (const order of [
        deployments,
        Array.isArray(deployments) ? deployments.toReversed() : deployments,
      ])
        expect(
          observedOf({ deployments: order }).hosts.get('vps')?.deployments.get('web')?.failures ??
            0,
        ).toBe(failures);
    },
  );
});

describe('identity', () => {
  const world = {
    nodes: { vps: 'up', nas: 'up' },
    services: { 'vps/web': 'up', 'nas/db': 'up' },
    incidents: { i: { node: 'nas', service: 'db' } },
    deployments: { d: { node: 'nas', service: 'db', status: 'failed' } },
  };
  test('given a world that is as it was, when read again, then each host is the same object', () => {
    const before = observedOf(world);
    const after = observedOf(structuredClone(world), undefined, before);
    expect(changedHosts(before, after)).toEqual([]);
    expect(
      [...after.hosts.values()].every((host) => [...before.hosts.values()].includes(host)),
    ).toBe(true);
  });

  test.each<[string, object, string[]]>([
    ['a status', { services: { 'vps/web': 'down', 'nas/db': 'up' } }, ['vps']],
    ['a time', { nodes: { vps: { status: 'up', last_seen: 5 }, nas: 'up' } }, ['vps']],
    [
      'disk pressure',
      { nodes: { vps: { status: 'up', disk_pressure: 'high' }, nas: 'up' } },
      ['vps'],
    ],
    ['a host that is gone', { nodes: { nas: 'up' }, services: { 'nas/db': 'up' } }, ['vps']],
    ['an incident', { incidents: {} }, ['nas']],
    ['a deployment', { deployments: {} }, ['nas']],
    ['no services.json', { services: null }, ['nas', 'vps']],
  ])('given %s, when read again, then whose it is has changed', (_, change, changed) => {
    const before = observedOf(world);
    expect(changedHosts(before, observedOf({ ...world, ...change }, undefined, before))).toEqual(
      changed,
    );
  });
});

describe('anything', () => {
  const name = fc.constantFrom(
    'vps',
    'nas',
    'saturn',
    'vps/web',
    'nas/vps',
    '__proto__',
    'constructor',
    '/',
    '',
    'a/b/c',
    'nodes',
    'services',
  );
  const word = fc.constantFrom<JsonValue>(
    'up',
    'down',
    'active',
    'resolved',
    'failed',
    'ok',
    5,
    -1,
    1e300,
    null,
    true,
    'high',
    '2026-11-21',
    'vps',
    'web',
  );
  const fields = fc.constantFrom(
    'status',
    'node',
    'service',
    'id',
    'last_seen',
    'updated_at',
    'type',
    'trigger',
    'last_event',
    'incidents',
    'disk_pressure',
    'completed_at',
    'failures',
    'occurrence_count',
    'resolved_at',
    '__proto__',
  );
  const entry = fc.oneof(
    { weight: 4, arbitrary: fc.dictionary(fields, word) },
    word,
    fc.jsonValue({ maxDepth: 2 }),
  );
  const content = fc.oneof(
    { weight: 3, arbitrary: fc.dictionary(name, entry) },
    { weight: 2, arbitrary: fc.array(entry, { maxLength: 5 }) },
    fc.jsonValue({ maxDepth: 3 }),
  ) as fc.Arbitrary<JsonValue>;
  const world = fc.record({
    nodes: content,
    services: content,
    deployments: content,
    incidents: content,
  });
  const aliases = new Map([
    ['saturn', 'vps'],
    ['__proto__', 'nas'],
  ]);
  const reversed = (value: JsonValue): JsonValue =>
    Array.isArray(value)
      ? value.toReversed()
      : typeof value === 'object' && value !== null
        ? Object.fromEntries(Object.entries(value).toReversed())
        : value;
  const read = (files: Record<string, JsonValue>, before?: Observed): Observed =>
    observeWorld(
      Object.fromEntries(
        Object.entries(files).map(([file, given]) => [file, { content: given, mtimeMs: NOW }]),
      ),
      aliases,
      before,
    );

  test('given any JSON, when read, then nothing is thrown, order does not count, and once more is the same', () => {
    fc.assert(
      fc.property(world, (files) => {
        const observed = read(files);
        const turned = Object.fromEntries(
          Object.entries(files).map(([file, given]) => [file, reversed(given)]),
        );
        expect(read(turned)).toEqual(observed);
        const again = read(structuredClone(files), observed);
        expect(changedHosts(observed, again)).toEqual([]);
        for (const { node, services, incidents } of observed.hosts.values()) {
          for (const { seenAt, status } of [...(node ? [node] : []), ...services.values()]) {
            expect(seenAt === null || (seenAt >= 0 && seenAt <= NOW)).toBe(true);
            expect(status.length).toBeLessThanOrEqual(60);
          }
          expect(incidents.map(({ id }) => id)).toEqual(incidents.map(({ id }) => id).sort());
        }
      }),
      { numRuns: 3000 },
    );
  });
});

/** One file of the inventory: what is taken, and what is told of one that is wrong. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readHostServices, readTopology } from '../../machines/desired.ts';
import type { HostFile } from '../../machines/desired.ts';

function hostOf(content: unknown): HostFile {
  const read = readHostServices('vps', content);
  if (!read.ok) throw new Error(JSON.stringify(read.problems));
  return read.host;
}

const problemsOf = (content: unknown, host = 'vps'): string[] => {
  const read = readHostServices(host, content);
  return read.ok ? [] : read.problems.map(({ pointer, message }) => `${pointer}: ${message}`);
};

describe('hosts/<host>/services.yaml', () => {
  test.each([
    ['a list of names', ['web', 'db']],
    ['a list of records', [{ name: 'web', exposure: 'public' }, { name: 'db' }]],
    ['a mixed list', ['web', { name: 'db' }]],
    ['a map by name', { web: null, db: { port: 5432 } }],
  ])(
    'given %s, when it is read, then each service is watched and none is critical',
    (_, services) => {
      const host = hostOf({ services, owner: 'me' });
      expect([...host.services.values()]).toEqual(
        ['web', 'db'].map((name) => ({ name, monitored: true, critical: false, needs: [] })),
      );
      expect([host.monitored, host.critical]).toEqual([null, null]);
    },
  );

  test('given every key of ours, when it is read, then it says what they say', () => {
    const host = hostOf({
      monitor: true,
      critical: false,
      services: [
        { name: 'web', monitor: false, critical: true, depends_on: ['db', 'nas/store'] },
        { name: 'db', depends_on: 'disk' },
      ],
    });
    expect([host.monitored, host.critical]).toEqual([true, false]);
    expect([...host.services.values()]).toEqual([
      {
        name: 'web',
        monitored: false,
        critical: true,
        needs: [
          { text: 'db', pointer: '/services/0/depends_on/0' },
          { text: 'nas/store', pointer: '/services/0/depends_on/1' },
        ],
      },
      {
        name: 'db',
        monitored: true,
        critical: false,
        needs: [{ text: 'disk', pointer: '/services/1/depends_on' }],
      },
    ]);
  });

  test('given names that objects have of their own, when it is read, then they are names', () => {
    const content: unknown = JSON.parse('{"services": {"__proto__": {}, "constructor": null}}');
    expect([...hostOf(content).services.keys()]).toEqual(['__proto__', 'constructor']);
  });

  test.each([
    ['nothing at all', null, ': the file must be a map, not nothing'],
    ['a list', ['web'], ': the file must be a map, not a list'],
    ['no services', { owner: 'me' }, ': the file does not say which services run'],
    ['a cut-off file', { services: null }, '/services: the file does not say which services run'],
    [
      'services that are a text',
      { services: 'web' },
      "/services: services must be a list or a map, not the text 'web'",
    ],
    [
      'a number for a name',
      { services: [8080] },
      '/services/0: a service must be a name or a map, not 8080',
    ],
    ['a record without a name', { services: [{ port: 1 }] }, '/services/0: a service needs a name'],
    [
      'a name that is a number',
      { services: [{ name: 7 }] },
      '/services/0/name: a name must be a text, not 7',
    ],
    [
      'a name of two lines',
      { services: ['a\nb'] },
      "/services/0: 'a b' cannot be the name of a service",
    ],
    ['an empty name', { services: { '': {} } }, "/services/: '' cannot be the name of a service"],
    [
      'the same name twice',
      { services: ['a', { name: 'a' }] },
      "/services/1: 'a' stands there twice",
    ],
    [
      'a word for a flag',
      { services: [{ name: 'a', monitor: 'no' }] },
      "/services/0/monitor: monitor must be true or false, not the text 'no'",
    ],
    [
      'a flag of the host',
      { services: [], critical: 1 },
      '/critical: critical must be true or false, not 1',
    ],
    [
      'a map for a dependency',
      { services: { 'a/b': { depends_on: { db: {} } } } },
      '/services/a~1b/depends_on: depends_on takes a name or a list of names, not a map',
    ],
    [
      'a number among dependencies',
      { services: [{ name: 'a', depends_on: ['b', 2] }] },
      '/services/0/depends_on/1: depends_on takes a name or a list of names, not 2',
    ],
    [
      'too many services',
      { services: Array.from({ length: 501 }, (_, i) => `s${i}`) },
      '/services: there are 501 services',
    ],
  ])('given %s, when it is read, then it is refused with its place', (_, content, problem) => {
    expect(problemsOf(content)).toEqual([problem]);
  });

  test('given several things that are wrong, when it is read, then each is told with a way to mend it', () => {
    const read = readHostServices('vps', {
      monitor: 'off',
      services: [1, { name: 'a', critical: 2 }],
    });
    expect(read.ok).toBe(false);
    const problems = read.ok ? [] : read.problems;
    expect(problems.map(({ pointer }) => pointer)).toEqual([
      '/monitor',
      '/services/0',
      '/services/1/critical',
    ]);
    expect(
      problems.every(({ file, fix }) => file === 'hosts/vps/services.yaml' && fix.length > 5),
    ).toBe(true);
  });

  test('given a host of which nothing is to be said, when it names no services, then that is enough', () => {
    expect(hostOf({ monitor: false }).services.size).toBe(0);
    expect(hostOf({ services: [] }).services.size).toBe(0);
  });

  test('given a host whose name cannot be one, when it is read, then it is refused', () => {
    for (const name of ['', 'a/b', 'a\u202eb', 'x'.repeat(201)])
      expect(problemsOf({ services: [] }, name)).toHaveLength(1);
  });

  test('given any JSON, when it is read, then it is content or problems, and nothing is thrown', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (content, services) => {
        for (const given of [
          content,
          { services },
          { services: [services] },
          { services: { a: services } },
        ]) {
          const read = readHostServices('vps', given);
          if (!read.ok) expect(read.problems.length).toBeGreaterThan(0);
        }
        expect(() => readTopology(content)).not.toThrow();
        expect(() => readTopology({ nodes: services })).not.toThrow();
      }),
      { numRuns: 2000 },
    );
  });
});

describe('topology.yaml', () => {
  const hostsOf = (content: unknown): unknown => {
    const read = readTopology(content);
    return read.ok
      ? [...read.topology.hosts].map(([name, { monitored }]) => [name, monitored])
      : read.problems.map(({ pointer }) => pointer);
  };

  test.each([
    ['a map under nodes', { nodes: { vps: null, nas: { monitor: false } } }],
    ['a list under nodes', { nodes: ['vps', { name: 'nas', monitor: false }] }],
    ['a list under hosts', { hosts: [{ hostname: 'vps' }, { id: 'nas', monitor: false }] }],
    ['words in place of records', { nodes: { vps: 'public ingress', nas: { monitor: false } } }],
  ])('given %s, when it is read, then its hosts are known', (_, content) => {
    expect(hostsOf(content)).toEqual([
      ['vps', null],
      ['nas', false],
    ]);
  });

  test.each([
    ['nothing', null, ['']],
    ['other keys alone', { version: 2 }, ['']],
    ['a text for hosts', { nodes: 'vps' }, ['/nodes']],
    ['a number for a host', { nodes: { vps: 1, nas: {} } }, ['/nodes/vps']],
    ['a host twice', { hosts: ['vps', 'vps'] }, ['/hosts/1']],
    ['a path for a name', { nodes: ['../vps'] }, ['/nodes/0']],
    [
      'a flag and an alias',
      { nodes: { vps: { monitor: 0, aliases: [7] } } },
      ['/nodes/vps/monitor', '/nodes/vps/aliases/0'],
    ],
  ])('given %s, when it is read, then it is refused with its places', (_, content, pointers) => {
    expect(hostsOf(content)).toEqual(pointers);
  });
});

/** The inventory as a whole: who is desired, who depends on whom, and what a changed file changes. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Fleet, buildDesired } from '../../machines/desired-fleet.ts';
import type { InventoryParts } from '../../machines/desired-fleet.ts';
import { readHostServices, readTopology } from '../../machines/desired.ts';
import type { HostFile, TopologyFile } from '../../machines/desired.ts';
import type { Desired } from '../../machines/supervision.ts';

const hostFile = (host: string, services: unknown): HostFile => {
  const read = readHostServices(host, { services });
  if (!read.ok) throw new Error(JSON.stringify(read.problems));
  return read.host;
};
const topologyFile = (content: unknown): TopologyFile => {
  const read = readTopology(content);
  if (!read.ok) throw new Error(JSON.stringify(read.problems));
  return read.topology;
};
const build = (
  services: Record<string, unknown>,
  more: { topology?: unknown; aliases?: [string, string][] } = {},
): ReturnType<typeof buildDesired> =>
  buildDesired({
    hosts: Object.entries(services).map(([host, list]) => ({ host, content: { services: list } })),
    aliases: new Map(more.aliases),
    ...(more.topology !== undefined && { topology: more.topology }),
  });
const needs = (desired: Desired, host: string, service: string): readonly string[] | undefined =>
  desired.hosts.get(host)?.services.get(service)?.dependsOn;
const places = (problems: readonly { file: string; pointer: string }[]): string[] =>
  problems.map(({ file, pointer }) => `${file}${pointer}`);

describe('hosts', () => {
  test('given hosts of the topology and of files, when assembled, then all are desired, and the host file beats the topology', () => {
    const { desired, problems } = buildDesired({
      topology: {
        nodes: { vps: { monitor: false, critical: false }, nas: { critical: false }, pi: {} },
      },
      hosts: [
        { host: 'vps', content: { monitor: true, services: ['web'] } },
        { host: 'edge', content: { services: [] } },
      ],
    });
    expect(problems).toEqual([]);
    const flags = [...desired.hosts.values()]
      .map(({ name, monitored, critical }) => `${name} ${monitored} ${critical}`)
      .sort();
    expect(flags).toEqual(['edge true true', 'nas true false', 'pi true true', 'vps true false']);
  });

  test('given one bad file, when assembled, then its problems are told and the other hosts are there', () => {
    const { desired, problems } = build({ vps: 'web', nas: ['store'] }, { topology: { nodes: 3 } });
    expect([...desired.hosts.keys()]).toEqual(['nas']);
    expect(places(problems)).toEqual(['hosts/vps/services.yaml/services', 'topology.yaml/nodes']);
  });
});

describe('aliases', () => {
  test('given aliases of both kinds, when assembled, then the given ones beat those of the topology', () => {
    const topology = { nodes: { vps: { aliases: ['saturn', 'vps'] }, nas: { aliases: 'box' } } };
    const { desired, problems } = build({}, { topology, aliases: [['saturn', 'nas']] });
    expect(Object.fromEntries(desired.aliases)).toEqual({ saturn: 'nas', box: 'nas' });
    expect(problems).toEqual([]);
  });

  test('given an alias that is a host, or is one of two hosts, or of none, when assembled, then it is told and does not count', () => {
    const topology = { nodes: { vps: { aliases: ['nas', 'x', 'a/b'] }, nas: { aliases: ['x'] } } };
    const { desired, problems } = build(
      {},
      {
        topology,
        aliases: [
          ['vps', 'nas'],
          ['y', 'gone'],
        ],
      },
    );
    expect(Object.fromEntries(desired.aliases)).toEqual({ y: 'gone' });
    expect(problems.map(({ message }) => message)).toEqual([
      "'gone' is no host of the inventory",
      "'vps' is the name of a host",
      "'x' is an alias of several hosts, so that it is one of none",
      "'nas' is the name of a host",
      "'a/b' cannot be a name",
    ]);
  });

  test('given an alias, when a host of that name comes, then it is an alias no more', () => {
    const fleet = new Fleet();
    const topology = topologyFile({ nodes: { vps: { aliases: ['old'] } } });
    const aliases = new Map<string, string>();
    const web = hostFile('vps', [{ name: 'web', depends_on: 'old/db' }, 'db']);
    const before = fleet.update({ topology, hosts: new Map([['vps', web]]), aliases });
    expect(needs(before.desired, 'vps', 'web')).toEqual(['vps/db']);
    const old = hostFile('old', ['db']);
    const after = fleet.update({
      topology,
      hosts: new Map([
        ['vps', web],
        ['old', old],
      ]),
      aliases,
    });
    expect(after.desired.aliases.size).toBe(0);
    expect(needs(after.desired, 'vps', 'web')).toEqual(['old/db']);
    expect(after.changed).toEqual(['old', 'vps']);
  });
});

describe('dependencies', () => {
  test('given names in every form, when assembled, then they are of the same host, of the named one, or the only one of the fleet', () => {
    const { desired, problems } = build(
      {
        vps: [{ name: 'web', depends_on: ['db', 'box/store', 'mqtt'] }, 'db'],
        nas: ['store', 'db'],
        pi: ['mqtt', { name: 'ha', depends_on: 'a/b' }, 'a/b'],
      },
      { topology: { nodes: { nas: { aliases: ['box'] } } } },
    );
    expect(problems).toEqual([]);
    expect(needs(desired, 'vps', 'web')).toEqual(['nas/store', 'pi/mqtt', 'vps/db']);
    expect(needs(desired, 'pi', 'ha')).toEqual(['pi/a/b']);
    expect(Object.fromEntries(desired.dependants)).toEqual({
      'vps/db': ['vps/web'],
      'nas/store': ['vps/web'],
      'pi/mqtt': ['vps/web'],
      'pi/a/b': ['pi/ha'],
    });
  });

  test('given a name that is nowhere or in several places, when assembled, then it is told, and the others count', () => {
    const { desired, problems } = build({
      vps: [{ name: 'web', depends_on: ['db', 'gone', 'nas/db'] }],
      nas: ['db'],
      pi: ['db'],
    });
    expect(needs(desired, 'vps', 'web')).toEqual(['nas/db']);
    expect(problems.map(({ pointer, message }) => `${pointer} ${message}`)).toEqual([
      "/services/0/depends_on/0 'db' is a service of several hosts (nas, pi)",
      "/services/0/depends_on/1 'gone' is no service of vps, nor of any other host",
    ]);
  });

  test('given circles, when assembled, then each is told once, none of its links counts, and the links into it do', () => {
    const { desired, problems } = build({
      vps: [
        { name: 'a', depends_on: 'b' },
        { name: 'b', depends_on: ['nas/c', 'free'] },
        { name: 'self', depends_on: 'self' },
        { name: 'free' },
        { name: 'outside', depends_on: 'a' },
      ],
      nas: [{ name: 'c', depends_on: 'vps/a' }],
    });
    expect(needs(desired, 'vps', 'a')).toEqual([]);
    expect(needs(desired, 'vps', 'b')).toEqual(['vps/free']);
    expect(needs(desired, 'vps', 'self')).toEqual([]);
    expect(needs(desired, 'vps', 'outside')).toEqual(['vps/a']);
    expect(needs(desired, 'nas', 'c')).toEqual([]);
    expect(problems.map(({ file, message }) => `${file}: ${message}`)).toEqual([
      'hosts/nas/services.yaml: nas/c, vps/a, vps/b depend on one another: none of these links counts',
      'hosts/vps/services.yaml: vps/self depends on itself: none of these links counts',
    ]);
  });

  test('given a circle of thousands, when assembled, then it is found without going deep', () => {
    const ring = (n: number): Record<string, unknown> =>
      Object.fromEntries(
        Array.from({ length: n }, (_, i) => [
          `h${i}`,
          Array.from({ length: 10 }, (_service, s) => ({
            name: `s${s}`,
            depends_on: s < 9 ? `s${s + 1}` : `h${(i + 1) % n}/s0`,
          })),
        ]),
      );
    const { desired, problems } = build(ring(2000));
    expect(desired.dependants.size).toBe(0);
    expect(problems).toHaveLength(1);
  });
});

describe('a changed file', () => {
  const parts = (hosts: Record<string, HostFile>): InventoryParts => ({
    topology: null,
    hosts: new Map(Object.entries(hosts)),
    aliases: NO_ALIASES,
  });
  const NO_ALIASES = new Map<string, string>();

  test('given a fleet, when a file says the same in other words, then nothing changed, object for object', () => {
    const fleet = new Fleet();
    const nas = hostFile('nas', ['db']);
    const before = fleet.update(parts({ vps: hostFile('vps', ['web']), nas }));
    const after = fleet.update(parts({ vps: hostFile('vps', { web: { owner: 'me' } }), nas }));
    expect(after.changed).toEqual([]);
    expect(after.desired.hosts.get('vps')).toBe(before.desired.hosts.get('vps'));
    expect(after.desired).toBe(before.desired);
  });

  test('given a name asked for elsewhere, when its only owner goes, then the host that asked changed too', () => {
    const fleet = new Fleet();
    const vps = hostFile('vps', [{ name: 'web', depends_on: 'db' }]);
    const pi = hostFile('pi', ['x']);
    const before = fleet.update(parts({ vps, pi, nas: hostFile('nas', ['db']) }));
    const after = fleet.update(parts({ vps, pi }));
    expect(after.changed).toEqual(['nas', 'vps']);
    expect(after.desired.hosts.get('pi')).toBe(before.desired.hosts.get('pi'));
    expect(after.problems).toHaveLength(1);
    expect(after.desired.dependants.size).toBe(0);
    expect(before.desired.dependants.get('nas/db')).toEqual(['vps/web']); // as it was handed out
  });

  test('given the caller’s own map, when it is changed in place, then the change is seen', () => {
    const fleet = new Fleet();
    const hosts = new Map([['vps', hostFile('vps', ['web'])]]);
    const same = { topology: null, hosts, aliases: NO_ALIASES };
    fleet.update(same);
    hosts.set('vps', hostFile('vps', ['other']));
    expect(fleet.update(same).changed).toEqual(['vps']);
  });

  const NAMES = ['a', 'b', 'c'];
  const HOSTS = ['h1', 'h2', 'h3', 'h4'];
  const service = fc.record({
    depends_on: fc.array(
      fc.oneof(
        fc.constantFrom(...NAMES),
        fc
          .tuple(fc.constantFrom(...HOSTS, 'other'), fc.constantFrom(...NAMES))
          .map((at) => at.join('/')),
      ),
      { maxLength: 3 },
    ),
  });
  const file = fc.dictionary(fc.constantFrom(...NAMES), service, { maxKeys: 3 });
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ host: fc.constantFrom(...HOSTS), file: fc.option(file) }) },
    fc.record({
      topology: fc.option(
        fc.record({
          nodes: fc.dictionary(
            fc.constantFrom(...HOSTS),
            fc.record({ aliases: fc.array(fc.constantFrom('other', 'h1', 'x'), { maxLength: 2 }) }),
          ),
        }),
      ),
    }),
  );

  test('given any changes, when a fleet follows them, then it says what a new one says, and names whom they changed', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
        const fleet = new Fleet();
        let topology: TopologyFile | null = null;
        const hosts = new Map<string, HostFile>();
        let before: Desired | undefined;
        for (const what of steps) {
          if ('topology' in what)
            topology = what.topology === null ? null : topologyFile(what.topology);
          else if (what.file === null) hosts.delete(what.host);
          else hosts.set(what.host, hostFile(what.host, what.file));
          const now = { topology, hosts, aliases: NO_ALIASES };
          const { desired, problems, changed } = fleet.update(now);
          const fresh = new Fleet().update({ ...now, hosts: new Map([...hosts].toReversed()) });
          expect(desired).toEqual(fresh.desired);
          expect(problems).toEqual(fresh.problems);
          const names = new Set([...desired.hosts.keys(), ...(before?.hosts.keys() ?? [])]);
          const moved = [...names].filter(
            (name) => desired.hosts.get(name) !== before?.hosts.get(name),
          );
          expect(changed).toEqual(moved.sort());
          before = desired;
        }
      }),
      { numRuns: 1500 },
    );
  });

  test('given any inventory, when assembled, then nothing depends on itself, by whatever way', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...HOSTS), file), (inventory) => {
        const { desired } = build(inventory);
        const open = new Set<string>();
        const done = new Set<string>();
        const walk = (key: string): void => {
          expect(open.has(key)).toBe(false);
          if (done.has(key)) return;
          open.add(key);
          const [host = '', name = ''] = key.split('/');
          for (const need of needs(desired, host, name) ?? []) walk(need);
          open.delete(key);
          done.add(key);
        };
        for (const [host, { services }] of desired.hosts)
          for (const name of services.keys()) walk(`${host}/${name}`);
        for (const [target, keys] of desired.dependants)
          for (const key of keys) {
            const [host = '', name = ''] = key.split('/');
            expect(needs(desired, host, name)).toContain(target);
          }
      }),
      { numRuns: 1500 },
    );
  });
});

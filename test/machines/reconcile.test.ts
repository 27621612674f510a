/** A look as a whole: counts, doubt, the word for it all, and what it takes to say the same thing again. */
import { describe, expect, test } from 'vitest';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { MAX_DRIFTS } from '../../machines/reconcile-changes.ts';
import { Reconciler, reconcile } from '../../machines/reconcile.ts';
import type { Reconciled, Stands } from '../../machines/reconcile.ts';
import type { DriftStatus, Observed } from '../../machines/supervision.ts';
import {
  NOW,
  POLICY,
  STALE_MS,
  desiredOf,
  heeded,
  look,
  observedOf,
  standingOf,
  stands,
  wellWorld,
} from '../support/homelab-sketch.ts';
import type { WorldSketch } from '../support/homelab-sketch.ts';

const desired = desiredOf({
  vps: ['web', { name: 'db', critical: true }, { name: 'toy', monitor: false }],
  nas: { critical: false, services: ['store'] },
  off: { monitor: false, services: ['any'] },
});
const well = wellWorld(desired);
const world = (
  nodes: JsonObject,
  services: JsonObject = {},
  more: WorldSketch = {},
): WorldSketch => ({
  nodes: { ...well.nodes, ...nodes },
  services: { ...well.services, ...services },
  ...more,
});

describe('counts', () => {
  test('given hosts and services of all kinds, when counted, then each monitored one is in one column', () => {
    const services = {
      ...well.services,
      'vps/web': 'down',
      'vps/ghost': 'up',
      'ghost/a': 'up',
      'vps/vps': 'up',
    };
    const { counts } = look(desired, {
      nodes: { ...well.nodes, nas: 'down', ghost: 'up' },
      services,
    });
    expect(counts).toEqual({
      nodes: { desired: 2, online: 1, offline: 1, unknown: 0 },
      services: { desired: 5, healthy: 1, unhealthy: 1, missing: 0, unknown: 1, unmonitored: 2 },
      unmanaged: 3,
    });
  });
});

describe('what nobody knows', () => {
  test('given hosts and services of which nobody says how they are, then they are named, hosts first', () => {
    const services = { ...well.services, 'vps/web': 'somehow', 'vps/toy': 'somehow' };
    const { unknown, summary } = look(desired, { nodes: { vps: 'up', off: 'somehow' }, services });
    expect(unknown).toEqual(['nas', 'vps/web']);
    expect(summary).toBe('degraded');
  });

  test('given an offline host, then nothing that runs there is named beside it', () => {
    expect(look(desired, world({ nas: 'down' })).unknown).toEqual([]);
  });

  test('given many of them, then the first by name are, whatever the order they come in', () => {
    const names = Array.from({ length: 30 }, (_, i) => `h${String(i).padStart(2, '0')}`);
    const of = (hosts: string[]): string[] =>
      look(desiredOf(Object.fromEntries(hosts.map((host) => [host, []]))), {}).unknown;
    expect(of(names)).toEqual(names.slice(0, 20));
    expect(of(names.toReversed())).toEqual(of(names));
  });
});

describe('the word for it all', () => {
  const redeploying = (status: DriftStatus): Stands[] => [
    { ...stands({ host: 'vps', service: 'web', kind: 'unhealthy_service' }), status },
  ];
  test.each<[string, WorldSketch, Stands[], string]>([
    ['all is well', world({}), [], 'nominal'],
    ['a service is ill', world({}, { 'vps/web': 'down' }), [], 'degraded'],
    ['a critical service is ill', world({}, { 'vps/db': 'down' }), [], 'unstable'],
    ['a host is offline', world({ vps: 'down' }), [], 'unstable'],
    ['a host that is not critical is offline', world({ nas: 'down' }), [], 'degraded'],
    [
      'a recommendation is blocked',
      world(
        {},
        {},
        { deployments: { a: { node: 'vps', service: 'web', status: 'failed', failures: 2 } } },
      ),
      [],
      'unstable',
    ],
    ['a proposal waits', world({}, { 'vps/web': 'down' }), redeploying('proposed'), 'degraded'],
    ['an action runs', world({}, { 'vps/web': 'down' }), redeploying('acting'), 'reconciling'],
    ['one has run', world({}, { 'vps/web': 'down' }), redeploying('verifying'), 'reconciling'],
    ['one did not help', world({}, { 'vps/web': 'down' }), redeploying('escalated'), 'unstable'],
    [
      'an action runs for something critical',
      world({}, { 'vps/db': 'down' }),
      [{ ...stands({ host: 'vps', service: 'db', kind: 'unhealthy_service' }), status: 'acting' }],
      'reconciling',
    ],
    [
      'an action runs beside something critical',
      world({}, { 'vps/web': 'down', 'vps/db': 'down' }),
      redeploying('acting'),
      'unstable',
    ],
    [
      'an action runs beside something that is not',
      world({}, { 'vps/web': 'down', 'nas/store': 'down' }),
      redeploying('acting'),
      'reconciling',
    ],
    ['something is unknown', world({}, { 'vps/web': 'peculiar' }), [], 'degraded'],
    ['the observer is silent', world({}, {}, { writtenAt: NOW - STALE_MS - 1 }), [], 'degraded'],
    ['there never was an observer', { nodes: {}, services: null }, [], 'degraded'],
    ['what is not monitored is ill', world({ off: 'down' }, { 'vps/toy': 'down' }), [], 'nominal'],
  ])('given that %s, when looked at, then it is %4$s', (_, sketch, standing, summary) => {
    expect(look(desired, sketch, standing).summary).toBe(summary);
  });

  test('given an observer that stopped, when looked at, then it is told since when it has been silent', () => {
    const writtenAt = NOW - STALE_MS - 1;
    expect(look(desired, world({}, {}, { writtenAt })).staleSince).toBe(writtenAt);
    expect(look(desired, world({}, {}, { writtenAt: writtenAt + 1 })).staleSince).toBeNull();
  });
});

describe('a world of a time that has not come', () => {
  const AHEAD_MS = 300_000;
  test('given clocks that are some minutes apart, when looked at, then that is no matter', () => {
    const found = look(desired, world({}, { 'vps/web': 'down' }, { writtenAt: NOW + AHEAD_MS }));
    expect([found.drifts.length, found.staleSince]).toEqual([1, null]);
  });

  test('given more than that, when looked at, then nothing is known, nothing opens, and what stands goes on standing', () => {
    const writtenAt = NOW + AHEAD_MS + 1;
    const ahead = world({}, { 'vps/web': 'down' }, { writtenAt });
    const found = look(desired, ahead, [
      stands({ host: 'vps', service: 'db', kind: 'missing_service', critical: true }),
    ]);
    expect(found.drifts.map(({ drift }) => drift.key)).toEqual(['vps/db']);
    expect(found.changes).toEqual({ opened: [], changed: [], closed: [] });
    expect([found.staleSince, found.counts.nodes.unknown]).toEqual([writtenAt, 2]);
  });

  test('given it has looked before, when that time comes, and goes, then it finds what a new one finds', () => {
    const reconciler = new Reconciler();
    const writtenAt = NOW + 2 * AHEAD_MS;
    const observed = observedOf(world({}, { 'vps/web': 'down' }, { writtenAt }), desired);
    const late = observedOf(world({}, { 'vps/web': 'down' }), desired, observed);
    const times = [
      NOW,
      NOW + AHEAD_MS - 1,
      NOW + AHEAD_MS,
      writtenAt + STALE_MS + 1,
      NOW - STALE_MS,
    ];
    for (const now of times)
      for (const one of [late, observed])
        expect(reconciler.look(desired, one, new Map(), POLICY, now)).toEqual(
          reconcile(desired, one, new Map(), POLICY, now),
        );
  });
});

describe('doubt', () => {
  const many = desiredOf({ vps: Array.from({ length: 30 }, (_, i) => `s${i}`) });
  const seen = (n: number): JsonObject =>
    Object.fromEntries(Array.from({ length: n }, (_, i) => [`vps/s${i}`, 'up']));
  test.each([
    [15, null],
    [
      14,
      '16 of 30 services drift: so many at once that the observer is doubted rather than the homelab',
    ],
    [
      0,
      '30 of 30 services drift: so many at once that the observer is doubted rather than the homelab',
    ],
  ])('given that %i of 30 services are seen, when looked at, then the doubt is %j', (n, doubt) => {
    const found = look(many, { nodes: { vps: 'up' }, services: seen(n) });
    expect(found.doubt).toBe(doubt);
    expect(found.changes.opened).toHaveLength(30 - n);
  });

  test('given fewer than ten, when all of them are unwell, then that says nothing about the observer', () => {
    const few = desiredOf({ vps: Array.from({ length: 9 }, (_, i) => `s${i}`) });
    const services = Object.fromEntries([...seenIds(9)].map((key) => [key, 'down']));
    expect(look(few, { nodes: { vps: 'up' }, services }).doubt).toBeNull();
  });
  const seenIds = (n: number): string[] => Object.keys(seen(n));

  test.each([
    [2, 0, null],
    [3, 1, null],
    [3, 0, /^not one of 3 services is seen/],
    [9, 0, /^not one of 9 services is seen/],
  ])(
    'given %i services, when %i of them are seen and no trace of the others, then the doubt is %s',
    (n, some, doubt) => {
      const few = desiredOf({ vps: Array.from({ length: n }, (_, i) => `s${i}`) });
      const services = { ...seen(some), 'another/service': 'up' };
      const found = look(few, { nodes: { vps: 'up' }, services });
      if (doubt === null) expect(found.doubt).toBeNull();
      else expect(found.doubt).toMatch(doubt);
    },
  );

  test('given ten hosts and more, when most are offline at once, then the observer is doubted', () => {
    const hosts = desiredOf(
      Object.fromEntries(Array.from({ length: 15 }, (_, i) => [`h${i}`, []])),
    );
    const nodes = Object.fromEntries(
      [...hosts.hosts.keys()].map((name, i) => [name, i < 10 ? 'down' : 'up']),
    );
    expect(look(hosts, { nodes }).doubt).toMatch(/^10 of 15 hosts are offline/);
  });
});

describe('bounds', () => {
  const services = Array.from({ length: 450 }, (_, i) => ({
    name: `s${String(i).padStart(3, '0')}`,
    critical: i >= 440,
  }));
  const fleet = desiredOf(
    Object.fromEntries(
      Array.from({ length: 12 }, (_, i) => [`h${String(i).padStart(2, '0')}`, services]),
    ),
  );
  const nodes = Object.fromEntries([...fleet.hosts.keys()].map((name) => [name, 'up']));

  test('given more drifts than are looked after, when looked at, then the critical ones are, then the first by key', () => {
    const found = look(fleet, { nodes });
    expect(found.drifts).toHaveLength(MAX_DRIFTS);
    expect(found.beyond).toBe(12 * 450 - MAX_DRIFTS);
    expect(found.drifts.filter(({ drift }) => drift.critical)).toHaveLength(120);
    const keys = found.drifts.map(({ drift }) => drift.key);
    expect(keys).toEqual(keys.toSorted());
    expect(keys).toContain('h11/s449');
    expect(keys).not.toContain('h11/s439');
  });

  test('given those that stand, when others come that are critical, then none that stands is taken for gone', () => {
    const first = look(fleet, { nodes });
    const offline = { ...nodes, h11: 'down' };
    const second = look(fleet, { nodes: offline }, heeded(first).values());
    expect(second.changes.closed).toEqual([]);
    expect(second.drifts).toHaveLength(MAX_DRIFTS);
  });
});

describe('a reconciler that has looked before', () => {
  const sketch = world({}, { 'vps/web': 'down' });
  test('given that nothing but time has changed, when something grows stale, then it finds what a new one finds', () => {
    const reconciler = new Reconciler();
    const observed = observedOf(
      world({ nas: { status: 'up', last_seen: (NOW - 60_000) / 1000 } }, { 'vps/web': 'down' }),
      desired,
    );
    for (const now of [
      NOW,
      NOW + STALE_MS - 60_000,
      NOW + STALE_MS - 59_999,
      NOW + STALE_MS,
      NOW + STALE_MS + 1,
      NOW,
    ]) {
      const found = reconciler.look(desired, observed, new Map(), POLICY, now);
      expect(found).toEqual(reconcile(desired, observed, new Map(), POLICY, now));
    }
  });

  test('given another policy, when it looks again, then it goes by that', () => {
    const reconciler = new Reconciler();
    const deployments: JsonValue = [{ node: 'vps', service: 'web', status: 'failed', failures: 3 }];
    const observed = observedOf(world({}, {}, { deployments }), desired);
    const opened = (deployment_failures: number): number =>
      reconciler.look(desired, observed, new Map(), { ...POLICY, deployment_failures }, NOW).changes
        .opened.length;
    expect([opened(4), opened(3), opened(4)]).toEqual([0, 1, 0]);
  });

  test('given news of which nobody says how old it is, when the observer speaks again, then it is news again', () => {
    const reconciler = new Reconciler();
    const observed = observedOf(sketch, desired);
    const [host] = observed.hosts.values();
    const silent = { ...host!, node: { ...host!.node!, seenAt: null } };
    const hosts = new Map([['vps', silent]]);
    const offline = (at: number): number =>
      reconciler.look(desired, { hosts, at }, new Map(), POLICY, NOW).counts.nodes.online;
    expect([offline(NOW - STALE_MS - 1), offline(NOW), offline(NOW - STALE_MS - 1)]).toEqual([
      0, 1, 0,
    ]);
  });

  test('given a changed dependency of another host, when it looks again, then the dependant follows', () => {
    const fleet = desiredOf({ vps: [{ name: 'web', depends_on: 'nas/store' }], nas: ['store'] });
    const reconciler = new Reconciler();
    let observed = observedOf(
      { nodes: { vps: 'up', nas: 'up' }, services: { 'nas/store': 'up' } },
      fleet,
    );
    const first = reconciler.look(fleet, observed, new Map(), POLICY, NOW);
    expect(first.changes.opened[0]?.recommendation.remedy).toBe('redeploy');
    observed = observedOf(
      { nodes: { vps: 'up', nas: 'down' }, services: { 'nas/store': 'up' } },
      fleet,
      observed,
    );
    const second = reconciler.look(fleet, observed, standingOf(first.drifts), POLICY, NOW);
    expect(second.changes.changed[0]).toMatchObject({
      drift: { blockedBy: ['nas'] },
      recommendation: { remedy: 'delayed_deployment' },
    });
  });

  describe('given what stands as it stood', () => {
    const fleet = desiredOf({ vps: [{ name: 'web', depends_on: 'nas/store' }], nas: ['store'] });
    const services = { 'nas/store': 'up', 'vps/web': 'down' };
    const blocked = stands({
      host: 'vps',
      service: 'web',
      kind: 'unhealthy_service',
      blockedBy: ['nas'],
    });
    const obstacles = ({ drifts }: Reconciled): (readonly string[])[] =>
      drifts.filter(({ drift }) => drift.key === 'vps/web').map(({ drift }) => drift.blockedBy);

    test('when a dependency of another host changes, then the dependant follows', () => {
      const reconciler = new Reconciler();
      const standing = standingOf([blocked]);
      let observed: Observed | undefined;
      const seen = ['up', 'down', 'rebooting', 'up'].map((nas) => {
        observed = observedOf({ nodes: { vps: 'up', nas }, services }, fleet, observed);
        return obstacles(reconciler.look(fleet, observed, standing, POLICY, NOW));
      });
      expect(seen).toEqual([[[]], [['nas']], [['nas']], [[]]]);
    });

    test('when it is another thing that stood, and nobody knows more, then it goes by that', () => {
      const reconciler = new Reconciler();
      const observed = observedOf({ nodes: { vps: 'up', nas: 'rebooting' }, services }, fleet);
      const free = { ...blocked, drift: { ...blocked.drift, blockedBy: [] } };
      const seen = [blocked, free, blocked].map((one) =>
        obstacles(reconciler.look(fleet, observed, standingOf([one]), POLICY, NOW)),
      );
      expect(seen).toEqual([[['nas']], [[]], [['nas']]]);
    });
  });
});

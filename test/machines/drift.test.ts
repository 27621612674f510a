/** drift x observed x what stood before: which drift a target has, and what is advised about it. */
import { describe, expect, test } from 'vitest';
import { isActionId } from '../../machines/action-file.ts';
import { laterId, recommend, recommendationId } from '../../machines/drift.ts';
import type { JsonValue } from '../../machines/json.ts';
import { REMEDIES } from '../../machines/supervision.ts';
import type { Standing } from '../../machines/supervision.ts';
import { NOW, STALE_MS, desiredOf, inShort, look, stands } from '../support/homelab-sketch.ts';
import type { WorldSketch } from '../support/homelab-sketch.ts';

const desired = desiredOf({ vps: ['web'], nas: [] });
const NODES = { vps: 'online', nas: 'online' };
const WELL = { nodes: NODES, services: { 'vps/web': 'healthy' } };
const ILL = { nodes: NODES, services: { 'vps/web': 'unhealthy' } };
const MISSING = { nodes: NODES, services: {} };
const OFFLINE = { nodes: { ...NODES, vps: 'offline' }, services: { 'vps/web': 'unhealthy' } };
const PRESSED = {
  nodes: { ...NODES, vps: { status: 'online', disk_pressure: 'high' } },
  services: WELL.services,
};
const old = (status: string): JsonValue => ({ status, updated_at: (NOW - STALE_MS) / 1000 - 1 });
const failures = (n: number): JsonValue =>
  Array.from({ length: n }, () => ({ node: 'vps', service: 'web', status: 'failed' }));
const incident = (service: string, type: string): JsonValue => ({
  i1: { node: 'vps', service, type, status: 'active' },
});
const triggered = (trigger: string): WorldSketch => ({
  nodes: NODES,
  services: { 'vps/web': { status: 'down', trigger } },
});

describe('one target has the first drift that fits', () => {
  test.each<[string, WorldSketch, string[]]>([
    ['all is well', WELL, []],
    ['the service is unhealthy', ILL, ['vps/web unhealthy_service redeploy']],
    [
      'its containers do not run',
      triggered('containers_not_running'),
      ['vps/web unhealthy_service container_restart'],
    ],
    [
      'its broker is out of reach',
      triggered('mqtt_unreachable'),
      ['vps/web unhealthy_service container_restart'],
    ],
    [
      'its websocket is dead',
      triggered('ha_websocket_dead'),
      ['vps/web unhealthy_service container_restart'],
    ],
    [
      'something else made it ill',
      triggered('healthcheck_failed'),
      ['vps/web unhealthy_service redeploy'],
    ],
    [
      'an incident says what made it ill',
      { ...ILL, incidents: incident('web', 'containers_not_running') },
      ['vps/web unhealthy_service container_restart'],
    ],
    ['the service is missing', MISSING, ['vps/web missing_service redeploy']],
    [
      'it is missing, and an incident says why',
      { ...MISSING, incidents: incident('web', 'containers_not_running') },
      ['vps/web missing_service container_restart'],
    ],
    [
      'the host is offline, whatever its services are',
      OFFLINE,
      ['vps offline_node failover_review'],
    ],
    ['one deployment failed', { ...WELL, deployments: failures(1) }, []],
    [
      'deployments fail again and again',
      { ...WELL, deployments: failures(2) },
      ['vps/web failed_deployment diagnostics'],
    ],
    [
      'they do, and the service is ill',
      { ...ILL, deployments: failures(2) },
      ['vps/web failed_deployment diagnostics'],
    ],
    ['the disk is full', PRESSED, ['vps disk_pressure disk_cleanup']],
    [
      'the disk is full on a host that is offline',
      { ...PRESSED, nodes: { ...NODES, vps: { status: 'offline', disk_pressure: 'high' } } },
      ['vps offline_node failover_review'],
    ],
    [
      'an incident of a service that is well is not resolved',
      { ...WELL, incidents: incident('web', 'odd') },
      ['vps/web unresolved_incident review'],
    ],
    [
      'an incident of the host is not resolved',
      { ...WELL, incidents: incident('vps', 'odd') },
      ['vps unresolved_incident review'],
    ],
    [
      'it is, and the disk is full',
      { ...PRESSED, incidents: incident('vps', 'odd') },
      ['vps disk_pressure disk_cleanup'],
    ],
    [
      'what is in no inventory is ill',
      {
        ...WELL,
        nodes: { ...NODES, ghost: 'offline' },
        services: { ...WELL.services, 'vps/ghost': 'down', 'ghost/web': 'down' },
      },
      [],
    ],
  ])('given that %s, when looked at, then %j', (_, world, drifts) => {
    const { changes } = look(desired, world);
    expect(changes.opened.map(inShort)).toEqual(drifts);
    expect([changes.changed, changes.closed]).toEqual([[], []]);
  });
});

describe('what is not known opens nothing and closes nothing', () => {
  const service = stands({ host: 'vps', service: 'web', kind: 'unhealthy_service', trigger: 'x' });
  const host = stands({ host: 'vps', kind: 'offline_node', critical: true });
  const unknowns: [string, WorldSketch][] = [
    [
      'the service’s status is a word that nobody knows',
      { nodes: NODES, services: { 'vps/web': 'peculiar' } },
    ],
    ['the service is being restarted', { nodes: NODES, services: { 'vps/web': 'restarting' } }],
    [
      'what is said of the service is stale',
      { nodes: NODES, services: { 'vps/web': old('unhealthy') } },
    ],
    ['that it is well is stale', { nodes: NODES, services: { 'vps/web': old('healthy') } }],
    ['nobody says what runs', { nodes: NODES, services: null }],
  ];
  const unknownHosts: [string, WorldSketch][] = [
    ['the host is in no file', { nodes: { nas: 'up' }, services: ILL.services }],
    [
      'the host’s status is a word that nobody knows',
      { nodes: { ...NODES, vps: 'peculiar' }, services: {} },
    ],
    ['the host is being restarted', { nodes: { ...NODES, vps: 'rebooting' }, services: {} }],
    ['that the host is up is stale', { nodes: { ...NODES, vps: old('online') }, services: {} }],
    ['that it is offline is stale', { nodes: { ...NODES, vps: old('offline') }, services: {} }],
    ['the observer has stopped', { ...OFFLINE, writtenAt: NOW - STALE_MS - 1 }],
    ['there is no world', { nodes: {}, services: null }],
  ];
  test.each(unknowns)('given that %s, when looked at, then it is so', (_, world) => {
    const fresh = look(desired, {
      ...world,
      incidents: incident('web', 'odd'),
      deployments: failures(3),
    });
    expect(fresh.changes.opened).toEqual([]);
    const { changes, drifts } = look(desired, world, [service]);
    expect([changes.opened, changes.changed, changes.closed]).toEqual([[], [], []]);
    expect(drifts).toEqual([service]);
  });

  test.each(unknownHosts)(
    'given that %s, when looked at, then that holds for the host and what runs on it',
    (_, world) => {
      const fresh = look(desired, { ...world, incidents: incident('vps', 'odd') });
      expect(fresh.changes.opened).toEqual([]);
      const { changes, drifts } = look(desired, world, [service, host]);
      expect([changes.opened, changes.changed, changes.closed]).toEqual([[], [], []]);
      expect(drifts.map(({ drift }) => drift.key)).toEqual(['vps', 'vps/web']);
    },
  );

  test('given news that is as old as it may be, when looked at a moment later, then it is unknown', () => {
    const at = (now: number): string[] => look(desired, ILL, [], now).changes.opened.map(inShort);
    expect(at(NOW + STALE_MS)).toEqual(['vps/web unhealthy_service redeploy']);
    expect(at(NOW + STALE_MS + 1)).toEqual([]);
  });

  test('given a host that is offline, when it was last there long ago, then it is offline all the same', () => {
    const nodes = { ...NODES, vps: { status: 'offline', last_seen: (NOW - 1e8) / 1000 } };
    expect(look(desired, { nodes }).changes.opened.map(inShort)).toEqual([
      'vps offline_node failover_review',
    ]);
  });
});

describe('what stood before', () => {
  const ill = stands({ host: 'vps', service: 'web', kind: 'unhealthy_service' });
  test.each<[string, WorldSketch, Standing, string]>([
    ['it is well', WELL, ill, 'closed vps/web drift_resolved_auto'],
    ['it is as it was', ILL, ill, ''],
    ['it is missing now', MISSING, ill, 'changed vps/web missing_service redeploy'],
    [
      'something made it ill',
      triggered('containers_not_running'),
      ill,
      'changed vps/web unhealthy_service container_restart',
    ],
    [
      'something else made it ill, and the advice is the same',
      triggered('odd'),
      ill,
      'changed vps/web unhealthy_service redeploy',
    ],
    [
      'its host went offline: it waits for it',
      OFFLINE,
      ill,
      'opened vps offline_node failover_review; changed vps/web unhealthy_service delayed_deployment',
    ],
    [
      'the host came back',
      WELL,
      stands({ host: 'vps', kind: 'offline_node', critical: true }),
      'closed vps drift_resolved_auto',
    ],
    [
      'it came back with a full disk',
      PRESSED,
      stands({ host: 'vps', kind: 'offline_node', critical: true }),
      'changed vps disk_pressure disk_cleanup',
    ],
    [
      'the service is in no inventory',
      ILL,
      stands({ host: 'vps', service: 'gone', kind: 'missing_service' }),
      'opened vps/web unhealthy_service redeploy; closed vps/gone service_removed_from_desired_state',
    ],
    [
      'the host is in no inventory',
      WELL,
      stands({ host: 'gone', kind: 'offline_node' }),
      'closed gone service_removed_from_desired_state',
    ],
  ])('given that %s, when looked at, then that is told', (_, world, standing, told) => {
    const { opened, changed, closed } = look(desired, world, [standing]).changes;
    const words = [
      ...opened.map((one) => `opened ${inShort(one)}`),
      ...changed.map((one) => `changed ${inShort(one)}`),
      ...closed.map(({ key, reason }) => `closed ${key} ${reason}`),
    ];
    expect(words.join('; ')).toBe(told);
  });

  test('given other words for the same, when looked at, then nothing changed', () => {
    const { changes } = look(desired, { nodes: NODES, services: { 'vps/web': 'exited' } }, [ill]);
    expect(changes.changed).toEqual([]);
  });

  test.each<[string, JsonValue]>([
    ['the service', { services: [{ name: 'web', monitor: false }] }],
    ['the host', { monitor: false, services: ['web'] }],
  ])(
    'given that %s is not to be monitored any more, when looked at, then its drifts are closed',
    (_, file) => {
      const unmonitored = desiredOf({ vps: file, nas: [] });
      const { changes } = look(unmonitored, ILL, [ill]);
      expect(changes.opened).toEqual([]);
      expect(changes.closed).toEqual([
        { key: 'vps/web', reason: 'service_removed_from_desired_state' },
      ]);
    },
  );
});

describe('dependencies', () => {
  const fleet = desiredOf({
    vps: [{ name: 'web', depends_on: ['db', 'nas/store'] }, 'db'],
    nas: ['store', { name: 'toy', monitor: false }, { name: 'app', depends_on: 'toy' }],
  });
  const nodes = { vps: 'up', nas: 'up' };
  const others = { 'vps/db': 'up', 'nas/store': 'up', 'nas/toy': 'up', 'nas/app': 'up' };
  const world = (services: Record<string, JsonValue>, more: WorldSketch = {}): WorldSketch => ({
    nodes,
    services: { ...others, 'vps/web': 'down', ...services },
    ...more,
  });
  const noStore = Object.fromEntries(
    Object.entries(world({}).services as object).filter(([key]) => key !== 'nas/store'),
  ) as JsonValue;
  const waiting = stands({
    host: 'vps',
    service: 'web',
    kind: 'unhealthy_service',
    blockedBy: ['nas/store'],
  });
  const free = stands({ host: 'vps', service: 'web', kind: 'unhealthy_service' });
  const failed = Array.from({ length: 2 }, () => ({
    node: 'nas',
    service: 'store',
    status: 'failed',
  }));

  test.each<[string, WorldSketch, Standing[], string[]]>([
    ['they are well', world({}), [], []],
    ['one is ill', world({ 'vps/db': 'down' }), [], ['vps/db']],
    ['one is missing', { nodes, services: noStore }, [], ['nas/store']],
    ['the host of one is offline', world({}, { nodes: { vps: 'up', nas: 'down' } }), [], ['nas']],
    [
      'both stand in the way',
      world({ 'vps/db': 'down', 'nas/store': 'failed' }),
      [],
      ['nas/store', 'vps/db'],
    ],
    ['one is not known to be well', world({ 'nas/store': 'peculiar' }), [], []],
    [
      'one that was ill is not known to be well',
      world({ 'nas/store': 'peculiar' }),
      [waiting],
      ['nas/store'],
    ],
    [
      'one that was ill is being restarted',
      world({ 'nas/store': 'restarting' }),
      [waiting],
      ['nas/store'],
    ],
    [
      'nobody knows of the host of one that was ill',
      world({}, { nodes: { vps: 'up' } }),
      [waiting],
      ['nas/store'],
    ],
    [
      'nobody knows of a host that was offline',
      world({}, { nodes: { vps: 'up' } }),
      [stands({ host: 'vps', service: 'web', kind: 'unhealthy_service', blockedBy: ['nas'] })],
      ['nas'],
    ],
    ['one that was well is not known to be', world({ 'nas/store': 'peculiar' }), [free], []],
    ['one that was ill is well', world({}), [waiting], []],
    ['the deployments of one fail, and it is well', world({}, { deployments: failed }), [], []],
    [
      'the deployments of one fail, and it is ill',
      world({ 'nas/store': 'down' }, { deployments: failed }),
      [],
      ['nas/store'],
    ],
  ])(
    'given that %s, when a dependant is ill, then it waits for %4$j',
    (_, sketch, standing, blockedBy) => {
      const { drifts } = look(fleet, sketch, standing);
      const mine = drifts.find(({ drift }) => drift.key === 'vps/web');
      expect(mine?.drift.blockedBy).toEqual(blockedBy);
      expect(mine?.recommendation).toMatchObject(
        blockedBy.length > 0
          ? {
              event: 'reconcile_blocked',
              remedy: 'delayed_deployment',
              risk: 'none',
              id: 'delayed-deployment-vps-web',
            }
          : {
              event: 'reconcile_required',
              remedy: 'redeploy',
              risk: 'guarded',
              id: 'redeploy-vps-web',
            },
      );
    },
  );

  test('given a dependency that is not monitored, when it is ill, then nobody waits for it', () => {
    const { drifts } = look(
      fleet,
      world({ 'vps/web': 'up', 'nas/toy': 'down', 'nas/app': 'down' }),
    );
    expect(drifts.map(inShort)).toEqual(['nas/app unhealthy_service redeploy']);
  });

  test('given things that depend on one another, when all are ill, then none waits for ever', () => {
    const circle = desiredOf({
      vps: [
        { name: 'a', depends_on: 'b' },
        { name: 'b', depends_on: 'a' },
      ],
    });
    const { drifts } = look(circle, { nodes: { vps: 'up' }, services: {} });
    expect(drifts.map(({ drift }) => drift.blockedBy)).toEqual([[], []]);
  });
});

describe('recommendations', () => {
  test('given each kind, when advised about, then event, remedy and risk are those of the table', () => {
    const table = (
      [
        ['offline_node', null],
        ['failed_deployment', null],
        ['missing_service', null],
        ['unhealthy_service', 'mqtt_unreachable'],
        ['disk_pressure', null],
        ['unresolved_incident', null],
      ] as const
    ).map(([kind, trigger]) => recommend(stands({ host: 'vps', kind, trigger }).drift));
    expect(table.map(({ event, remedy, risk }) => `${event} ${remedy} ${risk}`)).toEqual([
      'reconcile_required failover_review none',
      'reconcile_blocked diagnostics none',
      'reconcile_required redeploy guarded',
      'reconcile_required container_restart low',
      'reconcile_required disk_cleanup guarded',
      'reconcile_recommended review none',
    ]);
  });

  test.each([
    ['redeploy', 'vps', 'web', 'redeploy-vps-web'],
    ['container_restart', 'pi', 'a/b', 'container-restart-pi-a-b'],
    ['failover_review', 'nas.local', null, 'failover-review-nas.local'],
    ['redeploy', 'ż', 'a b', 'redeploy-%C5%BC-a%20b'],
  ] as const)(
    'given %s of %s and %s, when it is named, then it is %s',
    (remedy, host, service, id) => {
      expect(recommendationId(remedy, { host, service })).toBe(id);
    },
  );

  test('given the longest and oddest names, when named, then it is a file’s name, also with a time behind it', () => {
    for (const name of [
      'x'.repeat(200),
      '_'.repeat(200),
      'ż'.repeat(200),
      '🙂'.repeat(100),
      ' . '.repeat(60),
    ])
      for (const remedy of REMEDIES) {
        const id = recommendationId(remedy, { host: name, service: name });
        expect(isActionId(id)).toBe(true);
        expect(isActionId(laterId(id, NOW))).toBe(true);
        expect(laterId(id, NOW)).toBe(`${id}-${NOW / 1000}`);
      }
  });
});

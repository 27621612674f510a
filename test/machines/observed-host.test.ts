/** What becomes of a host and its services by what is said of them. */
import { describe, expect, it, test } from 'vitest';
import type { ObservedEvent } from '../../machines/observed-event.ts';
import { MAX_SERVICES } from '../../machines/observed-host.ts';
import { inShards } from '../../machines/shards.ts';
import { MAX_MARKS } from '../../machines/observed-timeline.ts';
import { recordOf, said, T0, worldAfter } from '../support/observations.ts';

const SECONDS = T0 / 1000;
const only = <T>(list: readonly T[]): T => {
  expect(list).toHaveLength(1);
  return list[0] as T;
};

describe('a service', () => {
  it.each([
    ['service_healthy', 'healthy'],
    ['service_recovered', 'healthy'],
    ['deployment_completed', 'healthy'],
    ['service_unhealthy', 'unhealthy'],
    ['healthcheck_failed', 'unhealthy'],
    ['deployment_failed', 'unhealthy'],
    ['containers_not_running', 'unhealthy'],
    ['mqtt_unreachable', 'unhealthy'],
    ['ha_websocket_down', 'unhealthy'],
    ['ha_websocket_dead', 'unhealthy'],
    ['integration_failed', 'unknown'],
    ['certificate_expired', 'unknown'],
    ['remote_recovered', 'unknown'],
    ['deployment_started', 'deploying'],
  ])('of which %s was heard is %s', (type, status) => {
    const { services } = worldAfter([said(0, type, { severity: 'critical' })], T0 + 60_000);
    expect(only(services)).toMatchObject({
      node: 'piha',
      service: 'web',
      status,
      last_event: type,
      last_event_at: SECONDS,
    });
  });

  test('given an unknown type after an illness, then it is still ill, and of the same', () => {
    const { services } = worldAfter([said(0, 'containers_not_running'), said(1, 'log_rotated')]);
    expect(only(services)).toMatchObject({
      status: 'unhealthy',
      trigger: 'containers_not_running',
      last_event: 'log_rotated',
    });
  });

  test('given an older event comes late, then it overturns nothing, and counts', () => {
    const { services, incidents } = worldAfter([
      said(10, 'service_unhealthy'),
      said(20, 'service_healthy'),
      said(5, 'service_unhealthy'),
    ]);
    expect(only(services)).toMatchObject({ status: 'healthy', since: SECONDS + 20 });
    expect(only(incidents)).toMatchObject({ status: 'resolved', occurrence_count: 2 });
  });

  test('given two causes, then the end of one is not the end of the other', () => {
    const begin = [said(0, 'ha_websocket_down'), said(1, 'containers_not_running')];
    const one = worldAfter([...begin, said(2, 'ha_websocket_up')]);
    expect(only(one.services)).toMatchObject({ status: 'unhealthy' });
    const both = worldAfter([...begin, said(2, 'ha_websocket_up'), said(3, 'service_healthy')]);
    expect(only(both.services)).toMatchObject({ status: 'healthy', trigger: null });
  });

  test('given several causes, then the newest of those that stand is what makes it ill', () => {
    const trigger = (...types: string[]): string | null =>
      only(worldAfter(types.map((type, n) => said(n, type))).services).trigger;
    const begin = ['healthcheck_failed', 'ha_websocket_dead', 'containers_not_running'];
    expect(trigger(...begin)).toBe('containers_not_running');
    expect(trigger(...begin, 'ha_websocket_dead')).toBe('ha_websocket_dead');
    expect(trigger(...begin, 'ha_websocket_dead', 'ha_websocket_recovered')).toBe(
      'containers_not_running',
    );
    expect(trigger('ha_websocket_dead', 'ha_websocket_down')).toBe('ha_websocket_down');
    expect(trigger('ha_websocket_dead', 'ha_websocket_down', 'ha_websocket_up')).toBeNull();
  });

  test('given nothing but its own cause, then the end of that is the end', () => {
    const { services, incidents } = worldAfter([
      said(0, 'ha_websocket_down'),
      said(2, 'ha_websocket_recovered'),
    ]);
    expect(only(services).status).toBe('healthy');
    expect(only(incidents)).toMatchObject({ resolved_by: 'ha_websocket_recovered' });
  });

  test('given ill and well at the same time, then the worst counts', () => {
    const both = [said(0, 'service_healthy'), said(0, 'service_unhealthy')];
    expect(only(worldAfter(both).services).status).toBe('unhealthy');
    expect(only(worldAfter(both.toReversed()).services).status).toBe('unhealthy');
  });

  test('given it changes again and again, then its score tells, and falls as time goes by', () => {
    const flapping = [0, 60, 120, 180].flatMap((at) => [
      said(at, 'service_healthy'),
      said(at + 30, 'service_unhealthy'),
    ]);
    const score = (events: ObservedEvent[]): number => only(worldAfter(events).services).flap_score;
    expect(score(flapping)).toBeCloseTo(6.79, 1);
    const elsewhere = said(210 + 1800, 'node_online', { service: null });
    expect(score([...flapping, elsewhere])).toBeCloseTo(3.29, 1);
    expect(score([...flapping, { ...elsewhere, at: T0 + 8_000_000 }])).toBe(0);
    expect(score([said(0, 'service_unhealthy')])).toBe(0);
  });

  test('given more than the bound, then those that were there first stay, and the rest is counted', () => {
    const events = Array.from({ length: MAX_SERVICES + 5 }, (_, n) =>
      said(n, 'service_healthy', { service: `s${n}` }),
    );
    const record = recordOf(events);
    expect(record.services.size).toBe(MAX_SERVICES);
    expect(record.beyond).toBe(5);
  });

  it.each(['__proto__', 'constructor', 'toString', 'a/b', 'ü\u202e', ''])(
    'may be called %j',
    (service) => {
      const { services } = worldAfter([said(0, 'service_unhealthy', { service })]);
      expect(only(services)).toMatchObject({ service, status: 'unhealthy' });
    },
  );
});

describe('an incident', () => {
  test('opens with the first, counts the rest, ends with the recovery', () => {
    const { incidents, services } = worldAfter([
      said(0, 'service_unhealthy', { severity: 'warning' }),
      said(30, 'containers_not_running', { severity: 'critical' }),
      said(60, 'service_unhealthy'),
    ]);
    expect(only(incidents)).toEqual({
      id: `inc-${SECONDS}-piha-web`,
      node: 'piha',
      service: 'web',
      status: 'active',
      type: 'service_unhealthy',
      last_type: 'service_unhealthy',
      severity: 'critical',
      occurrence_count: 3,
      created_at: SECONDS,
      last_seen: SECONDS + 60,
      resolved_at: null,
      resolved_by: null,
      diagnostics: [],
    });
    expect(only(services).active_incidents).toEqual([`inc-${SECONDS}-piha-web`]);
  });

  test('given it is well in between, then there are two', () => {
    const { incidents } = worldAfter([
      said(0, 'service_unhealthy'),
      said(10, 'service_healthy'),
      said(20, 'service_unhealthy'),
    ]);
    expect(incidents.map(({ status, resolved_at: at }) => [status, at])).toEqual([
      ['resolved', SECONDS + 10],
      ['active', null],
    ]);
  });

  test('given it comes back within the second in which it began, then it is one and the same', () => {
    const { incidents } = worldAfter([
      said(0.1, 'service_unhealthy'),
      said(0.2, 'service_healthy'),
      said(0.3, 'service_unhealthy'),
    ]);
    expect(only(incidents)).toMatchObject({ status: 'active', occurrence_count: 2 });
  });

  test('given a week since it was over, then it is forgotten', () => {
    const events = [said(0, 'service_unhealthy'), said(10, 'service_healthy')];
    const week = 7 * 24 * 3_600_000;
    expect(worldAfter(events, T0 + week).incidents).toHaveLength(1);
    expect(worldAfter(events, T0 + week + 10_001).incidents).toHaveLength(0);
  });

  test('given many more than are kept one by one, then the count is still right', () => {
    const events = Array.from({ length: 10 * MAX_MARKS }, (_, n) => said(n, 'healthcheck_failed'));
    const record = recordOf(events);
    expect(inShards(record.services, 'web')?.health.marks.length).toBeLessThanOrEqual(MAX_MARKS);
    expect(only(worldAfter(events).incidents)).toMatchObject({
      occurrence_count: 10 * MAX_MARKS,
      created_at: SECONDS,
    });
  });

  test('given what is older than all that is kept, then it is late and changes nothing', () => {
    const events = Array.from({ length: 2 * MAX_MARKS }, (_, n) =>
      said(n + 100, 'service_healthy'),
    );
    const record = recordOf([...events, said(1, 'service_unhealthy')]);
    expect(record.late).toBe(1);
    expect(worldAfter([...events, said(1, 'service_unhealthy')]).incidents).toEqual([]);
  });
});

describe('the same event by several ways counts once', () => {
  const counted = (events: ObservedEvent[]): number =>
    only(worldAfter(events).incidents).occurrence_count;
  const a = { id: 'a' };

  it.each<[string, ObservedEvent[], number]>([
    ['told twice', [said(1, 'service_down'), said(1, 'service_down')], 1],
    ['with its id twice', [said(1, 'service_down', a), said(1, 'service_down', a)], 1],
    ['with and without its id', [said(1, 'service_down', a), said(1, 'service_down')], 1],
    ['its time cut to the second', [said(1.5, 'service_down'), said(1, 'service_down')], 1],
    ['cut, with its id', [said(1.5, 'service_down', a), said(1, 'service_down', a)], 1],
    ['cut, and with an id', [said(1.5, 'service_down'), said(1, 'service_down', a)], 1],
    ['two ids', [said(1, 'service_down', a), said(1, 'service_down', { id: 'b' })], 2],
    ['two times', [said(1.5, 'service_down'), said(1.7, 'service_down')], 2],
    ['an id used again later', [said(1, 'service_down', a), said(9, 'service_down', a)], 2],
    ['another type', [said(1, 'service_down'), said(1, 'healthcheck_failed')], 2],
  ])('%s', (_what, events, count) => {
    expect(counted(events)).toBe(count);
    expect(counted(events.toReversed())).toBe(count);
    expect(counted([...events, ...events])).toBe(count);
  });
});

describe('a host', () => {
  const of = (second: number, type: string, more: Partial<ObservedEvent> = {}): ObservedEvent =>
    said(second, type, { service: null, ...more });

  test('is there while anything is heard from it', () => {
    const { node, services } = worldAfter([said(5, 'service_healthy')]);
    expect(node).toMatchObject({ status: 'online', last_seen: SECONDS + 5, disk_pressure: null });
    expect(services).toHaveLength(1);
  });

  test('given node_offline, then it is not, and the last time that it was stays', () => {
    const { node, incidents } = worldAfter([of(5, 'node_online'), of(9, 'node_offline')]);
    expect(node).toMatchObject({
      status: 'offline',
      availability: 'offline',
      last_seen: SECONDS + 5,
      active_incidents: [`inc-${SECONDS + 9}-piha-piha`],
    });
    expect(only(incidents)).toMatchObject({ service: 'piha', type: 'node_offline' });
  });

  test('given anything after node_offline, then it is back, though nobody said so', () => {
    const { node, incidents } = worldAfter([of(9, 'node_offline'), said(30, 'service_unhealthy')]);
    expect(node.status).toBe('online');
    expect(incidents.find(({ service }) => service === 'piha')).toMatchObject({
      status: 'resolved',
      resolved_at: SECONDS + 30,
    });
  });

  test('given node_offline comes late, then the host that was heard since is there', () => {
    expect(worldAfter([said(30, 'service_healthy'), of(9, 'node_offline')]).node.status).toBe(
      'online',
    );
  });

  it.each([
    [of(0, 'disk_usage_high'), 'high', null],
    [of(0, 'disk_pressure_critical'), 'high', null],
    [of(0, 'disk_pressure_resolved'), 'normal', null],
    [of(0, 'memory_pressure_high'), null, 'high'],
    [of(0, 'node_online', { disk: true, memory: false }), 'high', 'normal'],
  ])('%j', (event, disk, memory) => {
    expect(worldAfter([event]).node).toMatchObject({
      disk_pressure: disk,
      memory_pressure: memory,
    });
  });

  test('given disk pressure of a service called disk, then it is the host that has it', () => {
    const { node, services, incidents } = worldAfter([
      said(0, 'disk_usage_high', { service: 'disk' }),
    ]);
    expect([node.disk_pressure, services]).toEqual(['high', []]);
    expect(only(incidents)).toMatchObject({ id: `inc-${SECONDS}-piha-disk`, service: 'piha' });
  });

  test('has the roles that were said last', () => {
    const { node } = worldAfter([
      of(5, 'node_online', { roles: ['vps'] }),
      of(1, 'node_online', { roles: ['old'] }),
    ]);
    expect(node.roles).toEqual(['vps']);
  });
});

describe('a deployment', () => {
  const id = { correlation: 'd1' };

  test('given an id, then it is told by that, from its start to its end', () => {
    const events = [said(5, 'deployment_started', id), said(50, 'deployment_failed', id)];
    expect(only(worldAfter(events).deployments)).toEqual({
      correlation_id: 'd1',
      node: 'piha',
      service: 'web',
      status: 'failed',
      started_at: SECONDS + 5,
      completed_at: SECONDS + 50,
      updated_at: SECONDS + 50,
    });
  });

  test('given none, then the start and what follows it are one', () => {
    const { deployments, services } = worldAfter([
      said(5, 'deployment_started'),
      said(50, 'deployment_failed'),
      said(70, 'deployment_started'),
      said(90, 'deployment_completed'),
    ]);
    expect(deployments).toMatchObject([
      { correlation_id: `piha-web-${SECONDS + 5}`, status: 'failed' },
      { correlation_id: `piha-web-${SECONDS + 70}`, status: 'completed' },
    ]);
    expect(only(services).status).toBe('healthy');
  });

  test('given it never ends, then the service is not deploying for ever', () => {
    const begun = [said(0, 'service_unhealthy'), said(5, 'deployment_started', id)];
    const status = (minute: number, more: ObservedEvent[] = []): string =>
      only(worldAfter([...begun, ...more], T0 + minute * 60_000).services).status;
    expect(status(1)).toBe('deploying');
    expect(status(1, [said(3000, 'node_online', { service: null })])).toBe('unhealthy');
    expect(status(29)).toBe('deploying');
    expect(status(31)).toBe('unhealthy'); // nothing more was heard of the host
  });

  test('given more than the bound, then the longest without a word go', () => {
    const events = Array.from({ length: 250 }, (_, n) =>
      said(n, 'deployment_completed', { correlation: `d${n}` }),
    );
    const { deployments } = worldAfter(events);
    expect(deployments).toHaveLength(200);
    expect(deployments.some(({ correlation_id: name }) => name === 'd49')).toBe(false);
  });
});

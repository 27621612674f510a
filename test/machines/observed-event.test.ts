/** What is kept of an event of the homelab. */
import { describe, expect, it, test } from 'vitest';
import { readMessage } from '../../machines/homelab-events.ts';
import type { HomelabEvent } from '../../machines/homelab-events.ts';
import { healthSign, observedEvent, pressureSign } from '../../machines/observed-event.ts';
import type { JsonObject } from '../../machines/json.ts';

const NOW = 1_790_000_000_000;

function heard(raw: JsonObject, id = 'redis:health_events:n.1:7'): HomelabEvent {
  const text = JSON.stringify({ type: 'service_unhealthy', node: 'piha', ...raw });
  const read = readMessage(text, { channel: 'health_events', id, at: NOW });
  if (read.kind === 'refused') throw new Error(read.reason);
  return read.event;
}

const seen = (raw: JsonObject, aliases: Record<string, string> = {}, id?: string) =>
  observedEvent(heard(raw, id), { heardAt: NOW, aliases });

describe('an event', () => {
  test('says of which service, when, how bad, and why', () => {
    expect(
      seen({
        service: 'web',
        timestamp: NOW / 1000 - 5,
        severity: 'critical',
        payload: { message: 'exit\ncode \u202e137' },
      }),
    ).toEqual({
      host: 'piha',
      event: {
        id: null,
        type: 'service_unhealthy',
        at: NOW - 5000,
        service: 'web',
        severity: 'critical',
        text: 'exit code 137',
      },
    });
  });

  it.each([
    ['no service', {}],
    ['its own name as the service', { service: 'piha' }],
  ])('given %s, then it is about the host', (_what, raw) => {
    expect(seen(raw)?.event.service).toBeNull();
  });

  it.each([
    ['of a channel', 'redis:health_events:node-1.7:12', null],
    ['of a stream of Redis', 'redis:homelab:events:1790000000000-3', null],
    ['of a stream of NATS', 'HOMELAB:2026-09-21T12:00:00.123Z:99', null],
    ['of a file', '', null],
    ['of its producer', 'evt-17', 'evt-17'],
    [
      'of its producer, a uuid',
      '6f0e6a3e-0000-4000-8000-000000000001',
      '6f0e6a3e-0000-4000-8000-000000000001',
    ],
  ])('given an id %s, then it is one only when the producer gave it', (_what, id, kept) => {
    expect(seen({}, {}, id)?.event.id).toBe(kept);
  });

  test('given a clock that is ahead, then it happened when it was heard', () => {
    expect(seen({ timestamp: NOW / 1000 + 60 })?.event.at).toBe(NOW + 60_000);
    expect(seen({ timestamp: NOW / 1000 + 3600 })?.event.at).toBe(NOW);
  });

  test('given another name of the host, then it is of the host', () => {
    expect(seen({ service: 'web' }, { piha: 'pi-4' })?.host).toBe('pi-4');
    expect(seen({ node: 'constructor', service: 'web' })?.host).toBe('constructor');
  });

  it.each([
    [{ type: 'remediation_completed' }],
    [{ type: 'reconcile_required' }],
    [{ type: 'service_unhealthy', source: 'planner-agent' }],
    [{ type: 'drift_resolved', source: 'supervisor' }],
  ])('given %j, then it is no observation', (raw) => {
    expect(seen(raw)).toBeUndefined();
  });

  test('carries roles, pressure and the id of its deployment', () => {
    const payload = {
      roles: ['vps', 'edge', 'vps', 7],
      disk_pressure: 'high',
      memory_pressure: 'ok',
    };
    expect(seen({ payload, correlation_id: 'dep-1' })?.event).toMatchObject({
      roles: ['edge', 'vps'],
      disk: true,
      memory: false,
      correlation: 'dep-1',
    });
    expect(seen({ payload: { correlation_id: 'dep-2' } })?.event.correlation).toBe('dep-2');
  });
});

it.each([
  ['service_healthy', { is: 'well', cause: null }],
  ['deployment_completed', { is: 'well', cause: null }],
  ['healthcheck_failed', { is: 'ill', cause: 'healthcheck' }],
  ['mqtt_unreachable', { is: 'ill', cause: 'mqtt' }],
  ['mqtt_recovered', { is: 'well', cause: 'mqtt' }],
  ['backup_failed', { is: 'ill', cause: 'backup' }],
  ['backup_slow', undefined],
  ['ha_websocket_dead', { is: 'ill', cause: 'ha_websocket' }],
  ['ha_websocket_recovered', { is: 'well', cause: 'ha_websocket' }],
  ['entity_unavailable', undefined],
  ['integration_failed', undefined],
  ['automation_failing', undefined],
  ['update_available', undefined],
  ['recorder_lag', undefined],
  ['system_health_degraded', undefined],
  ['deployment_started', undefined],
])('%s', (type, sign) => {
  expect(healthSign(type)).toEqual(sign);
});

it.each([
  ['disk_usage_high', 'ill'],
  ['disk_pressure', 'ill'],
  ['disk_pressure_critical', 'ill'],
  ['disk_pressure_resolved', 'well'],
  ['memory_usage_normal', 'well'],
  ['disk_replaced', undefined],
])('%s', (type, is) => {
  expect(pressureSign(type)?.is).toBe(is);
});

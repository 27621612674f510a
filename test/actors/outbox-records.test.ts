/** What a committed record is on the bus: see actors/outbox-records.ts. */
import { describe, expect, test } from 'vitest';
import { messagesOf } from '../../actors/outbox-records.ts';
import type { CommittedRecord } from '../../actors/system.ts';

const heard = (error?: CommittedRecord['error']): CommittedRecord => ({
  lsn: 7,
  address: 'system/bridge/redis',
  seq: 3,
  at: 1000,
  event: {
    type: 'bridge.heard',
    channel: 'health_events',
    id: 'e1',
    host: 'pi',
    service: 'dns',
    event: { id: 'e1', type: 'service_unhealthy', data: {} },
    original: '{}',
  },
  error,
  chars: 200,
});

const NOTHING = { subject: '', body: '' };

describe('an event that came by a bridge', () => {
  test('goes out as what it is', () => {
    const [{ subject, body } = NOTHING] = messagesOf(heard(), 1000);
    expect(subject).toBe('homelab.health_events.pi.dns');
    expect(JSON.parse(body)).toEqual({ id: 'e1', type: 'service_unhealthy', data: {} });
  });

  test("given that the bridge's machine refused it, then it is told as the bridge's failed event", () => {
    const [{ subject, body } = NOTHING] = messagesOf(
      heard({ name: 'Error', message: 'it broke' }),
      1000,
    );
    expect(subject).toMatch(/^missions\..*\.events$/);
    expect(JSON.parse(body)).toMatchObject({
      type: 'bridge.heard',
      source: 'system/bridge/redis',
      error: { message: 'it broke' },
    });
  });
});

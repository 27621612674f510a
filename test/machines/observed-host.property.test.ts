/** Events come late, twice and mixed up: what is known of a host does not depend on it. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ObservedEvent } from '../../machines/observed-event.ts';
import { observed } from '../../machines/observed-host.ts';
import type { HostRecord } from '../../machines/observed-host.ts';
import { recordOf, said, worldText } from '../support/observations.ts';

const TYPES = [
  'service_healthy',
  'service_unhealthy',
  'healthcheck_failed',
  'containers_not_running',
  'ha_websocket_dead',
  'ha_websocket_down',
  'ha_websocket_up',
  'deployment_started',
  'deployment_completed',
  'deployment_failed',
  'node_online',
  'node_offline',
  'disk_usage_high',
  'disk_pressure_resolved',
  'memory_pressure_high',
  'anything_else',
];

/** Whole seconds and fractions, close together, so that they meet. */
const event = (seconds: number): fc.Arbitrary<ObservedEvent> =>
  fc
    .record({
      second: fc.nat(seconds),
      fraction: fc.constantFrom(0, 0, 0.25, 0.5),
      type: fc.constantFrom(...TYPES),
      service: fc.constantFrom('web', 'db', null),
      id: fc.constantFrom(null, null, 'a', 'b'),
      severity: fc.constantFrom('info' as const, 'error' as const, 'critical' as const),
      more: fc.constantFrom<Partial<ObservedEvent>>(
        {},
        {},
        { text: 'so' },
        { correlation: 'd1' },
        { correlation: 'd2' },
        { roles: ['vps'] },
        { roles: ['pi', 'vps'] },
        { disk: true },
        { memory: false },
      ),
    })
    .map(({ second, fraction, type, service, id, severity, more }) =>
      said(second + fraction, type, { service, id, severity, ...more }),
    );

/** So many that nothing is settled: what is settled is not overturned, in whatever order. */
const few = fc.array(event(20), { maxLength: 15 });

test('any order and any repetition of the same events gives the same world', () => {
  fc.assert(
    fc.property(
      few.chain((events) =>
        fc.tuple(
          fc.constant(events),
          fc.shuffledSubarray([...events, ...events], { minLength: 2 * events.length }),
        ),
      ),
      ([events, mixed]) => {
        expect(worldText(recordOf(mixed))).toBe(worldText(recordOf(events)));
      },
    ),
    { numRuns: 3000 },
  );
});

test('told in the order in which it happened, the whole history once more changes nothing', () => {
  fc.assert(
    fc.property(fc.array(event(2000), { maxLength: 300 }), (events) => {
      const history = events.toSorted((a, b) => a.at - b.at);
      const once = recordOf(history);
      const twice = history.reduce<HostRecord>(observed, once);
      expect(worldText(twice)).toBe(worldText(once));
    }),
    { numRuns: 300 },
  );
});

test('a long history heard live, somewhat mixed up and by two ways, is the one that is read again in its order', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(event(1500), fc.nat(40), fc.nat(40)), { maxLength: 250, size: 'max' }),
      (heard) => {
        const live = heard
          .flatMap(([one, first, second]) => [
            { one, heardAt: one.at + first * 1000 },
            { one, heardAt: one.at + second * 1000 },
          ])
          .toSorted((a, b) => a.heardAt - b.heardAt)
          .map(({ one }) => one);
        const before = recordOf(live);
        fc.pre(before.late === 0);
        const again = recordOf(heard.map(([one]) => one).toSorted((a, b) => a.at - b.at));
        expect(worldText(before)).toBe(worldText(again));
      },
    ),
    { numRuns: 500 },
  );
});

test('the record is plain JSON of bounded size, and goes on from it as it was', () => {
  fc.assert(
    fc.property(fc.array(event(5000), { maxLength: 400 }), event(5000), (events, next) => {
      const record = recordOf(events);
      const text = JSON.stringify(record);
      expect(text.length).toBeLessThan(60_000);
      const restored = JSON.parse(text) as HostRecord;
      expect(restored).toEqual(record);
      expect(worldText(observed(restored, next))).toBe(worldText(observed(record, next)));
    }),
    { numRuns: 200 },
  );
});

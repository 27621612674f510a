/** How far the table of a time zone reaches. */
import { expect, test } from 'vitest';
import { zonesOf } from '../../actors/actions/zone-offsets.ts';
import { spanAt } from '../../machines/gate-windows.ts';
import { DEFAULT_POLICY } from '../../machines/remediation.ts';

const NIGHT = { from: '22:00', to: '23:00', timezone: 'Europe/Warsaw' };
const policy = { ...DEFAULT_POLICY, open_windows: [NIGHT] };
const at = (time: string): number => Date.parse(time);

test('given a record of years, then the windows of its end are as right as those of its beginning', () => {
  const zones = zonesOf(policy, at('2023-01-10T00:00:00Z'), at('2026-07-20T12:00:00Z'));
  for (const open of ['2023-01-10T21:30:00Z', '2024-07-10T20:30:00Z', '2026-07-20T20:30:00Z'])
    expect(spanAt(NIGHT, zones, at(open))).toMatchObject({ to: expect.any(Number) as number });
  expect(spanAt(NIGHT, zones, at('2026-07-20T21:30:00Z'))).toBeNull();
});

test('given no end is named, then it reaches more than a year ahead', () => {
  const now = at('2026-11-21T00:00:00Z');
  const zones = zonesOf(policy, now);
  expect(spanAt(NIGHT, zones, at('2027-08-01T20:30:00Z'))).not.toBeNull();
  expect(zonesOf(policy, now, now)).toEqual(zones);
});

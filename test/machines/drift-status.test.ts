/** How far a drift is, as its supervisor knows it, when its actor was held and hears late of several episodes at once. */
import { expect, test } from 'vitest';
import { driftMachine } from '../../machines/drift.machine.ts';
import { MachineDriver } from '../support/machine-driver.ts';
import { ruling, standing, tellTo } from '../support/supervision.ts';

const TARGET = { host: 'vps', service: 'web' };
const stands = { type: 'drift.stands', ...standing('vps', 'web'), ...ruling('approve') };
const gone = { type: 'drift.gone', reason: 'drift_resolved_auto' };
const actionId = 'redeploy-vps-web';

const statuses = (driver: MachineDriver): unknown[] =>
  driver.sent
    .filter(({ event }) => event.type === 'drift.moved')
    .map(({ event }) => event['status']);

test('given an action ended in an earlier episode, when it stands anew, then its supervisor is told that nothing is in hand', () => {
  const drift = new MachineDriver(driftMachine, TARGET);
  for (const event of [
    stands,
    { type: 'proposal.durable', actionId, path: 'x' },
    { type: 'action.moved', actionId, status: 'running', reason: null },
    { type: 'action.settled', actionId, status: 'completed', reason: null },
    gone,
    stands,
  ])
    tellTo(drift, event);
  expect(statuses(drift)).toEqual(['proposed', 'acting', 'verifying', 'recommended']);
});

test('given it never stood before, when it stands, then nothing is told of what its supervisor knows', () => {
  const drift = new MachineDriver(driftMachine, TARGET);
  tellTo(drift, stands);
  expect(statuses(drift)).toEqual([]);
});

test('given a withdrawal that its file could not take, when that stands in pending/ again, then it is withdrawn at once', () => {
  const drift = new MachineDriver(driftMachine, TARGET);
  const cancels = (): number =>
    drift.sent.filter(({ event }) => event.type === 'action.cancel').length;
  const moved = (status: 'held' | 'pending') =>
    ({ type: 'action.moved', actionId, status, reason: null }) as const;
  tellTo(drift, stands);
  tellTo(drift, { type: 'proposal.durable', actionId, path: 'x' });
  tellTo(drift, moved('held'));
  tellTo(drift, gone);
  for (let i = 0; i < 4; i += 1) drift.pass(600_000).done('patience');
  expect(cancels()).toBe(5);
  tellTo(drift, moved('pending'));
  expect(cancels()).toBe(6);
  tellTo(drift, moved('held'));
  expect(cancels()).toBe(6);
});

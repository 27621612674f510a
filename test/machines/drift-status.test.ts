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

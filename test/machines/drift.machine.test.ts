/** One drift: what it says, what it proposes, and how that ends. */
import { beforeEach, describe, expect, it, test } from 'vitest';
import { SUPERVISOR } from '../../machines/addresses.ts';
import type { DriftContext } from '../../machines/drift-context.ts';
import { driftMachine } from '../../machines/drift.machine.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { ActionStatus } from '../../machines/remediation.ts';
import type { ClosedReason, Drift, DriftEvent, Ruling } from '../../machines/supervision.ts';
import { MachineDriver } from '../support/machine-driver.ts';
import type { Reaction } from '../support/machine-driver.ts';
import { ruling, standing, tellTo } from '../support/supervision.ts';

const ADDRESS = 'system/supervisor/vps/web';
const ID = 'redeploy-vps-web';
const ACTION = `system/action/${ID}`;

let drift: MachineDriver;
beforeEach(() => {
  drift = new MachineDriver(driftMachine, { host: 'vps', service: 'web' });
});
const context = (): DriftContext => drift.snapshot.context as DriftContext;
const state = (): string => (drift.value as { remedy: string }).remedy;
const tell = (event: DriftEvent): Reaction => tellTo(drift, event);
const stands = (mode: Ruling['decision']['mode'] = 'recommend', more: Partial<Drift> = {}) =>
  tell({ type: 'drift.stands', ...standing('vps', 'web', more), ...ruling(mode) });
const gone = (reason: ClosedReason = 'drift_resolved_auto'): Reaction =>
  tell({ type: 'drift.gone', reason });
const durable = (actionId = ID): Reaction =>
  tell({ type: 'proposal.durable', actionId, path: 'x' });
const moved = (status: ActionStatus | 'held', reason: string | null = null): Reaction =>
  tell({ type: 'action.moved', actionId: ID, status, reason });
const settled = (status: ActionStatus, reason: string | null = null): Reaction =>
  tell({ type: 'action.settled', actionId: ID, status, reason });
const approves = (actionId = ID): Reaction =>
  tell({ type: 'remedy.approve', actionId, rule: 'r', because: 'rule r: approve' });

const to = ({ sent }: Reaction, address: string): string[] =>
  sent.filter((one) => one.to === address).map(({ event }) => event.type);
const steps = (reaction: Reaction): unknown[] =>
  reaction.sent
    .filter(({ event }) => event.type === 'drift.became')
    .map(({ event }) => event['what']);
const outcomes = ({ sent }: Reaction): unknown[] =>
  sent.filter(({ event }) => event.type === 'remedy.ended').map(({ event }) => event['outcome']);
/** All that waits to be told is. */
const told = (): Reaction | undefined => {
  let last: Reaction | undefined;
  while (drift.running.has('telling')) last = drift.done('telling');
  return last;
};
const content = (): JsonObject => {
  const asked = drift.sent.findLast(({ event }) => event.type === 'action.propose');
  return asked?.event['content'] as JsonObject;
};

const reach = {
  recommended: () => void stands(),
  proposing: () => void stands('approve'),
  proposed: () => {
    reach.proposing();
    durable();
  },
  approving: () => {
    reach.proposed();
    approves();
  },
  acting: () => {
    reach.approving();
    moved('approved');
  },
  running: () => {
    reach.acting();
    drift.pass(1000);
    moved('running');
  },
  verifying: () => {
    reach.running();
    settled('completed');
  },
  escalated: () => {
    reach.running();
    settled('failed', 'exit code 1');
  },
  declined: () => {
    reach.proposed();
    settled('rejected', 'not today');
  },
  withdrawing: () => {
    reach.proposed();
    gone();
  },
  unwritten: () => {
    reach.proposing();
    tell({ type: 'proposal.failed', actionId: ID, reason: 'no space left' });
  },
};
type Reached = keyof typeof reach;

describe('what it says', () => {
  test('given it stands, then that is recommended, once, on the bus and to who reads files', () => {
    const { sent, started } = stands();
    expect(sent).toMatchObject([
      {
        to: ADDRESS,
        event: {
          type: 'drift.became',
          what: 'reconcile_required',
          status: 'recommended',
          kind: 'unhealthy_service',
          recommendation: { id: ID, remedy: 'redeploy' },
          action_id: null,
        },
      },
    ]);
    expect(started).toMatchObject([
      { id: 'telling', src: 'tell', input: { id: `${ADDRESS}#${drift.clock.at}.1` } },
    ]);
    expect(steps(stands())).toEqual([]);
    expect(state()).toBe('recommended');
  });

  test('given another remedy is advised, then that is said anew; given only words are other ones, then not', () => {
    stands();
    expect(steps(stands('recommend', { because: 'it says 502' }))).toEqual([]);
    expect(steps(stands('recommend', { trigger: 'containers_not_running' }))).toEqual([
      'reconcile_required',
    ]);
    expect(steps(stands('recommend', { blockedBy: ['vps/db'] }))).toEqual(['reconcile_blocked']);
  });

  test('given it is gone, then that is said, and when all is told it is done', () => {
    stands();
    expect(steps(gone())).toEqual(['drift_resolved']);
    expect(state()).toBe('over');
    expect(to(told() as Reaction, SUPERVISOR)).toEqual(['drift.done']);
    expect(state()).toBe('done');
  });

  test('given one that nobody told of a drift hears that it is gone, then it is done at once', () => {
    expect(to(gone(), SUPERVISOR)).toEqual(['drift.done']);
    expect(drift.running.size).toBe(0);
  });

  test('given it comes back, then that is a new episode', () => {
    stands();
    gone();
    told();
    drift.pass(5000);
    expect(steps(stands())).toEqual(['reconcile_required']);
    expect(context()).toMatchObject({ episodes: 2, since: drift.clock.at, gone: null });
  });

  test('given a step cannot be told, then it is tried again, later each time, and then given up (D7)', () => {
    stands('approve');
    durable();
    for (let i = 0; i < 8; i += 1) {
      drift.fails('telling', 'no space left');
      expect(drift.running.get('tellAgain')?.input).toEqual({ at: drift.clock.at + 1000 * 2 ** i });
      drift.done('tellAgain');
    }
    drift.fails('telling', 'no space left');
    expect(context().tellings).toHaveLength(1);
    expect(state()).toBe('proposed'); // nothing was held up
  });
});

describe('a proposal', () => {
  it.each([
    ['recommend', {}, false],
    ['propose', {}, true],
    ['approve', {}, true],
    ['approve', { blockedBy: ['vps/db'] }, false], // delayed_deployment: words only
    ['propose', { kind: 'unresolved_incident' }, false],
  ] as const)('given %s, %j, then it proposes: %s', (mode, more, proposes) => {
    const { sent } = stands(mode, more as Partial<Drift>);
    expect(sent.some(({ event }) => event.type === 'action.propose')).toBe(proposes);
  });

  test('says to executors what is to be done, and to people why, by which rule, and to what effect', () => {
    tell({
      type: 'drift.stands',
      ...standing('vps', 'web', { trigger: 'http_500' }),
      dependants: ['vps/shop'],
      ...ruling('propose'),
    });
    const at = drift.clock.at / 1000;
    expect(content()).toEqual({
      action_id: ID,
      type: 'redeploy',
      node: 'vps',
      service: 'web',
      risk_level: 'guarded',
      confidence: 1,
      requires_human: true,
      description: 'REDEPLOY web on vps: it does not answer',
      status: 'pending',
      timestamp: at,
      source_event: 'unhealthy_service',
      payload: {
        action: 'redeploy',
        reason: 'it does not answer',
        drift: 'unhealthy_service',
        trigger: 'http_500',
        event: 'reconcile_required',
      },
      supervisor: { address: ADDRESS, rule: 'r', decision: 'propose', since: at, serial: 1 },
      expected_effect: { removes: 'unhealthy_service vps/web', dependants: ['vps/shop'] },
      policy_sha256: null,
    });
    expect(Object.keys(content())[0]).toBe('action_id');
  });

  test('given it is durable, and the policy may approve it, then the supervisor hears that it is ready', () => {
    reach.proposing();
    const reaction = durable();
    expect(to(reaction, SUPERVISOR)).toEqual(['drift.moved', 'remedy.ready']);
    expect(steps(reaction)).toEqual(['action_proposed']);
    expect(state()).toBe('proposed');
  });

  test('given it needs a person, then the supervisor is not asked, and a word of the policy is not passed on (D3)', () => {
    stands('propose');
    expect(to(durable(), SUPERVISOR)).toEqual(['drift.moved']);
    expect(to(approves(), ACTION)).toEqual([]);
    expect(state()).toBe('proposed');
  });

  test('given its name is taken, then it tries others, the same ones each time', () => {
    reach.proposing();
    const taken = (actionId: string): Reaction => tell({ type: 'proposal.taken', actionId });
    const since = Math.floor(drift.clock.at / 1000);
    taken(ID);
    expect(content()['action_id']).toBe(`${ID}-${since}`);
    taken(`${ID}-${since}`);
    expect(content()['action_id']).toBe(`${ID}-${since}-2`);
    taken('another');
    expect(state()).toBe('proposing');
    for (let i = 2; i < 50; i += 1) taken(content()['action_id'] as string);
    expect(state()).toBe('unwritten');
  });

  test('given it does not answer, then it is asked the same again, later each time (D2)', () => {
    reach.proposing();
    const asked = JSON.stringify(content());
    for (const ms of [30_000, 60_000, 120_000]) {
      expect(drift.running.get('patience')?.input).toEqual({ up: drift.clock.up + ms });
      drift.pass(ms);
      stands('approve', { because: 'other words' });
      drift.done('patience');
      expect(JSON.stringify(content())).toBe(asked);
    }
  });

  test('given it cannot be written, then it is proposed anew after a while', () => {
    reach.unwritten();
    expect(context().unwritten).toMatchObject({ reason: 'no space left', tries: 1 });
    drift.pass(60_000);
    drift.done('pause');
    expect(state()).toBe('proposing');
    tell({ type: 'proposal.failed', actionId: ID, reason: 'no space left' });
    expect(drift.running.get('pause')?.input).toEqual({ at: drift.clock.at + 120_000 });
  });

  test('given the drift goes before the file is there, then it is withdrawn as soon as it is', () => {
    reach.proposing();
    gone();
    expect(state()).toBe('proposing');
    expect(to(durable(), ACTION)).toEqual(['action.cancel']);
    expect(state()).toBe('withdrawing');
  });

  test('given the drift goes and the file could not be written, then it is over', () => {
    reach.proposing();
    gone();
    tell({ type: 'proposal.failed', actionId: ID, reason: 'x' });
    expect(state()).toBe('over');
  });
});

describe("the policy's word (D3)", () => {
  test('given it approves, then the action hears so, by that rule and that door', () => {
    reach.proposed();
    const { sent } = approves();
    expect(sent).toMatchObject([
      { to: ACTION, event: { type: 'action.approve', by: 'policy r', door: 'policy' } },
    ]);
    expect(steps(moved('approved'))).toEqual(['action_approved']);
    expect(state()).toBe('acting');
  });

  test('given there is no answer, then it is asked again and the place is kept: it may have been taken', () => {
    reach.approving();
    drift.pass(30_000);
    const { sent } = drift.done('patience');
    expect(sent.map(({ event }) => event.type)).toEqual(['action.approve']);
  });

  test('given it was not taken, then the place is given back, and a person has to decide', () => {
    reach.approving();
    const reaction = moved('pending', 'it was changed meanwhile');
    expect(outcomes(reaction)).toEqual(['lapsed']);
    expect(to(reaction, SUPERVISOR)).not.toContain('remedy.ready');
    expect(state()).toBe('proposed');
    expect(to(approves(), ACTION)).toEqual([]);
  });

  test('given it was not used in time, then the place is given back, and it is ready once more', () => {
    reach.acting();
    const reaction = moved('pending');
    expect(to(reaction, SUPERVISOR)).toEqual(['remedy.ended', 'drift.moved', 'remedy.ready']);
  });

  test('given its file is in trouble, then it waits for no policy until it is mended', () => {
    reach.proposed();
    expect(outcomes(moved('held'))).toEqual(['lapsed']);
    expect(to(approves(), ACTION)).toEqual([]);
    expect(to(moved('pending'), SUPERVISOR)).toEqual(['remedy.ready']);
  });

  test('given it is about an action that is over, then it is given back', () => {
    reach.declined();
    expect(outcomes(approves())).toEqual(['withdrawn']);
    expect(outcomes(approves('another'))).toEqual(['withdrawn']);
  });
});

describe('how an action ends', () => {
  const ends: [Reached, ActionStatus, string, unknown[]][] = [
    ['proposed', 'completed', 'verifying', []],
    ['acting', 'completed', 'verifying', []],
    ['running', 'completed', 'verifying', []],
    ['running', 'failed', 'escalated', ['failed']],
    ['acting', 'failed', 'escalated', ['failed']],
    ['proposed', 'rejected', 'declined', ['declined']],
    ['proposed', 'cancelled', 'declined', ['declined']],
    ['approving', 'rejected', 'declined', ['declined']],
    ['acting', 'cancelled', 'declined', ['declined']],
    ['withdrawing', 'cancelled', 'over', ['withdrawn']],
    ['withdrawing', 'rejected', 'over', ['withdrawn']],
    ['withdrawing', 'completed', 'over', ['withdrawn']],
    ['withdrawing', 'failed', 'over', ['failed']],
  ];
  it.each(ends)('given %s, when it is %s, then %s', (from, status, expected, ended) => {
    reach[from]();
    expect(outcomes(settled(status))).toEqual(ended);
    expect(state()).toBe(expected);
  });

  test('given news of another action, then nothing comes of it', () => {
    reach.running();
    tell({ type: 'action.settled', actionId: 'another', status: 'failed', reason: null });
    expect(state()).toBe('acting');
  });

  test('given it ran well, when the drift goes in time, then that is verified (D5)', () => {
    reach.verifying();
    expect(drift.running.get('deadline')?.input).toEqual({ at: drift.clock.at + 300_000 });
    const reaction = gone();
    expect(outcomes(reaction)).toEqual(['verified']);
    expect(steps(reaction)).toEqual(['remedy_verified', 'drift_resolved']);
    expect(state()).toBe('over');
  });

  test('given it ran well, when the service is not desired any more, then that says nothing of the action', () => {
    reach.verifying();
    expect(outcomes(gone('service_removed_from_desired_state'))).toEqual(['withdrawn']);
  });

  test('given it ran well, when the drift stays, then a person has to look (D4)', () => {
    reach.verifying();
    const reaction = drift.done('deadline');
    expect(outcomes(reaction)).toEqual(['not_verified']);
    expect(steps(reaction)).toEqual(['remedy_escalated', 'reconcile_blocked']);
    expect(reaction.sent.at(-1)?.event).toMatchObject({
      status: 'escalated',
      recommendation: {
        id: 'diagnostics-vps-web',
        event: 'reconcile_blocked',
        remedy: 'diagnostics',
      },
    });
  });

  test('given the drift goes while it runs, then it goes on to its end and is verified then (D6)', () => {
    reach.running();
    drift.pass(1000);
    expect(gone().sent).toEqual([]);
    expect(state()).toBe('acting');
    const reaction = settled('completed');
    expect(outcomes(reaction)).toEqual(['verified']);
    expect(steps(reaction)).toEqual(['action_ended', 'remedy_verified', 'drift_resolved']);
  });

  test('given it comes back while its action runs, then the supervisor, to whom it is new, hears how far it is', () => {
    reach.running();
    gone();
    const { sent } = stands('approve');
    expect(sent).toContainEqual(
      expect.objectContaining({
        to: SUPERVISOR,
        event: { type: 'drift.moved', key: 'vps/web', status: 'acting', actionId: ID },
      }),
    );
    settled('completed');
    expect(state()).toBe('verifying');
  });

  test('given the drift went by itself before it began, then that is no success of the action (D5)', () => {
    reach.acting();
    gone();
    drift.pass(1000);
    moved('running');
    expect(outcomes(settled('completed'))).toEqual(['withdrawn']);
  });
});

describe('what is pending is withdrawn, and nothing else (D6)', () => {
  it.each(['drift_resolved_auto', 'service_removed_from_desired_state'] as const)(
    'given it is gone (%s), then it is cancelled for that reason',
    (reason) => {
      reach.proposed();
      expect(gone(reason).sent).toMatchObject([
        {
          to: ACTION,
          event: { type: 'action.cancel', by: 'supervisor', door: 'supervisor', reason },
        },
      ]);
      expect(steps(settled('cancelled', reason))).toEqual(['action_cancelled', 'drift_resolved']);
    },
  );

  it.each<Reached>(['approving', 'acting', 'running', 'verifying', 'escalated', 'declined'])(
    'given %s, then it is not',
    (from) => {
      reach[from]();
      expect(to(gone(), ACTION)).toEqual([]);
    },
  );

  test('given a person was quicker, then the action goes on', () => {
    reach.withdrawing();
    moved('approved');
    expect(state()).toBe('acting');
  });

  test('given another remedy is advised while it is pending, then that is withdrawn and the other proposed', () => {
    reach.proposed();
    const other = stands('approve', { trigger: 'containers_not_running' });
    expect(to(other, ACTION)).toEqual(['action.cancel']);
    const reaction = settled('cancelled');
    expect(outcomes(reaction)).toEqual(['withdrawn']);
    expect(content()['type']).toBe('container_restart');
    expect(state()).toBe('proposing');
  });

  test('given another remedy is advised while it runs, then that is only noted', () => {
    reach.running();
    expect(to(stands('approve', { trigger: 'containers_not_running' }), ACTION)).toEqual([]);
    expect(state()).toBe('acting');
  });

  test('given it comes back while it is being withdrawn, then it is proposed anew', () => {
    reach.withdrawing();
    stands('approve');
    settled('cancelled', 'drift_resolved_auto');
    expect(state()).toBe('proposing');
    expect(content()['supervisor']).toMatchObject({ serial: 2 });
  });
});

describe('who said no, or could not help, is not asked again while it stands (D1)', () => {
  it.each<Reached>(['declined', 'escalated'])('%s', (from) => {
    reach[from]();
    for (const more of [{}, { trigger: 'containers_not_running' }]) {
      const { sent } = stands('approve', more);
      expect(sent.some(({ event }) => event.type === 'action.propose')).toBe(false);
      tell({ type: 'drift.decided', ...ruling('approve') });
    }
    expect(state()).toBe(from);
    gone();
    told();
    stands('approve');
    expect(state()).toBe('proposing');
  });

  test('given the policy has approved as many as it may, then it is told, and nothing is proposed', () => {
    const { decision, ...more } = ruling('recommend');
    const because = '3 actions were approved for vps/web within an hour: a person has to look';
    const wornOut = { ...more, decision: { ...decision, because }, escalates: true as const };
    stands('recommend');
    const reaction = tell({ type: 'drift.decided', ...wornOut });
    expect(steps(reaction)).toEqual(['remedy_escalated', 'reconcile_blocked']);
    expect(reaction.sent.at(-1)?.event).toMatchObject({ status: 'escalated', because });
    expect(state()).toBe('escalated');
    tell({ type: 'drift.decided', ...ruling('approve') });
    expect(state()).toBe('escalated');
    gone();
    told();
    tell({ type: 'drift.stands', ...standing('vps', 'web'), ...wornOut });
    expect(state()).toBe('escalated');
  });

  test('given the policy says otherwise, then what is only recommended is proposed', () => {
    stands();
    tell({ type: 'drift.decided', ...ruling('propose') });
    expect(state()).toBe('proposing');
  });

  test('given the policy takes it back, then what is pending stays for a person to decide', () => {
    reach.proposed();
    expect(tell({ type: 'drift.decided', ...ruling('recommend') }).sent).toEqual([]);
    expect(state()).toBe('proposed');
  });
});

it.each(Object.keys(reach) as Reached[])('given %s, then a restart changes nothing', (from) => {
  reach[from]();
  const before = drift.persisted();
  drift.restore();
  expect(drift.persisted()).toBe(before);
});

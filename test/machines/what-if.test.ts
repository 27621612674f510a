/** Another policy, put to what was recorded: what it would have approved, proposed, recommended, and what would have held it up. */
import { describe, expect, test } from 'vitest';
import { recordedAction } from '../../machines/recorded-actions.ts';
import type { RecordedAction } from '../../machines/recorded-actions.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { ActionStatus, Policy } from '../../machines/remediation.ts';
import { compare, joined } from '../../machines/what-if-comparison.ts';
import { replay } from '../../machines/what-if.ts';
import type { Assumptions, Recording, Verdict } from '../../machines/what-if.ts';
import { DEFAULT_POLICY } from '../../machines/remediation.ts';
import {
  KNOWING_NOTHING,
  MINUTE,
  policyOf,
  recordingWith,
  T0,
  WrittenLog,
} from '../support/recorded-life.ts';
import { APPROVE, COUNTS, PROPOSE } from '../support/supervision.ts';

const HOUR = 60;
const at = (minute: number): number => T0 + minute * MINUTE;

/** By key, and the minute in which it began. */
function verdicts(
  recording: Recording,
  policy: Policy,
  assumptions: Partial<Assumptions> = {},
): Record<string, Verdict> {
  const found = replay(recording, policy, { ...KNOWING_NOTHING, ...assumptions });
  const named = recording.cases.map((one): [string, Verdict | undefined] => [
    `${one.standing.drift.key}@${(one.at - T0) / MINUTE}`,
    found.get(one.id),
  ]);
  return Object.fromEntries([
    ...named,
    ...recording.actions.map(({ id }) => [id, found.get(id)]),
  ]) as Record<string, Verdict>;
}

describe('drifts', () => {
  const web = recordingWith(new WrittenLog().stood('vps/web', 0, 30).cases());

  test('given the default policy, then it is recommended and no more', () => {
    expect(verdicts(web, DEFAULT_POLICY)['vps/web@0']).toMatchObject({
      kind: 'recommended',
      action: 'container_restart',
      because: 'no rule of the policy fits',
      run: null,
    });
  });

  test('given a rule that proposes, then a person would have been asked', () => {
    expect(verdicts(web, policyOf([PROPOSE]))['vps/web@0']).toMatchObject({
      kind: 'proposed',
      requiresHuman: true,
      rule: 'ask',
      run: null,
    });
  });

  test('given a rule that approves, then it says when, and the gate lets it run', () => {
    expect(verdicts(web, policyOf([APPROVE]))['vps/web@0']).toMatchObject({
      kind: 'approved',
      requiresHuman: false,
      rule: 'all',
      approvedAt: at(0),
      run: { at: at(0), because: null },
    });
  });

  test('given a host on which a person always decides, then it is only proposed', () => {
    const policy = policyOf([APPROVE], {}, { always_human_hosts: ['vps'] });
    expect(verdicts(web, policy)['vps/web@0']).toMatchObject({ kind: 'proposed', rule: 'all' });
  });

  test('given one action at once, then the second is approved when the first is over, and the third went before', () => {
    const log = new WrittenLog().stood('a/x', 0, 3).stood('b/x', 1, 60).stood('c/x', 2, 4).cases();
    const said = verdicts(recordingWith(log), policyOf([APPROVE]));
    expect(said['a/x@0']).toMatchObject({ kind: 'approved', approvedAt: at(0) });
    expect(said['b/x@1']).toMatchObject({ kind: 'approved', approvedAt: at(3) }); // a/x was gone then
    expect(said['c/x@2']).toMatchObject({ kind: 'blocked', because: '1 at once: b/x is not over' });
  });

  test('given what never ran, then it holds its place for verify_within at most', () => {
    const log = new WrittenLog().stood('a/x', 0, null).stood('b/x', 1, null).cases();
    const said = verdicts(recordingWith(log), policyOf([APPROVE], { verify_within: 120 }));
    expect(said['b/x@1']).toMatchObject({ kind: 'approved', approvedAt: at(3) }); // 1 min run, 2 min verified
  });

  test('given two approvals an hour, then the third waits, and is told until when', () => {
    const limits = { approvals_per_hour: 2 };
    const log = new WrittenLog()
      .stood('a/x', 0, 1)
      .stood('a/x', 10, 11)
      .stood('a/x', 20, 40)
      .stood('b/x', 21, 70)
      .cases();
    const said = verdicts(recordingWith(log), policyOf([APPROVE], { limits }));
    expect(said['a/x@20']).toMatchObject({
      kind: 'blocked',
      because: '2 approvals an hour',
      until: at(HOUR),
    });
    expect(said['b/x@21']).toMatchObject({ kind: 'approved', approvedAt: at(HOUR) });
  });

  test('given it comes back again and again, then after so many approvals within an hour a person has to look', () => {
    const log = [0, 10, 20].reduce(
      (all, from) => all.stood('a/x', from, from + 5),
      new WrittenLog(),
    );
    const limits = { approvals_per_target_per_hour: 2 };
    const said = verdicts(recordingWith(log.cases()), policyOf([APPROVE], { limits }));
    expect(said['a/x@10']?.kind).toBe('approved');
    expect(said['a/x@20']).toMatchObject({
      kind: 'blocked',
      because: expect.stringMatching(
        /2 actions were approved for a\/x .*a person has to look/,
      ) as string,
    });
  });

  test('given windows, then it waits for one, or says when the next would have been', () => {
    const rule = { ...APPROVE, windows: [{ from: '10:00', to: '11:00' }] };
    const log = new WrittenLog().stood('a/x', 0, 30).stood('b/x', 31, 200).cases();
    const said = verdicts(recordingWith(log), policyOf([rule]));
    const because = 'outside of the windows of its rule';
    expect(said['a/x@0']).toMatchObject({ kind: 'blocked', because, until: at(2 * HOUR) });
    expect(said['b/x@31']).toMatchObject({ kind: 'approved', approvedAt: at(2 * HOUR) });
  });

  test('given what a person approved and it helped, then it is earned from there on, and one failure takes it back', () => {
    const log = new WrittenLog()
      .helped('a/x', 0)
      .helped('a/x', 100)
      .helped('a/x', 200)
      .helped('a/x', 300, false)
      .stood('a/x', 400, 500)
      .cases();
    const said = verdicts(recordingWith(log), policyOf([{ ...APPROVE, mode: 'earn', after: 3 }]));
    expect(said['a/x@0']).toMatchObject({
      kind: 'proposed',
      because: 'rule all: 0 of 3 verified successes',
    });
    expect(said['a/x@200']).toMatchObject({ kind: 'proposed', run: { at: at(205) } });
    expect(said['a/x@300']).toMatchObject({ kind: 'approved', approvedAt: at(300) });
    expect(said['a/x@400']).toMatchObject({
      kind: 'proposed',
      because: 'rule all: 0 of 3 verified successes',
    });
  });

  test('given only recommendations, then nothing is earned by what would have run', () => {
    const log = [0, 100, 200, 300].reduce(
      (all, from) => all.stood('a/x', from, from + 9),
      new WrittenLog(),
    );
    const said = verdicts(
      recordingWith(log.cases()),
      policyOf([{ ...APPROVE, mode: 'earn', after: 1 }]),
    );
    expect(Object.values(said).map(({ kind }) => kind)).toEqual(Array(4).fill('proposed'));
  });

  test('given a missing service is back while another is unwell, then it is missed no more by who doubts the observer', () => {
    const missing = { kind: 'missing_service' } as const;
    const log = new WrittenLog()
      .say(0, 'reconcile_required', 'a/x', missing)
      .say(1, 'reconcile_required', 'b/x', missing)
      .stood('c/x', 2, null)
      .say(3, 'drift_resolved', 'a/x')
      .say(4, 'reconcile_required', 'd/x', missing)
      .cases();
    const services = { ...COUNTS.services, desired: 3 };
    const counts = { ...COUNTS, services };
    const policy = policyOf([PROPOSE], { doubt_above_percent: 99 });
    expect(verdicts(recordingWith(log), policy, { counts })['d/x@4']).toMatchObject({
      kind: 'proposed',
    });
  });

  test('given a class that a person took back, then it is not approved', () => {
    const log = new WrittenLog().helped('a/x', 0).stood('a/x', 100, 200).cases();
    const policy = policyOf([{ ...APPROVE, mode: 'earn', after: 1 }]);
    const revoked = ['container_restart a/x'];
    expect(verdicts(recordingWith(log), policy)['a/x@100']?.kind).toBe('approved');
    expect(verdicts(recordingWith(log), policy, { revoked })['a/x@100']?.kind).toBe('proposed');
  });

  test('given most services drift at once, then the observer is doubted, and nothing is proposed', () => {
    const names = Array.from({ length: 12 }, (_, i) => `vps/s${i}`);
    const log = names
      .reduce((all, key) => all.stood(key, 0, 20), new WrittenLog())
      .stood('nas/db', 5, 40);
    const said = verdicts(recordingWith(log.cases()), policyOf([APPROVE]), { counts: COUNTS });
    expect(said['vps/s3@0']).toMatchObject({
      kind: 'blocked',
      because: 'the observer is doubted, so nothing is proposed',
    });
    expect(said['nas/db@5']).toMatchObject({ kind: 'approved', approvedAt: at(20) });
    const calm = policyOf([APPROVE], { doubt_above_percent: 100 });
    expect(verdicts(recordingWith(log.cases()), calm, { counts: COUNTS })['vps/s0@0']?.kind).toBe(
      'approved',
    );
  });

  test('given a person said yes while a limit held the policy up, then it was a person who let it run, and it was not held up', () => {
    const log = new WrittenLog().stood('b/y', 0, 60).helped('a/x', 1).cases();
    expect(verdicts(recordingWith(log), policyOf([APPROVE]))['a/x@1']).toMatchObject({
      kind: 'proposed',
      requiresHuman: false,
      approvedAt: null,
      run: { at: at(6) },
    });
  });

  test('given a person said no, then it was over for as long as the drift stood', () => {
    const action_id = 'container-restart-a-x';
    const log = new WrittenLog()
      .say(0, 'reconcile_required', 'a/x')
      .say(0, 'action_proposed', 'a/x', { action_id })
      .say(5, 'action_ended', 'a/x', { action_id, because: 'rejected: not now' })
      .say(9, 'drift_resolved', 'a/x')
      .cases();
    expect(verdicts(recordingWith(log), policyOf([PROPOSE]))['a/x@0']).toMatchObject({
      kind: 'proposed',
      run: null,
    });
    expect(verdicts(recordingWith(log), policyOf([APPROVE]))['a/x@0']).toMatchObject({
      kind: 'approved',
    });
  });

  test('given the gate is closed until the approval lapses, then it is given again, and blocked when the drift went', () => {
    const policy = policyOf(
      [APPROVE],
      { limits: { actions_at_once: 1, approvals_per_target_per_hour: 20 } },
      {
        closed_windows: [{ from: '00:00', to: '12:00' }],
        approval_expires: 600,
      },
    );
    const log = new WrittenLog().stood('a/x', 0, 60).stood('b/x', 61, 400).cases();
    const said = verdicts(recordingWith(log), policy);
    expect(said['a/x@0']).toMatchObject({
      kind: 'blocked',
      because: 'closed window 00:00 to 12:00 UTC',
      until: at(4 * HOUR),
    });
    expect(said['b/x@61']).toMatchObject({ kind: 'approved', run: { at: at(4 * HOUR) } });
  });
});

function action(id: string, status: ActionStatus, content: JsonObject): RecordedAction {
  const file = {
    action_id: id,
    type: 'container_restart',
    node: 'vps',
    service: 'web',
    risk_level: 'low',
    confidence: 0.9,
    requires_human: false,
    timestamp: T0 / 1000,
    source_event: 'service_unhealthy',
    llm_model: 'ollama/x',
    payload: { action: 'restart', reason: 'it does not answer any more' },
    ...content,
  };
  const read = recordedAction(id, { status, content: file, changedAt: at(50) });
  if (read === undefined) throw new Error('it is an action');
  return read;
}
const move = (minute: number, to: string): JsonObject => ({
  from: '',
  to,
  timestamp: at(minute) / 1000,
  by: 'x',
});

describe('actions', () => {
  test('given stricter guardrails, then the model would have been held to them', () => {
    const actions = [action('plan-a', 'pending', {})];
    const strict = policyOf([], {}, { always_notify_types: ['service_*'], confidence_floor: 0.95 });
    const said = verdicts(recordingWith([], { actions }), strict);
    expect(said['plan-a']).toMatchObject({
      kind: 'proposed',
      action: 'notify',
      requiresHuman: true,
    });
    expect(verdicts(recordingWith([], { actions }), DEFAULT_POLICY)['plan-a']).toMatchObject({
      action: 'container_restart',
      requiresHuman: false,
      rule: null,
    });
  });

  test('given guardrails that held then, then a laxer policy starts from what the model said', () => {
    const answered = {
      action: 'restart',
      node: 'vps',
      service: 'web',
      reason: 'it does not answer any more',
      confidence: 0.6,
      requires_human: false,
    };
    const actions = [
      action('plan-a', 'pending', { requires_human: true, confidence: 0.6, answered }),
    ];
    const lax = policyOf([], {}, { confidence_floor: 0.5 });
    expect(verdicts(recordingWith([], { actions }), lax)['plan-a']).toMatchObject({
      requiresHuman: false,
    });
  });

  test('given a person approved it, then the gate lets it run by the windows and limits of the policy', () => {
    const history = [move(10, 'approved'), move(11, 'running'), move(13, 'completed')];
    const other = [move(10, 'approved'), move(12, 'running'), move(14, 'completed')];
    const actions = [
      action('plan-a', 'completed', { transition_history: history }),
      action('plan-b', 'completed', { service: 'db', transition_history: other }),
    ];
    const recording = recordingWith([], { actions });
    const said = verdicts(recording, DEFAULT_POLICY);
    expect(said['plan-a']).toMatchObject({ run: { at: at(10), because: null } });
    expect(said['plan-b']).toMatchObject({
      run: { at: at(12), because: 'blast radius: 1 at once on vps' },
    });
    const closed = policyOf([], {}, { closed_windows: [{ from: '08:00', to: '20:00' }] });
    expect(verdicts(recording, closed)['plan-a']?.run).toEqual({
      at: null,
      because: 'closed window 08:00 to 20:00 UTC',
      until: at(12 * HOUR),
    });
  });

  test('given it was open for a target that drifted, then the policy waited for it', () => {
    const actions = [action('plan-a', 'rejected', { transition_history: [move(20, 'rejected')] })];
    const cases = new WrittenLog().stood('vps/web', 5, 10).stood('vps/web', 11, 60).cases();
    const said = verdicts(recordingWith(cases, { actions }), policyOf([APPROVE]));
    expect(said['vps/web@5']).toMatchObject({
      kind: 'blocked',
      because: 'action plan-a is open for it',
    });
    expect(said['vps/web@11']).toMatchObject({ kind: 'approved', approvedAt: at(20) });
  });

  test('given a drift proposed it, then it is told of with the drift, and for how long it ran is known', () => {
    const { cases } = { cases: new WrittenLog().helped('vps/web', 0).cases() };
    const id = cases[0]?.recorded.actionId ?? '';
    const history = [move(5, 'approved'), move(5, 'running'), move(6, 'completed')];
    const supervisor = { address: 'system/supervisor/vps/web' };
    const mine = action(id, 'completed', { supervisor, transition_history: history });
    const whole = joined(cases, [mine, action('plan-a', 'pending', {})]);
    expect(whole.actions.map((one) => one.id)).toEqual(['plan-a']);
    expect(whole.runs.get(id)).toBe(MINUTE);
  });
});

test('given two policies, then what differs is told, and counted', () => {
  const cases = new WrittenLog().helped('a/x', 0).stood('b/x', 60, 90).stood('b/y', 61, 62).cases();
  const recording = recordingWith(cases);
  const [old, next] = [DEFAULT_POLICY, policyOf([APPROVE])].map((policy) =>
    replay(recording, policy, KNOWING_NOTHING),
  ) as [Map<string, Verdict>, Map<string, Verdict>];
  const found = compare(recording, { old, new: next }, 0);
  expect(found.counts).toMatchObject({
    recorded: { approved: 0, proposed: 1, recommended: 2 },
    old: { approved: 0, recommended: 3, not_run: 0 },
    new: { approved: 2, blocked: 1, ran_at_once: 2 },
  });
  expect(found.items.map(({ key, recorded, isSame }) => [key, recorded, isSame])).toEqual([
    ['a/x', 'approved by a person, helped', false],
    ['b/x', 'recommended', false],
    ['b/y', 'recommended', false],
  ]);
  expect(compare(recording, { old, new: old }, 0).items.every(({ isSame }) => isSame)).toBe(true);
  expect(compare(recording, { old, new: next }, at(63)).items.map(({ key }) => key)).toEqual([
    'b/x',
  ]);
});

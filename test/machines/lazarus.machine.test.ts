import { describe, expect, test } from 'vitest';
import { lazarusMachine } from '../../machines/lazarus.machine.ts';
import { DEFAULT_POLICIES } from '../../machines/mission.ts';
import type { AutoRevive, Policies } from '../../machines/mission.ts';
import { MachineDriver } from '../support/machine-driver.ts';
import type { Reaction } from '../support/machine-driver.ts';

const lazarus = (): MachineDriver =>
  new MachineDriver(lazarusMachine, { cellId: 'c', agentId: 'a' });

const tell = (actor: MachineDriver, type: string, fields: object = {}): Reaction =>
  actor.deliver(Object.assign({ type }, fields));

function fail(
  actor: MachineDriver,
  auto: AutoRevive = 'yes',
  extra: Partial<Policies> = {},
  progress = 0,
): Reaction {
  return tell(actor, 'agent.failed', {
    failure: {
      reason: 'worker_exit',
      signature: 'worker_exit:1@t/s',
      message: 'the worker exited with code 1',
      taskId: 't',
      step: 's',
      progress,
    },
    policies: { ...DEFAULT_POLICIES, auto_revive: auto, ...extra },
    restart: { intensity: 5, period: 60 },
  });
}

const revived = (actor: MachineDriver, revivalId: string): Reaction =>
  tell(actor, 'agent.revived', { revivalId, pid: 7 });
const entry = (actor: MachineDriver): unknown => actor.running.get('ledger')?.input['entry'];
/** Lets the pause before the next revival pass, if there is one. */
function waitOut(actor: MachineDriver): void {
  if (actor.running.has('backoff')) actor.pass(30_000).done('backoff');
}

describe('policy yes', () => {
  test('revives at once, waits for the answer, records it and watches on', () => {
    const actor = lazarus();
    expect(fail(actor).sent).toEqual([
      { to: 'cell/c/agent/a', event: { type: 'agent.revive', revivalId: 'a-1' } },
    ]);
    expect(actor.running.get('deadline')?.input['at']).toBe(actor.clock.at + 300_000);
    revived(actor.pass(12), 'a-1');
    expect(entry(actor)).toMatchObject({
      revival_id: 'a-1',
      cell_id: 'c',
      agent_id: 'a',
      status: 'revived',
      signature: 'worker_exit:1@t/s',
      took_ms: 12,
      attempts: 1,
      revived_at: new Date(actor.clock.at).toISOString(),
      story: [
        expect.stringContaining('failed: the worker exited with code 1'),
        expect.stringContaining('revival 1 started'),
        expect.stringContaining('revived'),
      ],
    });
    actor.done('ledger');
    expect(actor.value).toBe('watching');
  });

  test('an answer to another revival does not count (L2)', () => {
    const actor = lazarus();
    fail(actor);
    revived(actor, 'a-0');
    expect(actor.value).toBe('reviving');
  });

  test('failing again while it is revived is a further attempt of the same request (L1)', () => {
    const actor = lazarus();
    fail(actor);
    fail(actor);
    expect(actor.value).toBe('backingOff');
    waitOut(actor);
    revived(actor, 'a-1');
    expect(entry(actor)).toMatchObject({ status: 'revived', attempts: 2 });
  });

  test('failing again while the outcome is recorded waits and is then dealt with (L1)', () => {
    const actor = lazarus();
    fail(actor);
    revived(actor, 'a-1');
    expect(fail(actor).sent).toEqual([]);
    actor.done('ledger');
    waitOut(actor);
    expect(actor.sent.at(-1)?.event).toEqual({ type: 'agent.revive', revivalId: 'a-2' });
  });

  test('after max_retries without a finished step it gives up and tells the whole story', () => {
    const actor = lazarus();
    for (let i = 0; i < 3; i += 1) {
      fail(actor);
      waitOut(actor);
      revived(actor, `a-${i + 1}`);
      actor.pass(60_000).done('ledger');
    }
    fail(actor);
    expect(entry(actor)).toMatchObject({ status: 'failed', outcome: 'gave_up', revival_id: 'a-4' });
    expect(actor.sent.at(-1)?.event).toMatchObject({
      type: 'agent.abandoned',
      reason: expect.stringContaining('worker_exit:1@t/s came 4 times in a row'),
    });
  });

  test('a finished step in between starts the count anew, told or seen in the next failure', () => {
    const actor = lazarus();
    for (let i = 0; i < 8; i += 1) {
      fail(actor, 'yes', {}, i);
      expect(actor.value).toBe('reviving');
      revived(actor, `a-${i + 1}`);
      actor.pass(60_000).done('ledger');
      tell(actor, 'agent.progressed', { progress: i });
    }
  });

  test('too many within the period: it gives up although each made progress', () => {
    const actor = lazarus();
    for (let i = 0; i < 5; i += 1) {
      fail(actor, 'yes', {}, i);
      revived(actor.pass(1000), `a-${i + 1}`);
      actor.done('ledger');
    }
    fail(actor, 'yes', {}, 9);
    expect(entry(actor)).toMatchObject({
      outcome: 'gave_up',
      story: expect.arrayContaining([expect.stringContaining('more than 5 revivals within 60 s')]),
    });
  });

  test('no answer within revive_timeout: given up; one that comes after all still counts (L2)', () => {
    const actor = lazarus();
    fail(actor, 'yes', { revive_timeout: 10 });
    actor.pass(10_000).done('deadline');
    expect(entry(actor)).toMatchObject({ outcome: 'gave_up' });
    actor.done('ledger');
    revived(actor, 'a-1');
    expect(entry(actor)).toMatchObject({ status: 'revived' });
  });
});

describe.each<[AutoRevive, string, string]>([
  ['ask', 'asking', 'pending_approval'],
  ['no', 'refused', 'failed'],
])('policy %s', (auto, state, status) => {
  test('does not revive, records it and tells the agent why', () => {
    const actor = lazarus();
    const { sent } = fail(actor, auto);
    expect(sent.map(({ event }) => event.type)).toEqual(['agent.abandoned']);
    expect(sent[0]?.event['reason']).toMatch(/`lazarus agent revive [^/` ]+\/a`/);
    expect(entry(actor)).toMatchObject({ status, revived_at: null, attempts: 0 });
    actor.done('ledger');
    expect(actor.value).toEqual({ [state]: 'resting' });
  });

  test('a person’s approval revives at once, also before the entry is written (L4)', () => {
    const actor = lazarus();
    fail(actor, auto);
    const { sent, ended } = tell(actor, 'revival.approve', { by: 'ann' });
    expect(ended).toContain('ledger');
    expect(sent[0]?.event.type).toBe('agent.revive');
    revived(actor, String(sent[0]?.event['revivalId']));
    expect(entry(actor)).toMatchObject({ status: 'revived', approved_by: 'ann', attempts: 1 });
  });
});

describe('what people answer', () => {
  test('a rejected request is closed, recorded, and can still be approved', () => {
    const actor = lazarus();
    fail(actor, 'ask');
    tell(actor, 'revival.reject', { by: 'bob' });
    expect(entry(actor)).toMatchObject({ outcome: 'rejected', status: 'failed' });
    expect(actor.sent.at(-1)?.event['reason']).toContain('rejected by bob');
    actor.done('ledger');
    tell(actor, 'revival.approve', { by: 'ann' });
    expect(actor.value).toBe('reviving');
  });

  test('nobody answers for a day: given up, still to be approved', () => {
    const actor = lazarus();
    fail(actor, 'ask');
    actor.done('ledger');
    expect(actor.running.get('expiry')?.input['at']).toBe(actor.clock.at + 86_400_000);
    actor.pass(86_400_000).done('expiry');
    expect(entry(actor)).toMatchObject({ outcome: 'gave_up' });
  });

  test.each(['revival.approve', 'revival.reject'])(
    '%s without a failure is refused (L4)',
    (type) => {
      expect(() => tell(lazarus(), type, { by: 'ann' })).toThrowError(
        expect.objectContaining({ code: 'CONFLICT' }),
      );
    },
  );

  test('approving twice: the second is refused, the first goes on', () => {
    const actor = lazarus();
    fail(actor, 'ask');
    tell(actor, 'revival.approve', { by: 'ann' });
    expect(() => tell(actor, 'revival.approve', { by: 'bob' })).toThrowError(
      /cannot be approved now/,
    );
    expect(actor.value).toBe('reviving');
  });
});

describe('the ledger', () => {
  test('a failed writing is tried again with growing pauses, a bounded number of times (L3, L5)', () => {
    const actor = lazarus();
    fail(actor);
    revived(actor, 'a-1');
    const pauses: number[] = [];
    for (let i = 0; i < 20 && actor.running.has('ledger'); i += 1) {
      actor.fails('ledger', 'disk full');
      const until = actor.running.get('ledgerRetry')?.input['at'];
      if (typeof until !== 'number') break;
      pauses.push(until - actor.clock.at);
      actor.pass(until - actor.clock.at).done('ledgerRetry');
    }
    expect(pauses).toEqual([1, 2, 4, 8, 16, 32, 64, 128].map((s) => s * 1000));
    expect(actor.value).toBe('watching');
  });

  test.each([
    ['reviving', 'yes' as const],
    ['asking', 'ask' as const],
    ['refused', 'no' as const],
  ])('an agent removed while %s ends in the ledger, and its id starts over', (_, auto) => {
    const actor = lazarus();
    fail(actor, auto);
    tell(actor, 'agent.removed');
    expect(entry(actor)).toMatchObject({ revival_id: 'a-1', status: 'failed' });
    expect(fail(actor, 'yes').sent).toEqual([]);
    actor.done('ledger');
    expect(actor.sent.at(-1)?.event).toEqual({ type: 'agent.revive', revivalId: 'a-2' });
  });

  test('stories and histories are bounded (L5)', () => {
    const actor = lazarus();
    fail(actor, 'no');
    for (let i = 0; i < 100; i += 1) fail(actor, 'no');
    expect(actor.snapshot.context.story.length).toBeLessThanOrEqual(40);
  });
});

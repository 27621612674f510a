import { describe, expect, test } from 'vitest';
import { lazarusMachine } from '../../machines/lazarus.machine.ts';
import type { Failure } from '../../machines/events.ts';
import type { LedgerEntry } from '../../machines/lazarus-context.ts';
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
  failure: Partial<Failure> = {},
): Reaction {
  return tell(actor, 'agent.failed', {
    failure: {
      reason: 'worker_exit',
      signature: 'worker_exit:1@t/s',
      message: 'the worker exited with code 1',
      taskId: 't',
      step: 's',
      progress,
      ...failure,
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
      { to: 'cell/c/agent/a', event: { type: 'agent.revive', revivalId: 'c.a.1', attempt: 1 } },
    ]);
    expect(actor.running.get('deadline')?.input).toEqual({ up: actor.clock.up + 300_000 });
    revived(actor.pass(12), 'c.a.1');
    expect(entry(actor)).toMatchObject({
      revival_id: 'c.a.1',
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
    revived(actor, 'c.a.0');
    expect(actor.value).toEqual({ reviving: 'calling' });
  });

  test('failing again while it is revived is a further attempt of the same request (L1)', () => {
    const actor = lazarus();
    fail(actor);
    fail(actor);
    expect(actor.value).toBe('backingOff');
    waitOut(actor);
    revived(actor, 'c.a.1');
    expect(entry(actor)).toMatchObject({ status: 'revived', attempts: 2 });
  });

  test('failing again while the outcome is recorded waits and is then dealt with (L1)', () => {
    const actor = lazarus();
    fail(actor);
    revived(actor, 'c.a.1');
    expect(fail(actor).sent).toEqual([]);
    actor.done('ledger');
    waitOut(actor);
    expect(actor.sent.at(-1)?.event).toMatchObject({ type: 'agent.revive', revivalId: 'c.a.2' });
  });

  test('after max_retries without a finished step a person is asked, with the whole story', () => {
    const actor = lazarus();
    for (let i = 0; i < 3; i += 1) {
      fail(actor);
      waitOut(actor);
      revived(actor, `c.a.${i + 1}`);
      actor.pass(60_000).done('ledger');
    }
    fail(actor);
    expect(entry(actor)).toMatchObject({
      status: 'pending_approval',
      outcome: 'asking',
      revival_id: 'c.a.4',
      asked: true,
      because:
        '3 revivals brought no finished step (max_retries); worker_exit:1@t/s came 4 times in a row',
      expires_at: new Date(actor.clock.at + 86_400_000).toISOString(),
    });
    expect(actor.sent.at(-1)?.event).toMatchObject({
      type: 'agent.abandoned',
      reason: expect.stringContaining('`lazarus revivals show c.a.4`'),
    });
  });

  test('a finished step in between starts the count anew, told or seen in the next failure', () => {
    const actor = lazarus();
    for (let i = 0; i < 8; i += 1) {
      fail(actor, 'yes', {}, i);
      expect(actor.value).toEqual({ reviving: 'calling' });
      revived(actor, `c.a.${i + 1}`);
      actor.pass(60_000).done('ledger');
      tell(actor, 'agent.progressed', { progress: i });
    }
  });

  test('too many within the period: a person is asked although each made progress', () => {
    const actor = lazarus();
    for (let i = 0; i < 5; i += 1) {
      fail(actor, 'yes', {}, i);
      revived(actor.pass(1000), `c.a.${i + 1}`);
      actor.done('ledger');
    }
    fail(actor, 'yes', {}, 9);
    expect(entry(actor)).toMatchObject({
      outcome: 'asking',
      story: expect.arrayContaining([expect.stringContaining('more than 5 revivals within 60 s')]),
    });
  });

  test('not revived within revive_timeout: a person is asked; a revival that comes after all still counts (L2)', () => {
    const actor = lazarus();
    fail(actor, 'yes', { revive_timeout: 10 });
    actor.pass(10_000).done('deadline');
    expect(entry(actor)).toMatchObject({
      outcome: 'asking',
      because: 'the agent did not come back within revive_timeout',
    });
    actor.done('ledger');
    revived(actor, 'c.a.1');
    expect(entry(actor)).toMatchObject({ status: 'revived', asked: true, answered: null });
  });
});

describe('revive_timeout counts only the time in which something is tried (L8)', () => {
  const queued = (actor: MachineDriver): Reaction =>
    tell(actor, 'agent.queued', { revivalId: 'c.a.1' });
  const starting = (actor: MachineDriver): Reaction =>
    tell(actor, 'agent.starting', { revivalId: 'c.a.1' });
  const deadline = (actor: MachineDriver): unknown => actor.running.get('deadline')?.input['up'];

  test('given a worker that waits its turn, then the clock stands still, and goes on with what was left', () => {
    const actor = lazarus();
    fail(actor, 'yes', { revive_timeout: 10 });
    queued(actor.pass(4_000));
    expect(actor.value).toEqual({ reviving: 'queued' });
    expect(deadline(actor)).toBeUndefined();
    starting(actor.pass(100_000));
    expect(deadline(actor)).toBe(actor.clock.up + 6_000);
    queued(actor.pass(1_000)); // the node was restarted, and there is a queue again
    starting(actor.pass(7_000));
    expect(deadline(actor)).toBe(actor.clock.up + 5_000);
    actor.pass(5_000).done('deadline');
    expect(entry(actor)).toMatchObject({
      outcome: 'asking',
      because: 'the agent did not come back within revive_timeout',
    });
  });

  test('given one that is revived after its turn, then the ledger tells the wait, and all of the time it took', () => {
    const actor = lazarus();
    fail(actor, 'yes', { revive_timeout: 10 });
    queued(actor);
    starting(actor.pass(60_000));
    revived(actor.pass(40), 'c.a.1');
    expect(entry(actor)).toMatchObject({
      outcome: 'revived',
      took_ms: 60_040,
      story: expect.arrayContaining([
        expect.stringContaining('its worker waits its turn to start'),
        expect.stringContaining('its worker starts'),
      ]),
    });
  });

  test('given a failure while it waited, then the next attempt has the time that was left', () => {
    const actor = lazarus();
    fail(actor, 'yes', { revive_timeout: 100 });
    queued(actor);
    starting(actor.pass(50_000));
    fail(actor.pass(1_000), 'yes', { revive_timeout: 100 });
    waitOut(actor);
    const used = actor.clock.up - 50_000 - 5_000; // the driver's clock begins at 5,000
    expect(deadline(actor)).toBe(actor.clock.up + 100_000 - used);
  });

  test('an approval gives it the whole time, from the approval on', () => {
    const actor = lazarus();
    fail(actor, 'ask', { revive_timeout: 10 });
    tell(actor.pass(3_600_000), 'revival.approve', { by: 'ann' });
    actor.done('answer');
    expect(deadline(actor)).toBe(actor.clock.up + 10_000);
  });

  test('the time in which no node runs does not count', () => {
    const actor = lazarus();
    fail(actor, 'yes', { revive_timeout: 10 });
    actor.clock.at += 3_600_000; // only the wall clock went on
    revived(actor.pass(1_000), 'c.a.1');
    expect(entry(actor)).toMatchObject({ outcome: 'revived' });
    expect(deadline(lazarus())).toBeUndefined();
  });

  test('one that waits for long is asked whether it still does, so that no wait is for ever', () => {
    const actor = lazarus();
    fail(actor, 'yes', { revive_timeout: 10 });
    queued(actor);
    const { sent } = actor.pass(300_000).done('turn');
    expect(sent.map(({ event }) => event)).toEqual([
      { type: 'agent.revive', revivalId: 'c.a.1', attempt: 1 },
    ]);
    expect(deadline(actor)).toBe(actor.clock.up + 10_000);
    queued(actor);
    expect(actor.value).toEqual({ reviving: 'queued' });
    expect(actor.snapshot.context.story.filter((line: string) => /turn/.test(line)).length).toBe(1);
  });

  const HELD = { reason: 'actor_held', signature: 'actor_held:x@t' } as const;
  test.each([
    ['its state is put back', 'rollingBack', 'rollBack', { rollBack: true }, {}],
    ['its actor is released', 'releasing', 'release', {}, HELD],
  ])(
    'given %s, then the turn that an earlier call waits for does not count, and that of the next does',
    (_, state, effect, how, failure) => {
      const actor = lazarus();
      fail(actor, 'ask', { revive_timeout: 10 }, 0, failure);
      tell(actor, 'revival.approve', { by: 'ann', ...how });
      actor.done('answer');
      queued(actor.pass(1_000));
      expect(actor.value).toEqual({ reviving: state });
      expect(deadline(actor)).toBe(actor.clock.up + 9_000);
      actor.done(effect, { toSeq: 1 });
      queued(actor);
      expect(actor.value).toEqual({ reviving: 'queued' });
      expect(deadline(actor)).toBeUndefined();
    },
  );

  test.each(['agent.queued', 'agent.starting'])('%s of another revival does not count', (type) => {
    const actor = lazarus();
    fail(actor);
    tell(actor, type, { revivalId: 'c.a.7' });
    expect(actor.value).toEqual({ reviving: 'calling' });
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
    expect(sent[0]?.event['reason']).toMatch(
      auto === 'no' ? /`lazarus agent revive c\/a`/ : /`lazarus revivals show c\.a\.1`/,
    );
    expect(entry(actor)).toMatchObject({ status, revived_at: null, attempts: 0 });
    actor.done('ledger');
    expect(actor.value).toEqual({ [state]: 'resting' });
  });

  test('a person’s approval revives at once, also before the entry is written (L4)', () => {
    const actor = lazarus();
    fail(actor, auto);
    const { ended } = tell(actor, 'revival.approve', { by: 'ann' });
    expect(ended).toContain('ledger');
    expect(actor.running.get('answer')?.input['entry']).toMatchObject({
      status: 'pending',
      approved_by: 'ann',
      asked: auto === 'ask',
    });
    const { sent } = actor.done('answer');
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
    actor.done('answer');
    expect(entry(actor)).toMatchObject({
      outcome: 'rejected',
      status: 'failed',
      answered: 'give_up',
      approved_by: null,
    });
    expect(actor.sent.at(-1)?.event['reason']).toContain('given up by bob');
    actor.done('ledger');
    tell(actor, 'revival.approve', { by: 'ann' });
    actor.done('answer');
    expect(actor.value).toEqual({ reviving: 'calling' });
    expect(actor.sent.at(-1)?.event['revivalId']).toBe('c.a.2'); // an answer is used once
  });

  test('nobody answers for a day: it lapses, and can still be approved', () => {
    const actor = lazarus();
    fail(actor, 'ask');
    actor.done('ledger');
    expect(actor.running.get('expiry')?.input['at']).toBe(actor.clock.at + 86_400_000);
    actor.pass(86_400_000).done('expiry');
    expect(entry(actor)).toMatchObject({
      outcome: 'expired',
      because: 'nobody answered in time',
      expires_at: null,
      choices: [],
    });
    tell(actor, 'revival.approve', { by: 'ann' });
    actor.done('answer');
    expect(actor.value).toEqual({ reviving: 'calling' });
  });

  test('how long a question stays open is a policy', () => {
    const actor = lazarus();
    fail(actor, 'ask', { ask_expires: 60 });
    expect(actor.running.get('expiry')?.input['at']).toBe(actor.clock.at + 60_000);
  });

  test('the choices fit the failure, each with its command', () => {
    const choices = (extra: Partial<Policies>, failure: Partial<Failure> = {}): unknown => {
      const actor = lazarus();
      fail(actor, 'ask', extra, 0, failure);
      const { choices: offered } = entry(actor) as LedgerEntry;
      return offered.map(({ choice, command }) => `${choice}: ${command}`);
    };
    const retry = 'retry: lazarus revivals approve c.a.1';
    const back = 'previous_checkpoint: lazarus revivals approve c.a.1 --previous-checkpoint';
    const giveUp = 'give_up: lazarus revivals reject c.a.1';
    const handOver = 'substitute: lazarus revivals approve c.a.1 --substitute';
    expect(choices({})).toEqual([retry, back, `${handOver} <agent>`, giveUp]);
    expect(choices({ substitute_agents: ['b', 'd'] })).toEqual([
      retry,
      back,
      `${handOver} b`,
      giveUp,
    ]);
    expect(choices({ handoff_allowed: false })).toEqual([retry, back, giveUp]);
    expect(choices({}, { taskId: null })).toEqual([retry, back, giveUp]);
    expect(choices({}, { reason: 'actor_held' })).toEqual([retry, giveUp]);
  });

  test('a request’s file that cannot be moved does not stop the answer: its outcome moves it', () => {
    const actor = lazarus();
    fail(actor, 'ask');
    tell(actor, 'revival.approve', { by: 'ann' });
    actor.fails('answer', 'disk full');
    expect(actor.value).toEqual({ reviving: 'calling' });
  });

  test.each([
    ['approved', 'revival.approve'],
    ['rejected', 'revival.reject'],
  ])('it comes back while its request is being marked as %s: it is back', (_, type) => {
    const actor = lazarus();
    fail(actor, 'yes', { revive_timeout: 10 });
    actor.pass(10_000).done('deadline');
    tell(actor, type, { by: 'ann' });
    revived(actor, 'c.a.1');
    expect(entry(actor)).toMatchObject({ status: 'revived' });
    actor.done('ledger');
    expect(actor.value).toBe('watching');
  });

  test.each(['revival.approve', 'revival.reject', 'revival.substitute'])(
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
    const again = (): unknown => tell(actor, 'revival.approve', { by: 'bob' });
    expect(again).toThrowError(/c\.a\.1 of agent a is under way: it waits for no answer/);
    actor.done('answer');
    expect(again).toThrowError(expect.objectContaining({ code: 'CONFLICT' }));
    expect(actor.value).toEqual({ reviving: 'calling' });
  });

  test('rejecting what is closed is refused, and says that it is closed', () => {
    const actor = lazarus();
    fail(actor, 'ask');
    tell(actor, 'revival.reject', { by: 'bob' });
    actor.done('answer');
    expect(() => tell(actor, 'revival.reject', { by: 'bob' })).toThrowError(
      /c\.a\.1 of agent a is closed \(rejected\)/,
    );
  });

  test('an answer to an older request is refused; the one at hand stays open', () => {
    const actor = lazarus();
    fail(actor, 'ask');
    tell(actor, 'revival.approve', { by: 'ann', revivalId: 'c.a.1' });
    actor.done('answer');
    revived(actor, 'c.a.1');
    actor.done('ledger');
    fail(actor, 'ask');
    for (const type of ['revival.approve', 'revival.reject', 'revival.substitute'])
      expect(() =>
        tell(actor, type, { by: 'ann', revivalId: 'c.a.1', agentId: null }),
      ).toThrowError(
        expect.objectContaining({
          code: 'CONFLICT',
          message: 'revival c.a.1 does not wait for an answer any more',
        }),
      );
    expect(actor.value).toEqual({ asking: 'recording' });
    tell(actor, 'revival.approve', { by: 'ann', revivalId: 'c.a.2' });
    expect(actor.value).toBe('answering');
  });
});

describe('the ledger', () => {
  test('a failed writing is tried again with growing pauses, a bounded number of times (L3, L5)', () => {
    const actor = lazarus();
    fail(actor);
    revived(actor, 'c.a.1');
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
  ])('given %s, an agent that is removed ends in the ledger, and its id starts over', (_, auto) => {
    const actor = lazarus();
    fail(actor, auto);
    tell(actor, 'agent.removed');
    expect(entry(actor)).toMatchObject({ revival_id: 'c.a.1', status: 'failed' });
    expect(fail(actor, 'yes').sent).toEqual([]);
    actor.done('ledger');
    expect(actor.sent.at(-1)?.event).toMatchObject({ type: 'agent.revive', revivalId: 'c.a.2' });
  });

  test('stories and histories are bounded (L5)', () => {
    const actor = lazarus();
    fail(actor, 'no');
    for (let i = 0; i < 100; i += 1) fail(actor, 'no');
    expect(actor.snapshot.context.story.length).toBeLessThanOrEqual(40);
  });
});

describe('what an agent cannot report by itself', () => {
  const fault = (actor: MachineDriver): Reaction =>
    tell(actor, 'agent.faulted', {
      failure: {
        reason: 'event_rejected',
        signature: 'event_rejected:x@t',
        message: 'its machine rejected task.assigned: x',
        taskId: 't',
        step: null,
        progress: -1,
      },
      policies: { ...DEFAULT_POLICIES, auto_revive: 'yes' },
      restart: { intensity: 2, period: 60 },
    });

  test('rejected events are counted; more within the period than restarts are allowed, and a person is asked (L6)', () => {
    const actor = lazarus();
    for (let i = 0; i < 2; i += 1) {
      const { sent } = fault(actor.pass(1000));
      expect(sent.map(({ event }) => event.type)).toEqual(['agent.strayed']); // it may have missed its task
      expect(actor.value).toBe('watching');
    }
    fault(actor.pass(1000));
    expect(entry(actor)).toMatchObject({
      outcome: 'asking',
      because: 'its machine rejects events: its machine rejected task.assigned: x',
    });
    expect((entry(actor) as LedgerEntry).choices.map(({ choice }) => choice)).toEqual([
      'retry',
      'previous_checkpoint',
      'give_up',
    ]);
  });

  test('rejected events far apart are no failure (L6)', () => {
    const actor = lazarus();
    for (let i = 0; i < 20; i += 1) fault(actor.pass(30_001));
    expect(actor.value).toBe('watching');
  });

  test('a held actor is released first; one that is held again is the same failure once more', () => {
    const actor = lazarus();
    fail(actor, 'yes', {}, -1, { reason: 'actor_held' });
    expect(actor.value).toEqual({ reviving: 'releasing' });
    expect(actor.sent).toEqual([]);
    fail(actor, 'yes', {}, -1, { reason: 'actor_held' });
    actor.fails('release', 'still damaged');
    waitOut(actor);
    actor.done('release');
    expect(actor.sent.at(-1)?.event.type).toBe('agent.revive');
    expect(actor.snapshot.context).toMatchObject({ attempts: 2, sameSignature: 2 });
  });

  test('a held actor that a person wants put back is released and then put back', () => {
    const actor = lazarus();
    fail(actor, 'ask', {}, -1, { reason: 'actor_held' });
    tell(actor, 'revival.approve', { by: 'ann', rollBack: true });
    actor.done('answer');
    actor.done('release');
    const { sent } = actor.done('rollBack', { toSeq: 7 });
    expect(sent.map(({ event }) => event.type)).toEqual(['agent.strayed', 'agent.revive']);
  });
});

import { describe, expect, test } from 'vitest';
import { GATE, PLANNER } from '../../machines/addresses.ts';
import type { HomelabEvent } from '../../machines/homelab-events.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { ActionStatus } from '../../machines/remediation.ts';
import { ActionDriver, BADLY, hashOf, PLAN, proposal, sentTo, WELL } from '../support/action.ts';

const HOUR = 3_600_000;
const INCIDENT = 'system/planner/vps/web';

function proposed(content = proposal('a')): ActionDriver {
  const one = new ActionDriver();
  one.tell({ type: 'action.propose', content, origin: INCIDENT });
  return one;
}
const writes = (one: ActionDriver, content = proposal('a')) => {
  one.disk = { status: 'pending', content };
  const place = { ...one.disk, sha256: hashOf(content) };
  return one.driver.done('write', { outcome: 'moved', place, reason: null, written: place.sha256 });
};

describe('a proposal', () => {
  test('given it is written, then who proposed it hears that it is durable, and it waits for a person', () => {
    const one = proposed();
    expect(one.driver.running.get('write')?.input).toEqual({
      actionId: 'a',
      content: proposal('a'),
    });
    const { sent } = writes(one);
    expect(sent).toContainEqual({
      to: INCIDENT,
      event: { type: 'proposal.durable', actionId: 'a', path: 'actions/pending/a.json' },
      ifThere: true,
    });
    expect(one.state).toBe('pending');
    expect(one.context).toMatchObject({ status: 'pending', by: INCIDENT });
  });

  test('given another action has its name, then the proposer hears so, and the other one is followed', () => {
    const one = proposed();
    const other = proposal('a', { service: 'db' });
    const place = { status: 'pending', content: other, sha256: hashOf(other) };
    const { sent } = one.driver.done('write', { outcome: 'elsewhere', place, reason: 'taken' });
    expect(sentTo({ sent }, INCIDENT)).toEqual(['proposal.taken']);
    expect(one.state).toBe('pending');
    expect(one.context).toMatchObject({ origin: null, facts: { service: 'db' } });
  });

  test('given it cannot be written, then the proposer hears why, and may try again', () => {
    const one = proposed();
    const { sent } = one.driver.fails('write', 'no space left');
    expect(sent[0]?.event).toEqual({
      type: 'proposal.failed',
      actionId: 'a',
      reason: 'no space left',
    });
    expect(one.state).toBe('empty');
    one.tell({ type: 'action.propose', content: proposal('a'), origin: INCIDENT });
    expect(one.state).toBe('writing');
  });

  test.each([
    ['the same proposal', proposal('a'), 'proposal.durable'],
    ['another one', proposal('a', { service: 'db' }), 'proposal.taken'],
  ])('given it stands, when %s comes, then the answer is fitting', (_name, content, answer) => {
    const one = proposed();
    writes(one);
    const { sent } = one.tell({ type: 'action.propose', content, origin: 'other' });
    expect(sentTo({ sent }, 'other')).toEqual([answer]);
  });

  test('given it was moved to approved/ before we knew that it is written, then that approves it', () => {
    const one = proposed();
    one.found('approved', proposal('a'));
    expect(one.state).toBe('writing');
    const place = { status: 'approved', content: proposal('a'), sha256: hashOf(proposal('a')) };
    const written = place.sha256;
    one.driver.done('write', { outcome: 'moved', place, reason: null, written });
    expect(one.state).toBe('underway.waiting');
    expect(one.context.approval).toMatchObject({ door: 'file' });
  });
});

describe('where its file stands is what it is (A2, A4)', () => {
  test.each<[string, ActionStatus, string]>([
    ['pending', 'pending', 'pending'],
    ['approved', 'approved', 'held'],
    ['running', 'running', 'held'],
    ['completed', 'completed', 'settled'],
    ['rejected', 'rejected', 'settled'],
  ])('first seen in %s', (_name, status, state) => {
    const one = new ActionDriver();
    one.found(status);
    expect(one.state).toBe(state);
    expect(one.driver.running.has('run')).toBe(false);
  });

  test.each<[ActionStatus, string]>([
    ['approved', 'underway.waiting'],
    ['running', 'following'],
    ['completed', 'settled'],
    ['failed', 'settled'],
    ['rejected', 'settled'],
    ['cancelled', 'settled'],
  ])('moved from pending to %s by somebody', (status, state) => {
    const one = new ActionDriver();
    one.found('pending');
    one.found(status);
    expect(one.state).toBe(state);
    expect(one.context.by).toBe('whoever moved its file');
  });

  test.each<[string, JsonObject, string]>([
    ['says so', {}, 'operator-tg-12345 (file)'],
    [
      'says so with characters that steer a terminal',
      { by: 'bob\u001b[2J\u202e' },
      'bob[2J (file)',
    ],
    ['is about another folder', { to: 'rejected' }, 'whoever moved its file'],
    ['is of another day', { timestamp: 1 }, 'whoever moved its file'],
    ['is one of ours', { key: 'n:k' }, 'whoever moved its file'],
  ])('given its history %s, then that is who approved it', (_what, more, by) => {
    const one = new ActionDriver();
    one.found('pending');
    const timestamp = one.driver.clock.at / 1000;
    const line = { from: 'pending', to: 'approved', timestamp, by: 'operator-tg-12345', ...more };
    one.found('approved', { ...proposal('a'), transition_history: [line] });
    expect(one.context).toMatchObject({ by, approval: { by, door: 'file' } });
  });

  test('given another executor takes an approved one, then it is followed to its end and nothing is run', () => {
    const one = new ActionDriver().approved();
    const { sent } = one.found('running');
    expect(one.state).toBe('following');
    expect(sentTo({ sent }, GATE)).toEqual(['gate.left', 'gate.elsewhere']);
    expect(one.driver.running.size).toBe(0);
    expect(sentTo(one.found('completed'), GATE)).toEqual(['gate.left']);
    expect(one.state).toBe('settled');
    expect(one.context.status).toBe('completed');
  });

  test('given another executor puts it back to approved/, then its approval was used, and it is held (A5)', () => {
    const one = new ActionDriver().approved();
    one.found('running');
    one.found('approved');
    expect(one.state).toBe('held');
    expect(one.context.held).toMatch(/was used/);
  });

  test('given one that went from pending to running unseen comes back to approved/, then it is held too', () => {
    const one = new ActionDriver();
    one.found('pending');
    one.found('running');
    one.found('approved');
    expect(one.state).toBe('held');
  });

  test('given its file is removed, then it is cancelled; and given it comes back, then it waits again', () => {
    const one = proposed();
    writes(one);
    const { sent } = one.tell({ type: 'action.missing' });
    expect(one.state).toBe('settled');
    expect(sent.at(-1)?.event).toMatchObject({
      type: 'action.settled',
      status: 'cancelled',
      reason: 'its file was removed',
    });
    one.found('pending');
    expect(one.state).toBe('pending');
  });

  test('given a rejected one is put back to pending/, then it is a new question about what stands there now', () => {
    const one = new ActionDriver();
    one.found('pending');
    one.found('rejected');
    const edited = proposal('a', { service: 'db' });
    one.found('pending', edited);
    expect(one.context.proposed?.sha256).toBe(hashOf(edited));
    one.found('approved', edited);
    expect(one.state).toBe('underway.waiting');
  });

  test('given a rejected one is moved to approved/ at once, then it is held', () => {
    const one = new ActionDriver();
    one.found('pending');
    one.found('rejected');
    one.found('approved');
    expect(one.state).toBe('held');
  });

  test('given nobody can read its file, then it is held; mended, it goes on', () => {
    const one = new ActionDriver();
    one.found('pending');
    one.tell({ type: 'action.unreadable', reason: 'it is a symbolic link' });
    expect([one.state, one.context.held]).toEqual(['held', 'it is a symbolic link']);
    expect(() => one.approve()).toThrow(/cannot be read/);
    one.found('pending');
    expect(one.state).toBe('pending');
  });
});

describe('an approval', () => {
  test('by verb names who, by which door and what, and is asked for at the gate', () => {
    const one = new ActionDriver();
    one.found('pending');
    one.approve();
    expect(one.state).toBe('approving');
    const { sent } = one.moves();
    expect(one.state).toBe('underway.waiting');
    expect(sent.find(({ to }) => to === GATE)?.event).toMatchObject({
      type: 'gate.ask',
      actionId: 'a',
      host: 'vps',
      service: 'web',
    });
    expect(one.context.approval).toEqual({
      by: 'alice (x)',
      door: 'x',
      sha256: hashOf(proposal('a')),
      at: one.driver.clock.at,
      expiresAt: one.driver.clock.at + HOUR,
      usedAt: null,
    });
    expect(one.disk?.content['transition_history']).toMatchObject([
      { from: 'pending', to: 'approved', by: 'alice (x)' },
    ]);
    const steps = one.driver.sent.filter(({ event }) => event.type === 'action.became');
    expect(steps.map(({ event }) => [event['from'], event['status'], event['by']])).toEqual([
      [null, 'pending', 'whoever moved its file'],
      ['pending', 'approved', 'alice (x)'],
    ]);
  });

  test('given two people approve at once, then the second is told who was quicker', () => {
    const one = new ActionDriver();
    one.found('pending');
    one.approve();
    expect(() => one.approve({ by: 'bob' })).toThrow(/being approved by alice \(x\)/);
    one.moves();
    expect(() => one.approve({ by: 'bob' })).toThrow(/approved by alice/);
    expect(one.context.approval?.by).toBe('alice (x)');
  });

  test('given one approves and one rejects at once, then the first counts', () => {
    const one = new ActionDriver();
    one.found('pending');
    one.tell({ type: 'action.reject', by: 'bob', door: 'x', reason: 'no' });
    expect(() => one.approve()).toThrow(/being rejected by bob: approve does not fit/);
    one.moves();
    expect([one.state, one.context.status]).toEqual(['settled', 'rejected']);
    expect(() => one.approve()).toThrow(/is rejected by bob/);
  });

  test('given somebody rejects it by moving the file while the verb approves, then the file counts', () => {
    const one = new ActionDriver();
    one.found('pending');
    one.approve();
    one.disk = { status: 'rejected', content: proposal('a') };
    one.moves();
    expect([one.state, one.context.status]).toEqual(['settled', 'rejected']);
    expect(one.context.refusal).toBe('somebody was quicker');
  });

  test('given it names something else than what stands there, then it is refused', () => {
    const one = new ActionDriver();
    one.found('pending');
    expect(() => one.approve({ sha256: 'f'.repeat(64) })).toThrow(/changed meanwhile/);
    one.approve({ sha256: hashOf(proposal('a')) });
    expect(one.state).toBe('approving');
  });

  test('given the file is changed in the moment it is approved, then it still waits', () => {
    const one = new ActionDriver();
    one.found('pending');
    one.approve();
    one.disk = { status: 'pending', content: proposal('a', { service: 'db' }) };
    one.moves();
    expect([one.state, one.context.approval, one.context.refusal]).toEqual([
      'pending',
      null,
      'it was changed meanwhile',
    ]);
  });

  test.each(['by verb', 'by moving the file'])(
    'given %s, when what was approved is edited, then it is held, and the gate forgets it (A4)',
    (how) => {
      const one = new ActionDriver();
      one.found('pending');
      if (how === 'by verb') one.approve();
      if (how === 'by verb') one.moves();
      else one.found('approved');
      expect(one.state).toBe('underway.waiting');
      const { sent } = one.found('approved', proposal('a', { service: 'db' }));
      expect(one.state).toBe('held');
      expect(one.context.held).toMatch(/changed after .* approved it/);
      expect(sentTo({ sent }, GATE)).toEqual(['gate.left']);
      one.approve({ by: 'bob' });
      one.moves();
      expect(one.state).toBe('underway.waiting');
      expect(one.context.approval).toMatchObject({ by: 'bob', usedAt: null });
    },
  );

  test('given it was edited in pending/, then moving the file approves nothing, and a verb approves what stands there', () => {
    const one = new ActionDriver();
    one.found('pending');
    const edited = proposal('a', { service: 'db' });
    one.found('pending', edited);
    expect(one.state).toBe('pending');
    one.found('approved', edited);
    expect([one.state, one.context.held]).toEqual(['held', expect.stringMatching(/changed/)]);
    one.approve();
    one.moves();
    expect(one.context.approval?.sha256).toBe(hashOf(edited));
  });

  test('given what programs append when they move a file, then it is the same content', () => {
    const one = new ActionDriver();
    one.found('pending');
    one.found(
      'approved',
      proposal('a', {
        status: 'approved',
        updated_at: 5,
        transition_history: [{ from: 'pending' }],
      }),
    );
    expect(one.state).toBe('underway.waiting');
  });

  test('given it is not used in time, then the file goes back to pending/ and may be approved anew', () => {
    const one = new ActionDriver().approved();
    one.driver.pass(HOUR).done('expiry');
    expect(one.state).toBe('expiring');
    one.moves();
    expect([one.state, one.context.approval]).toEqual(['pending', null]);
    expect(one.context.reason).toMatch(/not used in time/);
    one.found('approved');
    expect(one.state).toBe('underway.waiting');
  });

  test('given it has lapsed when the gate lets it run, then it does not', () => {
    const one = new ActionDriver().approved();
    one.driver.pass(HOUR + 1);
    one.tell({ type: 'gate.granted' });
    expect(one.state).toBe('expiring');
  });

  test('given the file was moved while no node ran, then the approval counts from then', () => {
    const one = new ActionDriver();
    one.found('pending');
    const movedAt = one.driver.clock.at + 1000;
    one.driver.pass(2 * HOUR);
    const content = proposal('a');
    one.disk = { status: 'approved', content };
    one.tell({
      type: 'action.found',
      status: 'approved',
      content,
      sha256: hashOf(content),
      movedAt,
    });
    expect(one.state).toBe('expiring');
  });

  test('given it needs a person, then no policy may approve it', () => {
    for (const [more, isRefused] of [
      [{ requires_human: true }, true],
      [{ risk_level: 'dangerous' }, true],
      [{ requires_human: null }, true],
      [{}, false],
    ] as const) {
      const one = new ActionDriver();
      one.found('pending', proposal('a', more));
      const approve = () => one.approve({ by: 'rule', door: 'policy' });
      if (isRefused) expect(approve).toThrow(/needs a person/);
      else expect(approve).not.toThrow();
    }
  });

  test('given the file was edited after it was proposed, then no policy approves what stands there now', () => {
    const one = new ActionDriver();
    one.found('pending');
    const edited = proposal('a', { service: 'db' });
    one.found('pending', edited);
    one.approve({ by: 'rule', door: 'policy' });
    expect(one.context.move?.sha256).toBe(hashOf(proposal('a')));
    one.moves();
    expect([one.state, one.context.approval]).toEqual(['pending', null]);
    expect(one.context.refusal).toMatch(/changed/);
  });

  test('given it is not in pending/, then no policy approves it, and a person may', () => {
    const one = new ActionDriver();
    one.found('approved');
    expect(() => one.approve({ by: 'rule', door: 'policy' })).toThrow(/not pending/);
    expect(() => one.approve()).not.toThrow();
  });

  test('given it is moved back to pending/, then it is taken back', () => {
    const one = new ActionDriver().approved();
    const { sent } = one.found('pending');
    expect([one.state, one.context.approval]).toEqual(['pending', null]);
    expect(sentTo({ sent }, GATE)).toEqual(['gate.left']);
  });
});

describe('what a drift proposed', () => {
  const DRIFT = 'system/supervisor/vps/web';
  const ofDrift = (): ActionDriver => {
    const one = new ActionDriver();
    one.tell({ type: 'action.propose', content: proposal('a'), origin: DRIFT });
    writes(one);
    return one;
  };
  const toldDrift = ({ sent }: { sent: { to: string; event: JsonObject }[] }): unknown[] =>
    sent
      .filter(({ to, event }) => to === DRIFT && event['type'] === 'action.moved')
      .map(({ event }) => event['status']);

  test('given it goes from folder to folder, then the drift hears so; an incident does not', () => {
    const one = ofDrift();
    one.approve();
    expect(toldDrift(one.moves())).toEqual(['approved']);
    one.tell({ type: 'gate.granted' });
    one.driver.done('plan', PLAN);
    expect(toldDrift(one.moves())).toEqual(['running']);
    const other = proposed();
    writes(other);
    other.approve();
    expect(sentTo(other.moves(), INCIDENT)).toEqual([]);
  });

  test('given an approval does not come about, or is not used in time, then the drift hears that it is pending', () => {
    const one = ofDrift();
    one.approve();
    expect(toldDrift(one.driver.fails('move', 'no space left'))).toEqual(['pending']);
    one.approve();
    one.moves();
    one.driver.pass(HOUR).done('expiry');
    expect(toldDrift(one.moves())).toEqual(['pending']);
  });

  test('given its file cannot be read, and is mended, then the drift hears of both', () => {
    const one = ofDrift();
    expect(toldDrift(one.tell({ type: 'action.unreadable', reason: 'x' }))).toEqual(['held']);
    expect(toldDrift(one.found('pending'))).toEqual(['pending']);
  });

  test('given the supervisor takes it back, then only from pending/', () => {
    const cancel = { type: 'action.cancel', by: 'supervisor', door: 'supervisor' } as const;
    const one = ofDrift();
    one.approve();
    one.moves();
    expect(() => one.tell({ ...cancel, reason: 'x' })).toThrow(/only a person/);
    expect(one.state).toBe('underway.waiting');
    const other = ofDrift();
    other.tell({ ...cancel, reason: 'drift_resolved_auto' });
    other.moves();
    expect(other.context).toMatchObject({ status: 'cancelled', by: 'supervisor' });
  });

  test('given it is over, when it is proposed again, then its name is taken: it would be waited for for ever', () => {
    const one = ofDrift();
    one.tell({ type: 'action.reject', by: 'p', door: 'x', reason: null });
    one.moves();
    const again = { type: 'action.propose', content: proposal('a'), origin: DRIFT } as const;
    expect(sentTo(one.tell(again), DRIFT)).toEqual(['proposal.taken']);
  });
});

describe('a run', () => {
  test('is looked up, claimed, run, verified and told, in this order', () => {
    const one = proposed();
    writes(one);
    one.approve();
    one.moves();
    one.tell({ type: 'gate.granted' });
    expect(one.state).toBe('underway.planning');
    expect(one.driver.running.get('plan')?.input['run']).toMatchObject({
      actionId: 'a',
      type: 'container_restart',
      host: 'vps',
      payload: { action: 'restart' },
    });
    one.driver.done('plan', PLAN);
    expect(one.state).toBe('underway.claiming');
    one.moves();
    expect([one.state, one.disk?.status]).toEqual(['underway.running', 'running']);
    expect(one.context.approval?.usedAt).toBe(one.driver.clock.at);
    expect(sentTo(one.driver.pass(5).done('run', WELL), PLANNER)).toEqual(['planner.watch']);
    expect(one.state).toBe('underway.verifying');
    const told = one.tell({ type: 'service.reported', healthy: true, event: at(one, 1) });
    expect(sentTo(told, PLANNER)).toEqual(['planner.unwatch']);
    expect(one.state).toBe('underway.finishing');
    const { sent } = one.moves();
    expect([one.state, one.disk?.status]).toEqual(['settled', 'completed']);
    expect(sentTo({ sent }, GATE)).toEqual(['gate.left']);
    expect(sentTo({ sent }, INCIDENT)).toEqual(['action.settled']);
    expect(one.disk?.content).toMatchObject({
      status: 'completed',
      result: { ok: true, exit_code: 0, driver: 'docker', verified_by: 'the service itself' },
    });
  });

  const at = (one: ActionDriver, ms: number): HomelabEvent => ({
    id: 'e',
    type: 'service_healthy',
    at: new Date(one.driver.clock.at + ms).toISOString(),
    source: 'x',
    data: { host: 'vps', service: 'web', severity: 'info', payload: {}, channel: 'health_events' },
  });

  test('given it needs no verification, then it is completed at once', () => {
    const one = new ActionDriver().running({ ...PLAN, verifies: false });
    one.driver.done('run', WELL);
    one.moves();
    expect(one.context.status).toBe('completed');
  });

  test('given news of before the run, or bad news, then they prove nothing', () => {
    const one = new ActionDriver().running();
    one.driver.pass(10).done('run', WELL);
    one.tell({ type: 'service.reported', healthy: true, event: at(one, -5) });
    one.tell({ type: 'service.reported', healthy: false, event: at(one, 5) });
    expect(one.state).toBe('underway.verifying');
    one.driver.done('health', { by: 'its driver' });
    expect(one.context.verification?.by).toBe('its driver');
  });

  test('given good news that are dated by the second in which it ended, then they count; those of the second before do not', () => {
    const one = new ActionDriver().running();
    one.driver.pass(1600 - (one.driver.clock.at % 1000)).done('run', WELL); // at .600
    const dated = (ms: number): HomelabEvent => {
      const event = at(one, ms);
      return { ...event, at: `${event.at.slice(0, 19)}Z` };
    };
    one.tell({ type: 'service.reported', healthy: true, event: dated(-700) });
    expect(one.state).toBe('underway.verifying');
    one.tell({ type: 'service.reported', healthy: true, event: dated(300) });
    expect(one.state).toBe('underway.finishing');
  });

  test('given nobody says in time that the service is well, then it failed, and people are told', () => {
    const one = new ActionDriver().running();
    one.driver.done('run', WELL);
    one.driver.fails('health', 'not seen');
    one.driver.pass(120_000).done('deadline');
    one.moves();
    expect(one.state).toBe('escalating');
    expect(one.disk).toMatchObject({
      status: 'failed',
      content: {
        escalated: true,
        result: { ok: false, reason: expect.stringMatching(/not reported healthy/) },
      },
    });
    one.driver.done('escalate');
    expect([one.state, one.context.escalated]).toEqual(['settled', true]);
  });

  test.each<[string, (one: ActionDriver) => void, RegExp]>([
    ['it ends badly', (one) => void one.driver.done('run', BADLY), /exit code 1/],
    ['it cannot be run', (one) => void one.driver.fails('run', 'no docker here'), /no docker here/],
  ])('given %s, then it failed with the reason', (_name, end, reason) => {
    const one = new ActionDriver().running();
    end(one);
    one.moves();
    expect(one.context.status).toBe('failed');
    expect(one.context.reason).toMatch(reason);
  });

  test('given no driver knows its type, then it fails without having been claimed', () => {
    const one = new ActionDriver().approved();
    one.tell({ type: 'gate.granted' });
    one.driver.fails('plan', 'no driver runs actions of type dance', 'UNSUPPORTED');
    one.moves();
    expect([one.disk?.status, one.context.reason]).toEqual([
      'failed',
      'no driver runs actions of type dance',
    ]);
  });

  test('given somebody else claims it first, then it is followed', () => {
    const one = new ActionDriver().approved();
    one.tell({ type: 'gate.granted' });
    one.driver.done('plan', PLAN);
    one.disk = { status: 'running', content: proposal('a') };
    one.moves();
    expect(one.state).toBe('following');
    expect(one.driver.running.has('run')).toBe(false);
  });

  test('given it was changed just before we claim it, then it is held', () => {
    const one = new ActionDriver().approved();
    one.tell({ type: 'gate.granted' });
    one.driver.done('plan', PLAN);
    one.disk = { status: 'approved', content: proposal('a', { service: 'db' }) };
    one.moves();
    expect(one.state).toBe('held');
    expect(one.driver.running.has('run')).toBe(false);
  });

  test('given the claim fails for another reason, then it is held and not tried for ever', () => {
    const one = new ActionDriver().approved();
    one.tell({ type: 'gate.granted' });
    one.driver.done('plan', PLAN);
    one.driver.fails('move', 'EACCES');
    expect([one.state, one.context.held]).toEqual(['held', 'EACCES']);
  });

  test('given its file is moved or removed while it runs, then it goes on to its end and that is told (A7)', () => {
    const one = new ActionDriver().running({ ...PLAN, verifies: false });
    one.found('cancelled');
    one.tell({ type: 'action.missing' });
    one.tell({ type: 'action.unreadable', reason: 'garbage' });
    expect(one.state).toBe('underway.running');
    expect(() => one.tell({ type: 'action.cancel', by: 'x', door: 'x', reason: null })).toThrow(
      /running/,
    );
    one.driver.done('run', WELL);
    one.moves();
    expect([one.state, one.context.status]).toEqual(['settled', 'completed']);
    expect(one.disk?.status).toBe('cancelled');
  });

  test('given its result cannot be written, then it is tried again, within a bound', () => {
    const one = new ActionDriver().running({ ...PLAN, verifies: false });
    one.driver.done('run', WELL);
    for (let tries = 0; tries < 20; tries += 1) {
      one.driver.fails('move', 'no space left');
      expect(one.state).toBe('underway.retrying');
      one.driver.pass(300_000).done('retry');
    }
    one.driver.fails('move', 'no space left');
    expect([one.state, one.context.status]).toEqual(['settled', 'completed']);
    expect(one.context.story.at(-1)).toMatch(/completed|result is not in its file/);
  });

  test('given it is cancelled while it waits, then the gate forgets it', () => {
    const one = new ActionDriver().approved();
    const { sent } = one.tell({ type: 'action.cancel', by: 'bob', door: 'x', reason: 'late' });
    expect(sentTo({ sent }, GATE)).toEqual(['gate.left']);
    one.moves();
    expect([one.state, one.context.status, one.context.reason]).toEqual([
      'settled',
      'cancelled',
      'late',
    ]);
  });
});

describe('the gate', () => {
  test('given it refuses, then the reason is known, and nothing runs', () => {
    const one = new ActionDriver().approved();
    one.tell({ type: 'gate.refused', reason: 'closed window night', until: 7 });
    expect(one.context.gate).toEqual({ reason: 'closed window night', until: 7, dryRun: false });
    expect(one.state).toBe('underway.waiting');
  });

  test('given a dry run, then what would run is written into the file once, and it stays approved', () => {
    const one = new ActionDriver().approved();
    one.tell({ type: 'gate.refused', reason: 'a dry run', until: null, dryRun: true });
    one.driver.done('plan', PLAN);
    expect(one.state).toBe('underway.noting');
    one.moves();
    expect(one.state).toBe('underway.waiting');
    expect(one.disk).toMatchObject({
      status: 'approved',
      content: { would_run: { driver: 'docker', shown: ['docker restart web'] } },
    });
    one.found('approved');
    one.tell({ type: 'gate.refused', reason: 'a dry run', until: null, dryRun: true });
    expect(one.state).toBe('underway.waiting');
  });

  test('given a dry run of what no driver knows, then the reason is written down', () => {
    const one = new ActionDriver().approved();
    one.tell({ type: 'gate.refused', reason: 'a dry run', until: null, dryRun: true });
    one.driver.fails('plan', 'no driver');
    one.moves();
    expect(one.disk?.content['would_run']).toEqual({ error: 'no driver' });
  });

  test('given it lets it run while what would run is written down, then it runs after that', () => {
    const one = new ActionDriver().approved();
    one.tell({ type: 'gate.refused', reason: 'a dry run', until: null, dryRun: true });
    one.driver.done('plan', PLAN);
    one.tell({ type: 'gate.granted' });
    one.moves();
    expect(one.state).toBe('underway.planning');
  });
});

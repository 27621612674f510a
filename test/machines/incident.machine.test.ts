/** One service's incident: cooldown, grouping, one diagnosis at a time; the names of its invariants are the machine's. */
import { beforeEach, describe, expect, it, test } from 'vitest';
import { MAX_ASKS, PATIENCE_MS } from '../../machines/incident-actions.ts';
import { remainingSeconds } from '../../machines/incident-context.ts';
import { COOLDOWN_S, IncidentDriver } from '../support/incidents.ts';

let incident: IncidentDriver;
beforeEach(() => {
  incident = new IncidentDriver();
});

const left = (): number => remainingSeconds(incident.context, incident.at);
/** Until the cooldown of a proposal has begun, its event file written. */
function proposes(): void {
  incident.hears();
  incident.answers();
  incident.isDurable();
  incident.machine.done('eventFile');
}

/** The action was asked as often as it may be, and never answered. */
function givesUp(): void {
  while (incident.life === 'proposing') incident.machine.done('patience');
}

describe('cooldown', () => {
  test('given nothing was ever proposed, then none is left, and an event is diagnosed at once', () => {
    expect(left()).toBe(0);
    expect(incident.hears().started.map(({ src }) => src)).toEqual(['diagnose']);
  });

  test('given a proposal, when its file is durable, then it begins, and not before (I3)', () => {
    incident.hears();
    incident.machine.pass(7000);
    incident.answers();
    expect([incident.life, left()]).toEqual(['proposing', 0]);
    incident.machine.pass(9000);
    incident.isDurable();
    expect([incident.life, left()]).toEqual(['cooling', COOLDOWN_S]);
    expect(incident.context.cooldownUntil).toBe(incident.at + COOLDOWN_S * 1000);
  });

  test('given it runs, when events come, then nothing is asked or written, and what is left grows less', () => {
    proposes();
    const before = incident.machine.sent.length;
    incident.machine.pass(60_000);
    expect(incident.hears().started).toEqual([]);
    expect(left()).toBe(COOLDOWN_S - 60);
    expect(incident.machine.sent).toHaveLength(before);
    incident.machine.pass(3_600_000);
    expect(left()).toBe(0);
  });

  test('given it is over, when a further event comes, then it is diagnosed, though the proposal still waits (I4)', () => {
    proposes();
    incident.machine.pass(COOLDOWN_S * 1000);
    incident.machine.done('cooldown');
    expect(incident.hears().started.map(({ src }) => src)).toEqual(['diagnose']);
    incident.answers();
    incident.isDurable();
    expect(new Set(incident.proposedIds()).size).toBe(2);
    expect(incident.context.proposed.map(({ status }) => status)).toEqual(['pending', 'pending']);
  });

  test('given it runs, when it is reset, then the next event is diagnosed', () => {
    proposes();
    incident.deliver({ type: 'cooldown.reset', by: 'ada' });
    expect([incident.life, left()]).toEqual(['quiet', 0]);
    expect(incident.machine.running.has('cooldown')).toBe(false);
    expect(incident.hears().started).toHaveLength(1);
  });

  test('given none runs, when it is reset, then nothing changes', () => {
    const before = incident.machine.persisted();
    incident.deliver({ type: 'cooldown.reset', by: 'ada' });
    expect(incident.machine.persisted()).toBe(before);
  });

  test('given ignore, then nothing is written and it begins', () => {
    incident.hears();
    const { sent, spawned } = incident.answers({ action: 'ignore', reason: 'Transient glitch' });
    expect([sent, spawned]).toEqual([[], []]);
    expect([incident.life, left()]).toEqual(['cooling', COOLDOWN_S]);
    expect(incident.context.outcome).toMatchObject({ kind: 'ignored', text: 'Transient glitch' });
  });

  test('given the chain failed, then none begins, and the next event is tried', () => {
    incident.hears();
    incident.machine.fails('diagnosis', 'all models failed');
    expect([incident.life, left()]).toEqual(['quiet', 0]);
    expect(incident.context.outcome).toMatchObject({ kind: 'llm_failed' });
    expect(incident.hears().started).toHaveLength(1);
  });

  test('given the file could not be written, then none begins', () => {
    incident.hears();
    incident.answers();
    const { actionId } = incident;
    incident.deliver({ type: 'proposal.failed', actionId, reason: 'ENOSPC' });
    expect([incident.life, left()]).toEqual(['quiet', 0]);
    expect(incident.context.outcome).toMatchObject({
      kind: 'write_failed',
      text: expect.stringMatching(/ENOSPC/) as string,
    });
  });

  test('given the node was restarted, then it ends when it would have', () => {
    proposes();
    const { cooldownUntil } = incident.context;
    incident.machine.restore();
    expect(incident.machine.running.get('cooldown')?.input).toEqual({ at: cooldownUntil });
  });
});

describe('grouping', () => {
  test('given a diagnosis is under way, when more events come, then they are counted and none is asked about (I1)', () => {
    const first = incident.at;
    incident.hears();
    incident.machine.pass(1000);
    expect(incident.hears().started).toEqual([]);
    incident.machine.pass(1000);
    expect(incident.hears('healthcheck_failed').started).toEqual([]);
    expect(incident.context).toMatchObject({
      occurrences: 3,
      firstSeenAt: first,
      lastSeenAt: first + 2000,
      last: { type: 'healthcheck_failed' },
    });
    incident.answers();
    expect(incident.proposed.content['incident']).toMatchObject({
      occurrences: 3,
      first_seen: first / 1000,
    });
    incident.isDurable();
    expect(incident.life).toBe('cooling');
  });

  test('given events came during a diagnosis that failed, then the newest of them is diagnosed (I1)', () => {
    incident.hears();
    incident.machine.pass(1000);
    incident.hears('mqtt_unreachable');
    incident.machine.pass(1000);
    incident.hears('healthcheck_failed');
    const { started } = incident.machine.fails('diagnosis', 'timeout');
    expect(started[0]?.input).toMatchObject({ event: { type: 'healthcheck_failed' } });
    incident.machine.fails('diagnosis', 'timeout');
    expect(incident.life).toBe('quiet');
  });

  test('given an event came while the file was written, when that failed, then it has its turn', () => {
    incident.hears();
    incident.answers();
    const { actionId } = incident;
    incident.machine.pass(1000);
    incident.hears();
    const { started } = incident.deliver({ type: 'proposal.failed', actionId, reason: 'EIO' });
    expect(started.map(({ src }) => src)).toEqual(['diagnose']);
  });

  test('given a service flaps within the cooldown, then it is one incident with a count', () => {
    proposes();
    for (let i = 0; i < 5; i += 1) {
      incident.machine.pass(1000);
      incident.recovers();
      incident.machine.pass(1000);
      incident.hears();
    }
    expect(incident.context).toMatchObject({ occurrences: 6, recoveries: 5, recoveredAt: null });
    expect(incident.proposedIds()).toHaveLength(1);
  });

  test('given it was well and had its rest, when something is heard again, then that is another incident', () => {
    proposes();
    incident.recovers();
    incident.machine.done('cooldown');
    incident.machine.pass(3_600_000);
    const now = incident.at;
    incident.hears();
    expect(incident.context).toMatchObject({ occurrences: 1, firstSeenAt: now, recoveries: 0 });
  });

  test('given it was never well, when it is heard again after the cooldown, then it is the same incident', () => {
    proposes();
    incident.machine.done('cooldown');
    incident.hears();
    expect(incident.context.occurrences).toBe(2);
  });
});

describe('proposing', () => {
  test('an action of its own is made, told what to write, and whom to tell (I2)', () => {
    incident.hears();
    const { spawned, sent } = incident.answers({ requires_human: true, confidence: 0.6 });
    const { actionId } = incident;
    expect(spawned).toEqual([
      { address: `system/action/${actionId}`, machine: 'action', input: { actionId } },
    ]);
    expect(sent).toHaveLength(1);
    expect(sent[0]).toMatchObject({
      to: `system/action/${actionId}`,
      event: {
        type: 'action.propose',
        origin: 'system/planner/piha/mosquitto',
        content: {
          action_id: actionId,
          status: 'pending',
          requires_human: true,
          llm_model: 'ollama/qwen2.5:7b',
        },
      },
    });
  });

  it.each([
    ['redeploy', 'redeploy', 'guarded'],
    ['notify', 'notify', 'low'],
  ] as const)('%s is written as %s at risk %s', (action, type, risk) => {
    incident.hears();
    incident.answers({ action });
    expect(incident.proposed.content).toMatchObject({ type, risk_level: risk });
  });

  test('given names are taken, then the next number is tried, up to a bound', () => {
    incident.hears();
    incident.answers();
    const { actionId: id } = incident;
    for (let serial = 2; serial <= 50; serial += 1) {
      incident.deliver({ type: 'proposal.taken', actionId: incident.actionId });
      expect(incident.actionId).toBe(`${id}-${serial}`);
      expect(incident.proposed.content['action_id']).toBe(`${id}-${serial}`);
    }
    incident.deliver({ type: 'proposal.taken', actionId: incident.actionId });
    expect(incident.life).toBe('quiet');
    expect(incident.context.outcome).toMatchObject({
      kind: 'write_failed',
      text: expect.stringMatching(/^50 actions/) as string,
    });
  });

  it.each(['proposal.durable', 'proposal.taken', 'proposal.failed'])(
    'given %s of another action, then nothing comes of it',
    (type) => {
      incident.hears();
      incident.answers();
      incident.deliver({ type, actionId: 'plan-other-1', path: '/x', reason: 'x' });
      expect(incident.life).toBe('proposing');
      expect(incident.context.announcements).toEqual([]);
    },
  );

  test('given the action says nothing, then it is asked the same again, and given up at last without a cooldown', () => {
    incident.hears();
    incident.answers();
    const { proposed } = incident;
    for (let asks = 1; asks < MAX_ASKS; asks += 1) {
      expect(incident.machine.running.get('patience')?.input).toEqual({
        up: incident.machine.clock.up + PATIENCE_MS,
      });
      incident.machine.pass(PATIENCE_MS);
      incident.hears(); // the count goes on, and must not make it another proposal
      incident.machine.done('patience');
      expect(incident.proposed).toEqual(proposed);
    }
    incident.machine.pass(PATIENCE_MS);
    const { started } = incident.machine.done('patience');
    expect(started.map(({ src }) => src)).toEqual(['diagnose']); // of what came meanwhile
    expect(left()).toBe(0);
  });

  test('given it was given up, when its file is durable after all, then it is told and the cooldown begins', () => {
    incident.hears();
    incident.answers();
    givesUp();
    incident.machine.pass(5000);
    const { started } = incident.isDurable();
    expect(started.map(({ src }) => src).toSorted()).toEqual(['waitUntil', 'writeEvent']);
    expect([incident.life, left()]).toEqual(['cooling', COOLDOWN_S]);
    expect(incident.isDurable().started).toEqual([]); // once
  });

  test('given it was given up and another event is looked into, when its file is durable, then only that is told', () => {
    incident.hears();
    incident.answers();
    givesUp();
    incident.hears();
    expect(incident.isDurable().started.map(({ src }) => src)).toEqual(['writeEvent']);
    expect(incident.life).toBe('diagnosing');
  });
});

describe('what other programs are told (I5)', () => {
  test('given a durable proposal, then an event file says so', () => {
    incident.hears();
    incident.answers();
    incident.machine.pass(3000);
    const { at, actionId } = incident;
    const [effect] = incident.isDurable().started.filter(({ src }) => src === 'writeEvent');
    expect(effect?.input).toEqual({
      announcement: {
        type: 'remediation_started',
        severity: 'info',
        service: 'mosquitto',
        actionId,
        at,
        payload: {
          action: 'restart',
          executor_type: 'container_restart',
          node: 'piha',
          action_id: actionId,
          requires_human: false,
          confidence: 0.9,
          llm_model: 'ollama/qwen2.5:7b',
        },
      },
    });
  });

  it.each([
    ['completed', 'info'],
    ['failed', 'error'],
  ])('given the action %s, then an event file says so, of severity %s', (status, severity) => {
    proposes();
    const { actionId } = incident;
    const settled = { type: 'action.settled', actionId, status, reason: 'because' };
    const [effect] = incident.deliver(settled).started;
    expect(effect?.input).toMatchObject({
      announcement: {
        type: 'remediation_completed',
        severity,
        actionId,
        payload: { action_id: actionId, status, reason: 'because' },
      },
    });
    expect(incident.context.proposed).toMatchObject([{ actionId, status, reason: 'because' }]);
  });

  it.each(['rejected', 'cancelled'])('given the action was %s, then nothing is told', (status) => {
    proposes();
    const { actionId } = incident;
    expect(
      incident.deliver({ type: 'action.settled', actionId, status, reason: null }).started,
    ).toEqual([]);
  });

  test('given the disk takes no file, then it is tried again with pauses, in order, and given up at last', () => {
    incident.hears();
    incident.answers();
    incident.isDurable();
    const { actionId } = incident;
    incident.deliver({ type: 'action.settled', actionId, status: 'failed', reason: 'x' });
    const pauses: number[] = [];
    for (let tries = 1; tries <= 8; tries += 1) {
      incident.machine.fails('eventFile', 'ENOSPC');
      pauses.push(incident.context.announceAt - incident.at);
      incident.machine.done('announceAgain');
    }
    expect(pauses).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000]);
    const { started } = incident.machine.fails('eventFile', 'ENOSPC');
    expect(started[0]?.input).toMatchObject({ announcement: { type: 'remediation_completed' } });
    incident.machine.done('eventFile');
    expect(incident.context.announcements).toEqual([]);
  });

  test('given files wait for the disk, then diagnoses do not', () => {
    incident.hears();
    incident.answers();
    incident.isDurable();
    incident.machine.fails('eventFile', 'ENOSPC');
    incident.machine.done('cooldown');
    expect(incident.hears().started.map(({ src }) => src)).toEqual(['diagnose']);
  });
});

describe('given too many incidents (I6)', () => {
  const dismissed = {
    to: 'system/planner',
    event: expect.objectContaining({ type: 'incident.dismissed' }) as object,
  };

  test('a quiet one goes', () => {
    incident.hears();
    incident.machine.fails('diagnosis', 'x');
    expect(incident.deliver({ type: 'incident.dismiss' }).sent).toEqual([dismissed]);
  });

  test('one that is busy, cools down, or has an action that waits stays', () => {
    const stays = (): void =>
      expect(incident.deliver({ type: 'incident.dismiss' }).sent).toEqual([]);
    incident.hears();
    stays();
    incident.answers();
    stays();
    incident.isDurable();
    stays();
    incident.machine.done('cooldown');
    stays();
    incident.machine.done('eventFile');
    stays();
    const { actionId } = incident;
    incident.deliver({ type: 'action.settled', actionId, status: 'rejected', reason: null });
    expect(incident.deliver({ type: 'incident.dismiss' }).sent).toEqual([dismissed]);
  });
});

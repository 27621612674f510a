/** The supervisor: what it keeps, what it says to drifts, and whom it lets the policy approve. */
import { beforeEach, describe, expect, it, test } from 'vitest';
import { driftAddress } from '../../machines/addresses.ts';
import { partsOf } from '../../machines/look.ts';
import { MAX_DRIFTS } from '../../machines/reconcile-changes.ts';
import type { Look, RemedyOutcome, SupervisorEvent } from '../../machines/supervision.ts';
import type { SupervisorPolicy, SupervisorRule } from '../../machines/supervision.ts';
import { inShards, namesIn } from '../../machines/shards.ts';
import { whyWaiting } from '../../machines/supervisor-context.ts';
import type { Stood, SupervisorContext } from '../../machines/supervisor-context.ts';
import { supervisorMachine } from '../../machines/supervisor.machine.ts';
import { MachineDriver } from '../support/machine-driver.ts';
import type { Reaction } from '../support/machine-driver.ts';
import { ACTING, APPROVE, configured, look } from '../support/supervision.ts';
import { policyWith, PROPOSE, standing, tellTo } from '../support/supervision.ts';

let supervisor: MachineDriver;
const context = (): SupervisorContext => supervisor.snapshot.context as SupervisorContext;
const stoodAt = (of: string): Stood | undefined => inShards(context().standing, of);
const tell = (event: SupervisorEvent): Reaction => tellTo(supervisor, event);
const looks = (more: Partial<Look> = {}): Reaction => tell(look(more));
const opens = (host: string, service: string | null = 'web'): Reaction =>
  looks({ opened: [standing(host, service)] });
const policy = (rules: SupervisorRule[], more: Partial<SupervisorPolicy> = {}): Reaction =>
  tell(configured(policyWith(rules, more)));
const key = (host: string, service = 'web'): string => `${host}/${service}`;
const ready = (host: string, actionId = `a-${host}`): Reaction =>
  tell({ type: 'remedy.ready', key: key(host), actionId });
const ended = (host: string, outcome: RemedyOutcome, actionId = `a-${host}`): Reaction =>
  tell({ type: 'remedy.ended', key: key(host), actionId, remedy: 'redeploy', outcome });
const types = ({ sent }: Reaction): string[] => sent.map(({ event }) => event.type);
const approved = ({ sent }: Reaction): unknown[] =>
  sent.filter(({ event }) => event.type === 'remedy.approve').map(({ event }) => event['actionId']);
const wide = { limits: {} };

beforeEach(() => {
  supervisor = new MachineDriver(supervisorMachine, {});
});

test('given a person approved what waits for the policy, then it holds no place, and is not approved a second time', () => {
  policy([APPROVE], { limits: { actions_at_once: 1 } });
  opens('vps');
  opens('nas');
  expect(approved(ready('vps'))).toEqual(['a-vps']);
  expect(approved(ready('nas'))).toEqual([]);
  tell({ type: 'drift.moved', key: key('nas'), status: 'acting', actionId: 'a-nas' });
  expect(approved(ended('vps', 'verified'))).toEqual([]);
  expect([context().row, Object.keys(context().granted), context().approvals.length]).toEqual([
    [],
    [],
    1,
  ]);
});

describe('a look', () => {
  test('given a drift opens, then its actor is made and told, with what the policy says', () => {
    const { spawned, sent } = opens('vps');
    const address = driftAddress('vps', 'web');
    expect(spawned).toEqual([
      { address, machine: 'drift', input: { host: 'vps', service: 'web' } },
    ]);
    expect(sent).toMatchObject([
      {
        to: address,
        event: {
          type: 'drift.stands',
          decision: { mode: 'recommend', rule: null },
          requiresHuman: true,
          recommendation: { id: 'redeploy-vps-web' },
        },
      },
    ]);
    expect(stoodAt(key('vps'))).toMatchObject({ status: 'recommended', since: 1.7e12 });
  });

  test('given it is told twice, then the second time says nothing (S2)', () => {
    opens('vps');
    const before = supervisor.persisted();
    const { sent, spawned } = opens('vps');
    expect([sent, spawned]).toEqual([[], []]);
    expect(supervisor.persisted()).toBe(before);
  });

  test('given it stands otherwise, then it is told; of another kind, then it stands since now', () => {
    opens('vps');
    const { at } = supervisor.clock;
    supervisor.pass(1000);
    const other = standing('vps', 'web', { trigger: 'containers_not_running' });
    expect(types(looks({ changed: [other] }))).toEqual(['drift.stands']);
    expect(stoodAt(key('vps'))?.since).toBe(at);
    looks({ changed: [standing('vps', 'web', { kind: 'missing_service' })] });
    expect(stoodAt(key('vps'))?.since).toBe(at + 1000);
  });

  test('given it closes, then its actor is told, and stopped when it has nothing in hand (S5)', () => {
    opens('vps');
    const closed = [{ key: key('vps'), reason: 'drift_resolved_auto' as const }];
    expect(looks({ closed }).sent).toMatchObject([
      { event: { type: 'drift.gone', reason: 'drift_resolved_auto' } },
    ]);
    expect(looks({ closed }).sent).toEqual([]);
    expect(tell({ type: 'drift.done', key: key('vps') }).stopped).toMatchObject([
      { address: driftAddress('vps', 'web') },
    ]);
    expect([context().standing.size, context().leaving.size]).toEqual([0, 0]);
  });

  test('given it opens again before its actor is done, then that one stays (S5)', () => {
    opens('vps');
    looks({ closed: [{ key: key('vps'), reason: 'drift_resolved_auto' }] });
    opens('vps');
    expect(tell({ type: 'drift.done', key: key('vps') }).stopped).toEqual([]);
  });

  test('given more drifts than are looked after, then the critical ones are taken, and the rest is counted (S6)', () => {
    const opened = Array.from({ length: MAX_DRIFTS + 2 }, (_, i) => standing(`h${i}`, 'web'));
    opened.push(standing('zz', 'web', { critical: true }));
    looks({ opened });
    expect(context().standing.size).toBe(MAX_DRIFTS);
    expect(stoodAt(key('zz'))).toBeDefined();
    expect(context().refused).toBe(3);
  });

  test('given such a look comes in several parts, then those without room are counted over all of them, and by the next anew', () => {
    const opened = Array.from({ length: MAX_DRIFTS + 450 }, (_, i) => standing(`h${i}`, 'web'));
    const parts = partsOf(look({ opened }));
    expect(parts.length).toBeGreaterThan(20);
    for (const part of parts) looks(part);
    expect([context().standing.size, context().refused]).toEqual([MAX_DRIFTS, 450]);
    for (const part of parts) looks(part);
    expect(context().refused).toBe(450);
    looks();
    expect(context().refused).toBe(0);
  });

  test('takes hostile names for what they are', () => {
    for (const host of ['__proto__', 'constructor', 'toString', '10']) opens(host);
    supervisor.restore();
    expect(namesIn(context().standing).toSorted()).toEqual(
      ['__proto__', 'constructor', 'toString', '10'].map((host) => key(host)).toSorted(),
    );
  });
});

describe('given a look comes in two parts, and the second changes what waits for the policy (S1, P2)', () => {
  const first = { closed: [{ key: key('gone'), reason: 'drift_resolved_auto' as const }] };
  const blocked = [standing('a', 'web', { blockedBy: ['nas/db'] })];

  test.each<[string, Partial<Look>, string[]]>([
    ['then it is not approved by the first', { changed: blocked }, []],
    ['then what it leaves as it was is approved by the last', {}, ['a-a']],
  ])('%s', (_name, second, given) => {
    policy([APPROVE], wide);
    looks({ opened: [standing('a', 'web'), standing('gone', 'web')] });
    tell({ type: 'supervisor.skipped', reason: 'half a file' });
    expect(approved(ready('a'))).toEqual([]);
    expect(approved(looks({ ...first, unfinished: true }))).toEqual([]);
    expect(whyWaiting(context(), key('a'), supervisor.clock.at)).toMatch(/only a part/);
    expect(approved(tell({ type: 'supervisor.frozen', frozen: false }))).toEqual([]);
    expect(approved(looks({ ...second, goesOn: true }))).toEqual(given);
    expect(context().look).not.toHaveProperty('unfinished');
  });
});

describe('given an approval uses up what others wait for', () => {
  const inHand = { [key('a')]: 'somebody' };

  test('then the first look finds out when their turn may come, and a second changes nothing (S2)', () => {
    policy([APPROVE], { limits: { approvals_per_hour: 1 } });
    looks({ opened: [standing('a', 'web'), standing('b', 'web')] });
    tell({ type: 'supervisor.frozen', frozen: true });
    ready('a');
    ready('b');
    looks({ inHand });
    expect(approved(tell({ type: 'supervisor.frozen', frozen: false }))).toEqual(['a-b']);
    expect(context().lookAt).toBe(supervisor.clock.at + 3_600_000);
    const before = supervisor.persisted();
    looks({ inHand });
    expect(supervisor.persisted()).toBe(before);
  });

  test('then those who wait for an hour to be over still do when another one comes and is approved', () => {
    policy([APPROVE], { limits: { approvals_per_hour: 2, hosts_at_once: 1 } });
    looks({ opened: [standing('a', 'web'), standing('b', 'web'), standing('b', 'db')] });
    ready('b');
    ready('a');
    expect(context().lookAt).toBeNull(); // for the host
    const { at } = supervisor.clock;
    supervisor.pass(1000);
    const db = { type: 'remedy.ready', key: 'b/db', actionId: 'a-db' } as const;
    expect(approved(tell(db))).toEqual(['a-db']);
    expect(context().lookAt).toBe(at + 3_600_000);
  });
});

describe('what is decided', () => {
  test('given a policy that proposes, then drifts that stand hear of it, and of the next one', () => {
    opens('vps');
    expect(policy([PROPOSE]).sent).toMatchObject([
      { event: { type: 'drift.decided', decision: { mode: 'propose', rule: 'ask' } } },
    ]);
    expect(policy([PROPOSE]).sent).toEqual([]);
    expect(types(policy([]))).toEqual(['drift.decided']);
  });

  test('given the observer is doubted, then nothing is proposed until it is not', () => {
    policy([PROPOSE]);
    opens('vps');
    const doubted = looks({ doubt: '9 of 10 services drift' });
    expect(doubted.sent).toMatchObject([{ event: { decision: { mode: 'recommend' } } }]);
    expect(looks({ doubt: '10 of 10 services drift' }).sent).toEqual([]);
    expect(looks().sent).toMatchObject([{ event: { decision: { mode: 'propose' } } }]);
  });

  test("given somebody else's action is open for it, then nothing is proposed meanwhile", () => {
    policy([PROPOSE]);
    looks({ opened: [standing('vps', 'web')], inHand: { [key('vps')]: 'plan-1' } });
    expect(stoodAt(key('vps'))?.decision).toMatchObject({
      mode: 'recommend',
      because: 'action plan-1 is open for it',
    });
    expect(looks().sent).toMatchObject([{ event: { decision: { mode: 'propose' } } }]);
  });

  test('given another time to verify, then every drift hears of it', () => {
    opens('vps');
    expect(policy([], { verify_within: 7 }).sent).toMatchObject([{ event: { verifyWithin: 7 } }]);
  });
});

describe('an approval (S3)', () => {
  beforeEach(() => {
    policy([APPROVE]);
    looks({ opened: ['a', 'b', 'c'].map((host) => standing(host, 'web')) });
  });

  test('is given at once when nothing stands in its way, and names the action, the rule and why', () => {
    expect(ready('a').sent).toMatchObject([
      {
        to: driftAddress('a', 'web'),
        event: {
          type: 'remedy.approve',
          actionId: 'a-a',
          rule: 'all',
          because: 'rule all: approve',
        },
      },
    ]);
    expect(context().granted).toMatchObject({ 'a/web': { actionId: 'a-a', host: 'a' } });
  });

  test('given one is under way, then the next waits, knows why, and has its turn when that is over', () => {
    ready('a');
    expect(approved(ready('b'))).toEqual([]);
    expect(approved(ready('c'))).toEqual([]);
    expect(whyWaiting(context(), key('b'), supervisor.clock.at)).toBe(
      '1 at once: a/web is not over',
    );
    expect(approved(ended('a', 'verified'))).toEqual(['a-b']);
    expect(whyWaiting(context(), key('b'), supervisor.clock.at)).toBeNull();
  });

  test('given the drift is gone while its action runs, then that one counts on until it is over', () => {
    ready('a');
    looks({ closed: [{ key: key('a'), reason: 'drift_resolved_auto' }] });
    expect(approved(ready('b'))).toEqual([]);
    expect(approved(ended('a', 'withdrawn'))).toEqual(['a-b']);
  });

  test('given the drift is gone while its action waits, then it waits no more', () => {
    ready('a');
    ready('b');
    looks({ closed: [{ key: key('b'), reason: 'drift_resolved_auto' }] });
    expect(approved(ended('a', 'verified'))).toEqual([]);
    expect(context().row).toEqual([]);
  });

  test('given it is told again that it is ready, then it is not approved twice', () => {
    ready('a');
    expect(ready('a').sent).toEqual([]);
    expect(context().approvals).toHaveLength(1);
  });

  test('given news of another action, then the place is not freed', () => {
    ready('a');
    ended('a', 'failed', 'another');
    expect(Object.keys(context().granted)).toEqual(['a/web']);
  });

  test('given an hour has its approvals, then the next waits for the hour to end', () => {
    policy([APPROVE], { limits: { approvals_per_hour: 2 }, stale_after: 10_000 });
    ready('a');
    supervisor.pass(60_000);
    ready('b');
    ended('b', 'verified');
    expect(approved(ready('c'))).toEqual([]);
    expect(context().lookAt).toBe(1.7e12 + 3_600_000);
    supervisor.pass(3_540_000);
    expect(approved(supervisor.done('look'))).toEqual(['a-c']);
  });

  test.each<[string, Partial<SupervisorPolicy>, string[]]>([
    ['hosts', { limits: { hosts_at_once: 2 } }, ['a-a', 'a-b']],
    ['actions', { limits: { actions_at_once: 1 } }, ['a-a']],
    ['a part of the services', { limits: { percent_at_once: 10 } }, ['a-a', 'a-b']],
    ['less than one service', { limits: { percent_at_once: 1 } }, ['a-a']],
    ['nothing', wide, ['a-a', 'a-b', 'a-c']],
  ])('given a limit for %s at once', (_what, more, expected) => {
    policy([APPROVE], more);
    expect(['a', 'b', 'c'].flatMap((host) => approved(ready(host)))).toEqual(expected);
  });

  test.each<[string, () => unknown, () => Reaction]>([
    ['a freeze', () => tell({ type: 'supervisor.frozen', frozen: true }), thaw],
    ['a doubt', () => looks({ doubt: 'x' }), () => looks()],
    ['a silent observer', () => looks({ staleSince: 1 }), () => looks()],
    ['a look that failed', () => tell({ type: 'supervisor.skipped', reason: 'x' }), () => looks()],
    ['no look for too long', () => supervisor.pass(601_000), () => looks()],
    ["another's action", () => looks({ inHand: { [key('a')]: 'x' } }), () => looks()],
    ['a policy that only proposes', () => policy([PROPOSE]), () => policy([APPROVE])],
    [
      "a person's host",
      () => tell(configured(policyWith([APPROVE]), ['a'])),
      () => policy([APPROVE]),
    ],
  ])('is not given under %s, and is when that is over', (_what, begin, over) => {
    begin();
    expect(approved(ready('a'))).toEqual([]);
    expect(whyWaiting(context(), key('a'), supervisor.clock.at)).toEqual(expect.any(String));
    expect(approved(over())).toEqual(['a-a']);
  });
  function thaw(): Reaction {
    return tell({ type: 'supervisor.frozen', frozen: false });
  }

  test('given a rule with a window, then it waits until that opens', () => {
    const night = { name: 'night', from: '23:00', to: '23:30' };
    policy([{ ...APPROVE, windows: [night] }]);
    expect(approved(ready('a'))).toEqual([]);
    const opens_ = Date.parse('2023-11-14T23:00:00Z');
    expect(context().lookAt).toBe(opens_);
    supervisor.pass(opens_ - supervisor.clock.at);
    expect(approved(supervisor.done('look'))).toEqual([]); // nobody has looked for too long
    expect(approved(looks())).toEqual(['a-a']);
  });

  test('given an approval lapsed, then it may be given again', () => {
    ready('a');
    ended('a', 'lapsed');
    expect(approved(ready('a'))).toEqual(['a-a']);
  });

  test('given it holds for some seconds, then that is passed on', () => {
    tell({ ...configured(policyWith([APPROVE])), approvalExpires: 60, policySha256: 'f' });
    expect(ready('a').sent[0]?.event).toMatchObject({ expires: 60 });
  });
});

describe('what comes back again and again', () => {
  const comes = (): unknown[] => opens('a').sent.map(({ event }) => event['escalates'] ?? false);
  const goes = (): Reaction =>
    looks({ closed: [{ key: key('a'), reason: 'drift_resolved_auto' }] });
  /** It comes, is mended, and goes. */
  const flaps = (serial: number): unknown[] => {
    comes();
    const given = approved(ready('a', `a-${serial}`));
    goes();
    ended('a', 'verified', `a-${serial}`);
    return given;
  };
  beforeEach(() => policy([APPROVE], { stale_after: 10_000 }));

  test('given three actions were approved for it within the hour, then no more, and a person has to look', () => {
    expect([1, 2, 3].flatMap(flaps)).toEqual(['a-1', 'a-2', 'a-3']);
    supervisor.restore();
    expect(comes()).toEqual([true]);
    expect(stoodAt(key('a'))?.decision).toMatchObject({
      mode: 'recommend',
      because: expect.stringContaining('3 actions were approved for a/web within an hour'),
    });
    opens('b');
    expect(approved(ready('b'))).toEqual(['a-b']); // nobody else's matter
    goes();
    supervisor.pass(3_600_000);
    expect(comes()).toEqual([false]);
    expect(stoodAt(key('a'))?.decision.mode).toBe('approve');
  });

  test('given another number in the policy, then that holds', () => {
    policy([APPROVE], { limits: { approvals_per_target_per_hour: 1 }, stale_after: 10_000 });
    expect([1, 2].flatMap(flaps)).toEqual(['a-1']);
  });

  test('given its action is ready all the same, then it waits until the hour is over', () => {
    [1, 2, 3].forEach(flaps);
    comes();
    expect(approved(ready('a', 'a-4'))).toEqual([]);
    expect(whyWaiting(context(), key('a'), supervisor.clock.at)).toMatch(/^3 actions/);
    expect(context().lookAt).toBe(1.7e12 + 3_600_000);
  });

  test('given approvals lapsed, then nothing was done to it, and they do not count', () => {
    comes();
    for (let i = 0; i < 5; i += 1) {
      expect(approved(ready('a'))).toEqual(['a-a']);
      ended('a', 'lapsed');
    }
  });
});

describe('earned autonomy (S4)', () => {
  const EARN: SupervisorRule = { name: 'e', actions: ACTING, mode: 'earn', after: 2 };
  const mode = (): string | undefined => stoodAt(key('a'))?.decision.mode;
  const of = 'redeploy a/web';
  beforeEach(() => {
    policy([EARN]);
    opens('a');
  });

  test('given enough verified successes, then it is approved; and one failure takes it back', () => {
    expect(mode()).toBe('propose');
    ended('a', 'verified');
    expect(mode()).toBe('propose');
    expect(ended('a', 'verified').sent).toMatchObject([
      { event: { type: 'drift.decided', decision: { mode: 'approve' }, requiresHuman: false } },
    ]);
    ended('a', 'not_verified');
    expect(mode()).toBe('propose');
    expect(context().earned[of]).toMatchObject({ successes: 0 });
  });

  it.each(['declined', 'withdrawn', 'not_written', 'lapsed'] as const)(
    'given %s, then nothing is earned and nothing lost',
    (outcome) => {
      ended('a', 'verified');
      ended('a', outcome);
      expect(context().earned[of]?.successes).toBe(1);
    },
  );

  test('given a person takes it back, then no success earns it again until the line is removed', () => {
    ended('a', 'verified');
    ended('a', 'verified');
    tell({ type: 'autonomy.revoked', class: of, by: 'ann' });
    expect(mode()).toBe('propose');
    for (let i = 0; i < 5; i += 1) ended('a', 'verified');
    expect(stoodAt(key('a'))?.decision.because).toMatch(/taken back by ann/);
    tell({ type: 'autonomy.cleared', class: of, by: 'ann' });
    ended('a', 'verified');
    ended('a', 'verified');
    expect(mode()).toBe('approve');
  });

  test('given another service or another remedy has earned it, then that says nothing of this one', () => {
    for (let i = 0; i < 3; i += 1) {
      ended('b', 'verified');
      const actionId = 'x';
      const remedy = 'container_restart' as const;
      tell({ type: 'remedy.ended', key: key('a'), actionId, remedy, outcome: 'verified' });
    }
    expect(mode()).toBe('propose');
  });
});

test('how far a drift is, is known from what it says', () => {
  opens('vps');
  tell({ type: 'drift.moved', key: key('vps'), status: 'proposed', actionId: 'x' });
  expect(stoodAt(key('vps'))).toMatchObject({ status: 'proposed', actionId: 'x' });
});

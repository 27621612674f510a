/** What the policy says of a drift, and what earns an action its approval. */
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { cleared, earnedBy, hasEarned, MAX_CLASSES, revoked } from '../../machines/autonomy.ts';
import { withFailure, withSuccess } from '../../machines/autonomy.ts';
import type { Ledger } from '../../machines/autonomy.ts';
import { ACTING_REMEDIES, DRIFT_KINDS, REMEDIES, WORDS_ONLY } from '../../machines/supervision.ts';
import type { Drift, Earned, Mode, Remedy, SupervisorRule } from '../../machines/supervision.ts';
import { decide, mayApprove, newMoment, ruleFor } from '../../machines/supervisor-policy.ts';
import type { Approving, Circumstances } from '../../machines/supervisor-policy.ts';
import { freshSupervisor } from '../../machines/supervisor-context.ts';
import { COUNTS, policyWith, standing } from '../support/supervision.ts';

const NOTHING: Earned = { successes: 0, lastSuccessAt: null, lastFailureAt: null, revokedBy: null };
const usual = (more: Partial<Circumstances> = {}): Circumstances => ({
  earned: NOTHING,
  doubt: null,
  inHand: null,
  alwaysHuman: ['chelsty-*'],
  ...more,
});
const advised = (remedy: Remedy, host = 'vps', more: Partial<Drift> = {}) => {
  const one = standing(host, 'web', more);
  return { ...one, recommendation: { ...one.recommendation, remedy } };
};
const rule = (
  mode: SupervisorRule['mode'],
  more: Partial<SupervisorRule> = {},
): SupervisorRule => ({
  mode,
  ...more,
});

describe('mode by rule and remedy', () => {
  const expected: Record<SupervisorRule['mode'], Record<'acting' | 'person' | 'words', Mode>> = {
    recommend: { acting: 'recommend', person: 'recommend', words: 'recommend' },
    propose: { acting: 'propose', person: 'propose', words: 'recommend' },
    approve: { acting: 'approve', person: 'propose', words: 'recommend' },
    earn: { acting: 'propose', person: 'propose', words: 'recommend' },
  };
  const kindOf = (remedy: Remedy): 'acting' | 'person' | 'words' => {
    if (ACTING_REMEDIES.includes(remedy)) return 'acting';
    return WORDS_ONLY.includes(remedy) ? 'words' : 'person';
  };
  const table = (Object.keys(expected) as SupervisorRule['mode'][]).flatMap((mode) =>
    REMEDIES.map((remedy) => [mode, remedy, expected[mode][kindOf(remedy)]] as const),
  );
  it.each(table)('a rule of the mode %s says of %s: %s', (mode, remedy, wanted) => {
    const { decision, requiresHuman } = decide(advised(remedy), { rules: [rule(mode)] }, usual());
    expect(decision.mode).toBe(wanted);
    expect(requiresHuman).toBe(wanted !== 'approve');
  });
});

it.each<[string, SupervisorRule, Partial<Circumstances>, string, Mode, RegExp]>([
  [
    'a host on which a person decides',
    rule('approve'),
    {},
    'chelsty-ha',
    'propose',
    /a person decides on chelsty/,
  ],
  ['the same in other letters', rule('approve'), {}, 'Chelsty-HA', 'propose', /a person decides/],
  ['a doubt', rule('approve'), { doubt: 'x' }, 'vps', 'recommend', /doubted/],
  ["another's action", rule('approve'), { inHand: 'plan-1' }, 'vps', 'recommend', /plan-1 is open/],
  [
    'enough earned',
    rule('earn', { after: 2 }),
    { earned: { ...NOTHING, successes: 2 } },
    'vps',
    'approve',
    /earned by 2/,
  ],
  [
    'not yet earned',
    rule('earn'),
    { earned: { ...NOTHING, successes: 2 } },
    'vps',
    'propose',
    /2 of 3/,
  ],
  [
    'earned and taken back',
    rule('earn'),
    { earned: { ...NOTHING, successes: 9, revokedBy: 'ann' } },
    'vps',
    'propose',
    /taken back by ann/,
  ],
  [
    'earned on a host of people',
    rule('earn'),
    { earned: { ...NOTHING, successes: 9 } },
    'chelsty-x',
    'propose',
    /a person/,
  ],
])('given %s', (_what, one, more, host, mode, because) => {
  const { decision } = decide(advised('redeploy', host), { rules: [one] }, usual(more));
  expect(decision).toMatchObject({ mode, because: expect.stringMatching(because) as string });
});

it.each<[Partial<SupervisorRule>, boolean]>([
  [{}, true],
  [{ drifts: ['*_service'] }, true],
  [{ drifts: ['offline_node'] }, false],
  [{ actions: ['redeploy'] }, true],
  [{ actions: ['container_*'] }, false],
  [{ hosts: ['v?s'] }, true],
  [{ hosts: ['nas'] }, false],
  [{ services: ['WEB'] }, true],
  [{ services: ['db'], hosts: ['vps'] }, false],
])('a rule for %j fits a redeploy of vps/web: %s', (more, fits) => {
  expect(ruleFor(standing('vps', 'web'), { rules: [rule('propose', more)] }) !== undefined).toBe(
    fits,
  );
});

test('given a rule for services, then a drift of a host is none of its', () => {
  const rules = [rule('approve', { services: ['*'] }), rule('propose', { name: 'rest' })];
  expect(ruleFor(standing('vps', null), { rules })?.name).toBe('rest');
});

test('given several rules fit, then the first decides, known by its name or its place', () => {
  const rules = [rule('propose', { hosts: ['nas'] }), rule('recommend'), rule('approve')];
  expect(decide(advised('redeploy'), { rules }, usual()).decision).toMatchObject({
    mode: 'recommend',
    rule: 'supervisor/rules/1',
  });
  expect(decide(advised('redeploy'), { rules: [] }, usual()).decision.rule).toBeNull();
});

test('whatever the rules, nothing that needs a person is decided without one', () => {
  const globs = fc.array(fc.constantFrom('*', 'vps', 'web', 'redeploy', 'chelsty-ha'));
  const rules = fc.array(
    fc.record(
      {
        mode: fc.constantFrom('recommend', 'propose', 'approve', 'earn' as const),
        drifts: globs,
        actions: globs,
        hosts: globs,
        services: globs,
        after: fc.integer({ min: 1, max: 3 }),
      },
      { requiredKeys: ['mode'] },
    ),
  ) as fc.Arbitrary<SupervisorRule[]>;
  const circumstances = fc.record({
    earned: fc.record({
      successes: fc.nat(5),
      lastSuccessAt: fc.constant(null),
      lastFailureAt: fc.constant(null),
      revokedBy: fc.constantFrom(null, 'ann'),
    }),
    doubt: fc.constantFrom(null, null, 'x'),
    inHand: fc.constantFrom(null, null, 'x'),
    alwaysHuman: fc.constantFrom<string[]>([], ['chelsty-*'], ['*']),
  });
  fc.assert(
    fc.property(
      rules,
      circumstances,
      fc.constantFrom(...REMEDIES),
      fc.constantFrom(...DRIFT_KINDS),
      fc.constantFrom('vps', 'chelsty-ha'),
      (some, around, remedy, kind, host) => {
        const ruled = decide(advised(remedy, host, { kind }), { rules: some }, around);
        const { mode } = ruled.decision;
        if (around.doubt !== null || around.inHand !== null) expect(mode).toBe('recommend');
        expect(ruled.requiresHuman).toBe(mode !== 'approve');
        if (mode !== 'approve') return;
        expect(ACTING_REMEDIES).toContain(remedy);
        expect(around.alwaysHuman.includes('*')).toBe(false);
        expect(host === 'chelsty-ha' && around.alwaysHuman.length > 0).toBe(false);
      },
    ),
    { numRuns: 2000 },
  );
});

test('given as many approvals on one target as there may be, then a person has to look, whatever rule would have approved (P4)', () => {
  const wornOut = '3 actions were approved for vps/web within an hour';
  const earned = { ...NOTHING, successes: 9 };
  const says = (mode: SupervisorRule['mode']) =>
    decide(advised('redeploy'), { rules: [rule(mode)] }, usual({ wornOut, earned }));
  for (const mode of ['approve', 'earn'] as const)
    expect(says(mode)).toMatchObject({
      decision: { mode: 'recommend', because: expect.stringContaining(wornOut) },
      requiresHuman: true,
      escalates: true,
    });
  expect(says('propose')).not.toHaveProperty('escalates');
  expect(says('propose').decision.mode).toBe('propose');
});

describe('the ledger', () => {
  const many = (count: number, make: (ledger: Ledger, of: string) => Ledger): Ledger => {
    const entries = Array.from({ length: count }, (_, i) => Object.entries(make({}, `c ${i}`))[0]);
    return Object.fromEntries(entries.filter((entry) => entry !== undefined));
  };

  test('given one failure, then all that was earned is gone (one success earns again from nothing)', () => {
    let ledger: Ledger = {};
    for (let at = 1; at <= 3; at += 1) ledger = withSuccess(ledger, 'x', at);
    expect(hasEarned(earnedBy(ledger, 'x'))).toBe(true);
    ledger = withSuccess(withFailure(ledger, 'x', 4), 'x', 5);
    expect(earnedBy(ledger, 'x')).toEqual({
      ...NOTHING,
      successes: 1,
      lastSuccessAt: 5,
      lastFailureAt: 4,
    });
  });

  test('given it is full, then the one without news for longest goes, but for what was taken back (L1, L2)', () => {
    let ledger = many(MAX_CLASSES - 1, (one, of) => withSuccess(one, of, 1));
    ledger = { 'c revoked': { ...NOTHING, revokedBy: 'ann' }, ...ledger };
    ledger = withSuccess(withSuccess(ledger, 'c 0', 2), 'new', 3);
    expect(Object.keys(ledger)).toHaveLength(MAX_CLASSES);
    expect(earnedBy(ledger, 'c revoked').revokedBy).toBe('ann');
    expect([earnedBy(ledger, 'c 0').successes, earnedBy(ledger, 'c 1').successes]).toEqual([2, 0]);
  });

  test('given it is full of what was taken back, then no more can be, and nothing is forgotten', () => {
    const full = many(MAX_CLASSES, (one, of) => revoked(one, of, 'ann'));
    expect(() => revoked(full, 'one more', 'ann')).toThrow(/no room/);
    expect(withSuccess(full, 'one more', 1)).toBe(full);
    const less = cleared(full, 'c 7');
    expect(revoked(less, 'one more', 'ann')).toHaveProperty('one more');
  });

  test('takes hostile names for what they are', () => {
    expect(earnedBy({}, 'constructor')).toEqual(NOTHING);
    expect(earnedBy(withSuccess({}, '__proto__', 1), '__proto__').successes).toBe(1);
  });
});

describe('asked of many in one moment', () => {
  const decision = { mode: 'approve', rule: 'r', because: 'rule r: approve' } as const;
  const APPROVES = rule('approve', { actions: ['redeploy'] });

  /** Under which `count` actions on hosts of their own are not over; counts how often all of them are gone through. */
  function approving(count: number, limits: Approving['policy']['limits']) {
    const seen = { times: 0 };
    const all = Object.fromEntries(
      Array.from({ length: count }, (_, i) => [`h${i}/x`, { host: `h${i}` }]),
    );
    const ownKeys = (target: typeof all): (string | symbol)[] => {
      seen.times += 1;
      return Reflect.ownKeys(target);
    };
    const state: Approving = {
      ...freshSupervisor(),
      policy: policyWith([APPROVES], { limits }),
      alwaysHuman: [],
      look: { at: 0, counts: COUNTS, doubt: null, staleSince: null },
      granted: new Proxy(all, { ownKeys }),
    };
    return { seen, state };
  }
  const asked = Array.from({ length: 100 }, (_, i) => ({
    standing: standing(`h${i}`, 'web'),
    decision,
  }));

  it.each<[string, Approving['policy']['limits'], number]>([
    ['given no limit of hosts, what is under way is not gone through', {}, 0],
    ['given one, it is gone through once', { hosts_at_once: 50 }, 1],
  ])('%s', (_name, limits, times) => {
    const { seen, state } = approving(50, limits);
    const moment = newMoment();
    const answers = asked.map((one) => mayApprove(state, one, 0, moment).kind);
    expect(seen.times).toBe(times);
    const granted = answers.filter((kind) => kind === 'granted').length;
    expect(granted).toBe(limits.hosts_at_once ?? 100);
  });

  test('who is in the way is named, and no more than three of them', () => {
    const { state } = approving(50, { hosts_at_once: 2 });
    expect(mayApprove(state, { standing: standing('other', 'web'), decision }, 0)).toEqual({
      kind: 'refused',
      reason: '2 hosts at once: h0, h1, h2',
      until: null,
    });
  });
});

/** What is said of a policy that is right and does not do what one may think. */
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { globCovers, globMatches } from '../../machines/globs.ts';
import { OCCASIONS, policyWarnings } from '../../machines/policy-warnings.ts';
import { DRIFT_KINDS, REMEDIES } from '../../machines/supervision.ts';
import type { SupervisorRule } from '../../machines/supervision.ts';
import { ruleFor } from '../../machines/supervisor-policy.ts';
import { policyOf } from '../support/recorded-life.ts';
import { driftOf } from '../support/supervision.ts';

const said = (rules: SupervisorRule[]): [string, string][] =>
  policyWarnings(policyOf(rules)).map(({ pointer, message }) => [pointer, message]);

describe('rules that never get a turn', () => {
  it.each<[string, SupervisorRule[]]>([
    ['the same', [{ mode: 'propose' }, { mode: 'recommend' }]],
    [
      'a wider one',
      [
        { hosts: ['vps*'], mode: 'propose' },
        { hosts: ['vps1', 'vps2*'], mode: 'propose' },
      ],
    ],
    [
      'two that share its drifts',
      [
        { drifts: ['missing*'], mode: 'recommend' },
        { drifts: ['unhealthy*'], services: ['*'], mode: 'recommend' },
        { drifts: ['*_service'], actions: ['redeploy'], hosts: ['nas'], mode: 'propose' },
      ],
    ],
  ])(
    'given %s before it, then the last is named, with those that take its turn',
    (_name, rules) => {
      expect(said(rules)).toEqual([
        [
          `/supervisor/rules/${rules.length - 1}`,
          expect.stringMatching(/never gets a turn: rule 0/),
        ],
      ]);
    },
  );

  it.each<[string, SupervisorRule[]]>([
    [
      'another host',
      [
        { hosts: ['a'], mode: 'propose' },
        { hosts: ['b'], mode: 'propose' },
      ],
    ],
    [
      'a narrower one',
      [
        { hosts: ['vps?'], mode: 'propose' },
        { hosts: ['vps*'], mode: 'propose' },
      ],
    ],
    ['services only', [{ services: ['*'], mode: 'propose' }, { mode: 'propose' }]],
    ['nothing', []],
  ])('given %s before it, then nothing is said', (_name, rules) => {
    expect(said(rules)).toEqual([]);
  });

  test('given any rules, then one that is named is never the first that fits', () => {
    const globs = fc.option(
      fc.array(fc.constantFrom('a', 'b', 'a*', '*', '?', 'ab', '*b'), {
        minLength: 1,
        maxLength: 2,
      }),
      { nil: undefined },
    );
    const rule = fc.record({
      drifts: fc.option(fc.subarray([...DRIFT_KINDS], { minLength: 1 }), { nil: undefined }),
      actions: fc.option(fc.subarray([...REMEDIES], { minLength: 1 }), { nil: undefined }),
      hosts: globs,
      services: globs,
    });
    const name = fc.constantFrom('a', 'b', 'ab', 'c', 'aab');
    const property = fc.property(
      fc.array(rule, { maxLength: 5 }),
      name,
      name,
      fc.constantFrom(...OCCASIONS),
      (parts, host, service, { kind, remedy, isOfHost }) => {
        const rules = parts.map((part, i) => ({ ...part, name: String(i), mode: 'propose' }));
        const policy = policyOf(rules as SupervisorRule[]);
        const named = policyWarnings(policy)
          .filter(({ message }) => message.includes('never'))
          .map(({ pointer }) => pointer.split('/').at(-1));
        const drift = driftOf(host, isOfHost ? null : service, { kind });
        const recommendation = {
          id: '',
          event: 'reconcile_required',
          remedy,
          risk: 'low',
        } as const;
        const found = ruleFor({ drift, recommendation }, policy.supervisor);
        expect(named).not.toContain(found?.name);
      },
    );
    fc.assert(property, { numRuns: 3000 });
  });
});

test('given a glob that covers another, then it fits whatever that one fits', () => {
  const glob = fc.string({ unit: fc.constantFrom('a', 'b', '*', '?'), maxLength: 5 });
  const name = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 6 });
  const property = fc.property(glob, glob, name, (wide, narrow, text) => {
    if (globCovers(wide, narrow) && globMatches(narrow, text))
      expect(globMatches(wide, text)).toBe(true);
  });
  fc.assert(property, { numRuns: 20_000 });
});

test('given a rule that fits nothing, then that is said', () => {
  const rule: SupervisorRule = {
    drifts: ['disk_pressure'],
    actions: ['redeploy'],
    mode: 'propose',
  };
  expect(said([rule])).toEqual([['/supervisor/rules/0', expect.stringMatching(/never fits/)]]);
  const ofHost: SupervisorRule = { drifts: ['disk_pressure'], services: ['web'], mode: 'propose' };
  expect(said([ofHost])).toHaveLength(1);
});

test('given a rule that proposes what is for people to read, then that is said', () => {
  const rule: SupervisorRule = { actions: ['review', 'delayed_*'], mode: 'propose' };
  expect(said([rule])).toEqual([
    ['/supervisor/rules/0/mode', expect.stringMatching(/for people to read/)],
  ]);
});

test('given a rule that approves where a person always decides, then the host is named', () => {
  const actions = ['redeploy'];
  const hosts = ['vps', 'chelsty-ha', 'chelsty-i*'];
  expect(said([{ actions, hosts, mode: 'earn' }])).toEqual([
    ['/supervisor/rules/0/hosts/1', expect.stringMatching(/chelsty-ha a person always decides/)],
    ['/supervisor/rules/0/hosts/2', expect.stringMatching(/only proposes there/)],
  ]);
  expect(said([{ hosts, mode: 'propose' }])).toEqual([]);
});

test('given more globs than can be compared, then it says so instead of taking for ever', () => {
  const hosts = Array.from({ length: 200 }, (_, i) => `host-${i}-*`);
  const rules = Array.from({ length: 200 }, (_, i): SupervisorRule => {
    return { hosts: hosts.map((name) => `${name}${i}`), mode: 'propose' };
  });
  expect(said(rules).at(-1)).toEqual(['/supervisor/rules', expect.stringMatching(/too many/)]);
});

/** A replay of what the real machines did, by the policy that they did it by, says what they did; and no replay exceeds a limit. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { SupervisorRule } from '../../machines/supervision.ts';
import { replay } from '../../machines/what-if.ts';
import { compare } from '../../machines/what-if-comparison.ts';
import {
  casesIn,
  KNOWING_NOTHING,
  MINUTE,
  policyOf,
  recordingOf,
  recordingWith,
  T0,
  WrittenLog,
} from '../support/recorded-life.ts';
import {
  ACTING,
  APPROVE,
  configured,
  PROPOSE,
  standing,
  SupervisionWorld,
} from '../support/supervision.ts';

const KEYS = ['a/x', 'a/y', 'b/x', 'b/y', 'c/x'];
const key = fc.constantFrom(...KEYS);
const EARN: SupervisorRule = { name: 'earn', actions: ACTING, mode: 'earn', after: 1 };
const rules: fc.Arbitrary<SupervisorRule[]> = fc.constantFrom(
  [APPROVE],
  [{ ...APPROVE, hosts: ['a', 'b'] }, PROPOSE],
  [{ ...APPROVE, services: ['x'] }],
  [EARN],
  [PROPOSE],
  [],
);
const limits = fc.record({
  approvals_per_hour: fc.constant(10_000),
  approvals_per_target_per_hour: fc.integer({ min: 1, max: 3 }),
  hosts_at_once: fc.integer({ min: 1, max: 3 }),
  actions_at_once: fc.integer({ min: 1, max: 3 }),
});

interface Turn {
  key: string;
  /** How runs end in it. */
  well: boolean;
  /** A person approves what is pending and needs one. */
  says: boolean;
}
const turns = fc.array(fc.record({ key, well: fc.boolean(), says: fc.boolean() }), {
  minLength: 1,
  maxLength: 25,
});

/** One thing happens every two seconds. */
function live(world: SupervisionWorld, { key: name, well, says }: Turn): void {
  const [host = '', service = ''] = name.split('/');
  world.pass(2000);
  if (!world.ill.delete(name))
    world.ill.set(name, standing(host, service, { trigger: 'containers_not_running' }));
  world.looks();
  world.settle(well);
  if (!says) return;
  world.pass(2000);
  for (const one of world.open())
    if (one.state === 'pending' && one.context.facts?.requiresHuman === true)
      world.toAction(one.context.actionId, { type: 'action.approve', by: 'alice (x)', door: 'x' });
  world.settle(well);
}

test('given a life under a policy, when it is replayed by that policy, then the same is approved at the same times', () => {
  fc.assert(
    fc.property(turns, rules, limits, (life, chosen, most) => {
      const policy = policyOf(chosen, { limits: most, verify_within: 1e6 });
      const world = new SupervisionWorld();
      const lines = recordingOf(world);
      world.tell(configured(policy.supervisor));
      for (const turn of life) live(world, turn);
      const cases = casesIn(lines);
      const recording = recordingWith(cases, { until: world.clock.at });
      const open = { ...policy, blast_radius: {} }; // the test's world has no gate
      const said = replay(recording, open, KNOWING_NOTHING);
      const then = cases.map(({ id, recorded }) => [
        id,
        recorded.approved?.by === 'policy' ? recorded.approved.at : null,
        recorded.proposedAt !== null,
      ]);
      const now = cases.map(({ id }) => {
        const verdict = said.get(id);
        const isOnlySaid =
          verdict?.kind === 'recommended' || (verdict?.kind === 'blocked' && verdict.requiresHuman); // worn out
        return [id, verdict?.approvedAt ?? null, !isOnlySaid];
      });
      expect(now).toEqual(then);
    }),
    { numRuns: 300 },
  );
});

const spells = fc.array(
  fc.record({
    key,
    from: fc.integer({ min: 0, max: 300 }),
    forMinutes: fc.integer({ min: 1, max: 90 }),
    kind: fc.constantFrom('stood', 'helped', 'failed'),
  }),
  { maxLength: 30 },
);
type Spell = { key: string; from: number; forMinutes: number; kind: string };

/** Of one target one after the other. */
function logOf(told: readonly Spell[]): WrittenLog {
  const log = new WrittenLog();
  const free = new Map<string, number>();
  for (const { key: name, from, forMinutes, kind } of told.toSorted((a, b) => a.from - b.from)) {
    if ((free.get(name) ?? -1) >= from) continue;
    free.set(name, from + Math.max(forMinutes, 30));
    if (kind === 'stood') log.stood(name, from, from + forMinutes);
    else log.helped(name, from, kind === 'helped');
  }
  return log;
}

const policies = fc
  .record({
    rules,
    perHour: fc.integer({ min: 1, max: 5 }),
    atOnce: fc.integer({ min: 1, max: 3 }),
    closed: fc.boolean(),
  })
  .map(({ rules: chosen, perHour, atOnce, closed }) => ({
    perHour,
    policy: policyOf(
      chosen,
      { limits: { approvals_per_hour: perHour, actions_at_once: atOnce } },
      { closed_windows: closed ? [{ from: '09:00', to: '11:00' }] : [], approval_expires: 1800 },
    ),
  }));

test('given any record and any policy, then approvals an hour are within the limit, nobody needs a person who was approved, and itself differs in nothing', () => {
  fc.assert(
    fc.property(spells, policies, (told, { policy, perHour }) => {
      const cases = logOf(told).cases();
      const recording = recordingWith(cases, { until: T0 + 400 * MINUTE });
      const said = replay(recording, policy, KNOWING_NOTHING);
      const times = [...said.values()]
        .flatMap(({ approvedAt }) => approvedAt ?? [])
        .sort((a, b) => a - b);
      for (const [i, at] of times.entries())
        expect((times[i + perHour] ?? Infinity) - at).toBeGreaterThanOrEqual(60 * MINUTE);
      for (const verdict of said.values())
        if (verdict.kind === 'approved') expect(verdict.requiresHuman).toBe(false);
      const again = replay(
        { ...recording, cases: cases.toReversed() },
        structuredClone(policy),
        KNOWING_NOTHING,
      );
      const { items } = compare(recording, { old: said, new: again }, 0);
      expect(items.filter(({ isSame }) => !isSame)).toEqual([]);
    }),
    { numRuns: 300 },
  );
});

/** The log of drifts, read back: what stood, from when to when, what was done about it. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../machines/json.ts';
import { readStep } from '../../machines/recorded-drifts.ts';
import { casesIn, MINUTE, recordingOf, T0, WrittenLog } from '../support/recorded-life.ts';
import { APPROVE, configured, policyWith, PROPOSE, standing } from '../support/supervision.ts';
import { SupervisionWorld } from '../support/supervision.ts';
import type { SupervisorRule } from '../../machines/supervision.ts';

const ILL = standing('vps', 'web', { trigger: 'containers_not_running' });
const ID = ILL.recommendation.id;
const KEY = 'vps/web';

function worldWith(rules: SupervisorRule[]): { world: SupervisionWorld; lines: JsonObject[] } {
  const world = new SupervisionWorld();
  const lines = recordingOf(world);
  world.tell(configured(policyWith(rules)));
  world.ill.set(KEY, ILL);
  world.looks();
  return { world, lines };
}

const PERSON = { by: 'alice (command line)', door: 'command line' };

describe('what the real machines say', () => {
  test('given nothing but a recommendation, then that is the case, and it is open', () => {
    const { world, lines } = worldWith([]);
    world.settle();
    expect(casesIn(lines)).toMatchObject([
      { standing: { drift: { key: KEY } }, until: null, recorded: { mode: 'recommend' } },
    ]);
    expect(casesIn(lines)[0]?.at).toBe(world.clock.at);
  });

  test('given a person approved it and it helped, then who, when and what came of it are known', () => {
    const { world, lines } = worldWith([PROPOSE]);
    world.actions.forEach((one) => world.after(() => world.writes(one)));
    const proposedAt = world.clock.at;
    world.pass(MINUTE);
    world.toAction(ID, { type: 'action.approve', ...PERSON });
    world.settle();
    world.pass(MINUTE);
    world.ill.clear();
    world.looks();
    world.settle();
    expect(casesIn(lines)).toMatchObject([
      {
        until: world.clock.at,
        isResolved: true,
        recorded: {
          mode: 'propose',
          actionId: ID,
          proposedAt,
          approved: { at: proposedAt + MINUTE, by: 'person' },
          declinedAt: null,
          outcome: { helped: true, at: proposedAt + 2 * MINUTE },
        },
      },
    ]);
  });

  test('given the policy approved it and it failed, then that is known, and no case of its own', () => {
    const { world, lines } = worldWith([APPROVE]);
    world.settle(false);
    expect(casesIn(lines)).toMatchObject([
      { until: null, recorded: { approved: { by: 'policy' }, outcome: { helped: false } } },
    ]);
  });

  test.each(['action.reject', 'action.cancel'])(
    'given a person said no by %s, then that is known',
    (type) => {
      const { world, lines } = worldWith([PROPOSE]);
      world.actions.forEach((one) => world.after(() => world.writes(one)));
      world.toAction(ID, { type, ...PERSON, reason: 'not now' });
      world.settle();
      expect(casesIn(lines)).toMatchObject([
        { recorded: { approved: null, declinedAt: world.clock.at, outcome: null } },
      ]);
    },
  );

  test('given it went before anybody answered, then nobody said no', () => {
    const { world, lines } = worldWith([PROPOSE]);
    world.actions.forEach((one) => world.after(() => world.writes(one)));
    world.ill.clear();
    world.looks();
    world.settle();
    expect(casesIn(lines)).toMatchObject([{ isResolved: true, recorded: { declinedAt: null } }]);
  });

  test('given another recommendation meanwhile, then there are two cases, one after the other', () => {
    const { world, lines } = worldWith([]);
    world.pass(MINUTE);
    world.ill.set(KEY, standing('vps', 'web', { blockedBy: ['nas'] }));
    world.looks();
    world.settle();
    const [first, second] = casesIn(lines);
    expect(first).toMatchObject({ until: world.clock.at, isResolved: false });
    expect(second?.standing.recommendation.remedy).toBe('delayed_deployment');
  });
});

describe('any log', () => {
  const log = new WrittenLog()
    .helped('vps/web', 0)
    .stood('nas/db', 3, 9)
    .helped('vps/web', 60, false)
    .stood('nas', 61, null);

  test('given lines in another order, or twice, then the cases are the same', () => {
    const told = casesIn(log.lines);
    expect(told).toHaveLength(4);
    fc.assert(
      fc.property(fc.shuffledSubarray(log.lines, { minLength: log.lines.length }), (lines) => {
        expect(casesIn([...lines, ...lines])).toEqual(told);
      }),
    );
  });

  test('given what was told within a second, then it is of one look', () => {
    const [first, second] = new WrittenLog().stood('a/x', 0, null).stood('b/x', 0.01, null).cases();
    expect([first?.at, second?.at]).toEqual([T0, T0]);
  });

  test('given whatever stands in a line, then it is read or passed over', () => {
    const [good = {}] = log.lines;
    const bad = fc.record({
      name: fc.constantFrom('id', 'timestamp', 'type', 'payload'),
      value: fc.jsonValue({ maxDepth: 3 }),
    });
    fc.assert(
      fc.property(bad, fc.jsonValue({ maxDepth: 4 }), ({ name, value }, payload) => {
        expect(() => readStep({ ...good, [name]: value } as JsonObject)).not.toThrow();
        const inside = { ...(good['payload'] as JsonObject), [name]: payload } as JsonObject;
        expect(() => casesIn([{ ...good, payload: inside }])).not.toThrow();
      }),
      { numRuns: 2000 },
    );
    const { payload } = good;
    const other = { ...(payload as JsonObject), key: 'other' };
    expect(readStep({ ...good, payload: other })).toBeUndefined();
    expect(readStep({ event: 'restarted', node: 'vps' })).toBeUndefined();
  });
});

/** An incident under any order of events, answers, faults and restarts: what its machine promises, looked at after each. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { inLine } from '../../machines/incident-context.ts';
import type { ProposedAction } from '../../machines/remediation.ts';
import { IncidentDriver } from '../support/incidents.ts';

type Step =
  | {
      do:
        | 'hear'
        | 'recover'
        | 'reset'
        | 'dismiss'
        | 'restart'
        | 'fail'
        | 'write'
        | 'notWrite'
        | 'timer';
    }
  | { do: 'answer'; action: ProposedAction; byRule: boolean }
  | { do: 'hearOf' | 'partIsOver'; what: string }
  | { do: 'action'; says: 'durable' | 'taken' | 'failed'; nth: number }
  | { do: 'settle'; status: 'completed' | 'failed' | 'rejected'; nth: number }
  | { do: 'pass'; ms: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.constant({ do: 'hear' } as const) },
  fc.record({
    do: fc.constantFrom(
      ...([
        'recover',
        'reset',
        'dismiss',
        'restart',
        'fail',
        'write',
        'notWrite',
        'timer',
      ] as const),
    ),
  }),
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('answer' as const),
      action: fc.constantFrom<ProposedAction>('restart', 'redeploy', 'notify', 'ignore'),
      byRule: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('action' as const),
      says: fc.constantFrom('durable' as const, 'taken' as const, 'failed' as const),
      nth: fc.nat(3),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom('hearOf' as const, 'partIsOver' as const),
      what: fc.constantFrom('a', 'b', 'c', '__proto__'),
    }),
  },
  fc.record({
    do: fc.constant('settle' as const),
    status: fc.constantFrom('completed' as const, 'failed' as const, 'rejected' as const),
    nth: fc.nat(3),
  }),
  fc.record({ do: fc.constant('pass' as const), ms: fc.nat(400_000) }),
);

/** What a step of a test stands for, where it can happen at all. */
function carryOut(incident: IncidentDriver, what: Step): void {
  const { machine } = incident;
  const ids = [...new Set(incident.proposedIds())];
  const idOf = (nth: number): string | undefined => ids.at(-1 - nth);
  const timers = ['cooldown', 'patience', 'announceAgain'].filter((id) => machine.running.has(id));
  switch (what.do) {
    case 'hear':
      return void incident.hears();
    case 'recover':
      return void incident.recovers();
    case 'reset':
      return void incident.deliver({ type: 'cooldown.reset', by: 'a' });
    case 'dismiss':
      return void incident.deliver({ type: 'incident.dismiss' });
    case 'restart':
      return machine.restore();
    case 'fail':
      return void (machine.running.has('diagnosis') && machine.fails('diagnosis', 'x'));
    case 'answer':
      if (machine.running.has('diagnosis'))
        incident[what.byRule ? 'isRuled' : 'answers']({ action: what.action });
      return;
    case 'hearOf':
      return void incident.hears(`${what.what}_failed`);
    case 'partIsOver':
      return void incident.recovers(`${what.what}_recovered`);
    case 'write':
      return void (machine.running.has('eventFile') && machine.done('eventFile'));
    case 'notWrite':
      return void (machine.running.has('eventFile') && machine.fails('eventFile', 'x'));
    case 'timer':
      return void (timers[0] !== undefined && machine.done(timers[0]));
    case 'pass':
      return void machine.pass(what.ms);
    case 'action': {
      const actionId = idOf(what.nth);
      const type = `proposal.${what.says}`;
      if (actionId !== undefined) incident.deliver({ type, actionId, path: '/x', reason: 'x' });
      return;
    }
    case 'settle': {
      const actionId = idOf(what.nth);
      const { status } = what;
      if (actionId !== undefined)
        incident.deliver({ type: 'action.settled', actionId, status, reason: null });
      return;
    }
    default:
      what satisfies never;
  }
}

test('given any life, then one diagnosis at a time, a name for each proposal, and no cooldown without an answer', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const incident = new IncidentDriver();
      for (const what of steps) {
        const before = incident.context;
        incident.machine.pass(1000); // no two events in one second: their names would be alike
        const [lifeBefore, sentBefore] = [incident.life, incident.machine.sent.length];
        carryOut(incident, what);
        const { context, life, machine } = incident;
        expect(machine.running.has('diagnosis'), 'I1').toBe(life === 'diagnosing');
        expect(machine.running.has('cooldown'), 'I3').toBe(life === 'cooling');
        expect(machine.running.has('patience')).toBe(life === 'proposing');
        expect(context.current !== null).toBe(life === 'diagnosing' || life === 'proposing');
        if (context.cooldownUntil !== null && context.cooldownUntil !== before.cooldownUntil)
          expect(['durable', 'ignore'], 'I3').toContain(
            what.do === 'action' ? what.says : what.do === 'answer' ? what.action : what.do,
          );
        const contents = new Set(incident.contents());
        expect(new Set(incident.proposedIds()).size, 'I2').toBe(contents.size); // asked again is asked the same
        if (machine.sent.slice(sentBefore).some(({ event }) => event.type === 'incident.dismissed'))
          expect(lifeBefore, 'I6').toBe('quiet');
        expect(machine.running.has('eventFile') || machine.running.has('announceAgain'), 'I5').toBe(
          context.announcements.length > 0,
        );
        expect(context.proposed.length).toBeLessThanOrEqual(20);
        const line = inLine(context).map(({ event }) => event.type);
        expect(line.length === 0 || life === 'diagnosing' || life === 'proposing', 'I1').toBe(true);
        expect(line, 'T1').toEqual([...new Set(line)]);
        expect(line.length).toBeLessThanOrEqual(9);
        for (const { event } of machine.sent.slice(sentBefore))
          if (event.type === 'action.cancel')
            expect(['partIsOver', 'action'], 'T2').toContain(what.do);
      }
    }),
    { numRuns: 400 },
  );
});

test('given it is restored between any two steps, then it ends as if it never had been', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const [plain, restored] = [new IncidentDriver(), new IncidentDriver()];
      for (const what of steps) {
        carryOut(plain, what);
        carryOut(restored, what);
        restored.machine.restore();
      }
      expect(restored.machine.persisted()).toBe(plain.machine.persisted());
      expect([...restored.machine.running.keys()]).toEqual([...plain.machine.running.keys()]);
    }),
    { numRuns: 100 },
  );
});

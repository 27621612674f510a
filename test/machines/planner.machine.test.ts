/** The planner's root: what goes to whom, and how many there may be. */
import { beforeEach, describe, expect, it, test } from 'vitest';
import { incidentAddress } from '../../machines/addresses.ts';
import {
  enrol,
  EMPTY_ROLL,
  enrolled,
  longestQuiet,
  postpone,
  strikeOff,
} from '../../machines/incident-roll.ts';
import { INCIDENTS_MARGIN, MAX_INCIDENTS, MAX_WATCHERS } from '../../machines/planner-context.ts';
import type { PlannerContext } from '../../machines/planner-context.ts';
import { plannerMachine } from '../../machines/planner.machine.ts';
import { homelabEvent } from '../support/incidents.ts';
import { MachineDriver } from '../support/machine-driver.ts';
import type { Reaction } from '../support/machine-driver.ts';

let planner: MachineDriver;
beforeEach(() => {
  planner = new MachineDriver(plannerMachine, { cooldownSeconds: 300 });
});
const context = (): PlannerContext => planner.snapshot.context as PlannerContext;
const hears = (type: string, host = 'piha', service = 'mosquitto'): Reaction => {
  const event = homelabEvent(planner.clock.at, type, { host, service });
  return planner.deliver(
    Object.assign({ type: 'homelab.event' }, { channel: 'health_events', host, service, event }),
  );
};
const sentTypes = ({ sent }: Reaction): string[] => sent.map(({ event }) => event.type);
const MOSQUITTO = 'system/planner/piha/mosquitto';

describe('events', () => {
  test('given one that something may have to be done about, then it goes to its incident, made when missing', () => {
    const first = hears('service_unhealthy');
    expect(first.spawned).toEqual([
      { address: MOSQUITTO, machine: 'incident', input: { host: 'piha', service: 'mosquitto' } },
    ]);
    expect(first.sent).toMatchObject([
      {
        to: MOSQUITTO,
        event: { type: 'incident.event', channel: 'health_events', cooldownSeconds: 300 },
      },
    ]);
    const second = hears('service_unhealthy');
    expect(second.spawned).toEqual([]);
    expect(sentTypes(second)).toEqual(['incident.event']);
  });

  it.each([
    'service_healthy',
    'service_recovered',
    'node_online',
    'deployment_completed',
    'deployment_started',
    'remediation_started',
    'remediation_completed',
  ])('given %s of a service without an incident, then nothing comes of it', (type) => {
    const { sent, spawned } = hears(type);
    expect([sent, spawned]).toEqual([[], []]);
  });

  it.each([
    ['service_healthy', true],
    ['service_recovered', true],
    ['node_online', true],
    ['deployment_completed', false],
    ['remediation_completed', false],
  ])('given an incident, then %s ends it: %s', (type, ends) => {
    hears('service_unhealthy');
    expect(sentTypes(hears(type))).toEqual(ends ? ['incident.recovered'] : []);
  });

  test('given the cooldown is configured anew, then incidents hear of it with their next event', () => {
    planner.deliver(Object.assign({ type: 'planner.configured' }, { cooldownSeconds: 5 }));
    expect(hears('x').sent[0]?.event).toMatchObject({ cooldownSeconds: 5 });
  });

  test('given a gap, then it is counted and shown', () => {
    const gap = { channel: 'health_events', since: 1, until: 2, reason: 'redis was away' };
    planner.deliver(Object.assign({ type: 'homelab.gap' }, gap));
    expect(context()).toMatchObject({ gaps: 1, lastGap: gap });
  });
});

describe('watchers', () => {
  const watch = (address: string, service = 'mosquitto'): Reaction =>
    planner.deliver(Object.assign({ type: 'planner.watch' }, { address, host: 'piha', service }));

  it.each([
    ['service_healthy', [true]],
    ['service_recovered', [true]],
    ['service_unhealthy', [false]],
    ['node_online', []],
    ['deployment_started', []],
  ])('given an action watches, when its service says %s, then it hears %j', (type, told) => {
    watch('system/action/a');
    watch('system/action/b', 'nginx');
    const reports = hears(type).sent.filter(({ event }) => event.type === 'service.reported');
    expect(reports.map(({ event }) => event['healthy'])).toEqual(told);
    for (const { to, ifThere } of reports) expect([to, ifThere]).toEqual(['system/action/a', true]);
  });

  test('given it does not watch any more, then it hears nothing', () => {
    watch('system/action/a');
    planner.deliver(Object.assign({ type: 'planner.unwatch' }, { address: 'system/action/a' }));
    expect(hears('service_healthy').sent).toEqual([]);
  });

  test('given too many, then one more is refused, and one that is there may watch something else', () => {
    for (let i = 0; i < MAX_WATCHERS; i += 1) watch(`system/action/${i}`);
    expect(() => watch('system/action/more')).toThrow(/1000 watchers/);
    expect(() => watch('system/action/7', 'nginx')).not.toThrow();
  });
});

describe('given as many incidents as there may be', () => {
  const address = (i: number): string => incidentAddress('h', `s${i}`);
  beforeEach(() => {
    for (let i = 0; i < MAX_INCIDENTS; i += 1) hears('x', 'h', `s${i}`);
  });
  const dismissed = (which: string): Reaction =>
    planner.deliver(Object.assign({ type: 'incident.dismissed' }, { address: which }));

  test('when one more comes, then the longest quiet one is asked, and goes when it says so', () => {
    expect(hears('x', 'h', 'new').sent).toMatchObject([
      { to: address(MAX_INCIDENTS).replace(`s${MAX_INCIDENTS}`, 'new') },
      { to: address(0), event: { type: 'incident.dismiss' } },
    ]);
    expect(dismissed(address(0)).stopped).toMatchObject([{ address: address(0) }]);
    expect(context().roll.size).toBe(MAX_INCIDENTS);
  });

  test('when the one that was asked has an event before it answers, then it stays (P2)', () => {
    hears('x', 'h', 'new');
    hears('x', 'h', 's0');
    expect(dismissed(address(0)).stopped).toEqual([]);
  });

  test('when nobody goes, then others are asked, and beyond the margin events are refused and counted (P1)', () => {
    const asked = new Set<string | undefined>();
    for (let i = 0; i < INCIDENTS_MARGIN; i += 1)
      asked.add(
        hears('x', 'h', `n${i}`).sent.find(({ event }) => event.type === 'incident.dismiss')?.to,
      );
    expect(asked.size).toBe(INCIDENTS_MARGIN);
    const refused = hears('x', 'h', 'one more');
    expect(refused.spawned).toEqual([]);
    expect(sentTypes(refused)).toEqual(['incident.dismiss']);
    expect(context()).toMatchObject({ refused: 1, lastRefused: { service: 'one more' } });
    expect(sentTypes(hears('x', 'h', 's9999'))).toContain('incident.event');
  });
});

describe('the roll', () => {
  test('knows who was quiet for longest, though it looks at the time only now and then', () => {
    let roll = EMPTY_ROLL;
    for (const [i, name] of ['a', 'b', 'c'].entries()) roll = enrol(roll, name, i + 1);
    expect(longestQuiet(roll)).toBe('a');
    expect(enrol(roll, 'a', 100)).toBe(roll);
    roll = enrol(roll, 'a', 1000);
    expect(longestQuiet(roll)).toBe('b');
    roll = strikeOff(postpone(roll, 'b', 1001), 'c');
    expect([longestQuiet(roll), roll.size, enrolled(roll).toSorted()]).toEqual([
      'a',
      2,
      ['a', 'b'],
    ]);
    expect(strikeOff(roll, 'nobody')).toBe(roll);
    expect(longestQuiet(EMPTY_ROLL)).toBeUndefined();
  });

  test('takes hostile names for what they are', () => {
    let roll = EMPTY_ROLL;
    for (const name of ['__proto__', 'constructor', 'toString']) roll = enrol(roll, name, 1);
    expect(enrolled(roll).toSorted()).toEqual(['__proto__', 'constructor', 'toString']);
  });
});

/** What rules of the policy make of an incident: types that are quiet, others that have their turn, and words that end a part of it. */
import { beforeEach, describe, expect, it, test } from 'vitest';
import { machineRegistry } from '../../actors/registry.ts';
import { firstIncidentMachine, migrateIncident } from '../../machines/incident.machine.ts';
import { quietTypes } from '../../machines/incident-context.ts';
import type { JsonValue } from '../../machines/json.ts';
import type { Proposal } from '../../machines/remediation.ts';
import { ActionDriver } from '../support/action.ts';
import { COOLDOWN_S, diagnosis, HOST, homelabEvent, IncidentDriver } from '../support/incidents.ts';
import { MachineDriver } from '../support/machine-driver.ts';

const HOUR_S = 3600;
let incident: IncidentDriver;
beforeEach(() => {
  incident = new IncidentDriver();
});

/** As the effect answers by a rule. */
const rules = (more: Partial<Proposal>, seconds: number | null = HOUR_S) =>
  incident.isRuled(more, seconds);
function alerts(type: string, action: Proposal['action'] = 'notify'): void {
  incident.machine.pass(1000);
  incident.hears(type);
  rules({ action });
  incident.isDurable();
}
const recovers = (type: string) => incident.recovers(type);
const cancelled = (): unknown[] =>
  incident.machine.sent.filter(({ event }) => event.type === 'action.cancel');
const asked = (): unknown =>
  (incident.machine.running.get('diagnosis')?.input['event'] as { type?: string })?.type;

describe('a type that is quiet', () => {
  test('given a rule proposed, then further events of the type are counted and no more, and others are looked into', () => {
    alerts('entity_unavailable');
    expect([incident.life, incident.context.cooldownUntil]).toEqual(['quiet', null]);
    expect(incident.hears('entity_unavailable').started).toEqual([]);
    expect(incident.context.occurrences).toBe(2);
    expect(incident.hears('ha_websocket_dead').started).toHaveLength(1);
  });

  test('given its time is over, then it is looked into', () => {
    alerts('entity_unavailable');
    incident.machine.pass(HOUR_S * 1000 - 1);
    expect(incident.hears('entity_unavailable').started).toEqual([]);
    incident.machine.pass(1);
    expect(incident.hears('entity_unavailable').started).toHaveLength(1);
  });

  test('given the rule names no time, then it is quiet as after any proposal, by itself', () => {
    incident.hears('x');
    rules({ action: 'ignore' }, null);
    expect(incident.life).toBe('quiet');
    expect(quietTypes(incident.context, incident.at)).toEqual([
      ['x', incident.at + COOLDOWN_S * 1000],
    ]);
  });

  test('given what it is a consequence of was known, then nothing is quiet: the next is looked into', () => {
    incident.hears('ha_websocket_dead');
    rules({ action: 'ignore' }, 0);
    expect(incident.hears('ha_websocket_dead').started).toHaveLength(1);
  });

  test('given several, when the cooldown is reset, then none is quiet', () => {
    alerts('a_failed');
    alerts('b_failed');
    expect(quietTypes(incident.context, incident.at)).toHaveLength(2);
    incident.deliver({ type: 'cooldown.reset', by: 'ada' });
    expect(quietTypes(incident.context, incident.at)).toEqual([]);
    expect(incident.hears('a_failed').started).toHaveLength(1);
  });

  test('given more types than are remembered, then the newest are', () => {
    for (let i = 0; i < 60; i += 1) alerts(`t${i}_failed`);
    const kept = quietTypes(incident.context, incident.at).map(([type]) => type);
    expect([kept.length, kept.at(-1)]).toEqual([50, 't59_failed']);
    expect(Object.keys(incident.context.heard ?? {})).toHaveLength(50);
  });

  test.each(['__proto__', 'constructor', '0'])(
    'given a type called %s, then as any other',
    (type) => {
      alerts(type);
      incident.machine.restore();
      expect(incident.hears(type).started).toEqual([]);
    },
  );
});

describe('others that came meanwhile', () => {
  test('given a burst of types, when a rule has decided about one, then each of the others has its turn, the newest first', () => {
    incident.hears('entity_unavailable');
    for (const type of ['ha_websocket_dead', 'integration_failed', 'entity_unavailable'])
      incident.hears(type);
    rules({ action: 'notify' });
    incident.isDurable();
    expect([incident.life, asked()]).toEqual(['diagnosing', 'integration_failed']);
    incident.machine.pass(1000);
    rules({ action: 'ignore' });
    expect([incident.life, asked()]).toEqual(['diagnosing', 'ha_websocket_dead']);
    rules({ action: 'ignore' });
    expect([incident.life, incident.context.waiting, incident.context.behind]).toEqual([
      'quiet',
      null,
      [],
    ]);
  });

  test('given a model has decided, then what came meanwhile is part of what was answered', () => {
    incident.hears('service_unhealthy');
    incident.hears('a');
    incident.hears('b');
    incident.answers();
    incident.isDurable();
    expect([incident.life, incident.context.waiting, incident.context.behind]).toEqual([
      'cooling',
      null,
      [],
    ]);
  });

  test('given the file of what a rule proposed comes late, then it is quiet by its type all the same', () => {
    incident.hears('a');
    rules({ action: 'notify' });
    const { actionId } = incident;
    while (incident.life === 'proposing') incident.machine.done('patience');
    incident.isDurable(actionId);
    expect(incident.life).toBe('quiet');
    expect(incident.hears('a').started).toEqual([]);
    expect(incident.context.proposed).toMatchObject([{ actionId, about: 'a' }]);
  });
});

describe('a word that ends a part', () => {
  test('given ha_websocket_recovered, then its incident is over, and a pending restart for it is cancelled', () => {
    alerts('ha_websocket_dead', 'restart');
    const { actionId } = incident;
    recovers('ha_websocket_recovered');
    expect(incident.context.recoveredAt).toBe(incident.at);
    expect(cancelled()).toMatchObject([
      {
        to: `system/action/${actionId}`,
        ifThere: true,
        event: { by: 'planner', door: 'planner', reason: 'ha_websocket_recovered' },
      },
    ]);
  });

  it.each<[string, string, Proposal['action'], string]>([
    ['what is only told', 'ha_websocket_dead', 'notify', 'ha_websocket_recovered'],
    ['what another trouble is answered by', 'containers_down', 'restart', 'ha_websocket_recovered'],
    ['a name that only begins alike', 'ha_websocketed', 'restart', 'ha_websocket_recovered'],
    ['a service that is well', 'ha_websocket_dead', 'restart', 'service_recovered'],
  ])('given %s, then nothing is cancelled', (_name, type, action, word) => {
    alerts(type, action);
    recovers(word);
    expect(cancelled()).toEqual([]);
  });

  test.each(['completed', 'rejected', 'cancelled'])(
    'given the action is %s already, then nothing is cancelled',
    (status) => {
      alerts('ha_websocket_dead', 'restart');
      const { actionId } = incident;
      incident.deliver({ type: 'action.settled', actionId, status, reason: null });
      recovers('ha_websocket_recovered');
      expect(cancelled()).toEqual([]);
    },
  );

  test('given another trouble stands, then the incident stays open, until the service says that it is well', () => {
    incident.hears('containers_not_running');
    incident.answers({ action: 'ignore' });
    incident.hears('ha_websocket_dead');
    recovers('ha_websocket_recovered');
    expect(incident.context.recoveredAt).toBeNull();
    expect(Object.keys(incident.context.heard ?? {})).toEqual(['containers_not_running']);
    recovers('service_recovered');
    expect([incident.context.recoveredAt, incident.context.heard]).toEqual([incident.at, {}]);
  });

  test('given it comes while the proposal is being made, then that is cancelled when its file is there', () => {
    incident.hears('ha_websocket_dead');
    recovers('ha_websocket_recovered');
    rules({ action: 'restart' });
    expect(cancelled()).toEqual([]);
    incident.isDurable();
    expect(cancelled()).toHaveLength(1);
  });

  test('given it comes while the file is being written, then that is cancelled when its file is there', () => {
    incident.hears('ha_websocket_dead');
    rules({ action: 'restart' });
    recovers('ha_websocket_recovered');
    incident.isDurable();
    expect(cancelled()).toHaveLength(1);
  });

  test('given it waits for its turn, then it gets none', () => {
    incident.hears('entity_unavailable');
    incident.hears('ha_websocket_dead');
    recovers('ha_websocket_recovered');
    rules({ action: 'ignore' });
    expect(incident.life).toBe('quiet');
  });
});

describe("the planner's withdrawal, as the action takes it", () => {
  const CANCEL = { type: 'action.cancel', by: 'planner', door: 'planner', reason: 'r' } as const;

  test('given it is pending, then it is cancelled, with who and why', () => {
    const one = new ActionDriver();
    one.found('pending');
    one.tell(CANCEL);
    one.moves();
    expect(one.disk?.status).toBe('cancelled');
    expect(one.context).toMatchObject({ status: 'cancelled', by: 'planner', reason: 'r' });
  });

  it.each([
    ['approved', (one: ActionDriver) => one.approved()],
    ['running', (one: ActionDriver) => one.running()],
  ])('given it is %s, then it is refused: only a person may', (_state, bring) => {
    const one = new ActionDriver();
    bring(one);
    expect(() => one.tell(CANCEL)).toThrow(/only a person|does not fit/);
  });

  it.each([
    ['ha_websocket_dead', 'ha_websocket_recovered', true],
    ['ha_websocket_dead', 'service_healthy', true],
    ['containers_not_running', 'ha_websocket_recovered', false],
  ])(
    'given it answers %s and ran, when %s is heard, then that it has helped: %s',
    (about, word, helped) => {
      const one = new ActionDriver();
      const content = { action_id: 'a', type: 'container_restart', node: HOST, service: 's' };
      one.disk = { status: 'pending', content: { ...content, source_event: about } };
      one.running({ ...PLAN_THAT_VERIFIES });
      one.driver.done('run', { ok: true, reason: null, exit_code: 0, signal: null });
      one.driver.pass(5000);
      const event = homelabEvent(one.driver.clock.at, word);
      one.tell({ type: 'service.reported', healthy: true, event });
      expect(one.state === 'underway.finishing').toBe(helped);
    },
  );
});
const PLAN_THAT_VERIFIES = {
  driver: 'd',
  semantics: 'idempotent',
  via: 'v',
  shown: [],
  timeoutMs: 1000,
  verifies: true,
  verifyMs: 60_000,
};

describe('an incident of the first version', () => {
  const first = (): MachineDriver =>
    new MachineDriver(firstIncidentMachine, { host: HOST, service: 'mosquitto' });
  const hears = (driver: MachineDriver, type: string) => {
    const event = homelabEvent(driver.clock.at, type);
    const told = { type: 'incident.event', channel: 'c', event, cooldownSeconds: COOLDOWN_S };
    return driver.deliver(told);
  };

  it.each([
    ['quiet', (_one: MachineDriver) => {}],
    ['diagnosing', (one: MachineDriver) => void hears(one, 'a')],
    [
      'cooling',
      (one: MachineDriver) => {
        hears(one, 'a');
        one.done('diagnosis', diagnosis({ action: 'ignore' }));
      },
    ],
  ])('given it was %s, then it goes on as the second', (life, bring) => {
    const one = first();
    bring(one);
    const logic = machineRegistry().byId('incident@2');
    const before = JSON.parse(one.persisted()) as JsonValue;
    const restored = logic.restore(migrateIncident(before));
    expect((restored.value as { life: string }).life).toBe(life);
    const event = homelabEvent(one.clock.at, 'b');
    const told = { type: 'incident.event', channel: 'c', event, cooldownSeconds: 1 };
    const stamped = { ...told, ...one.clock, seq: 99 };
    expect(() => logic.apply(restored, stamped, [])).not.toThrow();
  });

  test('given it remembers no types, when a part is said to be over, then by what it heard last', () => {
    const one = first();
    hears(one, 'ha_websocket_dead');
    const { context } = one.snapshot as { context: Record<string, unknown> };
    delete context['heard'];
    const event = homelabEvent(one.clock.at, 'ha_websocket_recovered');
    one.deliver(Object.assign({ type: 'incident.recovered' }, { event }));
    expect(one.snapshot.context).toMatchObject({ recoveredAt: one.clock.at });
  });
});

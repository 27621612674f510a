/** What a person settled beforehand about events: which rule decides, what it says, and what is only a consequence. */
import { describe, expect, it, test } from 'vitest';
import { eventRuleWarnings } from '../../machines/event-rule-checks.ts';
import {
  DEFAULT_EVENT_RULES,
  eventRuleFor,
  proposeByEventRule,
} from '../../machines/event-rules.ts';
import type { EventRule } from '../../machines/event-rules.ts';
import { boundedEvent, locationTag } from '../../machines/health-event.ts';
import type { HomelabEvent } from '../../machines/homelab-events.ts';
import { DEFAULT_POLICY } from '../../machines/remediation.ts';
import { homelabEvent, proposal } from '../support/incidents.ts';
import { applyGuardrails } from '../../machines/guardrails.ts';

const T0 = 1_764_000_000_000;
const heardOf = (type: string, more = {}): HomelabEvent => homelabEvent(T0, type, more);
const nothing = (): Record<string, number> => ({});

function answerTo(event: HomelabEvent, rules: EventRule[] = DEFAULT_EVENT_RULES, heard = nothing) {
  const found = eventRuleFor(rules, event);
  return found && proposeByEventRule(found, event, heard);
}

describe("the rules of Home Assistant's agent", () => {
  it.each([
    ['entity_unavailable', 'notify', 3600],
    ['integration_failed', 'notify', 3600],
    ['automation_failing', 'notify', 3600],
    ['update_available', 'notify', 3600],
    ['recorder_lag', 'notify', 3600],
    ['system_health_degraded', 'notify', 3600],
    ['HA_Websocket_Dead', 'restart', 1800],
  ])('given %s, then %s is proposed, and it is quiet for %i s', (type, action, cooldown) => {
    const event = heardOf(type);
    expect(eventRuleFor(DEFAULT_EVENT_RULES, event)?.rule.cooldown).toBe(cooldown);
    expect(answerTo(event)).toMatchObject({ action, node: 'piha', confidence: 1 });
  });

  test.each(['service_unhealthy', 'ha_websocket_slow', 'my_entity_unavailable'])(
    'given %s, then none fits: the model decides',
    (type) => expect(eventRuleFor(DEFAULT_EVENT_RULES, heardOf(type))).toBeUndefined(),
  );

  test('given the websocket is dead, whoever tells it, then homeassistant is restarted, and a person is needed', () => {
    const event = heardOf('ha_websocket_dead', { service: 'ha-diag-agent' });
    const told = answerTo(event);
    expect(told).toMatchObject({ service: 'homeassistant', requires_human: true });
  });

  it.each([
    [0, 'ignore'],
    [299_999, 'ignore'],
    [300_000, 'restart'],
  ])(
    'given containers_not_running of homeassistant was heard %i ms before, then %s',
    (age, action) => {
      const heard = (service: string): Record<string, number> =>
        service === 'homeassistant' ? { containers_not_running: T0 - age } : {};
      const event = heardOf('ha_websocket_dead', { service: 'ha-diag-agent' });
      expect(answerTo(event, DEFAULT_EVENT_RULES, heard as typeof nothing)).toMatchObject({
        action,
      });
    },
  );
});

describe('rules', () => {
  it.each<[string, EventRule, Partial<HomelabEvent['data']>, boolean]>([
    ['types', { types: ['disk_*'], action: 'notify' }, {}, true],
    ['another host', { types: ['*'], hosts: ['vps*'], action: 'notify' }, {}, false],
    ['its service', { types: ['*'], services: ['MOSQ*'], action: 'notify' }, {}, true],
    ['another service', { types: ['*'], services: ['x'], action: 'notify' }, {}, false],
  ])('given globs of %s, then it fits by all of them', (_name, rule, data, fits) => {
    expect(eventRuleFor([rule], heardOf('disk_full', { ...data })) !== undefined).toBe(fits);
  });

  test('given two that fit, then the first decides, and its place is its name', () => {
    const rules: EventRule[] = [
      { types: ['disk_*'], action: 'ignore' },
      { types: ['*'], action: 'notify' },
    ];
    expect(eventRuleFor(rules, heardOf('disk_full'))?.name).toBe('rules/0');
    expect(answerTo(heardOf('disk_full'), rules)?.action).toBe('ignore');
  });

  test('given no action, then the model decides, unless it is a consequence', () => {
    const rules: EventRule[] = [{ types: ['x'], unless_open: ['power_*'] }];
    expect(answerTo(heardOf('x'), rules)).toBeUndefined();
    const lost = (service: string): Record<string, number> =>
      service === 'mosquitto' ? { power_lost: T0 - 1000 } : {};
    expect(answerTo(heardOf('x'), rules, lost as typeof nothing)).toMatchObject({
      action: 'ignore',
      reason: 'By rules/0: not looked into, for mosquitto has had power_lost for less than 300 s.',
    });
  });

  test('given a payload, then people read it in the reason, bounded and on one line', () => {
    const payload = { entity_id: 'light.\u202Ehall\n', text: 'x'.repeat(5000) };
    const told = answerTo(heardOf('entity_unavailable', { payload }));
    const subject = { host: 'piha', service: 'mosquitto', type: 'entity_unavailable' };
    const { proposal: shown } = applyGuardrails(told ?? proposal(), subject, DEFAULT_POLICY);
    expect(shown.reason).toMatch(/^By rules\/ha_alerts, no model was asked: entity_unavailable/);
    expect(shown.reason).toMatch(/"entity_id":"light\.hall/);
    expect(shown.reason.length).toBeLessThan(500);
    expect(shown.reason).not.toMatch(/\n|\u202E/);
  });

  test('given a host where a person always decides, or a type that is only told, then the guardrails hold for rules too', () => {
    const subject = { host: 'chelsty-ha', service: 'homeassistant', type: 'disk_pressure' };
    const rules: EventRule[] = [{ types: ['*'], action: 'redeploy', service: 'homeassistant' }];
    const told = answerTo(heardOf('disk_pressure', { host: 'chelsty-ha' }), rules) ?? proposal();
    const { proposal: kept } = applyGuardrails(told, subject, DEFAULT_POLICY);
    expect(kept).toMatchObject({ action: 'notify', requires_human: true });
  });

  it.each<[string, EventRule[], number[]]>([
    ['apart', DEFAULT_EVENT_RULES, []],
    ['behind a wider one', [{ types: ['*'], action: 'ignore' }, { types: ['x'] }], [1]],
    ['on other hosts', [{ types: ['*'], hosts: ['a'] }, { types: ['x'] }], []],
    [
      'on the same hosts',
      [
        { types: ['*'], hosts: ['a*'] },
        { types: ['x'], hosts: ['ab'] },
      ],
      [1],
    ],
  ])('given rules %s, then who never gets a turn is named', (_name, rules, late) => {
    expect(eventRuleWarnings(rules).map(({ pointer }) => pointer)).toEqual(
      late.map((i) => `/event_rules/${i}`),
    );
  });
});

describe('the location', () => {
  it.each([
    [{ location_tag: 'attic' }, 'attic'],
    [{ location_tag: ' a\u202Eb\nc ' }, 'ab c'],
    [{ location_tag: 7 }, undefined],
    [{ location_tag: '' }, undefined],
    [{}, undefined],
  ])('given the payload %j, then it is %s', (payload, tag) => {
    expect(locationTag(heardOf('x', { payload }))).toBe(tag);
  });

  test('given a payload that is cut off, then it stays', () => {
    const payload = { text: 'x'.repeat(10_000), location_tag: 'attic' };
    expect(locationTag(boundedEvent(heardOf('x', { payload })))).toBe('attic');
  });
});

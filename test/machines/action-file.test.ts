import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  approvalText,
  approvedPart,
  isActionId,
  isSameProposal,
  readAction,
  withTransition,
} from '../../machines/action-file.ts';
import type { ActionFacts } from '../../machines/action-file.ts';
import type { JsonObject } from '../../machines/json.ts';
import { proposal } from '../support/action.ts';

function facts(id: string, content: JsonObject): ActionFacts {
  const read = readAction(id, content);
  if (!read.ok) throw new Error(read.reason);
  return read.facts;
}

describe('the three schemas', () => {
  test('of the planner', () => {
    expect(facts('a', proposal('a'))).toEqual({
      id: 'a',
      type: 'container_restart',
      host: 'vps',
      service: 'web',
      risk: 'low',
      requiresHuman: false,
      createdAt: 1_700_000_000_500,
      description: 'RESTART web on vps: it does not answer any more',
      payload: { action: 'restart', reason: 'it does not answer any more' },
    });
  });

  test.each(['', '  ', 7])(
    'given the description %j, then the reason stands for it',
    (description) => {
      const content = { ...proposal('a'), description };
      expect(facts('a', content).description).toBe('it does not answer any more');
    },
  );

  test('of the agent system', () => {
    const content = {
      id: 'b',
      type: 'restart_service',
      node: 'piha',
      risk: 'guarded',
      created_at: 1_700_000_000,
      details: { service: 'mqtt', reason: 'gone', image: 'x' },
    };
    expect(facts('b', content)).toMatchObject({
      type: 'container_restart',
      host: 'piha',
      service: 'mqtt',
      risk: 'guarded',
      requiresHuman: true,
      createdAt: 1_700_000_000_000,
      description: 'gone',
      payload: { image: 'x' },
    });
  });

  test('of the action queue', () => {
    const content = {
      action_id: 'c',
      action_type: 'redeploy_service',
      host: 'vps',
      service: 'web',
      risk_level: 'safe',
      autonomous_eligible: true,
      created_at: '2026-01-01T00:00:00Z',
      payload: { stage: 2 },
    };
    expect(facts('c', content)).toMatchObject({
      type: 'redeploy',
      host: 'vps',
      requiresHuman: false,
      createdAt: Date.UTC(2026, 0, 1),
    });
  });

  test.each<[string, string]>([
    ['restart_service', 'container_restart'],
    ['deploy_service', 'redeploy'],
    ['redeploy_service', 'redeploy'],
    ['collect_diagnostics', 'alert_only'],
    ['diagnostics', 'alert_only'],
    ['failover_review', 'alert_only'],
    ['disk_cleanup', 'disk_cleanup'],
    ['rollback', 'rollback'],
    ['constructor', 'constructor'],
  ])('type %s is %s here', (given, type) => {
    expect(facts('a', { type: given }).type).toBe(type);
  });

  test.each<[string, JsonObject, boolean]>([
    ['says no', { requires_human: false }, false],
    ['says yes', { requires_human: true }, true],
    ['says nonsense', { requires_human: 'no' }, true],
    ['says nothing', {}, true],
    ['wants no approval', { approval_required: false }, false],
    ['is eligible', { autonomous_eligible: true }, false],
    [
      'is eligible, and wants approval',
      { autonomous_eligible: true, approval_required: true },
      true,
    ],
    ['is dangerous', { requires_human: false, risk_level: 'dangerous' }, true],
    ['is critical', { requires_human: false, risk: 'critical' }, true],
  ])('who %s (F3)', (_name, more, needs) => {
    expect(facts('a', { type: 't', ...more }).requiresHuman).toBe(needs);
  });

  test.each<[string, string, JsonObject, string]>([
    ['another id (F2)', 'a', { action_id: 'b', type: 't' }, '/action_id'],
    ['an id that is no text', 'a', { id: 5, type: 't' }, '/id'],
    ['no type', 'a', {}, '/type'],
    ['a type with a line break', 'a', { action_type: 'x\ny' }, '/action_type'],
    ['a host that is no text', 'a', { type: 't', node: 5 }, '/node'],
    ['a service that is too long', 'a', { type: 't', service: 'x'.repeat(201) }, '/service'],
    ['a name that cannot be one', '.a', { type: 't' }, ''],
  ])('with %s is refused', (_name, id, content, pointer) => {
    expect(readAction(id, content)).toMatchObject({ ok: false, pointer });
  });
});

describe('ids', () => {
  test.each(['plan-vps-web-1790000000', 'redeploy-chelsty-ha-home.assistant', 'ä', 'a b', '1'])(
    '%j may be one',
    (id) => expect(isActionId(id)).toBe(true),
  );
  test.each([
    '',
    '.',
    '..',
    '.a',
    '../a',
    'a/b',
    'a\0',
    'a\n',
    ' a',
    'a ',
    '\u202ea',
    '\ud800',
    'x'.repeat(181),
  ])('%j may not', (id) => expect(isActionId(id)).toBe(false));
});

describe('what an approval names (F1)', () => {
  const json = fc.dictionary(
    fc.string({ maxLength: 8 }).filter((name) => name !== '__proto__'),
    fc.jsonValue({ maxDepth: 3 }),
    { maxKeys: 6 },
  ) as fc.Arbitrary<JsonObject>;

  test('the order of keys does not count', () => {
    fc.assert(
      fc.property(json, (content) => {
        const turned = Object.fromEntries(Object.entries(content).toReversed());
        expect(approvalText(turned)).toBe(approvalText(content));
      }),
    );
  });

  test('anything else counts, wherever it stands', () => {
    fc.assert(
      fc.property(json, json, (a, b) => {
        const isSame =
          JSON.stringify(sorted(approvedPart(a))) === JSON.stringify(sorted(approvedPart(b)));
        expect(approvalText(a) === approvalText(b)).toBe(isSame);
      }),
    );
    expect(approvalText({ payload: { status: 1 } })).not.toBe(
      approvalText({ payload: { status: 2 } }),
    );
  });

  test('what programs append while they move the file does not', () => {
    const moved = withTransition(
      proposal('a', { updated_at: 1, approved_at: 2, would_run: { shown: [] } }),
      { from: 'pending', to: 'approved', timestamp: 1, by: 'x' },
      {},
    );
    expect(moved).toMatchObject({ status: 'approved', transition_history: [{ by: 'x' }] });
    expect(approvalText(moved)).toBe(approvalText(proposal('a')));
    expect(approvedPart(moved)).not.toHaveProperty('updated_at');
  });

  test('a proposal that others added to is the same, one that they changed is not', () => {
    expect(isSameProposal(proposal('a'), proposal('a', { result: 'theirs', status: 'x' }))).toBe(
      true,
    );
    expect(isSameProposal(proposal('a'), proposal('a', { service: 'db' }))).toBe(false);
    const { service: _, ...without } = proposal('a');
    expect(isSameProposal(proposal('a'), without)).toBe(false);
  });

  test('a history keeps to its bound', () => {
    let content: JsonObject = {};
    for (let n = 0; n < 300; n += 1)
      content = withTransition(content, { from: 'a', to: 'b', timestamp: n, by: 'x' }, {});
    expect(content['transition_history']).toHaveLength(200);
  });
});

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.entries(value)
    .map(([name, member]): [string, unknown] => [name, sorted(member)])
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

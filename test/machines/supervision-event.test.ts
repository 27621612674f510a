/** What other programs read of a drift's steps, and what its actions are called. */
import { expect, it, test } from 'vitest';
import { recommendationId } from '../../machines/drift.ts';
import { isActionId } from '../../machines/action-file.ts';
import { remedyId } from '../../machines/remedy-file.ts';
import { REMEDIES } from '../../machines/supervision.ts';
import type { DriftStep } from '../../machines/supervision.ts';
import { stepFile, stepLine } from '../../machines/supervision-event.ts';
import { ruling, standing } from '../support/supervision.ts';

const AT = Date.parse('2026-11-21T10:20:30.400Z');

function telling(what: DriftStep['what'], service: string | null = 'web', host = 'vps') {
  const { drift, recommendation } = standing(host, service);
  const { key, kind, trigger } = drift;
  const { decision } = ruling('propose');
  const step: DriftStep = {
    what,
    status: 'recommended',
    key,
    host,
    service,
    kind,
    trigger,
    recommendation,
    decision,
    action_id: null,
    since: AT - 1000,
    because: 'it does not answer',
  };
  return { step, id: 'x#1', at: AT };
}

test('an event file is as others of the homelab are, and says what is advised', () => {
  expect(stepFile(telling('reconcile_required'), 'piha')).toEqual({
    folder: '2026-11-21/piha',
    name: `evt-piha-${Math.floor(AT / 1000)}-reconcile_required-web`,
    content: {
      timestamp: '2026-11-21T10:20:30Z',
      node: 'piha',
      type: 'reconcile_required',
      severity: 'warning',
      source: 'supervisor',
      service: 'web',
      correlation_id: 'redeploy-vps-web',
      payload: {
        status: 'recommended',
        key: 'vps/web',
        node: 'vps',
        service: 'web',
        kind: 'unhealthy_service',
        trigger: null,
        recommendation: {
          id: 'redeploy-vps-web',
          event: 'reconcile_required',
          remedy: 'redeploy',
          risk: 'guarded',
        },
        decision: { mode: 'propose', rule: 'r', because: 'rule r: propose' },
        action_id: null,
        since: (AT - 1000) / 1000,
        because: 'it does not answer',
      },
    },
  });
});

test('a line of the log names the step, and the host it is about', () => {
  expect(stepLine(telling('remedy_escalated'))).toMatchObject({
    id: 'x#1',
    timestamp: '2026-11-21T10:20:30.400Z',
    node: 'vps',
    type: 'remedy_escalated',
    severity: 'error',
  });
});

it.each([
  [null, 'vps', 'vps', 'vps'],
  ['a/b c', 'vps', 'a-b-c', 'a/b c'],
  ['..', 'vps', '%2E.', '..'],
])('a drift of %s on %s is named %s', (service, host, slug, shown) => {
  const { name, content } = stepFile(telling('drift_resolved', service, host), 'piha');
  expect(name.endsWith(`-drift_resolved-${slug}`)).toBe(true);
  expect(name).not.toContain('/');
  expect(content['service']).toBe(shown);
});

it.each(REMEDIES)(
  'an action of %s has a name that a file may have, however long and odd the names are',
  (remedy) => {
    for (const name of ['web', 'ü'.repeat(200), '/'.repeat(200), 'x'.repeat(300), '%'.repeat(90)])
      for (const serial of [1, 2, 3, 50]) {
        const id = recommendationId(remedy, { host: name, service: name });
        expect(isActionId(remedyId(id, AT, serial))).toBe(true);
      }
  },
);

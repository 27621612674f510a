/** What an action should bring about: as its proposer said, else as things stand. */
import { expect, test } from 'vitest';
import { expectedEffect } from '../../actors/actions/expected-effect.ts';
import type { MissionReader } from '../../actors/control.ts';
import { readAction } from '../../machines/action-file.ts';
import { driftAddress, SUPERVISOR } from '../../machines/addresses.ts';
import type { JsonObject } from '../../machines/json.ts';
import { freshDrift } from '../../machines/drift-context.ts';
import { noShards, withEntries } from '../../machines/shards.ts';
import { standing } from '../support/supervision.ts';

function actionOf(more: JsonObject) {
  const content = { type: 'container_restart', node: 'vps', service: 'web', ...more };
  const read = readAction('a', content);
  return { content, facts: read.ok ? read.facts : null };
}

function reader(keys: readonly string[], inventory?: Record<string, string[]>) {
  const stood = keys.map((key) => {
    const [host = '', service = null] = key.split('/');
    return [key, standing(host, service)] as const;
  });
  const known: Record<string, unknown> = {
    [SUPERVISOR]: { standing: withEntries(noShards(), stood) },
  };
  known[driftAddress('vps', 'web')] = {
    ...freshDrift({ host: 'vps', service: 'web' }),
    dependants: ['vps/shop'],
  };
  const view: Pick<MissionReader, 'actor' | 'dependantsOf'> = {
    actor: (address) =>
      known[address] === undefined
        ? undefined
        : { machine: '', seq: 0, state: '', context: known[address], invokes: {} },
    dependantsOf: ({ host, service }) =>
      inventory && (inventory[service === null ? host : `${host}/${service}`] ?? []),
  };
  return view;
}

test('given an action of the supervisor, then it is as that said when it was proposed', () => {
  const expected_effect = { removes: 'missing_service vps/web', dependants: ['nas/db', 7] };
  expect(expectedEffect(reader(['vps/web']), actionOf({ expected_effect }))).toEqual({
    removes: 'missing_service vps/web',
    dependants: ['nas/db'],
    as_of: 'proposal',
  });
});

test('given an action of somebody else, then it is the drift that stands there now', () => {
  expect(expectedEffect(reader(['vps/web']), actionOf({}))).toEqual({
    removes: 'unhealthy_service vps/web',
    dependants: ['vps/shop'],
    as_of: 'now',
  });
});

test('given an inventory, then what depends on the target is known though nothing stands', () => {
  expect(expectedEffect(reader([], { 'vps/web': ['nas/db'] }), actionOf({}))).toEqual({
    removes: null,
    dependants: ['nas/db'],
    as_of: 'now',
  });
});

test.each([
  ['', 'disk_pressure vps'],
  ['vps', 'disk_pressure vps'],
  ['other', null],
])('given the service %j and a drift of the host, then %j should go', (service, removes) => {
  expect(expectedEffect(reader(['vps'], {}), actionOf({ service }))?.removes).toBe(removes);
});

test('given no host, then nobody can say', () => {
  expect(expectedEffect(reader([]), actionOf({ node: '' }))).toBeNull();
});

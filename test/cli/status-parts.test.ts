/** The status for people: what keeps planner and executor from their work is said, and nothing else. */
import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import { partsLines, partsSummary } from '../../cli/status-parts.ts';
import type { JsonValue } from '../../machines/json.ts';

const linesOf = (parts: Record<string, JsonValue>): string[] =>
  partsLines(parts).map((line) => stripVTControlCharacters(line).trim());

const up = { model: 'ollama/tiny', state: 'up', reason: null };
const off = { model: 'claude-haiku-5-5', state: 'off', reason: 'no API key' };
const counts = { pending: 0, approved: 0, running: 0, held: 0 };

test('given all is well, then there is a line of names and nothing more', () => {
  const parts = {
    nats: { state: 'up' },
    llm: [up, off],
    planner: { state: 'up', policy: { problem: null } },
    actions: { state: 'up', counts, frozen: null, not_looked_after: 0 },
    executor: { state: 'up', mode: 'on', problem: null },
    supervisor: { state: 'up', summary: 'nominal', drifts: 0, doubt: null, stale_since: null },
  };
  expect(partsSummary(parts)).toBe(
    'nats up · llm 1 of 2 · planner up · actions up · executor up · supervisor up',
  );
  expect(linesOf(parts)).toEqual([]);
});

test('given no model that can be asked, then each is named with what is missing', () => {
  const down = { model: 'ollama/tiny', state: 'down', reason: 'ECONNREFUSED' };
  const text = 'no model can be asked: ollama/tiny: ECONNREFUSED; claude-haiku-5-5: no API key';
  expect(linesOf({ llm: [down, off] })).toEqual([text]);
  expect(linesOf({ llm: [{ ...down, state: 'unknown' }, off] })).toEqual([]);
});

test.each<[string, Record<string, JsonValue>, RegExp]>([
  ['a part is down', { redis: { state: 'down', reason: 'refused' } }, /^redis is down: refused$/],
  [
    'it is frozen',
    { actions: { frozen: { by: 'bob', reason: 'moving' } } },
    /^frozen by bob: mov.*unfr/,
  ],
  [
    'the policy is bad',
    { planner: { policy: { problem: 'line 3' } } },
    /^policy.json is not taken: l/,
  ],
  [
    'executor.json is bad',
    { executor: { mode: 'on', problem: 'x' } },
    /^executor.json is not taken/,
  ],
  ['files are too many', { actions: { not_looked_after: 7 } }, /^7 action files are too many/],
  [
    'a file is no action',
    { actions: { refused_files: { count: 1, first: ['pending/x.json'] } } },
    /^1 file is no action: pending.x.json; see/,
  ],
  [
    'no model answered',
    { planner: { unplanned: 2 } },
    /^2 without a proposal.*lazarus incidents`$/,
  ],
  [
    'something drifts',
    {
      supervisor: {
        state: 'up',
        summary: 'unstable',
        drifts: 2,
        counts: { services: { desired: 9, healthy: 6, missing: 2, unknown: 1 } },
      },
    },
    /^homelab unstable: 2 drifts; services: 2 missing, 1 unknown: `lazarus drift`$/,
  ],
  [
    'the observer is silent',
    { supervisor: { state: 'up', summary: 'degraded', drifts: 0, stale_since: '2026-01-01' } },
    /^homelab degraded: 0 drifts; the observer is silent since 2026-01-01: `laz/,
  ],
  [
    'nobody says how some of it is',
    { supervisor: { state: 'up', summary: 'degraded', drifts: 0, unknown: ['vps', 'piha/redis'] } },
    /^homelab degraded: 0 drifts; nobody says how vps, piha.redis are: `laz/,
  ],
  [
    'nobody says how much of it is',
    {
      supervisor: {
        state: 'up',
        summary: 'degraded',
        drifts: 0,
        unknown: ['a', 'b', 'c', 'd', 'e', 'f', 'g'],
      },
    },
    /^homelab degraded: 0 drifts; nobody says how a, b, c, d, e and others are: `laz/,
  ],
  [
    'a file of the inventory is bad',
    {
      supervisor: {
        state: 'up',
        inventory: {
          problem_count: 1,
          problems: [{ file: 'hosts/vps/services.yaml', line: 3, problem: 'not YAML' }],
        },
      },
    },
    /^inventory: hosts.vps.services.yaml:3 not YAML$/,
  ],
  [
    'the inventory cannot be read',
    { supervisor: { state: 'up', inventory: { problem_count: 0, problem: 'EACCES' } } },
    /^inventory: EACCES$/,
  ],
  [
    'autonomy.json is bad',
    { supervisor: { state: 'up', summary: 'nominal', drifts: 0, autonomy_problem: 'no JSON' } },
    /^no JSON$/,
  ],
  ['incidents are too many', { planner: { refused: 3 } }, /^3 events had no room/],
])('given %s, then that is said', (_what, parts, line) => {
  expect(linesOf(parts)).toEqual([expect.stringMatching(line)]);
});

test.each(['off', 'dry-run'])(
  'given approved actions and an executor that is %s, then that is why they wait',
  (mode) => {
    const actions = { counts: { ...counts, approved: 2 } };
    expect(linesOf({ actions, executor: { mode } })).toEqual([
      `2 approved wait: the executor is ${mode} (--executor on)`,
      'actions: 2 approved',
    ]);
    expect(linesOf({ actions, executor: { mode: 'on' } })).toHaveLength(1);
  },
);

/** The small pure rules: permissions, policies, isolation, assignment, restart intensity, revival. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { chooseAgent, whoCanDo } from '../../machines/assignment.ts';
import { restartOf } from '../../machines/cell-settle.ts';
import type { Candidate } from '../../machines/assignment.ts';
import { planIsolation } from '../../machines/isolation.ts';
import { readAgent, readIsolation, readTask } from '../../machines/mission-defaults.ts';
import { DEFAULT_POLICIES, DEFAULT_RESTART } from '../../machines/mission.ts';
import type { Failure } from '../../machines/events.ts';
import type { IsolationLevel, Policies, RestartIntensity, Role } from '../../machines/mission.ts';
import { mayDo, mayHandOff } from '../../machines/permissions.ts';
import type { Right } from '../../machines/permissions.ts';
import { effectivePolicies } from '../../machines/policies.ts';
import { recordRestart } from '../../machines/restart-intensity.ts';
import { backoffMs, decideRevival } from '../../machines/revival-policy.ts';
import type { RevivalQuestion } from '../../machines/revival-policy.ts';
import type { JsonObject } from '../../machines/json.ts';
import { agentFile, cellFile, MachineWorld } from '../support/machine-world.ts';

describe('permissions', () => {
  const own = 'me';
  test.each<[Role, Right, string | null, boolean]>([
    ['lead', 'read', 'other', true],
    ['lead', 'write', 'other', true],
    ['lead', 'execute', 'other', true],
    ['write', 'read', 'other', true],
    ['write', 'write', own, true],
    ['write', 'write', 'other', false],
    ['write', 'execute', own, true],
    ['write', 'execute', null, true],
    ['write', 'execute', 'other', false],
    ['read', 'read', 'other', true],
    ['read', 'write', own, false],
    ['read', 'execute', own, false],
    ['audit', 'read', 'other', true],
    ['audit', 'write', own, false],
    ['audit', 'execute', own, false],
  ])('an unlisted agent of role %s may %s a task of %s: %s', (role, right, assignedTo, allowed) => {
    const verdict = mayDo({ agentId: own, role }, right, { taskId: 't', assignedTo }, {});
    expect(verdict.allowed).toBe(allowed);
  });

  test.each<[Role, boolean]>([
    ['lead', false],
    ['audit', true],
  ])('a listed agent has exactly what is listed, also as %s', (role, allowed) => {
    const permissions = { me: { execute: role === 'audit' ? ['t'] : ['other'] } };
    const verdict = mayDo(
      { agentId: 'me', role },
      'execute',
      { taskId: 't', assignedTo: null },
      permissions,
    );
    expect(verdict.allowed).toBe(allowed);
    if (!verdict.allowed) expect(verdict.reason).toContain('agent me has no right to execute t');
  });

  test('an agent called constructor is not listed by accident', () => {
    const asker = { agentId: 'constructor', role: 'lead' as const };
    expect(mayDo(asker, 'execute', { taskId: 't', assignedTo: null }, {}).allowed).toBe(true);
  });

  test.each([
    [{}, true],
    [{ a: { handoff_to: ['b'] } }, true],
    [{ a: { handoff_to: [] } }, false],
    [{ a: { handoff_to: ['b'] }, b: { handoff_from: [] } }, false],
    [{ a: { handoff_to: ['b'] }, b: { handoff_from: ['a'] } }, true],
  ])('both sides must allow a handoff: %j -> %s', (permissions, allowed) => {
    expect(mayHandOff('a', 'b', permissions).allowed).toBe(allowed);
  });
});

test('policies: agent file over cell.json over config/policies.json over daemon over default', () => {
  const { values, origins } = effectivePolicies({
    agent: { auto_revive: 'yes' },
    cell: { auto_revive: 'no', checkpoint_interval: 5 },
    config: { auto_revive: 'ask', checkpoint_interval: 6, max_retries: 7 },
    daemon: { max_retries: 8, revive_timeout: 9 },
  });
  expect(values).toEqual({
    ...DEFAULT_POLICIES,
    auto_revive: 'yes',
    checkpoint_interval: 5,
    max_retries: 7,
    revive_timeout: 9,
  });
  expect(origins).toMatchObject({
    auto_revive: 'agent file',
    checkpoint_interval: 'cell.json',
    max_retries: 'config/policies.json',
    revive_timeout: 'daemon',
    handoff_allowed: 'default',
  });
});

test('restart intensity: cell.json over daemon over default, and what agents are told is the same', () => {
  const own = { intensity: 2, period: 9 };
  const daemons = { intensity: 7, period: 30 };
  const heldIn = (file: JsonObject, daemon: { restart?: RestartIntensity }): unknown => {
    const world = new MachineWorld({ daemon });
    world.files(cellFile(file), agentFile('a'));
    const held = restartOf(world.cell);
    expect(world.agent('a').snapshot.context.restart).toEqual(held.value);
    return held;
  };
  expect(heldIn({ restart: own }, { restart: daemons })).toEqual({
    value: own,
    origin: 'cell.json',
  });
  expect(heldIn({}, { restart: daemons })).toEqual({ value: daemons, origin: 'daemon' });
  expect(heldIn({}, {})).toEqual({ value: DEFAULT_RESTART, origin: 'default' });
});

describe('isolation', () => {
  const host = { levels: ['none', 'level_1'] as IsolationLevel[], limits: ['memory'] };
  const plan = (level: IsolationLevel, isolation: JsonObject) =>
    planIsolation({ isolation_level: level }, readIsolation(isolation), host);

  test.each<[IsolationLevel, JsonObject, IsolationLevel, RegExp | null]>([
    ['level_1', {}, 'level_1', null],
    ['none', { level: 'level_1' }, 'level_1', null],
    ['level_1', { level: 'none' }, 'level_1', null],
    ['none', { level: 'level_3' }, 'level_3', /level_3 is not available .*none, level_1/],
    ['level_2', { on_unavailable: 'show' }, 'level_2', /level_2 is not available/],
    ['level_1', { resource_limits: { memory: '1GB' } }, 'level_1', null],
    [
      'level_1',
      { resource_limits: { cpu: '1 cores', disk: '1GB' } },
      'level_1',
      /cpu, disk .*on_unavailable/,
    ],
    ['level_1', { network_isolation: true, on_unavailable: 'show' }, 'level_1', null],
    ['level_1', { mount_namespaces: true }, 'level_1', /cannot enforce mount/],
    ['level_1', { security_context: { group: 'g' } }, 'level_1', /cannot enforce user/],
    ['level_1', { security_context: { capabilities: ['X'] } }, 'level_1', /enforce capabilities/],
  ])(
    'cell %s with %j on a host of none and level_1 with memory limits',
    (level, file, want, why) => {
      const { level: got, refusal } = plan(level, file);
      expect(got).toBe(want);
      if (why) expect(refusal).toMatch(why);
      else expect(refusal).toBeNull();
    },
  );

  test('a limit that is only shown says so, and differing levels are worth a warning', () => {
    const shown = plan('none', {
      level: 'level_1',
      network_isolation: true,
      on_unavailable: 'show',
    });
    expect(shown.limits).toEqual([{ name: 'network', enforced: false }]);
    expect(shown.warnings[0]).toContain('the stricter level_1 holds');
  });
});

describe('who gets a task', () => {
  const candidate = (
    id: string,
    file: JsonObject = {},
    extra: Partial<Candidate> = {},
  ): Candidate => ({
    id,
    file: readAgent({ agent_id: id, name: id, role: 'lead', ...file }),
    asks: false,
    free: true,
    unavailable: null,
    finished: 0,
    ...extra,
  });
  const steps = [{ name: 's', run: ['true'] }];
  const choice = (task: ReturnType<typeof applicant>, candidates: Candidate[]) => {
    const ability = whoCanDo(task, candidates, {});
    return ability.agents ? chooseAgent(ability.agents) : ability;
  };
  const applicant = (file: JsonObject = {}, wishedAgent: string | null = null) => ({
    taskId: 't',
    file: readTask({ task_id: 't', title: 't', steps, ...file }),
    wishedAgent,
  });

  test('the one that has finished the fewest, then the first by id', () => {
    const all = [candidate('c', {}, { finished: 1 }), candidate('b'), candidate('a')];
    expect(choice(applicant(), all)).toEqual({ kind: 'assign', agentId: 'a' });
  });

  test.each<[string, ReturnType<typeof applicant>, Candidate[], RegExp]>([
    ['no agent at all', applicant(), [], /no agent in this cell/],
    [
      'an agent that does not exist',
      applicant({}, 'x'),
      [candidate('a')],
      /is assigned to x, which does not exist/,
    ],
    [
      'a role that nobody has',
      applicant({ requires: { role: 'write' } }),
      [candidate('a')],
      /agent a has role lead, not write/,
    ],
    [
      'a capability that nobody has',
      applicant({ requires: { capabilities: ['go', 'c'] } }),
      [candidate('a', { capabilities: ['c'] })],
      /agent a lacks go/,
    ],
    [
      'a reader',
      applicant(),
      [candidate('a', { role: 'read' })],
      /agent a has no right to execute t: role read only reads/,
    ],
    [
      'no steps and no runner',
      applicant({ steps: [] }),
      [candidate('a')],
      /has no steps and no agent with a model: add `steps`, give agent a .* or configure a model/,
    ],
    [
      'no steps and a model',
      applicant({ steps: [] }),
      [candidate('a', { runner: { kind: 'llm' } })],
      /has no steps/,
    ],
  ])('%s: nobody, and the reason says so', (_, task, candidates, reason) => {
    const chosen = choice(task, candidates);
    expect(chosen).toEqual({ agents: null, reason: expect.stringMatching(reason) });
  });

  test('a named agent that is busy is waited for without a reason, one that is paused with one', () => {
    const free = candidate('free');
    const busy = candidate('busy', {}, { free: false });
    const paused = candidate('paused', {}, { free: false, unavailable: 'is paused' });
    expect(choice(applicant({}, 'busy'), [free, busy])).toEqual({
      kind: 'wait',
      reason: null,
    });
    expect(choice(applicant({}, 'paused'), [free, paused])).toEqual({
      kind: 'wait',
      reason: 'waits for agent paused, which is paused',
    });
  });

  test('a task without steps goes to a command runner', () => {
    const runner = { runner: { kind: 'command', run: ['make'] } };
    const chosen = choice(applicant({ steps: [] }), [candidate('a'), candidate('b', runner)]);
    expect(chosen).toEqual({ kind: 'assign', agentId: 'b' });
  });
});

describe('restart intensity', () => {
  test.each([
    [[], 1, false],
    [[1000, 2000], 2, true],
    [[1000, 2000], 3, false],
    [[-60_000, 2000], 2, false],
    [[], 0, true],
  ])(
    'after restarts at %j, one more at 3 s with %i allowed in 60 s: too many is %s',
    (past, intensity, exceeded) => {
      expect(recordRestart(past, 3000, { intensity, period: 60 }).exceeded).toBe(exceeded);
    },
  );

  test('the window never holds more than what is within the period', () => {
    const limit = { intensity: 3, period: 10 };
    fc.assert(
      fc.property(fc.array(fc.nat(20_000), { maxLength: 50 }), (gaps) => {
        let restarts: number[] = [];
        let at = 0;
        for (const gap of gaps) {
          at += gap;
          ({ restarts } = recordRestart(restarts, at, limit));
          expect(restarts.every((time) => time > at - 10_000)).toBe(true);
          expect(restarts.at(-1)).toBe(at);
        }
      }),
    );
  });
});

describe('the decision on a revival', () => {
  const question = (change: Partial<RevivalQuestion> = {}): RevivalQuestion => ({
    agentId: 'a',
    policies: { ...DEFAULT_POLICIES, auto_revive: 'yes' },
    restart: DEFAULT_RESTART,
    history: { restarts: [], withoutProgress: 0, sameSignature: 1 },
    tried: 0,
    failure: {
      reason: 'worker_exit',
      signature: 'x',
      message: 'm',
      taskId: null,
      step: null,
      progress: 0,
    },
    at: 1_000_000,
    ...change,
  });
  const policy = (auto_revive: 'yes' | 'no' | 'ask') => ({
    policies: { ...DEFAULT_POLICIES, auto_revive },
  });
  const history = (change: Partial<RevivalQuestion['history']>) => ({
    history: { restarts: [], withoutProgress: 0, sameSignature: 1, ...change },
  });

  test.each<[string, Partial<RevivalQuestion>, string]>([
    ['policy no', policy('no'), 'refuse'],
    ['policy ask', policy('ask'), 'ask'],
    ['policy yes', policy('yes'), 'revive'],
    ['as many retries without progress as allowed', history({ withoutProgress: 3 }), 'futile'],
    [
      'five restarts within the minute',
      history({ restarts: [1, 2, 3, 4, 5].map((s) => 1_000_000 - s) }),
      'futile',
    ],
    [
      'the same fault for the fourth time, however many retries are allowed',
      {
        ...history({ withoutProgress: 3, sameSignature: 4 }),
        policies: { ...policy('yes').policies, max_retries: 50 },
      },
      'futile',
    ],
    ['another fault each time, within the retries', history({ withoutProgress: 2 }), 'revive'],
    ['five restarts long ago', history({ restarts: [1, 2, 3, 4, 5] }), 'revive'],
  ])('%s: %j -> %s', (_, change, kind) => {
    expect(decideRevival(question(change)).kind).toBe(kind);
  });

  test('the first comes at once, the second after a pause', () => {
    expect(decideRevival(question())).toEqual({ kind: 'revive', delayMs: 0 });
    const delays = Array.from({ length: 50 }, (_, i) =>
      decideRevival(question({ tried: 1, at: i })),
    );
    expect(delays.some((decision) => decision.kind === 'revive' && decision.delayMs > 0)).toBe(
      true,
    );
  });

  const inHand = { ...question().failure, taskId: 't' };
  test.each<[string, Partial<Policies>, Failure, string[]]>([
    ['auto', { handoff_approval: 'auto' }, inHand, ['b', 'c']],
    ['manual', { handoff_approval: 'manual' }, inHand, []],
    ['not allowed', { handoff_approval: 'auto', handoff_allowed: false }, inHand, []],
    ['auto, nothing in hand', { handoff_approval: 'auto' }, question().failure, []],
    [
      'auto, an actor that is held',
      { handoff_approval: 'auto' },
      { ...inHand, reason: 'actor_held' },
      [],
    ],
  ])(
    'what is futile may go to substitutes without a person: %s',
    (_, change, failure, expected) => {
      const policies = { ...policy('yes').policies, substitute_agents: ['b', 'c'], ...change };
      const decision = decideRevival(
        question({ ...history({ withoutProgress: 3 }), policies, failure }),
      );
      expect(decision).toMatchObject({ kind: 'futile', substitutes: expected });
    },
  );

  test('giving up names how often the same fault came', () => {
    const decision = decideRevival(question(history({ withoutProgress: 3, sameSignature: 4 })));
    expect(decision).toMatchObject({ reason: expect.stringContaining('x came 4 times in a row') });
  });

  test('the first comes at once, later ones within a doubling bound that is capped', () => {
    expect(backoffMs(0, 'any')).toBe(0);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60 }), fc.string(), (tried, salt) => {
        const delayMs = backoffMs(tried, salt);
        expect(delayMs).toBeGreaterThanOrEqual(0);
        expect(delayMs).toBeLessThan(Math.min(30_000, 100 * 2 ** tried));
        expect(backoffMs(tried, salt)).toBe(delayMs);
      }),
    );
  });

  test('the jitter is spread over its range', () => {
    const delays = Array.from({ length: 1000 }, (_, i) => backoffMs(3, `agent@${i}`) / 800);
    const mean = delays.reduce((sum, d) => sum + d, 0) / delays.length;
    expect(mean).toBeGreaterThan(0.45);
    expect(mean).toBeLessThan(0.55);
    expect(new Set(delays.map((d) => Math.floor(d * 10))).size).toBe(10);
  });
});

/** What heartbeats mean, as tables and as properties: nothing here knows a clock. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { healthOf, healthView, missesOf, superviseRemote } from '../../machines/heartbeats.ts';
import type { AgentHealth, HealthStatus, Supervised } from '../../machines/heartbeats.ts';
import { findCommand } from '../../machines/remote-commands.ts';

const intervalMs = 30_000;

describe('misses', () => {
  test.each<[string, number | null, number, HealthStatus, number]>([
    ['a beat just now', 0, 0, 'healthy', 0],
    ['almost one interval without a beat', 0, 29_999, 'healthy', 0],
    ['one full interval', 0, 30_000, 'degraded', 1],
    ['two', 0, 60_000, 'degraded', 2],
    ['three', 0, 90_000, 'unhealthy', 3],
    ['an hour', 0, 3_600_000, 'unhealthy', 120],
    ['nobody heard, within the first interval', null, 29_999, 'unknown', 0],
    ['nobody heard for one interval', null, 30_000, 'degraded', 1],
    ['nobody heard for three', null, 90_000, 'unhealthy', 3],
    ['a beat of before the watching began, within the first interval', -500_000, 10, 'unknown', 0],
    ['the same one interval later', -500_000, 30_000, 'degraded', 1],
  ])('given %s, it is so', (_, lastBeatAt, now, status, misses) => {
    expect(healthOf({ lastBeatAt, since: 0, now, intervalMs })).toEqual({ status, misses });
  });

  test('given any history, then a beat makes healthy and misses only grow until the next', () => {
    const time = fc.integer({ min: 0, max: 10_000_000 });
    fc.assert(
      fc.property(
        time,
        time,
        time,
        fc.integer({ min: 1, max: 60_000 }),
        (since, beat, wait, step) => {
          const at = since + beat;
          const before = { lastBeatAt: at, since, intervalMs };
          expect(healthOf({ ...before, now: at })).toEqual({ status: 'healthy', misses: 0 });
          const now = at + wait;
          const earlier = missesOf({ ...before, now });
          expect(missesOf({ ...before, now: now + step })).toBeGreaterThanOrEqual(earlier);
          expect(earlier).toBe(Math.floor(wait / intervalMs));
        },
      ),
    );
  });
});

describe('supervision of a remote agent', () => {
  const agent: Supervised = {
    lastBeatAt: 0,
    since: 0,
    now: 0,
    timeoutMs: 300_000,
    isExpected: true,
    hasFailed: false,
    told: null,
  };
  const silentAt = (at: number): Supervised['told'] => ({ what: 'silent', at });
  const heardAt = (at: number): Supervised['told'] => ({ what: 'heard', at });

  test.each<[string, Partial<Supervised>, 'silent' | 'heard' | null]>([
    ['heard within the timeout', { now: 299_999 }, null],
    ['silent for the timeout', { now: 300_000 }, 'silent'],
    ['never heard, and watched for less', { lastBeatAt: null, now: 299_999 }, null],
    ['never heard for the timeout', { lastBeatAt: null, now: 300_000 }, 'silent'],
    ['watched anew after a restart', { since: 200_000, now: 400_000 }, null],
    ['told a moment ago', { now: 301_000, told: silentAt(300_000) }, null],
    ['shown as failed already', { now: 400_000, hasFailed: true }, null],
    [
      'revived and still silent a timeout later',
      { now: 700_000, told: silentAt(300_000) },
      'silent',
    ],
    ['of a mission that has ended or is paused', { now: 400_000, isExpected: false }, null],
    [
      'heard again',
      { lastBeatAt: 500_000, now: 500_010, hasFailed: true, told: silentAt(300_000) },
      'heard',
    ],
    [
      'heard before its failure is even shown',
      { lastBeatAt: 500_000, now: 500_010, told: silentAt(300_000) },
      'heard',
    ],
    [
      'failed before a restart, and heard since',
      { since: 5, lastBeatAt: 10, now: 20, hasFailed: true },
      'heard',
    ],
    [
      'failed, but not by silence',
      { lastBeatAt: 10, now: 20, hasFailed: true, told: heardAt(15) },
      null,
    ],
    [
      'heard for the second time',
      { lastBeatAt: 600_000, now: 600_001, told: heardAt(500_010) },
      null,
    ],
    [
      'silent for the second time',
      { lastBeatAt: 600_000, now: 900_000, told: heardAt(500_010) },
      'silent',
    ],
  ])('given it is %s', (_, change, told) => {
    expect(superviseRemote({ ...agent, ...change })).toBe(told);
  });

  test('given any run of beats and looks, then silent and heard are told in turn', () => {
    const move = fc.record({ wait: fc.integer({ min: 0, max: 400_000 }), beat: fc.boolean() });
    fc.assert(
      fc.property(fc.array(move, { maxLength: 40 }), (moves) => {
        const seen: Supervised = { ...agent };
        const all: string[] = [];
        for (const { wait, beat } of moves) {
          seen.now += wait;
          if (beat) seen.lastBeatAt = seen.now;
          const what = superviseRemote(seen);
          if (what === null) continue;
          seen.told = { what, at: seen.now };
          seen.hasFailed = what === 'silent';
          all.push(what);
        }
        all.forEach((what, i) => expect(what).toBe(i % 2 === 0 ? 'silent' : 'heard'));
      }),
    );
  });
});

test('the counts of a view are those of its agents', () => {
  const one = (status: HealthStatus): AgentHealth => ({
    agent_id: 'x',
    kind: 'remote',
    cell_id: null,
    status,
    last_heartbeat: null,
    last_response: null,
    consecutive_failures: 0,
    response_time: null,
    error_message: null,
    metadata: {},
  });
  const agents = { a: one('healthy'), b: one('healthy'), c: one('degraded'), d: one('unknown') };
  expect(healthView(agents, 1500)).toEqual({
    timestamp: 1.5,
    total_agents: 4,
    healthy: 2,
    degraded: 1,
    unhealthy: 0,
    unknown: 1,
    agents,
  });
});

describe('commands in the input of a verb', () => {
  test.each([
    [{ cell: 'c', reason: 'run' }, null],
    [{ steps: [] }, '/steps'],
    [{ task: { steps: [{ run: ['rm'] }] } }, '/task/steps'],
    [{ agents: [{ runner: { kind: 'command', run: ['sh'] } }] }, '/agents/0/runner/run'],
    [{ 'a/b~': { probe: ['x'] } }, '/a~1b~0/probe'],
    [{ run: 'a word, and no argv' }, null],
    [[], null],
    ['steps', null],
  ])('%j has one at %s', (input, pointer) => {
    expect(findCommand(input)).toBe(pointer);
  });

  test('given input nested deeper than any verb takes, then it counts as one', () => {
    const deep = JSON.parse('['.repeat(5000) + ']'.repeat(5000)) as [];
    expect(findCommand(deep)).not.toBeNull();
  });
});

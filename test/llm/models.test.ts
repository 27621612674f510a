/** Breakers and money as a fold of attempts: tables of what opens and closes, and what holds in any order. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_MODELS, MAX_OPEN } from '../../machines/llm-models.ts';
import {
  attemptKey,
  freshModels,
  mayCall,
  noteEnded,
  noteReset,
} from '../../machines/llm-models.ts';
import { noteStarted } from '../../machines/llm-models.ts';
import type {
  AttemptEnded,
  AttemptStarted,
  DayLimits,
  LlmModels,
} from '../../machines/llm-models.ts';
import type { Spend } from '../../machines/llm-cost.ts';
import type { ErrorKind } from '../../machines/llm-policy.ts';
import { llmMachine } from '../../machines/llm.machine.ts';
import { MachineDriver } from '../support/machine-driver.ts';

const NOON = Date.parse('2026-11-21T12:00:00Z');
const NO_LIMITS: DayLimits = { nanoUsd: null, tokens: null };
const RESERVE: Spend = { tokens: 100, nanoUsd: 1000 };
const POLICY = { threshold: 3, cooldownMs: 1000, longestMs: 5000, blockedMs: 60_000 };
type Outcome = 'success' | ErrorKind;

function startOf(attempt: number, more: Partial<AttemptStarted> = {}): AttemptStarted {
  return {
    callId: 'c',
    attempt,
    model: 'm',
    provider: 'anthropic',
    rung: 0,
    kind: 'initial',
    schemaId: 's',
    promptVersion: '1',
    promptHash: 'h',
    askedBy: null,
    reserve: RESERVE,
    limits: NO_LIMITS,
    endsBy: NOON + 30_000,
    deadlineLeftMs: 1000,
    ...more,
  };
}

function endOf(attempt: number, outcome: Outcome, more: Partial<AttemptEnded> = {}): AttemptEnded {
  return {
    callId: 'c',
    attempt,
    model: 'm',
    askedBy: null,
    outcome,
    phase: null,
    detail: outcome === 'success' ? null : `detail of ${outcome}`,
    sent: true,
    status: null,
    errorCode: null,
    requestId: null,
    stopReason: null,
    modelReported: null,
    usage: null,
    spent: { tokens: 10, nanoUsd: 100 },
    firstTokenMs: null,
    durationMs: 5,
    schemaErrors: [],
    answerHash: null,
    retryAfterMs: null,
    breaker: POLICY,
    ...more,
  };
}

/** One after the other at NOON. */
function after(outcomes: readonly Outcome[], at = NOON, from = freshModels(NOON)): LlmModels {
  return outcomes.reduce<LlmModels>((state, outcome, n) => {
    const started = noteStarted(state, startOf(n + 1), at);
    return noteEnded(started, endOf(n + 1, outcome), at);
  }, from);
}
const may = (state: LlmModels, at = NOON, limits = NO_LIMITS) =>
  mayCall(state, at, { model: 'm', reserve: RESERVE, limits });

describe('the breaker', () => {
  test.each<[string, Outcome[], number | null]>([
    ['success', ['success', 'success'], null],
    [
      'answers that do not fit',
      ['schema_invalid', 'invalid_json', 'refusal', 'truncated', 'semantic_invalid'],
      null,
    ],
    ['two failures', ['transient', 'timeout'], null],
    ['three failures in a row', ['transient', 'timeout', 'overloaded'], 1000],
    ['an answer between them', ['transient', 'timeout', 'invalid_json', 'overloaded'], null],
    ['cancelled calls', ['cancelled', 'cancelled', 'cancelled'], null],
    ['a key that is not taken', ['auth'], 60_000],
    ['no money', ['quota'], 60_000],
    ['no such model', ['model_missing'], 60_000],
    ['a limit without a time', ['rate_limited'], 1000],
  ])('%s', (_name, outcomes, openMs) => {
    const state = after(outcomes);
    const { breaker } = state.models['m'] ?? {};
    expect(breaker?.state).toBe(openMs === null ? 'closed' : 'open');
    expect(breaker?.until).toBe(openMs === null ? null : NOON + openMs);
    expect(may(state).ok).toBe(openMs === null);
    if (openMs !== null) expect(may(state, NOON + openMs)).toEqual({ ok: true, isProbe: true });
  });

  test('the server’s own time to wait counts, up to an hour', () => {
    for (const [retryAfterMs, expected] of [
      [7000, 7000],
      [9e9, 3_600_000],
    ] as const) {
      const started = noteStarted(freshModels(NOON), startOf(1), NOON);
      const state = noteEnded(started, endOf(1, 'rate_limited', { retryAfterMs }), NOON);
      expect(state.models['m']?.breaker.until).toBe(NOON + expected);
    }
  });

  test('half open lets one probe through: it closes, or opens for twice as long', () => {
    const open = after(['transient', 'transient', 'transient']);
    const probing = noteStarted(open, startOf(9), NOON + 1000);
    expect(may(probing, NOON + 1000)).toMatchObject({ ok: false, why: 'cooling' });
    const mended = noteEnded(probing, endOf(9, 'success'), NOON + 1500);
    expect(mended.models['m']?.breaker).toMatchObject({ state: 'closed', failures: 0, opens: 0 });
    const broken = noteEnded(probing, endOf(9, 'timeout'), NOON + 1500);
    expect(broken.models['m']?.breaker).toMatchObject({ state: 'open', until: NOON + 1500 + 2000 });
    const calledOff = noteEnded(probing, endOf(9, 'cancelled'), NOON + 1500);
    expect(may(calledOff, NOON + 1500)).toEqual({ ok: true, isProbe: true });
  });

  test('a probe that never ended counts as gone when its time is up (B1)', () => {
    const open = after(['auth']);
    const probing = noteStarted(open, startOf(9, { endsBy: NOON + 90_000 }), NOON + 60_000);
    expect(may(probing, NOON + 89_999).ok).toBe(false);
    expect(may(probing, NOON + 90_000)).toEqual({ ok: true, isProbe: true });
  });

  test('a reset closes it and leaves the money as it is', () => {
    const state = after(['auth']);
    const reset = noteReset(state, null, NOON);
    expect(may(reset)).toEqual({ ok: true, isProbe: false });
    expect(reset.total).toEqual(state.total);
    expect(may(noteReset(state, 'another', NOON)).ok).toBe(false);
  });
});

describe('money', () => {
  test('the worst case is charged first, then what it cost', () => {
    const started = noteStarted(freshModels(NOON), startOf(1), NOON);
    expect(started.today).toMatchObject(RESERVE);
    const ended = noteEnded(started, endOf(1, 'success'), NOON + 5);
    expect(ended.today).toEqual({ day: '2026-11-21', tokens: 10, nanoUsd: 100 });
    expect(ended.models['m']?.total).toEqual({ tokens: 10, nanoUsd: 100 });
    expect(noteEnded(ended, endOf(1, 'success'), NOON + 9)).toBe(ended);
  });

  test('what would pass the day’s limit is refused, and the next day it is not', () => {
    const limits = { nanoUsd: 1500, tokens: null };
    const state = noteStarted(freshModels(NOON), startOf(1, { limits }), NOON);
    expect(may(state, NOON, limits)).toMatchObject({ ok: false, why: 'budget_exhausted' });
    expect(() => noteStarted(state, startOf(2, { limits }), NOON)).toThrow(/today's/);
    expect(may(state, NOON + 12 * 3_600_000, limits).ok).toBe(true);
    expect(may(state, NOON, { nanoUsd: null, tokens: 150 }).ok).toBe(false);
  });

  test('given more is spent than the day may cost by now, then what costs nothing is asked all the same', () => {
    const state = noteStarted(freshModels(NOON), startOf(1), NOON);
    const free = { tokens: 5, nanoUsd: 0 };
    const limits = { nanoUsd: RESERVE.nanoUsd - 1, tokens: null };
    expect(mayCall(state, NOON, { model: 'local', reserve: free, limits }).ok).toBe(true);
    expect(() => noteStarted(state, startOf(2, { limits, reserve: free }), NOON)).not.toThrow();
    expect(may(state, NOON, limits).ok).toBe(false);
  });

  test('one that ends on the next day is charged to its own', () => {
    const midnight = Date.parse('2026-11-22T00:00:00Z');
    const late = noteStarted(freshModels(NOON), startOf(1, { endsBy: midnight + 9 }), midnight - 5);
    const next = noteStarted(late, startOf(2), midnight + 1);
    const ended = noteEnded(next, endOf(1, 'success'), midnight + 2);
    expect(ended.today).toEqual({ day: '2026-11-22', ...RESERVE });
    expect(ended.total).toEqual({ tokens: 110, nanoUsd: 1100 });
  });

  test('all of it has bounds (B3)', () => {
    let state = freshModels(NOON);
    for (let n = 1; n <= MAX_OPEN + 40; n += 1)
      state = noteStarted(state, startOf(n, { model: `m${n}` }), NOON + n);
    expect(Object.keys(state.open)).toHaveLength(MAX_OPEN);
    expect(Object.keys(state.models)).toHaveLength(MAX_MODELS);
    expect(state.unsettled).toBe(40);
    const later = noteStarted(state, startOf(9999), NOON + 3_600_000);
    expect(Object.keys(later.open)).toEqual([attemptKey(startOf(9999))]);
    expect(later.total.nanoUsd).toBe((MAX_OPEN + 41) * RESERVE.nanoUsd);
  });
});

test('in any order the money adds up: what ended at its cost, the rest at its worst', () => {
  const step = fc.record({
    n: fc.integer({ min: 1, max: 12 }),
    isEnd: fc.boolean(),
    ms: fc.integer({ min: 0, max: 5e6 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      let [state, at] = [freshModels(NOON), NOON];
      const started = new Set<number>();
      const ended = new Set<number>();
      for (const { n, isEnd, ms } of steps) {
        at += ms;
        const isUnderWay = Object.hasOwn(state.open, attemptKey(startOf(n)));
        if (isEnd && isUnderWay) ended.add(n);
        if (isEnd) state = noteEnded(state, endOf(n, 'success'), at);
        else if (!started.has(n)) state = noteStarted(state, startOf(n, { endsBy: at + 1e9 }), at);
        if (!isEnd) started.add(n);
      }
      const worst = (started.size - ended.size) * RESERVE.nanoUsd;
      expect(state.total.nanoUsd).toBe(worst + ended.size * 100);
      expect(state.today.nanoUsd).toBeGreaterThanOrEqual(0);
    }),
  );
});

test('as an actor: the same after its snapshot was stored, and a start that may not be is refused', () => {
  const driver = new MachineDriver(llmMachine, {});
  const at = driver.clock.at;
  const limits = { nanoUsd: 1500, tokens: null };
  driver.deliver({
    type: 'llm.attempt.started',
    ...startOf(1, { limits, endsBy: at + 9 }),
  });
  const stored = driver.persisted();
  driver.restore();
  expect(driver.persisted()).toBe(stored);
  const second = { type: 'llm.attempt.started', ...startOf(2, { limits }) };
  expect(() => driver.deliver(second)).toThrow(/may not be asked/);
  driver.deliver({ type: 'llm.attempt.ended', ...endOf(1, 'auth') });
  const reset = { type: 'llm.reset', model: null, by: 'a person' };
  driver.deliver(reset);
  const context = driver.snapshot.context as LlmModels;
  expect(context.models['m']).toMatchObject({
    calls: 1,
    failures: 1,
    breaker: { state: 'closed' },
  });
});

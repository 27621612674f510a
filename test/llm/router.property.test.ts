/**
 * Whatever servers do, in whatever order, and whenever the caller gives up: a question never takes longer than its deadline,
 * never spends more than it may, and each request was on record before it left. Time is virtual, the provider is a script.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Provider, ProviderAnswer, ProviderRequest } from '../../actors/llm/provider.ts';
import { ProviderError } from '../../actors/llm/provider.ts';
import { LlmRouter } from '../../actors/llm/router.ts';
import { LlmUnavailable } from '../../actors/llm/router-types.ts';
import { rulesProvider } from '../../actors/llm/rules.ts';
import { llmSettings } from '../../machines/llm-config.ts';
import { NANO } from '../../machines/llm-cost.ts';
import type { AttemptStarted, ProviderName } from '../../machines/llm-models.ts';
import type { ErrorKind } from '../../machines/llm-policy.ts';
import { good, MemoryLedger, QUESTION } from '../support/llm-router.ts';
import { VirtualTime } from '../support/virtual-time.ts';

type Behaviour =
  | { do: 'answer'; afterMs: number; text: string; ended: ProviderAnswer['ended']; part: number }
  | { do: 'fail'; afterMs: number; kind: ErrorKind; retryAfterMs: number; isFree: boolean }
  | { do: 'drip'; everyMs: number; times: number; text: string }
  | { do: 'hang'; isDeaf: boolean };

const ms = fc.oneof(
  fc.constant(0),
  fc.integer({ min: 1, max: 900 }),
  fc.integer({ max: 40_000, min: 1 }),
);
const text = fc.constantFrom(
  good(),
  good({ confidence: -1 }),
  good({ action: 'reboot' }),
  good({ confidence: 7 }),
  good({ node: 'vps' }),
  'Restart it.',
  'I cannot.',
  '',
  '{"action": ',
);
const behaviour: fc.Arbitrary<Behaviour> = fc.oneof(
  fc.record({
    do: fc.constant('answer' as const),
    afterMs: ms,
    text,
    ended: fc.constantFrom(
      'stop' as const,
      'length' as const,
      'refusal' as const,
      'overflow' as const,
    ),
    part: fc.double({ min: 0, max: 1, noNaN: true }),
  }),
  fc.record({
    do: fc.constant('fail' as const),
    afterMs: ms,
    kind: fc.constantFrom<ErrorKind>(
      ...(['transient', 'overloaded', 'rate_limited', 'auth', 'quota', 'bad_request'] as const),
      ...(['model_missing', 'context_overflow', 'truncated'] as const),
    ),
    retryAfterMs: fc.integer({ min: 0, max: 20_000 }),
    isFree: fc.boolean(),
  }),
  fc.record({
    do: fc.constant('drip' as const),
    everyMs: fc.integer({ min: 1, max: 9000 }),
    times: fc.integer({ min: 1, max: 9 }),
    text,
  }),
  fc.record({ do: fc.constant('hang' as const), isDeaf: fc.boolean() }),
);

/** A provider that does as the script says, and counts. */
class Scripted implements Provider {
  readonly isLocal = false;
  readonly name: ProviderName;
  readonly hitsAt: number[] = [];
  most = 0;
  #inside = 0;
  readonly #script: Behaviour[];
  readonly #time: VirtualTime;

  constructor(name: ProviderName, script: readonly Behaviour[], time: VirtualTime) {
    this.name = name;
    this.#script = [...script];
    this.#time = time;
  }

  ready = (): ReturnType<Provider['ready']> => Promise.resolve({ state: 'up' });
  known = (): ReturnType<Provider['known']> => ({ state: 'up', since: null });

  async ask(request: ProviderRequest): Promise<ProviderAnswer> {
    this.hitsAt.push(this.#time.now());
    this.#inside += 1;
    this.most = Math.max(this.most, this.#inside);
    try {
      return await this.#play(request);
    } finally {
      this.#inside -= 1;
    }
  }

  async #play({ call, maxOutputTokens, messages }: ProviderRequest): Promise<ProviderAnswer> {
    const next = this.#script.shift() ?? { do: 'hang', isDeaf: false };
    const inputs = messages.reduce((sum, { content }) => sum + content.length, 0);
    const answer = (
      words: string,
      ended: ProviderAnswer['ended'],
      part: number,
    ): ProviderAnswer => {
      const usage = { input: Math.floor(inputs / 3), output: Math.floor(maxOutputTokens * part) };
      const counts = { ...usage, cacheRead: 0, cacheWrite: 0 };
      return {
        text: words,
        ended,
        stopReason: ended,
        modelReported: 'm',
        requestId: null,
        usage: counts,
      };
    };
    if (next.do === 'hang') {
      if (next.isDeaf) return new Promise(() => undefined); // it does not even notice that it is called off
      return new Promise((_resolve, reject) => {
        call.signal.addEventListener('abort', () => reject(new Error('aborted')));
      });
    }
    if (next.do === 'drip') {
      call.connected();
      for (let n = 0; n < next.times; n += 1) {
        await this.#time.sleep(next.everyMs);
        call.token();
      }
      return answer(next.text, 'stop', 0.5);
    }
    await this.#time.sleep(next.afterMs);
    if (next.do === 'answer') return answer(next.text, next.ended, next.part);
    const { kind, retryAfterMs, isFree } = next;
    throw new ProviderError(kind, {
      kind,
      isFree,
      ...(kind === 'rate_limited' && { retryAfterMs }),
    });
  }
}

/** Its disk takes a moment, and at no time more is promised than the day has. */
class SlowLedger extends MemoryLedger {
  readonly #time: VirtualTime;
  readonly #syncMs: number;
  readonly #most: number;

  constructor(time: VirtualTime, syncMs: number, most: number) {
    super(() => time.now());
    this.#time = time;
    this.#syncMs = syncMs;
    this.#most = most;
  }

  override async started(attempt: AttemptStarted): Promise<void> {
    await super.started(attempt);
    assert(this.models.total.nanoUsd <= this.#most, 'more is promised than the day has');
    if (this.#syncMs > 0) await this.#time.sleep(this.#syncMs);
  }
}

const world = fc.record({
  local: fc.array(behaviour, { maxLength: 12 }),
  remote: fc.array(behaviour, { maxLength: 12 }),
  deadline: fc.integer({ min: 1, max: 90 }),
  usdPerDay: fc.double({ min: 0, max: 0.006, noNaN: true }),
  usdPerCall: fc.option(fc.double({ min: 0, max: 0.0012, noNaN: true })),
  threshold: fc.integer({ min: 1, max: 4 }),
  syncMs: fc.constantFrom(0, 1, 200),
  questions: fc.array(
    fc.record({
      startMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 60_000 })),
      cancelMs: fc.option(ms),
    }),
    {
      minLength: 1,
      maxLength: 4,
    },
  ),
});

test(
  'deadline, budget, records and cancellation hold for whatever happens',
  { timeout: 120_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(world, async (given) => {
        const { deadline, usdPerDay, usdPerCall, threshold, syncMs } = given;
        const time = new VirtualTime();
        const settings = llmSettings(
          {
            chain: [
              { model: 'ollama/m', timeout: 8 },
              { model: 'a', timeout: 30 },
              { model: 'b', timeout: 30 },
            ],
            deadline,
            budget: { usd_per_day: usdPerDay, usd_per_call: usdPerCall },
            prices: { a: { input: 0.1, output: 0.5 }, b: { input: 2, output: 10 } },
            breaker: { threshold, cooldown: 5 },
            anthropic: { concurrency: 4 },
          },
          {},
        );
        const local = new Scripted('ollama', given.local, time);
        const remote = new Scripted('anthropic', given.remote, time);
        const ledger = new SlowLedger(time, syncMs, usdPerDay * NANO + 1);
        const router = new LlmRouter({
          settings: () => settings,
          providers: () => ({ ollama: local, anthropic: remote, rules: rulesProvider }),
          ledger,
          clock: time,
          random: () => 0.5,
        });
        const ask = async ({ startMs, cancelMs }: (typeof given.questions)[0]): Promise<void> => {
          await time.sleep(startMs);
          const caller = new AbortController();
          const startedAt = time.now();
          const cancelAt = cancelMs === null ? null : startedAt + cancelMs;
          if (cancelMs !== null) time.after(cancelMs, () => caller.abort(new Error('called off')));
          let attempts: string[] = [];
          let nanoUsd = 0;
          try {
            const result = await router.route(QUESTION, { signal: caller.signal });
            expect(result.content).toMatchObject({ node: 'piha' });
            attempts = result.attempts.map(({ model }) => model);
            ({ nanoUsd } = result.spent);
          } catch (error) {
            if (error instanceof LlmUnavailable) {
              attempts = error.attempts.map(({ model }) => model);
              nanoUsd = error.attempts.reduce((sum, { spent }) => sum + spent.nanoUsd, 0);
            } else expect(String(error)).toContain('called off');
          }
          const endsAt = time.now();
          expect(endsAt).toBeLessThanOrEqual(startedAt + deadline * 1000 + syncMs + 1);
          if (cancelAt !== null)
            expect(endsAt).toBeLessThanOrEqual(Math.max(startedAt, cancelAt) + syncMs + 1);
          for (const model of ['ollama/m', 'a', 'b'])
            expect(attempts.filter((asked) => asked === model).length).toBeLessThanOrEqual(4);
          if (usdPerCall !== null) expect(nanoUsd).toBeLessThanOrEqual(usdPerCall * NANO + 1);
        };
        await time.run(Promise.all(given.questions.map(ask)));
        const hits = local.hitsAt.length + remote.hitsAt.length;
        const sent = ledger.ends.filter((ended) => ended.sent);
        expect(sent).toHaveLength(hits);
        expect(ledger.starts).toHaveLength(ledger.ends.length);
        expect(ledger.models.open).toEqual({});
        expect(ledger.models.total.nanoUsd).toBeLessThanOrEqual(usdPerDay * NANO + 1);
        const spent = ledger.ends.reduce((sum, ended) => sum + ended.spent.nanoUsd, 0);
        expect(ledger.models.total.nanoUsd).toBe(spent);
      }),
      { numRuns: 500 },
    );
  },
);

test(
  'given a caller that gave up, then no request leaves after that',
  { timeout: 120_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(behaviour, { maxLength: 10 }),
        fc.integer({ min: 0, max: 60_000 }),
        async (script, cancelMs) => {
          const time = new VirtualTime();
          const settings = llmSettings(
            { chain: [{ model: 'a' }, { model: 'b' }], prices: { a: FREE, b: FREE } },
            {},
          );
          const remote = new Scripted('anthropic', script, time);
          const router = new LlmRouter({
            settings: () => settings,
            providers: () => ({ ollama: remote, anthropic: remote, rules: rulesProvider }),
            ledger: new SlowLedger(time, 500, Infinity),
            clock: time,
          });
          const caller = new AbortController();
          const cancelAt = time.now() + cancelMs;
          time.after(cancelMs, () => caller.abort());
          await time.run(router.route(QUESTION, { signal: caller.signal }).catch(() => undefined));
          for (const hitAt of remote.hitsAt) expect(hitAt).toBeLessThanOrEqual(cancelAt);
        },
      ),
      { numRuns: 150 },
    );
  },
);

/** Answers that come at once, are never good enough and cost nearly all that was reserved. */
const dear = fc.record({
  do: fc.constant('answer' as const),
  afterMs: fc.integer({ min: 0, max: 300 }),
  text: fc.constantFrom(good({ confidence: -1 }), good({ node: 'vps' }), 'Restart it.'),
  ended: fc.constant('stop' as const),
  part: fc.double({ min: 0.8, max: 1, noNaN: true }),
});

test(
  'given many dear questions at once, then neither a question nor the day costs more than it may',
  { timeout: 120_000 },
  async () => {
    const limits = fc.record({
      perDay: fc.integer({ min: 0, max: 60 }),
      perCall: fc.integer({ min: 0, max: 30 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(dear, { minLength: 20, maxLength: 40 }),
        limits,
        async (script, { perDay, perCall }) => {
          const time = new VirtualTime();
          const [usdPerDay, usdPerCall] = [perDay / 10_000, perCall / 10_000];
          const settings = llmSettings(
            {
              chain: [{ model: 'a' }, { model: 'b' }],
              prices: { a: { input: 0.1, output: 0.5 }, b: { input: 0.2, output: 1 } },
              budget: { usd_per_day: usdPerDay, usd_per_call: usdPerCall },
            },
            {},
          );
          const remote = new Scripted('anthropic', script, time);
          const router = new LlmRouter({
            settings: () => settings,
            providers: () => ({ ollama: remote, anthropic: remote, rules: rulesProvider }),
            ledger: new SlowLedger(time, 1, usdPerDay * NANO + 1),
            clock: time,
          });
          const ask = async (): Promise<void> => {
            const failure = await router.route(QUESTION).then(
              () => undefined,
              (error: unknown) => error,
            );
            if (!(failure instanceof LlmUnavailable)) throw failure;
            const spent = failure.attempts.reduce((sum, attempt) => sum + attempt.spent.nanoUsd, 0);
            expect(spent).toBeLessThanOrEqual(usdPerCall * NANO + 1);
            for (const model of ['a', 'b'])
              expect(
                failure.attempts.filter((attempt) => attempt.model === model).length,
              ).toBeLessThanOrEqual(3);
          };
          await time.run(Promise.all([ask(), ask(), ask(), ask(), ask()]));
        },
      ),
      { numRuns: 200 },
    );
  },
);

const FREE = { input: 0, output: 0 };

/** What the router does with a chain: whom it asks, whom it passes over and why, what it spends, and what it tells. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { LlmConfig } from '../../machines/llm-config.ts';
import { NANO } from '../../machines/llm-cost.ts';
import type { JsonObject } from '../../machines/json.ts';
import { eventually } from '../support/eventually.ts';
import { good, KEY, openRouter, QUESTION } from '../support/llm-router.ts';
import type { RouterFixture } from '../support/llm-router.ts';
import { anyWire, claude, ollama } from '../support/llm-servers.ts';

const LOCAL = 'ollama/qwen2.5:7b';
const HAIKU = 'claude-haiku-5-5';
const hits = (fixture: RouterFixture): number[] => [
  fixture.ollama.hits.length,
  fixture.claude.hits.length,
];
const states = ({ router }: RouterFixture): JsonObject[] =>
  router.status().map(({ model, state, reason }) => ({ model, state, reason }) as JsonObject);

describe('who is passed over', () => {
  test('given no key, then Claude is left out and the status says so', async () => {
    const fixture = await openRouter({}, {});
    fixture.ollama.otherwise = ollama.answer('I cannot.');
    const { failure } = await fixture.ask();
    expect(failure?.message).toContain('claude-haiku-5-5: no API key');
    expect(failure?.hint).toContain('ANTHROPIC_API_KEY');
    expect(states(fixture)[1]).toEqual({ model: HAIKU, state: 'off', reason: 'no API key' });
    expect(hits(fixture)).toEqual([1, 0]);
  });

  test('given no Ollama server, then it costs no attempt, and the reason is kept for a while', async () => {
    const fixture = await openRouter();
    fixture.claude.otherwise = claude.answer(good());
    await fixture.ollama.close();
    fixture.ollama.close = () => Promise.resolve();
    for (const _ of [1, 2]) {
      const { story, result } = await fixture.ask();
      expect(story).toEqual([`${HAIKU} initial: success`]);
      expect(result?.skipped[0]?.reason).toMatch(/ECONNREFUSED/);
    }
    expect(states(fixture)[0]).toMatchObject({ state: 'down' });
    expect(fixture.ledger.starts.map(({ model }) => model)).toEqual([HAIKU, HAIKU]);
  });

  test('given a model that the server has not, then it is told how to get it', async () => {
    const fixture = await openRouter({}, {});
    fixture.ollama.models = ['llama3:8b'];
    const { failure } = await fixture.ask();
    expect(failure?.hint).toBe('ollama pull qwen2.5:7b');
    expect(states(fixture)[0]?.['reason']).toContain('ollama pull qwen2.5:7b');
    expect(hits(fixture)).toEqual([0, 0]);
  });

  test('given a server that does not say what it has, then it is asked', async () => {
    const fixture = await openRouter();
    fixture.ollama.models = 'unsaid';
    fixture.ollama.otherwise = ollama.answer(good());
    expect((await fixture.ask()).story).toEqual([`${LOCAL} initial: success`]);
  });

  test('given an address that is none, then Ollama is off', async () => {
    const fixture = await openRouter(
      {},
      { OLLAMA_HOST: 'http://user:pw@host', ANTHROPIC_API_KEY: KEY },
    );
    fixture.claude.otherwise = claude.answer(good());
    expect((await fixture.ask()).story).toEqual([`${HAIKU} initial: success`]);
    expect(states(fixture)[0]).toMatchObject({ state: 'off' });
  });

  test('given an empty chain, then nobody answers', async () => {
    const { failure } = await (await openRouter({ chain: [] })).ask();
    expect(failure).toMatchObject({ code: 'LLM_UNAVAILABLE', attempts: [], skipped: [] });
  });

  test('given a schema that is none, then nobody is asked', async () => {
    const fixture = await openRouter();
    const schema = { id: 'x', schema: { type: 'nonsense' } };
    await expect(fixture.ask({}, { schema })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(hits(fixture)).toEqual([0, 0]);
  });
});

describe('what models are told', () => {
  test('a repair turn names what does not fit with its value; the next model gets a clean prompt', async () => {
    const fixture = await openRouter();
    fixture.ollama.otherwise = ollama.answer(good({ confidence: 95, reason: 'a first answer' }));
    fixture.claude.otherwise = claude.answer(good());
    await fixture.ask();
    const turns = fixture.ollama.hits[2]?.body['messages'] as JsonObject[];
    expect(turns.map(({ role }) => role)).toEqual(['system', 'user', ...REPAIRS]);
    expect(turns.at(-1)?.['content']).toContain('/confidence must be <= 1 (it is 95)');
    expect(JSON.stringify(fixture.claude.hits[0]?.body)).not.toContain('a first answer');
  });
  const REPAIRS = ['assistant', 'user', 'assistant', 'user'];

  test('the caller’s own check is part of it', async () => {
    const fixture = await openRouter();
    fixture.ollama.script = [ollama.answer(good({ node: 'vps' }))];
    fixture.ollama.otherwise = ollama.answer(good());
    await fixture.ask();
    expect(fixture.ollama.texts[1]).toContain('/node must be \\"piha\\"');
  });

  test('a schema that is built anew for each question, with the same $id, is the same schema', async () => {
    const fixture = await openRouter();
    fixture.ollama.otherwise = ollama.answer('{"a": 1}');
    for (const type of ['number', 'number', 'integer']) {
      const schema: JsonObject = { $id: 'x', type: 'object', properties: { a: { type } } };
      const { story } = await fixture.ask({}, { schema: { id: 'x', schema }, check: () => [] });
      expect(story).toEqual([`${LOCAL} initial: success`]);
    }
  });

  test('another seed and a little warmth for the same words again', async () => {
    const fixture = await openRouter();
    fixture.ollama.script = [ollama.answer('{', { doneReason: 'length' })];
    fixture.ollama.otherwise = ollama.answer(good());
    await fixture.ask();
    const options = fixture.ollama.hits.map(({ body }) => body['options']);
    expect(options).toMatchObject([{ temperature: 0 }, { temperature: 0.3, seed: 1 }]);
    expect(options[0]).not.toHaveProperty('seed');
  });

  test('haiku does not think unless it is told to; effort is passed on', async () => {
    const chain: LlmConfig['chain'] = [
      { model: HAIKU },
      { model: HAIKU, thinking: 'adaptive', effort: 'low' },
    ];
    const fixture = await openRouter({ chain });
    fixture.claude.script = [claude.answer('I cannot.')];
    fixture.claude.otherwise = claude.answer(good());
    await fixture.ask();
    const [first, second] = fixture.claude.hits.map(({ body }) => body);
    expect(first).toMatchObject({ thinking: { type: 'disabled' }, max_tokens: 300 });
    expect(second).toMatchObject({
      thinking: { type: 'adaptive' },
      output_config: { effort: 'low' },
    });
    expect(fixture.claude.violations).toEqual([]);
  });

  test('a check that throws is the caller’s fault, and the attempt is on record all the same', async () => {
    const fixture = await openRouter();
    fixture.ollama.otherwise = ollama.answer(good());
    const check = (): string[] => {
      throw new TypeError('of the check');
    };
    await expect(fixture.ask({}, { check })).rejects.toThrow('of the check');
    expect(fixture.ledger.ends.map(({ outcome }) => outcome)).toEqual(['semantic_invalid']);
  });
});

describe('time', () => {
  test('given a caller that gives up, then the server sees it and nobody else is asked', async () => {
    const fixture = await openRouter();
    fixture.ollama.otherwise = anyWire.silent();
    const caller = new AbortController();
    const asking = fixture.ask({ signal: caller.signal });
    await eventually(() => expect(hits(fixture)).toEqual([1, 0]));
    caller.abort(new Error('the incident is over'));
    await expect(asking).rejects.toThrow('the incident is over');
    await eventually(() => expect(fixture.ollama.hits[0]?.wasAborted).toBe(true));
    expect(hits(fixture)).toEqual([1, 0]);
    expect(fixture.ledger.ends).toMatchObject([{ outcome: 'cancelled', sent: true }]);
  });

  test('in the middle of a stream too, at both servers', async () => {
    for (const [model, stuck] of [
      [LOCAL, ollama.stuck()],
      [HAIKU, claude.stuck()],
    ] as const) {
      const fixture = await openRouter({ chain: [{ model, timeout: 20 }] });
      const server = model === LOCAL ? fixture.ollama : fixture.claude;
      server.otherwise = stuck;
      const caller = new AbortController();
      const asking = fixture.ask({ signal: caller.signal });
      await eventually(() => expect(server.hits).toHaveLength(1));
      caller.abort();
      await expect(asking).rejects.toThrow(/abort/i);
      await eventually(() => expect(server.hits[0]?.wasAborted).toBe(true));
    }
  });

  test('given a call that is cancelled before it begins, then nothing is sent', async () => {
    const fixture = await openRouter();
    await expect(fixture.ask({ signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
    expect(hits(fixture)).toEqual([0, 0]);
    expect(fixture.ledger.starts).toEqual([]);
  });

  test('given silence everywhere, then the deadline of the question ends it', async () => {
    const fixture = await openRouter({ deadline: 0.6 });
    fixture.ollama.otherwise = fixture.claude.otherwise = anyWire.silent();
    const { failure, story } = await fixture.ask();
    expect(story).toEqual([`${LOCAL} initial: timeout`, `${HAIKU} fallback: timeout`]);
    expect(failure?.message).toContain('s are over');
  });

  test('given a stop of the node, then what is under way is called off and nothing new is taken', async () => {
    const fixture = await openRouter();
    fixture.ollama.otherwise = anyWire.silent();
    const asking = fixture.ask();
    await eventually(() => expect(hits(fixture)).toEqual([1, 0]));
    fixture.router.close();
    await expect(asking).rejects.toMatchObject({ code: 'BUSY' });
    await expect(fixture.ask()).rejects.toMatchObject({ code: 'BUSY' });
  });
});

describe('the breaker', () => {
  test('given failures in a row, then the model is left out, and later one probe decides', async () => {
    const fixture = await openRouter({ breaker: { threshold: 2, cooldown: 0.5 } });
    fixture.ollama.otherwise = ollama.error(500, 'out of memory');
    fixture.claude.otherwise = claude.answer(good());
    expect((await fixture.ask()).story).toHaveLength(3);
    const { story, result } = await fixture.ask();
    expect(story).toEqual([`${HAIKU} initial: success`]);
    expect(result?.skipped[0]?.reason).toMatch(/out of memory \(until 20/);
    expect(states(fixture)[0]).toMatchObject({ state: 'cooling' });
    fixture.ollama.otherwise = ollama.answer(good());
    await eventually(async () => {
      const { result: later } = await fixture.ask();
      expect(later?.model).toBe(LOCAL);
    });
    expect(states(fixture)[0]).toMatchObject({ state: 'up', reason: null });
  });

  test('given a key that is not taken, then one try is enough for a long time; a reset tries again', async () => {
    const fixture = await openRouter();
    fixture.ollama.otherwise = ollama.answer('I cannot.');
    fixture.claude.otherwise = claude.error(401, 'authentication_error', 'no');
    await fixture.ask();
    await fixture.ask();
    expect(hits(fixture)).toEqual([2, 1]);
    expect(states(fixture)[1]).toMatchObject({ state: 'cooling' });
    fixture.claude.otherwise = claude.answer(good());
    await fixture.router.reset(HAIKU, 'a person');
    expect((await fixture.ask()).result?.model).toBe(HAIKU);
  });

  test('answers that do not fit are no failure of the service', async () => {
    const fixture = await openRouter({ breaker: { threshold: 1 } }, {});
    fixture.ollama.otherwise = ollama.answer('Restart it.');
    await fixture.ask();
    await fixture.ask();
    expect(hits(fixture)).toEqual([6, 0]);
  });
});

describe('turns', () => {
  test('given one turn at a time, then a second question waits for it', async () => {
    const fixture = await openRouter({ ollama: { concurrency: 1 } });
    fixture.ollama.otherwise = ollama.answer(good(), { dripMs: 50 });
    const answers = await Promise.all([fixture.ask(), fixture.ask(), fixture.ask()]);
    expect(answers.map(({ result }) => result?.model)).toEqual([LOCAL, LOCAL, LOCAL]);
    expect(fixture.ollama.hits.every(({ wasAborted }) => !wasAborted)).toBe(true);
  });

  test('given a line that is full, then the next model is asked', async () => {
    const fixture = await openRouter({ ollama: { concurrency: 1, queue: 0 } });
    fixture.ollama.otherwise = ollama.answer(good(), { dripMs: 300 });
    fixture.claude.otherwise = claude.answer(good());
    const first = fixture.ask();
    await eventually(() => expect(fixture.ollama.hits).toHaveLength(1));
    expect((await fixture.ask()).result?.model).toBe(HAIKU);
    expect((await first).result?.model).toBe(LOCAL);
  });
});

describe('money', () => {
  const only: LlmConfig['chain'] = [{ model: HAIKU }];

  test('an answer costs what the provider counted, by the price table', async () => {
    const fixture = await openRouter({
      chain: only,
      prices: { [HAIKU]: { input: 1, output: 5, cache_read: 0.1 } },
    });
    const usage = { input_tokens: 1000, cache_read_input_tokens: 2000 };
    fixture.claude.otherwise = claude.answer(good(), { usage });
    const { result } = await fixture.ask();
    const output = result?.usage?.output ?? 0;
    expect(result?.spent.nanoUsd).toBe(1000 * 1000 + 2000 * 100 + output * 5000);
    expect(fixture.ledger.models.today).toMatchObject({ ...result?.spent });
    expect(fixture.router.status()[0]?.['spent']).toMatchObject({ tokens: 3000 + output });
  });

  test('given a day’s budget that is used up, then nothing is sent, and it is said why', async () => {
    const prices = { [HAIKU]: { input: 1000, output: 1000 } };
    const fixture = await openRouter({ chain: only, prices, budget: { usd_per_day: 1.2 } });
    fixture.claude.otherwise = claude.answer(good());
    const stories = [];
    for (const _ of [1, 2, 3, 4, 5, 6, 7, 8]) stories.push((await fixture.ask()).failure?.message);
    expect(stories[0]).toBeUndefined();
    expect(stories.at(-1)).toMatch(/of today's \$1\.2000 are spent/);
    expect(fixture.ledger.models.today.nanoUsd).toBeLessThanOrEqual(1.2 * NANO);
    expect(fixture.claude.hits.length).toBe(fixture.ledger.starts.length);
    const told = { state: 'cooling', reason: expect.stringMatching(/are spent; asked again at/) };
    expect(states(fixture)).toMatchObject([told]);
    const after = await openRouter(
      { chain: only, prices, budget: { usd_per_day: 1.2 } },
      { ANTHROPIC_API_KEY: KEY },
      { ledger: fixture.ledger },
    );
    expect(states(after)).toMatchObject([told]); // in the next life, before anybody asks
  });

  test('given a budget that leaves a short question but no long one, then the model is up', async () => {
    const prices = { [HAIKU]: { input: 1000, output: 1000 } };
    const fixture = await openRouter({ chain: only, prices, budget: { usd_per_day: 2 } });
    fixture.claude.otherwise = claude.answer(good());
    await fixture.ask();
    const long = await fixture.ask({}, { maxOutputTokens: 2000 });
    expect(long.failure?.message).toMatch(/are spent/);
    expect(states(fixture)).toMatchObject([{ state: 'up' }]);
  });

  test('a question has limits of its own', async () => {
    const fixture = await openRouter({ chain: only });
    const { failure } = await fixture.ask({ limits: { tokens: 100 } });
    expect(failure?.message).toContain('more tokens than this question may');
    const dear = await openRouter({ chain: only, budget: { usd_per_call: 0.000001 } });
    expect((await dear.ask()).failure?.message).toContain('more than this question may');
    expect([hits(fixture), hits(dear)]).toEqual([
      [0, 0],
      [0, 0],
    ]);
  });

  test('given a model without a price and a budget, then it is not asked; without a budget it is', async () => {
    const chain = [{ model: 'claude-new-9' }];
    const limited = await openRouter({ chain });
    expect((await limited.ask()).failure?.message).toContain('llm.prices["claude-new-9"]');
    const reason = expect.stringContaining('llm.prices["claude-new-9"]');
    expect(states(limited)).toMatchObject([{ state: 'off', reason }]);
    const free = await openRouter({ chain, budget: { usd_per_day: null } });
    free.claude.otherwise = claude.answer(good());
    expect((await free.ask()).result?.model).toBe('claude-new-9');
  });

  test('what nobody knows is charged at its worst, and an error costs nothing', async () => {
    const fixture = await openRouter({ chain: [{ model: HAIKU, idle: 0.2 }] });
    fixture.claude.script = [claude.stuck()];
    const { attempts } = await fixture.ask();
    expect(attempts[0]?.spent).toEqual(fixture.ledger.starts[0]?.reserve);
    fixture.claude.script = [claude.error(400, 'invalid_request_error', 'no')];
    expect((await fixture.ask()).attempts[0]?.spent).toEqual({ tokens: 0, nanoUsd: 0 });
  });
});

describe('the rung rules', () => {
  const chain = [{ model: HAIKU }, { model: 'rules' }];
  const context = { type: 'service_unhealthy', node: 'piha', service: 'mosquitto' };

  test('given nobody else, then it answers by its table, with little confidence and a person to decide', async () => {
    const fixture = await openRouter({ chain }, {});
    const { result } = await fixture.ask({ context });
    expect(result).toMatchObject({ model: 'rules', spent: { tokens: 0, nanoUsd: 0 } });
    expect(result?.content).toMatchObject({
      action: 'restart',
      service: 'mosquitto',
      requires_human: true,
    });
    expect(result?.content).toHaveProperty('confidence', 0.5); // below the floor of 0.7
    expect(fixture.ledger.starts).toEqual([]);
  });

  test('it is no answer to a question about no event', async () => {
    const { story } = await (await openRouter({ chain }, {})).ask();
    expect(story).toEqual(['rules initial: bad_request']);
  });
});

describe('secrets', () => {
  test('given servers that repeat what they were sent, then neither key nor prompt is told to anybody', async () => {
    const fixture = await openRouter({ chain: [{ model: LOCAL }, { model: HAIKU }] });
    const [, { content }] = QUESTION.messages as [unknown, { content: string }];
    fixture.ollama.otherwise = ollama.error(400, `cannot read: ${content}`);
    fixture.claude.otherwise = claude.error(401, 'authentication_error', `bad key ${KEY}`);
    const { failure } = await fixture.ask({ context: { type: 'x', payload: 'a secret payload' } });
    const told = JSON.stringify([
      failure?.message,
      failure?.details,
      fixture.ledger.starts,
      fixture.ledger.ends,
      fixture.ledger.models,
      fixture.messages,
      fixture.router.status(),
      fixture.router.metrics(),
    ]);
    expect(told).toContain('[redacted]');
    expect(told).toContain('[withheld: it quotes the question]');
    for (const secret of [KEY, content, 'a secret payload']) expect(told).not.toContain(secret);
  });

  test('given a server that sends it elsewhere, then it does not go there', async () => {
    const elsewhere = await openRouter();
    const fixture = await openRouter();
    fixture.ollama.otherwise = anyWire.redirect(`${elsewhere.ollama.url}/api/chat`);
    fixture.claude.otherwise = anyWire.redirect(`${elsewhere.claude.url}/v1/messages`);
    expect((await fixture.ask()).result).toBeUndefined();
    expect(hits(elsewhere)).toEqual([0, 0]);
  });

  test('a key file is read when only its owner can, and again when it changes', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'lazarus-key-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'key');
    const fixture = await openRouter(
      { chain: [{ model: HAIKU }], anthropic: { key_file: file } },
      {},
    );
    fixture.claude.otherwise = claude.answer(good());
    expect((await fixture.ask()).failure?.message).toContain('ENOENT');
    writeFileSync(file, `${KEY}\n`, { mode: 0o644 });
    chmodSync(file, 0o644);
    expect((await fixture.ask()).failure).toMatchObject({ hint: `chmod 600 ${file}` });
    expect(states(fixture)[0]).toMatchObject({ state: 'off' });
    chmodSync(file, 0o600);
    expect((await fixture.ask()).result?.model).toBe(HAIKU);
    expect(fixture.claude.violations).toEqual([]);
  });
});

describe('numbers', () => {
  test('one message an attempt and one a call, without a word of either text', async () => {
    const fixture = await openRouter();
    fixture.ollama.otherwise = ollama.answer('Restart it.');
    fixture.claude.otherwise = claude.answer(good());
    await fixture.ask({ context: { type: 't', node: 'piha', service: 's', payload: { x: 1 } } });
    expect(fixture.messages.map(({ type }) => type)).toEqual([
      ...Array<string>(4).fill('llm_attempt'),
      'llm_call',
    ]);
    expect(fixture.messages.at(-1)).toMatchObject({
      success: true,
      model_used: HAIKU,
      attempts: [{ model: LOCAL, outcome: 'invalid_json' }, {}, {}, { model: HAIKU, error: null }],
      context: { type: 't', node: 'piha', service: 's' },
    });
    const families = fixture.router.metrics();
    const attempts = families.find(({ name }) => name === 'lazarus_llm_attempts_total');
    expect(attempts).toMatchObject({
      samples: [
        { labels: { model: LOCAL, outcome: 'invalid_json' }, value: 3 },
        { labels: { model: HAIKU, outcome: 'success' }, value: 1 },
      ],
    });
  });

  test('the record of an attempt says where in the schema it did not fit, and not with which words', async () => {
    const fixture = await openRouter();
    fixture.ollama.script = [
      ollama.answer(good({ confidence: 95, reason: 'words of the answer' })),
    ];
    fixture.ollama.otherwise = ollama.answer(good());
    await fixture.ask({ askedBy: 'system/planner/piha/mosquitto#3' });
    const [first] = fixture.ledger.ends;
    expect(first?.schemaErrors).toEqual(['#/properties/confidence/maximum']);
    expect(JSON.stringify(fixture.ledger.ends)).not.toContain('words of the answer');
    expect(fixture.ledger.starts[0]).toMatchObject({
      kind: 'initial',
      schemaId: 'proposal@1',
      promptVersion: 'test-1',
      askedBy: 'system/planner/piha/mosquitto#3',
    });
    expect(fixture.ledger.starts[1]?.promptHash).not.toBe(fixture.ledger.starts[0]?.promptHash);
  });

  test('every number is documented, and no other', async () => {
    const { router } = await openRouter();
    const file = new URL('../../docs/llm.md', import.meta.url);
    const rows = readFileSync(file, 'utf8').matchAll(/^\| `(lazarus_[a-z_]+)`\s*\| (\w+)/gm);
    const documented = [...rows].map(([, name, type]) => [name, type]);
    expect(router.metrics().map(({ name, type }) => [name, type])).toEqual(documented);
  });
});

/**
 * Every way in which a server can fail, spoken exactly on the wire, and what the router makes of it: how often the model is
 * asked, what it is told, and who is asked next.
 */
import { describe, expect, test } from 'vitest';
import type { LlmConfig } from '../../machines/llm-config.ts';
import { anyWire, claude, ollama } from '../support/llm-servers.ts';
import type { Reply } from '../support/llm-servers.ts';
import { good, openRouter } from '../support/llm-router.ts';

const QUICK: LlmConfig = {
  chain: [{ model: 'ollama/qwen2.5:7b', timeout: 0.4 }, { model: 'claude-haiku-5-5' }],
};
const IDLE: LlmConfig = {
  chain: [{ model: 'ollama/qwen2.5:7b', timeout: 20, idle: 0.3 }, { model: 'claude-haiku-5-5' }],
};
const LATE: LlmConfig = {
  chain: [
    { model: 'ollama/qwen2.5:7b', timeout: 20, first_token: 0.3 },
    { model: 'claude-haiku-5-5' },
  ],
};

interface Mode {
  name: string;
  /** One for each request to the first model. */
  replies: Reply[];
  /** `<kind>: <outcome>` of the first model's attempts. */
  attempts: string[];
  /** True: the first model answers in the end. */
  isMended?: boolean;
  config?: LlmConfig;
  detail?: RegExp;
}

const TWICE_TRANSIENT = ['initial: transient', 'retry: transient'];

const OLLAMA_MODES: Mode[] = [
  {
    name: 'a good answer',
    replies: [ollama.answer(good())],
    attempts: ['initial: success'],
    isMended: true,
  },
  {
    name: 'JSON in a fence',
    replies: [ollama.answer(`Sure!\n\`\`\`json\n${good()}\n\`\`\``)],
    attempts: ['initial: success'],
    isMended: true,
  },
  {
    name: 'JSON as the text of a tool call',
    replies: [ollama.answer(`<tool_call>\n${good()}\n</tool_call>`)],
    attempts: ['initial: success'],
    isMended: true,
  },
  {
    name: 'a tool call with arguments as a string',
    replies: [ollama.answer('', { toolCalls: [{ function: { name: 'x', arguments: good() } }] })],
    attempts: ['initial: success'],
    isMended: true,
  },
  {
    name: 'thinking before the answer',
    replies: [ollama.answer(good(), { thinking: 'hm' })],
    attempts: ['initial: success'],
    isMended: true,
  },
  {
    name: 'a valid answer whose reason says "I cannot"',
    replies: [ollama.answer(good({ reason: 'I cannot reach the broker' }))],
    attempts: ['initial: success'],
    isMended: true,
  },
  {
    name: 'a refusal in words',
    replies: [ollama.answer('I cannot help with that.')],
    attempts: ['initial: refusal'],
  },
  {
    name: 'a refusal in JSON',
    replies: [ollama.answer('{"error": "As an AI I am unable to decide"}')],
    attempts: ['initial: refusal'],
  },
  {
    name: 'prose, mended when told',
    replies: [ollama.answer('Restart it.'), ollama.answer(good())],
    attempts: ['initial: invalid_json', 'repair: success'],
    isMended: true,
  },
  {
    name: 'a schema that is not kept, mended the second time',
    replies: [
      ollama.answer(good({ confidence: 95 })),
      ollama.answer(good({ action: 'reboot' })),
      ollama.answer(good()),
    ],
    attempts: ['initial: schema_invalid', 'repair: schema_invalid', 'repair: success'],
    isMended: true,
  },
  {
    name: 'a schema that is never kept',
    replies: [1, 2, 3].map(() => ollama.answer(good({ confidence: 95 }))),
    attempts: ['initial: schema_invalid', 'repair: schema_invalid', 'repair: schema_invalid'],
  },
  {
    name: 'another node than the event’s',
    replies: [1, 2, 3].map(() => ollama.answer(good({ node: 'vps' }))),
    attempts: ['initial: semantic_invalid', 'repair: semantic_invalid', 'repair: semantic_invalid'],
  },
  {
    name: 'whitespace until the limit: asked once more with another seed',
    replies: [
      ollama.answer(`{"action": ${' '.repeat(400)}`, { doneReason: 'length' }),
      ollama.answer(good()),
    ],
    attempts: ['initial: truncated', 'retry: success'],
    isMended: true,
  },
  {
    name: 'cut off twice',
    replies: [1, 2].map(() => ollama.answer('{"action": ', { doneReason: 'length' })),
    attempts: ['initial: truncated', 'retry: truncated'],
  },
  {
    name: 'whole in spite of the limit',
    replies: [ollama.answer(`${good()}    `, { doneReason: 'length' })],
    attempts: ['initial: success'],
    isMended: true,
  },
  {
    name: 'the model is not there',
    replies: [ollama.error(404, "model 'qwen2.5:7b' not found")],
    attempts: ['initial: model_missing'],
  },
  {
    name: 'the context is too small',
    replies: [ollama.error(400, 'the input length exceeds the context length')],
    attempts: ['initial: context_overflow'],
  },
  {
    name: 'a request it does not understand',
    replies: [ollama.error(400, '"qwen2.5:7b" does not support thinking')],
    attempts: ['initial: bad_request'],
  },
  {
    name: 'too many requests wait',
    replies: [1, 2].map(() =>
      ollama.error(503, 'server busy, please try again.  maximum pending requests exceeded'),
    ),
    attempts: ['initial: overloaded', 'retry: overloaded'],
  },
  {
    name: 'the runner crashed once',
    replies: [ollama.error(500, 'llama runner process has terminated'), ollama.answer(good())],
    attempts: ['initial: transient', 'retry: success'],
    isMended: true,
  },
  {
    name: '499',
    replies: [1, 2].map(() => ollama.error(499, 'request canceled')),
    attempts: TWICE_TRANSIENT,
  },
  {
    name: '401 of a proxy',
    replies: [anyWire.page(401, 'who are you?')],
    attempts: ['initial: auth'],
  },
  {
    name: '502 of a proxy',
    replies: [1, 2].map(() => anyWire.page(502, '<h1>Bad Gateway</h1>')),
    attempts: TWICE_TRANSIENT,
  },
  {
    name: '429 that passes soon',
    replies: [ollama.error(429, 'slow down', { 'retry-after-ms': '30' }), ollama.answer(good())],
    attempts: ['initial: rate_limited', 'retry: success'],
    isMended: true,
  },
  {
    name: '429 for an hour',
    replies: [ollama.error(429, 'slow down', { 'retry-after': '3600' })],
    attempts: ['initial: rate_limited'],
  },
  {
    name: 'an error in the stream',
    replies: [1, 2].map(() => ollama.errorInStream('unexpected EOF')),
    attempts: TWICE_TRANSIENT,
  },
  {
    name: 'a stream that is cut',
    replies: [1, 2].map(() => ollama.brokenOff()),
    attempts: TWICE_TRANSIENT,
  },
  {
    name: 'a stream without its last line',
    replies: [1, 2].map(() => ollama.unfinished()),
    attempts: TWICE_TRANSIENT,
  },
  {
    name: 'a line that is no JSON',
    replies: [1, 2].map(() => ollama.brokenLine()),
    attempts: TWICE_TRANSIENT,
  },
  {
    name: 'a connection that is closed',
    replies: [1, 2].map(() => anyWire.gone()),
    attempts: TWICE_TRANSIENT,
  },
  {
    name: 'silence',
    replies: [anyWire.silent()],
    attempts: ['initial: timeout'],
    config: QUICK,
    detail: /^no answer within 0\.4 s$/,
  },
  {
    name: 'headers and then silence',
    replies: [ollama.stalled()],
    attempts: ['initial: timeout'],
    config: LATE,
    detail: /^no first token within 0\.3 s$/,
  },
  {
    name: 'half an answer and then silence',
    replies: [ollama.stuck()],
    attempts: ['initial: timeout'],
    config: IDLE,
    detail: /^nothing more within 0\.3 s$/,
  },
  {
    name: 'an answer that drips longer than it may',
    replies: [ollama.answer(good(), { dripMs: 5000 })],
    attempts: ['initial: timeout'],
    config: QUICK,
    detail: /^(not done|nothing more) within 0\.4 s$/,
  },
  {
    name: 'a prompt that was cut in silence by an old server',
    replies: [ollama.answer(good(), { promptTokens: 20 })],
    attempts: ['initial: context_overflow'],
    config: { ollama: { num_ctx: 40 } },
  },
];

describe('Ollama', () => {
  test.each(OLLAMA_MODES)('$name', async (mode) => {
    const fixture = await openRouter(mode.config);
    fixture.ollama.script = [...mode.replies];
    fixture.ollama.otherwise = anyWire.gone(); // more requests than replies are a fault
    fixture.claude.otherwise = claude.answer(good());
    await expectStory(fixture, mode, ['ollama/qwen2.5:7b', 'claude-haiku-5-5']);
    expect(fixture.ollama.hits).toHaveLength(mode.attempts.length);
  });
});

const CHAIN: LlmConfig = { chain: [{ model: 'claude-haiku-5-5' }, { model: 'claude-sonnet-5-5' }] };
const withFirst = (more: { timeout?: number; idle?: number; first_token?: number }): LlmConfig => ({
  chain: [{ model: 'claude-haiku-5-5', ...more }, { model: 'claude-sonnet-5-5' }],
});

const CLAUDE_MODES: Mode[] = [
  {
    name: 'a good answer',
    replies: [claude.answer(good())],
    attempts: ['initial: success'],
    isMended: true,
  },
  {
    name: 'thinking before the answer',
    replies: [claude.answer(good(), { thinking: 'hm' })],
    attempts: ['initial: success'],
    isMended: true,
  },
  {
    name: 'half a tool input before the answer',
    replies: [claude.strayToolInput(good())],
    attempts: ['initial: success'],
    isMended: true,
  },
  {
    name: 'a refusal, which is status 200',
    replies: [claude.answer('', { stopReason: 'refusal', category: 'cyber' })],
    attempts: ['initial: refusal'],
    detail: /refusal: cyber/,
  },
  {
    name: 'cut off at max_tokens: asking again gives the same',
    replies: [claude.answer('{"action": "rest', { stopReason: 'max_tokens' })],
    attempts: ['initial: truncated'],
  },
  {
    name: 'longer than its context window',
    replies: [claude.answer('', { stopReason: 'model_context_window_exceeded' })],
    attempts: ['initial: context_overflow'],
  },
  {
    name: 'what the grammar does not hold (maximum), mended when told',
    replies: [claude.answer(good({ confidence: 2 })), claude.answer(good())],
    attempts: ['initial: schema_invalid', 'repair: success'],
    isMended: true,
  },
  {
    name: 'an empty answer, mended when told',
    replies: [claude.answer(''), claude.answer(good())],
    attempts: ['initial: invalid_json', 'repair: success'],
    isMended: true,
  },
  {
    name: '401',
    replies: [claude.error(401, 'authentication_error', 'invalid bearer token')],
    attempts: ['initial: auth'],
  },
  {
    name: '403',
    replies: [claude.error(403, 'permission_error', 'no')],
    attempts: ['initial: auth'],
  },
  {
    name: '402',
    replies: [claude.error(402, 'billing_error', 'no money')],
    attempts: ['initial: quota'],
  },
  {
    name: '429 of a spend limit',
    replies: [
      claude.error(429, 'rate_limit_error', 'stop', {
        code: 'enforced_spend_limit_reached',
        headers: { 'retry-after': '0' },
      }),
    ],
    attempts: ['initial: quota'],
  },
  {
    name: '400 of a spend limit',
    replies: [
      claude.error(
        400,
        'invalid_request_error',
        'You have reached your specified API usage limits.',
      ),
    ],
    attempts: ['initial: quota'],
  },
  {
    name: '404: no such model',
    replies: [claude.error(404, 'not_found_error', 'model: claude-haiku-5-5')],
    attempts: ['initial: model_missing'],
  },
  {
    name: '400: too long',
    replies: [
      claude.error(
        400,
        'invalid_request_error',
        'prompt is too long: 1200000 tokens > 1000000 maximum',
      ),
    ],
    attempts: ['initial: context_overflow'],
  },
  {
    name: '400',
    replies: [claude.error(400, 'invalid_request_error', 'no')],
    attempts: ['initial: bad_request'],
  },
  {
    name: '413',
    replies: [claude.error(413, 'request_too_large', 'no')],
    attempts: ['initial: context_overflow'],
  },
  {
    name: '429 that passes soon',
    replies: [
      claude.error(429, 'rate_limit_error', 'x', { headers: { 'retry-after-ms': '30' } }),
      claude.answer(good()),
    ],
    attempts: ['initial: rate_limited', 'retry: success'],
    isMended: true,
  },
  {
    name: '429 for a minute, though the server says: try again',
    replies: [
      claude.error(429, 'rate_limit_error', 'x', {
        headers: { 'retry-after': '60', 'x-should-retry': 'true' },
      }),
    ],
    attempts: ['initial: rate_limited'],
  },
  {
    name: '529, 529',
    replies: [1, 2].map(() => claude.error(529, 'overloaded_error', 'Overloaded')),
    attempts: ['initial: overloaded', 'retry: overloaded'],
  },
  {
    name: '500 once',
    replies: [claude.error(500, 'api_error', 'x'), claude.answer(good())],
    attempts: ['initial: transient', 'retry: success'],
    isMended: true,
  },
  {
    name: '409',
    replies: [1, 2].map(() => claude.error(409, 'conflict_error', 'x')),
    attempts: TWICE_TRANSIENT,
  },
  {
    name: '502 of a proxy',
    replies: [1, 2].map(() => anyWire.page(502, '<h1>no</h1>')),
    attempts: TWICE_TRANSIENT,
  },
  {
    name: 'an overload in the middle of the stream',
    replies: [claude.errorInStream('overloaded_error'), claude.answer(good())],
    attempts: ['initial: overloaded', 'retry: success'],
    isMended: true,
  },
  {
    name: 'a fault in the middle of the stream',
    replies: [1, 2].map(() => claude.errorInStream('api_error')),
    attempts: TWICE_TRANSIENT,
  },
  {
    name: 'a stream that is cut',
    replies: [1, 2].map(() => claude.brokenOff()),
    attempts: TWICE_TRANSIENT,
  },
  {
    name: 'a stream without message_stop',
    replies: [1, 2].map(() => claude.unfinished()),
    attempts: TWICE_TRANSIENT,
  },
  {
    name: 'data that is no JSON',
    replies: [1, 2].map(() => claude.brokenData()),
    attempts: TWICE_TRANSIENT,
  },
  {
    name: 'a connection that is closed',
    replies: [1, 2].map(() => anyWire.gone()),
    attempts: TWICE_TRANSIENT,
  },
  {
    name: 'silence',
    replies: [anyWire.silent()],
    attempts: ['initial: timeout'],
    config: withFirst({ timeout: 0.4 }),
    detail: /^no answer within 0\.4 s$/,
  },
  {
    name: 'headers and then silence',
    replies: [claude.stalled()],
    attempts: ['initial: timeout'],
    config: withFirst({ idle: 0.3 }),
    detail: /^nothing more within 0\.3 s$/,
  },
  {
    name: 'pings and no answer',
    replies: [claude.pingsOnly(20)],
    attempts: ['initial: timeout'],
    config: withFirst({ first_token: 0.4, idle: 10 }),
    detail: /^no first token within 0\.4 s$/,
  },
  {
    name: 'half an answer and then silence',
    replies: [claude.stuck()],
    attempts: ['initial: timeout'],
    config: withFirst({ idle: 0.3 }),
    detail: /^nothing more within 0\.3 s$/,
  },
  {
    name: 'pings while it thinks longer than the idle time',
    replies: [claude.answer(good(), { pings: 12, dripMs: 100 })],
    attempts: ['initial: success'],
    isMended: true,
    config: withFirst({ idle: 0.9 }),
  },
];

describe('Claude', () => {
  test.each(CLAUDE_MODES)('$name', async (mode) => {
    const fixture = await openRouter(mode.config ?? CHAIN);
    const next = mode.isMended ? [] : [claude.answer(good())];
    fixture.claude.script = [...mode.replies, ...next];
    fixture.claude.otherwise = anyWire.gone();
    await expectStory(fixture, mode, ['claude-haiku-5-5', 'claude-sonnet-5-5']);
    expect(fixture.claude.hits).toHaveLength(mode.attempts.length + next.length);
  });
});

type Fixture = Awaited<ReturnType<typeof openRouter>>;

/** Asks: the first model meets what the mode says, and answers in the end, or the second does. */
async function expectStory(
  fixture: Fixture,
  { attempts, isMended, detail }: Mode,
  [first, second]: [string, string],
): Promise<void> {
  const { result, story, attempts: all } = await fixture.ask();
  const fallback = isMended ? [] : [`${second} fallback: success`];
  expect(story).toEqual([...attempts.map((text) => `${first} ${text}`), ...fallback]);
  expect(result?.content).toMatchObject({ action: 'restart', node: 'piha' });
  if (detail) expect(all[0]?.error).toMatch(detail);
  expectOnRecord(fixture);
}

/** Each request is on record before and after, and none of them was one that a real server would refuse. */
function expectOnRecord({ ollama: local, claude: remote, ledger }: Fixture): void {
  const hits = local.hits.length + remote.hits.length;
  expect([ledger.starts.length, ledger.ends.length]).toEqual([hits, hits]);
  expect([...local.violations, ...remote.violations]).toEqual([]);
  expect(Object.keys(ledger.models.open)).toEqual([]);
}

/** What a watcher may see: no secret of any generated context, and everything else as it is. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createRedactor, HIDDEN } from '../../bus/inspector-redaction.ts';
import { InspectorFrames, MAX_FRAME_BYTES } from '../../bus/inspector-frames.ts';
import type { InspectedActor } from '../../bus/inspector-frames.ts';
import { agentMachine } from '../../machines/agent.machine.ts';
import { cellMachine } from '../../machines/cell.machine.ts';
import { lazarusMachine } from '../../machines/lazarus.machine.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';

const redactor = createRedactor();
const shown = (value: unknown): JsonValue => redactor.value(value, 100_000);

describe('keys', () => {
  test.each([
    'token',
    'http_token',
    'accessToken',
    'password',
    'PGPASSWORD',
    'client-secret',
    'Authorization',
    'api_key',
    'X-Api-Key',
    'private_key',
    'credentials',
    'cookie',
    'env',
    'environment',
    'pass',
    'GITHUB_PAT_TOKEN',
    'connection_string',
    'webhook_url',
  ])('a value under %s is not shown, whatever it is', (key) => {
    for (const value of ['hunter2', ['hunter2'], { name: 'hunter2' }, 12_345])
      expect(JSON.stringify(shown({ [key]: value }))).toBe(JSON.stringify({ [key]: HIDDEN }));
  });

  test('counts, truths, nothing and the places of files are shown', () => {
    const plain = {
      tokens: 500,
      max_tokens: 10,
      fencingToken: 3,
      http_token_file: '/x/http-token',
      secret: null,
      has_token: true,
      env: {},
      task_id: 'rotate-tokens',
      key: 'cell/c/agent/a#3#step',
    };
    expect(shown(plain)).toEqual(plain);
  });

  test('in a context of a cell the ids of agents, tasks and files are no names of secrets', () => {
    const context = {
      agents: { 'token-rotator': { reported: 'idle' }, token: { status: 'hunter2' } },
      tasks: { password: { password: 'hunter2', attempt: 1 } },
      files: { 'tasks/secret.json': { people: { env: { A: 'hunter2' } } } },
      token: { agents: 'hunter2' },
    };
    expect(redactor.context(context, 10_000)).toEqual({
      agents: { 'token-rotator': { reported: 'idle' }, token: HIDDEN },
      tasks: { password: { password: HIDDEN, attempt: 1 } },
      files: { 'tasks/secret.json': { people: { env: HIDDEN } } },
      token: HIDDEN,
    });
  });

  test('a key called __proto__ is a member like any other', () => {
    const hostile = JSON.parse('{"__proto__": {"token": "hunter2", "a": 1}}') as unknown;
    expect(JSON.stringify(shown(hostile))).toBe(`{"__proto__":{"token":"${HIDDEN}","a":1}}`);
  });
});

describe('texts', () => {
  const secret = 'h7Kq2LmZpA9s';
  test.each([
    `https://user:${secret}@host/path`,
    `redis://:${secret}@localhost:6379`,
    `https://host/hook?token=${secret}&x=1`,
    `https://host/?a=1&api_key=${secret}`,
    `wss://host/#access_token=${secret}`,
    `curl -H "Authorization: Bearer ${secret}" https://host`,
    `Authorization: AWS4-HMAC-SHA256 Credential=AKIA/x, Signature=${secret}`,
    `Cookie: a=1; session=${secret}`,
    `export API_KEY=${secret}; run`,
    `PASSWORD="${secret}" run`,
    `psql --password ${secret} -h host`,
    `tool --api-key=${secret}`,
    `{"password": "${secret}"}`,
    `{\\"client_secret\\": \\"${secret}\\"}`,
    `db_password: ${secret}`,
    `curl -u admin:${secret} https://host`,
    `https://hooks.slack.com/services/T000/B000/${secret}`,
    `sk-ant-api03-${secret}${secret}`,
    `ghp_${secret}${secret}`,
    `xoxb-1234-${secret}`,
    `-----BEGIN RSA PRIVATE KEY-----\n${secret}\n-----END RSA PRIVATE KEY-----`,
    `-----BEGIN OPENSSH PRIVATE KEY-----\n${secret}`,
    `eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.${secret}`,
  ])('%s', (text) => {
    expect(redactor.text(text)).not.toContain(secret);
    expect(redactor.text(`${'words and more '.repeat(20)}${text}`)).not.toContain(secret);
  });

  test.each([
    'Mission release-notes: 3 of 5 steps done',
    '2026-11-21T08:05:05.000Z',
    'http://127.0.0.1:8080/health?cell=c-1',
    'the token is wrong',
    'sh -c "sort a.txt > b.txt && ls -u"',
    '4f1c9a7e5b2d4f1c9a7e5b2d4f1c9a7e5b2d4f1c9a7e5b2d4f1c9a7e5b2dabcd',
    'cell/5c0e6e08-1a2b-4c3d/agent/writer_1#12#step',
  ])('%s is left as it is', (text) => {
    expect(redactor.text(text)).toBe(text);
  });

  test('arguments of a command after a flag that names a secret are not shown', () => {
    const run = ['tool', '--token', secret, '-u', `me:${secret}`, '--password', '--verbose', 'x'];
    const [tool, flag, ...rest] = shown(run) as string[];
    expect([tool, flag]).toEqual(['tool', '--token']);
    expect(rest).toEqual([HIDDEN, '-u', HIDDEN, '--password', '--verbose', 'x']);
  });

  test('what this process knows to be secret is found everywhere, in keys too', () => {
    const own = createRedactor(['s3cret.(value)', 'short']);
    expect(own.value({ note: 'a s3cret.(value) b', 's3cret.(value)': 1 }, 1000)).toEqual({
      note: `a ${HIDDEN} b`,
      [HIDDEN]: 1,
    });
    expect(own.text('short')).toBe('short');
  });

  test('no text makes it slow: a quadratic rule would take minutes', { timeout: 20_000 }, () => {
    for (const part of ['a', '-', 'token', '"', '://', 'bearer ', '=', 'A.', ' -u'])
      expect(redactor.text(part.repeat(100_000)).length).toBeLessThan(1100);
  });
});

describe('bounds', () => {
  test('a long text is cut, and a secret at the cut is not half of one', () => {
    for (let at = 900; at < 6000; at += 37) {
      const secret = 'Zq8'.repeat(12);
      const text = `${'x '.repeat(at / 2)}password=${secret} ${'y '.repeat(4000)}`;
      const result = redactor.text(text);
      expect(result).not.toContain('Zq8');
      expect(result.length).toBeLessThan(1100);
    }
  });

  test('wide, long and deep values are cut, and that is said', () => {
    let deep: JsonValue = 'end';
    for (let i = 0; i < 5000; i += 1) deep = i % 2 === 0 ? { deep } : [deep];
    const wide = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`k${i}`, i]));
    const value = { deep, wide, long: Array.from({ length: 100_000 }, () => 'text') };
    const text = JSON.stringify(redactor.value(value, 20_000));
    expect(text.length).toBeLessThan(60_000);
    expect(text).toContain('[deeper]');
    expect(text).toContain('more');
  });

  test('the first member does not take what the others need', () => {
    const files = Object.fromEntries(
      Array.from({ length: 200 }, (_, i) => [`f${i}`, 'x'.repeat(900)]),
    );
    const { phase, reason } = redactor.context(
      { files, phase: 'working', reason: 'r' },
      20_000,
    ) as {
      phase: string;
      reason: string;
    };
    expect([phase, reason]).toEqual(['working', 'r']);
  });
});

describe('definitions', () => {
  const machines = [cellMachine, agentMachine, lazarusMachine];
  test.each(machines)('$id is whole: every state, every event, every effect', (machine) => {
    const definition = redactor.definition(machine.config) as JsonObject;
    const structure = JSON.parse(
      JSON.stringify(machine.config, (key, value: unknown) =>
        typeof value === 'function' || key === 'context' ? undefined : value,
      ),
    ) as JsonObject;
    expect(withoutFunctions(definition, structure)).toEqual(structure);
  });

  test('data that stands in one is searched as everything else', () => {
    const config = {
      id: 'm@1',
      context: { apiKey: 'hunter2', plain: 1 },
      states: { authentication: { on: { 'token.expired': 'password' } }, password: {} },
      invoke: { src: 'x', input: { token: 'hunter2' } },
    };
    const definition = redactor.definition(config);
    expect(JSON.stringify(definition)).not.toContain('hunter2');
    expect(definition).toMatchObject({ states: config.states, context: { plain: 1 } });
  });
});

/** `shown` without what is not in `like`: functions are shown by their names. */
function withoutFunctions(shown: JsonValue, like: JsonValue): JsonValue {
  if (Array.isArray(shown) && Array.isArray(like))
    return shown.map((item, i) => withoutFunctions(item, like[i] ?? null));
  if (typeof shown !== 'object' || typeof like !== 'object' || !shown || !like) return shown;
  const model = like as JsonObject;
  const members = Object.entries(shown).filter(([key]) => Object.hasOwn(model, key));
  return Object.fromEntries(members.map(([k, v]) => [k, withoutFunctions(v, model[k] ?? null)]));
}

// ---- the property ----------------------------------------------------------------------------------------------------

const SECRET = /Zx9[a-z0-9]{12}qV/;
const secret = fc.stringMatching(/^[a-z0-9]{12}$/).map((middle) => `Zx9${middle}qV`);
const secretKey = fc.constantFrom(
  'token',
  'password',
  'Secret',
  'authorization',
  'api_key',
  'apiKey',
  'DB_PASSWORD',
  'env',
  'credentials',
  'private_key',
  'cookie',
);
const carrier = fc.constantFrom<(s: string) => JsonValue>(
  (s) => `https://me:${s}@host/x`,
  (s) => `http://host/?access_token=${s}&b=2`,
  (s) => `Authorization: Bearer ${s}`,
  (s) => `Basic ${s}`,
  (s) => `run --password ${s} --x`,
  (s) => `MY_API_KEY=${s} cmd`,
  (s) => ['cmd', '--token', s],
  (s) => ({ name: 'step', run: ['sh', '-c', `PASSWORD='${s}' x`] }),
  (s) => `{"token":"${s}"}`,
  (s) => ({ [`https://u:${s}@host`]: 1 }),
  (s) => `${'long '.repeat(300)}secret=${s}${' long'.repeat(300)}`,
);
const withSecret: fc.Arbitrary<JsonValue> = fc.oneof(
  fc.tuple(secretKey, secret).map(([key, value]) => ({ [key]: value })),
  fc.tuple(secretKey, secret).map(([key, value]) => ({ [key]: { deep: [value] } })),
  fc.tuple(carrier, secret).map(([carry, value]) => carry(value)),
);
const { tree } = fc.letrec<{ tree: JsonValue }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    fc.oneof(withSecret, fc.string(), fc.integer(), fc.constant(null)),
    fc.array(tie('tree'), { maxLength: 4 }) as fc.Arbitrary<JsonValue>,
    fc.dictionary(
      fc.constantFrom('files', 'agents', 'people', 'steps', 'note', 'a', 'metadata'),
      tie('tree'),
      { maxKeys: 4 },
    ) as fc.Arbitrary<JsonValue>,
  ),
}));

test('no secret of a generated context, event, input, output, error or definition is in any frame', () => {
  fc.assert(
    fc.property(tree, tree, tree, (context, input, event) => {
      const frames = new InspectorFrames({ epoch: 3, redactor: createRedactor() });
      const actor: InspectedActor = {
        machine: 'x@1',
        config: { id: 'x@1', context, states: { a: { invoke: { src: 's', input } } } },
        status: 'active',
        value: 'a',
        context: { files: context, rest: input },
        tags: [],
        output: event,
        error: input,
        effects: { job: { src: 'job', input } },
      };
      const record = { type: 'e', data: event };
      const error = { message: typeof event === 'string' ? event : '' };
      const texts = [
        frames.actor('cell/c', actor, false),
        frames.snapshot('cell/c', actor, record),
        frames.event({ address: 'cell/c', at: 1, event: record, error }),
      ];
      for (const text of texts) {
        expect(text).not.toMatch(SECRET);
        expect(Buffer.byteLength(text)).toBeLessThanOrEqual(MAX_FRAME_BYTES);
      }
    }),
    { numRuns: 1000 },
  );
});

test('given a context of many megabytes of the worst characters, then its frame is within the bound', () => {
  const frames = new InspectorFrames({ epoch: 1, redactor });
  const huge = Array.from({ length: 20_000 }, () => '\u0000\u0001'.repeat(500));
  const text = frames.event({ address: 'cell/c', at: 1, event: { type: 'e', huge } });
  expect(Buffer.byteLength(text)).toBeLessThanOrEqual(MAX_FRAME_BYTES);
});

/** MCP over two streams, as bytes: both generations of the protocol, what is none, and what comes in no order. */
import { PassThrough } from 'node:stream';
import { describe, expect, onTestFinished, test } from 'vitest';
import { mcpOverStdio } from '../../bus/mcp-stdio.ts';
import type { ConnectionEnd } from '../../bus/mcp-lines.ts';
import type { ServedVerb } from '../../bus/control-socket.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { eventually } from '../support/eventually.ts';
import {
  CAPABILITIES_KEY,
  CLIENT_KEY,
  envelope,
  initialize,
  NEWEST,
  olderRequest,
  request,
  VERSION_KEY,
} from '../support/mcp.ts';

interface Message extends JsonObject {
  id: number | string;
  result: JsonObject;
  error: JsonObject;
}

interface Line {
  input: PassThrough;
  output: PassThrough;
  /** All that was said, in its order. */
  heard: Message[];
  /** What was reported. */
  warnings: string[];
  say(...messages: JsonValue[]): void;
  answerTo(id: number | string): Promise<Message>;
  /** How many calls the verb is working on, and what lets the next one answer. */
  working(): number;
  finish(): void;
  ended: Promise<ConnectionEnd>;
}

const verb = (name: string, run: ServedVerb['run'], by = false): ServedVerb => ({
  name,
  summary: `${name}.`,
  input: { type: 'object', properties: by ? { by: { type: 'string' } } : {} },
  run,
});

/** A verb that answers at once with who asked, `inject.list`, and one that answers when told to, `cell.list`. */
function open({ isRead = true } = {}): Line {
  const input = new PassThrough();
  const output = new PassThrough();
  const waiting: (() => void)[] = [];
  const heard: Message[] = [];
  const warnings: string[] = [];
  if (isRead) listen(output, heard);
  const verbs = [
    verb('inject', async (asked) => asked, true),
    verb('cell.list', async () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting.push(resolve);
      await promise;
      return { cells: [] };
    }),
  ];
  const host = {
    version: 'test',
    verbs,
    approvals: () => false,
    remoteCommands: () => false,
    log: { warn: (fields: Record<string, unknown>) => void warnings.push(String(fields['error'])) },
  };
  const ended = mcpOverStdio(host, { input, output });
  onTestFinished(() => {
    input.destroy();
    output.destroy();
  });
  return {
    input,
    output,
    heard,
    warnings,
    say: (...messages) =>
      void input.write(messages.map((said) => `${JSON.stringify(said)}\n`).join('')),
    answerTo: (id) =>
      eventually(() => {
        const answer = heard.find((message) => message.id === id);
        if (answer === undefined) throw new Error(`${id} is not answered`);
        return answer;
      }),
    working: () => waiting.length,
    finish: () => waiting.shift()?.(),
    ended,
  };
}

function listen(output: PassThrough, heard: Message[]): void {
  let rest = '';
  output.on('data', (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split('\n');
    rest = lines.pop() ?? '';
    heard.push(...lines.map((line) => JSON.parse(line) as Message));
  });
}

const whoAmI = (id: number | string): JsonObject =>
  request('tools/call', { name: 'inject_event', arguments: {} }, id);
const slow = (id: number | string): JsonObject =>
  request('tools/call', { name: 'list_cells', arguments: {} }, id);

describe('versions', () => {
  test('given 2026-07-28, then there is no handshake, and each call is by who it says', async () => {
    const line = open();
    line.say(request('server/discover'), whoAmI(2));
    expect((await line.answerTo(1)).result).toMatchObject({ supportedVersions: [NEWEST.protocol] });
    expect((await line.answerTo(2)).result).toMatchObject({
      structuredContent: { by: 'by hand over MCP' },
      resultType: 'complete',
    });
    const _meta = envelope({ [CLIENT_KEY]: { name: 'another', version: '1' } });
    line.say(olderRequest('tools/call', { name: 'inject_event', arguments: {}, _meta }, 3));
    expect((await line.answerTo(3)).result).toMatchObject({
      structuredContent: { by: 'another over MCP' },
    });
  });

  test.each(['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05'])(
    'given a handshake for %s, then that is spoken',
    async (version) => {
      const line = open();
      line.say(initialize(version), { jsonrpc: '2.0', method: 'notifications/initialized' });
      line.say(
        olderRequest('tools/call', { name: 'inject_event' }, 2),
        olderRequest('ping', {}, 3),
      );
      expect((await line.answerTo(1)).result).toMatchObject({ protocolVersion: version });
      const { result } = await line.answerTo(2);
      expect(result).toMatchObject({ structuredContent: { by: 'a test over MCP' } });
      expect(result).not.toHaveProperty('resultType');
      expect((await line.answerTo(3)).result).toEqual({});
    },
  );

  test('given a client that asks for 2026-07-28 first and then shakes hands, then the older one is spoken', async () => {
    const line = open();
    line.say(request('server/discover'), initialize('2025-11-25', 2), olderRequest('ping', {}, 3));
    expect((await line.answerTo(2)).result).toMatchObject({ protocolVersion: '2025-11-25' });
    expect((await line.answerTo(3)).result).toEqual({});
  });

  test('given a handshake after a message of 2026-07-28, then it is refused and says what is spoken', async () => {
    const line = open();
    line.say(whoAmI(1), initialize('2025-11-25', 2), whoAmI(3));
    expect((await line.answerTo(2)).error).toMatchObject({
      code: -32_022,
      data: { supported: [NEWEST.protocol] },
    });
    expect((await line.answerTo(3)).result).toBeDefined();
  });

  test('given requests before the handshake is done, then they are answered', async () => {
    const line = open();
    line.say(olderRequest('tools/list'), initialize('2025-11-25', 2), initialize('2025-06-18', 3));
    expect((await line.answerTo(1)).result).toHaveProperty('tools');
    expect((await line.answerTo(3)).result).toMatchObject({ protocolVersion: '2025-06-18' });
  });

  test.each<[what: string, said: JsonObject, code: number]>([
    [
      'a version that is unknown',
      olderRequest('tools/list', { _meta: envelope({ [VERSION_KEY]: '2027-01-01' }) }),
      -32_022,
    ],
    [
      'no capabilities',
      olderRequest('tools/list', { _meta: { [VERSION_KEY]: NEWEST.protocol } }),
      -32_602,
    ],
    [
      'a version that is no text',
      olderRequest('tools/list', { _meta: envelope({ [VERSION_KEY]: 7 }) }),
      -32_602,
    ],
    ['an unknown method', request('no/such'), -32_601],
    ['a method of earlier versions', request('ping'), -32_601],
    ['an unknown tool', request('tools/call', { name: 'constructor', arguments: {} }), -32_602],
    ['a call of nothing', request('tools/call', {}), -32_602],
  ])('given %s, then that is said, and the next message is answered', async (_what, said, code) => {
    const line = open();
    line.say(said, whoAmI(2));
    expect((await line.answerTo(1)).error).toMatchObject({ code });
    expect((await line.answerTo(2)).result).toBeDefined();
  });
});

describe('messages', () => {
  const deep = `${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}`;

  test('given lines that are no messages, then those with an id are answered, all are reported, and the next is served', async () => {
    const line = open();
    line.input.write(
      '\n\r\nthis is no message\n{"jsonrpc":"2.0"}\n[]\nnull\n{"method":"x","id":null}\n',
    );
    line.say({ id: 'a', method: 'tools/list' }, { jsonrpc: '1.0', id: 'b', method: 'tools/list' });
    line.input.write(`{"jsonrpc":"2.0","id":"c","method":"x","params":${deep}}\n`);
    const _meta = envelope({ [CAPABILITIES_KEY]: { experimental: '#' } });
    const bomb = JSON.stringify(olderRequest('tools/list', { _meta }, 'd'));
    line.input.write(`${bomb.replace('"#"', deep)}\n`);
    line.say(whoAmI('last'));
    await line.answerTo('last');
    for (const id of ['a', 'b', 'c', 'd'])
      expect((await line.answerTo(id)).error).toMatchObject({ code: -32_600 });
    expect(line.heard).toHaveLength(5);
    expect(line.warnings).toHaveLength(9);
  });

  test('given arguments nested too deeply, then the tool says so', async () => {
    const line = open();
    const said = JSON.stringify(request('tools/call', { name: 'list_cells', arguments: '#' }));
    line.input.write(`${said.replace('"#"', deep)}\n`);
    expect(JSON.stringify(await line.answerTo(1))).toContain('the arguments are nested');
  });

  test('given messages cut anywhere, and several in one piece, then each is answered once', async () => {
    const line = open();
    const _meta = envelope({ 'example.org/long': 'é'.repeat(2000) });
    const long = olderRequest('tools/call', { name: 'inject_event', arguments: {}, _meta }, 2);
    const said = [whoAmI(1), long, whoAmI(3)];
    const bytes = Buffer.from(said.map((message) => `${JSON.stringify(message)}\r\n`).join(''));
    for (const byte of bytes) line.input.write(Buffer.of(byte));
    line.input.write(Buffer.concat([bytes, bytes.subarray(0, 10)]));
    line.input.end();
    expect(await line.ended).toEqual({});
    expect(line.heard.map(({ id }) => id)).toEqual([1, 2, 3, 1, 2, 3]);
  });

  test('given answers in another order than the questions, then each has the id of its question', async () => {
    const line = open();
    line.say(slow('slow'), whoAmI('quick'));
    await line.answerTo('quick');
    expect(line.heard.map(({ id }) => id)).toEqual(['quick']);
    line.finish();
    expect((await line.answerTo('slow')).result).toMatchObject({
      structuredContent: { cells: [] },
    });
  });

  test('given something is cancelled, then it is not answered, and nobody waits for it at the end', async () => {
    const line = open();
    line.say(slow(1), slow(2));
    await eventually(() => expect(line.working()).toBe(2));
    const cancelled = { requestId: 1, _meta: envelope() };
    line.say({ jsonrpc: '2.0', method: 'notifications/cancelled', params: cancelled }, whoAmI(3));
    await line.answerTo(3);
    line.finish();
    line.finish();
    await line.answerTo(2);
    line.input.end();
    expect(await line.ended).toEqual({});
    expect(line.heard.map(({ id }) => id)).toEqual([3, 2]);
  });

  test('given subscriptions, then they are acknowledged up to a bound, hear nothing, and are ended with the connection', async () => {
    const line = open();
    const wanted = { notifications: { toolsListChanged: true } };
    for (let id = 0; id < 20; id += 1) line.say(request('subscriptions/listen', wanted, id));
    expect((await line.answerTo(19)).error).toMatchObject({ code: -32_603 });
    expect(line.heard.filter(({ method }) => typeof method === 'string')).toHaveLength(16);
    line.input.end();
    expect(await line.ended).toEqual({});
    expect((await line.answerTo(0)).result).toMatchObject({ resultType: 'complete' });
  });

  test('given answers and notifications that nobody waits for, then nothing comes of them', async () => {
    const line = open();
    line.say({ jsonrpc: '2.0', id: 1, result: {} }, whoAmI(1), {
      jsonrpc: '2.0',
      id: 9,
      result: {},
    });
    line.say({ jsonrpc: '2.0', method: 'notifications/no/such' }, whoAmI(2));
    await line.answerTo(2);
    expect(line.heard.map(({ id }) => id)).toEqual([1, 2]);
  });
});

describe('bounds', () => {
  test('given the input ends, then what is under way is answered first', async () => {
    const line = open();
    line.say(slow(1), slow(1), slow(2));
    line.input.end();
    await eventually(() => expect(line.working()).toBe(3));
    expect(line.heard).toEqual([]);
    for (let answered = 1; answered <= 3; answered += 1) {
      line.finish();
      await eventually(() => expect(line.heard).toHaveLength(answered));
    }
    expect(await line.ended).toEqual({});
  });

  test('given a message that is too long, then what is under way is answered, and it is said why it ends', async () => {
    const line = open();
    line.say(slow(1));
    await eventually(() => expect(line.working()).toBe(1));
    const flood = Buffer.alloc(1 << 20, 'x');
    for (let sent = 0; sent < 6; sent += 1) line.input.write(flood);
    line.finish();
    expect((await line.ended).error?.message).toContain('more than 4194304 bytes');
    expect(line.heard.map(({ id }) => id)).toEqual([1]);
  });

  test('given a message just as long as is taken, then it is answered', async () => {
    const line = open();
    const said = JSON.stringify(
      request('tools/call', { name: 'inject_event', arguments: { a: '' } }),
    );
    line.input.write(`${said.replace('"a":""', `"a":"${'x'.repeat((4 << 20) - said.length)}"`)}\n`);
    expect((await line.answerTo(1)).result).toMatchObject({ isError: true });
  });

  test('given more calls at once than are taken, then those above are told so', async () => {
    const line = open();
    for (let id = 1; id <= 65; id += 1) line.say(slow(id));
    expect((await line.answerTo(65)).error).toMatchObject({
      message: expect.stringMatching(/^BUSY/),
    });
    expect(line.working()).toBe(64);
    line.finish();
    await eventually(() => expect(line.heard).toHaveLength(2));
    line.say(whoAmI(66));
    expect((await line.answerTo(66)).result).toBeDefined();
  });

  test('given a client that asks and does not listen, then no more is read until it does, and all is answered', async () => {
    const line = open({ isRead: false });
    const asked = 5_000;
    let isTaken = true;
    const text = JSON.stringify(request('tools/list'));
    for (let id = 0; id < asked; id += 1)
      isTaken = line.input.write(`${text.replace('"id":1', `"id":${id}`)}\n`);
    line.input.end();
    expect(isTaken).toBe(false);
    await eventually(() => expect(line.input.isPaused()).toBe(true));
    expect(line.input.readableLength + line.input.writableLength).toBeGreaterThan(asked * 100);
    listen(line.output, line.heard);
    expect(await line.ended).toEqual({});
    expect(line.heard).toHaveLength(asked);
  });

  test('given the client is gone, then it ends without an error', async () => {
    const line = open();
    line.output.destroy(new Error('EPIPE'));
    expect(await line.ended).toEqual({});
  });
});

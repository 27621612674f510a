/** The HTTP gateway by real sockets: what is open, what is refused, and what slow or hostile callers cannot do. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openGateway } from '../../bus/gateway.ts';
import type { Gateway, GatewayOptions, HeartbeatPort } from '../../bus/gateway.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { healthView } from '../../machines/heartbeats.ts';
import type { JsonObject } from '../../machines/json.ts';
import { eventually } from '../support/eventually.ts';

const TOKEN = 'a-token-of-this-test-and-of-no-other';
const BEARER = { authorization: `Bearer ${TOKEN}` };

interface Beat {
  agentId: string;
  cellId?: string | undefined;
  metadata?: JsonObject;
  responseTimeMs: number;
}

/** Counts beats, and does what a test asks for. */
class Beats implements HeartbeatPort {
  readonly all: HeartbeatPort['all'] = () => healthView({}, 1000);
  readonly beats: Beat[] = [];
  refusal: RuntimeError | undefined;
  readyWhen: Promise<void> = Promise.resolve();

  ready(): Promise<void> {
    return this.readyWhen;
  }

  beat(agentId: string, input: Omit<Beat, 'agentId'>): { atMs: number; intervalMs: number } {
    if (this.refusal) throw this.refusal;
    this.beats.push({ agentId, ...input });
    return { atMs: 1_700_000_000_250, intervalMs: 30_000 };
  }

  agent(agentId: string): never {
    throw this.refusal ?? new RuntimeError(`there is no agent ${agentId}`, { code: 'NOT_FOUND' });
  }
}

interface Open {
  gateway: Gateway;
  beats: Beats;
  logged: string[];
}

async function open(options: Partial<GatewayOptions> = {}): Promise<Open> {
  const beats = new Beats();
  const logged: string[] = [];
  const note = (_fields: object, message: string): void => void logged.push(message);
  const gateway = await openGateway({
    host: '127.0.0.1',
    port: 0,
    isAskedFor: true,
    token: TOKEN,
    heartbeats: beats,
    verbs: [
      {
        name: 'echo',
        summary: 'Says what it was given.',
        input: { type: 'object' },
        run: (input) => Promise.resolve(input),
      },
      {
        name: 'fail',
        summary: 'Throws what is no RuntimeError.',
        input: { type: 'object' },
        run: () => Promise.reject(new TypeError('a defect')),
      },
    ],
    remoteCommands: () => false,
    trouble: () => undefined,
    log: { info: note, warn: note },
    ...options,
  });
  onTestFinished(() => gateway.close());
  return { gateway, beats, logged };
}

interface Answer {
  status: number;
  headers: Headers;
  body: { error?: { code: string; message: string; hint: string | null }; [more: string]: unknown };
}

async function ask(gateway: Gateway, path: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(`${gateway.url}${path}`, init);
  const body = (await response.json()) as Answer['body'];
  return { status: response.status, headers: response.headers, body };
}

const post = (gateway: Gateway, path: string, body = '', headers = {}): Promise<Answer> =>
  ask(gateway, path, { method: 'POST', body, headers });

/** A connection by hand. */
async function dial(gateway: Gateway): Promise<{ socket: Socket; heard: () => string }> {
  const { hostname, port } = new URL(gateway.url);
  const socket = connect(Number(port), hostname.replace(/[[\]]/g, ''));
  socket.on('error', () => {}); // a cut connection is what these tests are about
  onTestFinished(() => void socket.destroy());
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await once(socket, 'connect');
  return { socket, heard: () => text };
}

describe('heartbeats', () => {
  test('given a first beat without a body, then it is counted and says when the next is due', async () => {
    const { gateway, beats } = await open();
    const { status, body } = await post(gateway, '/heartbeat/agent_001');
    expect(status).toBe(200);
    expect(body).toEqual({
      status: 'ok',
      agent_id: 'agent_001',
      timestamp: 1_700_000_000.25,
      next_heartbeat: 30,
    });
    expect(beats.beats).toMatchObject([{ agentId: 'agent_001' }]);
    expect(beats.beats[0]?.responseTimeMs).toBeGreaterThan(0);
  });

  test.each([
    ['application/x-www-form-urlencoded', 'as curl -d sends it'],
    ['application/json', 'as it should be'],
    ['text/plain', 'as a script does'],
    ['no; media type/;', 'as nobody should'],
  ])('a body is JSON even as %s, %s', async (type) => {
    const { gateway, beats } = await open();
    const body = JSON.stringify({ metadata: { role: 'lead', notes: 'x'.repeat(5000) } });
    const { status } = await post(gateway, '/heartbeat/a?cell=c-1', body, { 'content-type': type });
    expect(status).toBe(200);
    expect(beats.beats).toMatchObject([{ cellId: 'c-1', metadata: { role: 'lead' } }]);
  });

  test('given a body in pieces that the network cut anywhere, then it is whole', async () => {
    const { gateway, beats } = await open();
    const { socket, heard } = await dial(gateway);
    const body = JSON.stringify({ metadata: { name: 'żółw' } });
    const bytes = Buffer.from(body);
    socket.write(
      `POST /heartbeat/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${bytes.length}\r\n\r\n`,
    );
    for (const byte of bytes) {
      socket.write(Buffer.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await eventually(() => expect(heard()).toContain('200 OK'));
    expect(beats.beats[0]?.metadata).toEqual({ name: 'żółw' });
  });

  test.each([
    ['{"a": tru}', 1, 7],
    ['{"a": 1,\n "b": }', 2, 7],
    ['{"metadata": {', 1, 15],
    ['nonsense', 1, 1],
  ])('given %j, then 400 says where: line %i, column %i', async (body, line, column) => {
    const { gateway, beats } = await open();
    const answer = await post(gateway, '/heartbeat/a', body);
    expect(answer.status).toBe(400);
    expect(answer.body.error).toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { line, column },
    });
    expect(beats.beats).toEqual([]);
  });

  test.each(['[]', '"text"', '{"metadata": 5}', '{"metadata": []}', '['.repeat(30_000)])(
    'given a body of another shape, then 400',
    async (body) => {
      const { gateway, beats } = await open();
      expect(await post(gateway, '/heartbeat/a', body)).toMatchObject({ status: 400 });
      expect(beats.beats).toEqual([]);
    },
  );

  test.each([
    ['with its length told', {}],
    ['in chunks', { 'transfer-encoding': 'chunked' }],
  ])('given a huge body %s, then 413 as JSON, and the sender can read it', async (_, headers) => {
    const { gateway, beats } = await open();
    const { socket, heard } = await dial(gateway);
    const size = 8 << 20;
    const isChunked = 'transfer-encoding' in headers;
    const length = isChunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${size}`;
    socket.write(`POST /heartbeat/a HTTP/1.1\r\nHost: localhost\r\n${length}\r\n\r\n`);
    if (isChunked) socket.write(`${size.toString(16)}\r\n`);
    for (let sent = 0; sent < size; sent += 1 << 16) socket.write(Buffer.alloc(1 << 16, 'x'));
    if (isChunked) socket.write('\r\n0\r\n\r\n');
    await eventually(() => expect(heard()).toContain('TOO_LARGE'));
    expect(heard()).toMatch(/^HTTP\/1\.1 413 /);
    // What was left of the body is gone, and the connection serves on.
    socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await eventually(() => expect(heard()).toContain('200 OK'));
    expect(beats.beats).toEqual([]);
  });

  test('given a bound of the registry, then 429; of anything else 503', async () => {
    const { gateway, beats } = await open();
    beats.refusal = new RuntimeError('full', { code: 'BUSY', retryable: true });
    expect(await post(gateway, '/heartbeat/a')).toMatchObject({
      status: 429,
      body: { error: { code: 'BUSY', message: 'full' } },
    });
    expect((await ask(gateway, '/agent/a')).status).toBe(503);
  });

  test('given the ids are not all known yet, then a beat waits until they are', async () => {
    const { gateway, beats } = await open();
    const known = Promise.withResolvers<void>();
    beats.readyWhen = known.promise;
    const beat = post(gateway, '/heartbeat/a');
    await ask(gateway, '/healthz');
    expect(beats.beats).toEqual([]);
    known.resolve();
    expect((await beat).status).toBe(200);
  });
});

describe('who may do what', () => {
  const paths: [string, string, number, number][] = [
    // on loopback, on another address
    ['GET', '/healthz', 200, 200],
    ['GET', '/health', 200, 401],
    ['GET', '/agent/a', 404, 401],
    ['POST', '/heartbeat/a', 200, 401],
    ['GET', '/verbs', 401, 401],
    ['POST', '/verbs/echo', 401, 401],
    ['GET', '/', 401, 401],
    ['DELETE', '/heartbeat/a', 401, 401],
    ['GET', '/agent/../verbs', 401, 401],
    ['POST', '/heartbeat/%2e%2e%2fverbs%2fecho', 200, 401],
  ];
  test.each(paths)('%s %s without the token: %i on loopback', async (method, path, status) => {
    const { gateway } = await open();
    expect((await ask(gateway, path, { method })).status).toBe(status);
  });

  test.each(paths)('%s %s elsewhere', async (method, path, _, status) => {
    const { gateway, logged } = await open({ host: '0.0.0.0' });
    expect(gateway).toMatchObject({ isLoopback: false });
    expect(logged.join()).toContain('can be reached from the network');
    expect((await ask(gateway, path, { method })).status).toBe(status);
  });

  test('the token opens the rest; a wrong one, a shorter one or another scheme does not', async () => {
    const { gateway } = await open();
    expect((await ask(gateway, '/verbs', { headers: BEARER })).body).toMatchObject({
      ok: true,
      result: [{ name: 'echo' }, { name: 'fail' }],
    });
    const wrong = [
      `Bearer ${TOKEN}x`,
      `Bearer ${TOKEN.slice(1)}`,
      'Bearer',
      `Basic ${TOKEN}`,
      TOKEN,
    ];
    for (const authorization of wrong) {
      const { status, headers, body } = await ask(gateway, '/verbs', {
        headers: { authorization },
      });
      expect(status).toBe(401);
      expect(headers.get('www-authenticate')).toBe('Bearer');
      expect(JSON.stringify(body)).not.toContain(TOKEN);
    }
  });

  const hosts: [string, number][] = [
    ['localhost', 200],
    ['LOCALHOST:1', 200],
    ['127.0.0.1:8080', 200],
    ['[::1]:8080', 200],
    ['evil.example', 403],
    ['127.0.0.1.evil.example:8080', 403],
    ['localhost.evil.example', 403],
    ['evil.example@localhost', 403],
    ['', 403],
  ];
  test.each(hosts)('given Host %j (DNS rebinding), then %i', async (host, status) => {
    const { gateway, beats } = await open();
    const { socket, heard } = await dial(gateway);
    socket.write(`POST /heartbeat/a HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 0\r\n\r\n`);
    await eventually(() => expect(heard()).toContain('\r\n\r\n'));
    expect(heard()).toContain(`HTTP/1.1 ${status} `);
    expect(beats.beats).toHaveLength(status === 200 ? 1 : 0);
  });

  test('given a name that was bound to, then it is a Host too', async () => {
    const { gateway } = await open({ host: 'localhost' });
    expect((await ask(gateway, '/health')).status).toBe(200);
  });

  const listed: [string, number][] = [
    ['lazarus:8080', 200],
    ['LAZARUS', 200],
    ['[fe80::1]:8080', 200],
    ['localhost', 200],
    ['lazarus.evil.example', 403],
    ['evil.lazarus', 403],
    ['lazarus@evil.example', 403],
    ['evil.example', 403],
    ['', 403],
  ];
  test.each(listed)(
    'given names that the configuration lists, Host %j: %i',
    async (host, status) => {
      const { gateway, beats } = await open({ allowedHosts: () => ['Lazarus', 'fe80::1'] });
      const { socket, heard } = await dial(gateway);
      socket.write(`POST /heartbeat/a HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 0\r\n\r\n`);
      await eventually(() => expect(heard()).toContain('\r\n\r\n'));
      expect(heard()).toContain(`HTTP/1.1 ${status} `);
      expect(beats.beats).toHaveLength(status === 200 ? 1 : 0);
    },
  );

  test.each([
    ['http://lazarus:8080', 200],
    ['https://lazarus:8080', 200],
    ['https://lazarus', 200], // of a proxy before it
    ['http://lazarus:9090', 403], // another site
    ['https://evil.example', 403],
    ['https://evil.example#lazarus', 403],
    ['https://lazarus.evil.example', 403],
    ['ftp://lazarus', 403],
    ['lazarus', 403],
    ['null', 403],
    ['', 403],
  ])('given a listed name, a page of Origin %j: %i', async (origin, status) => {
    const { gateway, beats } = await open({ allowedHosts: () => ['lazarus'] });
    const { socket, heard } = await dial(gateway);
    const head = `Host: lazarus:8080\r\nOrigin: ${origin}\r\nContent-Length: 0`;
    socket.write(`POST /heartbeat/a HTTP/1.1\r\n${head}\r\n\r\n`);
    await eventually(() => expect(heard()).toContain('\r\n\r\n'));
    expect(heard()).toContain(`HTTP/1.1 ${status} `);
    expect(beats.beats).toHaveLength(status === 200 ? 1 : 0);
  });

  test.each([
    ['http://evil.example', 403],
    ['null', 403],
    ['http://localhost:1', 403],
    ['same', 200],
  ])('given a page of Origin %s, then %i', async (origin, status) => {
    const { gateway, beats } = await open();
    const headers = {
      origin: origin === 'same' ? gateway.url : origin,
      'content-type': 'text/plain',
    };
    expect((await post(gateway, '/heartbeat/a', '{}', headers)).status).toBe(status);
    expect(beats.beats).toHaveLength(status === 200 ? 1 : 0);
  });
});

describe('verbs', () => {
  test('given the token, then a verb answers; one that is not for this door is not there', async () => {
    const { gateway, logged } = await open();
    expect(await post(gateway, '/verbs/echo', '{"cell":"c"}', BEARER)).toMatchObject({
      status: 200,
      body: { ok: true, result: { cell: 'c' } },
    });
    expect(await post(gateway, '/verbs/actor.release', '{}', BEARER)).toMatchObject({
      status: 404,
      body: { error: { code: 'NOT_FOUND' } },
    });
    expect(await post(gateway, '/verbs/fail', '{}', BEARER)).toMatchObject({
      status: 500,
      body: { error: { code: 'INTERNAL', message: 'a defect' } },
    });
    expect(logged).toContain('request failed');
  });

  test('given commands in the input, then they are refused unless the configuration allows them', async () => {
    let allowed = false;
    const { gateway } = await open({ remoteCommands: () => allowed });
    const input = '{"task": {"steps": [{"run": ["id"]}]}}';
    expect(await post(gateway, '/verbs/echo', input, BEARER)).toMatchObject({
      status: 403,
      body: { error: { code: 'FORBIDDEN', message: expect.stringContaining('/task/steps') } },
    });
    allowed = true;
    expect((await post(gateway, '/verbs/echo', input, BEARER)).status).toBe(200);
  });
});

describe('the address', () => {
  test('given a taken port that nobody insists on, then a free one serves and the log says it', async () => {
    const port = await takenPort();
    const { gateway, logged } = await open({ port, isAskedFor: false });
    expect(new URL(gateway.url).port).not.toBe(String(port));
    expect(logged).toEqual(['the port is taken: HTTP is served on a free one']);
    expect((await ask(gateway, '/healthz')).body).toEqual({ status: 'ok' });
  });

  test('given a taken port that was asked for, then opening fails and names it', async () => {
    const port = await takenPort();
    await expect(open({ port })).rejects.toMatchObject({
      code: 'CONFLICT',
      message: expect.stringContaining(`127.0.0.1:${port}`),
    });
  });

  test('given an address of no interface here, then opening fails even when nobody insists', async () => {
    const nowhere = open({ host: '192.0.2.1', isAskedFor: false });
    await expect(nowhere).rejects.toMatchObject({ code: 'CONFLICT' });
  });

  test('given trouble, then /healthz is 503 with the reason', async () => {
    const { gateway } = await open({ trouble: () => 'the node is stopping' });
    expect(await ask(gateway, '/healthz')).toMatchObject({
      status: 503,
      body: { status: 'unavailable', reason: 'the node is stopping' },
    });
  });
});

describe('bounds', () => {
  test('given callers who send their headers by the drop, then each is cut off with 408 and others are served', async () => {
    const { gateway } = await open({ limits: { headersTimeoutMs: 300, requestTimeoutMs: 600 } });
    const slow = await Promise.all(Array.from({ length: 60 }, () => dial(gateway)));
    for (const { socket } of slow) socket.write('GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: ');
    const drip = setInterval(() => slow.forEach(({ socket }) => socket.write('b')), 50);
    onTestFinished(() => clearInterval(drip));
    expect((await ask(gateway, '/health')).status).toBe(200);
    for (const { socket, heard } of slow)
      await eventually(() => {
        expect(heard()).toMatch(/^HTTP\/1\.1 408 /);
        expect(socket.destroyed || socket.readableEnded).toBe(true);
      });
    expect((await ask(gateway, '/health')).status).toBe(200);
  });

  test('given a body that never ends, then its sender is cut off', async () => {
    const { gateway, beats } = await open({
      limits: { headersTimeoutMs: 200, requestTimeoutMs: 400 },
    });
    const { socket, heard } = await dial(gateway);
    socket.write('POST /heartbeat/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"');
    await eventually(() => expect(heard()).toContain('408'));
    expect(beats.beats).toEqual([]);
  });

  test('given more connections than the bound, then the rest is not taken, and later ones are', async () => {
    const { gateway } = await open({ limits: { connections: 4 } });
    const held = await Promise.all(Array.from({ length: 4 }, () => dial(gateway)));
    const fifth = await dial(gateway);
    await eventually(() => expect(fifth.socket.destroyed).toBe(true));
    for (const { socket } of held) socket.destroy();
    await eventually(async () => expect((await ask(gateway, '/healthz')).status).toBe(200));
  });

  test('given more requests in flight than the bound, then 503, and the others are answered', async () => {
    const { gateway, beats } = await open({ limits: { requestsInFlight: 2 } });
    await ask(gateway, '/healthz');
    const known = Promise.withResolvers<void>();
    beats.readyWhen = known.promise;
    const waiting = [post(gateway, '/heartbeat/a'), post(gateway, '/heartbeat/b')];
    await eventually(async () => {
      const third = await ask(gateway, '/healthz');
      expect(third).toMatchObject({ status: 503, body: { error: { code: 'BUSY' } } });
      expect(third.headers.get('retry-after')).toBe('1');
    });
    known.resolve();
    for (const beat of waiting) expect((await beat).status).toBe(200);
    expect((await ask(gateway, '/healthz')).status).toBe(200);
  });

  test.each([
    ['what is no HTTP', 'GARBAGE\r\n\r\n', 400],
    ['headers without end', `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'a'.repeat(40_000)}`, 431],
    ['no Host at all', 'GET /health HTTP/1.1\r\n\r\n', 400],
    ['a CONNECT', 'CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n\r\n', 0],
  ])('given %s, then it is refused', async (_, text, status) => {
    const { gateway } = await open();
    const { socket, heard } = await dial(gateway);
    socket.write(text);
    await eventually(() => expect(socket.destroyed || socket.readableEnded).toBe(true));
    expect(heard()).toMatch(status === 0 ? /^$/ : new RegExp(`^HTTP/1\\.1 ${status} `));
  });

  test('given many agents, then asking for their health again and again costs no more than now and then', async () => {
    const { gateway, beats } = await open();
    let made = 0;
    Object.assign(beats, {
      all: () => {
        made += 1;
        const until = performance.now() + 30;
        while (performance.now() < until); // as long as thousands of agents take
        return healthView({}, made * 1000);
      },
    });
    await Promise.all(Array.from({ length: 20 }, () => ask(gateway, '/health')));
    expect(made).toBeLessThan(20);
    await eventually(async () => {
      const before = made;
      await ask(gateway, '/health');
      expect(made).toBeGreaterThan(before);
    });
  });
});

test('closing answers what is under way, and takes nothing more', async () => {
  const { gateway, beats } = await open();
  const known = Promise.withResolvers<void>();
  beats.readyWhen = known.promise;
  const beat = post(gateway, '/heartbeat/a');
  await ask(gateway, '/healthz');
  const closing = gateway.close();
  known.resolve();
  expect((await beat).status).toBe(200);
  await closing;
  await expect(fetch(`${gateway.url}/healthz`)).rejects.toThrow('fetch failed');
});

/** A port that somebody else listens on. */
async function takenPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

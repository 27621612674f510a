/** The inspector on a real kernel, by real sockets: what watchers get, who may watch, and what they cannot do to the node. */
import { get } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { createMachine } from 'xstate';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Kernel } from '../../actors/kernel.ts';
import { InspectorAccess } from '../../bus/inspector-access.ts';
import { eventually } from '../support/eventually.ts';
import { receive, refusal, serveInspector, TOKEN, watch } from '../support/inspector.ts';
import type { Frame, Served } from '../support/inspector.ts';
import { counterAddress, openKernel } from '../support/kernel.ts';
import type { KernelFixture } from '../support/kernel.ts';

let fixture: KernelFixture;
let kernel: Kernel;
beforeEach(async () => {
  fixture = await openKernel({ limits: { burst: 1e6, softBound: 1e6 } });
  ({ kernel } = fixture);
});
afterEach(() => fixture.dispose());

const spawn = (address: string): Promise<unknown> =>
  kernel.system.spawn(address, 'counter', { self: address });
const spawnMany = async (count: number): Promise<string[]> => {
  const addresses = Array.from({ length: count }, (_, n) => counterAddress(n));
  await Promise.all(addresses.map(spawn));
  return addresses;
};
const add = (address: string, n = 1): Promise<unknown> =>
  kernel.system.send(address, { type: 'add', n });
const session = (address: string): string => `${address}@${kernel.system.epoch}`;
const followers = (): number => kernel.system.listenerCount('committed');

describe('what a watcher sees', () => {
  test('every actor with its definition, its state and its place in the tree, then events and states as they come', async () => {
    const served = await serveInspector(kernel);
    await spawn('cell/a');
    await spawn('cell/a/agent/lead');
    await spawn('system/lazarus/a/lead');
    const watching = await watch(served);
    await eventually(() => expect(watching.sessions).toHaveLength(3));
    const [cell, lead, lazarus] = ['cell/a', 'cell/a/agent/lead', 'system/lazarus/a/lead'].map(
      (address) => watching.of(session(address), '@xstate.actor')[0],
    );
    expect(cell).toMatchObject({ name: 'cell/a', rootId: session('cell/a'), _version: '0.7.2' });
    expect(cell?.parentId).toBeUndefined();
    for (const child of [lead, lazarus])
      expect(child).toMatchObject({ parentId: session('cell/a'), rootId: session('cell/a') });
    const config = JSON.parse(cell?.definition ?? '') as Parameters<typeof createMachine>[0];
    expect(Object.keys(createMachine(config).states)).toEqual([
      'idle',
      'working',
      'sleeping',
      'napping',
    ]);
    expect(watching.state(session('cell/a'))).toMatchObject({
      status: 'active',
      value: 'idle',
      context: { total: 0 },
    });
    await add('cell/a', 5);
    await kernel.system.send('cell/a', { type: 'sleep', ms: 60_000 });
    await eventually(() =>
      expect(watching.state(session('cell/a'))).toMatchObject({
        value: 'sleeping',
        context: { total: 5 },
        children: { timer: { src: 'waitUntil', input: { up: expect.any(Number) } } },
      }),
    );
    const events = watching.of(session('cell/a'), '@xstate.event').map(({ event }) => event);
    expect(events).toEqual([
      { type: 'add', n: 5 },
      { type: 'sleep', ms: 60_000 },
    ]);
  });

  test('the official receiver sees the same, by the URL with the token', async () => {
    const served = await serveInspector(kernel);
    await spawnMany(20);
    const frames = receive(`${served.inspector.url}?token=${TOKEN}`);
    const sessions = (): string[] =>
      frames.flatMap(({ type, sessionId }) => (type === '@xstate.actor' ? [sessionId] : []));
    await eventually(() => expect(sessions()).toHaveLength(20));
    expect(new Set(sessions()).size).toBe(20);
    await add(counterAddress(7), 3);
    const last = (): Frame | undefined =>
      frames.findLast(({ sessionId }) => sessionId === session(counterAddress(7)));
    await eventually(() => expect(last()?.snapshot?.context).toMatchObject({ total: 3 }));
  });

  test('1,000 actors: who comes late sees them all as they are, introduced before anything else of them', async () => {
    const served = await serveInspector(kernel);
    const addresses = await spawnMany(1000);
    await add(addresses[3] ?? '', 42);
    const watching = await watch(served);
    await eventually(() => expect(watching.sessions).toHaveLength(1000), { timeoutMs: 20_000 });
    expect(new Set(watching.sessions)).toEqual(new Set(addresses.map(session)));
    await eventually(() =>
      expect(watching.state(session(addresses[999] ?? ''))).toMatchObject({ value: 'idle' }),
    );
    expect(watching.state(session(addresses[3] ?? ''))?.context).toMatchObject({ total: 42 });
    const introduced = new Set<string>();
    for (const { type, sessionId } of watching.frames)
      if (type === '@xstate.actor') introduced.add(sessionId);
      else expect(introduced).toContain(sessionId);
    await kernel.halt(); // a clean stop would write 1,000 checkpoints
  });

  test('actors that sleep are shown as they are, and go on sleeping', async () => {
    const served = await serveInspector(kernel);
    const addresses = await spawnMany(20);
    await add(addresses[3] ?? '', 42);
    const awake = (): string[] =>
      [...kernel.system.actors.values()].flatMap((a) => (a.resident ? [a.address] : []));
    await eventually(async () => {
      await kernel.passivateIdle();
      expect(awake()).toEqual([]);
    });
    const watching = await watch(served);
    await eventually(() => expect(watching.sessions).toHaveLength(20));
    expect(watching.state(session(addresses[3] ?? ''))?.context).toMatchObject({ total: 42 });
    expect(awake()).toEqual([]);
  });

  test('an actor that is born, stops, and is born again under its name', async () => {
    const served = await serveInspector(kernel);
    const watching = await watch(served);
    await eventually(() => expect(served.inspector.counts.watchers).toBe(1));
    await spawn('cell/a');
    await add('cell/a', 2);
    await kernel.system.stop('cell/a', 'its folder is gone');
    await eventually(() =>
      expect(watching.state(session('cell/a'))).toMatchObject({
        status: 'stopped',
        context: { total: 2 },
      }),
    );
    const events = (): string[] =>
      watching.of(session('cell/a'), '@xstate.event').map(({ event }) => event?.type ?? '');
    await eventually(() => expect(events()).toEqual(['actor.spawned', 'add', 'actor.stopped']));
    await spawn('cell/a');
    await eventually(() =>
      expect(watching.state(session('cell/a'))).toMatchObject({
        status: 'active',
        context: { total: 0 },
      }),
    );
    expect(watching.sessions).toEqual([session('cell/a'), session('cell/a')]);
  });

  test('an actor that cannot be read is shown as held, with the reason', async () => {
    const served = await serveInspector(kernel);
    await spawn('cell/a');
    const watching = await watch(served);
    await eventually(() => expect(watching.sessions).toHaveLength(1));
    const actor = kernel.system.actors.get('cell/a');
    if (actor === undefined) throw new Error('nobody there');
    await kernel.system.settled();
    actor.resident = undefined;
    kernel.system.holdActor(actor, { code: 'JOURNAL_CORRUPT', reason: 'records are missing' });
    await eventually(() =>
      expect(watching.state(session('cell/a'))).toMatchObject({
        status: 'error',
        error: { message: expect.stringContaining('records are missing') },
      }),
    );
  });

  test('an event that its machine refused says so', async () => {
    const served = await serveInspector(kernel);
    await spawn('cell/a');
    const watching = await watch(served);
    await eventually(() => expect(watching.sessions).toHaveLength(1));
    await expect(kernel.system.send('cell/a', { type: 'boom' })).rejects.toThrow('boom');
    await eventually(() =>
      expect(watching.of(session('cell/a'), '@xstate.event').at(-1)?.event).toEqual({
        type: 'boom',
        refused: 'boom',
      }),
    );
  });

  test('an event that another actor sent names it', async () => {
    const served = await serveInspector(kernel);
    await Promise.all([spawn('cell/a'), spawn('cell/b')]);
    const watching = await watch(served);
    await eventually(() => expect(watching.sessions).toHaveLength(2));
    await kernel.system.send('cell/a', { type: 'forward', to: 'cell/b', n: 2 });
    await eventually(() =>
      expect(watching.of(session('cell/b'), '@xstate.event').at(-1)).toMatchObject({
        sourceId: session('cell/a'),
        event: { type: 'add', n: 2 },
      }),
    );
    expect(watching.of(session('cell/a'), '@xstate.event').at(-1)?.sourceId).toBeUndefined();
  });

  test('a new life of the node has sessions of its own', async () => {
    await spawn('cell/a');
    const first = session('cell/a');
    kernel = await fixture.reopen('clean');
    expect(session('cell/a')).not.toBe(first);
    const watching = await watch(await serveInspector(kernel));
    await eventually(() => expect(watching.sessions).toEqual([session('cell/a')]));
  });
});

describe('what it costs', () => {
  test('nothing is followed while nobody watches', async () => {
    const before = followers();
    const { inspector } = await serveInspector(kernel);
    await spawnMany(10);
    expect(followers()).toBe(before);
    const first = await watch({ inspector });
    const second = await watch({ inspector });
    await eventually(() => expect(followers()).toBe(before + 1));
    first.socket.close();
    await eventually(() => expect(inspector.counts.watchers).toBe(1));
    expect(followers()).toBe(before + 1);
    second.socket.close();
    await eventually(() => expect(followers()).toBe(before));
    expect(kernel.system.listenerCount('held')).toBe(0);
  });

  test('a burst of one actor is one snapshot in a while, and the last one is right', async () => {
    const served = await serveInspector(kernel);
    await spawn('cell/a');
    const watching = await watch(served);
    await eventually(() => expect(watching.sessions).toHaveLength(1));
    await Promise.all(Array.from({ length: 1000 }, () => add('cell/a')));
    await eventually(() =>
      expect(watching.state(session('cell/a'))?.context).toMatchObject({ total: 1000 }),
    );
    expect(watching.of(session('cell/a'), '@xstate.snapshot').length).toBeLessThan(100);
    await eventually(() =>
      expect(watching.of(session('cell/a'), '@xstate.event')).toHaveLength(1000),
    );
  });

  test('given more events than can be shown, then some are left out, counted and told, and the states are right', async () => {
    const { inspector } = await serveInspector(kernel);
    const addresses = await spawnMany(50);
    const watching = await watch({ inspector });
    await eventually(() => expect(watching.sessions).toHaveLength(50));
    for (let round = 0; round < 20; round += 1)
      await Promise.all(Array.from({ length: 2000 }, (_, i) => add(addresses[i % 50] ?? '')));
    await eventually(
      () => {
        for (const address of addresses)
          expect(watching.state(session(address))?.context).toMatchObject({ total: 800 });
      },
      { timeoutMs: 20_000 },
    );
    await add(addresses[0] ?? '');
    await eventually(() => {
      const events = watching.frames.filter(({ type }) => type === '@xstate.event');
      const told = events.flatMap(({ event }) =>
        event?.type === 'inspector.skipped' ? [Number(event['count'])] : [],
      );
      const skipped = told.reduce((sum, n) => sum + n, 0);
      expect(events.length - told.length + skipped).toBe(40_001);
      expect(inspector.counts.skipped_events).toBe(skipped);
      expect(skipped).toBeGreaterThan(0);
    });
  });

  test('a watcher that never reads gets a bounded amount, and is dropped with a reason; others go on', async () => {
    const limits = { paceBytes: 64 << 10, patienceMs: 1000 };
    const { inspector, logged } = await serveInspector(kernel, { limits });
    const addresses = await spawnMany(200);
    const good = await watch({ inspector });
    const deaf = await watch({ inspector });
    (deaf.socket as unknown as { _socket: { pause(): void } })._socket.pause();
    const note = 'n'.repeat(900);
    const over = new AbortController();
    const load = (async () => {
      while (!over.signal.aborted)
        await Promise.all(
          addresses.map((address) => kernel.system.send(address, { type: 'add', n: 1, note })),
        );
    })();
    onTestFinished(() => over.abort());
    await eventually(() => expect(inspector.counts.dropped).toBe(1), { timeoutMs: 30_000 });
    over.abort();
    await load;
    expect(inspector.counts.last_drop).toMatch(/^it does not read: \d+ bytes wait for it$/);
    const waiting = Number(/\d+/.exec(inspector.counts.last_drop ?? '')?.[0]);
    expect(waiting).toBeLessThan(1 << 20);
    expect(logged.join()).toContain('a watcher of the inspector was dropped');
    await eventually(() => expect(inspector.counts.watchers).toBe(1));
    const seen = good.frames.length;
    await add(addresses[0] ?? '');
    await eventually(() => expect(good.frames.length).toBeGreaterThan(seen));
  }, 60_000);

  test('a watcher that does not answer pings is dropped, though nothing happens', async () => {
    const { inspector } = await serveInspector(kernel, { limits: { pingMs: 50 } });
    const deaf = await watch({ inspector });
    const good = await watch({ inspector });
    (deaf.socket as unknown as { _socket: { pause(): void } })._socket.pause();
    await eventually(() => expect(inspector.counts.dropped).toBe(1));
    expect(inspector.counts.last_drop).toMatch(/did not answer/);
    expect(good.socket.readyState).toBe(good.socket.OPEN);
  });

  test('a watcher that talks, or sends much at once, is dropped', async () => {
    const { inspector } = await serveInspector(kernel);
    const talks = await watch({ inspector });
    for (let i = 0; i < 200; i += 1) talks.socket.send('hello');
    expect(await talks.closed).toMatchObject({ code: 1008 });
    const shouts = await watch({ inspector });
    shouts.socket.on('error', () => undefined);
    shouts.socket.send('x'.repeat(1 << 20));
    expect((await shouts.closed).code).not.toBe(1005);
    await eventually(() => expect(inspector.counts.watchers).toBe(0));
  });

  test('no more watchers than the bound', async () => {
    const served = await serveInspector(kernel, { limits: { watchers: 2 } });
    await watch(served);
    await watch(served);
    expect(await refusal(served, { authorization: `Bearer ${TOKEN}` })).toMatchObject({
      status: 503,
      code: 'BUSY',
    });
  });

  test('a stop says goodbye', async () => {
    const served = await serveInspector(kernel);
    const watching = await watch(served);
    await served.inspector.close();
    expect(await watching.closed).toEqual({ code: 1001, reason: 'the node stops' });
    expect((await refusal(served, { authorization: `Bearer ${TOKEN}` })).status).toBe(404);
  });
});

describe('who may watch', () => {
  const bearer = { authorization: `Bearer ${TOKEN}` };
  let served: Served;
  beforeEach(async () => {
    served = await serveInspector(kernel);
  });

  test.each([
    ['nothing', {}, ''],
    ['a wrong token', { authorization: `Bearer ${TOKEN}x` }, ''],
    ['a wrong token in the URL', {}, `?token=${TOKEN.slice(1)}`],
    ['a wrong ticket', {}, '?ticket=abc'],
    ['a wrong cookie', { cookie: 'lazarus_inspect_1=abc' }, ''],
    ['a wrong subprotocol', { 'sec-websocket-protocol': 'bearer.abc' }, ''],
    ['nothing, from stately.ai', { origin: 'https://stately.ai' }, ''],
  ])('given %s, then 401', async (_, headers, query) => {
    const { status, code, text } = await refusal(served, headers, query);
    expect([status, code]).toEqual([401, 'UNAUTHORIZED']);
    expect(text).not.toContain(TOKEN.slice(1));
  });

  test.each([
    'http://evil.example',
    'null',
    'http://localhost:1',
    'https://stately.ai.evil.example',
  ])('given the Origin %s, then 403, token or not', async (origin) => {
    expect(await refusal(served, { ...bearer, origin })).toMatchObject({
      status: 403,
      code: 'FORBIDDEN',
    });
  });

  test('given another Host (DNS rebinding), then 403', async () => {
    expect(await refusal(served, { ...bearer, host: 'evil.example' })).toMatchObject({
      status: 403,
    });
  });

  test('the token opens in a header, in the URL, and as a subprotocol; the page and stately.ai may come with it', async () => {
    await watch(served);
    await watch(served, {}, { query: `?token=${TOKEN}` });
    const protocols = ['lazarus.inspect', `bearer.${TOKEN}`];
    const { socket } = await watch(served, {}, { protocols });
    expect(socket.protocol).toBe('lazarus.inspect');
    await watch(served, { ...bearer, origin: served.gateway.url });
    await watch(served, { ...bearer, origin: 'https://stately.ai' });
    expect(served.logged.join()).not.toContain(TOKEN);
  });

  const ticketFor = async (headers: Record<string, string>): Promise<Response> =>
    fetch(`${served.inspector.url}/ticket`, { method: 'POST', headers });

  test('a ticket costs the token, opens the page once, and the page may be loaded again and may watch', async () => {
    expect((await ticketFor({})).status).toBe(401);
    expect((await ticketFor({ ...bearer, origin: 'http://evil.example' })).status).toBe(403);
    const { ticket } = (await (await ticketFor(bearer)).json()) as { ticket: string };
    const link = `${served.inspector.url}?ticket=${ticket}`;
    const entered = await fetch(link, { redirect: 'manual' });
    expect([entered.status, entered.headers.get('location')]).toEqual([303, '/inspect']);
    const [set = ''] = entered.headers.getSetCookie();
    expect(set).toMatch(/HttpOnly; SameSite=Lax/);
    const cookie = set.split(';')[0] ?? '';
    expect((await fetch(link)).status).toBe(401);
    expect((await fetch(served.inspector.url, { headers: { cookie } })).status).toBe(200);
    await watch(served, { cookie, origin: served.gateway.url });
    const strange = { cookie, origin: 'https://stately.ai' };
    expect(await refusal(served, strange)).toMatchObject({ status: 401 });
  });

  test('a ticket opens a socket too, once', async () => {
    const { ticket } = (await (await ticketFor(bearer)).json()) as { ticket: string };
    await watch(served, {}, { query: `?ticket=${ticket}` });
    expect(await refusal(served, {}, `?ticket=${ticket}`)).toMatchObject({ status: 401 });
  });

  test('the page has a cookie that outlives the node, not the token, and that nobody else can make', async () => {
    const page = await fetch(served.inspector.url, { headers: bearer });
    const [cookie = ''] = (page.headers.getSetCookie()[0] ?? '').split(';');
    const { port } = new URL(served.gateway.url);
    const [name = '', value = ''] = cookie.split('=');
    expect(name).toBe(`lazarus_inspect_${port}`);
    const as = (token: string): InspectorAccess =>
      new InspectorAccess({ token, isNetwork: false, names: served.gateway.names });
    const request = (given: string) =>
      ({
        headers: { cookie: `${name}=${given}`, host: `127.0.0.1:${port}` },
        socket: { localPort: Number(port) },
        url: '/inspect',
      }) as unknown as IncomingMessage;
    const [ends = '', signature = ''] = value.split('.');
    const later = String(Number(ends) + 1000);
    expect(() => as(TOKEN).checkWatcher(request(value))).not.toThrow();
    expect(() => as(`${TOKEN}x`).checkWatcher(request(value))).toThrow(/token/);
    for (const forged of [`${later}.${signature}`, ends, `${ends}.`, `.${signature}`, signature])
      expect(() => as(TOKEN).checkWatcher(request(forged)), forged).toThrow(/token/);
    vi.useFakeTimers({ now: Number(ends) + 1, toFake: ['Date'] });
    onTestFinished(() => void vi.useRealTimers());
    expect(() => as(TOKEN).checkWatcher(request(value))).toThrow(/token/);
  });

  test('the page holds no script, style or handler of its own, and its policy allows none; what it loads is files of ours', async () => {
    const page = await fetch(served.inspector.url, { headers: bearer });
    const html = await page.text();
    expect(html).not.toMatch(/<style|<script(?![^>]* src=)|\son\w+=|javascript:/i);
    expect(html).not.toContain(TOKEN);
    const policy = page.headers.get('content-security-policy') ?? '';
    for (const rule of [
      `default-src 'none'`,
      `script-src 'self'`,
      `style-src 'self'`,
      `frame-ancestors 'none'`,
      `require-trusted-types-for 'script'`,
    ])
      expect(policy.split('; ')).toContain(rule);
    expect(policy).not.toMatch(/unsafe|\*|data:|blob:/);
    expect(page.headers.get('cache-control')).toBe('no-store');
    const named = [...html.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, path = '']) => path);
    const loaded = named.filter((path) => path !== '#main');
    expect(loaded).toHaveLength(3);
    for (const path of loaded) {
      const file = await fetch(new URL(path, served.gateway.url), { headers: bearer });
      expect([file.status, file.headers.get('x-content-type-options')]).toEqual([200, 'nosniff']);
      expect(file.headers.get('content-type')).toMatch(/^(?:text\/(?:css|javascript)|image\/svg)/);
      expect((await fetch(new URL(path, served.gateway.url))).status).toBe(401);
    }
  });

  test.each([
    'index.html',
    'nothing.js',
    '',
    '..%2finspector.ts',
    '%2e%2e/inspector.ts',
    '../inspector.ts',
  ])('below the page there is no %j', async (path) => {
    const { hostname, port } = new URL(served.gateway.url);
    const target = { hostname, port, path: `/inspect/page/${path}`, headers: bearer };
    const status = await new Promise((resolve, reject) => {
      get(target, (response) => resolve(response.resume().statusCode)).once('error', reject);
    });
    expect(status).toBe(404);
  });

  test('a browser without a ticket is told what to do; anything else there is not found', async () => {
    const page = await fetch(served.inspector.url, { headers: { accept: 'text/html,*/*' } });
    expect([page.status, await page.text()]).toEqual([401, expect.stringContaining('inspect')]);
    expect((await fetch(`${served.inspector.url}/x`, { headers: bearer })).status).toBe(404);
    expect((await fetch(served.inspector.url, { method: 'PUT', headers: bearer })).status).toBe(
      404,
    );
  });

  test('a wish for another protocol elsewhere is passed over, as before', async () => {
    const { hostname, port } = new URL(served.gateway.url);
    const answer = await new Promise<string>((resolve, reject) => {
      void import('node:net').then(({ connect }) => {
        const socket = connect(Number(port), hostname, () =>
          socket.write(
            'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n',
          ),
        );
        onTestFinished(() => void socket.destroy());
        socket.once('data', (data) => resolve(data.toString()));
        socket.once('error', reject);
      });
    });
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  });
});

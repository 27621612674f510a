/** The Redis bridge against a real server: what comes over, in which order, and what does not. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { REDIS_BRIDGE, REDIS_GROUP, REDIS_STREAM } from '../../actors/redis-door.ts';
import type { JsonObject } from '../../machines/json.ts';
import { eventually } from '../support/eventually.ts';
import { published, startBridge } from '../support/redis-bridge.ts';
import { startRedis } from '../support/redis-server.ts';

const upTo = (last: number): number[] => Array.from({ length: last }, (_, n) => n);

describe('the channels', () => {
  test('given both shapes on both channels, then each is one committed event with the text as it came', async () => {
    const redis = await startRedis();
    const bridge = await startBridge({ url: redis.url });
    await bridge.is('up');
    const client = await redis.client();
    const texts = [
      '{"type": "service_unhealthy", "node": "piha", "service": "mosquitto", "severity": "error", "timestamp": 1764000000}',
      '{"event_type":"node_offline","node":"vps","details":{"last_seen":"2026-01-01T00:00:00Z"}}',
    ];
    await client.publish('health_events', texts[0] ?? '');
    await client.publish('world_updates', texts[1] ?? '');
    await bridge.took(2);
    const [health, world] = bridge.of('bridge.heard');
    expect(health).toMatchObject({
      channel: 'health_events',
      host: 'piha',
      service: 'mosquitto',
      original: texts[0],
      event: {
        type: 'service_unhealthy',
        at: '2025-11-24T16:00:00.000Z',
        data: { severity: 'error' },
      },
    });
    expect(world).toMatchObject({
      channel: 'world_updates',
      host: 'vps',
      service: 'vps',
      original: texts[1],
      event: { type: 'node_offline', source: 'redis:world_updates' },
    });
    expect(health?.id).toMatch(/^redis:health_events:[0-9a-f-]{36}\.\d+:\d+$/);
    expect(health?.id).not.toBe(world?.id);
    expect(bridge.status).toMatchObject({ state: 'up', heard: 2, refused: 0, gaps: 0, dropped: 0 });
    const file = JSON.parse(readFileSync(bridge.test.node.layout.node, 'utf8')) as JsonObject;
    expect(file['redis']).toBe(`redis://127.0.0.1:${redis.port}/0`);
  });

  test('given 2,000 messages of many services, then their order is kept', async () => {
    const redis = await startRedis();
    const bridge = await startBridge({ url: redis.url });
    await bridge.is('up');
    const client = await redis.client();
    await Promise.all(
      upTo(2000).map((n) =>
        client.publish(
          n % 3 === 0 ? 'world_updates' : 'health_events',
          published(n, { service: `s${n % 7}` }),
        ),
      ),
    );
    await bridge.took(2000);
    expect(bridge.numbers()).toEqual(upTo(2000));
  });

  test('given an id of its own comes again, then the event counts once, and the second is shown', async () => {
    const redis = await startRedis();
    const bridge = await startBridge({ url: redis.url });
    await bridge.is('up');
    const client = await redis.client();
    for (const id of ['e1', 'e1', 'e2'])
      await client.publish('health_events', published(1, { id }));
    await bridge.took(2);
    expect(bridge.of('bridge.heard').map(({ id }) => id)).toEqual(['e1', 'e2']);
    expect(bridge.status).toMatchObject({ heard: 2, duplicates: 1 });
  });
});

describe('messages that nobody can use', () => {
  const deep = `${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}`;
  const bad: [string, Buffer, RegExp, 'utf8' | 'base64'][] = [
    ['no JSON', Buffer.from('service down'), /no JSON/, 'utf8'],
    ['empty', Buffer.from(''), /no JSON/, 'utf8'],
    ['no UTF-8', Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), /no UTF-8/, 'base64'],
    ['zeros', Buffer.alloc(500), /no JSON/, 'utf8'],
    ['no node', Buffer.from('{"type":"t"}'), /no node/, 'utf8'],
    ['deeply nested', Buffer.from(`{"type":"t","node":"h","payload":${deep}}`), /nested/, 'utf8'],
    ['only brackets', Buffer.from('['.repeat(1_000_000)), /no JSON/, 'utf8'],
    ['over 1 MB', Buffer.from(published(1, { x: 'é'.repeat(600_000) })), /bytes/, 'utf8'],
    ['over 1 MB, no UTF-8', Buffer.alloc(1_100_000, 0xff), /bytes/, 'base64'],
    ['a number beyond range', Buffer.from('{"type":"t","node":"h","n":1e999}'), /beyond/, 'utf8'],
    ['commands', Buffer.from('*1\r\n$8\r\nFLUSHALL\r\n'), /no JSON/, 'utf8'],
    ['a name with a line end', Buffer.from(published(1, { node: 'a\u0000b\n' })), /node/, 'utf8'],
  ];

  test('are dead letters with the reason, bounded, on channels and stream alike; the next good one passes', async () => {
    const redis = await startRedis();
    const client = await redis.client();
    await client.xAdd(REDIS_STREAM, '*', { old: 'one' }); // so that the group is made
    const bridge = await startBridge({ url: redis.url });
    await bridge.is('up');
    await bridge.is('up', 'stream');
    let taken = 0;
    for (const [name, raw, reason, encoding] of bad) {
      await client.sendCommand(['PUBLISH', 'health_events', raw]);
      await client.publish('health_events', published(1));
      await client.sendCommand(['XADD', REDIS_STREAM, '*', 'data', raw]);
      await bridge.took((taken += 3));
      const refused = bridge.of('bridge.refused').slice(-2);
      expect(refused, name).toHaveLength(2);
      for (const event of refused) {
        expect(event.reason, name).toMatch(reason);
        expect(event.encoding, name).toBe(encoding);
        expect(event.raw.length, name).toBeLessThan(24_000);
      }
      const onChannel = refused.find(({ channel }) => channel === 'health_events');
      expect(onChannel?.bytes, name).toBe(raw.length);
      const given = Buffer.from(onChannel?.raw ?? '', encoding);
      expect(raw.subarray(0, given.length).equals(given), name).toBe(true);
    }
    expect(bridge.context).toMatchObject({ heard: bad.length, refused: 2 * bad.length });
    expect(bridge.status['state']).toBe('up');
    const said = bridge.logged.filter(([message]) => message === 'malformed_message');
    expect(said).toHaveLength(1); // a flood of them is no flood of the log
  });

  test('a stream entry with hostile fields changes nothing but the count', async () => {
    const redis = await startRedis();
    const bridge = await startBridge({ url: redis.url });
    await bridge.is('up');
    await bridge.is('absent', 'stream');
    const client = await redis.client();
    const names = ['__proto__', 'constructor', 'type', 'toString', 'node'];
    const fields = names.flatMap((name) => [name, 'x']);
    await client.sendCommand(['XADD', REDIS_STREAM, '*', ...fields, 'type', 'second']);
    await bridge.took(1);
    expect(bridge.of('bridge.heard')[0]?.event).toMatchObject({
      type: 'second',
      data: { host: 'x' },
    });
  });
});

describe('the stream', () => {
  const add = (n: number): [string, string, object] => [REDIS_STREAM, '*', { data: published(n) }];

  test('given it appears while the bridge runs, then all of it is heard in order and acknowledged', async () => {
    const redis = await startRedis();
    const bridge = await startBridge({ url: redis.url });
    await bridge.is('up');
    await bridge.is('absent', 'stream');
    const client = await redis.client();
    expect(await client.exists(REDIS_STREAM)).toBe(0); // it is not made by us
    const ids = await Promise.all(
      upTo(1500).map((n) => client.xAdd(...(add(n) as [string, string, Record<string, string>]))),
    );
    await bridge.took(1500);
    expect(bridge.numbers()).toEqual(upTo(1500));
    expect(bridge.of('bridge.heard').map(({ id }) => id)).toEqual(
      ids.map((id) => `redis:${REDIS_STREAM}:${id}`),
    );
    expect(bridge.context.streams).toEqual({ [REDIS_STREAM]: ids.at(-1) });
    await eventually(async () => {
      const pending = await client.xPending(REDIS_STREAM, REDIS_GROUP);
      expect(pending.pending).toBe(0);
    });
  });

  test('given it appears while the connection is lost, then all of it is heard', async () => {
    const redis = await startRedis();
    const bridge = await startBridge({ url: redis.url });
    await bridge.is('up');
    await bridge.is('absent', 'stream');
    const client = await redis.client();
    await client
      .multi()
      .addCommand(['CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'])
      .xAdd(REDIS_STREAM, '*', { data: published(1) })
      .xAdd(REDIS_STREAM, '*', { data: published(2) })
      .exec();
    await client.xAdd(REDIS_STREAM, '*', { data: published(3) });
    await bridge.took(3);
    expect(bridge.numbers()).toEqual([1, 2, 3]);
  });

  test('given it was there before anybody read it, then what is old stays old', async () => {
    const redis = await startRedis();
    const client = await redis.client();
    await client.xAdd(REDIS_STREAM, '*', { data: published(1) });
    const bridge = await startBridge({ url: redis.url });
    await bridge.is('up', 'stream');
    await client.xAdd(REDIS_STREAM, '*', { data: published(2) });
    await bridge.took(1);
    expect(bridge.numbers()).toEqual([2]);
  });

  test('given entries come while the node is down, then they are heard at the next start; those trimmed away are counted', async () => {
    const redis = await startRedis();
    const client = await redis.client();
    const first = await startBridge({ url: redis.url });
    await first.is('up');
    await first.is('absent', 'stream');
    await client.xAdd(REDIS_STREAM, '*', { data: published(0) });
    await first.took(1);
    await first.test.stop();
    for (let n = 1; n <= 10; n += 1) await client.xAdd(REDIS_STREAM, '*', { data: published(n) });
    await client.xTrim(REDIS_STREAM, 'MAXLEN', 4);
    const second = await startBridge({ url: redis.url, missions: first.test.missions });
    await second.took(5);
    expect(second.numbers()).toEqual([7, 8, 9, 10]);
    const lost = second.of('bridge.gap').filter(({ channel }) => channel === REDIS_STREAM);
    expect(lost).toMatchObject([{ dropped: 6, reason: /removed/ }]);
  });

  test('given it is removed and made anew with smaller ids, then it is read from its beginning', async () => {
    const redis = await startRedis();
    const client = await redis.client();
    const bridge = await startBridge({ url: redis.url });
    await bridge.is('up');
    await bridge.is('absent', 'stream');
    await client.xAdd(REDIS_STREAM, '5000-1', { data: published(1) });
    await bridge.took(1);
    await client.del(REDIS_STREAM);
    await client.xAdd(REDIS_STREAM, '7-1', { data: published(2) });
    await client.xAdd(REDIS_STREAM, '7-2', { data: published(3) });
    await bridge.took(3);
    expect(bridge.numbers()).toEqual([1, 2, 3]);
    expect(bridge.context.streams).toEqual({ [REDIS_STREAM]: '7-2' });
  });

  test('given only its group is removed, then nothing is heard twice and nothing is missed', async () => {
    const redis = await startRedis();
    const client = await redis.client();
    const bridge = await startBridge({ url: redis.url });
    await bridge.is('up');
    await bridge.is('absent', 'stream');
    for (const n of [1, 2]) await client.xAdd(REDIS_STREAM, '*', { data: published(n) });
    await bridge.took(2);
    await client
      .multi()
      .xGroupDestroy(REDIS_STREAM, REDIS_GROUP)
      .xAdd(REDIS_STREAM, '*', { data: published(3) })
      .exec();
    await bridge.took(3);
    expect(bridge.numbers()).toEqual([1, 2, 3]);
  });

  test('given a consumer died with entries in hand, then they are taken over once, over a restart too', async () => {
    const redis = await startRedis();
    const client = await redis.client();
    await client.xGroupCreate(REDIS_STREAM, REDIS_GROUP, '0', { MKSTREAM: true });
    for (const n of [1, 2, 3]) await client.xAdd(REDIS_STREAM, '*', { data: published(n) });
    const read = [{ key: REDIS_STREAM, id: '>' }];
    await client.xReadGroup(REDIS_GROUP, 'ghost', read, { COUNT: 2 });
    const door = { stream: { idleMs: 0 } };
    const first = await startBridge({ url: redis.url, door });
    await first.took(3);
    expect(
      first
        .numbers()
        .map(Number)
        .toSorted((a, b) => a - b),
    ).toEqual([1, 2, 3]);
    await first.test.stop();
    expect((await client.xPending(REDIS_STREAM, REDIS_GROUP)).pending).toBe(0);
    const second = await startBridge({ url: redis.url, door, missions: first.test.missions });
    await client.xAdd(REDIS_STREAM, '*', { data: published(4) });
    await second.took(4);
    expect(second.numbers()).toEqual([4]);
  });

  test('given the key is no stream, then the status says so and the channels go on', async () => {
    const redis = await startRedis();
    const client = await redis.client();
    await client.set(REDIS_STREAM, 'a text');
    const bridge = await startBridge({ url: redis.url });
    await bridge.is('up');
    await client.publish('health_events', published(1));
    await bridge.took(1);
    expect(bridge.status['stream']).toMatchObject({ state: 'down', reason: /WRONGTYPE/ });
  });
});

describe('local subscribers', () => {
  const LISTENER = 'system/listener';
  const subscribe = async (
    bridge: Awaited<ReturnType<typeof startBridge>>,
    more: JsonObject = {},
  ) => {
    const { system } = bridge.test.node.kernel;
    await system.spawn(LISTENER, 'listener', {});
    await system.send(REDIS_BRIDGE, { type: 'bridge.subscribe', address: LISTENER, ...more });
  };
  const told = (bridge: Awaited<ReturnType<typeof startBridge>>): { ids: string[]; gaps: number } =>
    bridge.test.node.kernel.system.read(LISTENER).snapshot.context as {
      ids: string[];
      gaps: number;
    };

  test('hear what they want, in order, without any bus', async () => {
    const redis = await startRedis();
    const bridge = await startBridge({ url: redis.url });
    await subscribe(bridge, { hosts: ['piha'] });
    await bridge.is('up');
    const client = await redis.client();
    for (const n of [1, 2, 3, 4])
      await client.publish(
        'health_events',
        published(n, { id: `e${n}`, node: n === 3 ? 'vps' : 'piha' }),
      );
    await eventually(() => expect(told(bridge).ids).toEqual(['e1', 'e2', 'e4']));
  });

  test('given a flood beyond what an actor may take from within, then it is slowed down and nobody is held', async () => {
    const redis = await startRedis();
    const limits = { burst: 400, ratePerSecond: 4000 };
    const bridge = await startBridge({ url: redis.url, node: { kernel: { limits } } });
    await subscribe(bridge);
    await bridge.is('up');
    const client = await redis.client();
    await Promise.all(
      upTo(2500).map((n) => client.publish('health_events', published(n, { id: `e${n}` }))),
    );
    await eventually(() => expect(told(bridge).ids).toHaveLength(2500), { timeoutMs: 20_000 });
    expect(told(bridge).ids).toEqual(upTo(2500).map((n) => `e${n}`));
    expect(bridge.test.node.kernel.system.actors.get(LISTENER)?.hold).toBeUndefined();
  });

  test('given one is stopped for good, then it is struck off', async () => {
    const redis = await startRedis();
    const bridge = await startBridge({ url: redis.url });
    await subscribe(bridge);
    expect(Object.keys(bridge.context.subscribers)).toEqual([LISTENER]);
    await bridge.test.node.kernel.system.stop(LISTENER, 'done');
    await eventually(() => expect(bridge.context.subscribers).toEqual({}));
  });
});

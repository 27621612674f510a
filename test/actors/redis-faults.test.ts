/** The Redis bridge when things break: the server, the node, the journal, the password, the patience of everyone. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { REDIS_GROUP, REDIS_STREAM } from '../../actors/redis-door.ts';
import { readSegments } from '../../cells/journal-reader.ts';
import { missionsLayout } from '../../cells/layout.ts';
import type { BridgeEvent } from '../../machines/bridge-context.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { JsonObject } from '../../machines/json.ts';
import { eventually } from '../support/eventually.ts';
import { failingIo } from '../support/failing-io.ts';
import { startNode, temporaryMissions } from '../support/node.ts';
import { HASTY, oneByOne, openBridge, published, startBridge } from '../support/redis-bridge.ts';
import { flood, freePort, startRedis } from '../support/redis-server.ts';

const upTo = (last: number): number[] => Array.from({ length: last }, (_, n) => n);

describe('Redis', () => {
  test('given there is none, then the node runs and says so; when it comes, the bridge is up', async () => {
    const port = await freePort();
    const bridge = await startBridge({ url: `redis://127.0.0.1:${port}` });
    await eventually(() => expect(bridge.status['reason']).toMatch(/ECONNREFUSED/));
    expect(bridge.status).toMatchObject({ state: 'down', stream: { state: 'down' } });
    expect(bridge.test.node.status().node.state).toBe('running');
    const redis = await startRedis({ port });
    await bridge.is('up');
    const client = await redis.client();
    await client.publish('health_events', published(1));
    await bridge.took(1);
    expect(bridge.of('bridge.gap')).toEqual([]); // nobody ever listened, so nothing is known to be missed
  });

  test('given it is killed and started again, then down, up and a gap for each channel stand in the journal', async () => {
    const redis = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
    const bridge = await startBridge({ url: redis.url });
    await bridge.is('up');
    await bridge.is('absent', 'stream');
    const client = await redis.client();
    await client.publish('health_events', published(1));
    await client.xAdd(REDIS_STREAM, '*', { data: published(2) });
    await bridge.took(2);
    const before = Date.now();
    await redis.kill();
    await bridge.is('down');
    expect(bridge.status['reason']).toBeTruthy();
    await redis.start();
    await bridge.is('up');
    await bridge.is('up', 'stream');
    await eventually(() => client.publish('world_updates', published(3)));
    await client.xAdd(REDIS_STREAM, '*', { data: published(4) });
    await bridge.took(4);
    expect(
      bridge
        .numbers()
        .map(Number)
        .toSorted((a, b) => a - b),
    ).toEqual([1, 2, 3, 4]);
    const gaps = await eventually(() => {
      expect(bridge.of('bridge.gap')).toHaveLength(2);
      return bridge.of('bridge.gap');
    });
    expect(gaps.map(({ channel }) => channel)).toEqual(['health_events', 'world_updates']);
    for (const { since, until, dropped } of gaps) {
      expect(since).toBeLessThanOrEqual(before + 100);
      expect(until).toBeGreaterThan(before);
      expect(dropped).toBeNull();
    }
    expect(bridge.of('bridge.down')).toHaveLength(1);
    expect(bridge.of('bridge.up')).toHaveLength(2);
    expect(bridge.status).toMatchObject({
      gaps: 2,
      dropped: 0,
      last_gap: { channel: 'world_updates' },
    });
  });

  test('given it is there and says nothing, then it is given up, and heard again when it speaks', async () => {
    const redis = await startRedis();
    const bridge = await startBridge({ url: redis.url, door: { connection: HASTY } });
    await bridge.is('up');
    redis.freeze();
    await bridge.is('down');
    redis.thaw();
    await bridge.is('up');
    await eventually(() => expect(bridge.of('bridge.gap')).toHaveLength(2));
  });

  test('given the password is wrong, then the status says so and shows it nowhere', async () => {
    const redis = await startRedis({ password: 'right-one' });
    const url = redis.url.replace('right-one', 'wr0ng-s3cret');
    const bridge = await startBridge({ url });
    await eventually(() => expect(bridge.status['reason']).toMatch(/WRONGPASS|invalid/));
    expect(bridge.status['stream']).toMatchObject({ state: 'down' });
    const shown = [
      JSON.stringify(bridge.test.node.status()),
      JSON.stringify(bridge.logged),
      readFileSync(bridge.test.node.layout.node, 'utf8'),
    ].join();
    expect(shown).not.toContain('wr0ng-s3cret');
    expect(shown).toContain(`redis://127.0.0.1:${redis.port}/0`);
    const again = await startBridge({ url: redis.url });
    await again.is('up');
  });

  test('given it does not let us read the stream, then the channels go on', async () => {
    const redis = await startRedis();
    const client = await redis.client();
    await client.xAdd(REDIS_STREAM, '*', { data: published(0) });
    const rules = ['on', '>pw', '&*', '+@all', '-@stream'];
    await client.sendCommand(['ACL', 'SETUSER', 'bridge', ...rules]);
    const bridge = await startBridge({ url: `redis://bridge:pw@127.0.0.1:${redis.port}` });
    await bridge.is('up');
    await client.publish('health_events', published(1));
    await bridge.took(1);
    expect(bridge.status['stream']).toMatchObject({ state: 'down', reason: /NOPERM/ });
  });

  test('given what answers there is no Redis, then the node runs and says why', async () => {
    const { createServer } = await import('node:net');
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const { port } = server.address() as { port: number };
    const bridge = await startBridge({ url: `redis://127.0.0.1:${port}` });
    await eventually(() => expect(bridge.status['reason']).toBeTruthy());
    expect(bridge.test.node.status().node.state).toBe('running');
  });

  test.each(['piha:6379', 'http://h', 'off', ''])('the URL %j is refused', async (url) => {
    const { node } = await startNode();
    await expect(openBridge(node, url)).rejects.toThrow(RuntimeError);
  });
});

describe('the node', () => {
  test('given a clean stop, then what was heard before is durable, and the next life says since when nobody listened', async () => {
    const redis = await startRedis();
    const first = await startBridge({ url: redis.url });
    await first.is('up');
    const client = await redis.client();
    await Promise.all(upTo(500).map((n) => client.publish('health_events', published(n))));
    await first.test.stop();
    const stopped = Date.now();
    expect(first.numbers()).toEqual(upTo(500));
    const second = await startBridge({ url: redis.url, missions: first.test.missions });
    await second.is('up');
    await eventually(() => expect(second.of('bridge.gap')).toHaveLength(2));
    expect(second.of('bridge.gap')[0]).toMatchObject({ reason: 'this node was not running' });
    expect(second.of('bridge.gap')[0]?.since).toBeLessThanOrEqual(stopped);
    expect(second.context.heard).toBe(500);
  });

  test('given the URL changes while it is stopped, then the stream of another server is read from its own place', async () => {
    const [one, other] = [await startRedis(), await startRedis()];
    const first = await startBridge({ url: one.url });
    await first.is('up');
    await first.is('absent', 'stream');
    const client = await one.client();
    await client.xAdd(REDIS_STREAM, '*', { data: published(1) });
    await first.took(1);
    await first.test.stop();
    const elsewhere = await other.client();
    await elsewhere.xAdd(REDIS_STREAM, '5-1', { data: published(2) });
    const second = await startBridge({ url: other.url, missions: first.test.missions });
    await second.took(2);
    expect(second.numbers()).toEqual([2]);
  });

  /** Starts a node in a process of its own; resolves when it accepts work. */
  async function child(missions: string, url: string) {
    const entry = join(import.meta.dirname, '../support/redis-child.ts');
    const args = ['--disable-warning=ExperimentalWarning', entry, missions, url];
    const process_ = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] });
    const exited = once(process_, 'exit');
    const kill = async (): Promise<void> => {
      process_.kill('SIGKILL');
      await exited;
    };
    onTestFinished(kill);
    await once(process_.stdout as NonNullable<typeof process_.stdout>, 'data');
    const asked = async (): Promise<JsonObject> => {
      const answer = once(process_, 'message');
      process_.send('status');
      return (await answer)[0] as JsonObject;
    };
    return { pid: process_.pid ?? 0, kill, asked };
  }

  /** Numbers of the heard events that the journal of a killed node holds. */
  function journaled(missions: string): number[] {
    const numbers: number[] = [];
    for (const { line } of readSegments(missionsLayout(missions).journal, { fromLsn: 1 })) {
      const { e } = JSON.parse(line) as { e?: BridgeEvent };
      for (const one of e === undefined ? [] : oneByOne(e))
        if (one.type === 'bridge.heard') numbers.push(Number(one.event.data.payload['n']));
    }
    return numbers;
  }

  test('given it is killed between journal and XACK, then every entry counts once after the restart', async () => {
    const redis = await startRedis();
    const client = await redis.client();
    const rules = ['on', '>pw', '&*', '~*', '+@all', '-xack'];
    await client.sendCommand(['ACL', 'SETUSER', 'bridge', ...rules]);
    const url = `redis://bridge:pw@127.0.0.1:${redis.port}`;
    const missions = temporaryMissions();
    await client.xGroupCreate(REDIS_STREAM, REDIS_GROUP, '0', { MKSTREAM: true });
    // All are read at once: the connection ends with the first XACK, which is refused.
    for (const n of upTo(50)) await client.xAdd(REDIS_STREAM, '*', { data: published(n) });
    const first = await child(missions, url);
    await eventually(() => expect(journaled(missions)).toHaveLength(50));
    await first.kill();
    expect((await client.xPending(REDIS_STREAM, REDIS_GROUP)).pending).toBe(50);
    await client.sendCommand(['ACL', 'SETUSER', 'bridge', '+xack']);
    const second = await startBridge({ url, missions });
    await client.xAdd(REDIS_STREAM, '*', { data: published(50) });
    await second.took(51);
    expect(second.numbers()).toEqual([50]);
    await eventually(async () =>
      expect((await client.xPending(REDIS_STREAM, REDIS_GROUP)).pending).toBe(0),
    );
    expect(second.of('bridge.down')[0]).toMatchObject({ reason: 'this node was not running' });
  });

  test('given it is killed again and again while entries flow, then each counts once and in order', async () => {
    const redis = await startRedis();
    const client = await redis.client();
    const missions = temporaryMissions();
    await client.xGroupCreate(REDIS_STREAM, REDIS_GROUP, '0', { MKSTREAM: true });
    const seen: number[] = [];
    let added = 0;
    for (const lifeMs of [80, 200, 20]) {
      const { kill } = await child(missions, redis.url);
      const until = performance.now() + lifeMs;
      while (performance.now() < until || added < 500) {
        const some = upTo(50).map((n) =>
          client.xAdd(REDIS_STREAM, '*', { data: published(added + n) }),
        );
        await Promise.all(some);
        added += 50;
      }
      await kill();
      seen.push(...journaled(missions).filter((n) => n > (seen.at(-1) ?? -1)));
    }
    const { heard: known } = await lastLife();
    expect(seen).toEqual(upTo(added));
    expect(known).toBe(added);

    async function lastLife() {
      const last = await startBridge({ url: redis.url, missions });
      await last.took(added, 20_000);
      seen.push(...(last.numbers() as number[]));
      return last.context;
    }
  });

  test('given its journal cannot be written for a while, then nothing of the stream is lost or doubled, and the status names it', async () => {
    const redis = await startRedis();
    const disk = failingIo();
    const bridge = await startBridge({ url: redis.url, node: { kernel: { journalIo: disk.io } } });
    await bridge.is('up');
    await bridge.is('absent', 'stream');
    const client = await redis.client();
    const add = (n: number) => client.xAdd(REDIS_STREAM, '*', { data: published(n) });
    await Promise.all(upTo(200).map(add));
    await bridge.took(200);
    disk.fail('ENOSPC');
    await add(200);
    await client.publish('health_events', published(1000));
    await eventually(() => expect(bridge.test.node.kernel.system.failure).toBeDefined());
    for (let n = 201; n < 300; n += 1) await add(n);
    await eventually(() => {
      const { reason, stream } = bridge.status as { reason?: string; stream: { reason?: string } };
      expect([reason, stream.reason].join()).toMatch(/journal/);
    });
    disk.mend();
    await bridge.took(301, 20_000);
    expect(bridge.numbers().filter((n) => n !== 1000)).toEqual(upTo(300));
    expect(bridge.numbers()).toContain(1000);
    await eventually(async () =>
      expect((await client.xPending(REDIS_STREAM, REDIS_GROUP)).pending).toBe(0),
    );
  });

  test('given 100,000 messages at once, then each is heard or counted as lost, and memory stays bounded', async () => {
    const redis = await startRedis();
    const missions = temporaryMissions();
    const { pid, kill, asked } = await child(missions, redis.url);
    const client = await redis.client();
    await eventually(async () => {
      const { health_events: listening } = await client.pubSubNumSub(['health_events']);
      expect(Number(listening)).toBe(1);
    });
    await flood(
      redis,
      upTo(100_000).map((n) => ['PUBLISH', 'health_events', published(n)]),
    );
    await eventually(
      async () => {
        const status = await asked();
        expect(Number(status['heard']) + Number(status['dropped'])).toBe(100_000);
      },
      { timeoutMs: 60_000 },
    );
    const peak = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    expect(Number(peak) / 1024, 'the most memory it ever had, MB').toBeLessThan(600);
    await kill();
    const last = await startBridge({ url: redis.url, missions });
    const { heard, dropped, refused } = last.context;
    expect(refused).toBe(0);
    expect(heard + dropped).toBe(100_000);
  }, 90_000);

  test('given a flood that its queue has no room for, then what is lost is counted to the last message', async () => {
    const redis = await startRedis();
    const door = { limits: { messages: 500, bytes: 1 << 20 } };
    const bridge = await startBridge({ url: redis.url, door });
    await bridge.is('up');
    await flood(
      redis,
      upTo(30_000).map((n) => ['PUBLISH', 'health_events', published(n)]),
    );
    await eventually(
      () => {
        const { heard, dropped } = bridge.context;
        expect(heard + dropped).toBe(30_000);
      },
      { timeoutMs: 20_000 },
    );
    expect(bridge.context.dropped).toBeGreaterThan(0);
    const lost = bridge.of('bridge.gap');
    expect(lost.length).toBeLessThan(300); // spans, not single messages
    const numbers = bridge.numbers() as number[];
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
  });
});

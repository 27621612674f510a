/**
 * A Redis stream through the bridge (read, normalised, journaled as an event of the bridge's actor, acknowledged after the
 * commit) against a bare loop with the same acknowledgement and ids: XREADGROUP, one appended line an entry with its id,
 * fdatasync, XACK. Both read entries that are there already, the same number at most at once. Beside it, what Redis and
 * the normalising cost: the same events sent to the same actor from memory.
 */
import { closeSync, fdatasync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Kernel } from '../../actors/kernel.ts';
import { BridgeActor } from '../../actors/bridge-actor.ts';
import { takeMessage } from '../../actors/bridge-messages.ts';
import { OrderedSender } from '../../actors/ordered-sender.ts';
import { RedisBridge, WINDOWS } from '../../actors/redis-bridge.ts';
import { machineRegistry } from '../../actors/registry.ts';
import { connectRedis } from '../../bus/redis.ts';
import { flood, openRedis } from '../../test/support/redis-process.ts';
import type { RedisServer } from '../../test/support/redis-process.ts';
import { alternate, perSecond, pooledRate, shown, spread, target } from '../harness.ts';
import type { Bench, Count, Row } from '../harness.ts';
import { profiled } from '../profile.ts';
import { openKernel, silent } from '../support/kernel.ts';

const GROUP = 'lazarus';
const ADDRESS = 'system/bridge/redis';
const AT_ONCE = 512;

interface Sides {
  ours: () => Promise<Count>;
  bare: () => Promise<Count>;
  fromMemory: () => Promise<Count>;
  close: () => Promise<void>;
}

export const row: Row = {
  name: 'redis-bridge',
  title:
    'Redis stream to durable events, against a bare loop with the same acknowledgement and ids',
  async measure(bench) {
    const sides = await open(bench, bench.pick({ full: 40_000, quick: 10_000 }));
    const { ours, baseline } = await alternate(bench.rounds, sides.ours, sides.bare);
    const few = bench.pick({ full: 3, quick: 1 });
    const beside = await alternate(few, sides.ours, sides.fromMemory);
    await sides.close();
    const [rate, bareRate] = [pooledRate(ours), pooledRate(baseline)];
    return [
      target(
        'bridge / bare loop',
        (rate / bareRate) * 100,
        { unit: '%', better: 'higher', atLeast: 70, aim: 90 },
        `${perSecond(rate)} against ${perSecond(bareRate)}; ${spread(ours, baseline)}`,
      ),
      shown(
        'bridge / the same events from memory',
        (pooledRate(beside.ours) / pooledRate(beside.baseline)) * 100,
        '%',
        `${perSecond(pooledRate(beside.ours))} against ${perSecond(pooledRate(beside.baseline))}`,
        'higher',
      ),
    ];
  },
  async profile(bench) {
    const sides = await open(bench, 20_000);
    await sides.ours();
    const spots = await profiled(async () => {
      for (let turn = 0; turn < 3; turn += 1) await sides.ours();
    });
    await sides.close();
    return spots;
  },
};

async function open(bench: Bench, count: number): Promise<Sides> {
  const folder = bench.folder('redis-bridge');
  const redis = await openRedis();
  const kernel = await openKernel(folder, { registry: machineRegistry() });
  const { system } = kernel;
  const actor = new BridgeActor({ system, address: ADDRESS, instance: 'bench.1', log: silent });
  await actor.ensure();
  const fd = openSync(join(folder, 'bare.log'), 'a');
  let turn = 0;
  const filled = async (): Promise<string> => {
    const stream = `events:${(turn += 1)}`;
    await fill(redis, stream, count);
    return stream;
  };
  return {
    async ours() {
      const sample = await bridged(redis, kernel, actor, await filled(), count);
      await kernel.compact(); // upkeep has its own rows
      return sample;
    },
    async fromMemory() {
      const sample = await inMemory(actor, count);
      await kernel.compact();
      return sample;
    },
    bare: async () => bareLoop(redis, fd, await filled(), count),
    async close() {
      closeSync(fd);
      await kernel.close();
      await redis.dispose();
    },
  };
}

/** Entries of some 200 bytes with the whole event in one field, and a group that has read none. */
async function fill(redis: RedisServer, stream: string, count: number): Promise<void> {
  const entry = (n: number): string[] => ['XADD', stream, '*', 'data', textOf(n)];
  await flood(redis, [
    ['XGROUP', 'CREATE', stream, GROUP, '0', 'MKSTREAM'],
    ...Array.from({ length: count }, (_, n) => entry(n)),
  ]);
}

const textOf = (n: number): string =>
  JSON.stringify({
    type: 'service_unhealthy',
    node: `host${n % 5}`,
    service: `service${n % 40}`,
    severity: 'error',
    timestamp: 1_764_000_000 + n,
    payload: { status: 'exited', restarts: n, detail: 'x'.repeat(40) },
  });

/** Ready-made events, as many in flight as the bridge has. */
async function inMemory(actor: BridgeActor, count: number): Promise<Count> {
  const { system, address } = actor;
  const raw = Buffer.from(textOf(1));
  const { event } = takeMessage(raw, raw.length, {
    channel: 'memory',
    id: 'redis:memory:1',
    at: 0,
  });
  const all = Promise.withResolvers<void>();
  let [sent, answered] = [0, 0];
  const settled = (): void => void ((answered += 1) === count && all.resolve());
  const next = () => ((sent += 1) > count ? undefined : actor.outgoing(event, settled));
  const startedAt = performance.now();
  new OrderedSender({ system, address, source: { next }, window: WINDOWS.stream }).wake();
  await all.promise;
  return { count, ms: performance.now() - startedAt };
}

async function bridged(
  redis: RedisServer,
  kernel: Kernel,
  actor: BridgeActor,
  stream: string,
  count: number,
): Promise<Count> {
  const all = Promise.withResolvers<void>();
  let heard = 0;
  const counting = ({ event }: { event: { type: string } }): void => {
    if (event.type === 'bridge.heard' && (heard += 1) === count) all.resolve();
  };
  kernel.system.on('committed', counting);
  const bridge = new RedisBridge(
    actor,
    {
      url: redis.url,
      where: redis.url,
      nodeId: 'bench',
      channels: [],
      stream: { stream, group: GROUP },
    },
    null,
  );
  const client = await redis.client();
  const startedAt = performance.now();
  bridge.start();
  await all.promise;
  while ((await client.xPending(stream, GROUP)).pending > 0) await sleep(1);
  const ms = performance.now() - startedAt;
  kernel.system.off('committed', counting);
  await bridge.close();
  return { count, ms };
}

const sync = promisify(fdatasync);

async function bareLoop(
  redis: RedisServer,
  fd: number,
  stream: string,
  count: number,
): Promise<Count> {
  const startedAt = performance.now();
  const connection = await connectRedis({ url: redis.url, name: 'bare' });
  const read = ['XREADGROUP', 'GROUP', GROUP, 'bare', 'COUNT', String(AT_ONCE)];
  for (let done = 0; done < count;) {
    const reply = await connection.send([...read, 'STREAMS', stream, '>']);
    const [[, entries]] = reply as [[string, [Buffer, Buffer[]][]]];
    const ids = entries.map(([id]) => id.toString('latin1'));
    const lines = entries.map(([, [, data]], i) => `{"id":"${ids[i]}","e":${String(data)}}\n`);
    writeSync(fd, lines.join(''));
    await sync(fd);
    await connection.send(['XACK', stream, GROUP, ...ids]);
    done += ids.length;
  }
  const ms = performance.now() - startedAt;
  connection.close();
  return { count, ms };
}

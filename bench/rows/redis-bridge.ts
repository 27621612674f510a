/**
 * A Redis stream through the bridge (read, normalised, journaled as an event of the bridge's actor, acknowledged after the
 * commit) against a bare loop with the same acknowledgement and ids: XREADGROUP, one appended line an entry with its id,
 * fdatasync, XACK. Both read entries that are there already, the same number at most at once. Beside it, what Redis and
 * the normalising cost: the same events sent to the same actor from memory.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Kernel } from '../../actors/kernel.ts';
import { BridgeActor } from '../../actors/bridge-actor.ts';
import { takeMessage } from '../../actors/bridge-messages.ts';
import { OrderedSender } from '../../actors/ordered-sender.ts';
import { RedisBridge, WINDOWS } from '../../actors/redis-bridge.ts';
import { machineRegistry } from '../../actors/registry.ts';
import { openRedis } from '../../test/support/redis-process.ts';
import type { RedisServer } from '../../test/support/redis-process.ts';
import type { JsonValue } from '../../machines/json.ts';
import { alternate, perSecond, pooledRate, shown, spread, target } from '../harness.ts';
import type { Bench, Count, Row } from '../harness.ts';
import { profiled } from '../profile.ts';
import { BareLoop, eventText, filledStreams, GROUP } from '../support/homelab-stream.ts';
import { openKernel, silent } from '../support/kernel.ts';

const ADDRESS = 'system/bridge/redis';

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
  const loop = new BareLoop(redis, join(folder, 'bare.log'), () => Promise.resolve());
  const filled = filledStreams(redis, count);
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
    bare: async () => loop.run(await filled(), count),
    async close() {
      loop.close();
      await kernel.close();
      await redis.dispose();
    },
  };
}

/** Ready-made events, as many in flight as the bridge has. */
async function inMemory(actor: BridgeActor, count: number): Promise<Count> {
  const { system, address } = actor;
  const raw = Buffer.from(eventText(1));
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
  const counting = ({ event }: { event: { type: string; messages?: JsonValue } }): void => {
    if (event.type === 'bridge.heard') heard += 1;
    else if (Array.isArray(event.messages)) heard += event.messages.length;
    if (heard >= count) all.resolve();
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

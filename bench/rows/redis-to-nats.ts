/**
 * A Redis stream to NATS through the whole node (read, normalised, journaled, acknowledged after the commit, published from
 * the journal) against a bare loop with the same acknowledgements and ids: XREADGROUP, one line an entry appended and synced,
 * published with an id each and the last of a run acknowledged by the server, XACK. Each on a nats-server of its own.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, headers as newHeaders } from 'nats';
import type { NatsConnection } from 'nats';
import { openNatsDoor } from '../../actors/nats-door.ts';
import { MissionNode } from '../../actors/node.ts';
import { openRedisDoor } from '../../actors/redis-door.ts';
import { findNatsServer, NatsServer } from '../../bus/nats-server.ts';
import { openRedis } from '../../test/support/redis-process.ts';
import type { RedisServer } from '../../test/support/redis-process.ts';
import { alternate, perSecond, pooledRate, spread, target } from '../harness.ts';
import type { Bench, Count, Row } from '../harness.ts';
import { profiled } from '../profile.ts';
import { BareLoop, filledStreams } from '../support/homelab-stream.ts';
import { silent } from '../support/kernel.ts';

const PATIENCE_MS = 60_000;

interface Sides {
  ours: () => Promise<Count>;
  bare: () => Promise<Count>;
  close: () => Promise<void>;
}

export const row: Row = {
  name: 'redis-to-nats',
  title: 'Redis stream to NATS, against a bare loop with the same acknowledgements and ids',
  async measure(bench) {
    const sides = await open(bench, bench.pick({ full: 20_000, quick: 5000 }));
    const { ours, baseline } = await alternate(bench.rounds, sides.ours, sides.bare);
    await sides.close();
    const [rate, bareRate] = [pooledRate(ours), pooledRate(baseline)];
    return [
      target(
        'bridge and outbox / bare loop',
        (rate / bareRate) * 100,
        { unit: '%', better: 'higher', atLeast: 70, aim: 90 },
        `${perSecond(rate)} against ${perSecond(bareRate)}; ${spread(ours, baseline)}`,
      ),
    ];
  },
  async profile(bench) {
    const sides = await open(bench, 10_000);
    await sides.ours();
    const spots = await profiled(async () => {
      for (let turn = 0; turn < 3; turn += 1) await sides.ours();
    });
    await sides.close();
    return spots;
  },
};

async function open(bench: Bench, count: number): Promise<Sides> {
  const binary = findNatsServer();
  if (binary === undefined)
    throw new Error('there is no nats-server on this machine: apt-get install nats-server');
  const redis = await openRedis();
  const node = await MissionNode.start({
    missionsDir: bench.folder('redis-to-nats'),
    version: '0.0.0',
    drainMs: 0,
    log: silent,
    openDoors: async (opening) => [
      await openNatsDoor(opening, { nats: 'embedded', options: { context: false }, log: silent }),
    ],
  });
  const folder = bench.folder('bare');
  const server = await NatsServer.start({
    folder,
    binary,
    users: [{ user: 'bench', password: 'bench', rights: null }],
    mark: {},
    log: silent,
  });
  const nats = await connect({
    servers: server.url.replace('nats://', ''),
    user: 'bench',
    pass: 'bench',
  });
  await (await nats.jetstreamManager()).streams.add({ name: 'BARE', subjects: ['bare.>'] });
  const loop = new BareLoop(redis, join(folder, 'bare.log'), (entries, stream) =>
    publish(nats, entries, stream),
  );
  const filled = filledStreams(redis, count);
  return {
    ours: async () => throughNode(node, redis, await filled(), count),
    bare: async () => loop.run(await filled(), count),
    async close() {
      loop.close();
      await nats.close();
      await server.stop();
      await node.stop();
      await redis.dispose();
    },
  };
}

async function throughNode(
  node: MissionNode,
  redis: RedisServer,
  stream: string,
  count: number,
): Promise<Count> {
  const published = (): number => {
    const { outbox } = node.status().parts['nats'] as unknown as { outbox: { published: number } };
    return outbox.published;
  };
  const before = published();
  const startedAt = performance.now();
  const door = await openRedisDoor(node, { url: redis.url, log: silent, stream: { stream } });
  while (published() - before < count) {
    if (performance.now() - startedAt > PATIENCE_MS) throw new Error('the events never came');
    await sleep(10); // the status has its price
  }
  const ms = performance.now() - startedAt;
  await door.close();
  return { count, ms };
}

/** Published with an id each; the last of a run is acknowledged by the server. */
async function publish(
  nats: NatsConnection,
  entries: { id: string; text: string }[],
  stream: string,
): Promise<void> {
  const jetstream = nats.jetstream();
  for (const [i, { id, text }] of entries.entries()) {
    const headers = newHeaders();
    headers.set('Nats-Msg-Id', `${stream}:${id}`);
    if (i < entries.length - 1) nats.publish('bare.events', text, { headers });
    else await jetstream.publish('bare.events', text, { headers });
  }
}

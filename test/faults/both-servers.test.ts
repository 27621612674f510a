/** Redis and NATS die together while events come by both doors, and the runtime with them: nothing acknowledged is lost, doubled or overtaken. */
import type { RedisClientType } from '@redis/client';
import type { NatsConnection } from 'nats';
import { expect, test } from 'vitest';
import { REDIS_GROUP, REDIS_STREAM } from '../../actors/redis-door.ts';
import type { JsonObject } from '../../machines/json.ts';
import { allDoors } from '../support/all-doors.ts';
import { inJournal, onBus, sent, Traffic } from '../support/both-doors-traffic.ts';
import type { Progress } from '../support/both-doors-traffic.ts';
import { startDoorsProcess } from '../support/doors-process.ts';
import { eventually } from '../support/eventually.ts';
import { startNatsProcess } from '../support/nats-process.ts';
import type { NatsProcess } from '../support/nats-process.ts';
import { gate, mission, startNode, step, task, temporaryMissions } from '../support/node.ts';
import type { TestNode } from '../support/node.ts';
import { startRedis } from '../support/redis-server.ts';
import type { RedisServer } from '../support/redis-process.ts';

const quiet = { info: () => undefined, warn: () => undefined };
const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always'];
const PATIENCE = { timeoutMs: 30_000 };

interface Both {
  redis: RedisServer;
  nats: NatsProcess;
  /** Clients of the producers. */
  clients: [RedisClientType, NatsConnection];
}

async function startBoth(): Promise<Both> {
  const [redis, nats] = [await startRedis({ args: DURABLE }), await startNatsProcess()];
  const client = await redis.client();
  // So that it is read from its beginning, however late the node comes.
  await client.xGroupCreate(REDIS_STREAM, REDIS_GROUP, '0', { MKSTREAM: true });
  return { redis, nats, clients: [client, await nats.client()] };
}

const kill = ({ redis, nats }: Both): Promise<unknown> => Promise.all([redis.kill(), nats.kill()]);
const start = ({ redis, nats }: Both): Promise<unknown> =>
  Promise.all([redis.start(), nats.start()]);
const served = ({ redis, nats }: Both): { nats: string; redis: string } => ({
  nats: nats.url,
  redis: redis.url,
});

const waiting = mission('m', [task('t', [step('a', gate('g'))])]);

/** A node with both doors, and the mission `m` at its gate. */
async function atWork(both: Both, missions = temporaryMissions()): Promise<TestNode> {
  const at = await startNode({ openDoors: allDoors(served(both), quiet) }, missions);
  at.drop(waiting);
  await at.waitsAt('m', 'g');
  return at;
}

type Parts = Record<string, JsonObject>;

const DOWN = {
  nats: { state: 'down', reason: expect.stringMatching(/./) as string },
  redis: {
    state: 'down',
    reason: expect.stringMatching(/./) as string,
    stream: { state: 'down', reason: expect.stringMatching(/./) as string },
  },
};
const UP = { nats: { state: 'up' }, redis: { state: 'up', stream: { state: 'up' } } };

/** Until so much more of both was acknowledged. */
async function progressed({ progress }: Traffic, by = 50): Promise<void> {
  const { entries, events } = progress;
  await eventually(() => {
    expect(progress.entries).toBeGreaterThanOrEqual(entries + by);
    expect(progress.events).toBeGreaterThanOrEqual(events + by);
  }, PATIENCE);
}

/** Everything is where it belongs: in the journal, and on the bus. */
async function allArrived(all: Progress, { nats }: Both, missions: string): Promise<void> {
  await eventually(() => expect(inJournal(missions)).toEqual(sent(all)), PATIENCE);
  const client = await nats.client();
  await eventually(async () => expect(await onBus(client)).toEqual(sent(all)), PATIENCE);
}

test('given both are killed twice, then the status names both, and each event counts once and in its order', async () => {
  const both = await startBoth();
  const at = await atWork(both);
  const parts = (): Parts => at.node.status().parts as Parts;
  const traffic = new Traffic(...both.clients);
  for (let round = 0; round < 2; round += 1) {
    await progressed(traffic);
    await kill(both);
    await eventually(() => expect(parts()).toMatchObject(DOWN), PATIENCE);
    expect(at.node.status().node.state).toBe('running');
    await start(both);
    await eventually(() => expect(parts()).toMatchObject(UP), PATIENCE);
  }
  await progressed(traffic);
  await allArrived(await traffic.stop(), both, at.missions);
  await eventually(() =>
    expect(parts()).toMatchObject({
      nats: { outbox: { behind: 0, gaps: { count: 0 } }, injected: { refused: 0 } },
    }),
  );
}, 120_000);

test('given the runtime is killed too, before, between and after, then the same', async () => {
  const both = await startBoth();
  const first = await atWork(both);
  const { missions } = first;
  await first.stop();
  const traffic = new Traffic(...both.clients);

  let node = await startDoorsProcess(missions, served(both));
  await progressed(traffic);
  await node.kill(); // all at once
  await kill(both);
  await start(both);
  await progressed(traffic); // while no node runs
  node = await startDoorsProcess(missions, served(both));
  await progressed(traffic);
  await kill(both);
  await eventually(async () => {
    const parts = { nats: await node.part('nats'), redis: await node.part('redis') };
    expect(parts).toMatchObject(DOWN);
  }, PATIENCE);
  await node.kill(); // while it has no server
  node = await startDoorsProcess(missions, served(both));
  await start(both);
  await progressed(traffic);
  await node.kill(); // while both run
  await startDoorsProcess(missions, served(both));
  await progressed(traffic);
  await allArrived(await traffic.stop(), both, missions);
}, 120_000);

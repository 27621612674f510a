/** Redis goes on while NATS is away: what comes is kept in the journal, not in memory, and is all on the bus when it is back. */
import type { NatsConnection } from 'nats';
import { expect, test } from 'vitest';
import { REDIS_GROUP, REDIS_STREAM } from '../../actors/redis-door.ts';
import type { JsonObject } from '../../machines/json.ts';
import { startDoorsProcess } from '../support/doors-process.ts';
import type { DoorsProcess } from '../support/doors-process.ts';
import { eventually } from '../support/eventually.ts';
import { startNatsProcess } from '../support/nats-process.ts';
import type { NatsProcess } from '../support/nats-process.ts';
import { temporaryMissions } from '../support/node.ts';
import { published } from '../support/redis-bridge.ts';
import { flood, startRedis } from '../support/redis-server.ts';

/** Twice 600 KB each, since the original is kept too: in the journal, and in memory if somebody forgets to count. */
const COUNT = 200;
const PATIENCE = { timeoutMs: 60_000 };

/** A node that has met both servers, with its bus away now. */
async function withoutBus(): Promise<{
  node: DoorsProcess;
  nats: NatsProcess;
  /** Adds to the stream so many entries with these payloads. */
  add: (count: number, more?: JsonObject) => Promise<void>;
}> {
  const [nats, redis] = [await startNatsProcess(), await startRedis()];
  const client = await redis.client();
  await client.xGroupCreate(REDIS_STREAM, REDIS_GROUP, '0', { MKSTREAM: true });
  const node = await startDoorsProcess(temporaryMissions(), { nats: nats.url, redis: redis.url });
  await eventually(async () => expect(await node.part('nats')).toMatchObject({ state: 'up' }));
  await nats.kill();
  await eventually(async () => expect(await node.part('nats')).toMatchObject({ state: 'down' }));
  const add = (count: number, more: JsonObject = {}): Promise<void> => {
    const entry = (n: number): string[] => [
      'XADD',
      REDIS_STREAM,
      '*',
      'data',
      published(n, { payload: { n, ...more } }),
    ];
    return flood(
      redis,
      Array.from({ length: count }, (_, n) => entry(n)),
    );
  };
  return { node, nats, add };
}

async function heard(node: DoorsProcess, count: number): Promise<void> {
  await eventually(
    async () => expect(await node.part('redis')).toMatchObject({ heard: count, dropped: 0 }),
    PATIENCE,
  );
}

async function allPublished(node: DoorsProcess): Promise<void> {
  const outbox = { behind: 0, gaps: { count: 0 } };
  await eventually(
    async () => expect(await node.part('nats')).toMatchObject({ state: 'up', outbox }),
    PATIENCE,
  );
}

/** Numbers of everything on the bus, in order. */
async function onBus(client: NatsConnection): Promise<number[]> {
  const { state } = await (await client.jetstreamManager()).streams.info('HOMELAB');
  const consumer = await client.jetstream().consumers.get('HOMELAB');
  const numbers: number[] = [];
  // Less than what the server would call a slow consumer.
  for await (const message of await consumer.consume({ max_bytes: 8 << 20 })) {
    const { data } = message.json<{ data: { payload: { n: number } } }>();
    numbers.push(data.payload.n);
    if (message.seq === state.last_seq) break;
  }
  return numbers;
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n);

test('given 100,000 messages while NATS is down, then all are on the bus once and in order when it is back', async () => {
  const { node, nats, add } = await withoutBus();
  await add(100_000);
  await heard(node, 100_000);
  expect(await node.part('nats')).toMatchObject({ state: 'down' });
  await nats.start();
  await allPublished(node);
  expect(await onBus(await nats.client())).toEqual(upTo(100_000));
  expect(node.memory().peak).toBeLessThan(800);
}, 120_000);

test('given long messages while NATS is down, then memory is bounded by their size, not by their number', async () => {
  const { node, nats, add } = await withoutBus();
  const before = node.memory().peak;
  await add(COUNT, { padding: 'x'.repeat(600_000) });
  await heard(node, COUNT);
  await nats.start();
  await allPublished(node);
  expect(await onBus(await nats.client())).toEqual(upTo(COUNT));
  expect(node.memory().peak - before).toBeLessThan(450);
}, 120_000);

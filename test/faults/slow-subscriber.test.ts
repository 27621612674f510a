/** A program that subscribes and does not read: the server drops it, and nobody else notices more than a pause. */
import { expect, test } from 'vitest';
import { REDIS_GROUP, REDIS_STREAM } from '../../actors/redis-door.ts';
import type { JsonObject } from '../../machines/json.ts';
import { storedIn } from '../support/bus.ts';
import { startDoorsProcess } from '../support/doors-process.ts';
import { eventually } from '../support/eventually.ts';
import { startNatsProcess } from '../support/nats-process.ts';
import { WireClient } from '../support/nats-wire.ts';
import { dropInto, mission, step, task, temporaryMissions } from '../support/node.ts';
import { published } from '../support/redis-bridge.ts';
import { startRedis } from '../support/redis-server.ts';

const MB = 1 << 20;
/** More than the server and the sockets between keep for one who does not read. */
const ENTRIES = 100;
/** How long the server waits for one who does not read. */
const BOUNDS = { write_deadline: '2s' };
const PATIENCE = { timeoutMs: 30_000 };

test('given a subscriber that stalls, then the server drops it, the others hear everything, and the runtime works on, up and small', async () => {
  const nats = await startNatsProcess(BOUNDS);
  const redis = await startRedis();
  const producer = await redis.client();
  await producer.xGroupCreate(REDIS_STREAM, REDIS_GROUP, '0', { MKSTREAM: true });
  const missions = temporaryMissions();
  const node = await startDoorsProcess(missions, { nats: nats.url, redis: redis.url });
  const isUp = { state: 'up', reconnects: 0, reason: null };
  await eventually(async () => expect(await node.part('nats')).toMatchObject(isUp), PATIENCE);
  const stalled = await WireClient.open(nats);
  stalled.subscribe('homelab.>');
  await stalled.flush();
  stalled.stall();
  const heard: string[] = [];
  const reader = await nats.client();
  reader.subscribe('missions.m.>', {
    callback: (_error, message) => void heard.push(message.json<{ type: string }>().type),
  });
  await reader.flush();

  const before = node.memory().now;
  const padding = 'x'.repeat(MB / 4);
  for (let n = 0; n < ENTRIES; n += 1)
    await producer.xAdd(REDIS_STREAM, '*', { data: published(n, { payload: { n, padding } }) });
  dropInto(missions, mission('m', [task('t', [step('one')])]));
  await eventually(async () => {
    expect(await node.verb('cell.show', { cell: 'm' })).toMatchObject({ status: 'completed' });
  }, PATIENCE);
  await eventually(() => expect(heard).toContain('task.finished'), PATIENCE);
  const closed = await eventually(async () => {
    const { connections } = await nats.look('/connz?state=closed');
    const reasons = (connections as JsonObject[]).map(({ reason }) => reason);
    expect(reasons).toHaveLength(1);
    return reasons;
  }, PATIENCE);
  expect(closed).toEqual([expect.stringMatching(/^Slow Consumer/)]);
  const outbox = { behind: 0, gaps: { count: 0 } };
  await eventually(
    async () => expect(await node.part('nats')).toMatchObject({ ...isUp, outbox }),
    PATIENCE,
  );
  const numbers = (await storedIn(reader, 'HOMELAB')).map(
    ({ data }) => (data as { payload: JsonObject }).payload['n'],
  );
  expect(numbers).toEqual(Array.from({ length: ENTRIES }, (_, n) => n));
  expect(node.memory().peak - before).toBeLessThan(350);
}, 90_000);

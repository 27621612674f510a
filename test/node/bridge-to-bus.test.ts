/** From Redis to NATS through the journal: what homelab agents publish is on the bus, and what cannot be read is a dead letter. */
import { expect, test } from 'vitest';
import { openRedisDoor } from '../../actors/redis-door.ts';
import type { MissionNode, OpenDoor } from '../../actors/node.ts';
import { busClient, storedIn, withBus } from '../support/bus.ts';
import { eventually } from '../support/eventually.ts';
import { startNode } from '../support/node.ts';
import { startRedis } from '../support/redis-server.ts';

const log = { info: () => undefined, warn: () => undefined };

test('given both doors, then a health event is on its subject once, in order, and garbage is in dlq.redis', async () => {
  const redis = await startRedis();
  const doors = async (node: MissionNode): Promise<OpenDoor[]> => [
    ...(await withBus()(node)),
    await openRedisDoor(node, { url: redis.url, log }),
  ];
  const { node } = await startNode({ openDoors: doors });
  await eventually(() => expect(node.status().parts['redis']).toMatchObject({ state: 'up' }));
  const publisher = await redis.client();
  for (let n = 0; n < 20; n += 1)
    await publisher.publish(
      'health_events',
      JSON.stringify({ type: 'service_down', node: 'pi', service: 'dns/1', payload: { n } }),
    );
  await publisher.publish('health_events', 'this is no JSON');
  await publisher.publish(
    'world_updates',
    JSON.stringify({ event_type: 'node_online', node: 'pi' }),
  );
  const client = await busClient(node);
  const events = await eventually(async () => {
    const found = await storedIn(client, 'HOMELAB');
    expect(found).toHaveLength(21);
    return found;
  });
  expect(events.slice(0, 20).map(({ data }) => data)).toMatchObject(
    Array.from({ length: 20 }, (_, n) => ({ payload: { n } })),
  );
  const [letter] = await eventually(async () => {
    const found = await storedIn(client, 'DLQ');
    expect(found).toHaveLength(1);
    return found;
  });
  expect(letter).toMatchObject({ type: 'bridge.refused', data: { raw: 'this is no JSON' } });
  const manager = await client.jetstreamManager({ checkAPI: false });
  const first = await manager.streams.getMessage('HOMELAB', { seq: 1 });
  expect(first.subject).toBe('homelab.health_events.pi.dns%2F1');
});

/** From a message of a homelab agent in Redis to the files of the world, on a real server. */
import { expect, test } from 'vitest';
import type { MissionNode, OpenDoor } from '../../actors/node.ts';
import { REDIS_STREAM } from '../../actors/redis-door.ts';
import { machineRegistry } from '../../actors/registry.ts';
import { runtimeLayout } from '../../cells/runtime-layout.ts';
import { eventually } from '../support/eventually.ts';
import { startNode, temporaryMissions } from '../support/node.ts';
import { openObserver, readWorld, writeEvent } from '../support/observer.ts';
import { linesTo, temporaryRuntime } from '../support/planner.ts';
import { openBridge, published } from '../support/redis-bridge.ts';
import { startRedis } from '../support/redis-server.ts';

/** Epoch seconds, a while ago. */
const T0 = Math.floor(Date.now() / 1000) - 600;

test('given events on a channel, on the stream while nobody runs, and as files, then the world says all of it, each once', async () => {
  const redis = await startRedis();
  const client = await redis.client();
  await client.xAdd(REDIS_STREAM, '*', { old: 'one' }); // so that the group is made
  const layout = runtimeLayout(temporaryRuntime());
  const options = {
    kernel: { registry: machineRegistry() },
    openDoors: async (node: MissionNode): Promise<OpenDoor[]> => [
      ...(await openObserver(node, { layout, log: linesTo([]) })),
      await openBridge(node, `redis://127.0.0.1:${redis.port}`),
    ],
  };
  const at = await startNode(options, temporaryMissions());
  await eventually(() =>
    expect(at.node.status().parts['redis']).toMatchObject({ state: 'up', stream: { state: 'up' } }),
  );
  const ill = { service: 'web', timestamp: T0 };
  await client.publish('health_events', published(1, ill));
  await client.xAdd(REDIS_STREAM, '*', { data: published(1, ill) });
  writeEvent(layout, { at: T0, type: 'service_unhealthy' });
  await eventually(() =>
    expect(readWorld(layout, 'services')).toMatchObject({ 'piha/web': { status: 'unhealthy' } }),
  );
  await at.stop();
  await client.xAdd(REDIS_STREAM, '*', {
    data: published(3, { type: 'service_healthy', service: 'web', timestamp: T0 + 60 }),
  });
  await client.xAdd(REDIS_STREAM, '*', {
    data: published(4, { type: 'node_offline', node: 'vps', timestamp: T0 + 70 }),
  });
  await at.restart(options);
  await eventually(() => {
    expect(readWorld(layout, 'services')).toMatchObject({ 'piha/web': { status: 'healthy' } });
    expect(readWorld(layout, 'nodes')).toMatchObject({ vps: { status: 'offline' } });
    expect(readWorld(layout, 'incidents')).toMatchObject({
      [`inc-${T0}-piha-web`]: { status: 'resolved', occurrence_count: 1, resolved_at: T0 + 60 },
    });
  });
});

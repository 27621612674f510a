/** From a message of a homelab agent in Redis to an action that waits for a person, on a real server. */
import { expect, test } from 'vitest';
import type { MissionNode, OpenDoor } from '../../actors/node.ts';
import { REDIS_STREAM } from '../../actors/redis-door.ts';
import { runtimeLayout } from '../../cells/runtime-layout.ts';
import { eventually } from '../support/eventually.ts';
import { proposal } from '../support/incidents.ts';
import { startNode, temporaryMissions } from '../support/node.ts';
import {
  jsonFiles,
  linesTo,
  openPlanner,
  plannerRegistry,
  ScriptedModel,
  temporaryRuntime,
} from '../support/planner.ts';
import { openBridge, published } from '../support/redis-bridge.ts';
import { startRedis } from '../support/redis-server.ts';

test('given events on a channel and, while nobody runs, on the stream, then both are planned', async () => {
  const redis = await startRedis();
  const client = await redis.client();
  await client.xAdd(REDIS_STREAM, '*', { old: 'one' }); // so that the group is made
  const url = `redis://127.0.0.1:${redis.port}`;
  const layout = runtimeLayout(temporaryRuntime());
  const model = new ScriptedModel();
  model.answer = (_nth, { service }) => proposal({ service: String(service) });
  const options = {
    kernel: { registry: plannerRegistry() },
    openDoors: async (node: MissionNode): Promise<OpenDoor[]> => [
      ...(await openPlanner(node, { layout, router: model, log: linesTo([]) })),
      await openBridge(node, url),
    ],
  };
  const at = await startNode(options, temporaryMissions());
  const redisPart = (): { state?: string; stream?: { state: string } } =>
    at.node.status().parts['redis'] as object;
  await eventually(() =>
    expect(redisPart()).toMatchObject({ state: 'up', stream: { state: 'up' } }),
  );
  await client.publish('health_events', published(1, { service: 'heard' }));
  await eventually(() => expect(jsonFiles(layout.actions.pending)).toHaveLength(1));
  await at.stop();
  await client.publish('health_events', published(2, { service: 'lost' }));
  await client.xAdd(REDIS_STREAM, '*', { data: published(3, { service: 'kept' }) });
  await at.restart(options);
  await eventually(() => expect(jsonFiles(layout.actions.pending)).toHaveLength(2));
  const planned = jsonFiles(layout.actions.pending).map(({ service }) => service);
  expect(new Set(planned)).toEqual(new Set(['heard', 'kept']));
  expect(at.node.status().parts['planner']).toMatchObject({ gaps: expect.any(Number) as number });
});

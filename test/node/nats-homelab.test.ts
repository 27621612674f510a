/** Homelab agents that publish on NATS: what they say is heard once, also what they said while no node ran. */
import { headers } from 'nats';
import type { NatsConnection } from 'nats';
import { expect, test } from 'vitest';
import { openNatsDoor } from '../../actors/nats-door.ts';
import { openNatsHomelab } from '../../actors/nats-homelab.ts';
import type { MissionNode, OpenDoor } from '../../actors/node.ts';
import { NATS_BRIDGE } from '../../machines/addresses.ts';
import type { BridgeContext, BridgeEvent } from '../../machines/bridge-context.ts';
import type { JsonObject } from '../../machines/json.ts';
import { storedIn } from '../support/bus.ts';
import { SOON } from '../support/bus-intervals.ts';
import { eventually } from '../support/eventually.ts';
import { startNatsProcess } from '../support/nats-process.ts';
import { startNode } from '../support/node.ts';
import type { TestNode } from '../support/node.ts';
import { NODE_HEADER } from '../../bus/micro-service.ts';

const log = { info: () => undefined, warn: () => undefined };

type Heard = Extract<BridgeEvent, { type: 'bridge.heard' }>;

async function nodeAt(url: string, heard: Heard[], missions?: string): Promise<TestNode> {
  return startNode({ openDoors: (node) => openDoors(node, url, heard) }, missions);
}

async function openDoors(node: MissionNode, url: string, heard: Heard[]): Promise<OpenDoor[]> {
  node.kernel.system.on('committed', ({ address, event }) => {
    if (address === NATS_BRIDGE && event.type === 'bridge.heard')
      heard.push(event as unknown as Heard);
  });
  const door = await openNatsDoor(node, {
    nats: url,
    options: { context: false },
    log,
    intervals: SOON,
  });
  if (door.bus === null) throw new Error('no bus');
  return [await openNatsHomelab(node, { bus: door.bus, log }), door];
}

const part = ({ node }: TestNode): JsonObject => node.status().parts['homelab'] as JsonObject;
const isUp = (at: TestNode): Promise<void> =>
  eventually(() => expect(part(at)['state']).toBe('up'), { timeoutMs: 10_000 });

const say = (client: NatsConnection, n: number, more: JsonObject = {}): Promise<unknown> =>
  client
    .jetstream()
    .publish(
      'homelab.health_events.piha.mosquitto',
      JSON.stringify({ type: 'service_unhealthy', payload: { n }, ...more }),
    );

test('what is published is heard as an event of its subject, and is not published once more', async () => {
  const server = await startNatsProcess();
  const heard: Heard[] = [];
  const at = await nodeAt(server.url, heard);
  await isUp(at);
  const client = await server.client();
  await say(client, 1);
  await say(client, 2, { node: 'vps', service: 'nginx' });
  await eventually(() => expect(heard).toHaveLength(2));
  expect(heard[0]).toMatchObject({
    channel: 'health_events',
    host: 'piha',
    service: 'mosquitto',
    event: { type: 'service_unhealthy', data: { payload: { n: 1 } } },
  });
  expect(heard[1]).toMatchObject({ host: 'vps', service: 'nginx' });
  await eventually(async () => {
    const { parts } = at.node.status();
    expect(parts['nats']).toMatchObject({ outbox: { behind: 0 } });
    expect(await storedIn(client, 'HOMELAB')).toHaveLength(2);
  });
});

test('what was published while no node ran is heard once, over restarts of the node and of the server', async () => {
  const server = await startNatsProcess();
  const heard: Heard[] = [];
  const at = await nodeAt(server.url, heard);
  await isUp(at);
  const client = await server.client();
  await say(client, 0);
  await eventually(() => expect(heard).toHaveLength(1));
  await at.stop();
  for (let n = 1; n <= 20; n += 1) await say(client, n);
  await server.kill();
  await server.start();
  const next = await nodeAt(server.url, heard, at.missions);
  await eventually(() => expect(heard).toHaveLength(21), { timeoutMs: 15_000 });
  expect(heard.map(({ event }) => event.data.payload['n'])).toEqual([...Array(21).keys()]);
  await next.stop();
  const last = await nodeAt(server.url, heard, at.missions);
  await isUp(last);
  await say(await server.client(), 21);
  await eventually(() => expect(heard).toHaveLength(22), { timeoutMs: 15_000 });
});

test('what a node has published from its journal is no news; what cannot be read is a dead letter', async () => {
  const server = await startNatsProcess();
  const heard: Heard[] = [];
  const at = await nodeAt(server.url, heard);
  await isUp(at);
  const client = await server.client();
  const fromNode = headers();
  fromNode.set(NODE_HEADER, 'another-node');
  const subject = 'homelab.health_events.piha.mosquitto';
  const text = JSON.stringify({ type: 'service_unhealthy', node: 'piha' });
  await client.jetstream().publish(subject, text, { headers: fromNode });
  await client.jetstream().publish(subject, '{no json');
  await say(client, 1);
  await eventually(() => expect(heard).toHaveLength(1));
  const context = at.node.kernel.system.read(NATS_BRIDGE).snapshot.context as BridgeContext;
  expect(context).toMatchObject({ heard: 1, refused: 1 });
  await eventually(async () => {
    const letters = await storedIn(client, 'DLQ');
    expect(letters).toHaveLength(1);
    expect(letters[0]).toMatchObject({ data: { reason: 'it is no JSON', raw: '{no json' } });
  });
});

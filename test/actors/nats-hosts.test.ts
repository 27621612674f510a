/** Agents of hosts on the server that the runtime brings with it: who is let in, what they may do, and when they are put out. */
import { readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openNatsDoor } from '../../actors/nats-door.ts';
import type { NatsDoor } from '../../actors/nats-door.ts';
import { natsHostsIn } from '../../actors/nats-hosts.ts';
import type { MissionNode } from '../../actors/node.ts';
import { EMPTY_EXECUTOR_CONFIG } from '../../machines/executor-config.ts';
import type { HostConfig } from '../../machines/executor-config.ts';
import { busIsUp } from '../support/bus.ts';
import { SOON } from '../support/bus-intervals.ts';
import { eventually } from '../support/eventually.ts';
import { WireClient, wireTo } from '../support/nats-wire.ts';
import { startNode, temporaryMissions } from '../support/node.ts';

const quiet = { info: () => undefined, warn: () => undefined };

async function nodeWithBus(missions = temporaryMissions()) {
  let door: NatsDoor | undefined;
  const fixture = await startNode(
    {
      openDoors: async (opening) => {
        const options = { nats: 'embedded', options: { context: false as const }, log: quiet };
        door = await openNatsDoor(opening, { ...options, intervals: SOON });
        return [door];
      },
    },
    missions,
  );
  const { node } = fixture;
  await busIsUp(node);
  if (door?.hosts === undefined) throw new Error('there is no bus');
  return { node, door, stop: () => fixture.stop() };
}

const admit = (door: NatsDoor, hosts: Record<string, HostConfig>) =>
  door.hosts?.admit(natsHostsIn({ ...EMPTY_EXECUTOR_CONFIG, hosts }));

const urlOf = (node: MissionNode): string =>
  (JSON.parse(readFileSync(node.layout.node, 'utf8')) as { nats: { url: string } }).nats.url;

/** As the agent does it that was given the file. */
async function hostClient(node: MissionNode, host: string): Promise<WireClient> {
  const file = join(node.layout.nats, `host-${host}.credentials`);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const [user = '', password = ''] = readFileSync(file, 'utf8').trim().split(':');
  expect(readFileSync(join(node.layout.nats, `host-${host}.token`), 'utf8').trim()).toBe(password);
  return eventually(() => WireClient.open({ url: urlOf(node), user, password }));
}

async function refusals(client: WireClient, doIt: () => void): Promise<string[]> {
  const before = client.errors.length;
  doIt();
  await client.flush();
  return client.errors.slice(before);
}

test('given hosts by NATS in executor.json, then each has a user that hears its own subject, answers, and may do nothing else', async () => {
  const { node, door } = await nodeWithBus();
  await admit(door, { nas: { via: 'nats' }, 'a.b': { via: 'nats' }, here: { via: 'local' } });
  expect(Object.keys((node.parts()['nats'] as { hosts: object }).hosts)).toEqual(['nas', 'a.b']);
  const nas = await hostClient(node, 'nas');
  expect(await refusals(nas, () => void nas.subscribe('exec.nas'))).toEqual([]);
  await hostClient(node, 'a%2Eb');
  const forbidden = [
    'exec.a%2Eb',
    'exec.>',
    'exec.*',
    '>',
    'missions.>',
    'svc.lazarus.>',
    '_INBOX.>',
    '$SRV.>',
    '$JS.>',
    '_R_.>',
  ];
  for (const subject of forbidden)
    expect(await refusals(nas, () => void nas.subscribe(subject)), subject).toMatchObject(
      [/Subscription/].map((said) => expect.stringMatching(said) as string),
    );
  for (const subject of [
    'exec.nas',
    'missions.x',
    'homelab.x.y.z',
    'ops.inject.m',
    'svc.lazarus.status',
    '$JS.API.STREAM.LIST',
    '_INBOX.guess',
    'dlq.x',
  ])
    expect(
      await refusals(nas, () => nas.publish(subject, '{}', 'exec.nas')),
      subject,
    ).toMatchObject([expect.stringMatching(/Publish/) as string]);

  const asking = door.bus?.ask('exec.nas', { op: 'status' }, 5000);
  const [asked] = await eventually(() => {
    expect(nas.on('exec.nas')).toHaveLength(1);
    return nas.on('exec.nas');
  });
  const reply = asked?.reply ?? '';
  expect(
    await refusals(nas, () => nas.publish(reply, '{"state":"done"}', 'missions.forged')),
  ).toEqual([]);
  expect((await asking)?.body).toEqual({ state: 'done' });
  expect(await refusals(nas, () => nas.publish(reply, '{}'))).toHaveLength(1); // one answer to each question
  expect(await door.bus?.ask('exec.a%2Eb', {}, 5000)).toBeUndefined(); // nobody listens, and that is known at once

  for (const role of ['operator', 'agent', 'observer'] as const) {
    const other = await wireTo(node, role);
    expect(await refusals(other, () => void other.subscribe('exec.>')), role).toHaveLength(1);
    expect(await refusals(other, () => other.publish('exec.nas', '{}')), role).toHaveLength(1);
  }
});

test('given one is not named any more, then it is put out, others stay, and the file of who comes back still counts', async () => {
  const { node, door } = await nodeWithBus();
  await admit(door, { nas: { via: 'nats' }, two: { via: 'nats', subject: 'exec.my.two' } });
  const [nas, two] = [await hostClient(node, 'nas'), await hostClient(node, 'two')];
  expect(await refusals(two, () => void two.subscribe('exec.my.two'))).toEqual([]);
  await admit(door, { two: { via: 'nats', subject: 'exec.my.two' } });
  await eventually(() => expect(nas.closed).toBe(true));
  await two.flush();
  expect(two.closed).toBe(false);
  await admit(door, { nas: { via: 'nats' } });
  await hostClient(node, 'nas');
});

test('given a node is started again, then its hosts are let in before anybody has read executor.json, also with a new password', async () => {
  const missions = temporaryMissions();
  const first = await nodeWithBus(missions);
  await admit(first.door, { nas: { via: 'nats' }, two: { via: 'nats' } });
  await first.stop();
  rmSync(join(first.node.layout.nats, 'host-two.token'));
  const { node, door } = await nodeWithBus(missions);
  await hostClient(node, 'nas');
  await admit(door, { nas: { via: 'nats' }, two: { via: 'nats' } });
  await hostClient(node, 'two');
});

test('given a subject that is the runtime’s own, then nobody is let in to listen there', async () => {
  const { node, door } = await nodeWithBus();
  await admit(door, {
    nas: { via: 'nats', subject: 'svc.lazarus.status' },
    x: { via: 'nats', subject: 'homelab.x' },
  });
  expect((node.parts()['nats'] as { hosts: object }).hosts).toEqual({});
});

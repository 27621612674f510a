/**
 * What each user of the embedded server may and may not do, against that server. The table is the one in docs/nats.md, and
 * the last column of the code below is what is tried for it.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { MissionNode } from '../../actors/node.ts';
import { serverConfig } from '../../bus/nats-config.ts';
import { BUS_ROLES, RIGHTS } from '../../bus/nats-users.ts';
import type { BusRole } from '../../bus/nats-users.ts';
import { busIsUp, withBus } from '../support/bus.ts';
import { eventually } from '../support/eventually.ts';
import { jsonOf, WireClient, wireTo } from '../support/nats-wire.ts';
import { gate, mission, startNode, step, task } from '../support/node.ts';

type Attempt = { publish: string; body?: string } | { subscribe: string };
interface Row {
  what: string;
  may: BusRole[];
  tries: Attempt[];
}

const publish = (subject: string, body = ''): Attempt => ({ publish: subject, body });
const subscribe = (subject: string): Attempt => ({ subscribe: subject });
const LOOKERS: BusRole[] = ['observer', 'operator'];

const TABLE: Row[] = [
  {
    what: 'publish `homelab.>`',
    may: ['agent'],
    tries: [publish('homelab.health_events.nas.plex', '{"type": "service.down"}')],
  },
  {
    what: 'listen to `missions.>`, `homelab.>`, `actions.>`, `ops.>`, `dlq.>`',
    may: LOOKERS,
    tries: ['missions.>', 'missions.m.events', 'homelab.>', 'actions.>', 'ops.>', 'dlq.>'].map(
      subscribe,
    ),
  },
  {
    what: 'list streams and read what they hold, message by message',
    may: LOOKERS,
    tries: [
      publish('$JS.API.INFO'),
      publish('$JS.API.STREAM.LIST', '{"offset":0}'),
      publish('$JS.API.STREAM.NAMES', '{"offset":0}'),
      publish('$JS.API.STREAM.INFO.MISSIONS'),
      publish('$JS.API.STREAM.MSG.GET.MISSIONS', '{"seq":1}'),
    ],
  },
  {
    what: 'list services and their figures (`nats micro`)',
    may: LOOKERS,
    tries: ['$SRV.PING', '$SRV.INFO.lazarus', '$SRV.STATS.lazarus'].map((s) => publish(s)),
  },
  {
    what: 'inject events: `ops.inject.>`',
    may: ['operator'],
    tries: [publish('ops.inject.m', '{"type": "cell.pause"}')],
  },
  {
    what: 'request verbs: `svc.lazarus.>`',
    may: ['operator'],
    tries: [publish('svc.lazarus.status'), publish('svc.lazarus.inject.list')],
  },
  {
    what: 'publish `missions.>`, `actions.>`, `dlq.>`',
    may: [],
    tries: ['missions.m.events', 'missions.x', 'actions.a.approved', 'dlq.inject'].map((s) =>
      publish(s, '{"type": "forged"}'),
    ),
  },
  {
    what: 'make, change, empty or delete a stream, or delete a message',
    may: [],
    tries: [
      publish('$JS.API.STREAM.CREATE.MINE', '{"name":"MINE","subjects":["mine.>"]}'),
      publish('$JS.API.STREAM.UPDATE.MISSIONS', '{"name":"MISSIONS","max_msgs":1}'),
      publish('$JS.API.STREAM.PURGE.MISSIONS'),
      publish('$JS.API.STREAM.DELETE.MISSIONS'),
      publish('$JS.API.STREAM.MSG.DELETE.MISSIONS', '{"seq":1}'),
      publish('$JS.API.STREAM.RESTORE.MISSIONS'),
    ],
  },
  {
    what: 'make, use or delete a consumer, or acknowledge for one',
    may: [],
    tries: [
      publish('$JS.API.CONSUMER.CREATE.OPS', '{}'),
      publish('$JS.API.CONSUMER.CREATE.OPS.mine.ops.inject.m', '{}'),
      publish('$JS.API.CONSUMER.DURABLE.CREATE.OPS.mine', '{}'),
      publish('$JS.API.CONSUMER.MSG.NEXT.OPS.mine'),
      publish('$JS.API.CONSUMER.DELETE.OPS.mine'),
      publish('$JS.ACK.OPS.mine.1.1.1.1.1', '+TERM'),
    ],
  },
  {
    what: 'answer in the name of the runtime, or listen to its requests and to what it asks of the server',
    may: [],
    tries: ['svc.lazarus.>', '$SRV.>', '$JS.>', '$SYS.>', '_R_.>', '>'].map(subscribe),
  },
];

/** What the server said against it; null: nothing. */
async function refusal(client: WireClient, attempt: Attempt): Promise<string | null> {
  const before = client.errors.length;
  if ('publish' in attempt) client.publish(attempt.publish, attempt.body, client.inbox());
  else client.subscribe(attempt.subscribe);
  await client.flush();
  return client.errors[before] ?? null;
}

/** A node whose mission `m` waits at its gate. */
async function atWork(): Promise<MissionNode> {
  const fixture = await startNode({ openDoors: withBus() });
  fixture.drop(mission('m', [task('t', [step('a', gate('g'))])]));
  await fixture.waitsAt('m', 'g');
  await busIsUp(fixture.node);
  return fixture.node;
}

async function lastSeqOf(client: WireClient, stream: string): Promise<number> {
  const { state } = await client.ask(`$JS.API.STREAM.INFO.${stream}`);
  return (state as { last_seq: number }).last_seq;
}

const behind = (node: MissionNode): number =>
  (node.status().parts['nats'] as { outbox: { behind: number } }).outbox.behind;

describe('the users of the embedded server', () => {
  test('may do what the table says and nothing else, and are told by the server', async () => {
    const node = await atWork();
    for (const role of BUS_ROLES) {
      const client = await wireTo(node, role);
      client.subscribe('_INBOX.>');
      for (const { what, may, tries } of TABLE)
        for (const attempt of tries) {
          const said = await refusal(client, attempt);
          const row = `${role}: ${what}: ${JSON.stringify(attempt)}`;
          if (may.includes(role)) expect(said, row).toBeNull();
          else expect(said, row).toMatch(/^Permissions Violation for (Publish|Subscription) to "/);
        }
    }
    const { streams } = (await (
      await wireTo(node)
    ).ask('$JS.API.STREAM.NAMES', '{"offset":0}')) as {
      streams: string[];
    };
    expect(streams.toSorted()).toEqual(['ACTIONS', 'DLQ', 'HOMELAB', 'MISSIONS', 'OPS']);
  });

  test('are in docs/nats.md as they are here', () => {
    const docs = readFileSync(join(import.meta.dirname, '../../docs/nats.md'), 'utf8');
    const rows = docs.split('\n').filter((line) => line.startsWith('| '));
    const cells = rows.map((row) => row.split('|').slice(1, -1));
    const told = cells.map((row) => row.map((cell) => cell.trim()));
    const yes = (may: BusRole[], role: BusRole): string => (may.includes(role) ? 'yes' : 'no');
    for (const { what, may } of TABLE)
      expect(told).toContainEqual([what, ...BUS_ROLES.map((role) => yes(may, role))]);
  });

  test('without credentials, or with wrong ones, nobody gets in', async () => {
    const node = await atWork();
    const url = (JSON.parse(readFileSync(node.layout.node, 'utf8')) as { nats: { url: string } })
      .nats.url;
    const wrong = [{}, { user: 'operator', password: 'x' }, { user: 'lazarus-runtime' }];
    for (const credentials of wrong)
      await expect(WireClient.open({ url, ...credentials })).rejects.toThrow(
        /Authorization Violation/,
      );
  });

  test('no two of them publish the same, so that nothing is handed on twice', () => {
    const all = BUS_ROLES.flatMap((role) => RIGHTS[role].publish.filter((s) => !s.startsWith('$')));
    expect(new Set(all).size).toBe(all.length);
  });
});

describe('what is published under one account', () => {
  test('is heard once by those who may listen, and stored once', async () => {
    const node = await atWork();
    const [agent, observer, operator] = await Promise.all(
      BUS_ROLES.map((role) => wireTo(node, role)),
    );
    if (!agent || !observer || !operator) throw new Error('three roles');
    for (const listener of [observer, operator]) {
      listener.subscribe('homelab.>');
      listener.subscribe('ops.>');
      listener.subscribe('missions.>');
      await listener.flush();
    }
    expect(await agent.ask('homelab.x.y.z', '{}')).toMatchObject({ stream: 'HOMELAB', seq: 1 });
    expect(await operator.ask('ops.inject.m', '{"type":"cell.pause"}')).toMatchObject({
      stream: 'OPS',
      seq: 1,
    });
    for (const listener of [observer, operator]) {
      await eventually(() => {
        const paused = listener.on('missions.m.events').map(jsonOf);
        expect(paused.map(({ type }) => type)).toContain('cell.pause');
      });
      await listener.flush();
      expect(listener.on('homelab.').length).toBe(1);
      expect(listener.on('ops.').length).toBe(1);
      const ids = listener.on('missions.').map((message) => jsonOf(message)['id']);
      expect(new Set(ids).size).toBe(ids.length);
    }
    expect(await lastSeqOf(operator, 'HOMELAB')).toBe(1);
    expect(await lastSeqOf(operator, 'OPS')).toBe(1);
  });
});

describe('an answer sent elsewhere (U1)', () => {
  const ELSEWHERE = [
    'missions.m.events',
    'ops.inject.m',
    'svc.lazarus.cell.pause',
    '$JS.API.STREAM.PURGE.MISSIONS',
    '$JS.API.STREAM.DELETE.MISSIONS',
    'dlq.inject',
  ];
  /** What each role may ask, all of which is answered. */
  const ASKED: [BusRole, string, string][] = [
    ['agent', 'homelab.x', '{}'],
    ['observer', '$SRV.PING', ''],
    ['observer', '$JS.API.STREAM.MSG.GET.MISSIONS', '{"seq":1}'],
    ['operator', 'svc.lazarus.cell.list', ''],
  ];

  test.each(ASKED)('%s may ask %s, and its answer does nothing there', async (...row) => {
    const [role, subject, body] = row;
    const node = await atWork();
    const operator = await wireTo(node);
    // Among users of one kind an answer can go anywhere; the streams and the other kinds never see it.
    const listener = await wireTo(node, role === 'observer' ? 'operator' : 'observer');
    for (const heard of ['missions.>', 'ops.>', 'dlq.>']) listener.subscribe(heard);
    await listener.flush();
    await eventually(() => expect(behind(node)).toBe(0));
    const streams = ['MISSIONS', 'OPS', 'DLQ'];
    const before = await Promise.all(streams.map((stream) => lastSeqOf(operator, stream)));
    const client = await wireTo(node, role);
    for (const reply of ELSEWHERE) client.publish(subject, body, reply);
    await client.flush();
    // What was asked after them is answered after them.
    await client.ask(role === 'agent' ? 'homelab.x' : '$SRV.PING.lazarus');
    await operator.ask('svc.lazarus.status');
    expect(await Promise.all(streams.map((stream) => lastSeqOf(operator, stream)))).toEqual(before);
    const { state } = await operator.ask('$JS.API.STREAM.INFO.MISSIONS');
    expect(state).toMatchObject({ first_seq: 1, messages: before[0] });
    await listener.flush();
    const forged = listener.messages.filter(
      (message) => !message.subject.startsWith('_INBOX') && !message.headers['lazarus-node'],
    );
    expect(forged).toEqual([]);
    expect(node.status().cells[0]?.status).toBe('active');
  });

  test('an answer to one kind of user is not heard by another, nor by a name for its inbox', async () => {
    const node = await atWork();
    const observer = await wireTo(node, 'observer');
    observer.subscribe('_INBOX.>');
    await observer.flush();
    const operator = await wireTo(node);
    await operator.ask('svc.lazarus.status');
    await observer.flush();
    expect(observer.messages).toEqual([]);
  });
});

test('the configuration of the server names no subject that a role was not given', () => {
  const users = BUS_ROLES.map((role) => ({ user: role, password: 'x', rights: RIGHTS[role] }));
  const settings = { port: 0, storeDir: '/s', portsDir: '/p', users };
  const { accounts } = JSON.parse(serverConfig(settings)) as {
    accounts: Record<string, { imports?: { service?: { subject: string } }[] }>;
  };
  const services = (role: string): string[] =>
    (accounts[role]?.imports ?? []).flatMap(({ service }) => (service ? [service.subject] : []));
  expect(services('AGENT')).toEqual(['homelab.>']);
  expect(services('OBSERVER')).toEqual([...RIGHTS.observer.publish]);
  expect(services('OPERATOR')).toEqual([...RIGHTS.operator.publish]);
});

/** The port's own promises, where several write to one stream, against a real server. */
import { onTestFinished, expect, test } from 'vitest';
import { NatsBus } from '../../bus/nats.ts';
import type { BusIntervals } from '../../bus/nats.ts';
import { STREAMS } from '../../bus/streams.ts';
import { eventually } from '../support/eventually.ts';
import { startNats } from '../support/nats-server.ts';
import { startNatsProcess } from '../support/nats-process.ts';
import type { NatsProcess } from '../support/nats-process.ts';

const log = { info: () => undefined, warn: () => undefined };

async function busOf(nodeId: string, url: string): Promise<NatsBus> {
  const { username: user, password } = new URL(url);
  const bus = NatsBus.open({
    url: url.replace(/\/\/.*@/, '//'),
    credentials: () => ({ kind: 'user', user, password }),
    credentialsFrom: 'the test',
    nodeId,
    streams: STREAMS,
    log,
  });
  onTestFinished(() => bus.close());
  await eventually(() => expect(bus.isUp).toBe(true));
  return bus;
}

const messages = (from: number, count: number) =>
  Array.from({ length: count }, (_, n) => ({
    subject: 'missions.m.events',
    body: '{}',
    lsn: from + n,
  }));

test.each([10, 250, 12_000])(
  'given %i messages of others behind our last one, then that is found',
  async (others) => {
    const { url } = await startNats();
    const [ours, theirs] = [await busOf('ours', url), await busOf('theirs', url)];
    expect(await ours.lastPosition('MISSIONS')).toBe(0);
    await ours.publish('MISSIONS', messages(1, 3));
    for (let from = 1; from <= others; from += 500)
      await theirs.publish('MISSIONS', messages(from, Math.min(500, others - from + 1)));
    expect(await ours.lastPosition('MISSIONS')).toBe(3);
    expect(await theirs.lastPosition('MISSIONS')).toBe(others);
    expect(await (await busOf('nobody', url)).lastPosition('MISSIONS')).toBe(0);
    expect(await ours.readers('MISSIONS')).toEqual([]);
  },
  60_000,
);

test('given a message that is told once by several, then the stream has it once; one of an earlier stream does not hide it', async () => {
  const { url } = await startNats();
  const buses = [await busOf('one', url), await busOf('two', url), await busOf('three', url)];
  const tell = (id: string): Promise<boolean[]> =>
    Promise.all(buses.map((bus) => bus.tellOnce('DLQ', 'dlq.inject.7', { id })));
  expect((await tell('a')).filter(Boolean)).toHaveLength(1);
  expect((await tell('a')).filter(Boolean)).toHaveLength(0);
  expect((await tell('b')).filter(Boolean)).toHaveLength(1);
  const newest = await buses[0]?.newest('DLQ', 'dlq.inject.7');
  expect(newest?.position.seq).toBe(2);
  expect(await buses[0]?.newest('DLQ', 'dlq.inject.8')).toBeUndefined();
  expect(await buses[0]?.stored('DLQ', 3)).toBeUndefined();
});

/** A bus that hears what is injected, from the moment at which it is opened. */
function reader(server: NatsProcess, intervals: Partial<BusIntervals>) {
  const heard: string[] = [];
  const bus = NatsBus.open({
    url: server.url,
    credentials: () => ({ kind: 'none' }),
    credentialsFrom: null,
    nodeId: 'ours',
    streams: STREAMS,
    log,
    intervals,
  });
  bus.consume('OPS', {
    durable: 'ours',
    subject: 'ops.inject.>',
    forgottenAfterMs: 60_000,
    begin: async ({ readUpTo }) => (readUpTo ?? 0) + 1,
    handle: async ({ data }) => {
      heard.push(Buffer.from(data).toString());
      return 'done';
    },
  });
  return { bus, heard };
}

const LONG_MS = 600_000;

test('given reading is asked for before there is a connection, then it begins with the connection, not at the next try', async () => {
  const server = await startNatsProcess();
  const { bus, heard } = reader(server, { retryMs: LONG_MS });
  onTestFinished(() => bus.close());
  await eventually(() => expect(bus.isUp).toBe(true));
  await (await server.client()).jetstream().publish('ops.inject.m', 'a');
  await eventually(() => expect(heard).toEqual(['a']));
});

test('given a server that is away until the client gives up, then reading goes on when it is back', async () => {
  const server = await startNatsProcess();
  const { bus, heard } = reader(server, {
    retryMs: 20,
    reconnectMs: 5,
    redeliveryMs: 1000,
    readMs: LONG_MS,
  });
  onTestFinished(() => bus.close());
  for (const text of ['a', 'b', 'c']) {
    await eventually(() => expect(bus.isUp).toBe(true));
    const client = await server.client();
    await client.jetstream().publish('ops.inject.m', text);
    await client.close();
    await eventually(() => expect(heard.at(-1)).toBe(text)); // a read under way would last much longer
    await server.kill();
    await eventually(() => expect(bus.view().reason).toMatch(/nobody listens/));
    await server.start();
  }
});

test('given no server, when it is closed, then the next try is not waited for', async () => {
  const server = await startNatsProcess();
  await server.kill();
  const { bus } = reader(server, { retryMs: LONG_MS });
  await eventually(() => expect(bus.view().reason).toMatch(/nobody listens/));
  await bus.close();
});

test('given a server that dies while it is asked, then the answer is not waited for', async () => {
  const server = await startNatsProcess();
  const { bus } = reader(server, { ackMs: LONG_MS });
  onTestFinished(() => bus.close());
  await eventually(() => expect(bus.isUp).toBe(true));
  expect(await bus.lastPosition('MISSIONS')).toBe(0);
  server.freeze();
  const asked = Promise.allSettled([
    bus.publish('MISSIONS', messages(1, 3)),
    bus.lastPosition('HOMELAB'),
    bus.tellOnce('DLQ', 'dlq.inject.7', { id: 'a' }),
    bus.readers('OPS'),
  ]);
  await server.kill();
  const answers = await asked;
  expect(answers.map(({ status }) => status)).toEqual(Array(4).fill('rejected'));
});

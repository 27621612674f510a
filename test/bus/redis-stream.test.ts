/** The reader of a stream, by a real connection whose answers are held back where the order of things matters. */
import { expect, test } from 'vitest';
import { readStream } from '../../bus/redis-stream.ts';
import type { StreamEntry } from '../../bus/redis-stream.ts';
import { connectRedis } from '../../bus/redis.ts';
import type { RedisConnection } from '../../bus/redis.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis-server.ts';

test('given that all under way ends while the reader looks for more in vain, then it reads on', async () => {
  const redis = await startRedis();
  const client = await redis.client();
  await client.xGroupCreate('s', 'g', '0', { MKSTREAM: true });
  const connection = await connectRedis({ url: redis.url, name: 'test' });
  const delivered: string[] = [];
  let isDurable = Promise.withResolvers<void>();
  let isAcknowledged = Promise.withResolvers<void>();
  const held: RedisConnection = Object.create(connection, {
    send: {
      value: async (command: string[]) => {
        const reply = await connection.send(command);
        if (command[0] === 'XACK') isAcknowledged.resolve();
        const isLook = command[0] === 'XREADGROUP' && !command.includes('BLOCK');
        if (isLook && command.at(-1) === '>' && delivered.length > 0) {
          isDurable.resolve();
          await isAcknowledged.promise;
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        return reply;
      },
    },
  }) as RedisConnection;
  const stop = new AbortController();
  const sink = {
    lastRead: () => undefined,
    sawNone: false,
    beginAfter: () => Promise.resolve(),
    missed: () => Promise.resolve(),
    deliver: (entries: StreamEntry[]) => {
      delivered.push(...entries.map(({ id }) => id));
      return isDurable.promise;
    },
  };
  const options = {
    stream: 's',
    group: 'g',
    consumer: 'c',
    signal: stop.signal,
    onState: () => {},
  };
  const reading = readStream(held, sink, options);
  const added: string[] = [];
  for (let n = 0; n < 3; n += 1) {
    isDurable = Promise.withResolvers<void>();
    isAcknowledged = Promise.withResolvers<void>();
    added.push(await client.xAdd('s', '*', { n: String(n) }));
    await eventually(() => expect(delivered).toEqual(added));
    await isAcknowledged.promise;
  }
  stop.abort();
  await reading;
  connection.close();
});

import { expect, onTestFinished, test } from 'vitest';
import { RedisPublisher } from '../../bus/redis-publisher.ts';
import { eventually } from '../support/eventually.ts';
import { freePort, startRedis } from '../support/redis-server.ts';

const QUICK = { firstMs: 10, mostMs: 50 };

function publisherFor(url: string): RedisPublisher {
  const publisher = new RedisPublisher({ url, name: 'test', backoff: QUICK });
  onTestFinished(() => publisher.close());
  return publisher;
}

test('given somebody who listens, then the messages come in order', async () => {
  const redis = await startRedis();
  const heard: string[] = [];
  const client = await redis.client();
  await client.subscribe('metrics', (text: string) => void heard.push(text));
  const publisher = publisherFor(redis.url);
  for (let n = 0; n < 50; n += 1) publisher.publish('metrics', String(n));
  await eventually(() => expect(heard).toHaveLength(50));
  expect(heard).toEqual(Array.from({ length: 50 }, (_, n) => String(n)));
});

test('given no server, then what waits is bounded, and what is lost is counted; it goes out when there is one', async () => {
  const port = await freePort();
  const publisher = publisherFor(`redis://127.0.0.1:${port}`);
  for (let n = 0; n < 1200; n += 1) publisher.publish('metrics', String(n));
  expect(publisher.view()).toEqual({ published: 0, dropped: 200, waiting: 1000 });
  await startRedis({ port });
  await eventually(() =>
    expect(publisher.view()).toEqual({ published: 1000, dropped: 200, waiting: 0 }),
  );
});

test('given that the server is killed, then it goes on with the next one', async () => {
  const redis = await startRedis();
  const publisher = publisherFor(redis.url);
  publisher.publish('metrics', 'a');
  await eventually(() => expect(publisher.view().published).toBe(1));
  await redis.kill();
  publisher.publish('metrics', 'b');
  await redis.start();
  await eventually(() => expect(publisher.view()).toMatchObject({ published: 2, waiting: 0 }));
});

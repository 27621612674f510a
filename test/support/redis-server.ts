/** A redis-server that ends with the test. */
import { onTestFinished } from 'vitest';
import { openRedis } from './redis-process.ts';
import type { RedisServer, RedisServerOptions } from './redis-process.ts';

export { flood, freePort } from './redis-process.ts';

export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const server = await openRedis(options);
  onTestFinished(() => server.dispose());
  return server;
}

/** `lazarus up --redis`, as an operator meets it. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { isUp, lazarus, missionsFolder, nodeFileOf, Running } from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';
import { published } from '../support/redis-bridge.ts';
import { startRedis } from '../support/redis-server.ts';

test('given a server with a password, then the bridge is up, its events are shown, and the password is not', async () => {
  const redis = await startRedis({ password: 's3cret-word' });
  const missions = missionsFolder();
  const node = Running.of(missions, 'up', '--redis', redis.url);
  await isUp(missions, node);
  const status = async (): Promise<Record<string, unknown>> => {
    const { json } = await lazarus(missions, 'status', '--json');
    return (json()['parts'] as Record<string, Record<string, unknown>>)['redis'] ?? {};
  };
  await eventually(async () => expect((await status())['state']).toBe('up'), { timeoutMs: 10_000 });
  const client = await redis.client();
  await client.publish('health_events', published(1));
  await eventually(async () => expect((await status())['heard']).toBe(1), { timeoutMs: 10_000 });
  const config = await lazarus(missions, 'config', 'show');
  const file = readFileSync(nodeFileOf(missions), 'utf8');
  expect(file).toContain(`redis://127.0.0.1:${redis.port}/0`);
  node.child.kill('SIGTERM');
  const { code, out, err } = await node.ended;
  expect(code).toBe(0);
  for (const said of [out, err, file, config.out]) expect(said).not.toContain('s3cret-word');
}, 60_000);

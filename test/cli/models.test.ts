/** `lazarus models`: a key that is not taken leaves its models out for long; mended, they are asked again at a word. */
import { expect, onTestFinished, test } from 'vitest';
import { lazarus } from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';
import { askedIn, proposalAbout } from '../support/homelab-models.ts';
import { HomelabProcess, HOST } from '../support/homelab-process.ts';
import { claude, openAnthropic } from '../support/llm-servers.ts';
import { startRedis } from '../support/redis-server.ts';

const LONG = { timeoutMs: 40_000 };
const HAIKU = 'claude-haiku-5-5';

test('given a key that was not taken, when it is mended and a person says so, then the next event is diagnosed', async () => {
  const redis = await startRedis();
  const server = await openAnthropic('sk-test', claude.error(401, 'authentication_error', 'no'));
  onTestFinished(() => server.close());
  const lab = new HomelabProcess({
    NATS_URL: 'off',
    REDIS_URL: redis.url,
    OLLAMA_HOST: 'http://127.0.0.1:9',
    ANTHROPIC_API_KEY: 'sk-test',
    ANTHROPIC_BASE_URL: server.url,
  });
  onTestFinished(() => lab.dispose());
  const none = await lazarus(lab.missions, 'models');
  expect(none.out).toMatch(/No model is on record here/);
  let life = await lab.up();
  await eventually(async () => expect((await lab.part('redis'))['state']).toBe('up'), LONG);
  const client = await redis.client();
  const hears = (timestamp: number): Promise<number> =>
    client.publish(
      'health_events',
      JSON.stringify({ type: 'service_unhealthy', node: HOST, service: 'web', timestamp }),
    );
  await hears(1_790_000_000);
  await eventually(() => expect(life.logged('llm_chain_exhausted')).toHaveLength(1), LONG);
  await life.stop();
  const offline = await lazarus(lab.missions, 'models');
  expect(offline.out).toMatch(/claude-haiku-5-5 +cooling +1 +1 .*asked again at 20/);
  server.otherwise = (response, hit) => claude.answer(proposalAbout(askedIn(hit)))(response, hit);
  life = await lab.up();
  await eventually(async () => expect((await lab.part('redis'))['state']).toBe('up'), LONG);
  expect((await lazarus(lab.missions, 'models')).out).toMatch(/claude-haiku-5-5 +cooling/);
  expect(await lazarus(lab.missions, 'models', 'reset', 'gpt-9')).toMatchObject({ code: 1 });
  const reset = await lazarus(lab.missions, 'models', 'reset', HAIKU);
  expect(reset).toMatchObject({ code: 0, out: `asked again with the next question: ${HAIKU}\n` });
  await hears(1_790_000_001);
  const id = `plan-${HOST}-web-1790000001`;
  await eventually(() => expect(lab.ids('pending')).toEqual([id]), LONG);
  const list = await lazarus(lab.missions, 'models', '--json');
  expect(list.json()['models']).toMatchObject([
    { state: 'down' },
    { model: HAIKU, state: 'up', calls: 2 },
    { state: 'cooling' }, // nobody spoke of that one
  ]);
}, 120_000);

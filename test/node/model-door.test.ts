/** Models on a node, asked over the real wire: when tasks can be given to them, what is told of it, and what a kill repeats. */
import { getEventListeners, once } from 'node:events';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { OllamaHealth } from '../../actors/llm/ollama-health.ts';
import { lookForModels, METRICS_CHANNEL, openModelDoor } from '../../actors/model-door.ts';
import type { MissionNode, OpenDoor } from '../../actors/node.ts';
import type { JsonObject } from '../../machines/json.ts';
import { eventually } from '../support/eventually.ts';
import { ollama, openOllama } from '../support/llm-servers.ts';
import type { LlmServer } from '../support/llm-servers.ts';
import { dropInto, mission, startNode, temporaryMissions } from '../support/node.ts';
import { startRedis } from '../support/redis-server.ts';

const REPORT = JSON.stringify({ outcome: 'done', report: '# Seen\nAll is well.' });
const log = { info: () => undefined, warn: () => undefined };

async function startOllama(): Promise<LlmServer> {
  const server = await openOllama(ollama.answer(REPORT));
  onTestFinished(async () => {
    await server.close();
    expect(server.violations).toEqual([]);
  });
  return server;
}

const doorTo =
  (environment: Record<string, string>, redisUrl?: string) =>
  async (node: MissionNode): Promise<OpenDoor[]> => [
    openModelDoor(node, { environment, log, lookMs: 50, ...(redisUrl && { redisUrl }) }),
  ];

const bare = mission('m', [{ task_id: 't', title: 'Look', description: 'Say what you see.' }]);

test('given a server, then the task is done by its model, and every request is on record and told to Redis', async () => {
  const [server, redis] = [await startOllama(), await startRedis()];
  const told: JsonObject[] = [];
  const client = await redis.client();
  await client.subscribe(METRICS_CHANNEL, (text: string) => {
    told.push(JSON.parse(text) as JsonObject);
  });
  const at = await startNode({ openDoors: doorTo({ OLLAMA_HOST: server.url }, redis.url) });
  at.drop(bare);
  await at.cellIs('m', 'completed');
  expect(at.text('m', 'artifacts/reports/t.md')).toBe('# Seen\nAll is well.\n');
  expect(server.hits).toHaveLength(1);
  const [first] = at.node.status().parts['llm'] as JsonObject[];
  expect(first).toMatchObject({ model: 'ollama/qwen2.5:7b', state: 'up', calls: 1 });
  await eventually(() => {
    expect(told.map(({ type }) => type)).toEqual(['llm_attempt', 'llm_call']);
  });
});

test('given neither server nor key, then the status says so of each model, and the task waits for one', async () => {
  const at = await startNode({ openDoors: doorTo({ OLLAMA_HOST: 'http://127.0.0.1:9' }) });
  at.drop(bare);
  await at.taskIs('m', 't', 'pending');
  await eventually(() => {
    const states = (at.node.status().parts['llm'] as JsonObject[]).map(({ state }) => state);
    expect(states).toEqual(['down', 'off', 'off']);
  });
  expect(at.task('m', 't').blocked_reason).toContain('configure a model');
});

test('given answers that are none again and again, then the task fails with what the models said, and nothing is asked for ever', async () => {
  const server = await startOllama();
  server.otherwise = ollama.answer('{"outcome": "perhaps"}');
  const at = await startNode({ openDoors: doorTo({ OLLAMA_HOST: server.url }) });
  at.drop({ ...bare, config: { policies: { max_retries: 0 } } });
  await at.cellIs('m', 'failed');
  expect(at.task('m', 't').blocked_reason).toContain('no model gave an answer that counts');
  expect(server.hits).toHaveLength(3); // the question, and two that ask for a mended answer
});

test('given a server that is too busy to say at once what it has, then it is not known to be away, and is asked', async () => {
  const silent = createServer(() => undefined).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  onTestFinished(() => silent.close().closeAllConnections());
  const { port } = silent.address() as AddressInfo;
  const health = new OllamaHealth(`http://127.0.0.1:${port}`, Date.now);
  const { signal } = new AbortController();
  expect(await health.ready('qwen2.5:7b', signal)).toEqual({ state: 'unknown' });
  const away = new OllamaHealth('http://127.0.0.1:9', Date.now);
  expect(await away.ready('qwen2.5:7b', signal)).toMatchObject({ state: 'down' });
});

test('given no model for long, then nothing piles up while one is looked for', async () => {
  const stop = new AbortController();
  const health = new OllamaHealth('http://127.0.0.1:9', () => (looks += 1) * 3_600_000); // never fresh
  let looks = 0;
  const isReady = async (signal: AbortSignal): Promise<boolean> =>
    (await health.ready('m', signal)).state === 'up';
  const looking = lookForModels({ isReady }, { lookMs: 1, signal: stop.signal });
  await eventually(() => expect(looks).toBeGreaterThan(60));
  expect(getEventListeners(stop.signal, 'abort').length).toBeLessThan(5);
  stop.abort();
  expect(await looking).toBe(false);
});

const entry = fileURLToPath(new URL('../support/model-child.ts', import.meta.url));

async function startChild(
  missions: string,
  url: string,
  fault?: string,
): Promise<() => Promise<void>> {
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', entry, missions],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, OLLAMA_HOST: url, ...(fault && { KILL_AT: fault }) },
    },
  );
  const exited = once(child, 'exit');
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await exited;
  };
  onTestFinished(kill);
  await Promise.race([once(child.stdout, 'data'), exited]);
  return fault === undefined ? kill : async () => void (await exited);
}

test.each([
  ['before the answer is on disk', 'model-step.after-answer', 2],
  ['when the report is on disk and its outcome is not', 'model-step.after-report', 2],
  ['when report and outcome are on disk', 'effect.runStep.after-run', 1],
])('given a SIGKILL %s, then one report comes of it', async (_, fault, asked) => {
  const server = await startOllama();
  const missions = temporaryMissions();
  dropInto(missions, bare);
  const gone = await startChild(missions, server.url, fault);
  await gone();
  expect(server.hits).toHaveLength(1);
  const kill = await startChild(missions, server.url);
  await eventually(
    () => {
      const { status } = JSON.parse(readFileSync(`${missions}/m/cell.json`, 'utf8')) as JsonObject;
      expect(status).toBe('completed');
    },
    { timeoutMs: 15_000 },
  );
  await kill();
  expect(server.hits).toHaveLength(asked);
  expect(readFileSync(`${missions}/m/artifacts/reports/t.md`, 'utf8')).toContain('All is well');
});

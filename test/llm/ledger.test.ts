/**
 * The router on a real actor system: what it knows of models and money is in the journal before a request leaves, and the
 * same after a restart, a kill, or a disk that failed for a while.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Kernel } from '../../actors/kernel.ts';
import { openLlm } from '../../actors/llm/open.ts';
import type { OpenLlm } from '../../actors/llm/open.ts';
import { LlmUnavailable } from '../../actors/llm/router-types.ts';
import { machineRegistry } from '../../actors/registry.ts';
import { LLM_ADDRESS } from '../../machines/addresses.ts';
import { mergeConfig } from '../../machines/daemon-config.ts';
import type { JsonObject } from '../../machines/json.ts';
import type { LlmConfig } from '../../machines/llm-config.ts';
import type { LlmModels } from '../../machines/llm-models.ts';
import { eventually } from '../support/eventually.ts';
import { failingIo } from '../support/failing-io.ts';
import { openKernel } from '../support/kernel.ts';
import type { KernelFixture } from '../support/kernel.ts';
import { good, KEY, QUESTION } from '../support/llm-router.ts';
import { startNode } from '../support/node.ts';
import { anyWire, claude, openAnthropic } from '../support/llm-servers.ts';
import type { LlmServer } from '../support/llm-servers.ts';

const HAIKU = 'claude-haiku-5-5';

interface Fixture {
  kernel: KernelFixture;
  server: LlmServer;
  logged: unknown[];
  llm: (kernel: Kernel) => OpenLlm;
}

async function open(config: LlmConfig = {}, options = {}): Promise<Fixture> {
  const server = await openAnthropic(KEY, claude.answer(good()));
  const kernel = await openKernel({ registry: machineRegistry(), ...options });
  const logged: unknown[] = [];
  const opened: OpenLlm[] = [];
  onTestFinished(async () => {
    for (const one of opened) await one.close();
    await kernel.dispose();
    await server.close();
  });
  return {
    kernel,
    server,
    logged,
    llm: ({ system }) => {
      const log = { warn: (fields: object, message: string) => void logged.push(fields, message) };
      const chain = [{ model: HAIKU }];
      const given: LlmConfig = { chain, ...config, anthropic: { base_url: server.url } };
      const environment = { ANTHROPIC_API_KEY: KEY };
      const one = openLlm({ system, config: () => structuredClone(given), environment, log });
      opened.push(one);
      return one;
    },
  };
}

const models = ({ system }: Kernel): LlmModels =>
  system.read(LLM_ADDRESS).snapshot.context as LlmModels;

test('given a restart, clean or by a kill, then breakers and money are as they were', async () => {
  for (const how of ['clean', 'crash'] as const) {
    const { kernel, server, llm } = await open();
    const before = llm(kernel.kernel);
    await before.router.route(QUESTION);
    server.otherwise = claude.error(402, 'billing_error', 'no money');
    await expect(before.router.route(QUESTION)).rejects.toThrow(LlmUnavailable);
    const known = models(kernel.kernel);
    await before.close();
    const after = llm(await kernel.reopen(how));
    expect(models(kernel.kernel)).toEqual(known);
    expect(known.today.nanoUsd).toBeGreaterThan(0);
    expect(after.router.status()).toMatchObject([{ state: 'cooling', calls: 2, failures: 1 }]);
    await expect(after.router.route(QUESTION)).rejects.toThrow(/no money/);
    expect(server.hits).toHaveLength(2);
  }
});

test('given a kill while the model thinks, then the attempt stays charged at its worst', async () => {
  const { kernel, server, llm } = await open();
  server.otherwise = anyWire.silent();
  const caller = new AbortController();
  const asking = llm(kernel.kernel).router.route(QUESTION, { signal: caller.signal });
  asking.catch(() => undefined);
  await eventually(() => expect(server.hits).toHaveLength(1));
  await kernel.reopen('crash');
  caller.abort();
  const { open: underWay, today, total } = models(kernel.kernel);
  const [reserve] = Object.values(underWay).map((attempt) => attempt.reserve);
  expect(reserve?.nanoUsd).toBeGreaterThan(0);
  expect(total).toEqual(reserve);
  expect(today).toMatchObject({ ...reserve });
});

test('each request is one record before and one after, in order, and in the journal of committed events', async () => {
  const { kernel, server, llm } = await open();
  const events: (JsonObject & { type: string })[] = [];
  kernel.kernel.system.on('committed', ({ address, event }) => {
    if (address === LLM_ADDRESS) events.push(event);
  });
  server.script = [
    claude.answer('Restart it.'),
    claude.error(500, 'api_error', 'x'),
    claude.answer(good()),
  ];
  await llm(kernel.kernel).router.route(QUESTION);
  const attempts = events.filter(({ type }) => type.startsWith('llm.attempt'));
  expect(attempts.map(({ type, attempt }) => [type, attempt])).toEqual(
    [1, 2, 3].flatMap((n) => [
      ['llm.attempt.started', n],
      ['llm.attempt.ended', n],
    ]),
  );
  expect(server.hits).toHaveLength(3);
});

test('given a journal that cannot be written, then nothing is sent until it can', async () => {
  const disk = failingIo();
  const { kernel, server, llm } = await open({}, { journalIo: disk.io });
  const { router } = llm(kernel.kernel);
  await router.route(QUESTION);
  disk.fail('ENOSPC');
  await expect(router.route(QUESTION)).rejects.not.toThrow(LlmUnavailable);
  await expect(router.route(QUESTION)).rejects.toMatchObject({ code: 'JOURNAL_HELD' });
  expect(server.hits).toHaveLength(1);
  disk.mend();
  await eventually(() => router.route(QUESTION));
  expect(server.hits).toHaveLength(2);
});

test('given a disk that fails while the model answers, then the answer counts and its end is recorded later', async () => {
  const disk = failingIo();
  const { kernel, server, llm } = await open({}, { journalIo: disk.io });
  const { router } = llm(kernel.kernel);
  server.script = [
    async (response, hit) => {
      disk.fail('EIO');
      await claude.answer(good())(response, hit);
    },
  ];
  const result = await router.route(QUESTION);
  expect(result.content).toMatchObject({ action: 'restart' });
  disk.mend();
  await eventually(
    () => {
      const { open: underWay, total } = models(kernel.kernel);
      expect(underWay).toEqual({});
      expect(total).toEqual(result.spent);
    },
    { timeoutMs: 15_000 },
  );
});

test('given many questions at once and money for one, then one is asked', async () => {
  const { kernel, server, llm } = await open({
    prices: { [HAIKU]: { input: 0, output: 1000 } },
    budget: { usd_per_day: 0.45 }, // 300 tokens are 0.30
  });
  const { router } = llm(kernel.kernel);
  server.otherwise = claude.answer(good(), { dripMs: 100 });
  const all = await Promise.allSettled([1, 2, 3].map(() => router.route(QUESTION)));
  expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  expect(server.hits).toHaveLength(1);
  expect(models(kernel.kernel).today.nanoUsd).toBeLessThan(0.45e9);
});

test('neither key nor prompt nor answer stands in any file of the node, nor in its log', async () => {
  const { kernel, server, llm, logged } = await open();
  const { router } = llm(kernel.kernel);
  server.script = [claude.answer(good({ confidence: 7, reason: 'words of an answer' }))];
  await router.route(QUESTION, { context: { type: 't', payload: 'words of a payload' } });
  server.script = [claude.error(403, 'permission_error', `key ${KEY} may not`)];
  await router.route(QUESTION).catch(() => undefined);
  await kernel.reopen('clean');
  const everything = filesIn(kernel.folder).join('\n') + JSON.stringify([logged, kernel.warnings]);
  expect(everything).toContain('llm.attempt.ended');
  const secrets = [
    KEY,
    QUESTION.messages[1]?.content ?? '',
    'words of an answer',
    'words of a payload',
  ];
  for (const secret of secrets) expect(everything.includes(secret)).toBe(false);
});

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile())
    .map((path) => readFileSync(path, 'latin1'));
}

test('the settings of a running node count from the next question on', async () => {
  const { kernel, server } = await open();
  const config: { now: LlmConfig } = { now: { chain: [] } };
  const log = { warn: () => undefined };
  const environment = { ANTHROPIC_API_KEY: KEY };
  const { system } = kernel.kernel;
  const llm = openLlm({ system, config: () => config.now, environment, log });
  await expect(llm.router.route(QUESTION)).rejects.toThrow('the chain is empty');
  config.now = { chain: [{ model: HAIKU }], anthropic: { base_url: server.url } };
  expect((await llm.router.route(QUESTION)).model).toBe(HAIKU);
  expect(llm.parts?.()).toMatchObject({ llm: [{ model: HAIKU, state: 'up' }] });
  server.otherwise = claude.error(401, 'authentication_error', 'no');
  await expect(llm.router.route(QUESTION)).rejects.toThrow('auth');
  await expect(llm.router.route(QUESTION)).rejects.toThrow('until');
  server.otherwise = claude.answer(good());
  config.now = { ...config.now, deadline: 60 };
  expect((await llm.router.route(QUESTION)).model).toBe(HAIKU);
  await llm.close();
});

test('given its memory is held, then the status says so and nothing is asked', async () => {
  const { kernel, server, llm } = await open();
  const { router } = llm(kernel.kernel);
  await router.route(QUESTION);
  const { system } = kernel.kernel;
  const actor = system.actors.get(LLM_ADDRESS);
  if (!actor) throw new Error('no actor');
  await system.settled();
  actor.resident = undefined;
  system.holdActor(actor, { code: 'CHECKPOINT_CORRUPT', reason: 'its checkpoint is damaged' });
  const [view] = router.status();
  expect(view?.['state']).toBe('down');
  expect(view?.['reason']).toContain('damaged');
  expect(router.metrics().length).toBeGreaterThan(5);
  await expect(router.route(QUESTION)).rejects.toMatchObject({ code: 'ACTOR_HELD' });
  expect(server.hits).toHaveLength(1);
});

test('on a node: the status has the models, and `/metrics` their numbers', async () => {
  const server = await openAnthropic(KEY, claude.answer(good()));
  onTestFinished(() => server.close());
  const llm: LlmConfig = {
    chain: [{ model: HAIKU }, { model: 'rules' }],
    anthropic: { base_url: server.url },
  };
  const value = llm as unknown as JsonObject;
  const config = mergeConfig([{ llm: { value, origin: { from: 'option', name: 'test' } } }], null);
  let opened: OpenLlm | undefined;
  const { node } = await startNode({
    config,
    openDoors: (started) => {
      opened = openLlm({
        system: started.kernel.system,
        config: () => started.config.values.llm,
        environment: { ANTHROPIC_API_KEY: KEY },
        log: { warn: () => undefined },
      });
      return Promise.resolve([opened]);
    },
  });
  expect(node.parts()).toMatchObject({
    llm: [{ model: HAIKU, state: 'unknown' }, { state: 'up' }],
  });
  await opened?.router.route(QUESTION);
  expect(node.status().parts).toMatchObject({
    llm: [{ state: 'up', calls: 1 }, { model: 'rules' }],
  });
  const names = node.doorMetrics().map(({ name }) => name);
  expect(names).toContain('lazarus_llm_cost_usd_total');
});

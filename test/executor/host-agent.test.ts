/** The way by NATS: a real server, and an agent that speaks the protocol of docs/executor.md. */
import { join } from 'node:path';
import type { NatsConnection } from 'nats';
import { describe, expect, onTestFinished, test } from 'vitest';
import { NatsBus } from '../../bus/nats.ts';
import { STREAMS } from '../../bus/streams.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { eventually } from '../support/eventually.ts';
import { makeFakeHost, runnable, runOnce } from '../support/fake-docker.ts';
import { startNatsProcess } from '../support/nats-process.ts';

const never = new AbortController().signal;
const log = { info: () => {}, warn: () => {} };

/** `answer`: by operation; undefined keeps silent. */
async function world(answer: (request: JsonObject) => JsonValue | undefined) {
  const server = await startNatsProcess();
  const bus = NatsBus.open({
    url: server.url,
    credentials: () => ({ kind: 'none' }),
    credentialsFrom: null,
    nodeId: 'node-1',
    streams: STREAMS,
    log,
  });
  onTestFinished(() => bus.close());
  await eventually(() => expect(bus.isUp).toBe(true), { timeoutMs: 10_000 });
  const client = await server.client();
  const requests = await serve(client, 'exec.nas%2E1', answer);
  const host = makeFakeHost();
  host.configure({
    hosts: { 'nas.1': { via: 'nats' }, gone: { via: 'nats', subject: 'my.agents.gone' } },
    commands: { tidy: { argv: ['tidy', '{service}'] } },
    timeouts: { container_restart: 0.5, connect: 0.1, probe: 0.5 },
  });
  const executor = await host.open({ agents: bus });
  return { host, executor, requests, bus };
}

async function serve(
  client: NatsConnection,
  subject: string,
  answer: (request: JsonObject) => JsonValue | undefined,
): Promise<JsonObject[]> {
  const requests: JsonObject[] = [];
  client.subscribe(subject, {
    callback: (_error, message) => {
      const request = message.json<JsonObject>();
      requests.push(request);
      const body = answer(request);
      if (body !== undefined) message.respond(JSON.stringify(body));
    },
  });
  await client.flush();
  return requests;
}

const run = runnable({ host: 'nas.1' });
const placeOf = (folder: string) => ({
  key: 'system/action/x#1#run',
  outputFolder: join(folder, 'output', run.actionId),
  signal: never,
});

describe('a request to a host’s agent', () => {
  test('says what is to be done, with the key; the answer is the outcome', async () => {
    const { host, executor, requests } = await world(({ op }) =>
      op === 'health'
        ? { health: 'healthy' }
        : { ok: true, exit_code: 0, stdout: 'web \u001b[2Jpassword=hunter22\n' },
    );
    expect(await executor.plan(run)).toMatchObject({
      via: 'nats exec.nas%2E1',
      semantics: 'verify',
      verifies: true,
    });
    const { outcome } = await runOnce(host, executor, run);
    expect(outcome).toMatchObject({ ok: true, exit_code: 0 });
    expect(outcome.stdout).toMatch(/^web password=/);
    expect(outcome.stdout).not.toContain('hunter22');
    expect(outcome.stdout).not.toContain('\u001b');
    expect(requests[0]).toMatchObject({
      format: 'lazarus.exec@1',
      op: 'run',
      key: 'system/action/x#1#run',
      type: 'container_restart',
      host: 'nas.1',
      service: 'web',
      container: 'web',
      timeout_s: 0.5,
    });
    expect(await executor.isHealthy(run, never)).toBe('healthy');
    const command = runnable({
      host: 'nas.1',
      type: 'command',
      payload: { command: 'tidy' },
      actionId: 'c',
    });
    await runOnce(host, executor, command);
    expect(requests.at(-1)).toMatchObject({
      type: 'command',
      command: 'tidy',
      argv: ['tidy', 'web'],
    });
    expect(host.calls()).toEqual([]);
  });

  test.each(['homelab.exec.nas', 'actions.run'])(
    'given a subject that a stream keeps (%s), then it is refused before anything is asked',
    async (subject) => {
      const host = makeFakeHost();
      host.configure({ hosts: { nas: { via: 'nats', subject } } });
      const executor = await host.open();
      await expect(executor.plan(runnable({ host: 'nas' }))).rejects.toMatchObject({
        code: 'NOT_CONFIGURED',
        hint: expect.stringContaining('exec.<host>') as string,
      });
    },
  );

  test('given a failure there, then it is a known one', async () => {
    const { host, executor } = await world(() => ({
      ok: false,
      exit_code: 3,
      reason: 'no such\u0007 container',
    }));
    const { outcome } = await runOnce(host, executor, run);
    expect(outcome).toMatchObject({ ok: false, exit_code: 3 });
    expect(outcome.reason).toContain('no such');
    expect(outcome.reason).not.toContain('\u0007');
  });

  test('given nobody who listens, then nothing was done, and that is known', async () => {
    const { host, executor } = await world(() => undefined);
    const { outcome } = await runOnce(host, executor, runnable({ host: 'gone' }));
    expect(outcome.ok).toBe(false);
    expect(outcome.reason).toContain('nobody listens on my.agents.gone');
  });

  test('given no bus, then nothing was sent, and that is known', async () => {
    const host = makeFakeHost();
    host.configure({ hosts: { 'nas.1': { via: 'nats' } } });
    const { outcome } = await runOnce(host, await host.open(), run);
    expect(outcome.reason).toBe('nothing was sent: the bus is off');
  });

  test.each<[string, JsonValue]>([
    ['no object', ['ok']],
    ['no ok', { exit_code: 0 }],
    ['a contradiction', { ok: true, exit_code: 1 }],
    ['a code that is none', { ok: true, exit_code: '0' }],
    ['a signal that is none', { ok: false, signal: 'x; rm' }],
  ])('given an answer that makes no sense (%s), then nobody knows', async (_name, body) => {
    const { host, executor } = await world(() => body);
    await expect(runOnce(host, executor, run)).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    expect(await executor.recover(run, placeOf(host.folder))).toEqual({ kind: 'unknown' });
  });

  test.each<[string, JsonValue, object]>([
    ['done', { state: 'done', ok: true, exit_code: 0 }, { kind: 'done', output: { ok: true } }],
    ['failed', { state: 'done', ok: false, exit_code: 1 }, { kind: 'done', output: { ok: false } }],
    ['not begun', { state: 'not_started' }, { kind: 'not_started' }],
    ['still running', { state: 'running' }, { kind: 'unknown' }],
    ['nonsense', { state: 'done' }, { kind: 'unknown' }],
  ])(
    'given no answer in time, then it is asked what became of the key: %s',
    async (_name, status, found) => {
      const { host, executor, requests } = await world(({ op }) =>
        op === 'status' ? status : undefined,
      );
      const quick = { ...run };
      const running = runOnce(host, executor, quick);
      await expect(running).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
      expect(await executor.recover(run, placeOf(host.folder))).toMatchObject(found);
      const unique = new Map(requests.map(({ op, key }) => [op, key])); // what still runs is asked about again
      expect([...unique]).toEqual([
        ['run', 'system/action/x#1#run'],
        ['status', 'system/action/x#1#run'],
      ]);
    },
  );

  test('given it still runs there, then it is asked again until it has ended', async () => {
    let times = 0;
    const { host, executor } = await world(({ op }) => {
      if (op !== 'status') return undefined;
      times += 1;
      return times === 1 ? { state: 'running' } : { state: 'done', ok: true, exit_code: 0 };
    });
    await expect(runOnce(host, executor, run)).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    const found = { kind: 'done', output: { ok: true } };
    expect(await executor.recover(run, placeOf(host.folder))).toMatchObject(found);
  });

  test('when it is withdrawn while the agent works, then it waits no longer, and what became of it is unknown', async () => {
    const { host, executor, requests } = await world(() => undefined);
    const controller = new AbortController();
    const running = runOnce(host, executor, run, { signal: controller.signal });
    await eventually(() => expect(requests).toHaveLength(1));
    controller.abort(new Error('withdrawn'));
    await expect(running).rejects.toThrow('withdrawn');
    expect(await executor.recover(run, placeOf(host.folder))).toEqual({ kind: 'unknown' });
  });
});

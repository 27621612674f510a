/** The agent of a host: what it does of what it is asked, by its own executor.json, and each key once. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { HostService, narrowed } from '../../actors/executor/host-service.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { eventually } from '../support/eventually.ts';
import { makeFakeHost } from '../support/fake-docker.ts';

const log = { warn: () => undefined };

async function agent(config: object = {}, host = makeFakeHost()) {
  const folder = mkdtempSync(join(tmpdir(), 'lazarus-host-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  host.configure(config);
  host.containers({ web: { StartedAt: '2026-01-01T00:00:00Z', Running: true } });
  const open = async (signal = new AbortController().signal) => {
    const executor = await host.open({ localHosts: ['nas'], settingFor: narrowed });
    return new HostService({ host: 'nas', executor, folder, signal, log });
  };
  return { host, service: await open(), open };
}

const asked = (more: JsonObject = {}): JsonObject => ({
  format: 'lazarus.exec@1',
  op: 'run',
  key: 'system/action/a#7#run',
  action_id: 'a',
  sha256: 'a'.repeat(64),
  type: 'container_restart',
  host: 'nas',
  service: 'web',
  timeout_s: 20,
  container: 'web',
  ...more,
});

const restarts = (acts: string[]): number =>
  acts.filter((act) => /\brestart web$/.test(act)).length;

describe('a request', () => {
  test('is done by argv, and answered with its end; asked again under its key, it is not done again', async () => {
    const { host, service, open } = await agent();
    expect(await service.answer(asked({ op: 'status' }))).toEqual({ state: 'not_started' });
    const [one, two] = await Promise.all([service.answer(asked()), service.answer(asked())]);
    expect(one).toMatchObject({ ok: true, exit_code: 0, signal: null });
    expect(two).toEqual(one);
    expect(await service.answer(asked())).toEqual(one);
    const later = await open(); // another life of the agent
    expect(await later.answer(asked())).toEqual(one);
    expect(await later.answer(asked({ op: 'status' }))).toEqual({ state: 'done', ...one });
    expect(restarts(host.acts())).toBe(1);
    await later.answer(asked({ key: 'system/action/a#9#run' }));
    expect(restarts(host.acts())).toBe(2);
  });

  test.each<[string, JsonValue, RegExp]>([
    ['no object', 'run', /no request of/],
    ['another format', asked({ format: 'lazarus.exec@2' }), /no request of/],
    ['another host', asked({ host: 'vps' }), /this is host nas/],
    ['an unknown op', asked({ op: 'rm' }), /unknown op/],
    ['no key', asked({ key: '' }), /no key/],
    ['a long key', asked({ key: 'x'.repeat(501) }), /no key/],
    ['an id that leaves the folder', asked({ action_id: '../a' }), /no action_id/],
    ['no sum', asked({ sha256: 'x' }), /no sha256/],
    ['a type for people', asked({ type: 'notify' }), /does not do "notify"/],
    ['a type of nobody', asked({ type: 'shell' }), /does not do "shell"/],
    ['a container that is an option', asked({ container: '--help' }), /name of a container/],
    ['a container with a shell in it', asked({ container: 'web;id' }), /name of a container/],
    [
      'a command that is not declared',
      asked({ type: 'command', command: 'x', argv: ['id'] }),
      /no allowed command/,
    ],
    [
      'a clean-up that is not declared',
      asked({ type: 'disk_cleanup', items: ['docker_system_prune'] }),
      /not in "disk_cleanup"/,
    ],
    [
      'a compose file from there',
      asked({ type: 'redeploy', compose: { file: '/tmp/x.yml' } }),
      /which compose file/,
    ],
  ])('given %s, then it is refused and nothing is done', async (_what, request, why) => {
    const { host, service } = await agent();
    await expect(service.answer(request)).rejects.toThrow(why);
    expect(host.calls()).toEqual([]);
  });

  test('given this host’s own file says otherwise, then what was approved is not done as something else', async () => {
    const commands = {
      tidy: {
        argv: ['docker', 'tidy', '{service}', '{depth}'],
        arguments: { depth: { pattern: '[0-9]+' } },
      },
    };
    const { host, service } = await agent({
      services: { 'nas/web': { container: 'web_1' } },
      commands,
    });
    await expect(service.answer(asked())).rejects.toThrow(/is web_1 here, and "web" there/);
    const tidy = { type: 'command', command: 'tidy', arguments: { depth: '3' } };
    await expect(
      service.answer(asked({ ...tidy, argv: ['docker', 'tidy', 'web', '4'] })),
    ).rejects.toThrow(/another one here/);
    await expect(
      service.answer(
        asked({ ...tidy, arguments: { depth: '3; id' }, argv: ['docker', 'tidy', 'web', '3; id'] }),
      ),
    ).rejects.toThrow(/has something other/);
    expect(host.calls()).toEqual([]);
    expect(
      await service.answer(asked({ ...tidy, argv: ['docker', 'tidy', 'web', '3'] })),
    ).toHaveProperty('ok');
    expect(host.acts()).toEqual(['tidy web 3']);
  });

  test('given a clean-up that this host lets be done, then what was asked of it runs, and no more', async () => {
    const hosts = {
      nas: { via: 'local', disk_cleanup: ['docker_image_prune', 'docker_builder_prune'] },
    };
    const { host, service } = await agent({ hosts });
    expect(
      await service.answer(asked({ type: 'disk_cleanup', items: ['docker_image_prune'] })),
    ).toMatchObject({ ok: true });
    expect(host.acts()).toEqual(['image prune -f']);
  });

  test('given too many at once, or a stop, then it is refused, and nothing was done', async () => {
    const { service } = await agent({ commands: { wait: { argv: ['sleep', '30'] } } });
    const ending = new AbortController();
    const wait = (n: number) =>
      service.answer(
        asked({
          key: `k${n}`,
          type: 'command',
          command: 'wait',
          argv: ['sleep', '30'],
          timeout_s: 1,
        }),
      );
    const running = Array.from({ length: 8 }, (_, n) => wait(n));
    await expect(wait(8)).rejects.toMatchObject({ code: 'BUSY' });
    expect(await service.answer(asked({ op: 'status', key: 'k0' }))).toEqual({ state: 'running' });
    service.stop();
    await expect(wait(9)).rejects.toThrow(/stopping/);
    for (const end of await Promise.all(running)) expect(end).toMatchObject({ ok: false }); // after its own second
    await service.drained();
    ending.abort();
  });
});

test('given the agent was cut off in the middle, when it is asked what became of it, then it looks, and does nothing twice', async () => {
  const { open } = await agent({ commands: { wait: { argv: ['sleep', '30'] } } });
  const ending = new AbortController();
  const first = await open(ending.signal);
  const wait = { type: 'command', command: 'wait', argv: ['sleep', '30'] };
  const answer = first.answer(asked(wait));
  await eventually(async () =>
    expect(await first.answer(asked({ ...wait, op: 'status' }))).toEqual({ state: 'running' }),
  );
  ending.abort(new Error('the agent is ended'));
  expect(await answer).toEqual({ state: 'unknown' });
  const second = await open();
  expect(await second.answer(asked({ ...wait, op: 'status' }))).toEqual({ state: 'unknown' });
  expect(await second.answer(asked(wait))).toMatchObject({
    ok: false,
    reason: expect.stringContaining('cut off') as string,
  });
});

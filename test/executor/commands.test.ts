/** Commands that a person allowed, and cleaning up with them. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { makeFakeHost, runnable, runOnce } from '../support/fake-docker.ts';

const never = new AbortController().signal;
const sh = (script: string, ...words: string[]): string[] => [
  '/bin/sh',
  '-c',
  script,
  'sh',
  ...words,
];

describe('command', () => {
  const command = (name: string, more: object = {}) =>
    runnable({ type: 'command', payload: { command: name, arguments: more } as never });

  test('given words that match, then they are words of the command', async () => {
    const host = makeFakeHost();
    const words = ['{port}', '{mode}', '{service}', '{host}'];
    host.configure({
      commands: {
        reset: {
          argv: sh('for w in "$@"; do echo "<$w>"; done', ...words),
          arguments: {
            port: { pattern: '[0-9]+-[0-9]' },
            mode: { pattern: 'soft|hard', default: 'soft' },
          },
        },
      },
    });
    const executor = await host.open();
    expect(await executor.plan(command('reset', { port: '1-2' }))).toMatchObject({
      semantics: 'at_most_once',
      verifies: false,
    });
    const { outcome } = await runOnce(host, executor, command('reset', { port: '1-2' }));
    expect(outcome).toMatchObject({ ok: true, stdout: '<1-2>\n<soft>\n<web>\n<here>\n' });
    const refused = async (given: object, message: RegExp): Promise<void> => {
      const plan = executor.plan(command('reset', given));
      await expect(plan).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
      await expect(plan).rejects.toThrow(message);
    };
    await refused({}, /port of command reset is missing/);
    await refused({ port: '1-2x' }, /does not match/);
    await refused({ port: '1-2', mode: 'softer' }, /does not match/);
    await refused({ port: '1-2\n' }, /something other than letters/);
    await refused({ port: 12 }, /something other than letters/);
    await refused({ port: '1-2', constructor: 'x' }, /constructor .* not declared/);
  });

  test('given a name that nobody allowed, then the plan says which are', async () => {
    const host = makeFakeHost();
    host.configure({ commands: { reset: { argv: ['true'], hosts: ['piha'] } } });
    const executor = await host.open();
    for (const name of ['rm', 'constructor', '__proto__'])
      await expect(executor.plan(command(name))).rejects.toMatchObject({
        code: 'NOT_CONFIGURED',
        hint: expect.stringContaining('reset') as string,
      });
    await expect(executor.plan(command('reset'))).rejects.toThrow('may not run on here');
  });

  test.each([
    ['safe', 'idempotent'],
    ['probe', 'verify'],
    ['never', 'at_most_once'],
  ])('retry %s is %s', async (retry, semantics) => {
    const host = makeFakeHost();
    host.configure({ commands: { reset: { argv: ['true'], probe: ['true'], retry } } });
    const executor = await host.open();
    expect(await executor.plan(command('reset'))).toMatchObject({ semantics });
  });

  test('standard error as /dev/stderr works, and its last line is the reason', async () => {
    const host = makeFakeHost();
    host.configure({
      commands: { reset: { argv: sh('echo no such port > /dev/stderr; exit 7') } },
    });
    const { outcome } = await runOnce(host, await host.open(), command('reset'));
    expect(outcome).toMatchObject({ ok: false, exit_code: 7, stderr: 'no such port\n' });
    expect(outcome.reason).toMatch(/exit code 7: no such port$/);
  });
});

describe('disk_cleanup', () => {
  const run = runnable({ type: 'disk_cleanup' });

  test('given nothing configured, then nothing is cleaned up', async () => {
    const executor = await makeFakeHost().open();
    await expect(executor.plan(run)).rejects.toMatchObject({ code: 'NOT_CONFIGURED' });
  });

  test('given a list, then it runs in order; the first that fails ends it', async () => {
    const host = makeFakeHost();
    host.configure({
      hosts: {
        here: { via: 'local', disk_cleanup: ['docker_image_prune', 'logs', 'docker_system_prune'] },
      },
      commands: { logs: { argv: sh('echo freed; exit 2'), retry: 'safe' } },
    });
    const executor = await host.open();
    expect(await executor.plan(run)).toMatchObject({
      semantics: 'idempotent',
      timeoutMs: 1_500_000,
    });
    const { outcome } = await runOnce(host, executor, run);
    expect(outcome).toMatchObject({ ok: false, exit_code: 2 });
    expect(outcome.stdout).toMatch(/^== docker image prune -f .*\n== \/bin\/sh [^]*\nfreed\n$/);
    expect(host.acts()).toEqual(['image prune -f']);
  });

  test('given a part that was cut off, then it goes on there, and what ended is not repeated', async () => {
    const host = makeFakeHost();
    const begun = join(host.folder, 'begun');
    const script = 'if [ -e "$1" ]; then echo again; else : > "$1"; sleep 60; fi';
    host.configure({
      hosts: { here: { via: 'local', disk_cleanup: ['docker_image_prune', 'logs'] } },
      commands: { logs: { argv: sh(script, begun), retry: 'safe' } },
    });
    const executor = await host.open();
    const controller = new AbortController();
    const running = runOnce(host, executor, run, { signal: controller.signal });
    await eventually(() => expect(existsSync(begun)).toBe(true));
    controller.abort(new Error('withdrawn'));
    await expect(running).rejects.toThrow('withdrawn');
    const { outcome, folder } = await runOnce(host, executor, run);
    expect(outcome).toMatchObject({ ok: true });
    expect(outcome.stdout).toMatch(/again\n$/);
    expect(host.acts()).toEqual(['image prune -f']);
    expect(JSON.parse(readFileSync(join(folder, 'run.json'), 'utf8'))).toMatchObject({ tries: 2 });
    expect(await executor.isHealthy(run, never)).toBe('unknown');
  });
});

/** executor.json: what is wrong is named with place and line; a running executor follows it. */
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readExecutorFile } from '../../cells/executor-file.ts';
import { toPlainError } from '../../machines/errors.ts';
import { temporaryFolder } from '../support/cell-files.ts';
import { eventually } from '../support/eventually.ts';
import { makeFakeHost, runnable } from '../support/fake-docker.ts';

function problemOf(content: unknown): string {
  const file = join(temporaryFolder(), 'executor.json');
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content, null, 2));
  try {
    readExecutorFile(file);
    return 'none';
  } catch (error) {
    expect(error).toMatchObject({ code: 'FILE_INVALID' });
    return toPlainError(error).message.replaceAll(file, 'F');
  }
}

const ssh = (more: object): object => ({
  hosts: { piha: { via: 'ssh', destination: 'lazarus@piha', ...more } },
});
const cmd = (more: object): object => ({ commands: { tidy: { argv: ['tidy'], ...more } } });

describe('what is wrong is named', () => {
  test.each<[string, unknown, string | RegExp]>([
    ['a key that is none', { hostss: {} }, /F:2 \/hostss .*Did you mean "hosts"/],
    ['no JSON', '{"hosts": }', /F:1 not JSON/],
    [
      'a way that is none',
      { hosts: { piha: { via: 'telnet' } } },
      /\/hosts\/piha\/via .*use one of local, ssh, nats/,
    ],
    ['ssh to nowhere', { hosts: { piha: { via: 'ssh' } } }, /'destination' is missing/],
    [
      'a destination that is an option',
      ssh({ destination: '-oProxyCommand=sh' }),
      /F:5 \/hosts\/piha\/destination/,
    ],
    ['a destination with a blank', ssh({ destination: 'a@b c' }), /\/hosts\/piha\/destination/],
    [
      'a program as an option',
      ssh({ options: ['ProxyCommand=/bin/sh'] }),
      /ProxyCommand is not among/,
    ],
    [
      'host keys unchecked',
      ssh({ options: ['StrictHostKeyChecking=no'] }),
      /cannot be switched off/,
    ],
    [
      'an option that hides another',
      ssh({ options: ['ConnectTimeout=3 -oProxyCommand=x'] }),
      /not of the form Name=value/,
    ],
    [
      'an option with a token of ssh',
      ssh({ options: ['UserKnownHostsFile=%h'] }),
      /not of the form/,
    ],
    ['a host that is no name', { hosts: { '-x': { via: 'local' } } }, /'-x' is no name of a host/],
    ['a service without host', { services: { web: {} } }, /\/services\/web .*<host>\/<service>/],
    [
      'a relative compose file',
      { hosts: { a: { via: 'local', compose: { w: { file: 'x.yml' } } } } },
      /\/hosts\/a\/compose\/w\/file/,
    ],
    [
      'a cleanup that is no command',
      { hosts: { a: { via: 'local', disk_cleanup: ['rm'] } } },
      /\/hosts\/a\/disk_cleanup\/0/,
    ],
    ['a probe that is missing', cmd({ retry: 'probe' }), /\/commands\/tidy\/retry retry is probe/],
    [
      'a placeholder nobody declared',
      cmd({ argv: ['tidy', '{what}'] }),
      /\{what\} is not declared/,
    ],
    [
      'a program from outside',
      cmd({ argv: ['{service}'] }),
      /the program itself has a placeholder/,
    ],
    [
      'a script from outside',
      cmd({ argv: ['sh', '-c', 'echo {service}'] }),
      /a script has a placeholder/,
    ],
    [
      'a script from outside, flags together',
      cmd({ argv: ['bash', '-lc', 'echo {service}'] }),
      /a script has a placeholder/,
    ],
    [
      'a pattern that is none',
      cmd({ argv: ['a', '{x}'], arguments: { x: { pattern: '(' } } }),
      /\/commands\/tidy\/arguments\/x\/pattern/,
    ],
    [
      'a default that does not fit',
      cmd({ arguments: { x: { pattern: '[a-z]+', default: '1' } } }),
      /does not fit the pattern/,
    ],
    ['a line end in an argument', cmd({ argv: ['a', 'b\nc'] }), /\/commands\/tidy\/argv\/1/],
    [
      'a webhook to nowhere',
      { notify: [{ kind: 'webhook' }] },
      /\/notify\/0 one of url and url_file/,
    ],
    ['a negative timeout', { timeouts: { probe: -1 } }, /\/timeouts\/probe/],
  ])('%s', (_name, content, message) => {
    expect(problemOf(content)).toMatch(message);
  });

  test('a password in a URL is refused and not repeated', () => {
    const said = problemOf({
      notify: [{ kind: 'webhook', url: 'https://me:hunter22@example.org/' }],
    });
    expect(said).toContain('/notify/0/url');
    expect(said).not.toContain('hunter22');
  });

  test('a file that everybody can write to is refused with the command that mends it', () => {
    const file = join(temporaryFolder(), 'executor.json');
    writeFileSync(file, '{}');
    chmodSync(file, 0o666);
    expect(() => readExecutorFile(file)).toThrow(/everybody on this host[^]*chmod o-w/);
  });

  test('no file is an empty one; a folder in its place is not', () => {
    const folder = temporaryFolder();
    expect(readExecutorFile(join(folder, 'executor.json'))).toMatchObject({ sha256: null });
    expect(() => readExecutorFile(folder)).toThrow(/it is not a file/);
  });

  test('the example of the documentation is good', () => {
    const text = readFileSync(new URL('../../docs/executor.md', import.meta.url), 'utf8');
    const example = /```json\n([^]*?)```/.exec(text)?.[1] ?? '';
    expect(problemOf(example)).toBe('none');
  });
});

describe('a running executor', () => {
  test('given a host nobody named, then the plan says what to write; written, it is taken', async () => {
    const host = makeFakeHost();
    const executor = await host.open();
    const run = runnable({ host: 'piha' });
    await expect(executor.plan(run)).rejects.toMatchObject({
      code: 'NOT_CONFIGURED',
      message: 'nobody has said how host piha is reached',
      hint: expect.stringContaining(host.file) as string,
    });
    host.configure({ hosts: { piha: { via: 'ssh', destination: 'lazarus@piha' } } });
    await eventually(async () => expect((await executor.plan(run)).via).toBe('ssh lazarus@piha'));
  });

  test('given a bad file, then the last good one holds, and the error file says why until it is mended', async () => {
    const host = makeFakeHost();
    host.configure({ hosts: { piha: { via: 'ssh', destination: 'lazarus@piha' } } });
    const executor = await host.open();
    host.configure({ hosts: { piha: { via: 'sssh' } } });
    await eventually(() =>
      expect(readFileSync(`${host.file}.error`, 'utf8')).toContain('/hosts/piha/via'),
    );
    expect(executor.view()['problem']).toContain('/hosts/piha/via');
    expect((await executor.plan(runnable({ host: 'piha' }))).via).toBe('ssh lazarus@piha');
    host.configure({ hosts: { piha: { via: 'ssh', destination: 'other@piha' } } });
    await eventually(() => expect(existsSync(`${host.file}.error`)).toBe(false));
    expect(executor.view()['problem']).toBeNull();
    rmSync(host.file);
    await eventually(() => expect(executor.view()['hosts']).toEqual({}));
  });

  test('given a bad file from the start, then nothing but what is for people is planned', async () => {
    const host = makeFakeHost();
    host.configure({ hosts: [] });
    const executor = await host.open();
    const refused = {
      code: 'NOT_CONFIGURED',
      message: expect.stringContaining('cannot be used') as string,
    };
    await expect(executor.plan(runnable())).rejects.toMatchObject(refused);
    expect(await executor.plan(runnable({ type: 'alert_only' }))).toMatchObject({ via: 'none' });
  });

  test('given a type that nobody knows, then the plan names it and what is known', async () => {
    const executor = await makeFakeHost().open();
    await expect(executor.plan(runnable({ type: 'rollback' }))).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: 'no driver knows actions of type "rollback"',
      hint: expect.stringContaining('container_restart, redeploy') as string,
    });
    await expect(executor.plan(runnable({ type: '__proto__' }))).rejects.toMatchObject({
      code: 'UNSUPPORTED',
    });
    await expect(executor.plan(runnable({ host: '__proto__' }))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    await expect(executor.plan(runnable({ host: 'constructor' }))).rejects.toMatchObject({
      code: 'NOT_CONFIGURED',
    });
  });
});

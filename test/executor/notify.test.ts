/** Notifications: real HTTP on loopback, real commands. */
import { once } from 'node:events';
import { chmodSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, test } from 'vitest';
import { failureNotice } from '../../actors/executor/escalation.ts';
import { eventually } from '../support/eventually.ts';
import { makeFakeHost, runnable, runOnce } from '../support/fake-docker.ts';

interface Got {
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
}

type Answer = (response: ServerResponse, request: IncomingMessage) => void;

/** Answers by turns as told, at last always with the last one. */
async function startServer(...answers: Answer[]) {
  const got: Got[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (chunk: string) => (body += chunk));
    request.on('end', () => {
      got.push({ path: request.url ?? '', headers: request.headers, body });
      const answer = answers.length > 1 ? answers.shift() : answers[0];
      (answer ?? ((to) => to.end('{"ok":true}')))(response, request);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { got, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

const status =
  (code: number, headers: Record<string, string> = {}): Answer =>
  (response) => {
    response.writeHead(code, headers).end('said');
  };

function secret(folder: string, name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text, { mode: 0o600 });
  return file;
}

const run = runnable({
  type: 'notify',
  content: {
    description: 'Das Gerät antwortet nicht\r\nBcc: all@example.org \u001b[2J',
    risk_level: 'low',
    confidence: 0.9,
    payload: { secret: 'not for everybody' },
  },
});

describe('targets', () => {
  test('a webhook gets the notice as JSON with the key, and the headers of the file', async () => {
    const host = makeFakeHost();
    const server = await startServer();
    const headers = secret(host.folder, 'headers', '{"Authorization": "Bearer hunter22hunter22"}');
    host.configure({
      notify: [{ kind: 'webhook', url: `${server.url}/hook/abcdefgh`, headers_file: headers }],
    });
    const executor = await host.open();
    const plan = await executor.plan(run);
    expect(plan).toMatchObject({ driver: 'notify', semantics: 'idempotent', via: 'webhook' });
    expect(plan.shown).toEqual([`POST ${server.url}/…`]);
    const { outcome, folder } = await runOnce(host, executor, run);
    expect(outcome).toMatchObject({ ok: true, reason: null, stdout: '{"ok":true}\n' });
    const [got] = server.got;
    expect(got?.path).toBe('/hook/abcdefgh');
    expect(got?.headers).toMatchObject({
      authorization: 'Bearer hunter22hunter22',
      'content-type': 'application/json',
      'idempotency-key': 'system/action/x#1#run',
    });
    const body = JSON.parse(got?.body ?? '');
    expect(body).toMatchObject({
      key: 'system/action/x#1#run',
      action_id: run.actionId,
      confidence: 0.9,
    });
    expect(body.message).toMatch(/^Das Gerät antwortet nicht Bcc/);
    expect(got?.body).not.toMatch(/\\u001b|not for everybody/);
    expect(readFileSync(join(folder, 'run.json'), 'utf8')).not.toContain('hunter22');
  });

  test('an ntfy server gets the message, title and priority; nothing of it can add a header', async () => {
    const host = makeFakeHost();
    const server = await startServer();
    const token = secret(host.folder, 'token', 'tk_0123456789\n');
    const target = {
      kind: 'ntfy',
      url: `${server.url}/`,
      topic: 'home_lab',
      priority: 4,
      token_file: token,
    };
    host.configure({ notify: [target] });
    const executor = await host.open();
    const strange = runnable({ ...run, service: 'wéb\r\nX-Evil: 1' });
    expect((await runOnce(host, executor, strange)).outcome.ok).toBe(true);
    const [got] = server.got;
    expect(got).toMatchObject({
      path: '/home_lab',
      headers: { priority: '4', authorization: 'Bearer tk_0123456789' },
    });
    expect(got?.headers['x-evil']).toBeUndefined();
    expect(got?.headers['title']).toMatch(/^=\?UTF-8\?B\?[A-Za-z0-9+/=]+\?=$/);
    expect(got?.body).toContain('Das Gerät antwortet nicht');
  });

  test('a command gets the notice on standard input', async () => {
    const host = makeFakeHost();
    host.configure({
      notify: [{ kind: 'command', argv: ['/bin/sh', '-c', 'test -s /dev/stdin && cat'] }],
    });
    const { outcome } = await runOnce(host, await host.open(), run);
    expect(JSON.parse(outcome.stdout)).toMatchObject({
      action_id: run.actionId,
      title: 'here/web: notify',
    });
  });

  test('given none, then the plan says what to write', async () => {
    const executor = await makeFakeHost().open();
    await expect(executor.plan(run)).rejects.toMatchObject({ code: 'NOT_CONFIGURED' });
  });
});

describe('when one is not reached', () => {
  test('then the others are tried, the action has succeeded, and who was not stands there', async () => {
    const host = makeFakeHost();
    const [bad, good] = [await startServer(status(404)), await startServer()];
    host.configure({
      notify: [
        { kind: 'webhook', url: `${bad.url}/a` },
        { kind: 'command', argv: ['/bin/false'] },
        { kind: 'webhook', url: `${good.url}/b` },
      ],
    });
    const { outcome, folder } = await runOnce(host, await host.open(), run);
    expect(outcome.ok).toBe(true);
    expect(outcome.reason).toMatch(/^2 of 3 failed: .* answered 404; .*\/bin\/false.*exit code 1$/);
    expect([bad.got.length, good.got.length]).toEqual([1, 1]);
    const { steps } = JSON.parse(readFileSync(join(folder, 'run.json'), 'utf8'));
    expect(steps.map(({ ok }: { ok: boolean }) => ok)).toEqual([false, false, true]);
  });

  test('given nobody who was reached, then it has failed', async () => {
    const host = makeFakeHost();
    const server = await startServer(status(403));
    host.configure({ notify: [{ kind: 'webhook', url: server.url }] });
    const { outcome } = await runOnce(host, await host.open(), run);
    expect(outcome).toMatchObject({ ok: false, stderr: 'said\n' });
  });

  test('what passes by itself is tried again, with the same key', async () => {
    const host = makeFakeHost();
    const server = await startServer(status(503), status(200));
    host.configure({ notify: [{ kind: 'webhook', url: server.url }] });
    expect((await runOnce(host, await host.open(), run)).outcome.ok).toBe(true);
    const keys = server.got.map(({ headers }) => headers['idempotency-key']);
    expect(keys).toEqual(['system/action/x#1#run', 'system/action/x#1#run']);
  });

  test('a redirect is not followed: the token is for this server', async () => {
    const host = makeFakeHost();
    const other = await startServer();
    const server = await startServer(status(302, { location: other.url }));
    host.configure({ notify: [{ kind: 'webhook', url: server.url }] });
    const { outcome } = await runOnce(host, await host.open(), run);
    expect(outcome.ok).toBe(false);
    expect(outcome.reason).toContain('redirects are not followed');
    expect(other.got).toEqual([]);
  });

  test('given a server that is silent, or sends without end, then it is over in time', async () => {
    const host = makeFakeHost();
    const silent = await startServer(() => {});
    const endless = await startServer((response) => {
      const timer = setInterval(() => response.write('x'.repeat(65_536)), 1);
      response.on('close', () => clearInterval(timer));
    });
    host.configure({
      notify: [
        { kind: 'webhook', url: `${silent.url}/` },
        { kind: 'webhook', url: `${endless.url}/` },
      ],
      timeouts: { notify: 1 },
    });
    const { outcome } = await runOnce(host, await host.open(), run);
    expect(outcome.reason).toMatch(/^1 of 2 failed: .*did not answer in time$/);
    expect(outcome.stdout.length).toBeLessThanOrEqual(4096);
  });

  test('given a run that was withdrawn in the middle, then those who were told are not told again', async () => {
    const host = makeFakeHost();
    const first = await startServer();
    const second = await startServer(() => {}, status(200));
    host.configure({
      notify: [
        { kind: 'webhook', url: `${first.url}/` },
        { kind: 'webhook', url: `${second.url}/` },
      ],
    });
    const executor = await host.open();
    const controller = new AbortController();
    const running = runOnce(host, executor, run, { signal: controller.signal });
    await eventually(() => expect(second.got).toHaveLength(1));
    controller.abort(new Error('withdrawn'));
    await expect(running).rejects.toThrow('withdrawn');
    expect((await runOnce(host, executor, run)).outcome.ok).toBe(true);
    expect([first.got.length, second.got.length]).toEqual([1, 2]);
  });
});

describe('secrets', () => {
  test('a file that others can read, a link, or none: the plan says which and why, and nothing of it', async () => {
    const host = makeFakeHost();
    const file = secret(host.folder, 'url', 'http://127.0.0.1:1/hunter22hunter22');
    host.configure({ notify: [{ kind: 'webhook', url_file: file }] });
    const executor = await host.open();
    expect((await executor.plan(run)).shown).toEqual(['POST the URL in a file']);
    chmodSync(file, 0o644);
    await expect(executor.plan(run)).rejects.toMatchObject({
      code: 'NOT_CONFIGURED',
      message: `the secret in ${file} cannot be used: other users can read it`,
      hint: `chmod 600 ${file}`,
    });
    chmodSync(file, 0o600);
    writeFileSync(file, 'https://me:hunter22@example.org');
    const refused = executor.plan(run);
    await expect(refused).rejects.toMatchObject({ code: 'NOT_CONFIGURED' });
    await expect(refused).rejects.not.toThrow(/hunter22/);
    symlinkSync(file, `${file}.link`);
    host.configure({ notify: [{ kind: 'webhook', url_file: `${file}.link` }] });
    await eventually(() => expect(executor.plan(run)).rejects.toThrow('it is a symbolic link'));
    host.configure({
      notify: [{ kind: 'ntfy', url: 'http://127.0.0.1:1', topic: 'x', token_file: '/no/such' }],
    });
    await eventually(() =>
      expect(executor.plan(run)).rejects.toThrow('/no/such cannot be used: ENOENT'),
    );
  });

  test('a token that a server or a command repeats is taken out of what is handed on', async () => {
    const host = makeFakeHost();
    const server = await startServer((response, request) =>
      response.end(`you are ${request.headers.authorization}`),
    );
    const token = secret(host.folder, 'token', 'zzz-unlike-any-other');
    host.configure({
      notify: [
        { kind: 'ntfy', url: server.url, topic: 'x', token_file: token },
        { kind: 'command', argv: ['/bin/cat', token] },
      ],
    });
    const { outcome, folder } = await runOnce(host, await host.open(), run);
    expect(outcome.stdout).toContain('[redacted]');
    expect(JSON.stringify(outcome)).not.toContain('zzz-unlike');
    expect(readFileSync(join(folder, 'run.json'), 'utf8')).not.toContain('zzz-unlike');
  });

  test('a header that is ours to say, or would break the request, is refused', async () => {
    const host = makeFakeHost();
    for (const headers of [
      '{"Host": "x"}',
      '{"X": "a\\r\\nb"}',
      '{"Idempotency-Key": "1"}',
      '["x"]',
      'nonsense',
    ]) {
      const file = secret(host.folder, `headers`, headers);
      host.configure({
        notify: [{ kind: 'webhook', url: 'http://127.0.0.1:1', headers_file: file }],
      });
      const executor = await host.open();
      await expect(executor.plan(run)).rejects.toMatchObject({ code: 'NOT_CONFIGURED' });
    }
  });
});

describe('what is read on a phone', () => {
  async function toldTo(host: ReturnType<typeof makeFakeHost>, notice: typeof run) {
    const server = await startServer();
    host.configure({ notify: [{ kind: 'ntfy', url: server.url, topic: 'lab' }] });
    const executor = await host.open();
    expect((await runOnce(host, executor, notice)).outcome.ok).toBe(true);
    return { title: server.got[0]?.headers['title'], body: server.got[0]?.body };
  }
  const about = {
    action_id: 'plan-piha-web-1',
    type: 'container_restart',
    host: 'piha',
    service: 'web',
    description: 'RESTART web on piha: it does not answer',
    reason: 'docker restart web: exit code 1',
    started_at: 1,
  };

  test('given an action that failed, then the notice says which, where and why', async () => {
    expect(await toldTo(makeFakeHost(), failureNotice(about))).toEqual({
      title: 'piha/web: container_restart failed',
      body: 'plan-piha-web-1 failed: docker restart web: exit code 1 (RESTART web on piha: it does not answer)',
    });
  });

  test('given one that nobody described and no reason, then it still says what failed', async () => {
    const bare = { ...about, description: '', reason: null };
    expect((await toldTo(makeFakeHost(), failureNotice(bare))).body).toBe(
      'plan-piha-web-1 failed: nobody knows why',
    );
  });

  it.each([{}, { description: '  ' }])(
    'given %j and no reason, then the title is the text',
    async (content) => {
      const notice = runnable({ type: 'notify', content });
      expect((await toldTo(makeFakeHost(), notice)).body).toBe('here/web: notify');
    },
  );
});

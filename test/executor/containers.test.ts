/** Containers: real processes of a recording docker, here and behind a recording ssh. */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { findMarked } from '../../actors/marks.ts';
import { eventually } from '../support/eventually.ts';
import { makeFakeHost, OLD, runnable, runOnce } from '../support/fake-docker.ts';
import type { FakeHost } from '../support/fake-docker.ts';

const never = new AbortController().signal;
const NEW = '2026-06-01T00:00:00Z';

describe('container_restart', () => {
  test('given a container, when it runs, then docker restart is called once and the record says how it ended', async () => {
    const host = makeFakeHost();
    host.containers({ web: { StartedAt: OLD, Running: true } });
    const executor = await host.open();
    const run = runnable();
    expect(await executor.plan(run)).toMatchObject({
      driver: 'container_restart',
      semantics: 'verify',
      via: 'local',
      shown: ['docker restart web (on here, local)'],
      timeoutMs: 120_000,
      verifies: true,
    });
    const { outcome, folder } = await runOnce(host, executor, run);
    expect(outcome).toMatchObject({ ok: true, reason: null, exit_code: 0, stdout: 'web\n' });
    expect(host.acts()).toEqual(['restart web']);
    const record = JSON.parse(readFileSync(join(folder, 'run.json'), 'utf8'));
    expect(record).toMatchObject({ exit_code: 0, signal: null, before: OLD, tries: 1, outcome });
    expect(record.argv_sha256).toMatch(/^[0-9a-f]{64}$/);
    for (const name of ['stdout', 'stderr', 'run.json'])
      expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
  });

  test('given the same key again, then its outcome is handed out and nothing runs', async () => {
    const host = makeFakeHost();
    host.containers({ web: { StartedAt: OLD, Running: true } });
    const executor = await host.open();
    const first = await runOnce(host, executor, runnable());
    expect((await runOnce(host, executor, runnable())).outcome).toEqual(first.outcome);
    expect(host.acts()).toEqual(['restart web']);
    const recovered = await executor.recover(runnable(), {
      key: 'system/action/x#1#run',
      outputFolder: first.folder,
      signal: never,
    });
    expect(recovered).toEqual({ kind: 'done', output: first.outcome });
  });

  test('given the same key for another content, then it is another run', async () => {
    const host = makeFakeHost();
    host.containers({ web: { StartedAt: OLD, Running: true } });
    const executor = await host.open();
    await runOnce(host, executor, runnable());
    await runOnce(host, executor, runnable({ sha256: 'b'.repeat(64) }));
    expect(host.acts()).toHaveLength(2);
  });

  test('given no such container, then it is a known failure with docker’s own words', async () => {
    const host = makeFakeHost();
    const executor = await host.open();
    const { outcome } = await runOnce(host, executor, runnable());
    expect(outcome).toMatchObject({ ok: false, exit_code: 1 });
    expect(outcome.reason).toBe('docker restart web: exit code 1: Error: No such container: web');
  });

  test('given a docker that is not there, then it is a known failure', async () => {
    const host = makeFakeHost();
    host.configure({ hosts: { here: { via: 'local', docker: '/no/such/docker' } } });
    const executor = await host.open();
    const { outcome } = await runOnce(host, executor, runnable());
    expect(outcome).toMatchObject({ ok: false, exit_code: 127 });
    expect(outcome.reason).toContain('/no/such/docker');
  });

  test('the environment is ours, and nothing of the runtime’s own', async () => {
    process.env['ANTHROPIC_API_KEY'] = 'sk-do-not-leak';
    const host = makeFakeHost();
    const executor = await host.open();
    await runOnce(host, executor, runnable());
    delete process.env['ANTHROPIC_API_KEY'];
    const names = Object.keys(host.calls().at(-1)?.env ?? {}).filter(
      (name) => !['PWD', '_', 'OLDPWD', 'SHLVL'].includes(name),
    );
    expect(names.toSorted()).toEqual([
      'HOME',
      'LANG',
      'LAZARUS_ACTION',
      'LAZARUS_KEY',
      'LAZARUS_NODE',
      'PATH',
    ]);
  });

  test('a container of another name is taken from the file', async () => {
    const host = makeFakeHost();
    host.configure({ services: { 'here/my web': {}, 'here/web': { container: 'web_1' } } });
    const refused = await host.open();
    expect(refused.view()['problem']).toContain('/services/here~1my web');
    host.configure({ services: { 'here/web': { container: 'web_1' } } });
    const executor = await host.open();
    expect((await executor.plan(runnable())).shown).toEqual([
      'docker restart web_1 (on here, local)',
    ]);
  });
});

describe('limits', () => {
  test('given a docker that hangs and leaves a detached child, when its time is over, then all of it is gone', async () => {
    const host = makeFakeHost();
    host.configure({ timeouts: { container_restart: 1 } });
    host.rules([{ match: 'restart', early: true, fork: true, hangMs: 60_000 }]);
    const executor = await host.open();
    const { outcome } = await runOnce(host, executor, runnable());
    expect(outcome).toMatchObject({ ok: false, exit_code: null, signal: 'SIGTERM' });
    expect(outcome.reason).toContain('ended by us after its 1 s');
    expect(host.acts()).toEqual(['restart web']);
    expect((await findMarked([{ LAZARUS_NODE: host.nodeId }])).pids).toEqual([]);
  });

  test('given much output, then the files keep beginning and end, and little is handed on', async () => {
    const host = makeFakeHost();
    host.containers({ web: { StartedAt: OLD, Running: true } });
    host.rules([{ match: 'restart', bytes: 5_000_000, stderr: '' }]);
    const executor = await host.open();
    const { outcome, folder } = await runOnce(host, executor, runnable());
    expect(outcome.ok).toBe(true);
    expect(outcome.stdout.startsWith('web\nxxx')).toBe(true);
    expect(outcome.stdout).toMatch(/left out/);
    expect(outcome.stdout.length).toBeLessThanOrEqual(4096);
    expect(statSync(join(folder, 'stdout')).size).toBeLessThan(1_100_000);
  });

  test('given secrets and escape sequences in the output, then neither is handed on', async () => {
    const host = makeFakeHost();
    const said =
      'password=hunter22 \u001b[31mred\u001b[0m \u202e gnp\r\nAuthorization: Bearer abcdefghijkl\n';
    host.rules([{ match: 'restart', early: true, stderr: said, exit: 3 }]);
    const executor = await host.open();
    const { outcome, folder } = await runOnce(host, executor, runnable());
    expect(JSON.stringify(outcome)).not.toMatch(/hunter22|abcdefghijkl|\\u001b|\u202e/);
    expect(outcome.reason).toContain('exit code 3');
    expect(readFileSync(join(folder, 'run.json'), 'utf8')).not.toMatch(/hunter22|abcdefghijkl/);
  });

  test('when it is withdrawn, then the process is ended and there is no outcome', async () => {
    const host = makeFakeHost();
    host.rules([{ match: 'restart', early: true, hangMs: 60_000 }]);
    const executor = await host.open();
    const controller = new AbortController();
    const running = runOnce(host, executor, runnable(), { signal: controller.signal });
    await eventually(() => expect(host.acts()).toHaveLength(1));
    controller.abort(new Error('withdrawn'));
    await expect(running).rejects.toThrow('withdrawn');
    expect((await findMarked([{ LAZARUS_NODE: host.nodeId }])).pids).toEqual([]);
    const record = JSON.parse(
      readFileSync(join(host.folder, 'output/plan-here-web-1/run.json'), 'utf8'),
    );
    expect(record).toMatchObject({ finished_at: null, outcome: null });
  });
});

describe('redeploy', () => {
  const compose = { file: '/srv/web/docker-compose.yml', project_name: 'web', service: 'app' };

  test('given a compose file, then that service is recreated', async () => {
    const host = makeFakeHost();
    host.configure({
      hosts: { here: { via: 'local', compose: { web: compose } } },
      timeouts: { steady: 0.01 },
    });
    host.containers({ app: { id: 'aaaaaaaaaaaa', StartedAt: OLD, Running: true } });
    const executor = await host.open();
    const run = runnable({ type: 'redeploy' });
    const { outcome, folder } = await runOnce(host, executor, run);
    expect(outcome).toMatchObject({ ok: true, stderr: ' Container app Recreated\n' });
    expect(host.acts()).toEqual([
      'compose -f /srv/web/docker-compose.yml -p web up -d --force-recreate app',
    ]);
    const record = JSON.parse(readFileSync(join(folder, 'run.json'), 'utf8'));
    expect(record.before).toEqual(['aaaaaaaaaaaa']);
    expect(await executor.isHealthy(run, never)).toBe('healthy');
  });

  test('given none, then the plan says what to write where', async () => {
    const host = makeFakeHost();
    const executor = await host.open();
    await expect(executor.plan(runnable({ type: 'redeploy' }))).rejects.toMatchObject({
      code: 'NOT_CONFIGURED',
      hint: expect.stringContaining('"here/web": {"compose"') as string,
    });
  });
});

describe('what a service says of itself', () => {
  test.each([
    ['healthy', { Running: true, Health: { Status: 'healthy' } }],
    ['healthy', { Running: true }],
    ['unknown', { Running: true, Health: { Status: 'starting' } }],
    ['unhealthy', { Running: true, Health: { Status: 'unhealthy' } }],
    ['unhealthy', { Running: true, Restarting: true }],
    ['unhealthy', { Running: false }],
  ])('%s: %j', async (health, state) => {
    const host = makeFakeHost();
    host.configure({ timeouts: { steady: 0.01 } });
    host.containers({ web: { StartedAt: OLD, ...state } });
    const executor = await host.open();
    expect(await executor.isHealthy(runnable(), never)).toBe(health);
  });

  test.each<[string, string, (host: FakeHost) => void]>([
    ['stops', 'unhealthy', (host) => host.containers({ web: { StartedAt: OLD, Running: false } })],
    [
      'is started anew',
      'unhealthy',
      (host) => host.containers({ web: { StartedAt: NEW, Running: true } }),
    ],
    ['is gone', 'unknown', (host) => host.containers({})],
    ['runs on', 'healthy', () => undefined],
  ])(
    'given one without a check of its own that %s at once, then it is %s',
    async (_what, health, happen) => {
      const host = makeFakeHost();
      host.configure({ timeouts: { steady: 1 } });
      host.containers({ web: { StartedAt: OLD, Running: true } });
      const executor = await host.open();
      const said = executor.isHealthy(runnable(), never);
      await eventually(() => {
        const [first] = host.calls('docker');
        expect(() => process.kill(first?.pid ?? process.pid, 0)).toThrow('ESRCH'); // it has looked
      });
      happen(host);
      expect(await said).toBe(health);
    },
  );

  test('given a docker that fails, then it is unknown', async () => {
    const host = makeFakeHost();
    const executor = await host.open();
    expect(await executor.isHealthy(runnable(), never)).toBe('unknown');
    expect(await executor.isHealthy(runnable({ host: 'elsewhere' }), never)).toBe('unknown');
  });
});

describe('over ssh', () => {
  const piha = {
    via: 'ssh',
    destination: 'lazarus@piha',
    options: ['ConnectTimeout=3'],
    port: 2222,
  };

  test('the command stands quoted behind the destination, and the options are ours', async () => {
    const host = makeFakeHost();
    host.configure({ hosts: { piha }, timeouts: { steady: 0.01 } });
    host.containers({ web: { StartedAt: OLD, Running: true } });
    const executor = await host.open();
    const run = runnable({ host: 'piha' });
    expect((await executor.plan(run)).shown).toEqual([
      'docker restart web (on piha, ssh lazarus@piha)',
    ]);
    const { outcome } = await runOnce(host, executor, run);
    expect(outcome).toMatchObject({ ok: true, stdout: 'web\n' });
    const args = host.calls('ssh').at(-1)?.args ?? [];
    expect(args.slice(0, 2)).toEqual(['-o', 'BatchMode=yes']);
    expect(args.slice(-5)).toEqual([
      '-p',
      '2222',
      '--',
      'lazarus@piha',
      "'docker' 'restart' 'web'",
    ]);
    expect(args).toContain('ConnectTimeout=3');
    expect(await executor.isHealthy(run, never)).toBe('healthy');
  });

  test('given a host that is not reached, then nothing ran, and that is known', async () => {
    const host = makeFakeHost();
    host.configure({ hosts: { piha } });
    const stderr = 'ssh: connect to host piha port 2222: Connection refused\n';
    host.rules([{ match: 'lazarus@piha', early: true, stderr, exit: 255 }]);
    const executor = await host.open();
    const { outcome } = await runOnce(host, executor, runnable({ host: 'piha' }));
    expect(outcome).toMatchObject({ ok: false, exit_code: 255 });
    expect(outcome.reason).toMatch(/^piha was not reached: ssh: connect to host/);
  });

  test('given a connection that is lost in the middle, then nobody knows; the probe tells when it is back', async () => {
    const host = makeFakeHost();
    host.configure({ hosts: { piha }, timeouts: { settle: 0.1 } });
    host.containers({ web: { StartedAt: OLD, Running: true } });
    const stderr = 'client_loop: send disconnect: Broken pipe\n';
    host.rules([{ match: "'restart'", stderr, exit: 255 }]);
    const executor = await host.open();
    const run = runnable({ host: 'piha' });
    await expect(runOnce(host, executor, run)).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    const place = {
      key: 'system/action/x#1#run',
      outputFolder: join(host.folder, 'output', run.actionId),
      signal: never,
    };
    host.rules([{ match: 'inspect', early: true, stderr, exit: 255 }]);
    expect(await executor.recover(run, place)).toEqual({ kind: 'unknown' });
    host.rules([]);
    expect(await executor.recover(run, place)).toMatchObject({
      kind: 'done',
      output: { ok: true },
    });
  });
});

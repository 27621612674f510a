/** A node that is killed while it runs an action: what the next life finds out is true, and nothing is done twice unasked. */
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { findMarked } from '../../actors/marks.ts';
import { pidAlive } from '../../actors/processes.ts';
import { temporaryFolder } from '../support/cell-files.ts';
import { eventually } from '../support/eventually.ts';
import { live, outputOf, recover } from '../support/executor-life.ts';
import { makeFakeHost, OLD, runnable, runOnce } from '../support/fake-docker.ts';
import type { FakeHost } from '../support/fake-docker.ts';

const sh = (script: string, ...words: string[]): string[] => [
  '/bin/sh',
  '-c',
  script,
  'sh',
  ...words,
];

function dockerHost(): FakeHost {
  const host = makeFakeHost();
  host.configure({ timeouts: { settle: 0.2 } });
  host.containers({ web: { StartedAt: OLD, Running: true } });
  return host;
}
const restarts = (host: FakeHost): number =>
  host.acts().filter((words) => words === 'restart web').length;
const nobodyLeft = async (host: FakeHost): Promise<void> =>
  expect((await findMarked([{ LAZARUS_NODE: host.nodeId }])).pids).toEqual([]);

describe('given a restart of a container', () => {
  test.each([
    [
      'before the record of its start',
      { point: 'run-record.before-rename', time: 1 },
      'not_started',
      0,
    ],
    ['before docker was called', { point: 'executor.before-spawn', time: 2 }, 'not_started', 0],
    [
      'after docker ended, before its end was written',
      { point: 'executor.after-end', time: 2 },
      'done',
      1,
    ],
    [
      'before the end stands there whole',
      { point: 'run-record.before-rename', time: 2 },
      'done',
      1,
    ],
    ['after the end was written', { point: 'run-record.after-folder-sync', time: 2 }, 'done', 1],
  ])('when the node is killed %s, then recover knows', async (_name, dieAt, kind, count) => {
    const host = dockerHost();
    expect(await live(host, runnable(), { dieAt })).toBe('SIGKILL');
    const executor = await host.open();
    expect(await recover(host, executor, runnable())).toMatchObject({ kind });
    expect(restarts(host)).toBe(count);
    await nobodyLeft(host);
    if (kind === 'done') return;
    const { outcome } = await runOnce(host, executor, runnable());
    expect(outcome).toMatchObject({ ok: true });
    expect(restarts(host)).toBe(1);
  });

  test('when its end was written, then it is adopted as it was, and docker is not even asked', async () => {
    const host = dockerHost();
    await live(host, runnable(), { dieAt: { point: 'run-record.after-folder-sync', time: 2 } });
    const before = host.calls().length;
    const found = await recover(host, await host.open(), runnable());
    expect(found).toMatchObject({
      kind: 'done',
      output: { ok: true, exit_code: 0, stdout: 'web\n', reason: null },
    });
    expect(host.calls()).toHaveLength(before);
  });

  test('when its end was written, then it holds whatever executor.json says by now', async () => {
    const host = dockerHost();
    await live(host, runnable(), { dieAt: { point: 'run-record.after-folder-sync', time: 2 } });
    host.configure({ hosts: 'nonsense' });
    const executor = await host.open();
    expect(await recover(host, executor, runnable())).toMatchObject({ kind: 'done' });
    expect((await runOnce(host, executor, runnable())).outcome.ok).toBe(true);
    expect(restarts(host)).toBe(1);
  });

  test('when docker had not acted yet, then it is ended, and the restart has not happened', async () => {
    const host = dockerHost();
    host.rules([{ match: 'restart', early: true, hangMs: 60_000 }]);
    await live(host, runnable(), {
      killWhen: () => eventually(() => expect(restarts(host)).toBe(1)),
    });
    const executor = await host.open();
    expect(await recover(host, executor, runnable())).toEqual({ kind: 'not_started' });
    expect(host.container('web')?.StartedAt).toBe(OLD);
    await nobodyLeft(host);
  });

  test('when docker had acted already, then the probe says so', async () => {
    const host = dockerHost();
    host.rules([{ match: 'restart', hangMs: 60_000, fork: true }]);
    const acted = (): void => expect(host.container('web')?.StartedAt).not.toBe(OLD);
    await live(host, runnable(), { killWhen: () => eventually(acted) });
    const found = await recover(host, await host.open(), runnable());
    expect(found).toMatchObject({ kind: 'done', output: { ok: true, exit_code: null } });
    expect(found).toMatchObject({
      output: { reason: expect.stringContaining('was started at') as string },
    });
    expect(restarts(host)).toBe(1);
    await nobodyLeft(host);
  });

  test('when docker cannot be asked, then it is unknown, and nothing is run', async () => {
    const host = dockerHost();
    host.rules([{ match: 'restart', early: true, hangMs: 60_000 }]);
    await live(host, runnable(), {
      killWhen: () => eventually(() => expect(restarts(host)).toBe(1)),
    });
    host.rules([
      { match: 'inspect', early: true, exit: 1, stderr: 'Cannot connect to the Docker daemon' },
    ]);
    expect(await recover(host, await host.open(), runnable())).toEqual({ kind: 'unknown' });
  });

  test('when it is cut off a second time, then it is given up: it may be what kills us', async () => {
    const host = dockerHost();
    const executor = await host.open();
    for (const found of [{ kind: 'not_started' }, { kind: 'done', output: { ok: false } }]) {
      await live(host, runnable(), {
        dieAt: { point: 'executor.before-spawn', time: found.kind === 'done' ? 1 : 2 },
      });
      expect(await recover(host, executor, runnable())).toMatchObject(found);
    }
    expect((await runOnce(host, executor, runnable())).outcome.reason).toBe(
      'it was cut off 2 times',
    );
    expect(restarts(host)).toBe(0);
  });
});

describe('given a redeploy', () => {
  const run = runnable({ type: 'redeploy' });
  const compose = { file: '/srv/web.yml' };

  test('when it is killed before and after the containers are new, then the probe tells them apart', async () => {
    for (const [early, kind] of [
      [true, 'not_started'],
      [false, 'done'],
    ] as const) {
      const host = makeFakeHost();
      host.configure({ services: { 'here/web': { compose } } });
      host.containers({ web: { id: 'aaaaaaaaaaaa', StartedAt: OLD, Running: true } });
      host.rules([{ match: ' up ', hangMs: 60_000, ...(early && { early }) }]);
      const begun = (): void => {
        expect(host.acts()).toHaveLength(1);
        if (!early) expect(host.container('web')?.id).not.toBe('aaaaaaaaaaaa');
      };
      await live(host, run, { killWhen: () => eventually(begun) });
      expect(await recover(host, await host.open(), run)).toMatchObject({ kind });
    }
  });
});

describe('given a command', () => {
  const run = runnable({ type: 'command', payload: { command: 'tidy' } });
  const script = 'echo $$ >> "$1/pids"; setsid sh -c "trap : TERM; sleep 61" & sleep 60';

  function commandHost(retry: string, more: object = {}): FakeHost {
    const host = makeFakeHost();
    host.configure({ commands: { tidy: { argv: sh(script, host.folder), retry, ...more } } });
    return host;
  }
  const pids = (host: FakeHost): number[] =>
    existsSync(join(host.folder, 'pids'))
      ? readFileSync(join(host.folder, 'pids'), 'utf8').trim().split('\n').map(Number)
      : [];
  const begun = (host: FakeHost) => ({
    killWhen: () => eventually(() => expect(pids(host)).toHaveLength(1)),
  });

  test('retry never: killed while it ran, it is unknown; before its start, it was not begun', async () => {
    const host = commandHost('never');
    await live(host, run, { dieAt: { point: 'run-record.before-write', time: 1 } });
    const executor = await host.open();
    expect(await recover(host, executor, run)).toEqual({ kind: 'not_started' });
    await live(host, run, begun(host));
    expect(await recover(host, executor, run)).toEqual({ kind: 'unknown' });
    expect(pids(host)).toHaveLength(1);
    await nobodyLeft(host);
  });

  test('retry safe: the next run ends what is left of the one before it begins', async () => {
    const host = commandHost('safe');
    await live(host, run, begun(host));
    const [first = 0] = pids(host);
    const executor = await host.open();
    const controller = new AbortController();
    const again = runOnce(host, executor, run, { signal: controller.signal });
    await eventually(() => expect(pids(host)).toHaveLength(2), { timeoutMs: 40_000 }); // one of them ignores SIGTERM
    expect(pidAlive(first, null)).toBe(false);
    const { pids: marked } = await findMarked([{ LAZARUS_NODE: host.nodeId }]);
    expect(marked).toContain(pids(host)[1]);
    controller.abort(new Error('enough'));
    await expect(again).rejects.toThrow('enough');
    await nobodyLeft(host);
  }, 60_000);

  test.each([
    [0, { kind: 'done', output: { ok: true } }],
    [1, { kind: 'not_started' }],
    [2, { kind: 'unknown' }],
  ])('retry probe: a probe that exits %i', async (code, found) => {
    const host = commandHost('probe', { probe: sh(`exit ${code}`) });
    await live(host, run, begun(host));
    expect(await recover(host, await host.open(), run)).toMatchObject(found);
  });

  test('a folder that is a link elsewhere is not written to', async () => {
    const host = dockerHost();
    const elsewhere = temporaryFolder();
    writeFileSync(join(elsewhere, 'stdout'), 'precious');
    mkdirSync(join(host.folder, 'output'));
    symlinkSync(elsewhere, outputOf(host, runnable()));
    const ran = runOnce(host, await host.open(), runnable());
    await expect(ran).rejects.toMatchObject({ code: 'PATH_ESCAPES_CELL' });
    expect(readFileSync(join(elsewhere, 'stdout'), 'utf8')).toBe('precious');
    expect(restarts(host)).toBe(0);
  });

  test('a record that cannot be read is not "none"', async () => {
    const host = commandHost('never');
    await live(host, run, begun(host));
    writeFileSync(join(outputOf(host, run), 'run.json'), '{"format": "lazarus.run@1"');
    const executor = await host.open();
    await expect(recover(host, executor, run)).rejects.toMatchObject({ code: 'FILE_INVALID' });
    await expect(runOnce(host, executor, run)).rejects.toMatchObject({ code: 'FILE_INVALID' });
    expect(pids(host)).toHaveLength(1);
  });
});

/** bin/lazarus: from anywhere, by a link, and started by a Node that is years old. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, symlinkSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { LAZARUS, missionsFolder, nodeFileOf } from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';

/** A Node older than the project's own, if this machine has one. */
const oldNode = (process.env['PATH'] ?? '')
  .split(delimiter)
  .concat('/usr/bin', '/usr/local/bin')
  .map((folder) => join(folder, 'node'))
  .filter((path) => existsSync(path))
  .find(
    (path) => Number(/^v(\d+)/.exec(spawnSync(path, ['--version']).stdout.toString())?.[1]) < 24,
  );

test('a link to it works from any folder', () => {
  const folder = missionsFolder();
  const link = join(folder, 'lz');
  symlinkSync(LAZARUS, link);
  const { status, stdout } = spawnSync(process.execPath, [link, '--version'], { cwd: folder });
  expect(status).toBe(0);
  expect(stdout.toString()).toMatch(/^\d+\.\d+\.\d+\n$/);
});

test('nothing is said of experimental features', () => {
  const { stderr, status } = spawnSync(process.execPath, [
    LAZARUS,
    'cell',
    'pause',
    'none',
    '--missions',
    missionsFolder(),
  ]);
  expect(status).toBe(1);
  expect(stderr.toString()).toBe(
    'Error: there is no cell none\nTry: List what there is with `lazarus status`.\n',
  );
});

test.skipIf(oldNode === undefined)(
  'an older Node starts the right one: exit status, signals and death pass through',
  async () => {
    const node = oldNode ?? '';
    const misuse = spawnSync(node, [LAZARUS, 'status', '--frob']);
    expect(misuse.status).toBe(2);
    const missions = missionsFolder();
    const pids = new Set<number>();
    const start = async () => {
      const child = spawn(node, [LAZARUS, 'up', '--missions', missions], { stdio: 'ignore' });
      onTestFinished(() => void child.kill('SIGKILL'));
      const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
      await eventually(
        () => {
          const { pid } = JSON.parse(readFileSync(nodeFileOf(missions), 'utf8')) as { pid: number };
          expect(pids.has(pid)).toBe(false); // not what an earlier one left
          pids.add(pid);
        },
        { timeoutMs: 20_000 },
      );
      return { child, ended };
    };
    const first = await start();
    first.child.kill('SIGTERM');
    expect(await first.ended).toBe(0);
    expect(existsSync(nodeFileOf(missions))).toBe(false);
    const second = await start();
    second.child.kill('SIGKILL');
    await second.ended;
    // The node died with its launcher, so another can take its place at once.
    const third = await start();
    third.child.kill('SIGINT');
    expect(await third.ended).toBe(0);
  },
);

test('without its dependencies it says what to do', () => {
  const elsewhere = missionsFolder();
  const copy = join(elsewhere, 'bin');
  spawnSync('cp', ['-R', dirname(LAZARUS), copy]);
  const { status, stderr } = spawnSync(process.execPath, [join(copy, 'lazarus'), 'status']);
  expect(status).toBe(1);
  expect(stderr.toString()).toMatch(/^Error: .*\nTry: .*npm ci/);
});

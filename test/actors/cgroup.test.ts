/** Ending a whole tree by its control group, on hosts that let us make one; on others the tests say that they are skipped. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Cgroups } from '../../actors/cgroup.ts';
import { pidAlive } from '../../actors/processes.ts';
import { eventually } from '../support/eventually.ts';
import { dropInto, mission, startNode, step, task, temporaryMissions } from '../support/node.ts';

const here = Cgroups.open('probe');
here?.close();

/** Leaves its group, its session and its family, clears its environment, says its pid and stays. */
const ESCAPE = `setsid sh -c 'env -i PATH="$PATH" sh -c "echo \\$\\$ > artifacts/escaped; exec sleep 600" &' &
while [ ! -s artifacts/escaped ]; do sleep 0.02; done`;
const escaping = mission('c', [task('t', [step('a', `${ESCAPE}; exec sleep 600`)])], {
  isolation_level: 'level_1',
  policies: { auto_revive: 'no' },
});

function pidIn(path: string): number {
  const pid = Number(readFileSync(path, 'utf8'));
  if (!(pid > 0)) throw new Error(`${path} has no pid`);
  return pid;
}

/** As a worker does for itself. */
function put(cgroups: Cgroups, id: string, { pid }: ChildProcess): void {
  writeFileSync(join(cgroups.make(id) as string, 'cgroup.procs'), String(pid));
}

describe.skipIf(here === null)('given a host with cgroup v2', () => {
  function group(): { cgroups: Cgroups; id: string } {
    const cgroups = Cgroups.open(`test-${randomUUID()}`) as Cgroups;
    onTestFinished(() => cgroups.close());
    return { cgroups, id: randomUUID() };
  }

  test('all that a process started is ended with its group, whatever it did to get away', async () => {
    const { cgroups, id } = group();
    const child = spawn('sh', ['-c', 'read go; setsid env -i sleep 600 & echo $!; wait'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    put(cgroups, id, child);
    child.stdin.write('go\n');
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    const escaped = Number(said.toString());
    expect(pidAlive(escaped, null)).toBe(true);
    expect(await cgroups.end(id)).toEqual([]);
    expect(pidAlive(escaped, null)).toBe(false);
    expect(await cgroups.end(id)).toEqual([]);
  });

  test('a group is not removed by another node, be it empty or not', async () => {
    const { cgroups, id } = group();
    const child = spawn('sleep', ['600']);
    onTestFinished(() => void child.kill('SIGKILL'));
    const exited = once(child, 'exit');
    put(cgroups, id, child);
    const empty = cgroups.make(randomUUID()) as string;
    Cgroups.open(`test-${randomUUID()}`)?.close();
    expect(existsSync(empty)).toBe(true);
    expect(pidAlive(child.pid as number, null)).toBe(true);
    expect(await cgroups.endAll()).toEqual([]);
    await exited;
  });

  test('a worker that dies takes along what its step hid from every mark', async () => {
    const at = await startNode();
    at.drop(escaping);
    const escaped = await eventually(() => pidIn(at.path('c', 'artifacts/escaped')));
    await at.killWorker('c');
    await eventually(() => expect(at.agent('c').status).toBe('failed'));
    expect(pidAlive(escaped, null)).toBe(false);
    expect(at.node.status().node['workers']).toMatchObject({ trees_ended_by: 'cgroup' });
  });

  test('what a killed node left is ended when the next one starts', async () => {
    const missions = temporaryMissions();
    const child = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', 'test/support/node-child.ts', missions],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    onTestFinished(() => void child.kill('SIGKILL'));
    await once(child.stdout, 'data');
    dropInto(missions, escaping);
    const escaped = await eventually(() => pidIn(`${missions}/c/artifacts/escaped`));
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
    await startNode({}, missions);
    expect(pidAlive(escaped, null)).toBe(false);
  });
});

test.runIf(here === null)(
  'given a host without, then the status says by what trees are ended',
  async () => {
    const at = await startNode();
    expect(at.node.status().node['workers']).not.toMatchObject({ trees_ended_by: 'cgroup' });
  },
);

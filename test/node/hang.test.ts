/** Workers that live but do not work: Lazarus hears why they were ended, and the mission goes on. */
import { expect, test } from 'vitest';
import { Cgroups } from '../../actors/cgroup.ts';
import { treeMeans } from '../../actors/processes.ts';
import { hasProc } from '../../actors/proc-fs.ts';
import { eventually } from '../support/eventually.ts';
import { gate, mission, startNode, step, task } from '../support/node.ts';

const PATIENT = { timeoutMs: 20_000 };

test('given a worker that is stopped (SIGSTOP), when it misses three beats, then it is killed, revived, and the work goes on', async () => {
  const at = await startNode();
  const plan = [task('t', [step('a', gate('g')), step('b')])];
  at.drop(mission('c', plan, { isolation_level: 'level_1' }));
  await at.waitsAt('c', 'g');
  const pid = await eventually(() => {
    const { pid: live } = at.agent('c');
    expect(live).not.toBeNull();
    return live ?? 0;
  });
  process.kill(pid, 'SIGSTOP');
  await eventually(() => expect(at.agent('c').revivals).toBe(1), PATIENT);
  expect(at.agent('c').pid).not.toBe(pid);
  at.open('c', 'g');
  await at.cellIs('c', 'completed');
  expect(at.counts('c')).toEqual({ 't/a': 2, 't/b': 1 });
  await eventually(() =>
    expect(at.ledger('c')).toMatchObject([
      {
        status: 'revived',
        signature: expect.stringContaining('hung'),
        reason: expect.stringMatching(/no heartbeat for \d/),
      },
    ]),
  );
}, 60_000);

test.runIf(hasProc)(
  'given a step without output or CPU time for `progress_timeout`, then its worker is ended, and the step runs again',
  async () => {
    const at = await startNode();
    const first = 'if [ -e artifacts/slept ]; then exit 0; fi; : > artifacts/slept; sleep 600';
    const policies = { auto_revive: 'yes', progress_timeout: 4 };
    at.drop(
      mission('c', [task('t', [step('a', first)])], { isolation_level: 'level_1', policies }),
    );
    await eventually(() => expect(at.agent('c').revivals).toBe(1), PATIENT);
    await at.cellIs('c', 'completed');
    expect(at.counts('c')).toEqual({ 't/a': 2 });
    await eventually(() =>
      expect(at.ledger('c')).toMatchObject([
        {
          status: 'revived',
          signature: expect.stringContaining('stuck'),
          reason: expect.stringContaining('step t/a: no output and no CPU time for'),
        },
      ]),
    );
  },
  60_000,
);

test('the status tells of workers that stand by, and by which means a process tree is ended here', async () => {
  const at = await startNode();
  expect(at.node.status().node['workers']).toMatchObject({ workers: 0, standby: 0 });
  at.drop(mission('c', [task('t', [step('a')])], { isolation_level: 'level_1' }));
  await at.cellIs('c', 'completed');
  await eventually(() => expect(at.node.status().node['workers']).toMatchObject({ standby: 2 }));
  const cgroups = Cgroups.open('a-test');
  expect(at.node.status().node['workers']).toMatchObject({ trees_ended_by: treeMeans(cgroups) });
  cgroups?.close();
});

/** What a process of an action may leave behind: nothing, and output within bounds. */
import { closeSync, openSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Cgroups } from '../../actors/cgroup.ts';
import { runProcess } from '../../actors/executor/run-process.ts';
import type { ProcessEnd, ProcessRequest } from '../../actors/executor/run-process.ts';
import { pidAlive } from '../../actors/processes.ts';
import { temporaryFolder } from '../support/cell-files.ts';

const nodeId = `test-run-${process.pid}`;
const cgroups = Cgroups.open(nodeId);

async function run(
  script: string,
  more: Partial<ProcessRequest> = {},
  withCgroups: Cgroups | null = null,
): Promise<{ end: ProcessEnd; folder: string }> {
  const folder = temporaryFolder();
  const stdout = openSync(join(folder, 'stdout'), 'a');
  const stderr = openSync(join(folder, 'stderr'), 'a');
  const owner = { nodeId, actionId: 'a', key: `key-${folder}`, cgroups: withCgroups };
  const argv = ['/bin/sh', '-c', script, 'sh', folder];
  const limits = { timeoutMs: 20_000, stdin: 'ignore' as const, graceMs: 100 };
  try {
    const request = { argv, owner, stdout, stderr, ...limits, ...more };
    return { end: await runProcess(request, new AbortController().signal), folder };
  } finally {
    closeSync(stdout);
    closeSync(stderr);
  }
}

const pidIn = (folder: string): number => Number(readFileSync(join(folder, 'pid'), 'utf8'));

describe('what is left', () => {
  test('a child that detached is ended before the end is told', async () => {
    const { end, folder } = await run('setsid sleep 60 & echo $! > "$1/pid"');
    expect(end).toEqual({ exit_code: 0, signal: null, timed_out: false, reason: null });
    expect(pidAlive(pidIn(folder), null)).toBe(false);
  });

  test.skipIf(cgroups === null)(
    'given control groups, then also one that cleared its environment',
    async () => {
      const leave = 'env -i setsid sleep 60 & echo $! > "$1/pid"; sleep 0.2';
      const { end, folder } = await run(leave, {}, cgroups);
      expect(end.exit_code).toBe(0);
      expect(pidAlive(pidIn(folder), null)).toBe(false);
      cgroups?.close();
    },
  );

  test('one that ignores SIGTERM is killed at its timeout', async () => {
    const { end } = await run('trap "" TERM; while :; do sleep 0.1; done', { timeoutMs: 200 });
    expect(end).toMatchObject({ signal: 'SIGKILL', timed_out: true });
    expect(end.reason).toBe('ended by us after its 0.2 s');
  });

  test('given an exit 0 at its timeout, then it was ended by us all the same', async () => {
    const script = 'trap "exit 0" TERM; while :; do sleep 0.05; done';
    const { end } = await run(script, { timeoutMs: 200, graceMs: 5000 });
    expect(end).toMatchObject({ exit_code: 0, timed_out: true });
    expect(end.reason).not.toBeNull();
  });

  test('one that writes without end is ended at the limit', async () => {
    const { end, folder } = await run('yes', { maxOutputBytes: 1_000_000 });
    expect(end.reason).toBe('ended by us: its output passed 1000000 bytes');
    expect(statSync(join(folder, 'stdout')).size).toBeGreaterThan(1_000_000);
  });

  test.each([
    ['/no/such/program', 127],
    ['/etc/passwd', 126],
  ])('given %s, then it is the known end %i', async (program, code) => {
    const { end } = await run('', { argv: [program] });
    expect(end).toMatchObject({ exit_code: code, signal: null, timed_out: false });
  });

  test('given an abort before the start, then nothing is started', async () => {
    const request = {
      argv: ['/bin/true'],
      owner: { nodeId, actionId: 'a', key: 'k', cgroups: null },
    };
    const files = { timeoutMs: 1000, stdin: 'ignore' as const, stdout: 1, stderr: 2 };
    const aborted = AbortSignal.abort(new Error('withdrawn'));
    await expect(runProcess({ ...request, ...files }, aborted)).rejects.toThrow('withdrawn');
  });
});

import { spawnSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { signalOf } from '../../actors/worker-spawn.ts';

describe('exit code and signal', () => {
  test.each([
    [0, null, { code: 0, signal: null }],
    [1, null, { code: 1, signal: null }],
    [null, 'SIGKILL', { code: null, signal: 'SIGKILL' }],
    [137, null, { code: null, signal: 'SIGKILL' }],
    [139, null, { code: null, signal: 'SIGSEGV' }],
    [143, null, { code: null, signal: 'SIGTERM' }],
    [128, null, { code: 128, signal: null }],
    [255, null, { code: 255, signal: null }],
  ] as const)('%s / %s', (code, signal, meant) => {
    expect(signalOf(code, signal)).toEqual(meant);
  });

  test('through a wrapper that waits for the program and passes its end on', () => {
    const { status, signal } = spawnSync('bash', ['-c', 'bash -c "kill -9 \\$\\$"; exit $?']);
    expect([status, signal]).toEqual([137, null]);
    expect(signalOf(status, signal)).toEqual({ code: null, signal: 'SIGKILL' });
  });
});

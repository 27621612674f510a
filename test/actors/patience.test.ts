/** P8, P9: what passes by itself is waited for, said once, and given up when nobody waits for it. */
import { describe, expect, test } from 'vitest';
import { patiently } from '../../actors/patience.ts';
import { RuntimeError } from '../../machines/errors.ts';

const diskError = (code: string): Error => Object.assign(new Error(code), { code });

/** Fails with each of the errors in turn, then succeeds. */
function failing(...errors: Error[]): () => Promise<string> {
  return () => {
    const error = errors.shift();
    return error ? Promise.reject(error) : Promise.resolve('done');
  };
}

describe('work that meets a fault of the host which passes by itself', () => {
  test.concurrent.each([
    diskError('ENOSPC'),
    diskError('EDQUOT'),
    new RuntimeError('too many', { code: 'BUSY' }),
    new RuntimeError('held', { code: 'JOURNAL_HELD' }),
  ])('is tried again, and told once: %s', async (error) => {
    const told: unknown[] = [];
    const { signal } = new AbortController();
    const work = failing(error, error);
    expect(await patiently(work, { signal, onWait: (e) => told.push(e) })).toBe('done');
    expect(told).toEqual([error]);
  });

  test('is given up when nobody waits for it any more', async () => {
    const { signal, ...controller } = withAbort();
    const waits = patiently(() => Promise.reject(diskError('ENOSPC')), {
      signal,
      onWait: () => controller.abort(new Error('withdrawn')),
    });
    await expect(waits).rejects.toThrow('withdrawn');
  });
});

test('any other error is the answer at once', async () => {
  const { signal } = new AbortController();
  const onWait = (): void => expect.unreachable();
  const work = failing(diskError('EACCES'));
  await expect(patiently(work, { signal, onWait })).rejects.toThrow('EACCES');
});

function withAbort(): { signal: AbortSignal; abort: (reason: Error) => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: (reason) => controller.abort(reason) };
}

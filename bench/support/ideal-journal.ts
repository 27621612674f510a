/**
 * The baseline of the group commit: a closed loop on nothing but a file. Each of `inFlight` slots has one JSON line on its
 * way; while one fdatasync is under way lines gather, one write and one fdatasync commit them all. No actors, no checksum,
 * no promises.
 */
import { closeSync, fdatasync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Count } from '../harness.ts';
import { tickAddress } from './kernel.ts';
import { stepEvent } from './machine.ts';

export function idealLoad(
  folder: string,
  { inFlight, ms }: { inFlight: number; ms: number },
): Promise<Count> {
  const path = join(folder, 'ideal.log');
  const fd = openSync(path, 'a');
  const startedAt = performance.now();
  let count = 0;
  let sent = 0;
  return new Promise((resolve, reject) => {
    const commit = (): void => {
      let batch = '';
      for (let i = 0; i < inFlight; i += 1) batch += lineOf((sent += 1));
      writeSync(fd, batch);
      fdatasync(fd, (error) => {
        if (error) return reject(error);
        count += inFlight;
        const took = performance.now() - startedAt;
        if (took < ms) return commit();
        closeSync(fd);
        rmSync(path);
        resolve({ count, ms: took });
      });
    };
    commit();
  });
}

/** A record such as the kernel writes for the same event. */
export function lineOf(n: number): string {
  return `${JSON.stringify({ a: tickAddress(n % 1000), n, p: 1, t: Date.now(), u: n, e: stepEvent(n) })}\n`;
}

/**
 * Records per second of the journal alone, in a closed loop with a number of records in flight, beside a bare
 * append + fdatasync loop in the same minute. `node bench/journal-micro.ts [seconds] [folder]`
 */
import {
  closeSync,
  fdatasyncSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { recoverJournal } from '../cells/journal-reader.ts';
import { Journal } from '../cells/journal.ts';

const seconds = Number(process.argv[2] ?? 2);
const root = process.argv[3] ?? tmpdir();
const filler = 'x'.repeat(140);
const line = (n: number): string =>
  `{"a":"cell/00000000-0000/agent/a","n":${n},"at":1763700000000,"event":"${filler}"}`;

async function closedLoop(inFlight: number): Promise<{ rate: number; p50: number; p99: number }> {
  const folder = mkdtempSync(join(root, 'lazarus-journal-'));
  const latencies: number[] = [];
  const endAt = performance.now() + seconds * 1000;
  const startedAt = performance.now();
  let batchStartedAt = 0;
  let count = 0;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const journal = await Journal.open(
    {
      folder,
      node: 'bench',
      epoch: 1,
      onCommit: ({ firstLsn, lastLsn }) => {
        const now = performance.now();
        latencies.push(now - batchStartedAt);
        count += lastLsn - firstLsn + 1;
        if (now >= endAt) resolve();
        else setImmediate(send, lastLsn - firstLsn + 1);
      },
      onFailure: reject,
    },
    recoverJournal(folder),
  );
  const send = (records: number): void => {
    batchStartedAt = performance.now();
    for (let i = 0; i < records; i += 1) journal.append(line(count + i));
    journal.flush();
  };
  send(inFlight);
  await promise;
  const rate = (count / (performance.now() - startedAt)) * 1000;
  await journal.close();
  rmSync(folder, { recursive: true });
  latencies.sort((a, b) => a - b);
  const at = (q: number): number => latencies[Math.floor(latencies.length * q)] ?? 0;
  return { rate, p50: at(0.5), p99: at(0.99) };
}

function bareLoop(batch: number): { rate: number; p50: number; p99: number } {
  const path = join(root, `lazarus-bare-${process.pid}`);
  writeFileSync(path, '');
  const fd = openSync(path, 'a');
  const latencies: number[] = [];
  const startedAt = performance.now();
  let count = 0;
  while (performance.now() - startedAt < seconds * 1000) {
    const begin = performance.now();
    const lines: string[] = [];
    for (let i = 0; i < batch; i += 1) lines.push(line(count + i));
    writeSync(fd, `${lines.join('\n')}\n`);
    fdatasyncSync(fd);
    latencies.push(performance.now() - begin);
    count += batch;
  }
  const rate = (count / (performance.now() - startedAt)) * 1000;
  closeSync(fd);
  rmSync(path);
  latencies.sort((a, b) => a - b);
  const at = (q: number): number => latencies[Math.floor(latencies.length * q)] ?? 0;
  return { rate, p50: at(0.5), p99: at(0.99) };
}

for (const inFlight of [1, 64, 1000])
  for (const [name, run] of [
    ['bare   ', bareLoop],
    ['journal', closedLoop],
  ] as const) {
    const { rate, p50, p99 } = await run(inFlight);
    console.log(
      `${String(inFlight).padStart(4)} in flight  ${name} ${Math.round(rate).toLocaleString('en').padStart(9)}/s  p50 ${p50.toFixed(2)} ms  p99 ${p99.toFixed(2)} ms`,
    );
  }

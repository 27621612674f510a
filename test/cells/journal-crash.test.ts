import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { readSegments, recoverJournal } from '../../cells/journal-reader.ts';
import { temporaryFolder } from '../support/journal.ts';

const child = fileURLToPath(new URL('../support/journal-child.ts', import.meta.url));
const root = temporaryFolder();

interface Run {
  /** The last lsn it printed as committed; 0 for none. */
  acknowledged: number;
  /** Whether it reached its fault point. */
  isFaultHit: boolean;
}

/** Runs the child until it kills itself at the fault point, or is killed here after so many acknowledgements. */
async function run(
  folder: string,
  { fault = [], killAfter = 5000 }: { fault?: string[]; killAfter?: number },
): Promise<Run> {
  const args = [child, folder, ...fault];
  const started = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  let lines = 0;
  started.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    lines += text.split('\n').length - 1;
    if (lines >= killAfter) started.kill('SIGKILL');
  });
  await once(started, 'close');
  expect(started.signalCode).toBe('SIGKILL');
  const numbers = output.match(/^\d+$(?=\n)/gm) ?? [];
  return { acknowledged: Number(numbers.at(-1) ?? 0), isFaultHit: output.includes('fault') };
}

/** Everything acknowledged is there, in whole groups, without a gap; nothing is reported as damaged. */
function checkAfter({ acknowledged }: Run, folder: string): void {
  const records = [...readSegments(folder)].map(({ lsn, line }) => {
    const event: { n: number; first: number; size: number } = JSON.parse(line);
    return { lsn, ...event };
  });
  const first = records[0]?.lsn ?? 1;
  const last = records.at(-1)?.lsn ?? 0;
  expect(last).toBeGreaterThanOrEqual(acknowledged);
  expect(first).toBeLessThanOrEqual(Math.max(1, acknowledged - 60));
  records.forEach(({ lsn, n }, index) => expect([lsn, n]).toEqual([first + index, first + index]));
  const end = records.at(-1);
  expect((end?.first ?? 0) + (end?.size ?? 1) - 1).toBe(last);
  expect(recoverJournal(folder)).toMatchObject({ corrupt: [], nextLsn: last + 1 });
}

describe('P1: given a process killed', () => {
  test('at any time, again and again on the same folder, then all it acknowledged is there', async () => {
    const folder = `${root}/any-time`;
    let before = 0;
    for (const killAfter of [1, 7, 60, 200, 500]) {
      const killed = await run(folder, { killAfter });
      expect(killed.acknowledged).toBeGreaterThan(before);
      before = killed.acknowledged;
      checkAfter(killed, folder);
    }
  });

  test.each([
    ['journal.before-write', '9'],
    ['journal.after-write', '9'],
    ['journal.before-sync', '9'],
    ['journal.after-sync', '9'],
    ['journal.segment.before-create', '2'],
    ['journal.segment.after-create', '2'],
    ['journal.segment.before-header', '2'],
    ['journal.segment.after-header', '2'],
    ['journal.segment.before-sync', '2'],
    ['journal.segment.after-sync', '2'],
    ['journal.segment.after-folder-sync', '3'],
    ['journal.before-truncate', '2'],
    ['journal.after-truncate', '2'],
    ['journal.before-unlink', '2'],
    ['journal.after-unlink', '2'],
    ['journal.recover.before-write', '1'],
    ['journal.recover.before-sync', '1'],
    ['journal.recover.after-sync', '1'],
  ])('at %s, then all it acknowledged is there, and the next run goes on', async (point, visit) => {
    const folder = `${root}/${point}`;
    const first = await run(folder, { fault: [point, visit], killAfter: 300 });
    checkAfter(first, folder);
    const second = await run(folder, { fault: [point, visit], killAfter: 20 });
    checkAfter(
      { ...second, acknowledged: Math.max(first.acknowledged, second.acknowledged) },
      folder,
    );
    expect(first.isFaultHit || second.isFaultHit).toBe(true);
    const third = await run(folder, { killAfter: 20 });
    expect(third.acknowledged).toBeGreaterThan(first.acknowledged);
    checkAfter(third, folder);
  });
});

/**
 * Appends groups of records to a journal for ever, printing each committed lsn; the tests kill it. Arguments: folder,
 * and optionally a fault point and the number of the visit to it at which the process kills itself.
 */
import { writeSync } from 'node:fs';

const [folder = '', faultPoint, visit = '1'] = process.argv.slice(2);
let visitsLeft = Number(visit);
Object.assign(globalThis, {
  __lazarusFaultPoint: (point: string) => {
    if (point !== faultPoint) return;
    visitsLeft -= 1;
    if (visitsLeft > 0) return;
    writeSync(1, 'fault\n');
    process.kill(process.pid, 'SIGKILL');
  },
});

const { recoverJournal } = await import('../../cells/journal-reader.ts');
const { Journal } = await import('../../cells/journal.ts');

let appended = 0;
const journal = await Journal.open(
  {
    folder,
    node: 'child',
    epoch: 1,
    segmentBytes: 4096,
    onCommit: ({ lastLsn }) => {
      writeSync(1, `${lastLsn}\n`);
      if (lastLsn % 5 === 0) void journal.dropBefore(lastLsn - 60);
      setImmediate(appendGroup);
    },
    onFailure: (error) => {
      throw error;
    },
  },
  recoverJournal(folder),
);

/** Records of one group name its first lsn and its size, so that a part of a group can be told from a whole one. */
function appendGroup(): void {
  appended += 1;
  const size = 1 + (appended % 4);
  const first = journal.committedLsn + 1;
  const text = 'x'.repeat((appended * 37) % 300);
  for (let n = first; n < first + size; n += 1)
    journal.append(`{"a":"cell/c","n":${n},"first":${first},"size":${size},"text":"${text}"}`);
  journal.flush();
}
appendGroup();

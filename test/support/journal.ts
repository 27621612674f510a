/** Journals in temp folders, and the disk that fails when told to. */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { readSegments, recoverJournal } from '../../cells/journal-reader.ts';
import type { RecoverOptions } from '../../cells/journal-reader.ts';
import { fileSystem, type JournalIo } from '../../cells/journal-segment.ts';
import { Journal, type CommittedBatch, type JournalOptions } from '../../cells/journal.ts';

const made: string[] = [];
afterAll(() => made.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

/** Removed when the test file that asked for it is done. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'lazarus-journal-'));
  made.push(folder);
  return folder;
}

export const recordLine = (n: number, text = ''): string =>
  `{"a":"cell/c1/agent/a${n % 3}","n":${n},"text":${JSON.stringify(text)}}`;

export interface TestJournal {
  journal: Journal;
  folder: string;
  batches: CommittedBatch[];
  failures: { error: Error; firstLostLsn: number }[];
}

export async function openJournal(
  folder: string,
  options: Partial<JournalOptions> = {},
  recovery: RecoverOptions = {},
): Promise<TestJournal> {
  const batches: CommittedBatch[] = [];
  const failures: { error: Error; firstLostLsn: number }[] = [];
  const journal = await Journal.open(
    {
      folder,
      node: 'test',
      epoch: 1,
      segmentBytes: 64 << 10,
      onCommit: (batch) => batches.push(batch),
      onFailure: (error, firstLostLsn) => failures.push({ error, firstLostLsn }),
      ...options,
    },
    recoverJournal(folder, recovery),
  );
  return { journal, folder, batches, failures };
}

/** Appends the lines as one group and waits until they are durable. Returns the last lsn. */
export async function commit(journal: Journal, lines: string[]): Promise<number> {
  const lsn = lines.map((line) => journal.append(line)).at(-1) ?? 0;
  const done = journal.committed(lsn);
  journal.flush();
  await done;
  return lsn;
}

/** What a process would find that starts after this one was killed just now. */
export function folderAfterKill(folder: string): string {
  const copy = temporaryFolder();
  cpSync(folder, copy, { recursive: true });
  return copy;
}

export const linesIn = (folder: string): string[] =>
  [...readSegments(folder)].map(({ line }) => line);

export function diskError(code: 'EIO' | 'ENOSPC'): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: the test's disk`), { code });
}

/** The real file system, with what `broken` names replaced while `isBroken`. */
export class BreakableDisk {
  isBroken = false;
  readonly io: JournalIo;

  constructor(broken: Partial<JournalIo>) {
    const brokenDisk = { ...fileSystem, ...broken };
    const disk = (): JournalIo => (this.isBroken ? brokenDisk : fileSystem);
    this.io = {
      openSync: (...args) => disk().openSync(...args),
      writeSync: (...args) => disk().writeSync(...args),
      write: (...args) => disk().write(...args),
      fdatasyncSync: (...args) => disk().fdatasyncSync(...args),
      fdatasync: (...args) => disk().fdatasync(...args),
      ftruncateSync: (...args) => disk().ftruncateSync(...args),
      ftruncate: (...args) => disk().ftruncate(...args),
      closeSync: (...args) => disk().closeSync(...args),
      unlinkSync: (...args) => disk().unlinkSync(...args),
      syncFolder: (...args) => disk().syncFolder(...args),
    };
  }
}

/** A cell's own copy of its records: what has left the shared journal is still here, for recovery and for people. */
import { hasCode, listInside, readInside } from './inside.ts';
import { readBatches } from './journal-format.ts';
import { cellPath } from './layout.ts';

/** Files of a copy are rolled far below this. */
export const COPY_LIMIT = { maxBytes: 512 << 20 };

/** Names of the copy's files, oldest first. */
export function copyFiles(cellDir: string): string[] {
  return (listInside(cellDir, cellPath.journal) ?? [])
    .map(({ name }) => name)
    .filter((name) => /^[0-9]{15}\.wal$/.test(name))
    .toSorted();
}

export interface CopiedRecord {
  lsn: number;
  address: string;
  line: string;
}

const ADDRESS = /^\{"a":"([^"]*)"/;

/** Oldest first. A file that goes while it is read is one that the bound removed. */
export function* readCellCopy(cellDir: string): Generator<CopiedRecord> {
  for (const name of copyFiles(cellDir)) {
    const bytes = readCopy(cellDir, name);
    if (bytes === undefined) continue;
    for (const batch of readBatches(bytes)) {
      if (!('lines' in batch)) continue;
      for (const [index, line] of batch.lines.entries())
        yield { lsn: batch.lsn + index, address: ADDRESS.exec(line)?.[1] ?? '', line };
    }
  }
}

function readCopy(cellDir: string, name: string): Buffer | undefined {
  try {
    return readInside(cellDir, `${cellPath.journal}/${name}`, COPY_LIMIT);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** A cell's own copy of its records, read for people: what has left the shared journal is still here. */
import { hasCode, listInside, readInside } from './inside.ts';
import { readBatches } from './journal-format.ts';
import { cellPath } from './layout.ts';

/** Files of a copy are rolled far below this. */
const MAX_BYTES = 512 << 20;

export interface CopiedRecord {
  lsn: number;
  address: string;
  line: string;
}

const ADDRESS = /^\{"a":"([^"]*)"/;

/** Oldest first. A file that goes while it is read is one that the bound removed. */
export function* readCellCopy(cellDir: string): Generator<CopiedRecord> {
  const names = (listInside(cellDir, cellPath.journal) ?? [])
    .map(({ name }) => name)
    .filter((name) => name.endsWith('.wal'))
    .toSorted();
  for (const name of names) {
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
    return readInside(cellDir, `${cellPath.journal}/${name}`, { maxBytes: MAX_BYTES });
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

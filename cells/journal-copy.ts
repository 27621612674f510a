/**
 * A cell's own copy of its records: what has left the shared journal is still here, for recovery and for people.
 *
 *   .lazarus/journal/<lsn of its first record, 15 digits>.wal        of the node that has the cell
 *   .lazarus/journal/e<era, 6 digits>-<lsn>.wal                      of nodes that had it before, in order
 *
 * Q1 Lsns count within one node's journal only. When the cell comes to another node its copy is sealed: what that node
 *    adds is never taken for what stands there already, and the order of the files stays the order of what happened.
 */
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { syncFolderSync } from './durable.ts';
import { listInside, openFolderInside, readIfThere } from './inside.ts';
import { readBatches } from './journal-format.ts';
import { cellPath } from './layout.ts';

/** Files of a copy are rolled far below this. */
export const COPY_LIMIT = { maxBytes: 512 << 20 };

/** Names of the copy's files, oldest first. */
export function copyFiles(cellDir: string): string[] {
  const names = (listInside(cellDir, cellPath.journal) ?? []).map(({ name }) => name);
  return [...names.filter(isSealed).toSorted(), ...names.filter(isCurrent).toSorted()];
}

/** Of the node that has the cell now. */
export const isCurrent = (name: string): boolean => /^[0-9]{15}\.wal$/.test(name);

const isSealed = (name: string): boolean => /^e[0-9]{6}-[0-9]{15}\.wal$/.test(name);

/** Q1. Oldest first, so that a crash in the middle leaves an order that the next try keeps. */
export function sealCopy(cellDir: string): void {
  const files = copyFiles(cellDir);
  const current = files.filter(isCurrent);
  if (current.length === 0) return;
  const eras = files.filter(isSealed).map((name) => Number(name.slice(1, 7)));
  const era = String(Math.max(0, ...eras) + 1).padStart(6, '0');
  const folder = openFolderInside(cellDir, cellPath.journal);
  try {
    for (const name of current)
      renameSync(join(folder.path, name), join(folder.path, `e${era}-${name}`));
    folder.recheck();
    syncFolderSync(folder.path);
  } finally {
    folder.close();
  }
}

export interface CopiedRecord {
  lsn: number;
  /** The lsn is that of a node which had the cell before. */
  sealed: boolean;
  address: string;
  line: string;
}

const ADDRESS = /^\{"a":"([^"]*)"/;

/** Oldest first. A file that goes while it is read is one that the bound removed. */
export function* readCellCopy(cellDir: string): Generator<CopiedRecord> {
  for (const name of copyFiles(cellDir)) {
    const bytes = readIfThere(cellDir, `${cellPath.journal}/${name}`, COPY_LIMIT);
    if (bytes === undefined) continue;
    const sealed = isSealed(name);
    for (const batch of readBatches(bytes)) {
      if (!('lines' in batch)) continue;
      for (const [index, line] of batch.lines.entries())
        yield { lsn: batch.lsn + index, sealed, address: ADDRESS.exec(line)?.[1] ?? '', line };
    }
  }
}

/**
 * Cells in which this node may have written records that are not in their folders: asked when the journal is damaged, to
 * tell whom it may have cost something (loss-accounting.ts). A cell that nobody woke since a clean stop is none.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { readCellFile } from '../cells/load.ts';
import { readOwner } from '../cells/owner.ts';
import { SYSTEM_CELL_ID } from '../machines/addresses.ts';

/** Throws what the file system throws for a missions folder that may not be read. */
export function uncleanCells(missionsDir: string, nodeId: string): Set<string> {
  const unclean = new Set([SYSTEM_CELL_ID]);
  for (const entry of readdirSync(missionsDir, { withFileTypes: true })) {
    if (!entry.isDirectory() || entry.name.startsWith('.')) continue;
    const dir = join(missionsDir, entry.name);
    const found = readOwner(dir);
    const isOurs = found.kind === 'owner' && !found.owner.clean && found.owner.node === nodeId;
    if (!isOurs && found.kind !== 'unreadable') continue;
    const cell = readCellFile(dir, 'cell.json');
    unclean.add(entry.name);
    if (cell.outcome === 'good') unclean.add(cell.content['cell_id'] as string);
  }
  return unclean;
}

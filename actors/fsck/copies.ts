/** The cells' own copies of their records (cells/journal-copy.ts): every byte readable, records in their order. */
import { join } from 'node:path';
import { hasCode, readInside } from '../../cells/inside.ts';
import { copyFiles, COPY_LIMIT } from '../../cells/journal-copy.ts';
import { scanBatches } from '../../cells/journal-format.ts';
import { cellPath } from '../../cells/layout.ts';
import type { Findings } from './finding.ts';
import type { CellPlace, World } from './world.ts';

export function checkCopies(world: World, findings: Findings): void {
  for (const cell of world.cells) {
    const files = copyFiles(cell.dir);
    for (const [index, name] of files.entries())
      checkFile(world, findings, { cell, name, isLast: index === files.length - 1 });
  }
}

function checkFile(
  { isUp }: World,
  findings: Findings,
  { cell, name, isLast }: { cell: CellPlace; name: string; isLast: boolean },
): void {
  const path = `${cellPath.journal}/${name}`;
  const bytes = readOrGone(cell.dir, path);
  if (bytes === undefined) return;
  const about = { where: join(cell.dir, path), cell_id: cell.cellId };
  for (const span of scanBatches(bytes)) {
    if (span.kind === 'batch') {
      if (span.flip) noteFlip(findings, about, span.flip.at);
      continue;
    }
    const isTorn = span.kind === 'torn' && isLast;
    if (isTorn && isUp) continue;
    findings.add({
      ...about,
      severity: isTorn ? 'note' : 'error',
      code: isTorn ? 'copy-torn' : 'copy-damaged',
      what: `bytes ${span.from} to ${span.to} of the cell's copy of its records cannot be read`,
      means: isTorn
        ? 'A write was under way when the node ended; what it copied is still in the shared journal.'
        : 'History of the cell is lost there. Its state needs it only if a checkpoint is damaged too.',
      todo: isTorn
        ? 'Nothing: the next copy begins a new file.'
        : 'Keep the file. Put a sound copy of it in place from a backup, if there is one.',
    });
  }
}

/** A single bit that turned on the disk: the checksum says which, so the batch is read as it was written. */
export function noteFlip(
  findings: Findings,
  about: { where: string; cell_id?: string },
  at: number,
): void {
  findings.add({
    ...about,
    severity: 'warning',
    code: 'bit-turned',
    what: `one bit has turned, in the byte at ${at}`,
    means:
      'Nothing is lost: the checksum tells which bit it was. But the disk or the memory does such things.',
    todo: 'Look at the disk (its log, SMART), and at the memory.',
  });
}

function readOrGone(dir: string, path: string): Buffer | undefined {
  try {
    return readInside(dir, path, COPY_LIMIT);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined; // the bound removed it
    throw error;
  }
}

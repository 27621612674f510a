/**
 * The files people read, against what the mission knows. A file that merges to "no change" and yet says something else is
 * an old projection of ours and can be written anew; anything else is a person's edit, and theirs to keep.
 *
 * Judged only while no node runs: a running one writes them all the time.
 */
import { join } from 'node:path';
import { unlinkInside, readInside, writeWholeInside } from '../../cells/inside.ts';
import { cellPath, ERROR_SUFFIX } from '../../cells/layout.ts';
import { scanCell } from '../../cells/load.ts';
import { ownerProblem, readOwner } from '../../cells/owner.ts';
import type { CellScan } from '../../cells/load.ts';
import { cellAddress, SYSTEM_CELL_ID } from '../../machines/addresses.ts';
import type { CellContext } from '../../machines/cell-context.ts';
import { jsonEqual } from '../../machines/json.ts';
import type { JsonObject } from '../../machines/json.ts';
import { mergeFile } from '../../machines/merge.ts';
import type { FileState } from '../../machines/merge.ts';
import type { FileChange } from '../../machines/mission.ts';
import { projectFiles, runtimeFields } from '../../machines/projection.ts';
import { plain } from './finding.ts';
import type { Findings } from './finding.ts';
import type { CellPlace, World } from './world.ts';

export function checkProjections(world: World, findings: Findings): void {
  if (world.isUp) return;
  for (const cell of world.cells) {
    if (cell.cellId === SYSTEM_CELL_ID) continue;
    const scan = scanCell(cell.dir);
    checkErrorFiles(world, cell, { scan, findings });
    const context = contextOf(world, cell.cellId);
    if (context) checkFiles({ cell, context, scan, findings });
  }
}

/** undefined when no node took the cell in, or its state cannot be had (reported with the checkpoints). */
function contextOf(world: World, cellId: string): CellContext | undefined {
  try {
    return world.fold(cellAddress(cellId))?.snapshot.context as CellContext | undefined;
  } catch {
    return undefined;
  }
}

interface Checked {
  cell: CellPlace;
  context: CellContext;
  scan: CellScan;
  findings: Findings;
}

function checkFiles({ cell, context, scan, findings }: Checked): void {
  const present = new Map(scan.changes.map((change) => [change.path, change]));
  const bad = new Set(scan.problems.map(({ path }) => path));
  const cell_id = cell.cellId;
  for (const [path, wanted] of Object.entries(projectFiles(context))) {
    const where = join(cell.dir, path);
    const change = present.get(path);
    if (change?.content && !jsonEqual(change.content, wanted))
      differs({ cell, context, scan, findings }, { path, wanted, change });
    else if (change === undefined && !bad.has(path))
      findings.add({
        severity: 'note',
        code: 'file-removed',
        what: 'the file is gone',
        where,
        means: 'A person removed it: the next start takes that as their wish.',
        todo: 'Nothing, or put it back.',
        cell_id,
      });
  }
  for (const { path } of scan.changes)
    if (context.files[path] === undefined)
      findings.add({
        severity: 'note',
        code: 'file-new',
        what: 'the file was not taken in yet',
        where: join(cell.dir, path),
        means: 'It is new; the next start takes it in.',
        todo: 'Nothing.',
        cell_id,
      });
}

function differs(
  { cell, context, findings }: Checked,
  { path, wanted, change }: { path: string; wanted: JsonObject; change: FileChange },
): void {
  const file = context.files[path] as FileState;
  const rev = change.content?.['_rev'];
  const about = { where: join(cell.dir, path), cell_id: cell.cellId };
  if (typeof rev === 'number' && rev > file.rev)
    return findings.add({
      ...about,
      severity: 'error',
      code: 'file-ahead',
      what: `the file has _rev ${rev}, the mission knows it up to ${file.rev}`,
      means: 'The state was put back to an older one than the one people saw, or _rev was edited.',
      todo: 'If the folder was restored from parts of different age, restore it whole.',
    });
  if (mergeFile({ file, runtime: runtimeFields(context, file) }, change).changed)
    return findings.add({
      ...about,
      severity: 'note',
      code: 'file-edited',
      what: 'the file says something else than the mission knows',
      means: 'A person edited it: the next start takes the edit in.',
      todo: 'Nothing.',
    });
  const repair = async (): Promise<string> => {
    const text = `${JSON.stringify(wanted, null, 2)}\n`;
    await writeWholeInside(cell.dir, path, text, { sync: true, what: 'projection' });
    return 'written anew from committed state';
  };
  findings.add(
    {
      ...about,
      severity: 'warning',
      code: 'file-behind',
      what: `the file has _rev ${plain(rev)}, the mission is at ${file.rev}`,
      means: 'People who read it are told something old. The next start writes it.',
      todo: '`lazarus fsck --repair` writes it now.',
    },
    repair,
  );
}

const FIRST_LINE = 'Not accepted by lazarus:';

function checkErrorFiles(
  { nodeId }: World,
  { dir, cellId }: CellPlace,
  { scan, findings }: { scan: CellScan; findings: Findings },
): void {
  const isHeld = ownerProblem(readOwner(dir), nodeId) !== undefined; // said in the cell's own error file
  const bad = new Set(scan.problems.map(({ path }) => path));
  for (const { path, problems } of scan.problems)
    findings.add({
      severity: 'warning',
      code: 'file-invalid',
      what: `the file is not accepted: ${problems[0]?.message ?? 'it cannot be read'} (line ${problems[0]?.line ?? 1})`,
      where: join(dir, path),
      means: 'It changes nothing; an earlier good version stays in force.',
      todo: problems[0]?.fix ?? 'Mend it.',
      cell_id: cellId,
    });
  for (const name of scan.errorFiles) {
    const path = name.slice(0, -ERROR_SUFFIX.length);
    if (bad.has(path) || (isHeld && path === cellPath.cell)) continue;
    const isOurs = readInside(dir, name, { maxBytes: 256 * 1024 })
      .toString('utf8')
      .startsWith(FIRST_LINE);
    if (!isOurs) continue;
    const repair = (): string => {
      unlinkInside(dir, name);
      return 'removed';
    };
    findings.add(
      {
        severity: 'warning',
        code: 'error-file-stale',
        what: 'the error file is about a file that is good or gone',
        where: join(dir, name),
        means: 'It frightens people for nothing. The next start removes it.',
        todo: '`lazarus fsck --repair` removes it now.',
        cell_id: cellId,
      },
      repair,
    );
  }
}

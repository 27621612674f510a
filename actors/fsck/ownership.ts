/** Whose each cell is (P5): one folder a cell_id, an owner's record that fits this node, and epochs that never went back. */
import { join } from 'node:path';
import { readOwner } from '../../cells/owner.ts';
import type { Owner } from '../../cells/owner.ts';
import { cellPath } from '../../cells/layout.ts';
import { cellAddress, SYSTEM_CELL_ID } from '../../machines/addresses.ts';
import type { Findings } from './finding.ts';
import { readText } from './world.ts';
import type { CellPlace, World } from './world.ts';

export function checkOwnership(world: World, findings: Findings): void {
  const epoch = world.isWhole ? checkNodeFiles(world, findings) : undefined;
  for (const cell of world.cells)
    if (cell.cellId !== SYSTEM_CELL_ID) checkOwner(world, findings, cell, epoch);
  if (world.isWhole && !world.isUp) checkGone(world, findings);
  for (const [cellId, folders] of world.folders)
    if (folders.length > 1 && world.cells.some((cell) => cell.cellId === cellId))
      findings.add({
        severity: 'warning',
        code: 'cell-twice',
        what: `${folders.length} folders say that they are cell ${cellId}: ${folders.join(', ')}`,
        where: world.layout.root,
        means: 'One of them runs, the others are refused.',
        todo: 'Give the others a cell_id of their own, or take them away.',
        cell_id: cellId,
      });
}

function checkGone(world: World, findings: Findings): void {
  for (const { address, stopped } of world.found.actors.values()) {
    const [kind, cellId = '', member] = address.split('/');
    if (kind !== 'cell' || member !== undefined || stopped || cellId === SYSTEM_CELL_ID) continue;
    if (world.dirOf(cellId) !== undefined) continue;
    findings.add({
      severity: 'note',
      code: 'folder-gone',
      what: `the folder of cell ${cellId} is not here any more`,
      where: world.layout.root,
      means:
        'It was removed or moved while no node ran. What of it is only in the folder is not here.',
      todo: 'Nothing, if that was meant; else put the folder back before the next start.',
      cell_id: cellId,
    });
  }
}

/** The node's own counters. Returns its epoch. */
function checkNodeFiles({ layout, found }: World, findings: Findings): number | undefined {
  const text = readText(layout.epoch)?.trim();
  if (text !== undefined && !/^\d{1,15}$/.test(text)) {
    findings.add({
      severity: 'error',
      code: 'epoch-unreadable',
      what: 'the epoch file does not hold a number',
      where: layout.epoch,
      means: 'No node starts here: the fencing token must never go back.',
      todo: `Write into it a number above ${found.journal.lastEpoch} and above every epoch in the cells' owner.json.`,
    });
    return undefined;
  }
  const epoch = Number(text ?? 0);
  if (epoch < found.journal.lastEpoch)
    findings.add({
      severity: 'warning',
      code: 'epoch-behind',
      what: `the epoch file says ${epoch}, the journal has records of epoch ${found.journal.lastEpoch}`,
      where: layout.epoch,
      means: 'An older copy of the file was put back. The next start raises it above both.',
      todo: 'Nothing, if the rest of this folder was not put back from an older copy too.',
    });
  if (readText(layout.nodeId)?.trim() === '')
    findings.add({
      severity: 'warning',
      code: 'node-id-empty',
      what: 'the node-id file is empty',
      where: layout.nodeId,
      means: 'The next start takes a new name, and holds every cell that was not left clean.',
      todo: "Write into it the name that the cells' .lazarus/owner.json have.",
    });
  return epoch;
}

function checkOwner(
  world: World,
  findings: Findings,
  { cellId, dir }: CellPlace,
  epoch: number | undefined,
): void {
  const where = join(dir, cellPath.owner);
  const found = readOwner(dir);
  if (found.kind === 'none') return;
  if (found.kind === 'unreadable')
    return findings.add({
      severity: 'error',
      code: 'owner-unreadable',
      what: `the owner's record cannot be read: ${found.reason}`,
      where,
      means: 'Nobody knows whether the newest records of this cell are here: it is held.',
      todo: 'Put back a sound copy of the file, or accept what may be lost: `lazarus cell import --accept-loss`.',
      cell_id: cellId,
    });
  const { owner } = found;
  if (owner.node !== world.nodeId) {
    if (!owner.clean) foreign(findings, { where, cellId, owner });
    return;
  }
  if (epoch !== undefined && owner.epoch > epoch)
    findings.add({
      severity: 'note', // of every mission that was elsewhere
      code: 'owner-epoch',
      what: `the cell was taken in epoch ${owner.epoch}, this node is at ${epoch}`,
      where,
      means: 'The cell was elsewhere meanwhile, or the epoch file was put back from an older copy.',
      todo: 'Nothing, if the cell came back from another node.',
      cell_id: cellId,
    });
  if (owner.clean && !world.isUp) checkClean(world, findings, { where, cellId, owner });
}

interface Owned {
  where: string;
  cellId: string;
  owner: Owner;
}

function foreign(findings: Findings, { where, cellId, owner }: Owned): void {
  findings.add({
    severity: 'error',
    code: 'owner-elsewhere',
    what: `node ${owner.node} had the cell last and did not leave it clean`,
    where,
    means: "Its newest records are in that node's journal, not here: it is held.",
    todo: 'Stop that node cleanly and copy the folder again, or accept the loss: `lazarus cell import --accept-loss`.',
    cell_id: cellId,
  });
}

/** Left clean means that everything up to `seq` is in the folder itself. */
function checkClean(world: World, findings: Findings, { where, cellId, owner }: Owned): void {
  let seq: number | undefined;
  try {
    seq = world.fold(cellAddress(cellId))?.seq;
  } catch {
    return; // reported with the checkpoints
  }
  if (seq === undefined || seq >= owner.seq) return;
  findings.add({
    severity: 'error',
    code: 'owner-ahead',
    what: `the cell was left clean at record ${owner.seq}; what is here ends at ${seq}`,
    where,
    means: 'Records that were here are gone: part of the folder is an older copy.',
    todo: 'Put back the whole folder as it was left.',
    cell_id: cellId,
  });
}

/**
 * `<cell>/.lazarus/owner.json`: which node's journal holds this cell's newest records.
 *
 * O1 Written, not clean, before a node journals anything for the cell; marked clean only when everything of the cell is in
 *    its own folder.
 * O2 A cell that another node left unclean has records that are not here: it is held, never started from what is left.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeWholeSync } from './durable.ts';
import { cellPath } from './layout.ts';

export interface Owner {
  node: string;
  epoch: number;
  /** The cell actor's seq when this was written. */
  seq: number;
  clean: boolean;
  /** What the node's clock of running time showed when it left the cell, in ms: timers of the cell's actors count on it. */
  up?: number;
}

export type OwnerFound =
  { kind: 'none' } | { kind: 'owner'; owner: Owner } | { kind: 'unreadable'; reason: string };

export function readOwner(cellDir: string): OwnerFound {
  let text: string;
  try {
    text = readFileSync(join(cellDir, cellPath.owner), 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' ? { kind: 'none' } : { kind: 'unreadable', reason: String(error) };
  }
  try {
    const owner = JSON.parse(text) as Partial<Owner>;
    if (
      typeof owner.node === 'string' &&
      Number.isSafeInteger(owner.epoch) &&
      typeof owner.clean === 'boolean'
    )
      return { kind: 'owner', owner: { seq: 0, ...owner } as Owner };
  } catch {
    // falls through: "unreadable" is never "empty" (P6)
  }
  return { kind: 'unreadable', reason: `${cellPath.owner} is damaged` };
}

/** Whole and durable when it returns; synchronous, because it stands before the first record of a cell (O1). */
export function writeOwner(cellDir: string, owner: Owner): void {
  mkdirSync(join(cellDir, cellPath.own), { recursive: true });
  writeWholeSync(join(cellDir, cellPath.owner), `${JSON.stringify(owner)}\n`, 'owner');
}

/** Why a cell may not be started by `node`; undefined when it may. */
export function ownerProblem(found: OwnerFound, node: string): string | undefined {
  switch (found.kind) {
    case 'none':
      return undefined;
    case 'unreadable':
      return `its owner record cannot be read (${found.reason})`;
    case 'owner':
      if (found.owner.clean || found.owner.node === node) return undefined;
      return `it was last run by node ${found.owner.node}, which did not stop cleanly: its newest records are in that node's journal, not here`;
    default:
      return found satisfies never;
  }
}

/**
 * `<cell>/.lazarus/owner.json`: which node's journal holds this cell's newest records, and whether it may run here.
 *
 * O1 Written, not clean, before a node journals anything for the cell; marked clean only when everything of the cell is in
 *    its own folder.
 * O2 A cell that another node left unclean has records that are not here: it is held, never started from what is left,
 *    until a person accepts the loss. That is written here too, so that it is known after a crash.
 * O3 A folder that its mission has left (`exported`) is fenced at the node where it was left: two copies of one mission must
 *    not both go on. Elsewhere the mark means nothing, so a copy made after an export goes on wherever it is put.
 */
import { join } from 'node:path';
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject } from '../machines/json.ts';
import { writeWholeSync } from './durable.ts';
import { mkdirInside, openFolderInside, readIfThere } from './inside.ts';
import { cellPath } from './layout.ts';

export interface Owner {
  node: string;
  epoch: number;
  /** The cell actor's seq when this was written. */
  seq: number;
  clean: boolean;
  /** What the node's clock of running time showed when it left the cell, in ms: timers of the cell's actors count on it. */
  up?: number;
  /** O3. */
  exported?: Exported;
  /** O2: the cell goes on from what is here. Stands until the next clean end. */
  loss?: { at: string; by: string };
}

export interface Exported {
  at: string;
  /** Where its copy was put; null: nobody said. */
  to: string | null;
  /** The node at which the folder was left. */
  node: string;
}

export type OwnerFound =
  { kind: 'none' } | { kind: 'owner'; owner: Owner } | { kind: 'unreadable'; reason: string };

const MAX_BYTES = 64 * 1024;

export function readOwner(cellDir: string): OwnerFound {
  let text: string | undefined;
  try {
    text = readIfThere(cellDir, cellPath.owner, { maxBytes: MAX_BYTES })?.toString();
  } catch (error) {
    return { kind: 'unreadable', reason: error instanceof Error ? error.message : String(error) };
  }
  if (text === undefined) return { kind: 'none' };
  const owner = parseOwner(text);
  if (owner) return { kind: 'owner', owner };
  return { kind: 'unreadable', reason: `${cellPath.owner} is damaged` }; // "unreadable" is never "empty" (P6)
}

/** Whole and durable when it returns; synchronous, because it stands before the first record of a cell (O1). */
export function writeOwner(cellDir: string, owner: Owner): void {
  mkdirInside(cellDir, cellPath.own);
  const folder = openFolderInside(cellDir, cellPath.own);
  try {
    const name = cellPath.owner.slice(cellPath.own.length + 1);
    writeWholeSync(join(folder.path, name), `${JSON.stringify(owner)}\n`, 'owner');
    folder.recheck();
  } finally {
    folder.close();
  }
}

/** Why a cell may not be started by `node`; undefined when it may. */
export function ownerProblem(found: OwnerFound, node: string): string | undefined {
  switch (found.kind) {
    case 'none':
      return undefined;
    case 'unreadable':
      return `its owner record cannot be read (${found.reason})`;
    case 'owner': {
      const { exported, clean, node: last, loss } = found.owner;
      if (exported?.node === node) return fenceOf(exported); // O3
      if (clean || last === node || loss) return undefined;
      return `it was last run by node ${last}, which did not stop cleanly: its newest records are in that node's journal, not here`;
    }
    default:
      return found satisfies never;
  }
}

/** Whether what lies here is what `node` itself left: nobody else had it meanwhile, and it was not taken away. */
export function isOwn(found: OwnerFound, node: string): boolean {
  if (found.kind === 'none') return true;
  return found.kind === 'owner' && found.owner.node === node && found.owner.exported?.node !== node;
}

function fenceOf({ at, to }: Exported): string {
  const where = to === null ? '' : ` to ${to}`;
  return `it was exported${where} at ${at}; \`lazarus cell import\` takes it back`;
}

function parseOwner(text: string): Owner | undefined {
  let owner: unknown;
  try {
    owner = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isJsonObject(owner)) return undefined;
  const { node, epoch, seq = 0, clean, up, exported, loss } = owner;
  const fits =
    typeof node === 'string' &&
    Number.isSafeInteger(epoch) &&
    Number.isSafeInteger(seq) &&
    typeof clean === 'boolean' &&
    (up === undefined || typeof up === 'number') &&
    (exported === undefined || isExported(exported)) &&
    (loss === undefined || hasTexts(loss, ['at', 'by']));
  return fits ? ({ ...owner, seq } as unknown as Owner) : undefined;
}

const isExported = (value: unknown): boolean =>
  hasTexts(value, ['at', 'node']) && (value['to'] === null || typeof value['to'] === 'string');

function hasTexts(value: unknown, names: readonly string[]): value is JsonObject {
  return isJsonObject(value) && names.every((name) => typeof value[name] === 'string');
}

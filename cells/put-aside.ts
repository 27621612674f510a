/**
 * What a mission had left in this missions folder before it came back from elsewhere. An import replaces nothing: it puts
 * that folder aside as `.<cell_id>.left-<n>`, the newest with the highest number.
 *
 * A1 The newest two of each mission are kept (P8). Older ones go when the next one is made, or by `fsck --repair`.
 * A2 One goes only when it surely is what it seems, and the mission has a later life here: its own records say that it was
 *    exported and whose it is, and the mission's folder has an owner of a higher epoch and no accepted loss.
 * A3 It is renamed before it is removed, so that what a crash leaves of it is known for what it is.
 */
import { lstatSync, readdirSync, renameSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { faultPoint, syncFolder } from './durable.ts';
import { cellPath } from './layout.ts';
import { readCellFile } from './load.ts';
import { readOwner } from './owner.ts';

export const KEPT_ASIDE = 2;

export interface PutAside {
  name: string;
  cellId: string;
  n: number;
}

const ASIDE = /^\.([A-Za-z0-9][A-Za-z0-9_-]{0,63})\.left-([1-9][0-9]{0,8})$/;
const GOING = /^\.[A-Za-z0-9][A-Za-z0-9_-]{0,63}\.left-[1-9][0-9]{0,8}\.going$/;

/** Of all missions; the newest of each first. */
export function listAside(missionsDir: string): PutAside[] {
  return foldersIn(missionsDir)
    .flatMap((name) => {
      const [, cellId, n] = ASIDE.exec(name) ?? [];
      return cellId === undefined ? [] : [{ name, cellId, n: Number(n) }];
    })
    .toSorted((a, b) => b.n - a.n);
}

/** For what an import puts aside next. */
export function nameForAside(missionsDir: string, cellId: string): string {
  const newest = listAside(missionsDir).find((aside) => aside.cellId === cellId)?.n ?? 0;
  let n = newest + 1;
  while (lstatSync(join(missionsDir, asideName(cellId, n)), { throwIfNoEntry: false })) n += 1;
  return asideName(cellId, n);
}

const asideName = (cellId: string, n: number): string => `.${cellId}.left-${n}`;

/** A1. Beyond the bound, of one mission or of all. */
export function beyondBound(missionsDir: string, cellId?: string): PutAside[] {
  const counts = new Map<string, number>();
  return listAside(missionsDir).filter((aside) => {
    const count = (counts.get(aside.cellId) ?? 0) + 1;
    counts.set(aside.cellId, count);
    return count > KEPT_ASIDE && (cellId === undefined || aside.cellId === cellId);
  });
}

/** A2: why it must stay; undefined when it may go. `home`: the mission's present folder, absolute. */
export function whyKept(
  missionsDir: string,
  { name, cellId }: PutAside,
  home: string | undefined,
): string | undefined {
  const dir = join(missionsDir, name);
  const left = readOwner(dir);
  if (left.kind !== 'owner' || left.owner.exported === undefined)
    return 'its owner record does not say that it was exported';
  if (idIn(dir) !== cellId) return 'its cell.json does not say that it is this mission';
  if (home === undefined || idIn(home) !== cellId) return 'the mission is not here any more';
  const present = readOwner(home);
  if (present.kind !== 'owner' || present.owner.epoch <= left.owner.epoch)
    return 'the mission here has no later owner';
  return present.owner.loss ? 'the mission here goes on with an accepted loss' : undefined;
}

/** A3. What whyKept has nothing against. */
export async function removeAside(missionsDir: string, name: string): Promise<void> {
  const going = `${name}.going`;
  renameSync(join(missionsDir, name), join(missionsDir, going));
  faultPoint('aside.after-rename');
  await removeGoing(missionsDir, going);
}

/** What a crash left of one that was being removed. */
export const goingAside = (missionsDir: string): string[] =>
  foldersIn(missionsDir).filter((name) => GOING.test(name));

export async function removeGoing(missionsDir: string, going: string): Promise<void> {
  await rm(join(missionsDir, going), { recursive: true, force: true });
  await syncFolder(missionsDir);
}

function idIn(dir: string): string | undefined {
  const read = readCellFile(dir, cellPath.cell);
  return read.outcome === 'good' ? (read.content['cell_id'] as string) : undefined;
}

/** Links are none. */
function foldersIn(missionsDir: string): string[] {
  return readdirSync(missionsDir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
}

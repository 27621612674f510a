/**
 * What a killed process was writing lies beside its target under a temporary name. Nobody reads it, and nobody will ever
 * finish it: it is removed when its folder is taken up again, before anything new is written there.
 */
import { isLeftover } from './durable.ts';
import { listInside, unlinkInside } from './inside.ts';

/** Folders of a cell that the host writes into by temporary file and rename; `*`: in each folder below. */
const FOLDERS = ['', 'agents', 'tasks', '.lazarus', 'checkpoints/*'];

/** Call for a cell that was not left clean, before it is woken. */
export function removeCellLeftovers(cellDir: string): void {
  for (const folder of FOLDERS) {
    if (!folder.endsWith('/*')) {
      removeLeftovers(cellDir, folder);
      continue;
    }
    const above = folder.slice(0, -2);
    for (const entry of listInside(cellDir, above) ?? [])
      if (entry.isDirectory()) removeLeftovers(cellDir, `${above}/${entry.name}`);
  }
}

/** `folder` is relative to `root`; an absent one is fine. */
export function removeLeftovers(root: string, folder = ''): void {
  for (const { name } of listInside(root, folder) ?? [])
    if (isLeftover(name)) unlinkInside(root, folder === '' ? name : `${folder}/${name}`);
}

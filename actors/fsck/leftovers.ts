/**
 * What a killed node leaves lying about, and who may read what is secret. Left-overs are judged only while no node runs:
 * under a running one they are files being written.
 */
import { chmodSync, lstatSync, readdirSync, rmSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { basename, join } from 'node:path';
import { isLeftover } from '../../cells/durable.ts';
import { dropMark, finishDrop } from '../../cells/drop.ts';
import { hasCode, listInside, unlinkInside } from '../../cells/inside.ts';
import { cellPath } from '../../cells/layout.ts';
import type { MissionsLayout } from '../../cells/layout.ts';
import { checkAside } from './aside.ts';
import type { Findings } from './finding.ts';
import type { CellPlace, World } from './world.ts';

export function checkLeftovers(world: World, findings: Findings): void {
  if (world.isWhole) checkSecrets(world, findings);
  if (world.isUp) return;
  for (const cell of world.cells) checkCell(world.layout, cell, findings);
  if (!world.isWhole) return;
  const { layout } = world;
  for (const name of namesIn(layout.own))
    if (isLeftover(name))
      temporary(findings, join(layout.own, name), () => rmSync(join(layout.own, name)));
  checkAside(world, findings);
  for (const name of namesIn(layout.root))
    if (/^\..+\.building$/.test(name))
      findings.add({
        severity: 'note',
        code: 'cell-unfinished',
        what: 'a dropped file was about to become a cell here',
        where: join(layout.root, name),
        means: 'The node was killed meanwhile. Nothing is lost: the dropped file is still there.',
        todo: 'Nothing: the next start removes this and begins anew.',
      });
  gone(findings, layout.node, 'the file says how to reach a node that no longer runs');
  gone(findings, join(layout.own, 'control.sock'), 'nobody listens on this socket');
}

/** Folders of a cell in which files appear by temporary name and rename; `*`: in each folder below. */
const FOLDERS = ['', 'agents', 'tasks', '.lazarus', 'checkpoints/*', 'artifacts/logs/*'];

function checkCell(layout: MissionsLayout, { cellId, dir }: CellPlace, findings: Findings): void {
  for (const pattern of FOLDERS)
    for (const folder of foldersOf(dir, pattern))
      for (const { name } of listInside(dir, folder) ?? []) {
        if (!isLeftover(name)) continue;
        const path = folder === '' ? name : `${folder}/${name}`;
        temporary(findings, join(dir, path), () => unlinkInside(dir, path), cellId);
      }
  checkDropMarker(layout, { cellId, dir }, findings);
}

/** A cell made of a dropped file carries its name until that is moved away. */
function checkDropMarker(
  layout: MissionsLayout,
  { cellId, dir }: CellPlace,
  findings: Findings,
): void {
  const mark = dropMark(layout.root, basename(dir));
  if (mark === 'none') return;
  const about = {
    severity: 'note' as const,
    where: join(dir, cellPath.dropMarker),
    cell_id: cellId,
    means: 'The node was killed in between.',
  };
  if (mark === 'unfinished')
    return findings.add({
      ...about,
      code: 'drop-unfinished',
      what: 'the cell was made from a dropped file that was not moved away yet',
      todo: 'Nothing: the next start moves it.',
    });
  const repair = async (): Promise<string> => {
    await finishDrop(layout.root, basename(dir));
    return 'removed';
  };
  findings.add(
    {
      ...about,
      code: 'drop-marker-left',
      what: 'the mark that the cell was made from a dropped file; the file was moved away',
      todo: 'Nothing: the next start removes it, or `lazarus fsck --repair` does so now.',
    },
    repair,
  );
}

function foldersOf(dir: string, pattern: string): string[] {
  if (!pattern.endsWith('/*')) return [pattern];
  const above = pattern.slice(0, -2);
  const folders = (listInside(dir, above) ?? []).filter((entry) => entry.isDirectory());
  return folders.map(({ name }) => `${above}/${name}`);
}

function temporary(
  findings: Findings,
  where: string,
  remove: () => unknown,
  cellId?: string,
): void {
  const repair = (): string => {
    remove();
    return 'removed';
  };
  findings.add(
    {
      severity: 'warning',
      code: 'temporary-left',
      what: 'a file that was being written when its process ended',
      where,
      means: 'Nobody reads it, and nobody will ever finish it.',
      todo: '`lazarus fsck --repair` removes it; the next start does so too where it writes itself.',
      ...(cellId !== undefined && { cell_id: cellId }),
    },
    repair,
  );
}

function gone(findings: Findings, where: string, what: string): void {
  if (statOf(where) === undefined) return;
  const repair = (): string => {
    rmSync(where, { force: true });
    return 'removed';
  };
  findings.add(
    {
      severity: 'warning',
      code: 'node-left',
      what,
      where,
      means: 'The node was killed, or its folder was copied while it ran.',
      todo: '`lazarus fsck --repair` removes it; the next start does so too.',
    },
    repair,
  );
}

const SECRET = /(^node\.json$|^control\.sock$|token|secret|password|\.creds$|\.nk$)/;

function checkSecrets({ layout }: World, findings: Findings): void {
  for (const name of namesIn(layout.own)) {
    const where = join(layout.own, name);
    const stats = statOf(where);
    if (!SECRET.test(name) || stats === undefined || (stats.mode & 0o077) === 0) continue;
    if (!stats.isFile() && !stats.isSocket()) continue;
    const repair = (): string => {
      chmodSync(where, 0o600);
      return 'mode set to 0600';
    };
    findings.add(
      {
        severity: 'error',
        code: 'secret-open',
        what: `the file has mode ${modeOf(stats)}: others than its owner may use it`,
        where,
        means: 'Whoever can read it can do with the node what its owner can.',
        todo: '`lazarus fsck --repair` sets 0600. If others are on this host, let a new one be made: remove it and restart the node.',
      },
      repair,
    );
  }
  for (const where of [layout.own, layout.journal]) {
    const stats = statOf(where);
    if (stats?.isDirectory() !== true || (stats.mode & 0o002) === 0) continue;
    findings.add({
      severity: 'error',
      code: 'folder-open',
      what: `the folder has mode ${modeOf(stats)}: everybody may write to it`,
      where,
      means: 'Anybody on this host can replace the journal, the lock and the control socket.',
      todo: `chmod o-w ${where}`,
    });
  }
}

const modeOf = ({ mode }: Stats): string => `0${(mode & 0o777).toString(8)}`;

function statOf(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).toSorted();
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  }
}

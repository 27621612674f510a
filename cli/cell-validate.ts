/**
 * A mission checked without a node: first each file by its schema, then, when all fit, the whole by the cell's own machine,
 * which says of every task that could never start why.
 */
import { lstatSync, readFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { planBytes } from '../cells/drop-plan.ts';
import { fileKindOf } from '../cells/layout.ts';
import { readCellFile, scanCell } from '../cells/load.ts';
import type { CellScan, FileProblem } from '../cells/load.ts';
import { parseJsonObject } from '../cells/parse-json.ts';
import type { Problem } from '../cells/parse-json.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { FileChange } from '../machines/mission.ts';
import { previewCell } from '../actors/preview.ts';
import { machineRegistry } from '../actors/registry.ts';

export interface Validation {
  path: string;
  valid: boolean;
  problems: ({ file: string } & Problem)[];
  /** The files are good, and yet something in the mission could never run. */
  warnings: string[];
}

/** Throws INVALID_ARGUMENT when there is nothing to check. */
export function validatePath(given: string): Validation {
  const path = resolve(given);
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined)
    throw new RuntimeError(`there is no ${path}`, { code: 'INVALID_ARGUMENT' });
  if (stats.isDirectory()) return ofFolder(path);
  return ofCellFile(path) ?? ofDrop(path);
}

function ofFolder(path: string): Validation {
  const scan = scanCell(path);
  const problems = [...scan.problems, ...withoutCellFile(scan)];
  const isWhole = problems.length === 0;
  return result(path, problems, isWhole ? warningsOf(scan.changes) : []);
}

function withoutCellFile({ changes, problems }: CellScan): FileProblem[] {
  const isThere = changes.some(({ kind }) => kind === 'cell');
  if (isThere || problems.some(({ path }) => path === 'cell.json' || path === '')) return [];
  const message = 'the folder has no cell.json, so it is not yet a mission';
  return [
    {
      path: 'cell.json',
      problems: [
        {
          pointer: '',
          line: 1,
          message,
          fix: 'Write one; `lazarus cell create` makes a folder with everything.',
        },
      ],
    },
  ];
}

/** One file in its place in a cell: `cell.json`, `agents/x.json`, ... */
function ofCellFile(path: string): Validation | undefined {
  const folder = basename(dirname(path));
  const name = basename(path);
  const inFolder = fileKindOf(`${folder}/${name}`) !== null;
  if (!inFolder && name !== 'cell.json') return undefined;
  const read = inFolder
    ? readCellFile(dirname(dirname(path)), `${folder}/${name}`)
    : readCellFile(dirname(path), name);
  return result(path, read.outcome === 'bad' ? [read] : [], []);
}

function ofDrop(path: string): Validation {
  const plan = planBytes(readFileSync(path), { name: basename(path), writtenAt: new Date() });
  if (plan.outcome === 'refused')
    return result(path, [{ path: basename(path), problems: plan.problems }], []);
  if (plan.outcome === 'absent') return result(path, [], []);
  const changes = plan.plan.files.flatMap(({ path: relative, text }): FileChange[] => {
    const parsed = parseJsonObject(Buffer.from(text));
    const file = fileKindOf(relative);
    return parsed.ok && file ? [{ path: relative, ...file, content: parsed.value }] : [];
  });
  return result(path, [], warningsOf(changes));
}

function warningsOf(changes: readonly FileChange[]): string[] {
  const cell = changes.find(({ kind }) => kind === 'cell')?.content;
  const context = previewCell(machineRegistry(), { cellId: cell?.['cell_id'] as string, changes });
  const held = context.phase === 'held' && context.reason !== null ? [context.reason] : [];
  const blocked = Object.entries(context.tasks).flatMap(([taskId, { blockedReason }]) =>
    blockedReason === null ? [] : [`task ${taskId}: ${blockedReason}`],
  );
  const idle = Object.keys(context.tasks).length === 0 ? ['the mission has no tasks'] : [];
  return [...held, ...idle, ...blocked, ...context.notes.map(({ text }) => text)];
}

function result(path: string, found: FileProblem[], warnings: string[]): Validation {
  const folder = lstatSync(path).isDirectory() ? path : dirname(path);
  const problems = found.flatMap(({ path: file, problems: all }) => {
    const place = lstatSync(path).isDirectory() ? join(folder, file) : path;
    return all.map((problem) => ({ file: place, ...problem }));
  });
  return { path, valid: problems.length === 0, problems, warnings };
}

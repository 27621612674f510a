/** The example that the demo runs, made by its own scripts, with or without a node. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { JsonObject } from '../../machines/json.ts';
import { put } from './cell-files.ts';

export const EXAMPLES = join(import.meta.dirname, '../../examples');
export const TEMPLATE = join(EXAMPLES, 'release-notes');

/** A copy of the example whose steps do not wait to be watched. */
export function copyExample(cellDir: string): void {
  cpSync(TEMPLATE, cellDir, { recursive: true });
  writeFileSync(join(cellDir, 'scripts/pace.sh'), ':\n');
}

const TASKS_IN_ORDER =
  'collect write-features write-fixes write-performance credits assemble audit publish'.split(' ');

/** What a completed mission leaves, without a runtime: each step run once, by hand, and the statuses written. */
export function completeByHand(missions: string, cellId: string): string {
  const cellDir = join(missions, cellId);
  copyExample(cellDir);
  mkdirSync(join(cellDir, 'artifacts'));
  for (const id of TASKS_IN_ORDER) {
    const file = `tasks/${id}.json`;
    const task = readObject(join(cellDir, file));
    for (const step of task['steps'] as { name: string; run: string[] }[])
      runStep(cellDir, id, step);
    put(cellDir, file, { ...task, status: 'completed' });
  }
  put(cellDir, 'cell.json', { ...readObject(join(cellDir, 'cell.json')), status: 'completed' });
  return cellDir;
}

function runStep(cellDir: string, task: string, step: { name: string; run: string[] }): void {
  const [command = '', ...args] = step.run;
  const names = { LAZARUS_TASK: task, LAZARUS_STEP: step.name, LAZARUS_KEY: `key-of-${step.name}` };
  const { status, stderr } = spawnSync(command, args, {
    cwd: cellDir,
    env: { PATH: process.env['PATH'], ...names },
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`${task}/${step.name}: exit ${status}\n${stderr}`);
}

export function readObject(file: string): JsonObject {
  return JSON.parse(readFileSync(file, 'utf8')) as JsonObject;
}

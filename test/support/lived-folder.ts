/**
 * Missions folders with a past, made once for a whole test file: a mission ran, its agent was killed and revived, the node
 * stopped. `cleanStop` is what a clean stop leaves, `crashed` what a kill at the end leaves. Tests work on copies.
 */
import { hash } from 'node:crypto';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { onTestFinished } from 'vitest';
import { cellAddress } from '../../machines/addresses.ts';
import type { CellContext } from '../../machines/cell-context.ts';
import { projectFiles } from '../../machines/projection.ts';
import { MissionNode } from '../../actors/node.ts';
import { eventually } from './eventually.ts';
import { dropInto, gate, mission, step, task, TestNode } from './node.ts';

export interface LivedFolders {
  cleanStop: string;
  crashed: string;
  remove(): void;
}

export const CELL_ID = 'lived';

export async function makeLivedFolders(): Promise<LivedFolders> {
  const base = mkdtempSync(join(tmpdir(), 'lazarus-lived-'));
  const [cleanStop, crashed] = [join(base, 'clean'), join(base, 'crashed')];
  const live = mkdtempSync(join(base, 'live-'));
  const node = await startLived(live);
  await node.cellIs(CELL_ID, 'completed');
  await isAtRest(node);
  cpSync(live, crashed, { recursive: true, filter: (path) => !statSync(path).isSocket() });
  await node.stop();
  cpSync(live, cleanStop, { recursive: true });
  return { cleanStop, crashed, remove: () => rmSync(base, { recursive: true, force: true }) };
}

/** Everything committed, and every file people read says so. */
async function isAtRest(node: TestNode): Promise<void> {
  await node.node.kernel.system.settled();
  const { snapshot } = node.node.kernel.system.read(cellAddress(CELL_ID));
  const files = Object.entries(projectFiles(snapshot.context as CellContext));
  await eventually(() => {
    for (const [path, content] of files)
      if (node.json(CELL_ID, path)['_rev'] !== content['_rev'])
        throw new Error(`${path} is behind`);
  });
}

/** Two tasks of a lead with a worker of its own; the worker is killed in the middle of the first. */
async function startLived(missions: string): Promise<TestNode> {
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const node = new TestNode(
    missions,
    await MissionNode.start({ missionsDir: missions, version: 'test', drainMs: 100, log }),
    [],
  );
  const first = [step('one'), step('two', gate('two')), step('three')];
  const last = [step('only', 'echo done', { retry: 'never' })];
  dropInto(
    missions,
    mission(CELL_ID, [task('first', first), task('second', last, { dependencies: ['first'] })], {
      isolation_level: 'level_1',
    }),
  );
  await node.waitsAt(CELL_ID, 'two');
  await node.killWorker(CELL_ID);
  node.open(CELL_ID, 'two');
  return node;
}

/** A copy to harm, removed when the test ends. */
export function copyOf(folder: string): string {
  const copy = mkdtempSync(join(tmpdir(), 'lazarus-copy-'));
  onTestFinished(() => rmSync(copy, { recursive: true, force: true }));
  cpSync(folder, copy, { recursive: true });
  return copy;
}

/** Every file below a folder with the hash of its bytes, but for the lock's own. */
export function bytesOf(folder: string): Map<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter(
    (entry) => entry.isFile() && !/^lock(-journal)?$/.test(entry.name),
  );
  return new Map(
    files.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [relative(folder, path), hash('sha256', readFileSync(path))];
    }),
  );
}

/**
 * A missions folder with thousands of cells at rest, as a clean stop leaves them. One cell is made by a real node; the
 * others are that one with another id, its checkpoints hashed anew, and all stand in the node's index.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readNodeIndex, writeNodeIndex } from '../../actors/recovery.ts';
import { missionsLayout } from '../../cells/layout.ts';
import { restingCell } from './cells.ts';
import { startNode } from './mission-node.ts';

/** All of one length, so that one takes the other's place in any text. */
export const manyCellId = (n: number): string => `cell-${String(n).padStart(5, '0')}`;
export const AGENTS_PER_CELL = 4;
const MODEL = manyCellId(0);

export async function buildManyCells(missionsDir: string, count: number): Promise<void> {
  await makeModel(missionsDir);
  const tree = readTree(join(missionsDir, MODEL));
  for (let n = 1; n < count; n += 1)
    writeTree(join(missionsDir, manyCellId(n)), tree, manyCellId(n));
  const { index: path } = missionsLayout(missionsDir);
  const { index, problem } = readNodeIndex(path);
  const own = index.actors.filter(({ address }) => address.startsWith(`cell/${MODEL}`));
  if (problem !== undefined || own.length !== 1 + AGENTS_PER_CELL)
    throw new Error(`the model cell left ${own.length} actors; ${problem}`);
  for (let n = 1; n < count; n += 1)
    for (const actor of own)
      index.actors.push({ ...actor, address: actor.address.replace(MODEL, manyCellId(n)) });
  await writeNodeIndex(path, index);
}

async function makeModel(missionsDir: string): Promise<void> {
  for (const [path, content] of Object.entries(restingCell(MODEL, AGENTS_PER_CELL))) {
    mkdirSync(dirname(join(missionsDir, MODEL, path)), { recursive: true });
    writeFileSync(join(missionsDir, MODEL, path), JSON.stringify(content));
  }
  const node = await startNode(missionsDir);
  await node.scanned;
  await node.kernel.system.settled();
  await node.stop();
}

/** Path to text; null: a folder. The copy of the journal stays out: it is read only where records are missing. */
type Tree = Map<string, string | null>;

function readTree(root: string): Tree {
  const tree: Tree = new Map();
  for (const entry of readdirSync(root, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name);
    const relative = path.slice(root.length + 1);
    if (relative.startsWith('.lazarus/journal')) continue;
    tree.set(relative, entry.isDirectory() ? null : readFileSync(path, 'utf8'));
  }
  return tree;
}

function writeTree(root: string, tree: Tree, cellId: string): void {
  mkdirSync(root);
  for (const [path, text] of tree)
    if (text === null) mkdirSync(join(root, path));
    else writeFileSync(join(root, path), hashedAnew(text.replaceAll(MODEL, cellId)));
}

/** The first member of a checkpoint is the hash of the rest. */
function hashedAnew(text: string): string {
  const head = /^\{"sha256":"[0-9a-f]{64}",/.exec(text);
  if (head === null) return text;
  const rest = text.slice(head[0].length).trimEnd();
  return `{"sha256":"${createHash('sha256').update(`{${rest}`).digest('hex')}",${rest}\n`;
}

/**
 * What a mission's folder tells about its own state, and what the node beside it may know more: for whoever takes it in and
 * must say what would be lost.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { cellAddress } from '../machines/addresses.ts';
import { parseCheckpoint } from './checkpoint.ts';
import { hasCode, readIfThere } from './inside.ts';
import { readCellCopy } from './journal-copy.ts';
import { readSegments } from './journal-reader.ts';
import { checkpointPaths, missionsLayout } from './layout.ts';

/** A record of the cell actor: the last one somebody has. */
export interface LastRecord {
  seq: number;
  /** Epoch ms. */
  at: number;
}

const MAX_CHECKPOINT_BYTES = 64 << 20;
const HEAD = /^\{"a":"([^"]*)","n":(\d+),"p":\d+,"t":(\d+)/;

/** The newest that the folder itself holds, in its checkpoint or its copy of the records; undefined when there is none. */
export function lastInFolder(cellDir: string, cellId: string): LastRecord | undefined {
  const address = cellAddress(cellId);
  const { state } = checkpointPaths(address);
  const bytes = readIfThere(cellDir, state, { maxBytes: MAX_CHECKPOINT_BYTES });
  const parsed = bytes && parseCheckpoint(bytes, address);
  let last = parsed?.ok ? { seq: parsed.checkpoint.seq, at: parsed.checkpoint.at } : undefined;
  for (const { line } of readCellCopy(cellDir)) last = newer(last, line, address);
  return last;
}

/** The newest in the journal of the missions folder that this folder lies in; undefined when that tells nothing. */
export function lastInJournalBeside(cellDir: string, cellId: string): LastRecord | undefined {
  const { journal } = missionsLayout(dirname(cellDir));
  if (!existsSync(journal)) return undefined;
  const address = cellAddress(cellId);
  let last: LastRecord | undefined;
  for (const record of readSegments(journal))
    if (record.address === address) last = newer(last, record.line, address);
  return last;
}

function newer(
  last: LastRecord | undefined,
  line: string,
  address: string,
): LastRecord | undefined {
  const head = HEAD.exec(line);
  if (head?.[1] !== address) return last;
  const [seq, at] = [Number(head[2]), Number(head[3])];
  return last === undefined || seq > last.seq ? { seq, at } : last;
}

/** The node of the missions folder that this folder lies in, if it lies in one. */
export function nodeBeside(cellDir: string): string | undefined {
  try {
    return readFileSync(missionsLayout(dirname(cellDir)).nodeId, 'utf8').trim() || undefined;
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
}

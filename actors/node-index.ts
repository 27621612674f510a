/**
 * The node's index: a cache of what every cell's checkpoints say, so that a start need not open 50,000 files. It is
 * believed only with its hash, and the journal from `lsn` on corrects it.
 */
import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { writeWhole } from '../cells/durable.ts';
import { hasCode } from '../cells/inside.ts';
import type { Instant } from './clock.ts';
import type { Timer } from './timers.ts';

export interface IndexedActor {
  address: string;
  machine: string;
  seq: number;
  /** It waits for effects, so it must be awake while the node runs. */
  busy: boolean;
  /** A cell whose folder was taken away; `seq` is that of its end. */
  stopped?: true;
}

export interface NodeIndex extends Instant {
  format: 1;
  /** Records from here on are not covered by the checkpoints the index speaks of. The journal begins no later. */
  lsn: number;
  /** Records up to here are in the cells' own copies. Absent: not known. */
  copied?: number;
  actors: IndexedActor[];
  timers: Timer[];
}

const EMPTY_INDEX: NodeIndex = { format: 1, lsn: 0, at: 0, up: 0, actors: [], timers: [] };

export function readNodeIndex(path: string): { index: NodeIndex; problem: string | undefined } {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const missing = hasCode(error, 'ENOENT');
    return { index: EMPTY_INDEX, problem: missing ? undefined : String(error) };
  }
  const content = unsealed(text);
  if (content === undefined)
    return { index: EMPTY_INDEX, problem: 'its hash does not match its content' };
  return { index: JSON.parse(content) as NodeIndex, problem: undefined };
}

export async function writeNodeIndex(path: string, index: NodeIndex): Promise<void> {
  const text = sealed(JSON.stringify(index));
  await writeWhole(path, text, { sync: true, mode: 0o600, what: 'index' });
}

/** A text under its hash. */
export const sealed = (text: string): string => `${sha256(text)}\n${text}`;

/** undefined when the hash does not match. */
export function unsealed(text: string): string | undefined {
  const cut = text.indexOf('\n');
  const content = text.slice(cut + 1);
  return cut >= 0 && text.slice(0, cut) === sha256(content) ? content : undefined;
}

const sha256 = (text: string): string => hash('sha256', text);

/**
 * Who this node is: an id for the missions folder, made once, and an epoch that every start raises. The epoch is the
 * fencing token: whatever an earlier life of the node still writes carries a lower one.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { RuntimeError } from '../machines/errors.ts';
import { writeWhole } from './durable.ts';

/** The folder's node id; written durably on first use. */
export async function nodeIdentity(file: string): Promise<string> {
  const known = readText(file)?.trim();
  if (known) return known;
  const id = randomUUID();
  await writeWhole(file, `${id}\n`, { sync: true, what: 'node-id' });
  return id;
}

/** Raises the epoch above what the file and `atLeast` say and makes it durable before returning it. */
export async function raiseEpoch(file: string, atLeast: number): Promise<number> {
  const text = readText(file)?.trim() ?? '0';
  if (!/^[0-9]{1,15}$/.test(text))
    throw new RuntimeError(`${file} does not hold an epoch: ${JSON.stringify(text.slice(0, 40))}`, {
      code: 'FILE_INVALID',
      hint: "Write into it a number higher than any epoch in .lazarus/journal and in the cells' owner.json.",
    });
  const epoch = Math.max(Number(text), atLeast) + 1;
  await writeWhole(file, `${epoch}\n`, { sync: true, what: 'epoch' });
  return epoch;
}

function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

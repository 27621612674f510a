/**
 * `state/lazarus/freeze.json` of the runtime folder: that nothing may run there, for the node that comes next. The gate's own
 * memory is in its node's journal, which another node does not read.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isJsonObject } from '../machines/json.ts';
import { syncFolder, writeWhole } from './durable.ts';
import { readIfThere } from './inside.ts';
import { ownFolder } from './runtime-layout.ts';
import type { RuntimeLayout } from './runtime-layout.ts';

export interface Freeze {
  by: string;
  reason: string;
  /** Epoch ms. */
  at: number;
}

const NAME = 'freeze.json';
const MAX_BYTES = 64 * 1024;

/** Null: there is none. One that cannot be read is one all the same (P6). */
export function readFreeze(layout: Pick<RuntimeLayout, 'output'>): Freeze | null {
  const unread = (): Freeze => {
    const reason = `${join(ownFolder(layout), NAME)} cannot be read`;
    return { by: 'nobody knows', reason, at: Date.now() };
  };
  try {
    const text = readIfThere(ownFolder(layout), NAME, { maxBytes: MAX_BYTES })?.toString();
    if (text === undefined) return null;
    const value: unknown = JSON.parse(text);
    return isFreeze(value) ? value : unread();
  } catch {
    return unread();
  }
}

/** Durable when it resolves. */
export async function writeFreeze(
  layout: Pick<RuntimeLayout, 'output'>,
  freeze: Freeze | null,
): Promise<void> {
  const folder = ownFolder(layout);
  mkdirSync(folder, { recursive: true });
  const path = join(folder, NAME);
  if (freeze !== null) {
    const text = `${JSON.stringify(freeze, null, 2)}\n`;
    await writeWhole(path, text, { sync: true, what: 'freeze' });
    return;
  }
  rmSync(path, { force: true });
  await syncFolder(folder);
}

function isFreeze(value: unknown): value is Freeze {
  if (!isJsonObject(value)) return false;
  const { by, reason, at } = value;
  return typeof by === 'string' && typeof reason === 'string' && Number.isSafeInteger(at);
}

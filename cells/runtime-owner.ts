/**
 * Which node acts on a runtime folder. Two that each plan, approve by file and run there would do everything twice.
 *
 * H1 A lock that goes with its process, however that ends (lock.ts), says who acts; `owner.json` is for people, and for who
 *    comes next: it stays when its node was killed.
 * H2 Locks hold among the processes of one machine, and on file systems that hand them on. Where they do not, two nodes do not
 *    see one another.
 */
import { mkdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { isJsonObject } from '../machines/json.ts';
import { writeWholeSync } from './durable.ts';
import { readIfThere } from './inside.ts';
import { tryLock } from './lock.ts';
import type { NodeLock } from './lock.ts';
import { ownFolder } from './runtime-layout.ts';
import type { RuntimeLayout } from './runtime-layout.ts';

export interface RuntimeOwner {
  node: string;
  pid: number;
  host: string;
  /** Its missions folder: by it one talks to it. */
  missions: string;
  /** Since when it acts here, epoch ms. */
  since: number;
}

export interface RuntimeHeld extends NodeLock {
  /** Who acted here before; null: nobody, or nobody knows. */
  before: RuntimeOwner | null;
}

const MAX_BYTES = 64 * 1024;

/** Undefined: another one acts there. Throws what the file system throws for a folder that may not be written. */
export function holdRuntime(
  layout: Pick<RuntimeLayout, 'output'>,
  { node, missions }: Pick<RuntimeOwner, 'node' | 'missions'>,
): RuntimeHeld | undefined {
  const folder = ownFolder(layout);
  mkdirSync(folder, { recursive: true });
  const lock = tryLock(join(folder, 'lock'));
  if (lock === undefined) return undefined;
  try {
    const before = runtimeOwner(layout);
    const owner: RuntimeOwner = {
      node,
      pid: process.pid,
      host: hostname(),
      missions,
      since: Date.now(),
    };
    writeWholeSync(join(folder, NAME), `${JSON.stringify(owner, null, 2)}\n`, 'runtime-owner');
    return { before, release: () => lock.release() };
  } catch (error) {
    lock.release();
    throw error;
  }
}

const NAME = 'owner.json';

/** Who acts there, or did last; null: nobody has said so in a way that can be read. */
export function runtimeOwner(layout: Pick<RuntimeLayout, 'output'>): RuntimeOwner | null {
  try {
    const text = readIfThere(ownFolder(layout), NAME, { maxBytes: MAX_BYTES })?.toString();
    const owner: unknown = text === undefined ? null : JSON.parse(text);
    return isOwner(owner) ? owner : null;
  } catch {
    return null; // what matters is the lock; this is what people are told
  }
}

function isOwner(value: unknown): value is RuntimeOwner {
  if (!isJsonObject(value)) return false;
  const { node, pid, host, missions, since } = value;
  const texts = [node, host, missions].every((text) => typeof text === 'string');
  return texts && Number.isSafeInteger(pid) && Number.isSafeInteger(since);
}

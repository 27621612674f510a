/**
 * One node, one missions folder (P5): an exclusive transaction that SQLite keeps open on `.lazarus/lock`. The operating
 * system releases it with the process, however that ends, so a dead node can never lock anyone out.
 */
import { existsSync, readFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { RuntimeError } from '../machines/errors.ts';

export interface NodeLock {
  release(): void;
}

/** Throws RuntimeError NODE_LOCKED, naming the holder as far as `nodeFile` tells it. */
export function lockMissions(lockFile: string, nodeFile: string): NodeLock {
  return exclusively(lockFile, (cause) => {
    throw new RuntimeError(`another node runs on this missions folder${holder(nodeFile)}`, {
      code: 'NODE_LOCKED',
      cause,
      hint: 'Stop it first, or name another folder with --missions.',
      details: { lockFile },
    });
  });
}

/** Undefined: another process has it. Throws for a file that cannot be locked at all. */
export function tryLock(lockFile: string): NodeLock | undefined {
  try {
    return exclusively(lockFile, (cause) => {
      throw cause;
    });
  } catch (error) {
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return undefined;
    throw error;
  }
}

function exclusively(lockFile: string, refuse: (cause: unknown) => never): NodeLock {
  const database = new DatabaseSync(lockFile);
  try {
    database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    return refuse(cause);
  }
  return {
    release: () => {
      if (database.isOpen) database.close();
    },
  };
}

/** Whether a node holds the folder now, by looking alone: nothing is made or written, and a dead node's lock is none. */
export function isLocked(lockFile: string): boolean {
  if (!existsSync(lockFile)) return false;
  const database = new DatabaseSync(lockFile, { readOnly: true });
  try {
    database.exec('SELECT count(*) FROM sqlite_master');
    return false;
  } catch (error) {
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return true;
    throw error;
  } finally {
    database.close();
  }
}

const SQLITE_BUSY = 5;

function holder(nodeFile: string): string {
  try {
    const { pid } = JSON.parse(readFileSync(nodeFile, 'utf8')) as { pid?: number };
    return pid === undefined ? '' : ` (pid ${pid})`;
  } catch {
    return ''; // only for the message: a node that is just starting has not written it yet
  }
}

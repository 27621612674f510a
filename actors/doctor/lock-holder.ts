/**
 * Whether a node holds a missions folder, found out without taking the lock: a reader is turned away by the writer that
 * holds it. Which process that is, Linux says in /proc/locks.
 */
import { readFileSync, statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';

export type LockState = { kind: 'free' } | { kind: 'held'; pid: number | null };

/** SQLite's lock bytes lie here, far beyond what such a file holds. */
const FIRST_LOCK_BYTE = 0x4000_0000;
const SQLITE_BUSY = 5;

/** Throws when the file is there and cannot be read. */
export function lockState(lockFile: string): LockState {
  if (statSync(lockFile, { throwIfNoEntry: false }) === undefined) return { kind: 'free' };
  const database = new DatabaseSync(lockFile, { readOnly: true });
  try {
    database.exec('BEGIN; SELECT count(*) FROM sqlite_master; ROLLBACK');
    return { kind: 'free' };
  } catch (error) {
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw error;
    return { kind: 'held', pid: holderOf(lockFile) };
  } finally {
    database.close();
  }
}

/** Null when it cannot be known: no /proc, or a process outside of our namespace. */
function holderOf(lockFile: string): number | null {
  const inode = statSync(lockFile, { bigint: true }).ino.toString();
  let text: string;
  try {
    text = readFileSync('/proc/locks', 'utf8');
  } catch {
    return null;
  }
  for (const line of text.split('\n')) {
    // `1: POSIX  ADVISORY  WRITE 26445 fe:00:2146308 1073741824 1073742335`; the device differs on some file systems
    const match = /POSIX +\S+ +WRITE +(\d+) [^ ]+:(\d+) (\d+) /.exec(line);
    if (match?.[2] === inode && Number(match[3]) >= FIRST_LOCK_BYTE)
      return Number(match[1]) || null;
  }
  return null;
}

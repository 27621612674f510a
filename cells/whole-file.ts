/**
 * Files that other programs write while we read them: whether one changed, and its content as it stood at one moment.
 *
 * W1 The descriptor is asked before and after: what changed in between is read again. A writer that renames a whole file
 *    into place never makes us read twice; one that writes in place does.
 * W2 A file that was changed just before it was read may change once more within one tick of the file system's clock, and
 *    look as it did. Its stamp is not to be trusted (`isSettled`): it is read again at the next look.
 */
import { hash } from 'node:crypto';
import { closeSync, fstatSync, lstatSync, readSync } from 'node:fs';
import type { BigIntStats } from 'node:fs';
import { RuntimeError } from '../machines/errors.ts';
import { hasCode, openInside } from './inside.ts';

export interface FileStamp {
  /** Equal texts: nothing happened to the file in between. */
  key: string;
  /** Epoch ms. */
  mtimeMs: number;
  /** When anything last happened to it. */
  changedMs: number;
}

export interface WholeFile {
  bytes: Buffer;
  sha256: string;
  stamp: FileStamp;
  /** W2. */
  isSettled: boolean;
}

/** Ticks of the file systems of Linux and macOS are 10 ms at most. */
const TICK_MS = 100;
const READINGS = 3;

/** Null: there is no such file. Throws what else the file system says. Follows no link. */
export function stampOf(path: string): FileStamp | null {
  try {
    return stamp(lstatSync(path, { bigint: true }));
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return null;
    throw error;
  }
}

/** W2. */
export const isSettled = ({ changedMs }: FileStamp): boolean =>
  Math.abs(Date.now() - changedMs) > TICK_MS;

/** Throws a RuntimeError for a link, for what is no file, too large, or written all the time; else what open(2) throws. */
export function readWhole(root: string, path: string, options: { maxBytes: number }): WholeFile {
  const fd = open(root, path);
  try {
    for (let reading = 1; reading <= READINGS; reading += 1) {
      const whole = readOnce(fd, options.maxBytes); // W1
      if (whole !== null) return whole;
    }
  } finally {
    closeSync(fd);
  }
  throw new RuntimeError('it changes while it is read', {
    code: 'FILE_INVALID',
    retryable: true,
    details: { path },
    hint: 'Write it under another name and rename it into its place.',
  });
}

/** Whether the same reading may succeed later though nothing about the file changes: the file system failed, or its writer writes. */
export const isTransient = (error: unknown): boolean =>
  error instanceof RuntimeError ? error.retryable : true;

function open(root: string, path: string): number {
  try {
    return openInside(root, path, 'r');
  } catch (cause) {
    if (cause instanceof RuntimeError && cause.code === 'PATH_ESCAPES_CELL')
      throw new RuntimeError('it is a symbolic link, or stands behind one', {
        code: 'PATH_ESCAPES_CELL',
        hint: 'Put the file itself there.',
        cause,
      });
    if (hasCode(cause, 'EACCES', 'EPERM'))
      throw new RuntimeError('this program may not read it', {
        code: 'FORBIDDEN',
        hint: 'Let the user that this program runs as read it.',
        cause,
      });
    throw cause;
  }
}

function readOnce(fd: number, maxBytes: number): WholeFile | null {
  const before = fstatSync(fd, { bigint: true });
  if (before.size > maxBytes)
    throw new RuntimeError(`it has more than ${maxBytes} bytes`, {
      code: 'FILE_INVALID',
      hint: 'Make it smaller.',
    });
  const size = Number(before.size);
  const buffer = Buffer.allocUnsafe(size + 1);
  let length = 0;
  for (let count = -1; count !== 0 && length <= size; length += count)
    count = readSync(fd, buffer, length, buffer.length - length, length);
  const found = stamp(before);
  if (length !== size || stamp(fstatSync(fd, { bigint: true })).key !== found.key) return null;
  const bytes = buffer.subarray(0, size);
  return { bytes, sha256: hash('sha256', bytes), stamp: found, isSettled: isSettled(found) };
}

function stamp({ dev, ino, mode, size, mtimeNs, ctimeNs }: BigIntStats): FileStamp {
  const [mtimeMs, ctimeMs] = [mtimeNs, ctimeNs].map((at) => Number(at / 1_000n) / 1_000) as [
    number,
    number,
  ];
  return {
    key: [dev, ino, mode, size, mtimeNs, ctimeNs].join(' '),
    mtimeMs,
    changedMs: Math.max(mtimeMs, ctimeMs),
  };
}

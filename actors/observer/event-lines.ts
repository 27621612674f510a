/**
 * The lines that were added to an `events.jsonl` since it was read last: whole ones only, so many at a time. A file that is
 * shorter than it was, or another one, begins anew.
 */
import { closeSync, fstatSync, readSync } from 'node:fs';
import { openInside } from '../../cells/inside.ts';
import { MAX_MESSAGE_BYTES } from '../../machines/homelab-events.ts';

export interface LinesPlace {
  inode: string;
  /** Bytes that were read, up to the end of a line. */
  offset: number;
}

export interface LinesRead {
  lines: Buffer[];
  place: LinesPlace;
  /** Lines that are longer than any event may be. */
  tooLong: number;
  hasMore: boolean;
  writtenAt: number;
}

const CHUNK_BYTES = 256 * 1024;
const NEWLINE = 0x0a;

/** Throws what the file system throws, and PATH_ESCAPES_CELL for a link. */
export function readLines(
  root: string,
  path: string,
  last: LinesPlace | undefined,
  most: number,
): LinesRead {
  const fd = openInside(root, path, 'r');
  try {
    const { ino, size, mtimeMs } = fstatSync(fd, { bigint: false });
    const inode = String(ino);
    const isSame = last !== undefined && last.inode === inode && last.offset <= size;
    const from = isSame ? last.offset : 0;
    const { lines, end, tooLong } = linesFrom(fd, from, most);
    const hasMore = end > from && end < size;
    return { lines, place: { inode, offset: end }, tooLong, hasMore, writtenAt: mtimeMs };
  } finally {
    closeSync(fd);
  }
}

function linesFrom(
  fd: number,
  from: number,
  most: number,
): { lines: Buffer[]; end: number; tooLong: number } {
  const lines: Buffer[] = [];
  let end = from;
  let tooLong = 0;
  let rest: Buffer = Buffer.alloc(0);
  let isSkipping = false;
  for (let position = from; lines.length < most;) {
    const chunk = Buffer.alloc(CHUNK_BYTES);
    const count = readSync(fd, chunk, 0, CHUNK_BYTES, position);
    if (count === 0) break;
    position += count;
    rest = Buffer.concat([rest, chunk.subarray(0, count)]);
    for (
      let at = rest.indexOf(NEWLINE);
      at >= 0 && lines.length < most;
      at = rest.indexOf(NEWLINE)
    ) {
      const line = rest.subarray(0, at);
      if (!isSkipping && line.length > 0) lines.push(line);
      isSkipping = false;
      end += at + 1;
      rest = rest.subarray(at + 1);
    }
    if (rest.length <= MAX_MESSAGE_BYTES || rest.includes(NEWLINE)) continue;
    if (!isSkipping) tooLong += 1;
    isSkipping = true;
    end += rest.length; // its rest is skipped when it comes, if this file is still being read
    rest = Buffer.alloc(0);
  }
  return { lines, end, tooLong };
}

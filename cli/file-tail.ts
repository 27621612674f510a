/** The lines of a file that grows: its last ones first, then what comes. A file that was put aside is read anew from its start. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { hasCode } from '../cells/inside.ts';

/** Most that is looked through for the last lines, and most that is read at once. */
const MAX_BYTES = 4 << 20;

export class FileTail {
  readonly #path: string;
  #lastLines: number;
  #inode = 0;
  #offset = 0;

  constructor(path: string, lastLines: number) {
    this.#path = path;
    this.#lastLines = lastLines;
  }

  /** Whole lines that came since the last call; none while the file is absent. */
  read(): string[] {
    let fd: number;
    try {
      fd = openSync(this.#path, 'r');
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return [];
      throw error;
    }
    try {
      return this.#readFrom(fd);
    } finally {
      closeSync(fd);
    }
  }

  #readFrom(fd: number): string[] {
    const { size, ino } = fstatSync(fd);
    const isFirst = this.#inode === 0;
    if (ino !== this.#inode || size < this.#offset) {
      this.#inode = ino;
      this.#offset = isFirst ? Math.max(0, size - MAX_BYTES) : 0;
    }
    const isCut = isFirst && this.#offset > 0;
    const buffer = Buffer.alloc(Math.min(size - this.#offset, MAX_BYTES));
    const length = readSync(fd, buffer, 0, buffer.length, this.#offset);
    // Up to the last line end, so that no character is cut in two.
    const end = buffer.lastIndexOf(10, length - 1) + 1;
    const lines = buffer.toString('utf8', 0, end).split('\n').slice(0, -1);
    this.#offset += end;
    if (isCut) lines.shift();
    const wanted =
      isFirst && Number.isFinite(this.#lastLines)
        ? lines.slice(-this.#lastLines || lines.length)
        : lines;
    const none = isFirst && this.#lastLines === 0;
    this.#lastLines = Infinity;
    return none ? [] : wanted;
  }
}

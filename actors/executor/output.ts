/**
 * What a run puts out: `stdout` and `stderr` in its folder, appended to by every process of the run.
 *
 * O1 Files, not pipes: what was written survives us, and nobody is stopped by a reader that died.
 * O2 A file is cut to its beginning and its end (1 MB) when the run is over; while it runs, the limit of run-process.ts holds.
 * O3 What goes on from here to people and the journal is short, without secrets and without terminal control.
 */
import { randomUUID } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { openInside, writeWholeInside } from '../../cells/inside.ts';

/** Bytes kept of each file, half of them of its beginning. */
const KEPT_BYTES = 1024 * 1024;
/** Characters handed on of each, a quarter of them of its beginning. */
const TOLD_CHARS = 4096;
/** Searched for secrets before it is cut: a cut must not make half a secret unrecognisable. */
const SEARCHED_BYTES = 16 * 1024;

export type Redact = (text: string) => string;
type Stream = 'stdout' | 'stderr';

export class RunOutput {
  readonly #folder: string;
  readonly stdout: number;
  readonly stderr: number;

  /** `resumed`: goes on with what an earlier life of the same run wrote. */
  constructor(folder: string, { resumed }: { resumed: boolean }) {
    this.#folder = folder;
    this.stdout = openInside(folder, 'stdout', 'a', 0o600);
    this.stderr = openInside(folder, 'stderr', 'a', 0o600);
    if (resumed) return;
    ftruncateSync(this.stdout);
    ftruncateSync(this.stderr);
  }

  note(stream: Stream, text: string): void {
    writeSync(this[stream], text.endsWith('\n') ? text : `${text}\n`);
  }

  /** How far both have come; `since` tells what was written after that, or its beginning. */
  mark(): Record<Stream, number> {
    return { stdout: fstatSync(this.stdout).size, stderr: fstatSync(this.stderr).size };
  }

  since(mark: Record<Stream, number>): Record<Stream, string> {
    const text = (stream: Stream): string => {
      const fd = openInside(this.#folder, stream, 'r');
      try {
        return readAt(fd, mark[stream], SEARCHED_BYTES).toString('utf8');
      } finally {
        closeSync(fd);
      }
    };
    return { stdout: text('stdout'), stderr: text('stderr') };
  }

  /** O3. */
  told(redact: Redact): Record<Stream, string> {
    return {
      stdout: tellFile(this.#folder, 'stdout', redact),
      stderr: tellFile(this.#folder, 'stderr', redact),
    };
  }

  /** O2. Nobody writes any more. */
  async close(): Promise<void> {
    closeSync(this.stdout);
    closeSync(this.stderr);
    await this.#cut('stdout');
    await this.#cut('stderr');
  }

  async #cut(stream: Stream): Promise<void> {
    const kept = readEnds(this.#folder, stream, KEPT_BYTES / 2, KEPT_BYTES / 2);
    if (kept.leftOut === 0) return;
    const data = Buffer.concat([kept.head, Buffer.from(gap(kept.leftOut)), kept.tail]);
    await writeWholeInside(this.#folder, stream, data, { sync: false, mode: 0o600 });
  }
}

/** A file without a name, for what only we read. */
export function scratchFile(content = ''): number {
  const path = join(tmpdir(), `lazarus-${randomUUID()}`);
  const fd = openSync(path, 'wx+', 0o600);
  unlinkSync(path);
  if (content === '') return fd;
  writeSync(fd, content, 0);
  return fd;
}

/** The first bytes of an open file, as a text. */
export function textOf(fd: number, maxBytes: number): string {
  const buffer = Buffer.alloc(Math.min(fstatSync(fd).size, maxBytes));
  return buffer.toString('utf8', 0, readSync(fd, buffer, 0, buffer.length, 0));
}

/** O3. For texts that come from elsewhere than a file. */
export function told(text: string, redact: Redact): string {
  const short = text.slice(0, SEARCHED_BYTES);
  return cutText(redact(plain(short)), '', text.length - short.length);
}

function tellFile(folder: string, stream: Stream, redact: Redact): string {
  const { head, tail, leftOut } = readEnds(folder, stream, SEARCHED_BYTES, SEARCHED_BYTES);
  const [first, last] = [head, tail].map((part) => redact(plain(part.toString('utf8'))));
  return cutText(first ?? '', last ?? '', leftOut);
}

function cutText(first: string, last: string, leftOut: number): string {
  const whole = first + last;
  if (leftOut === 0 && whole.length <= TOLD_CHARS) return whole;
  const end = last === '' ? first : last;
  const [head, tail] = [first.slice(0, TOLD_CHARS / 4), end.slice((-TOLD_CHARS * 3) / 4 + 100)];
  return `${head}${gap(leftOut + whole.length - head.length - tail.length)}${tail}`;
}

const gap = (left: number): string => `\n[... ${left} left out ...]\n`;

/** No escape sequences, and no control characters but line ends and tabs: it is shown on terminals. */
const plain = (text: string): string =>
  stripVTControlCharacters(text)
    .replaceAll(/\r\n?/g, '\n')
    .replaceAll(/[^\P{C}\n\t]/gu, '\u{fffd}');

function readEnds(folder: string, stream: Stream, headBytes: number, tailBytes: number) {
  const fd = openInside(folder, stream, 'r');
  try {
    const { size } = fstatSync(fd);
    const isWhole = size <= headBytes + tailBytes;
    const head = readAt(fd, 0, isWhole ? size : headBytes);
    const tail = isWhole ? Buffer.alloc(0) : readAt(fd, size - tailBytes, tailBytes);
    return { head, tail, leftOut: isWhole ? 0 : size - headBytes - tailBytes };
  } finally {
    closeSync(fd);
  }
}

function readAt(fd: number, position: number, length: number): Buffer {
  const buffer = Buffer.alloc(length);
  let done = 0;
  for (;;) {
    const count = readSync(fd, buffer, done, length - done, position + done);
    done += count;
    if (count === 0 || done === length) return buffer.subarray(0, done);
  }
}

/**
 * A log of JSON lines that other programs and people read (`state/agent-events.log`): appended to, never rewritten, turned
 * over when it is long.
 *
 * L1 A line stands whole and durable when its promise resolves. What a killed process left half stays a line of its own,
 *    which readers pass over.
 * L2 The same id is written once, also by the next life: who is not sure has the ids looked through that stood at the end of the
 *    log when this life began, and those that it wrote since.
 * L3 Bounded: so many files of so many bytes; the oldest goes (P8).
 * L4 It is a file of that name, and nothing that leads elsewhere or makes a writer wait: no link, no pipe.
 */
import { constants, createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { RuntimeError } from '../machines/errors.ts';
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject } from '../machines/json.ts';
import { faultPoint, syncFolder } from './durable.ts';
import { hasCode } from './inside.ts';

export interface LineLogOptions {
  /** Of one file. Default 64 MiB. */
  maxBytes?: number;
  /** Older files, `<path>.1` being the newest of them. Default 4. */
  older?: number;
}

/** L2: so much of the end is looked through, once. */
const LOOK_BACK = 4 * 1024 * 1024;
/** Ids of this life that are remembered. */
const REMEMBERED = 10_000;
const NEWLINE = 0x0a;
/** Of the end of one file, whoever wrote it. */
const MOST_READ = 128 * 1024 * 1024;
/** L4. */
const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDWR } = constants;
const APPENDING = O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK;

const noFile = (path: string, cause?: unknown): RuntimeError =>
  new RuntimeError(`${path} is a link, a pipe or a device: nothing is written there`, {
    code: 'PATH_ESCAPES_CELL',
    cause,
    hint: 'Remove it, or name another place for the log.',
  });

export class LineLog {
  readonly path: string;
  readonly #maxBytes: number;
  readonly #older: number;
  #turn: Promise<unknown> = Promise.resolve();
  /** L2. As they stood there before this life wrote. */
  #earlier: ReadonlySet<string> | undefined;
  readonly #own = new Set<string>();

  constructor(path: string, { maxBytes = 64 * 1024 * 1024, older = 4 }: LineLogOptions = {}) {
    this.path = path;
    this.#maxBytes = maxBytes;
    this.#older = older;
  }

  /** `unsure`: it may stand there already. Throws what the file system throws. */
  append(line: JsonObject & { id: string }, unsure: boolean): Promise<void> {
    const turn = this.#turn.then(() => this.#append(line, unsure));
    this.#turn = turn.catch(() => undefined); // told to whoever asked for it
    return turn;
  }

  async #append(line: JsonObject & { id: string }, unsure: boolean): Promise<void> {
    this.#earlier ??= await this.#lastIds();
    if (unsure && (this.#own.has(line.id) || this.#earlier.has(line.id))) return;
    const text = `${JSON.stringify(line)}\n`;
    await this.#turnOver(Buffer.byteLength(text));
    const handle = await this.#open();
    try {
      const stats = await handle.stat();
      if (!stats.isFile()) throw noFile(this.path);
      const { size } = stats;
      const start = size > 0 && !(await endsWithNewline(handle, size)) ? '\n' : '';
      faultPoint('line-log.before-write');
      await handle.appendFile(start + text);
      await handle.datasync();
      faultPoint('line-log.after-sync');
      if (size === 0) await syncFolder(dirname(this.path));
      this.#remember(line.id);
    } finally {
      await handle.close();
    }
  }

  async #open(): Promise<FileHandle> {
    try {
      return await open(this.path, APPENDING, 0o644);
    } catch (error) {
      if (hasCode(error, 'ELOOP', 'ENXIO')) throw noFile(this.path, error);
      if (!hasCode(error, 'ENOENT')) throw error;
      await mkdir(dirname(this.path), { recursive: true });
      return open(this.path, APPENDING, 0o644);
    }
  }

  async #lastIds(): Promise<ReadonlySet<string>> {
    const newest = await tailOf(this.path, LOOK_BACK);
    const room = LOOK_BACK - newest.length;
    const older = room > 0 ? await tailOf(`${this.path}.1`, room) : '';
    const ids = [...older.split('\n'), ...newest.split('\n')].map((line) => parse(line)?.['id']);
    return new Set(ids.filter((id) => typeof id === 'string'));
  }

  #remember(id: string): void {
    this.#own.add(id);
    const [oldest] = this.#own;
    if (this.#own.size > REMEMBERED && oldest !== undefined) this.#own.delete(oldest);
  }

  /** L3. */
  async #turnOver(bytes: number): Promise<void> {
    const size = await sizeOf(this.path);
    if (size === 0 || size + bytes <= this.#maxBytes) return;
    await rm(`${this.path}.${this.#older}`, { force: true });
    for (let serial = this.#older; serial >= 1; serial -= 1) {
      const from = serial === 1 ? this.path : `${this.path}.${serial - 1}`;
      await rename(from, `${this.path}.${serial}`).catch((error: unknown) => {
        if (!hasCode(error, 'ENOENT')) throw error;
      });
    }
    await syncFolder(dirname(this.path));
  }
}

export interface ReadLines {
  lines: JsonObject[];
  /** Lines that are no JSON objects. */
  passedOver: number;
}

/** The newest `most` lines that `wants` them, oldest first, over all files of the log. A log that is not there has none. */
export async function readLineLog(
  path: string,
  {
    wants,
    most,
    older = 4,
  }: { wants: (line: JsonObject) => boolean; most: number; older?: number },
): Promise<ReadLines> {
  const files = Array.from({ length: older }, (_, i) => `${path}.${older - i}`);
  const read: ReadLines = { lines: [], passedOver: 0 };
  for (const file of [...files, path]) {
    const size = await sizeOf(file);
    if (size === 0) continue;
    const input = createReadStream(file, { start: Math.max(0, size - MOST_READ) }); // L3
    for await (const text of createInterface({ input, crlfDelay: Infinity })) {
      if (text.trim() === '') continue;
      const line = parse(text);
      if (line === undefined) read.passedOver += 1;
      else if (wants(line)) read.lines.push(line);
      if (read.lines.length > 2 * most) read.lines.splice(0, read.lines.length - most);
    }
  }
  return { ...read, lines: read.lines.slice(-most) };
}

function parse(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

async function endsWithNewline(handle: FileHandle, size: number): Promise<boolean> {
  const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, size - 1);
  return buffer[0] === NEWLINE;
}

async function tailOf(path: string, most: number): Promise<string> {
  const size = await sizeOf(path);
  if (size === 0) return '';
  const handle = await open(path, 'r');
  try {
    const length = Math.min(size, most);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, size - length);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await handle.close();
  }
}

/** 0: it is not there. */
async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return 0;
    throw error;
  }
}

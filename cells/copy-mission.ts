/**
 * A mission's folder as a whole, copied: how it leaves a missions folder and comes into another.
 *
 * K1 Only plain files and folders are copied, each opened without following a link (inside.ts): nothing that lies outside
 *    of the mission comes along, and a mission with a link, a fifo or a device in it is refused, with its name.
 * K2 The copy is on disk, contents and names, when the promise resolves. It is made beside its place under a dot-name that
 *    no scan looks at, so that it appears whole, by one rename, or not at all.
 * K3 Entries and depth are bounded; the event loop is kept only for short slices.
 */
import { closeSync, fdatasyncSync, futimesSync, fstatSync, mkdirSync, openSync } from 'node:fs';
import { readSync, rmSync, readdirSync, writeSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { RuntimeError } from '../machines/errors.ts';
import { faultPoint, isLeftover, syncFolder } from './durable.ts';
import { hasCode, listInside, openInside } from './inside.ts';

const MAX_ENTRIES = 1_000_000;
const MAX_DEPTH = 64;
const CHUNK_BYTES = 1 << 20;
const SLICE_MS = 10;

/** What a copy is named while it is made: `.<name>.<pid>.<ending>`. */
const ENDINGS = { in: 'coming', out: 'leaving' } as const;
const COMING = new RegExp(`^\\..+\\.[0-9]+\\.${ENDINGS.in}$`);

export interface CopiedMission {
  files: number;
  bytes: number;
}

/**
 * Copies the folder `from` to `to`, which must not exist. `finish` is called with the copy's folder before it appears.
 * `way`: into our own missions folder, or out of it.
 * Throws PATH_ESCAPES_CELL or FILE_INVALID (K1), CONFLICT when something stands at `to`, and what the file system throws.
 */
export async function copyMission(
  from: string,
  to: string,
  { way, finish }: { way: keyof typeof ENDINGS; finish: (copy: string) => void },
): Promise<CopiedMission> {
  const building = join(dirname(to), `.${basename(to)}.${process.pid}.${ENDINGS[way]}`);
  try {
    rmSync(building, { recursive: true, force: true });
    const copied = await new Copy(from, building).run();
    finish(building);
    faultPoint('move.before-rename');
    await rename(building, to);
    await syncFolder(dirname(to));
    faultPoint('move.after-rename');
    return copied;
  } catch (error) {
    await rm(building, { recursive: true, force: true });
    if (hasCode(error, 'ENOTEMPTY', 'EEXIST', 'ENOTDIR'))
      throw new RuntimeError(`something stands at ${to} already`, { code: 'CONFLICT' });
    throw error;
  }
}

/** Removes copies that a killed node did not finish in its own missions folder. */
export function removeUnfinishedCopies(missionsDir: string): void {
  for (const name of readdirSync(missionsDir))
    if (COMING.test(name)) rmSync(join(missionsDir, name), { recursive: true, force: true });
}

/** One walk over a folder. */
class Copy {
  readonly #from: string;
  readonly #to: string;
  readonly #chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  #entries = 0;
  #files = 0;
  #bytes = 0;
  #since = performance.now();

  constructor(from: string, to: string) {
    this.#from = from;
    this.#to = to;
  }

  async run(): Promise<CopiedMission> {
    await this.#folder('', 0);
    return { files: this.#files, bytes: this.#bytes };
  }

  async #folder(path: string, depth: number): Promise<void> {
    if (depth > MAX_DEPTH) throw tooLarge(`${path} is more than ${MAX_DEPTH} folders deep`);
    mkdirSync(join(this.#to, path));
    for (const entry of listInside(this.#from, path) ?? []) {
      if (isLeftover(entry.name)) continue;
      this.#entries += 1;
      if (this.#entries > MAX_ENTRIES)
        throw tooLarge(`the mission has more than ${MAX_ENTRIES} files`);
      const inner = path === '' ? entry.name : `${path}/${entry.name}`;
      if (entry.isDirectory()) await this.#folder(inner, depth + 1);
      else await this.#file(inner); // K1: opening it says what it is when it is no file
    }
    await syncFolder(join(this.#to, path));
  }

  async #file(path: string): Promise<void> {
    const source = openInside(this.#from, path, 'r');
    try {
      const { mode, atime, mtime } = fstatSync(source);
      const target = openSync(join(this.#to, path), 'wx', mode & 0o777);
      try {
        for (let count = this.#chunk.length; count > 0;) {
          count = readSync(source, this.#chunk, 0, this.#chunk.length, null);
          for (let written = 0; written < count;)
            written += writeSync(target, this.#chunk, written, count - written);
          this.#bytes += count;
          await this.#breathe();
        }
        futimesSync(target, atime, mtime);
        fdatasyncSync(target);
      } finally {
        closeSync(target);
      }
      this.#files += 1;
    } finally {
      closeSync(source);
    }
  }

  async #breathe(): Promise<void> {
    if (performance.now() - this.#since < SLICE_MS) return;
    await nextTurn();
    this.#since = performance.now();
  }
}

function tooLarge(message: string): RuntimeError {
  return new RuntimeError(message, {
    code: 'FILE_INVALID',
    hint: 'Move bulk data out of the mission, or copy the folder by other means while it is exported.',
  });
}

/**
 * The files in `world/`, which other programs read: written whole and durable (P6), no more often than they can take, and
 * only while they are ours to write.
 *
 * W1 A file that another program writes is not written over unless somebody said so (`observer: on`). What is ours is known
 *    by its hash, which is on disk before the file is.
 * W2 Nothing is written before everything that was to be read is read: half a world looks like one in which things are missing.
 * W3 While nothing changes, the files' time of change is renewed: a quiet observer can be told from one that stopped.
 * W4 A world of which nothing is known yet does not replace one.
 * W5 What stands in place of a file (a link, a pipe) is another's, and nobody waits for it.
 */
import { lstatSync, mkdirSync, utimesSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { writeWhole } from '../../cells/durable.ts';
import { readIfThere } from '../../cells/inside.ts';
import type { RuntimeLayout } from '../../cells/runtime-layout.ts';
import { sha256 } from '../../cells/sha256.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { isJsonObject } from '../../machines/json.ts';

/** In the order in which they are written: what others point at comes first. */
export const WORLD_NAMES = ['incidents', 'deployments', 'nodes', 'services'] as const;
export type WorldName = (typeof WORLD_NAMES)[number];
export type WorldTexts = Record<WorldName, string>;

/** Whose the files are is told by this one: every observer writes it. */
const OWNED: WorldName = 'services';
const REMEMBERED = 4;
const MAX_BYTES = 256 << 20;
export const EMPTY_WORLD = '{}\n';

type Place = Pick<RuntimeLayout, 'world' | 'observerMark'>;

export class WorldWriter {
  readonly #place: Place;
  /** As they are on disk, by us. */
  readonly #written = new Map<WorldName, { text: string; stamp: string }>();
  #ours: string[];

  constructor(place: Place) {
    this.#place = place;
    this.#ours = remembered(place.observerMark);
  }

  path(name: WorldName): string {
    return join(this.#place.world, `${name}.json`);
  }

  /** W1. Another program has written there; undefined: none that anybody can see. Throws what the file system throws. */
  foreign(): string | undefined {
    const path = this.path(OWNED);
    const known = this.#written.get(OWNED);
    const stamp = stampOf(path);
    if (stamp === undefined || stamp === known?.stamp) return undefined;
    try {
      const text = textOf(path);
      if (text === undefined || this.#ours.includes(sha256(text))) return undefined;
      return `another program writes ${path}`;
    } catch (error) {
      if (!(error instanceof RuntimeError)) throw error;
      return `${path}: ${error.message}`; // W5
    }
  }

  /** Somebody removed a file of ours. */
  isMissing(): boolean {
    return [...this.#written.keys()].some((name) => stampOf(this.path(name)) === undefined);
  }

  /** How many files were written. Throws what the file system throws; what is not written is at the next call. */
  async write(texts: WorldTexts): Promise<number> {
    mkdirSync(this.#place.world, { recursive: true });
    if (this.#isNothing(texts)) return 0; // W4
    let count = 0;
    for (const name of WORLD_NAMES) {
      const text = texts[name];
      const path = this.path(name);
      const known = this.#written.get(name);
      if (known?.text === text && stampOf(path) === known.stamp) continue;
      if (name === OWNED) await this.#remember(sha256(text)); // W1
      await writeWhole(path, text, { sync: true, what: 'world-file' });
      this.#written.set(name, { text, stamp: stampOfText(path, text) });
      count += 1;
    }
    return count;
  }

  /** W3. Those that are still as we wrote them. */
  touch(): void {
    const now = new Date();
    for (const [name, known] of this.#written) {
      const path = this.path(name);
      if (stampOf(path) !== known.stamp) continue;
      utimesSync(path, now, now);
      known.stamp = stampOfText(path, known.text);
    }
  }

  #isNothing(texts: WorldTexts): boolean {
    if (WORLD_NAMES.some((name) => texts[name] !== EMPTY_WORLD)) return false;
    return this.#written.size === 0 && WORLD_NAMES.some((name) => stampOf(this.path(name)));
  }

  async #remember(hash: string): Promise<void> {
    if (this.#ours[0] === hash) return;
    this.#ours = [hash, ...this.#ours.filter((other) => other !== hash)].slice(0, REMEMBERED);
    const { observerMark: file } = this.#place;
    mkdirSync(dirname(file), { recursive: true });
    const content = { services_sha256: this.#ours };
    await writeWhole(file, `${JSON.stringify(content)}\n`, { sync: true, what: 'observer-mark' });
  }
}

/** One that cannot be read remembers nothing: then a file that is there counts as another's. */
function remembered(file: string): string[] {
  let value: unknown;
  try {
    value = JSON.parse(textOf(file) ?? '');
  } catch {
    return [];
  }
  const hashes = isJsonObject(value) ? value['services_sha256'] : undefined;
  return Array.isArray(hashes) ? hashes.filter((hash) => typeof hash === 'string') : [];
}

/** Equal texts: nobody wrote in between. */
function stampOf(path: string): string | undefined {
  const stats = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return stats && [stats.ino, stats.size, stats.mtimeNs].join(' ');
}

/** Of a file that holds this text; '' when somebody has written there since. */
function stampOfText(path: string, text: string): string {
  const stamp = stampOf(path);
  return stamp !== undefined && textOf(path) === text ? stamp : '';
}

/** W5. Throws a RuntimeError for what is no file, and what the file system throws. */
const textOf = (path: string): string | undefined =>
  readIfThere(dirname(path), basename(path), { maxBytes: MAX_BYTES })?.toString();

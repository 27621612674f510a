/**
 * The observed world as other programs write it: four files, read as one. A file counts only when it is whole: the observer of
 * the systems that we replace wrote in place, a reader that came in between took half a file for an empty one, and "all
 * services are missing" became a wall of redeploys.
 *
 * F1 Half a file, an empty one, or what is no object and no list is no reading at all (P6).
 * F2 The four are asked again after they were read: one that was replaced meanwhile is read once more, so that they belong
 *    together as far as their writer lets them.
 */
import { join } from 'node:path';
import { RuntimeError, toPlainError } from '../machines/errors.ts';
import { isJsonObject } from '../machines/json.ts';
import type { JsonValue } from '../machines/json.ts';
import { MAX_FILE_BYTES, decodeUtf8, parseJsonObject } from './parse-json.ts';
import { isSettled, isTransient, readWhole, stampOf } from './whole-file.ts';
import type { FileStamp, WholeFile } from './whole-file.ts';

export const WORLD_FILES = ['nodes', 'services', 'deployments', 'incidents'] as const;
export type WorldFileName = (typeof WORLD_FILES)[number];
export const MAX_WORLD_BYTES = 64 * 1024 * 1024;
/** Of one file: what it takes to look at more would hold up everything else (P8). */
export const MAX_WORLD_ENTRIES = 250_000;

export interface WorldFile {
  content: JsonValue;
  /** Entries of its object or list. */
  entries: number;
  mtimeMs: number;
}

/** Of the last reading; null: there was no file. */
interface Known {
  stamp: FileStamp;
  sha256: string;
  isSettled: boolean;
  file: WorldFile;
}
export type WorldReading = Readonly<Record<WorldFileName, Known | null>>;

export const NO_FILES: WorldReading = {
  nodes: null,
  services: null,
  deployments: null,
  incidents: null,
};
const ROUNDS = 3;

/**
 * The files as they are, given the last reading: what did not change is not read again, and when nothing did, the very same
 * reading is given back. Throws when one cannot be read, naming it.
 */
export function readWorld(folder: string, last: WorldReading = NO_FILES): WorldReading {
  let reading = last;
  for (let round = 1; round <= ROUNDS; round += 1) {
    const next = readChanged(folder, reading);
    if (next === reading) return reading; // F2
    reading = next;
  }
  return reading;
}

/** One of them by itself; null: there is no such file. Throws as `readWorld` does. */
export const readWorldFile = (folder: string, name: WorldFileName): WorldFile | null =>
  readOne(folder, name, null)?.file ?? null;

/** What the four look like: equal keys, and nothing happened to them in between. Throws what stat(2) says. */
export function worldState(folder: string): { key: string; isSettled: boolean } {
  const stamps = WORLD_FILES.map((name) => stampOf(join(folder, `${name}.json`)));
  return {
    key: stamps.map((stamp) => stamp?.key ?? '-').join('\n'),
    isSettled: stamps.every((stamp) => stamp === null || isSettled(stamp)),
  };
}

function readChanged(folder: string, last: WorldReading): WorldReading {
  let next = last;
  for (const name of WORLD_FILES) {
    const known = readOne(folder, name, last[name]);
    if (known !== last[name]) next = { ...next, [name]: known };
  }
  return next;
}

function readOne(folder: string, name: WorldFileName, last: Known | null): Known | null {
  const path = `${name}.json`;
  try {
    const stamp = stampOf(join(folder, path));
    if (stamp === null) return null;
    if (last?.isSettled === true && stamp.key === last.stamp.key) return last;
    return taken(name, readWhole(folder, path, { maxBytes: MAX_WORLD_BYTES }), last);
  } catch (error) {
    const { message, code } = toPlainError(error);
    throw new RuntimeError(`${path}: ${message}`, {
      code: error instanceof RuntimeError ? error.code : 'FILE_INVALID',
      retryable: isTransient(error),
      details: { file: join(folder, path), code },
      ...(error instanceof RuntimeError && error.hint !== undefined && { hint: error.hint }),
      cause: error,
    });
  }
}

function taken(name: WorldFileName, { bytes, ...whole }: WholeFile, last: Known | null): Known {
  const { mtimeMs } = whole.stamp;
  if (last?.sha256 !== whole.sha256) return { ...whole, file: parse(bytes, name, mtimeMs) };
  if (last.stamp.key !== whole.stamp.key) return { ...whole, file: { ...last.file, mtimeMs } };
  last.isSettled = whole.isSettled; // the same file, read once more: no news
  return last;
}

function parse(bytes: Buffer, name: WorldFileName, mtimeMs: number): WorldFile {
  const text = decodeUtf8(bytes);
  if (typeof text !== 'string') throw invalid(text.message);
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw invalid(brokenAt(bytes), error);
  }
  if (typeof content !== 'object' || content === null)
    throw invalid('it holds no object and no list');
  const entries = entriesIn(content as JsonValue, name);
  if (entries > MAX_WORLD_ENTRIES) throw invalid(`it has more than ${MAX_WORLD_ENTRIES} entries`);
  return { content: content as JsonValue, entries, mtimeMs };
}

/** The file may hold its entries under its own name. */
function entriesIn(content: JsonValue, name: WorldFileName): number {
  const inner = isJsonObject(content) ? content[name] : undefined;
  const isWrapped = isJsonObject(content) && Object.keys(content).length === 1;
  const entries = isWrapped && typeof inner === 'object' ? inner : content;
  return Object.keys(entries ?? {}).length;
}

/** JSON.parse says no line. */
function brokenAt(bytes: Buffer): string {
  const parsed = bytes.length <= MAX_FILE_BYTES ? parseJsonObject(bytes) : undefined;
  const [problem] = parsed?.ok === false ? parsed.problems : [];
  return problem?.message ?? 'it is not JSON, or only a part of it';
}

const invalid = (message: string, cause?: unknown): RuntimeError =>
  new RuntimeError(message, {
    code: 'FILE_INVALID',
    hint: 'Let its writer write it anew, under another name, and rename it into its place.',
    cause,
  });

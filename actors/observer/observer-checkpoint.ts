/**
 * `state/observer_checkpoint.json`: how far the event files were read, in the form that other programs of the homelab know
 * (`node_checkpoints`: by host, the last file), with what this runtime needs beside it. Whoever removes the file wants the
 * world made anew from the events.
 */
import { lstatSync, mkdirSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { writeWhole } from '../../cells/durable.ts';
import { readIfThere } from '../../cells/inside.ts';
import { toPlainError } from '../../machines/errors.ts';
import { isJsonObject } from '../../machines/json.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import type { FolderMarks } from './event-folders.ts';

export interface ObserverCheckpoint {
  /** Of the records into which it was read (machines/observer.machine.ts). */
  generation: string;
  /** By host, absolute path of the last file that was read. */
  nodes: Record<string, string>;
  folders: FolderMarks;
}

export type CheckpointReading =
  | { kind: 'ours'; checkpoint: ObserverCheckpoint }
  | { kind: 'absent' }
  /** Another program's, or no good: what it says of our records nobody knows. */
  | { kind: 'foreign'; reason: string };

const MAX_BYTES = 64 << 20;

export function readCheckpoint(file: string): CheckpointReading {
  let value: unknown;
  try {
    const bytes = readIfThere(dirname(file), basename(file), { maxBytes: MAX_BYTES });
    if (bytes === undefined) return { kind: 'absent' };
    value = JSON.parse(bytes.toString());
  } catch (error) {
    return { kind: 'foreign', reason: toPlainError(error).message };
  }
  const ours = isJsonObject(value) ? value['lazarus'] : undefined;
  const generation = isJsonObject(ours) ? ours['generation'] : undefined;
  if (!isJsonObject(value) || !isJsonObject(ours) || typeof generation !== 'string')
    return { kind: 'foreign', reason: 'another program wrote it' };
  const folders = marksIn(ours['folders']);
  return { kind: 'ours', checkpoint: { generation, folders, nodes: textsIn(value) } };
}

function textsIn({ node_checkpoints: given = null }: JsonObject): Record<string, string> {
  const entries = isJsonObject(given) ? Object.entries(given) : [];
  return Object.fromEntries(
    entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

function marksIn(given: JsonValue | undefined): FolderMarks {
  const entries = isJsonObject(given) ? Object.entries(given) : [];
  return Object.fromEntries(
    entries.flatMap(([key, value]) => {
      if (!isJsonObject(value)) return [];
      const { read = null, quiet, lines = null } = value;
      const { inode, offset } = isJsonObject(lines) ? lines : {};
      const isPlace = typeof inode === 'string' && typeof offset === 'number';
      const mark = {
        read: typeof read === 'string' && /^\d{1,20}$/.test(read) ? read : null,
        ...(quiet === true ? { quiet } : {}),
        ...(isPlace ? { lines: { inode, offset } } : {}),
      };
      return [[key, mark]];
    }),
  );
}

export async function writeCheckpoint(
  file: string,
  { generation, nodes, folders }: ObserverCheckpoint,
): Promise<void> {
  const content = { node_checkpoints: nodes, lazarus: { generation, folders } };
  mkdirSync(dirname(file), { recursive: true });
  await writeWhole(file, `${JSON.stringify(content, null, 1)}\n`, {
    sync: true,
    what: 'observer-checkpoint',
  });
}

/** False while its folder is away too: that says nothing. */
export function isRemoved(file: string): boolean {
  const isThere = (path: string): boolean =>
    lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  return !isThere(file) && isThere(dirname(file));
}

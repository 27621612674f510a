/**
 * What a dropped file becomes, as data: read once, checked as a whole, split into the files of a cell. Nothing is written
 * here, and the same bytes with the same time give the same plan, so that a second run after a crash repeats the first.
 */
import { hash } from 'node:crypto';
import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { hasCode, readInside } from './inside.ts';
import { cellPath } from './layout.ts';
import { unreadable } from './load.ts';
import { MAX_FILE_BYTES, parseJsonObject, toPointer } from './parse-json.ts';
import type { Problem } from './parse-json.ts';
import { validate } from './validate.ts';

/** Largest dropped file; each file of the cell it becomes has the bound of cell files. */
export const MAX_DROP_BYTES = 16 * 1024 * 1024;

/** Who made a cell whose file does not say. */
const DROP_AUTHOR = 'dropped-file';

interface Part {
  path: string;
  /** Where it stands in the dropped file. */
  pointer: string;
  content: JsonObject;
}

export interface DropPlan {
  cellId: string;
  sha256: string;
  files: { path: string; text: string }[];
}

export type PlanResult =
  | { outcome: 'planned'; plan: DropPlan }
  | { outcome: 'refused'; problems: Problem[] }
  | { outcome: 'absent' };

/** Reads and checks everything before anything is written. */
export function planDrop(missionsDir: string, name: string): PlanResult {
  let bytes: Buffer;
  let writtenAt: Date;
  try {
    bytes = readInside(missionsDir, name, { maxBytes: MAX_DROP_BYTES });
    writtenAt = lstatSync(join(missionsDir, name)).mtime;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return { outcome: 'absent' };
    return { outcome: 'refused', problems: [unreadable(error)] };
  }
  return planBytes(bytes, { name, writtenAt });
}

/**
 * The same for bytes that come by another way. `cellId`: for a file that names none, in place of one made from the content.
 */
export function planBytes(
  bytes: Uint8Array,
  { name, writtenAt, cellId: given }: { name: string; writtenAt: Date; cellId?: string },
): PlanResult {
  const parsed = parseJsonObject(bytes, MAX_DROP_BYTES);
  if (!parsed.ok) return { outcome: 'refused', problems: parsed.problems };
  const valid = validate('cell-drop', parsed.value, { text: parsed.text, path: name });
  if (!valid.ok) return { outcome: 'refused', problems: valid.problems };
  const sha256 = hash('sha256', bytes);
  const { cell_id: named } = valid.value;
  const cellId = typeof named === 'string' ? named : (given ?? uuidFrom(sha256));
  const parts = split(valid.value, { cellId, writtenAt });
  const files = parts.map((part) => ({
    ...part,
    text: `${JSON.stringify(part.content, null, 2)}\n`,
  }));
  const large = files.filter(({ text }) => Buffer.byteLength(text) > MAX_FILE_BYTES);
  if (large.length > 0)
    return { outcome: 'refused', problems: large.map(({ pointer }) => tooLarge(pointer)) };
  return { outcome: 'planned', plan: { cellId, sha256, files } };
}

/** The files of the cell. What the drop leaves out is filled in; `_rev` of other files means nothing here. */
function split(
  drop: JsonObject,
  { cellId, writtenAt }: { cellId: string; writtenAt: Date },
): Part[] {
  const { agents, tasks, config, $schema: _schema, ...cell } = drop;
  const content = {
    cell_id: cellId,
    created_at: writtenAt.toISOString(),
    created_by: DROP_AUTHOR,
    status: 'active',
    ...cell,
  };
  const configs = isJsonObject(config) ? config : {};
  const parts: Part[] = [
    { path: cellPath.cell, pointer: '', content },
    ...members(agents, 'agent_id', '/agents', cellPath.agent),
    ...members(tasks, 'task_id', '/tasks', cellPath.task),
    ...(['isolation', 'policies', 'permissions'] as const).flatMap((kind) => {
      const value = configs[kind];
      const pointer = `/config/${kind}`;
      return isJsonObject(value) ? [{ path: cellPath[kind], pointer, content: value }] : [];
    }),
  ];
  return parts.map((part) => ({ ...part, content: withoutRev(part.content) }));
}

/** Agents or tasks, from a list or from an object by id. */
function members(
  value: JsonValue | undefined,
  field: 'agent_id' | 'task_id',
  base: string,
  pathOf: (id: string) => string,
): Part[] {
  return Object.entries(value ?? {}).flatMap(([key, item]: [string, JsonValue]) => {
    if (!isJsonObject(item)) return [];
    const content = { [field]: key, ...item };
    const id = content[field];
    if (typeof id !== 'string') return [];
    return [{ path: pathOf(id), pointer: `${base}${toPointer([key])}`, content }];
  });
}

function withoutRev({ _rev, ...content }: JsonObject): JsonObject {
  return content;
}

/** A version 4 UUID whose random bits are the content's hash (D2). */
function uuidFrom(sha256: string): string {
  const variant = ((Number.parseInt(sha256[16] ?? '0', 16) & 0x3) | 0x8).toString(16);
  const hex = `${sha256.slice(0, 12)}4${sha256.slice(13, 16)}${variant}${sha256.slice(17, 32)}`;
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

function tooLarge(pointer: string): Problem {
  return {
    pointer,
    line: 1,
    message: `this part becomes a file of more than ${MAX_FILE_BYTES} bytes`,
    fix: 'Make it smaller, or move bulk data to a file in artifacts/.',
  };
}

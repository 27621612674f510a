/** A new agent or task of a mission: a file, written whole, which the node takes in like any other. */
import { readFileSync } from 'node:fs';
import { createFile, invalid } from '../cells/create.ts';
import { cellPath } from '../cells/layout.ts';
import { parseJsonObject } from '../cells/parse-json.ts';
import { resolveCell } from '../actors/verbs/ids.ts';
import type { StatusView } from '../actors/status.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject } from '../machines/json.ts';
import { read } from './access.ts';
import { chooseMissions } from './missions.ts';
import type { Flags } from './output.ts';
import { waitTakenIn, WORDS } from './taken-in.ts';

export interface Addition {
  kind: 'agent' | 'task';
  /** As it was typed. */
  cell: string;
  id: string;
  content: JsonObject;
}

/** A file that people wrote elsewhere; its id becomes the one that was asked for. */
export function readModel(file: string): JsonObject {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    throw new RuntimeError(`${file} cannot be read: ${String(cause)}`, {
      code: 'INVALID_ARGUMENT',
      cause,
    });
  }
  const parsed = parseJsonObject(bytes);
  if (parsed.ok) return parsed.value;
  throw invalid(file, parsed.problems);
}

/** Throws NOT_FOUND, AMBIGUOUS_ID, FILE_INVALID, CONFLICT. */
export async function addFile(
  { kind, cell, id, content }: Addition,
  flags: Flags,
): Promise<JsonObject> {
  const missions = chooseMissions(flags.missions);
  const view = (await read(missions, 'status', {})) as unknown as StatusView;
  const found = resolveCell(view, cell);
  if (found.path === null)
    throw new RuntimeError(`the folder of cell ${found.cell_id} is gone`, { code: 'NOT_FOUND' });
  const path = kind === 'agent' ? cellPath.agent(id) : cellPath.task(id);
  const { _rev: _, ...model } = content;
  await createFile(found.path, { kind, path, content: { ...model, [`${kind}_id`]: id } });
  const taken = await waitTakenIn(missions, ({ cells }) => {
    const now = cells.find(({ cell_id: cellId }) => cellId === found.cell_id);
    return kind === 'agent'
      ? now?.agents.some(({ agent_id: agentId }) => agentId === id) === true
      : now?.tasks.some(({ task_id: taskId }) => taskId === id) === true;
  });
  return {
    cell_id: found.cell_id,
    [`${kind}_id`]: id,
    path: `${found.path}/${path}`,
    taken_in: taken === 'yes',
    note: WORDS[taken],
  };
}

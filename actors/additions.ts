/**
 * New missions, agents and tasks, whoever asks for them: the command line, a verb by any door. They are files, checked as a
 * whole and written whole; a node takes them in like any other file, a stopped one at its next start.
 *
 * A1 What is left out gets the same value by every door.
 * A2 Nothing is replaced: an id that is taken is refused (cells/create.ts C2).
 */
import { randomUUID } from 'node:crypto';
import { createCell, createFile, invalid } from '../cells/create.ts';
import { planBytes } from '../cells/drop-plan.ts';
import { cellPath, idProblem } from '../cells/layout.ts';
import { SCHEMA_BASE } from '../cells/validate.ts';
import { RuntimeError } from '../machines/errors.ts';
import { isJsonObject } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import type { StatusView } from './status.ts';
import { resolveCell } from './verbs/ids.ts';

/** What came of it, for people. */
export const TAKEN_IN = 'taken in by the node';
export const NOT_YET = 'the node has not taken it in yet; `lazarus status` shows what holds it';

/** Fields of the file beside what is named here: see verbs/file-fields.ts. */
type Fields = { [field: string]: JsonValue | undefined };

export type MissionRequest = Fields & {
  cell_id?: string;
  /** A whole mission, as in a dropped file. */
  file?: JsonObject;
  by?: string;
};

export interface Added {
  cellId: string;
  /** Of the agent or task; of the cell itself for a mission. */
  id: string;
  /** Absolute. */
  path: string;
}

/** Throws FILE_INVALID, INVALID_ARGUMENT, CELL_DUPLICATE. */
export async function addMission(missionsDir: string, request: MissionRequest): Promise<Added> {
  const { file = {}, by, ...fields } = request;
  const mission = { status: 'active', created_by: authorOf(by), ...file, ...given(fields) };
  const bytes = Buffer.from(JSON.stringify(withDefaults(mission)));
  const origin = { name: 'mission', writtenAt: new Date(), cellId: randomUUID() };
  const read = planBytes(bytes, origin);
  if (read.outcome === 'refused') throw invalid('mission', read.problems);
  if (read.outcome === 'absent') throw new Error('bytes in memory cannot be absent');
  const { cellId, files } = read.plan;
  const named = files.map(({ path, text }) => ({ path, text: withSchema(path, text) }));
  const path = await createCell(missionsDir, { cellId, files: named });
  return { cellId, id: cellId, path };
}

export type MemberRequest = Fields & {
  cell: string;
  agent_id?: string;
  task_id?: string;
  /** The whole file instead of single fields. */
  file?: JsonObject;
  by?: string;
};

/** Throws NOT_FOUND, AMBIGUOUS_ID, FILE_INVALID, INVALID_ARGUMENT, CONFLICT. */
export async function addMember(
  view: StatusView,
  kind: 'agent' | 'task',
  request: MemberRequest,
): Promise<Added> {
  const { cell, file = {}, by: _, ...fields } = request;
  const { cell_id: cellId, path: folder } = resolveCell(view, cell);
  if (folder === null)
    throw new RuntimeError(`the folder of cell ${cellId} is gone`, {
      code: 'NOT_FOUND',
      hint: 'Put it back, or name another mission.',
    });
  const { _rev, ...model } = file;
  const id = memberId(kind, fields, model);
  const content = {
    $schema: `${SCHEMA_BASE}${kind}.json`,
    ...(kind === 'agent' ? agentDefaults(id) : taskDefaults(id)),
    ...model,
    ...given(fields),
    [`${kind}_id`]: id,
  };
  const path = kind === 'agent' ? cellPath.agent(id) : cellPath.task(id);
  await createFile(folder, { kind, path, content });
  return { cellId, id, path: `${folder}/${path}` };
}

function memberId(kind: 'agent' | 'task', fields: Fields, model: JsonObject): string {
  const id = fields[`${kind}_id`] ?? model[`${kind}_id`];
  const problem = typeof id === 'string' ? idProblem(id) : `the new ${kind} has no id`;
  if (typeof id === 'string' && problem === null) return id;
  throw new RuntimeError(problem ?? '', {
    code: 'INVALID_ARGUMENT',
    hint: `Give it one: "${kind}_id": "${kind}_001"`,
  });
}

/** A1. */
const agentDefaults = (id: string): JsonObject => ({ name: id, role: 'write', capabilities: [] });

/** A1. */
const taskDefaults = (id: string): JsonObject => ({
  title: id,
  assigned_to: null,
  priority: 'medium',
  dependencies: [],
  artifacts: [],
  created_at: new Date().toISOString(),
});

/** A1: members of a mission that stand in it as a list. */
function withDefaults(mission: JsonObject): JsonObject {
  const complete = (
    members: JsonValue | undefined,
    field: string,
    defaultsOf: (id: string) => JsonObject,
  ): JsonValue | undefined =>
    Array.isArray(members)
      ? members.map((member) => {
          const id = isJsonObject(member) ? member[field] : undefined;
          return isJsonObject(member) && typeof id === 'string'
            ? { ...defaultsOf(id), ...member }
            : member;
        })
      : members;
  return given({
    ...mission,
    agents: complete(mission['agents'], 'agent_id', agentDefaults),
    tasks: complete(mission['tasks'], 'task_id', taskDefaults),
  });
}

function given(fields: Fields): JsonObject {
  const said = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(said) as JsonObject;
}

/** For editors. */
function withSchema(path: string, text: string): string {
  const [folder = ''] = path.split('/');
  const kind = { 'cell.json': 'cell', agents: 'agent', tasks: 'task' }[folder];
  if (kind === undefined) return text;
  const content = JSON.parse(text) as JsonObject;
  return `${JSON.stringify({ $schema: `${SCHEMA_BASE}${kind}.json`, ...content }, null, 2)}\n`;
}

/** At the command line a person's name says enough. */
const authorOf = (by = 'operator'): string => by.replace(/ \(command line\)$/, '').slice(0, 200);

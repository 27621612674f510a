/**
 * A new mission, agent or task: asked of the node that runs, written on disk when none does (actors/additions.ts is behind
 * both).
 */
import { addMember, addMission } from '../actors/additions.ts';
import type { Added, MemberRequest } from '../actors/additions.ts';
import { callVerb } from '../bus/control-client.ts';
import type { StatusView } from '../actors/status.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject } from '../machines/json.ts';
import { read, readNodeFile, whoAsks } from './access.ts';
import type { Missions } from './missions.ts';
import { waitTakenIn, WORDS } from './taken-in.ts';

type AddingVerb = 'cell.create' | 'agent.add' | 'task.add';

/** What is longer goes by the disk: the node's socket does not take it. */
const MAX_ASKED_BYTES = 900_000;

/** Throws NOT_FOUND, AMBIGUOUS_ID, INVALID_ARGUMENT, FILE_INVALID, CELL_DUPLICATE, CONFLICT. */
export async function add(
  missions: Missions,
  verb: AddingVerb,
  input: JsonObject,
): Promise<JsonObject> {
  const signed = { ...input, by: whoAsks() };
  const node = readNodeFile(missions);
  if (node && Buffer.byteLength(JSON.stringify(signed)) <= MAX_ASKED_BYTES) {
    try {
      return (await callVerb(node.control, verb, signed)) as JsonObject;
    } catch (error) {
      if (!(error instanceof RuntimeError) || error.code !== 'NOT_RUNNING') throw error;
    }
  }
  return addOnDisk(missions, verb, signed);
}

async function addOnDisk(
  missions: Missions,
  verb: AddingVerb,
  input: JsonObject,
): Promise<JsonObject> {
  if (verb === 'cell.create') {
    const added = await addMission(missions.dir, input);
    return { cell_id: added.cellId, ...(await taken(missions, added, () => true)) };
  }
  const kind = verb === 'agent.add' ? 'agent' : 'task';
  const view = (await read(missions, 'status', {})) as unknown as StatusView;
  const added = await addMember(view, kind, input as MemberRequest);
  const isThere = (cell: StatusView['cells'][number]): boolean =>
    kind === 'agent'
      ? cell.agents.some(({ agent_id: id }) => id === added.id)
      : cell.tasks.some(({ task_id: id }) => id === added.id);
  return {
    cell_id: added.cellId,
    [`${kind}_id`]: added.id,
    ...(await taken(missions, added, isThere)),
  };
}

async function taken(
  missions: Missions,
  { cellId, path }: Added,
  isThere: (cell: StatusView['cells'][number]) => boolean,
): Promise<JsonObject> {
  const answer = await waitTakenIn(missions, ({ cells }) => {
    const cell = cells.find(({ cell_id: id }) => id === cellId);
    return cell !== undefined && isThere(cell);
  });
  return { path, taken_in: answer === 'yes', note: WORDS[answer] };
}

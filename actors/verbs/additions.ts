/** Verbs that add something new: a mission, an agent, a task. What they write is a file, and the node takes it in at once. */
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JsonObject } from '../../machines/json.ts';
import { addMember, addMission, NOT_YET, TAKEN_IN } from '../additions.ts';
import type { Added, MemberRequest, MissionRequest } from '../additions.ts';
import type { MissionNode } from '../node.ts';
import type { CellStatusView } from '../status.ts';
import { AGENT_FIELDS, AGENT_ID, CELL_FIELDS, CELL_ID } from './file-fields.ts';
import { MISSION_PARTS, TASK_FIELDS, TASK_ID, WHOLE_FILE } from './file-fields.ts';
import { ADDED_AGENT, ADDED_CELL, ADDED_TASK } from './outputs.ts';
import { inputOf } from './verb.ts';
import type { WritingVerb } from './verb.ts';

/** A cell that is held, or that many changes wait for, shows what is new only later. */
const PATIENCE_MS = 3000;
const POLL_MS = 20;

export const addingVerbs: WritingVerb[] = [
  {
    kind: 'writes',
    name: 'cell.create',
    summary: 'Makes a new mission, with its agents and tasks; work on it begins at once.',
    remote: true,
    rights: 'operate',
    input: inputOf([], ['by'], {
      cell_id: CELL_ID,
      ...CELL_FIELDS,
      ...MISSION_PARTS,
      file: WHOLE_FILE,
    }),
    output: ADDED_CELL,
    run: createCell,
  },
  {
    kind: 'writes',
    name: 'agent.add',
    summary: 'Adds an agent to a mission.',
    remote: true,
    rights: 'operate',
    input: inputOf(['cell'], ['by'], { agent_id: AGENT_ID, ...AGENT_FIELDS, file: WHOLE_FILE }),
    output: ADDED_AGENT,
    run: (node, input: MemberRequest) => add(node, 'agent', input),
  },
  {
    kind: 'writes',
    name: 'task.add',
    summary: 'Adds a task to a mission.',
    remote: true,
    rights: 'operate',
    input: inputOf(['cell'], ['by'], { task_id: TASK_ID, ...TASK_FIELDS, file: WHOLE_FILE }),
    output: ADDED_TASK,
    run: (node, input: MemberRequest) => add(node, 'task', input),
  },
];

async function createCell(node: MissionNode, request: MissionRequest): Promise<JsonObject> {
  const added = await addMission(node.layout.root, request);
  await node.door.lookAt(basename(added.path));
  const isIn = await takenIn(node, added, () => true);
  return { cell_id: added.cellId, path: added.path, ...told(isIn) };
}

async function add(
  node: MissionNode,
  kind: 'agent' | 'task',
  request: MemberRequest,
): Promise<JsonObject> {
  const added = await addMember(node.status(), kind, request);
  const folder = node.places.folderName(added.cellId);
  if (folder !== undefined) await node.door.lookAt(folder);
  const isIn = await takenIn(node, added, ({ agents, tasks }) =>
    kind === 'agent'
      ? agents.some(({ agent_id: id }) => id === added.id)
      : tasks.some(({ task_id: id }) => id === added.id),
  );
  return { cell_id: added.cellId, [`${kind}_id`]: added.id, path: added.path, ...told(isIn) };
}

async function takenIn(
  node: MissionNode,
  { cellId }: Added,
  isThere: (cell: CellStatusView) => boolean,
): Promise<boolean> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const cell = node.status().cells.find(({ cell_id: id }) => id === cellId);
    if (cell !== undefined && isThere(cell)) return true;
    if (performance.now() > deadline || node.trouble !== undefined) return false;
    await sleep(POLL_MS);
  }
}

const told = (isIn: boolean): JsonObject => ({
  taken_in: isIn,
  note: isIn ? TAKEN_IN : NOT_YET,
});

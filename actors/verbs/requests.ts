/** Verbs by which a person asks a cell, an agent or a task for something. The machines decide; a refusal is their error. */
import { cellAddress, homeCell } from '../../machines/addresses.ts';
import type { CellEvent } from '../../machines/events.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { asJsonObject } from '../../machines/json.ts';
import type { JsonObject } from '../../machines/json.ts';
import { resync } from '../go-on-behind.ts';
import type { MissionNode } from '../node.ts';
import { resolveCell, resolveMember } from './ids.ts';
import type { Member } from './ids.ts';
import { byOf, inputOf } from './verb.ts';
import type { VerbInput, WritingVerb } from './verb.ts';

type Nature = Pick<WritingVerb, 'destructive' | 'idempotent'>;
const IDEMPOTENT: Nature = { idempotent: true };
const ENDS: Nature = { destructive: true, idempotent: true };

export const requestVerbs: WritingVerb[] = [
  cellRequest('pause', 'Stops giving out work; steps under way finish.', IDEMPOTENT, () => ({
    type: 'cell.pause',
  })),
  cellRequest(
    'resume',
    'Leaves a pause, or begins again after a timeout or a cancellation.',
    IDEMPOTENT,
    () => ({
      type: 'cell.resume',
    }),
  ),
  cellRequest('cancel', 'Ends the mission as failed; nothing of it runs on.', ENDS, (input) => ({
    type: 'cell.cancel',
    reason: reasonOf(input),
  })),
  agentRequest('pause', 'Lets an agent finish its step and take no other.', (agentId) => ({
    type: 'agent.pause',
    agentId,
  })),
  agentRequest('resume', 'Lets a paused agent go on.', (agentId) => ({
    type: 'agent.resume',
    agentId,
  })),
  {
    ...described('agent.kill', "Ends an agent's worker process at once (SIGKILL)."),
    destructive: true,
    input: inputOf(['agent'], ['by']),
    run: killAgent,
  },
  taskRequest('retry', 'Tries a failed task again.', {}, (taskId) => ({
    type: 'task.retry',
    taskId,
  })),
  taskRequest('cancel', 'Ends a task as failed.', ENDS, (taskId, input) => ({
    type: 'task.cancel',
    taskId,
    reason: reasonOf(input),
  })),
  {
    ...described('criterion.confirm', 'A person confirms a success criterion that has no command.'),
    rights: 'approve',
    idempotent: true,
    input: inputOf(['cell', 'name'], ['by']),
    async run(node, { cell = '', name = '', ...rest }: VerbInput) {
      const { cell_id: cellId } = resolveCell(node.status(), cell);
      await ask(node, cellId, { type: 'criterion.confirm', name, by: byOf(rest) });
      return { ...cellResult(node, cellId), criterion: name, confirmed_by: byOf(rest) };
    },
  },
  {
    ...described(
      'actor.release',
      'Lets a held actor go on: its fault is mended, or its loss accepted.',
    ),
    remote: false,
    rights: 'approve',
    input: inputOf(['address'], ['by']),
    run: releaseActor,
  },
];

function described(
  name: string,
  summary: string,
): Pick<WritingVerb, 'kind' | 'name' | 'summary' | 'remote' | 'rights'> {
  return { kind: 'writes', name, summary, remote: true, rights: 'operate' };
}

function cellRequest(
  name: string,
  summary: string,
  nature: Nature,
  eventOf: (input: VerbInput) => CellEvent,
): WritingVerb {
  return {
    ...described(`cell.${name}`, summary),
    ...nature,
    input: inputOf(['cell'], ['reason', 'by']),
    async run(node, input: VerbInput) {
      const { cell_id: cellId } = resolveCell(node.status(), input['cell'] ?? '');
      await ask(node, cellId, eventOf(input));
      return cellResult(node, cellId);
    },
  };
}

function agentRequest(
  name: string,
  summary: string,
  eventOf: (agentId: string) => CellEvent,
): WritingVerb {
  return {
    ...described(`agent.${name}`, summary),
    ...IDEMPOTENT,
    input: inputOf(['agent'], ['by']),
    async run(node, { agent = '' }: VerbInput) {
      const member = resolveMember(node.status(), 'agent', agent);
      await ask(node, member.cellId, eventOf(member.id));
      return agentResult(node, member);
    },
  };
}

function taskRequest(
  name: string,
  summary: string,
  nature: Nature,
  eventOf: (taskId: string, input: VerbInput) => CellEvent,
): WritingVerb {
  return {
    ...described(`task.${name}`, summary),
    ...nature,
    input: inputOf(['task'], ['reason', 'by']),
    async run(node, input: VerbInput) {
      const { cellId, id } = resolveMember(node.status(), 'task', input['task'] ?? '');
      await ask(node, cellId, eventOf(id, input));
      const task = cellOf(node, cellId).tasks.find(({ task_id: taskId }) => taskId === id);
      return { cell_id: cellId, task_id: id, status: task?.status ?? null };
    },
  };
}

async function killAgent(node: MissionNode, { agent = '' }: VerbInput): Promise<JsonObject> {
  const member = resolveMember(node.status(), 'agent', agent);
  const worker = node.workers.get(member.cellId, member.id);
  if (worker === undefined)
    throw new RuntimeError(`agent ${member.id} has no worker that runs`, {
      code: 'CONFLICT',
      hint: 'A worker is started when there is work; `lazarus status` shows its pid.',
    });
  worker.kill();
  return { cell_id: member.cellId, agent_id: member.id, pid: worker.pid };
}

async function releaseActor(node: MissionNode, { address = '' }: VerbInput): Promise<JsonObject> {
  const { system } = node.kernel;
  const actor = system.actors.get(address);
  if (actor === undefined || actor.stopped)
    throw new RuntimeError(`no actor lives at ${address}`, {
      code: 'ACTOR_UNKNOWN',
      hint: 'Held actors stand in `lazarus status`.',
    });
  if (actor.hold === undefined && actor.lost === undefined)
    throw new RuntimeError(`${address} is not held; there is nothing to release`, {
      code: 'CONFLICT',
    });
  const wasLost = actor.lost !== undefined || actor.hold?.code === 'JOURNAL_CORRUPT';
  await system.release(address, { acceptLoss: true });
  const cellId = homeCell(address);
  const dir = address.startsWith('cell/') ? node.places.folderOf(cellId) : undefined;
  if (wasLost && dir !== undefined) await resync(system, { cellId, dir });
  return { address, released: true };
}

async function ask(node: MissionNode, cellId: string, event: CellEvent): Promise<void> {
  await node.kernel.system.send(cellAddress(cellId), { ...asJsonObject(event), type: event.type });
}

const reasonOf = (input: VerbInput): string => input['reason'] ?? `by ${byOf(input)}`;

const cellOf = (node: MissionNode, cellId: string): ReturnType<typeof resolveCell> =>
  resolveCell(node.status(), cellId);

function cellResult(node: MissionNode, cellId: string): JsonObject {
  const { status, phase, reason } = cellOf(node, cellId);
  return { cell_id: cellId, status, phase, reason };
}

function agentResult(node: MissionNode, { cellId, id }: Member): JsonObject {
  const agent = cellOf(node, cellId).agents.find(({ agent_id: agentId }) => agentId === id);
  return { cell_id: cellId, agent_id: id, status: agent?.status ?? null, pid: agent?.pid ?? null };
}

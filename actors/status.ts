/**
 * The state of everything as `lazarus status` shows it: from the actors' committed contexts, with what only a running
 * node knows (pids) when there is one. The same function serves the daemon and a CLI that folds the journal by itself.
 */
import { SYSTEM_CELL_ID } from '../machines/addresses.ts';
import {
  agentFileOf,
  agentStatus,
  cellFileOf,
  runOf,
  stepsDoneOf,
  taskFileOf,
} from '../machines/cell-context.ts';
import type { CellContext } from '../machines/cell-context.ts';
import { isolationPlan } from '../machines/cell-settle.ts';
import type { HealthStatus } from '../machines/heartbeats.ts';
import type { JsonValue } from '../machines/json.ts';
import type { LazarusContext } from '../machines/lazarus-context.ts';
import { cellStatus } from '../machines/projection.ts';
import type { DoubtfulEffect } from './effects.ts';
import type { Mending } from './mendings.ts';
import { ofAbsentCell, overruled, revivalView } from './revival-view.ts';
import type { RevivalView } from './revival-view.ts';

export type { RevivalView } from './revival-view.ts';

/** Where committed state comes from. */
export interface StateSource {
  addresses(): Iterable<string>;
  /** The committed context; or why the actor is held. */
  context(address: string): { context: unknown; state?: unknown } | { held: string };
  /** Why the actor is held, of those whose state is not shown here; absent: `context` says so. There may be thousands. */
  heldReason?(address: string): string | null;
  /** A live worker's pid, when this process has one. */
  pidOf(cellId: string, agentId: string): number | null;
  /** By its heartbeats; absent: nobody listens. */
  healthOf?(cellId: string, agentId: string): HealthStatus | undefined;
  /** What is to be said against an agent that has not failed: a missed beat, a step without progress, a full disk. */
  complaintOf?(cellId: string, agentId: string): string | null;
  folderOf(cellId: string): string | undefined;
  inDoubt(): DoubtfulEffect[];
  heldFolders(): { folder: string; reason: string }[];
  /** What the running node found damaged and mended. */
  mended?(): Mending[];
  /** Now; absent: no node runs. */
  clock?(): { at: number; up: number };
  /** What the daemon was told; absent: nobody knows. */
  config?(): Record<string, JsonValue>;
  /** What joins the node to the world, by name, each with its `state`; what is not named is off (P10). */
  parts?(): Record<string, JsonValue>;
}

export interface NodeInfo {
  /** `unreachable`: it seems to run, but does not answer. `starting`: it has the folder and takes no work yet. */
  state: 'starting' | 'running' | 'stopping' | 'held: journal' | 'stopped' | 'unreachable';
  pid: number | null;
  [more: string]: JsonValue;
}

export interface TaskStatusView {
  task_id: string;
  title: string;
  status: string;
  priority: string;
  assigned_to: string | null;
  blocked_reason: string | null;
  steps_done: number;
  steps_total: number;
  current_step: string | null;
  attempts: number;
}
export interface AgentStatusView {
  agent_id: string;
  name: string;
  role: string;
  status: string;
  health: HealthStatus;
  pid: number | null;
  current_task: string | null;
  revivals: number;
  reason: string | null;
  /** What is not well although it has not failed. */
  complaint: string | null;
}
export interface CellStatusView {
  cell_id: string;
  mission_name: string;
  status: string;
  phase: string;
  reason: string | null;
  path: string | null;
  /** The level that holds: the stricter one of cell.json and config/isolation.json. */
  isolation_level: string;
  boundary: string;
  /** Limits that config/isolation.json asks for (P9). */
  limits: { name: string; enforced: boolean }[];
  agents: AgentStatusView[];
  tasks: TaskStatusView[];
  notes: { at: string; text: string }[];
}
export interface DoubtView {
  key: string;
  cell_id: string;
  agent_id: string;
  task_id: string;
  step: string;
  since: string;
  choices: string[];
}
export interface StatusView {
  running: boolean;
  node: NodeInfo;
  config: Record<string, JsonValue>;
  parts: Record<string, JsonValue>;
  cells: CellStatusView[];
  held: { what: string; reason: string }[];
  /** Damage on disk that the running node mended by itself: somebody should look at the disk. */
  mended: Mending[];
  revivals: RevivalView[];
  /** How many, in all cells. */
  agents: number;
  pending_revivals: number;
  in_doubt: DoubtView[];
}

export function buildStatus(source: StateSource, node: NodeInfo): StatusView {
  const cells: CellStatusView[] = [];
  const cases: { lazarus: LazarusContext; view: RevivalView }[] = [];
  const held = source.heldFolders().map(({ folder, reason }) => ({ what: folder, reason }));
  const contexts = new Map<string, CellContext>();
  const clock = source.clock?.();
  for (const address of source.addresses()) {
    const [kind, first = '', second] = address.split('/');
    const isCell = kind === 'cell' && second === undefined && first !== SYSTEM_CELL_ID;
    const isLazarus = kind === 'system' && first === 'lazarus';
    if (!isCell && !isLazarus && kind === 'cell') continue;
    const found =
      isCell || isLazarus || !source.heldReason
        ? source.context(address)
        : unlessHeld(source.heldReason(address));
    if ('held' in found) held.push({ what: address, reason: found.held });
    else if (isCell) contexts.set(first, found.context as CellContext);
    else if (isLazarus) {
      const lazarus = found.context as LazarusContext;
      if (lazarus.count > 0)
        cases.push({ lazarus, view: revivalView(lazarus, found.state, clock) });
    }
  }
  const lost = new Map(
    cases.map(({ lazarus, view }) => [
      `${view.cell_id}/${view.agent_id}`,
      { revivals: view.revivals, instead: overruled(lazarus, view) },
    ]),
  );
  for (const [cellId, context] of contexts) cells.push(cellView(cellId, context, source, lost));
  const isHere = new Set([...cells.map(({ cell_id: id }) => id), ...heldCells(held)]);
  const revivals = cases.map(({ view }) => (isHere.has(view.cell_id) ? view : ofAbsentCell(view)));
  cells.sort((a, b) => (a.cell_id < b.cell_id ? -1 : 1));
  return {
    running: node.state !== 'stopped' && node.state !== 'starting',
    node,
    config: source.config?.() ?? {},
    parts: { nats: { state: 'off' }, redis: { state: 'off' }, llm: [], ...source.parts?.() },
    cells,
    held,
    mended: source.mended?.() ?? [],
    revivals,
    agents: cells.reduce((count, cell) => count + cell.agents.length, 0),
    pending_revivals: revivals.filter(({ status }) => status === 'pending_approval').length,
    in_doubt: source.inDoubt().map(doubtView),
  };
}

const unlessHeld = (reason: string | null): ReturnType<StateSource['context']> =>
  reason === null ? { context: null } : { held: reason };

/** Cells whose own actor is held: they are here, and nobody knows more. */
const heldCells = (held: readonly { what: string }[]): string[] =>
  held.flatMap(({ what }) => (what.startsWith('cell/') ? [what.slice('cell/'.length)] : []));

type LostAgents = ReadonlyMap<string, { revivals: number; instead: { reason: string } | null }>;

function cellView(
  cellId: string,
  context: CellContext,
  source: StateSource,
  lost: LostAgents,
): CellStatusView {
  const file = cellFileOf(context);
  const { level, limits } = isolationPlan(context);
  return {
    cell_id: cellId,
    mission_name: file.mission_name,
    status: context.phase === 'held' ? 'held' : cellStatus(context),
    phase: context.phase,
    reason: context.reason,
    path: source.folderOf(cellId) ?? null,
    isolation_level: level,
    limits,
    boundary: 'none', // neither level of this build closes a worker in
    agents: Object.entries(context.agents).map(([agentId, agent]) => {
      const { name, role } = agentFileOf(context, agentId);
      const pid = source.pidOf(cellId, agentId);
      const { revivals = 0, instead = null } = lost.get(`${cellId}/${agentId}`) ?? {};
      const status = instead === null ? agentStatus(agent) : 'failed';
      return {
        agent_id: agentId,
        name,
        role,
        status,
        pid,
        health:
          status === 'failed' ? 'unhealthy' : (source.healthOf?.(cellId, agentId) ?? 'unknown'),
        current_task: agent.currentTask,
        revivals,
        reason: instead?.reason ?? agent.reason,
        complaint: status === 'failed' ? null : (source.complaintOf?.(cellId, agentId) ?? null),
      };
    }),
    tasks: Object.entries(context.tasks).map(([taskId, task]) => {
      const { title, priority, steps } = taskFileOf(context, taskId);
      const run = runOf(context, taskId);
      const agentId = task.assignedTo;
      const instead =
        agentId === null || task.status !== 'in_progress'
          ? null
          : (lost.get(`${cellId}/${agentId}`)?.instead ?? null);
      const blocked = instead ? `agent ${agentId} failed: ${instead.reason}` : task.blockedReason;
      return {
        task_id: taskId,
        title,
        priority,
        status: task.status,
        assigned_to: task.assignedTo ?? task.wishedAgent,
        blocked_reason: run?.doubt ? `in doubt: ${run.doubt}` : blocked,
        steps_done: stepsDoneOf(context, taskId),
        steps_total: steps.length,
        current_step: run?.step ?? null,
        attempts: task.attempt,
      };
    }),
    notes: context.notes.map(({ at, text }) => ({ at: new Date(at).toISOString(), text })),
  };
}

export function doubtView({ key, address, input, since }: DoubtfulEffect): DoubtView {
  if (address.startsWith('system/action/')) return actionInDoubt({ key, input, since });
  const [, cellId = '', , agentId = ''] = address.split('/');
  const { taskId = '', step } = input as { taskId?: string; step?: { name: string } };
  return {
    key,
    cell_id: cellId,
    agent_id: agentId,
    task_id: taskId,
    step: step?.name ?? '',
    since: new Date(since).toISOString(),
    choices: ['done', 'retry', 'fail'],
  };
}

/** `lazarus doubt done action/<id>` names it, and the bare id too. */
function actionInDoubt({ key, input, since }: Pick<DoubtfulEffect, 'key' | 'input' | 'since'>) {
  const { run } = input as { run?: { actionId: string; type: string } };
  return {
    key,
    cell_id: 'action',
    agent_id: '',
    task_id: run?.actionId ?? '',
    step: run?.type ?? '',
    since: new Date(since).toISOString(),
    choices: ['done', 'retry', 'fail'],
  };
}

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
import type { JsonValue } from '../machines/json.ts';
import type { LazarusContext } from '../machines/lazarus-context.ts';
import { cellStatus } from '../machines/projection.ts';
import type { DoubtfulEffect } from './effects.ts';

/** Where committed state comes from. */
export interface StateSource {
  addresses(): Iterable<string>;
  /** The committed context; or why the actor is held. */
  context(address: string): { context: unknown } | { held: string };
  /** A live worker's pid, when this process has one. */
  pidOf(cellId: string, agentId: string): number | null;
  folderOf(cellId: string): string | undefined;
  inDoubt(): DoubtfulEffect[];
  heldFolders(): { folder: string; reason: string }[];
}

export interface NodeInfo {
  /** `unreachable`: it seems to run, but does not answer. */
  state: 'running' | 'stopping' | 'held: journal' | 'stopped' | 'unreachable';
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
  health: 'healthy' | 'unhealthy' | 'unknown';
  pid: number | null;
  current_task: string | null;
  revivals: number;
  reason: string | null;
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
export interface RevivalView {
  revival_id: string | null;
  cell_id: string;
  agent_id: string;
  status: 'pending' | 'pending_approval' | 'revived' | 'failed';
  reason: string;
  revivals: number;
  story: string[];
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
  revivals: RevivalView[];
  pending_revivals: number;
  in_doubt: DoubtView[];
}

export function buildStatus(source: StateSource, node: NodeInfo): StatusView {
  const cells: CellStatusView[] = [];
  const revivals: RevivalView[] = [];
  const held = source.heldFolders().map(({ folder, reason }) => ({ what: folder, reason }));
  const revived = new Map<string, number>();
  const contexts = new Map<string, CellContext>();
  for (const address of source.addresses()) {
    const [kind, first = '', second, third] = address.split('/');
    const isCell = kind === 'cell' && second === undefined && first !== SYSTEM_CELL_ID;
    const isLazarus = kind === 'system' && first === 'lazarus';
    if (!isCell && !isLazarus && kind === 'cell') continue;
    const found = source.context(address);
    if ('held' in found) held.push({ what: address, reason: found.held });
    else if (isCell) contexts.set(first, found.context as CellContext);
    else if (isLazarus) {
      const lazarus = found.context as LazarusContext;
      const count = lazarus.history.filter(({ outcome }) => outcome === 'revived').length;
      revived.set(`${second}/${third}`, count);
      if (lazarus.count > 0) revivals.push(revivalView(lazarus, count));
    }
  }
  for (const [cellId, context] of contexts) cells.push(cellView(cellId, context, source, revived));
  cells.sort((a, b) => (a.cell_id < b.cell_id ? -1 : 1));
  return {
    running: node.state !== 'stopped',
    node,
    config: {},
    parts: { nats: { state: 'off' }, redis: { state: 'off' }, llm: [] },
    cells,
    held,
    revivals,
    pending_revivals: revivals.filter(({ status }) => status === 'pending_approval').length,
    in_doubt: source.inDoubt().map(doubtView),
  };
}

function cellView(
  cellId: string,
  context: CellContext,
  source: StateSource,
  revived: ReadonlyMap<string, number>,
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
      const status = agentStatus(agent);
      return {
        agent_id: agentId,
        name,
        role,
        status,
        pid,
        health: status === 'failed' ? 'unhealthy' : pid === null ? 'unknown' : 'healthy',
        current_task: agent.currentTask,
        revivals: revived.get(`${cellId}/${agentId}`) ?? 0,
        reason: agent.reason,
      };
    }),
    tasks: Object.entries(context.tasks).map(([taskId, task]) => {
      const { title, priority, steps } = taskFileOf(context, taskId);
      const run = runOf(context, taskId);
      return {
        task_id: taskId,
        title,
        priority,
        status: task.status,
        assigned_to: task.assignedTo ?? task.wishedAgent,
        blocked_reason: run?.doubt ? `in doubt: ${run.doubt}` : task.blockedReason,
        steps_done: stepsDoneOf(context, taskId),
        steps_total: steps.length,
        current_step: run?.step ?? null,
        attempts: task.attempt,
      };
    }),
    notes: context.notes.map(({ at, text }) => ({ at: new Date(at).toISOString(), text })),
  };
}

function revivalView(lazarus: LazarusContext, revivals: number): RevivalView {
  const { revivalId, cellId, agentId, outcome, current, story, reason } = lazarus;
  const last = lazarus.history.at(-1);
  const status =
    outcome === 'asking'
      ? 'pending_approval'
      : outcome === 'revived' || (revivalId === null && last?.outcome === 'revived')
        ? 'revived'
        : outcome === null && revivalId !== null
          ? 'pending'
          : 'failed';
  return {
    revival_id: revivalId ?? last?.revivalId ?? null,
    cell_id: cellId,
    agent_id: agentId,
    status,
    reason: current?.failure.message ?? last?.signature ?? reason,
    revivals,
    story,
  };
}

function doubtView({ key, address, input, since }: DoubtfulEffect): DoubtView {
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

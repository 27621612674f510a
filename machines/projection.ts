/**
 * What each file of a cell should say: people's fields in their own order, unknown ones kept, with the runtime's fields
 * laid over them and the `_rev` that a later edit names as its base. Pure; a writer compares revs and writes what rose.
 * Our own additions appear only when they say something; the specification's fields always.
 */
import { agentStatus, findAgent, findTask, runOf } from './cell-context.ts';
import type { CellContext } from './cell-context.ts';
import type { JsonObject, JsonValue } from './json.ts';
import type { CellStatus } from './mission.ts';
import { isProjected } from './merge.ts';
import type { FileState } from './merge.ts';

/** Every file that the runtime writes, by its path in the cell. Removed and configuration files are not among them. */
export function projectFiles(context: CellContext): Record<string, JsonObject> {
  const projected: Record<string, JsonObject> = {};
  for (const path of Object.keys(context.files)) {
    const content = projectFile(context, path);
    if (content) projected[path] = content;
  }
  return projected;
}

/** One file, or null when the runtime does not write it. */
export function projectFile(context: CellContext, path: string): JsonObject | null {
  const file = context.files[path];
  if (!file || file.removed || !isProjected(file.kind)) return null;
  return overlay(file, runtimeFields(context, file));
}

/** Paths whose file should say something else than before: their rev differs, or they are new. */
export function changedPaths(before: CellContext, after: CellContext): string[] {
  if (before.files === after.files) return [];
  return Object.entries(after.files)
    .filter(([path, file]) => {
      const past = before.files[path];
      return isProjected(file.kind) && !file.removed && file !== past && file.rev !== past?.rev;
    })
    .map(([path]) => path);
}

/** The status a person reads in cell.json; its enum has no word for held, loading or verifying. */
export function cellStatus(context: CellContext): CellStatus {
  switch (context.phase) {
    case 'completed':
    case 'failed':
    case 'paused':
      return context.phase;
    case 'working':
    case 'verifying':
    case 'confirming':
      return 'active';
    case 'loading':
    case 'held':
      return 'paused';
    default:
      return context.phase satisfies never;
  }
}

/** The runtime's fields of a file as a projection has them; what is absent counts as null. */
export function runtimeFields(context: CellContext, file: FileState): JsonObject {
  if (file.kind === 'cell') return cellFields(context);
  if (file.kind === 'agent') return agentFields(context, file.id);
  if (file.kind === 'task') return taskFields(context, file.id);
  return {};
}

function cellFields(context: CellContext): JsonObject {
  return { status: cellStatus(context), ...unlessNull('status_reason', context.reason) };
}

function agentFields(context: CellContext, agentId: string): JsonObject {
  const agent = findAgent(context, agentId);
  if (!agent) return {};
  return {
    status: agentStatus(agent),
    ...unlessNull('status_reason', agent.reason),
    current_task: agent.currentTask,
    checkpoint: agent.checkpoint,
  };
}

function taskFields(context: CellContext, taskId: string): JsonObject {
  const task = findTask(context, taskId);
  if (!task) return {};
  const doubt = runOf(context, taskId)?.doubt ?? null;
  const reason = doubt === null ? task.blockedReason : `in doubt: ${doubt}`;
  return {
    status: task.status,
    assigned_to: task.assignedTo ?? task.wishedAgent,
    completed_at: task.completedAt,
    artifacts: task.artifacts,
    ...unlessNull('blocked_reason', reason),
    ...unlessNull('attempts', task.attempt === 0 ? null : task.attempt),
    ...unlessNull('result', task.result),
  };
}

function unlessNull(key: string, value: JsonValue): JsonObject {
  return value === null ? {} : { [key]: value };
}

function overlay(file: FileState, runtime: JsonObject): JsonObject {
  const all: JsonObject = { ...file.people, ...runtime, _rev: file.rev };
  const inOrder = file.keys.filter((key) => Object.hasOwn(all, key));
  const known = new Set(inOrder);
  const added = Object.keys(all).filter((key) => !known.has(key));
  return Object.fromEntries([...inOrder, ...added].map((key) => [key, all[key] ?? null]));
}

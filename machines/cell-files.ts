/**
 * Files of a cell that changed on disk. Each is merged (merge.ts) with what is known; what people ask for in runtime
 * fields becomes a request like any verb's, and a request that does not fit is noted and overwritten by the next
 * projection, for there is nobody to throw an error at.
 *
 * F1 The order of files in one event does not matter: all contents are taken first, requests are obeyed after.
 * F2 A removed file takes its task or agent with it; work under way is withdrawn before.
 * F3 A file that appears in a finished cell makes it work again, unless cell.json itself is new: then its status stands.
 * F4 Lazarus hears of a removed agent from its cell: the agent itself may be held, or throw whatever it is told.
 */
import { isJsonObject, jsonEqual } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';
import type { FileChange } from './mission.ts';
import { conflict, RuntimeError } from './errors.ts';
import { mergeFile } from './merge.ts';
import type { FieldRequest, Merge } from './merge.ts';
import { runtimeFields } from './projection.ts';
import type { CellDraft } from './cell-draft.ts';
import { cancelTask, freshTask, noteEditedSteps, releaseTask } from './cell-tasks.ts';
import {
  cancelCell,
  pauseAgent,
  pauseCell,
  reopen,
  resumeAgent,
  resumeCell,
  retry,
} from './cell-verbs.ts';
import { isolationPlan } from './cell-settle.ts';
import { cellFileOf, CELL_PATH, findTask, taskFileOf, agentPath } from './cell-context.ts';
import type { AgentState, CellContext } from './cell-context.ts';

/** What this change would do. A door asks before it journals: an edit without effect is not an event. */
export function mergeChange(context: CellContext, change: FileChange): Merge {
  const file = context.files[change.path] ?? null;
  return mergeFile({ file, runtime: file ? runtimeFields(context, file) : {} }, change);
}

export function changeFiles(draft: CellDraft, changes: readonly FileChange[]): void {
  const cellIsNew = !draft.context.files[CELL_PATH];
  const last = new Map(changes.map((change) => [change.path, change]));
  // F1
  const merges = [...last.values()].map((change) => ({
    change,
    merge: mergeChange(draft.before, change),
  }));
  for (const { change, merge } of merges) if (merge.next) takeContent(draft, change, merge);
  for (const { change, merge } of merges) if (!merge.next) removeFile(draft, change);
  for (const { change, merge } of merges) {
    if (merge.first) introduce(draft, change, merge.requests);
    else for (const request of merge.requests) obey(draft, change, request);
  }
  const begun = merges.some(({ change, merge }) => merge.first && isPendingTask(draft, change));
  if (begun && !cellIsNew) reopen(draft);
  noteConsequences(draft);
}

function takeContent(draft: CellDraft, change: FileChange, merge: Merge): void {
  const stepsBefore = change.kind === 'task' ? taskFileOf(draft.context, change.id).steps : [];
  draft.setFile(change.path, merge.next);
  if (change.kind === 'task' && !merge.first) noteEditedSteps(draft, change.id, stepsBefore);
}

/** F2 */
function removeFile(draft: CellDraft, change: FileChange): void {
  const file = draft.context.files[change.path];
  if (!file) return;
  if (change.kind === 'cell') {
    draft.setFile(change.path, { ...file, removed: true });
    return;
  }
  if (change.kind === 'task') {
    const isRunning = findTask(draft.context, change.id)?.status === 'in_progress';
    if (isRunning) cancelTask(draft, change.id, `${change.path} was removed`);
    draft.dropTask(change.id);
  } else if (change.kind === 'agent') dismissAgent(draft, change.id);
  draft.setFile(change.path, null);
}

function dismissAgent(draft: CellDraft, agentId: string): void {
  const agent = draft.context.agents[agentId];
  if (!agent) return;
  const reason = `${agentPath(agentId)} was removed`;
  if (agent.currentTask !== null) releaseTask(draft, agent.currentTask, reason);
  if (agent.spawned) {
    draft.tell(agentId, { type: 'agent.removed' });
    draft.stopAgent(agentId, reason);
    draft.tellLazarusIfAny(agentId, { type: 'agent.removed' }); // F4
  }
  draft.dropAgent(agentId);
}

/** A file seen for the first time: its runtime fields are the initial values. */
function introduce(
  draft: CellDraft,
  { kind, id }: FileChange,
  given: readonly FieldRequest[],
): void {
  const initial: JsonObject = Object.fromEntries(given.map(({ field, value }) => [field, value]));
  if (kind === 'cell') introduceCell(draft, initial);
  else if (kind === 'agent') draft.putAgent(id, freshAgent(initial));
  else if (kind === 'task') introduceTask(draft, id, initial);
}

function introduceCell(draft: CellDraft, { status }: JsonObject): void {
  const reason = 'cell.json said so when it was first seen';
  if (status === 'paused') draft.patch({ pausedByPerson: true });
  else if (status === 'completed')
    draft.patch({ verdict: { status, reason: null, timedOut: false } });
  else if (status === 'failed') draft.patch({ verdict: { status, reason, timedOut: false } });
}

/** `active` and `failed` are taken as idle: no agent of ours stands behind them. */
function freshAgent(initial: JsonObject): AgentState {
  const checkpoint = initial['checkpoint'];
  return {
    reported: 'idle',
    reason: null,
    currentTask: null,
    run: null,
    checkpoint: isJsonObject(checkpoint) ? checkpoint : null,
    pausedByPerson: initial['status'] === 'paused',
    told: 'run',
    spawned: false,
    finished: 0,
  };
}

/** `in_progress` is taken as pending: nobody of ours is at it. */
function introduceTask(draft: CellDraft, taskId: string, initial: JsonObject): void {
  const { status, assigned_to: assignedTo, completed_at: completedAt, attempts } = initial;
  const ended = status === 'completed' || status === 'failed' ? status : null;
  const attempt = typeof attempts === 'number' ? attempts : 0;
  draft.putTask(taskId, {
    ...freshTask(),
    status: ended ?? 'pending',
    wishedAgent: textOrNull(assignedTo),
    attempt,
    attemptBase: attempt,
    artifacts: texts(initial['artifacts']),
    completedAt: ended === 'completed' ? textOrNull(completedAt) : null,
    blockedReason: ended === 'failed' ? 'its file said so when it was first seen' : null,
    result: isJsonObject(initial['result']) && ended ? initial['result'] : null,
  });
}

/** A runtime field that a person changed, made from the present projection. */
function obey(draft: CellDraft, change: FileChange, { field, value }: FieldRequest): void {
  try {
    if (change.kind === 'cell' && field === 'status') setCellStatus(draft, value);
    else if (change.kind === 'agent' && field === 'status') setAgentStatus(draft, change.id, value);
    else if (change.kind === 'task') setTaskField(draft, change, field, value);
    else throw conflict(`${field} is written by the runtime`);
  } catch (err) {
    if (!(err instanceof RuntimeError)) throw err;
    draft.note(`${change.path}: ${field} was not changed: ${err.message}`);
  }
}

function setCellStatus(draft: CellDraft, status: JsonValue): void {
  if (status === 'paused') pauseCell(draft);
  else if (status === 'active') resumeCell(draft);
  else if (status === 'failed') cancelCell(draft, 'status was set to failed in cell.json');
  else throw conflict(`a cell is ${JSON.stringify(status)} when its tasks are, not by request`);
}

function setAgentStatus(draft: CellDraft, agentId: string, status: JsonValue): void {
  if (status === 'paused') pauseAgent(draft, agentId);
  else if (status === 'idle') resumeAgent(draft, agentId);
  else throw conflict(`only paused and idle can be asked for, not ${JSON.stringify(status)}`);
}

function setTaskField(
  draft: CellDraft,
  { id, path }: FileChange,
  field: string,
  value: JsonValue,
): void {
  if (field === 'status' && value === 'pending') retry(draft, id);
  else if (field === 'status' && value === 'failed')
    cancelTask(draft, id, `status was set to failed in ${path}`);
  else if (field === 'status')
    throw conflict(`only pending and failed can be asked for, not ${JSON.stringify(value)}`);
  else if (field === 'assigned_to') reassign(draft, id, textOrNull(value));
  else if (field === 'artifacts') draft.setTask(id, { artifacts: texts(value) });
  else throw conflict(`${field} is written by the runtime`);
}

function reassign(draft: CellDraft, taskId: string, agentId: string | null): void {
  const status = findTask(draft.context, taskId)?.status;
  if (status !== 'pending')
    throw conflict(`task ${taskId} is ${status}; only a pending one can move`);
  draft.setTask(taskId, { wishedAgent: agentId, assignedTo: null, handover: null });
}

/** Criteria that changed are judged anew; a level that two files disagree on is worth a note. */
function noteConsequences(draft: CellDraft): void {
  const { before, context } = draft;
  const criteria = cellFileOf(context).success_criteria;
  if (JSON.stringify(cellFileOf(before).success_criteria) !== JSON.stringify(criteria)) {
    draft.patch({ checks: null, confirmed: {} });
    const { verdict } = context;
    if (before.files[CELL_PATH] && verdict && !verdict.timedOut && allCompleted(context))
      draft.patch({ verdict: null });
  }
  const { warnings } = isolationPlan(context);
  if (!jsonEqual(warnings, isolationPlan(before).warnings)) warnings.forEach((w) => draft.note(w));
}

function allCompleted(context: CellContext): boolean {
  const tasks = Object.values(context.tasks);
  return tasks.length > 0 && tasks.every((task) => task.status === 'completed');
}

function isPendingTask(draft: CellDraft, change: FileChange): boolean {
  return change.kind === 'task' && findTask(draft.context, change.id)?.status === 'pending';
}

function textOrNull(value: JsonValue | undefined): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

function texts(value: JsonValue | undefined): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}

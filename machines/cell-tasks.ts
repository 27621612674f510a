/**
 * What happens to one task of a cell: given out, taken back, finished, tried again.
 *
 * C1 An agent has at most one task in progress, and a task in progress has exactly one agent: both sides change here only.
 * C2 A finished task never runs again without a request: only `retryTask` leads out of failed, nothing out of completed.
 * C3 A step whose outcome nobody knows is not repeated by itself: a task taken back in the middle of one that is not `safe`
 *    fails with that reason, and a person decides.
 * C4 A finished step is kept: a later attempt begins after it, unless every step is `safe` (then all run again, so that the
 *    attempt is whole) or the step was edited since.
 */
import type { JsonObject } from './json.ts';
import type { Assignment } from './events.ts';
import type { PlainError } from './errors.ts';
import { conflict, RuntimeError } from './errors.ts';
import type { Step } from './mission.ts';
import { isoFromEpoch } from './time.ts';
import type { CellDraft } from './cell-draft.ts';
import { agentFileOf, cellFileOf, findTask, isSafe } from './cell-context.ts';
import { runOf, taskFileOf, taskPath } from './cell-context.ts';
import type { CellContext, RunState, TaskState } from './cell-context.ts';

export function freshTask(): TaskState {
  return {
    status: 'pending',
    wishedAgent: null,
    handover: null,
    assignedTo: null,
    attempt: 0,
    attemptBase: 0,
    stepsDone: 0,
    stepsUnedited: null,
    artifacts: [],
    completedAt: null,
    blockedReason: null,
    result: null,
  };
}

/** C1. The caller chose an agent that is free. */
export function assignTask(draft: CellDraft, taskId: string, agentId: string): void {
  const task = findTask(draft.context, taskId);
  if (!task) return;
  const stepsDone = Math.min(task.stepsDone, task.stepsUnedited ?? task.stepsDone);
  const next: TaskState = {
    ...task,
    status: 'in_progress',
    assignedTo: agentId,
    attempt: task.attempt + 1,
    stepsDone,
    stepsUnedited: null,
    completedAt: null,
    blockedReason: null,
  };
  draft.putTask(taskId, next);
  const run = { started: false, step: null, stepsDone, doubt: null };
  draft.setAgent(agentId, { currentTask: taskId, run });
  const assignment = assignmentOf(draft.context, taskId, next, agentId);
  draft.tell(agentId, { type: 'task.assigned', assignment });
}

function assignmentOf(
  context: CellContext,
  taskId: string,
  task: TaskState,
  agentId: string,
): Assignment {
  const file = taskFileOf(context, taskId);
  const { runner } = agentFileOf(context, agentId);
  const common = {
    taskId,
    title: file.title,
    description: file.description,
    attempt: task.attempt,
    timeout: file.timeout,
    artifacts: task.artifacts,
    stepsDone: task.stepsDone,
    ...(task.handover && { handover: task.handover }),
  };
  if (file.steps.length > 0) return { ...common, steps: file.steps };
  if (runner?.kind !== 'command')
    return { ...common, ...question(context, taskId, { agentId, made: task.artifacts }) };
  const people: JsonObject = context.files[taskPath(taskId)]?.people ?? {};
  const whole = {
    ...people,
    assigned_to: agentId,
    attempt: task.attempt,
    artifacts: task.artifacts,
  };
  return {
    ...common,
    steps: [{ name: 'run', run: runner.run, retry: 'never' }],
    stdin: JSON.stringify(whole),
  };
}

/** The step of a task that is put to a model. Asked again it costs money and changes nothing: that is safe. */
const REPORT: Step = { name: 'report', run: [], retry: 'safe', asks: true };

/** Where the answer is written, relative to `artifacts/`. */
export const reportPath = (taskId: string): string => `reports/${taskId}.md`;

/** All that the model is told comes from here; what earlier tasks put out is read when it is asked. */
function question(
  context: CellContext,
  taskId: string,
  { agentId, made }: { agentId: string; made: readonly string[] },
): Pick<Assignment, 'steps' | 'stdin' | 'artifacts'> {
  const { title, description, dependencies, artifacts } = taskFileOf(context, taskId);
  const { name, role, capabilities } = agentFileOf(context, agentId);
  const asked: ModelTask = {
    mission: cellFileOf(context).mission_name,
    agent: { id: agentId, name, role, capabilities },
    task: { id: taskId, title, description, artifacts },
    dependencies: dependencies.map((id) => ({
      id,
      title: taskFileOf(context, id).title,
      artifacts: findTask(context, id)?.artifacts ?? [],
    })),
  };
  const outputs = new Set([...made, reportPath(taskId)]);
  return { steps: [REPORT], stdin: JSON.stringify(asked), artifacts: [...outputs] };
}

/** What a model is asked to do, in `Assignment.stdin`. Artifacts are relative to `artifacts/`. */
export interface ModelTask {
  mission: string;
  agent: { id: string; name: string; role: string; capabilities: string[] };
  task: { id: string; title: string; description: string; artifacts: string[] };
  dependencies: { id: string; title: string; artifacts: string[] }[];
}

/** The assignment of an attempt that is under way, with what the cell knows to be done. */
export function assignmentInHand(
  context: CellContext,
  taskId: string,
  task: TaskState,
  agentId: string,
): Assignment {
  const stepsDone = runOf(context, taskId)?.stepsDone ?? task.stepsDone;
  return assignmentOf(context, taskId, { ...task, stepsDone }, agentId);
}

/** C1: the agent has the task no longer. Answers how far it was; what becomes of the task is the caller's to say. */
export function freeAgent(draft: CellDraft, taskId: string): RunState | null {
  const agentId = findTask(draft.context, taskId)?.assignedTo ?? null;
  const run = runOf(draft.context, taskId);
  if (agentId === null || !run) return null;
  draft.setAgent(agentId, { currentTask: null, run: null });
  draft.setTask(taskId, { stepsDone: run.stepsDone });
  return run;
}

/** Takes the agent's hands off a task in progress. */
function withdraw(draft: CellDraft, taskId: string, reason: string): RunState | null {
  const agentId = findTask(draft.context, taskId)?.assignedTo ?? null;
  const run = freeAgent(draft, taskId);
  if (agentId !== null && run) draft.tell(agentId, { type: 'task.withdrawn', taskId, reason });
  return run;
}

/** Back to pending, to be given out again; or failed when a step was under way that must not run twice (C3). */
export function releaseTask(draft: CellDraft, taskId: string, reason: string): void {
  const task = findTask(draft.context, taskId);
  if (task?.status !== 'in_progress') return;
  const step = withdraw(draft, taskId, reason)?.step ?? null;
  if (step === null || isSafeStep(draft.context, taskId, step)) {
    draft.setTask(taskId, { status: 'pending', assignedTo: null, blockedReason: null });
    return;
  }
  const message = `${reason} while step ${step} ran; whether that step is done is not known`;
  draft.setTask(taskId, failure(task, { name: 'Error', code: 'OUTCOME_UNKNOWN', message }));
}

export function isSafeStep(context: CellContext, taskId: string, name: string): boolean {
  const { steps } = taskFileOf(context, taskId);
  const step = steps.length === 0 ? REPORT : steps.find((known) => known.name === name);
  return step?.name === name && isSafe(step);
}

export function cancelTask(draft: CellDraft, taskId: string, reason: string): void {
  const task = requireTask(draft.context, taskId);
  if (task.status !== 'pending' && task.status !== 'in_progress')
    throw conflict(`task ${taskId} is ${task.status}; there is nothing to cancel`);
  const message = `cancelled: ${reason}`;
  if (task.status === 'in_progress') withdraw(draft, taskId, message);
  draft.setTask(taskId, failure(task, { name: 'Error', message }));
}

/** C2, C4 */
export function retryTask(draft: CellDraft, taskId: string): void {
  const task = requireTask(draft.context, taskId);
  if (task.status !== 'failed')
    throw conflict(
      `task ${taskId} is ${task.status}; only a failed task can be tried again`,
      task.status === 'completed' ? 'Add a new task for more of the same work.' : undefined,
    );
  const { steps } = taskFileOf(draft.context, taskId);
  draft.setTask(taskId, {
    status: 'pending',
    assignedTo: null,
    attemptBase: task.attempt,
    stepsDone: steps.every(isSafe) ? 0 : task.stepsDone,
    blockedReason: null,
    result: null,
  });
}

export function completeTask(draft: CellDraft, taskId: string, result: JsonObject): void {
  const task = requireTask(draft.context, taskId);
  const made = Array.isArray(result['artifacts'])
    ? result['artifacts'].filter((name) => typeof name === 'string')
    : [];
  draft.setTask(taskId, {
    status: 'completed',
    completedAt: isoFromEpoch(draft.stamp.at),
    artifacts: [...new Set([...task.artifacts, ...made])],
    blockedReason: null,
    result,
  });
}

/** After a known failure of an attempt. */
export function failTask(
  draft: CellDraft,
  taskId: string,
  outcome: { result: JsonObject; error: PlainError; retryable: boolean; maxRetries: number },
): void {
  const task = requireTask(draft.context, taskId);
  const again = outcome.retryable && task.attempt - task.attemptBase <= outcome.maxRetries;
  if (again)
    draft.setTask(taskId, {
      status: 'pending',
      assignedTo: null,
      stepsDone: 0,
      blockedReason: null,
      result: withError(outcome.result, outcome.error),
    });
  else draft.setTask(taskId, failure({ ...task, result: outcome.result }, outcome.error));
}

/** C4: how many leading steps an edit left as they were. */
export function noteEditedSteps(draft: CellDraft, taskId: string, before: readonly Step[]): void {
  const task = findTask(draft.context, taskId);
  if (!task) return;
  const after = taskFileOf(draft.context, taskId).steps;
  const same = (step: Step, i: number): boolean =>
    JSON.stringify(step) === JSON.stringify(after[i]);
  const edited = before.findIndex((step, i) => !same(step, i));
  if (edited === -1 && before.length <= after.length) return;
  const unedited = edited === -1 ? after.length : edited;
  draft.setTask(taskId, { stepsUnedited: Math.min(unedited, task.stepsUnedited ?? unedited) });
}

function failure(task: TaskState, error: PlainError): Partial<TaskState> {
  return {
    status: 'failed',
    blockedReason: error.message,
    result: withError(task.result ?? {}, error),
  };
}

function withError(result: JsonObject, error: PlainError): JsonObject {
  return { ...result, error: { ...error } };
}

export function requireTask(context: CellContext, taskId: string): TaskState {
  const task = findTask(context, taskId);
  if (task) return task;
  throw new RuntimeError(`cell ${context.cellId} has no task ${taskId}`, {
    code: 'NOT_FOUND',
    hint: `List its tasks: \`lazarus cell show ${context.cellId}\`.`,
  });
}

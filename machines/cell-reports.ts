/**
 * What agents tell their cell. These are facts of another actor: one that comes late, for an attempt that is no longer
 * the one under way (C5), is ignored without a word, and none is ever refused.
 */
import type { CellEvent } from './events.ts';
import type { JsonObject } from './json.ts';
import type { CellDraft } from './cell-draft.ts';
import { mayDo } from './permissions.ts';
import { completeTask, failTask, freeAgent, releaseTask } from './cell-tasks.ts';
import { policiesOf } from './cell-settle.ts';
import { agentFileOf, findAgent, findTask, permissionsOf, runOf } from './cell-context.ts';
import type { CellContext, TaskState } from './cell-context.ts';

type Told<Type extends CellEvent['type']> = Extract<CellEvent, { type: Type }>;

export function agentReported(draft: CellDraft, event: Told<'agent.reported'>): void {
  const agent = findAgent(draft.context, event.agentId);
  if (!agent) return;
  const failed = event.status === 'failed';
  const reason = failed ? (event.reason ?? 'no reason given') : null;
  draft.setAgent(event.agentId, { reported: event.status, reason });
  if (agent.currentTask === null) return;
  const blockedReason = failed ? `agent ${event.agentId} failed: ${reason}` : null;
  draft.setTask(agent.currentTask, { blockedReason });
}

export function agentCheckpointed(draft: CellDraft, event: Told<'agent.checkpointed'>): void {
  if (findAgent(draft.context, event.agentId))
    draft.setAgent(event.agentId, { checkpoint: { ...event.checkpoint } });
}

/** The first word about an attempt is where the right to execute is looked at once more. */
export function taskProgressed(
  draft: CellDraft,
  event: Told<'task.progressed'>,
): 'taken' | 'ignored' | 'withdrawn' {
  const { agentId, taskId } = event;
  const task = currentAttempt(draft.context, event);
  if (!task) return 'ignored';
  if (!runOf(draft.context, taskId)?.started) {
    const right = mayDo(
      { agentId, role: agentFileOf(draft.context, agentId).role },
      'execute',
      { taskId, assignedTo: task.wishedAgent },
      permissionsOf(draft.context),
    );
    if (!right.allowed) {
      releaseTask(draft, taskId, right.reason);
      return 'withdrawn';
    }
  }
  const { stepsDone, step } = event;
  draft.setAgent(agentId, { run: { started: true, step, stepsDone, doubt: null } });
  return 'taken';
}

export function taskDoubted(draft: CellDraft, event: Told<'task.doubted'>): void {
  const run = runOf(draft.context, event.taskId);
  if (!run || !currentAttempt(draft.context, event)) return;
  const { agentId, taskId, attempt, reason } = event;
  draft.setAgent(agentId, { run: { ...run, doubt: reason } });
  draft.tell(agentId, { type: 'step.doubted', taskId, attempt, inDoubt: reason !== null });
}

export function taskFinished(draft: CellDraft, event: Told<'task.finished'>): void {
  const { agentId, taskId, outcome } = event;
  const task = currentAttempt(draft.context, event);
  const agent = findAgent(draft.context, agentId);
  if (!task || !agent) return;
  const result: JsonObject = { ...event.result };
  freeAgent(draft, taskId);
  draft.setTask(taskId, { stepsDone: event.result.stepsDone });
  if (outcome === 'completed') {
    draft.setAgent(agentId, { finished: agent.finished + 1 });
    completeTask(draft, taskId, result);
  } else if (outcome === 'failed') {
    failTask(draft, taskId, {
      result,
      error: event.error ?? { name: 'Error', message: 'no reason given' },
      retryable: event.retryable,
      maxRetries: policiesOf(draft.context, agentId).values.max_retries,
    });
  } else releaseTask(draft, taskId, event.error?.message ?? 'the agent gave it back');
}

/** C5: the task's state if the event speaks of the attempt under way, by the agent that has it. */
function currentAttempt(
  context: CellContext,
  event: { agentId: string; taskId: string; attempt: number },
): TaskState | null {
  const task = findTask(context, event.taskId);
  const matches =
    task?.status === 'in_progress' &&
    task.assignedTo === event.agentId &&
    task.attempt === event.attempt;
  return matches ? task : null;
}

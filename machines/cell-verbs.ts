/**
 * What people and the runtime may ask of a cell. A request that does not fit throws before anything has changed, and the
 * sender gets the error; asking for what already is so is fine and does nothing.
 */
import { conflict, RuntimeError } from './errors.ts';
import type { CellDraft } from './cell-draft.ts';
import { releaseTask, retryTask } from './cell-tasks.ts';
import { cellFileOf, findAgent } from './cell-context.ts';
import type { AgentState, CellContext } from './cell-context.ts';

export function pauseCell(draft: CellDraft): void {
  const { phase } = draft.context;
  if (phase === 'completed' || phase === 'failed')
    throw conflict(`the cell is ${phase}; there is nothing to pause`);
  draft.patch({ pausedByPerson: true });
}

/** Leaves a pause; begins again after an end that its tasks did not cause. */
export function resumeCell(draft: CellDraft): void {
  const { phase, pausedByPerson, reason, verdict } = draft.context;
  if (phase === 'held' && !pausedByPerson)
    throw new RuntimeError(`the cell is held: ${reason ?? 'no reason given'}`, {
      code: 'CELL_HELD',
    });
  if (phase === 'completed') throw conflict('the cell is completed; add a task to go on');
  if (phase === 'failed' && verdict === null)
    throw conflict(
      `the cell is failed: ${reason ?? 'no reason given'}`,
      'Try the failed task again: `lazarus task retry <id>`.',
    );
  draft.patch({ pausedByPerson: false });
  if (verdict) reopen(draft);
}

export function cancelCell(draft: CellDraft, reason: string): void {
  if (draft.context.phase === 'completed')
    throw conflict('the cell is completed; there is nothing to cancel');
  endCell(draft, { reason: `cancelled: ${reason}`, timedOut: false });
}

/** Also the end by timeout: nothing of it runs on. */
export function endCell(draft: CellDraft, end: { reason: string; timedOut: boolean }): void {
  for (const [taskId, task] of Object.entries(draft.context.tasks))
    if (task.status === 'in_progress') releaseTask(draft, taskId, end.reason);
  draft.patch({ verdict: { status: 'failed', ...end } });
}

/** There is work again: an end is no longer one, and what was confirmed for it must be confirmed again. */
export function reopen(draft: CellDraft): void {
  const { verdict } = draft.context;
  if (!verdict) return;
  draft.patch({ verdict: null, checks: null });
  if (verdict.status === 'completed') draft.patch({ confirmed: {} });
  if (verdict.timedOut) draft.patch({ usedMs: 0 });
}

/** Another try of a failed task, in a cell that may have ended because of it. */
export function retry(draft: CellDraft, taskId: string): void {
  retryTask(draft, taskId);
  reopen(draft);
}

export function pauseAgent(draft: CellDraft, agentId: string): void {
  requireAgent(draft.context, agentId);
  draft.setAgent(agentId, { pausedByPerson: true });
}

export function resumeAgent(draft: CellDraft, agentId: string): void {
  const agent = requireAgent(draft.context, agentId);
  if (agent.reported === 'failed' && !agent.pausedByPerson)
    throw conflict(
      `agent ${agentId} failed: ${agent.reason ?? 'no reason given'}`,
      `Bring it back: \`lazarus agent revive ${agentId}\`.`,
    );
  draft.setAgent(agentId, { pausedByPerson: false });
}

export function confirmCriterion(draft: CellDraft, name: string, by: string): void {
  const criterion = cellFileOf(draft.context).success_criteria.find((c) => c.name === name);
  if (!criterion)
    throw new RuntimeError(`cell.json has no success criterion ${JSON.stringify(name)}`, {
      code: 'NOT_FOUND',
    });
  if (criterion.run !== undefined)
    throw conflict(`criterion ${name} is checked by a command; a person cannot confirm it`);
  const confirmed = { ...draft.context.confirmed, [name]: { by, at: draft.stamp.at } };
  draft.patch({ confirmed });
}

function requireAgent(context: CellContext, agentId: string): AgentState {
  const agent = findAgent(context, agentId);
  if (agent) return agent;
  throw new RuntimeError(`cell ${context.cellId} has no agent ${agentId}`, {
    code: 'NOT_FOUND',
    hint: `List its agents: \`lazarus cell show ${context.cellId}\`.`,
  });
}

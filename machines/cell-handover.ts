/**
 * A task goes from an agent that failed to another one, with what is known of it. Only Lazarus asks for this, when
 * bringing the agent back is futile or a person said so.
 *
 * H1 Both sides must allow it, and the substitute must have the right and the ability: whatever else, nothing is forced.
 * H2 A step that may be under way, or whose outcome nobody knows, is not left behind: the task stays until that is settled.
 *    One that may run again is no hindrance. (The failed agent's worker is surely gone, or it would not have failed.)
 * H3 Every request is answered, so that Lazarus never waits in vain.
 * H4 An agent that does not stand as failed may be at work, and keeps its task.
 */
import type { CellEvent } from './events.ts';
import { whoCanDo } from './assignment.ts';
import type { Candidate } from './assignment.ts';
import type { CellDraft } from './cell-draft.ts';
import { findAgent, findTask, permissionsOf, runOf, taskFileOf } from './cell-context.ts';
import type { CellContext } from './cell-context.ts';
import { candidatesOf, policiesOf } from './cell-settle.ts';
import { assignmentInHand, isSafeStep, releaseTask } from './cell-tasks.ts';
import { mayHandOff } from './permissions.ts';

type Request = Extract<CellEvent, { type: 'agent.substitute' }>;

/** H3. */
export function substituteAgent(draft: CellDraft, request: Request): void {
  const { agentId, revivalId } = request;
  const taskId = findAgent(draft.context, agentId)?.currentTask ?? null;
  const refusal = hindrance(draft.context, agentId, taskId);
  if (refusal !== null || taskId === null)
    return draft.tellLazarus(agentId, {
      type: 'substitution.refused',
      revivalId,
      reason: refusal ?? `agent ${agentId} has no task in hand`,
    });
  const choice = choose(draft.context, request, taskId);
  if ('refused' in choice)
    return draft.tellLazarus(agentId, {
      type: 'substitution.refused',
      revivalId,
      reason: choice.refused,
    });
  handOver(draft, request, { taskId, substitute: choice.agentId });
}

function handOver(
  draft: CellDraft,
  { agentId, revivalId, reason }: Request,
  { taskId, substitute }: { taskId: string; substitute: string },
): void {
  const checkpoint = findAgent(draft.context, agentId)?.checkpoint ?? null;
  releaseTask(draft, taskId, `it was handed over to ${substitute}`);
  draft.setTask(taskId, { wishedAgent: substitute, handover: { from: agentId, checkpoint } });
  draft.note(`task ${taskId} was handed over from ${agentId} to ${substitute}: ${reason}`);
  draft.tellLazarus(agentId, { type: 'substitution.done', revivalId, substitute, taskId });
}

/** Why the task cannot leave the agent now; null when it can. */
function hindrance(context: CellContext, agentId: string, taskId: string | null): string | null {
  const agent = findAgent(context, agentId);
  if (!agent) return `the cell has no agent ${agentId}`;
  if (taskId === null) return `agent ${agentId} has no task in hand`;
  if (agent.reported !== 'failed') return `agent ${agentId} has not stopped working at ${taskId}`; // H4
  if (!policiesOf(context, agentId).values.handoff_allowed) return 'handoff_allowed is false';
  const run = runOf(context, taskId);
  if (run?.doubt != null) return `task ${taskId} is in doubt: ${run.doubt}`; // H2
  if (run && run.step !== null && !isSafeStep(context, taskId, run.step))
    return `step ${run.step} of task ${taskId} may have run and does not say that it may run again`;
  return null;
}

/** The first of the named agents that can and may take the task over. It need not be free at once. */
function choose(
  context: CellContext,
  { agentId, substitutes }: Request,
  taskId: string,
): { agentId: string } | { refused: string } {
  if (substitutes.length === 0) return { refused: 'no substitute is named (substitute_agents)' };
  const candidates = candidatesOf(context);
  const refusals: string[] = [];
  for (const id of substitutes) {
    const candidate = candidates.find((known) => known.id === id);
    const refusal = refusalOf(context, { from: agentId, taskId }, id, candidate);
    if (refusal === null) return { agentId: id };
    refusals.push(refusal);
  }
  return { refused: refusals.slice(0, 5).join('; ') };
}

/** H1. */
function refusalOf(
  context: CellContext,
  { from, taskId }: { from: string; taskId: string },
  id: string,
  candidate: Candidate | undefined,
): string | null {
  if (!candidate) return `there is no agent ${id}`;
  if (id === from) return `${id} is the agent that failed`;
  if (candidate.unavailable !== null) return `agent ${id} ${candidate.unavailable}`;
  if (!findAgent(context, id)?.spawned) return `agent ${id} was not started`;
  const permissions = permissionsOf(context);
  const handoff = mayHandOff(from, id, permissions);
  if (!handoff.allowed) return handoff.reason;
  const file = taskFileOf(context, taskId);
  const { role } = file.requires;
  if (role !== undefined && candidate.file.role !== role)
    return `agent ${id} has role ${candidate.file.role}, not ${role}`;
  const lacking = file.requires.capabilities.filter(
    (name) => !candidate.file.capabilities.includes(name),
  );
  if (lacking.length > 0) return `agent ${id} lacks ${lacking.join(', ')}`;
  const ability = whoCanDo({ taskId, file, wishedAgent: id }, [candidate], permissions);
  return ability.agents === null ? ability.reason : null;
}

/** The agent's memory was put back, or is of another age than ours: it is told what it has in hand. */
export function syncAgent(draft: CellDraft, agentId: string): void {
  const agent = findAgent(draft.context, agentId);
  if (!agent?.spawned) return;
  const taskId = agent.currentTask;
  const task = taskId === null ? undefined : findTask(draft.context, taskId);
  const assignment =
    taskId !== null && task ? assignmentInHand(draft.context, taskId, task, agentId) : null;
  draft.tell(agentId, { type: 'agent.synced', assignment });
}

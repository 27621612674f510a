/**
 * A cell and its agents whose memories are of different ages, brought to one mind. Between two turns of the event loop
 * they always are (system.ts, S2); they are not after a loss that somebody accepted: then one may know of a task what the
 * other has forgotten, and each would answer the other's surprise for ever.
 *
 * Y1 What the cell holds to be an agent's task counts, and the agent gives way (`agent.strayed`).
 * Y2 A step that may have run and is not `safe` is not begun again by itself: where the cell, an agent or the folder knows
 *    that it was begun, and no effect in the ledger answers for it, its task fails with that reason and a person decides.
 * Y3 An agent that the cell believes in lives and knows its configuration; one that the cell does not know has no task.
 */
import type { AgentContext } from '../machines/agent-context.ts';
import { statusOf } from '../machines/agent-context.ts';
import { agentFileOf, findAgent, isSafe, runOf } from '../machines/cell-context.ts';
import { taskFileOf } from '../machines/cell-context.ts';
import type { AgentState, CellContext, TaskState } from '../machines/cell-context.ts';
import { isolationPlan, policiesOf, restartOf } from '../machines/cell-settle.ts';
import type { PlainError } from '../machines/errors.ts';
import type { AgentEvent, CellEvent } from '../machines/events.ts';
import { asJsonObject, jsonEqual } from '../machines/json.ts';
import type { IsolationLevel, Step } from '../machines/mission.ts';

export interface LivingAgent {
  context: AgentContext;
  /** It waits for the step it is at: the ledger answers for that one. */
  isStepping: boolean;
}

export interface Memories {
  cell: CellContext;
  agents: ReadonlyMap<string, LivingAgent>;
  /** Whether the folder shows that this step was begun at some time. */
  wasBegun: (taskId: string, step: string) => boolean;
  /** How many of the leading steps the folder shows to be done: their outcomes are facts, whoever waited for them. */
  provenDone: (taskId: string, steps: readonly Step[]) => number;
}

export type Remedy =
  | { kind: 'spawn'; agentId: string; level: IsolationLevel }
  | { kind: 'agent'; agentId: string; event: AgentEvent }
  | { kind: 'cell'; event: CellEvent };

/** In the order in which they must be carried out: agents let go before the cell gives out anything. */
export function remedies(memories: Memories): Remedy[] {
  const { cell, agents } = memories;
  const spawned = Object.entries(cell.agents).filter(([, { spawned: is }]) => is);
  const of = (agentId: string): LivingAgent | undefined => agents.get(agentId);
  return [
    ...spawned.flatMap(([id]) => (of(id) ? [] : [spawning(cell, id)])), // Y3
    ...[...agents].flatMap(([id, { context }]) => strangerTo(cell, id, context)),
    ...spawned.flatMap(([id]) => configuring(cell, id, of(id)?.context)),
    ...Object.entries(cell.tasks).flatMap(([id, task]) => forgotten(memories, id, task)),
    ...spawned.flatMap(([id, known]) => agreement(memories, id, known)),
    ...spawned.flatMap(([id, known]) => statusNews(id, known, of(id)?.context)),
  ];
}

function spawning(cell: CellContext, agentId: string): Remedy {
  return { kind: 'spawn', agentId, level: isolationPlan(cell).level };
}

/** Y3 */
function strangerTo(cell: CellContext, agentId: string, { assignment }: AgentContext): Remedy[] {
  const known = findAgent(cell, agentId);
  if (!known) return [{ kind: 'agent', agentId, event: { type: 'agent.removed' } }];
  if (known.spawned || assignment === null) return [];
  return [withdrawal(agentId, assignment.taskId)];
}

function configuring(cell: CellContext, agentId: string, has: AgentContext | undefined): Remedy[] {
  const wanted = {
    agent: agentFileOf(cell, agentId),
    policies: policiesOf(cell, agentId).values,
    restart: restartOf(cell).value,
    level: isolationPlan(cell).level,
  };
  const { agent = null, policies = null, restart = null, level = null } = has ?? {};
  const present = { agent, policies, restart, level };
  if (has && jsonEqual(asJsonObject(wanted), asJsonObject(present))) return [];
  return [{ kind: 'agent', agentId, event: { type: 'agent.configured', ...wanted } }];
}

/** Y2, for a task that the cell would give out as if it had not been begun. */
function forgotten(memories: Memories, taskId: string, task: TaskState): Remedy[] {
  if (task.status !== 'pending') return [];
  const steps = stepsOf(memories.cell, taskId);
  const done = Math.min(task.stepsDone, task.stepsUnedited ?? task.stepsDone);
  const unsafe = steps
    .slice(done)
    .find((step) => !isSafe(step) && isKnownBegun(memories, taskId, step));
  if (!unsafe) return [];
  const reason = `${unknownText(unsafe.name)}; the records of it are lost`;
  return [{ kind: 'cell', event: { type: 'task.cancel', taskId, reason } }];
}

function isKnownBegun({ wasBegun, agents, cell }: Memories, taskId: string, step: Step): boolean {
  if (wasBegun(taskId, step.name)) return true;
  const index = stepsOf(cell, taskId).findIndex(({ name }) => name === step.name);
  return [...agents.values()].some(
    ({ context: { assignment, stepsDone }, isStepping }) =>
      assignment?.taskId === taskId && index < stepsDone + (isStepping ? 1 : 0),
  );
}

/** Y1, Y2: the task in hand, as both sides have it. */
function agreement(memories: Memories, agentId: string, known: AgentState): Remedy[] {
  const living = memories.agents.get(agentId);
  const held = living?.context.assignment ?? null;
  const taskId = known.currentTask;
  const task = taskId === null ? undefined : memories.cell.tasks[taskId];
  const strayed: Remedy = { kind: 'cell', event: { type: 'agent.strayed', agentId } };
  if (taskId === null || !task) return held === null ? [] : [strayed];
  const isSame = held?.taskId === taskId && held.attempt === task.attempt;
  const progress = progressOf(memories, taskId, isSame ? living : undefined);
  const letGo = held === null ? [] : [withdrawal(agentId, held.taskId)];
  const attempt = { agentId, taskId, attempt: task.attempt };
  if (progress.unsafe !== null)
    return [...letGo, ending(attempt, progress.done, unknownError(progress.unsafe))];
  if (progress.isProven) return [...letGo, ending(attempt, progress.done, null)];
  return isSame && !progress.isAgentBehind ? [] : [strayed];
}

interface Progress {
  done: number;
  /** The first step that would be begun though it may have run. */
  unsafe: string | null;
  /** The folder shows more done than the cell and the agent know. */
  isProven: boolean;
  isAgentBehind: boolean;
}

/** `agent`: the one that has the task in hand, if it knows of it. */
function progressOf(
  { cell, wasBegun, provenDone }: Memories,
  taskId: string,
  agent: LivingAgent | undefined,
): Progress {
  const steps = stepsOf(cell, taskId);
  const run = runOf(cell, taskId);
  const byCell = run?.stepsDone ?? 0;
  const byAgent = agent?.context.stepsDone ?? 0;
  const byFolder = steps.every(isSafe) ? 0 : provenDone(taskId, steps);
  const isAgentBehind = byAgent < byCell;
  // The step that the agent waits for has its entry in the ledger, which finds out about it.
  const answered = byAgent + (agent?.isStepping === true && !isAgentBehind ? 1 : 0);
  const done = Math.max(byCell, byAgent, byFolder <= answered ? 0 : byFolder);
  const unsafe = steps
    .slice(Math.max(done, answered))
    .find((step) => !isSafe(step) && (step.name === run?.step || wasBegun(taskId, step.name)));
  const isProven = byFolder > Math.max(byCell, answered);
  return { done, unsafe: unsafe?.name ?? null, isProven, isAgentBehind };
}

/** The attempt is over: the task fails for this reason, or is given out again from where it is known to be. */
function ending(
  attempt: { agentId: string; taskId: string; attempt: number },
  stepsDone: number,
  error: PlainError | null,
): Remedy {
  const event: CellEvent = {
    type: 'task.finished',
    ...attempt,
    outcome: error === null ? 'cancelled' : 'failed',
    result: { stepsDone, exitCode: null, artifacts: [] },
    error,
    retryable: false,
  };
  return { kind: 'cell', event };
}

/** What each last told the other of pauses and failures. */
function statusNews(agentId: string, known: AgentState, has: AgentContext | undefined): Remedy[] {
  const pauses = known.told === 'pause';
  const news: Remedy[] = [];
  if (pauses !== (has?.paused ?? false)) {
    const type = pauses ? 'agent.pause' : 'agent.resume';
    news.push({ kind: 'agent', agentId, event: { type } });
  }
  const { status, reason } = has ? statusOf(has) : { status: 'idle' as const, reason: null };
  const told = (text: string): string => (text === 'failed' || text === 'paused' ? text : 'well');
  if (told(status) === told(known.reported)) return news;
  const currentTask = known.currentTask;
  const event: CellEvent = { type: 'agent.reported', agentId, status, reason, currentTask };
  return [{ kind: 'cell', event }, ...news];
}

function withdrawal(agentId: string, taskId: string): Remedy {
  const reason = 'its cell does not know of it: records are lost';
  return { kind: 'agent', agentId, event: { type: 'task.withdrawn', taskId, reason } };
}

/** A task without steps is one step of its agent's own runner. */
function stepsOf(cell: CellContext, taskId: string): Step[] {
  const { steps } = taskFileOf(cell, taskId);
  return steps.length > 0 ? steps : [{ name: 'run', run: [], retry: 'never' }];
}

const unknownText = (step: string): string =>
  `step ${step} may have run; whether it is done is not known`;

function unknownError(step: string): PlainError {
  return { name: 'RuntimeError', code: 'OUTCOME_UNKNOWN', message: unknownText(step) };
}

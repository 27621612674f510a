/**
 * What became different from one status to the next, as lines for people: what `demo` and `status --watch` print where
 * there is no terminal to draw a table on.
 */
import type {
  AgentStatusView,
  CellStatusView,
  StatusView,
  TaskStatusView,
} from '../actors/status.ts';

/** Without `before`, everything is new. */
export function changesBetween(before: StatusView | undefined, after: StatusView): string[] {
  const { state, reason } = after.node;
  const known = new Map(before?.cells.map((cell) => [cell.cell_id, cell]));
  const doubts = new Set(before?.in_doubt.map(({ key }) => key));
  const held = new Set(before?.held.map(({ what, reason }) => `${what} ${reason}`));
  return [
    ...(state === before?.node.state ? [] : [`node: ${state}${because(reason)}`]),
    ...after.held
      .filter((item) => !held.has(`${item.what} ${item.reason}`))
      .map((item) => `${item.what}: held, ${item.reason}`),
    ...after.cells.filter(isTakenIn).flatMap((cell) => {
      const label = after.cells.length > 1 ? `${cell.cell_id.slice(0, 8)} ` : '';
      return cellChanges(known.get(cell.cell_id), cell).map((line) => `${label}${line}`);
    }),
    ...after.in_doubt
      .filter(({ key }) => !doubts.has(key))
      .map((doubt) => `in doubt: ${doubt.task_id}/${doubt.step}, agent ${doubt.agent_id}`),
  ];
}

/** A cell has a name once its files were read. */
const isTakenIn = (cell: CellStatusView): boolean => cell.mission_name !== '';

function cellChanges(before: CellStatusView | undefined, cell: CellStatusView): string[] {
  const agents = new Map(before?.agents.map((agent) => [agent.agent_id, agent]));
  const tasks = new Map(before?.tasks.map((task) => [task.task_id, task]));
  const isNew = cell.status !== before?.status || cell.reason !== before.reason;
  return [
    ...cell.agents.flatMap((agent) => agentChanges(agents.get(agent.agent_id), agent)),
    ...cell.tasks.flatMap((task) => taskChanges(tasks.get(task.task_id), task)),
    ...(isNew ? [`mission "${cell.mission_name}": ${cell.status}${because(cell.reason)}`] : []),
  ];
}

/** Idle and active follow from the tasks; a worker that comes and goes is no news either. */
function agentChanges(before: AgentStatusView | undefined, agent: AgentStatusView): string[] {
  const isTrouble = agent.status === 'failed' || agent.status === 'paused';
  const lines: string[] = [];
  if (isTrouble && agent.status !== before?.status)
    lines.push(`agent ${agent.agent_id}: ${agent.status}${because(agent.reason)}`);
  if (agent.revivals > (before?.revivals ?? 0))
    lines.push(`agent ${agent.agent_id}: revived, ${agent.revivals} in all`);
  return lines;
}

function taskChanges(before: TaskStatusView | undefined, task: TaskStatusView): string[] {
  const told = describe(task);
  if (before ? told === describe(before) : task.status === 'pending' && !task.blocked_reason)
    return [];
  return [`task ${task.task_id}: ${told}`];
}

function describe(task: TaskStatusView): string {
  const agent = task.status === 'in_progress' ? ` by ${task.assigned_to ?? 'nobody'}` : '';
  const step = task.current_step === null ? '' : `, ${task.current_step}`;
  const steps = task.steps_total === 0 ? '' : ` ${task.steps_done}/${task.steps_total}`;
  return `${task.status.replace('_', ' ')}${agent}${steps}${step}${because(task.blocked_reason)}`;
}

function because(reason: unknown): string {
  return typeof reason === 'string' && reason !== '' ? ` (${reason})` : '';
}

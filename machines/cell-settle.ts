/**
 * After every event a cell is brought to where its facts say it should be: level, not edge. Whatever changed (a file, the
 * host, a result, a request), the same function decides the phase, starts and configures agents, names what blocks a
 * task, hands out work and tells agents to pause or go on. Running it twice does nothing more than running it once.
 *
 * S1 Work is given out in phase `working` only, and only to agents that are started, idle and not told to pause.
 * S2 `completed` only when there is a task, all are completed, every checked criterion held and every other is confirmed.
 * S3 `failed` by its tasks only when one failed for good and no other is under way or could be begun by any agent.
 */
import type { JsonObject } from './json.ts';
import { asJsonObject, jsonEqual } from './json.ts';
import { DEFAULT_RESTART } from './mission.ts';
import type { AgentFile, RestartIntensity } from './mission.ts';
import { planIsolation } from './isolation.ts';
import type { IsolationPlan } from './isolation.ts';
import { effectivePolicies } from './policies.ts';
import type { EffectivePolicies, PolicyOrigin } from './policies.ts';
import { schedule } from './schedule.ts';
import type { PlannedTask } from './schedule.ts';
import { chooseAgent, whoCanDo } from './assignment.ts';
import type { Ability, Candidate } from './assignment.ts';
import { assignTask } from './cell-tasks.ts';
import type { CellDraft } from './cell-draft.ts';
import {
  agentFileOf,
  CELL_PATH,
  cellFileOf,
  configPoliciesOf,
  findAgent,
  isolationOf,
  permissionsOf,
  taskFileOf,
} from './cell-context.ts';
import type { CellContext, Phase } from './cell-context.ts';

interface Position {
  phase: Phase;
  reason: string | null;
}

export function settle(draft: CellDraft): void {
  const outer = outerPosition(draft.context);
  if (outer.phase === 'loading') return enter(draft, outer);
  if (outer.phase === 'working' || outer.phase === 'paused') startAgents(draft);
  configureAgents(draft);
  tellAgents(draft, outer.phase);
  const canGoOn = planTasks(draft, outer.phase === 'working');
  enter(draft, outer.phase === 'working' ? innerPosition(draft, canGoOn) : outer);
}

function enter(draft: CellDraft, { phase, reason }: Position): void {
  if (phase !== draft.context.phase || reason !== draft.context.reason)
    draft.patch({ phase, reason });
}

/** Everything but how far the tasks are: `working` stands for "may work". */
function outerPosition(context: CellContext): Position {
  const file = context.files[CELL_PATH];
  if (!file) return { phase: 'loading', reason: null };
  const { verdict } = context;
  if (verdict) return { phase: verdict.status, reason: verdict.reason };
  const hold = holdReason(context);
  if (hold !== null) return { phase: 'held', reason: hold };
  return { phase: context.pausedByPerson ? 'paused' : 'working', reason: null };
}

function holdReason(context: CellContext): string | null {
  if (context.runtimeHold !== null) return context.runtimeHold;
  if (context.files[CELL_PATH]?.removed) return 'cell.json was removed';
  return isolationPlan(context).refusal;
}

/** S2, S3 */
function innerPosition(draft: CellDraft, canGoOn: boolean): Position {
  const { context } = draft;
  const tasks = Object.entries(context.tasks);
  if (tasks.length > 0 && tasks.every(([, task]) => task.status === 'completed'))
    return judge(draft);
  if (context.checks !== null) draft.patch({ checks: null });
  const failed = tasks.find(([, task]) => task.status === 'failed');
  if (!failed || canGoOn) return { phase: 'working', reason: null };
  const [taskId, task] = failed;
  return {
    phase: 'failed',
    reason: `task ${taskId} failed (${task.blockedReason ?? 'no reason given'}) and nothing else can go on`,
  };
}

/** All tasks are completed: do the success criteria hold? */
function judge(draft: CellDraft): Position {
  const { checks, confirmed } = draft.context;
  const criteria = cellFileOf(draft.context).success_criteria;
  if (checks === null && criteria.some((criterion) => criterion.run !== undefined))
    return { phase: 'verifying', reason: null };
  const missed = checks?.find((check) => !check.ok);
  if (missed)
    return close(draft, 'failed', `criterion ${missed.name} does not hold: ${missed.detail}`);
  const open = criteria.find((c) => c.run === undefined && !Object.hasOwn(confirmed, c.name));
  if (open)
    return {
      phase: 'confirming',
      reason: `criterion ${open.name} waits for a person to confirm it`,
    };
  return close(draft, 'completed', null);
}

function close(draft: CellDraft, status: 'completed' | 'failed', reason: string | null): Position {
  draft.patch({ verdict: { status, reason, timedOut: false } });
  return { phase: status, reason };
}

/** Agents are started in the order of their ids, up to `max_agents`; one that runs is not stopped by a lower bound. */
function startAgents(draft: CellDraft): void {
  const bound = cellFileOf(draft.context).max_agents;
  const ids = Object.keys(draft.context.agents).sort();
  let running = ids.filter((id) => findAgent(draft.context, id)?.spawned).length;
  const { level } = isolationPlan(draft.context);
  for (const id of ids) {
    const agent = findAgent(draft.context, id);
    if (!agent || agent.spawned) continue;
    if (running >= bound) {
      const reason = `was not started: max_agents is ${bound}`;
      if (agent.reason !== reason) draft.setAgent(id, { reason });
      continue;
    }
    running += 1;
    draft.setAgent(id, { spawned: true, reason: null });
    draft.spawnAgent(id, { cellId: draft.context.cellId, agentId: id, level });
  }
}

/** Each started agent knows its file, policies, restart bounds and level; it hears of them again only when they change. */
function configureAgents(draft: CellDraft): void {
  const { before, context } = draft;
  const unchanged =
    before.files === context.files &&
    before.host === context.host &&
    before.daemonPolicies === context.daemonPolicies &&
    before.daemonRestart === context.daemonRestart;
  if (unchanged && before.agents === context.agents) return;
  for (const [id, agent] of Object.entries(context.agents)) {
    if (!agent.spawned) continue;
    const wasTold = findAgent(before, id)?.spawned === true;
    if (wasTold && unchanged) continue;
    const wanted = configurationOf(context, id);
    if (wasTold && jsonEqual(configurationOf(before, id), wanted)) continue;
    draft.tell(id, { type: 'agent.configured', ...configured(context, id) });
  }
}

function configured(context: CellContext, agentId: string) {
  return {
    agent: agentFileOf(context, agentId),
    policies: policiesOf(context, agentId).values,
    restart: restartOf(context).value,
    level: isolationPlan(context).level,
  };
}

function configurationOf(context: CellContext, agentId: string): JsonObject {
  return asJsonObject(configured(context, agentId));
}

/** The policies that hold for an agent, with the file each comes from. */
export function policiesOf(context: CellContext, agentId: string): EffectivePolicies {
  return effectivePolicies({
    agent: agentFileOf(context, agentId).policies,
    cell: cellFileOf(context).policies,
    config: configPoliciesOf(context),
    daemon: context.daemonPolicies,
  });
}

/** The restart intensity that holds for each agent of the cell; only the cell's own file and the daemon have a say. */
export function restartOf(context: CellContext): { value: RestartIntensity; origin: PolicyOrigin } {
  const own = cellFileOf(context).restart;
  if (own) return { value: own, origin: 'cell.json' };
  const { daemonRestart } = context;
  return daemonRestart
    ? { value: daemonRestart, origin: 'daemon' }
    : { value: DEFAULT_RESTART, origin: 'default' };
}

/** The level that holds, what is enforced and what this host cannot give. */
export function isolationPlan(context: CellContext): IsolationPlan {
  return planIsolation(cellFileOf(context), isolationOf(context), context.host);
}

function tellAgents(draft: CellDraft, phase: Phase): void {
  const standStill = phase === 'paused' || phase === 'held';
  for (const [id, agent] of Object.entries(draft.context.agents)) {
    if (!agent.spawned) continue;
    const told = standStill || agent.pausedByPerson ? 'pause' : 'run';
    if (told === agent.told) continue;
    draft.setAgent(id, { told });
    draft.tell(id, { type: told === 'pause' ? 'agent.pause' : 'agent.resume' });
  }
}

/** Names what blocks each task and, if `handOut`, gives out what is ready (S1). Answers whether anything can go on. */
function planTasks(draft: CellDraft, handOut: boolean): boolean {
  const { context } = draft;
  const candidates = candidatesOf(context);
  const able = new Map<string, Candidate[]>();
  const { ready, blocked } = schedule(plannedTasks(context), (taskId) => {
    const ability = abilityFor(context, taskId, candidates);
    if (ability.agents === null) return ability.reason;
    able.set(taskId, ability.agents);
    const choice = chooseAgent(ability.agents);
    return choice.kind === 'wait' ? choice.reason : null; // what waits behind it is blocked as well
  });
  const reasons = new Map<string, string | null>(blocked);
  for (const taskId of ready) {
    const agents = able.get(taskId);
    if (!agents) continue;
    const choice = chooseAgent(agents);
    if (choice.kind === 'wait') reasons.set(taskId, choice.reason);
    else if (handOut) {
      assignTask(draft, taskId, choice.agentId);
      const taken = agents.find((candidate) => candidate.id === choice.agentId);
      if (taken) taken.free = false;
    }
  }
  showReasons(draft, reasons);
  return (
    able.size > 0 || Object.values(context.tasks).some(({ status }) => status === 'in_progress')
  );
}

function plannedTasks(context: CellContext): PlannedTask[] {
  return Object.entries(context.tasks).map(([id, { status, assignedTo }]) => {
    const { dependencies, priority, created_at: createdAt } = taskFileOf(context, id);
    const agentId = status === 'in_progress' ? assignedTo : null;
    const failed = agentId !== null && findAgent(context, agentId)?.reported === 'failed';
    return { id, status, dependencies, priority, createdAt, failedAgent: failed ? agentId : null };
  });
}

function abilityFor(context: CellContext, taskId: string, candidates: Candidate[]): Ability {
  const wishedAgent = context.tasks[taskId]?.wishedAgent ?? null;
  const applicant = { taskId, file: taskFileOf(context, taskId), wishedAgent };
  return whoCanDo(applicant, candidates, permissionsOf(context));
}

export function candidatesOf(context: CellContext): Candidate[] {
  return Object.entries(context.agents).map(([id, agent]) => ({
    id,
    file: agentFileOf(context, id),
    asks: context.hasModels === true && asksModels(agentFileOf(context, id)),
    free:
      agent.spawned &&
      agent.told === 'run' &&
      agent.reported !== 'failed' &&
      agent.reported !== 'paused' &&
      agent.currentTask === null,
    unavailable: hindrance(agent.pausedByPerson, agent.reported === 'failed', agent.reason),
    finished: agent.finished,
  }));
}

/** An agent about which nothing is said works with a model. */
const asksModels = ({ runner }: AgentFile): boolean =>
  runner === undefined || runner.kind === 'llm';

function hindrance(paused: boolean, failed: boolean, reason: string | null): string | null {
  if (failed) return 'failed';
  return paused ? 'is paused' : reason;
}

function showReasons(draft: CellDraft, reasons: ReadonlyMap<string, string | null>): void {
  for (const [id, task] of Object.entries(draft.context.tasks)) {
    if (task.status !== 'pending') continue;
    const blockedReason = reasons.get(id) ?? null;
    if (task.blockedReason !== blockedReason) draft.setTask(id, { blockedReason });
  }
}

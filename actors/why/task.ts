/** Why a task stands where it stands. A task that waits for others is answered by what those wait for. */
import { agentAddress, cellAddress } from '../../machines/addresses.ts';
import {
  agentStatus,
  findAgent,
  findTask,
  runOf,
  stepsDoneOf,
} from '../../machines/cell-context.ts';
import { taskFileOf } from '../../machines/cell-context.ts';
import type { AgentState, CellContext, TaskState } from '../../machines/cell-context.ts';
import type { WhyReader } from './explanation.ts';
import { NO_FOCUS, sentence } from './explanation.ts';
import type { Explanation, Fact, Need } from './explanation.ts';
import { caseOf } from './lazarus-case.ts';
import type { Case } from './lazarus-case.ts';
import { policyFacts } from './policies.ts';
import { fullName } from './subject.ts';
import { waitsOf } from './waits.ts';

export function explainTask(
  reader: WhyReader,
  context: CellContext,
  taskId: string,
): Omit<Explanation, 'cell_id' | 'path'> {
  const { cellId } = context;
  const task = findTask(context, taskId) as TaskState;
  const roots = task.status === 'pending' ? rootsOf(context, taskId) : [];
  const agents = [task, ...roots.map((id) => findTask(context, id))]
    .map((state) => (state?.status === 'completed' ? null : (state?.assignedTo ?? null)))
    .filter((id) => id !== null);
  const cases = agents.map((agentId) => caseOf(reader, context, { cellId, agentId }));
  const open = cases.filter((found) => found?.isOpen === true);
  const agentId = task.assignedTo;
  const agent = agentId === null ? undefined : reader.actor(agentAddress(cellId, agentId));
  return {
    kind: 'task',
    id: fullName({ kind: 'task', cellId, taskId }),
    answer: answerOf(context, { taskId, task, roots }, open[0]),
    facts: [...factsOf(context, taskId, task), ...complaints(reader, cellId, task)],
    policies:
      open[0]?.policies ??
      (task.status === 'failed' && agentId !== null
        ? policyFacts(context, agentId, 'max_retries')
        : []),
    next: [
      ...open.flatMap((found) => found?.next ?? []),
      ...(task.status === 'in_progress' ? waitsOf(reader, agent) : []),
    ],
    needs: [
      ...needsOf(context, taskId, task),
      ...roots.flatMap((id) => needsOf(context, id, findTask(context, id) as TaskState)),
      ...open.flatMap((found) => found?.needs ?? []),
    ],
    story: open[0]?.story ?? [],
    focus: {
      ...NO_FOCUS,
      cell: cellId,
      tasks: [taskId, ...roots],
      askers: task.assignedTo === null ? [] : [agentAddress(cellId, task.assignedTo)],
      agents: concerned(context, { taskId, task, agents, isLost: open.length > 0 }),
    },
  };
}

/** Agents whose own records are part of the story: lost, at a step in doubt, before it in hand, or gone from the mission. */
function concerned(
  context: CellContext,
  told: { taskId: string; task: TaskState; agents: readonly string[]; isLost: boolean },
): string[] {
  const { taskId, task, agents, isLost } = told;
  const { wishedAgent, handover } = task;
  const isGone = wishedAgent !== null && findAgent(context, wishedAgent) === undefined;
  return [
    ...new Set([
      ...(isLost || runOf(context, taskId)?.doubt ? agents : []),
      ...(handover ? [handover.from] : []),
      ...(isGone ? [wishedAgent] : []),
    ]),
  ];
}

interface Told {
  taskId: string;
  task: TaskState;
  roots: string[];
}

function answerOf(context: CellContext, told: Told, trouble: Case | undefined): string {
  const { taskId, task } = told;
  const name = `task ${taskId}`;
  switch (task.status) {
    case 'completed':
      return sentence(
        `${name} is completed, by agent ${task.assignedTo ?? '?'}`,
        at(task.completedAt),
      );
    case 'failed':
      return sentence(
        `${name} failed for good: ${task.blockedReason ?? 'no reason was given'}.`,
        again(context, taskId),
      );
    case 'in_progress':
      return underWay(context, told, trouble);
    case 'pending':
      return waiting(context, told, trouble);
    default:
      return task.status satisfies never;
  }
}

function underWay(context: CellContext, { taskId, task }: Told, trouble: Case | undefined): string {
  const run = runOf(context, taskId);
  const agentId = task.assignedTo ?? '?';
  if (run?.doubt)
    return sentence(
      `task ${taskId} is in doubt: ${run.doubt.split(';')[0] ?? run.doubt}.`,
      stepDeclares(context, taskId, run.step),
      trouble ? `${trouble.answer}.` : null,
    );
  const agent = findAgent(context, agentId);
  if (agent && (agentStatus(agent) === 'failed' || trouble?.isHeld === true))
    return sentence(
      `task ${taskId} stands still because its agent ${agentId} failed: ${failureOf(agent, trouble)}.`,
      trouble ? `${trouble.answer}.` : null,
    );
  const total = taskFileOf(context, taskId).steps.length;
  const step = run?.step ? `, now at step ${run.step}` : '';
  const steps = total > 0 ? ` (${stepsDoneOf(context, taskId)} of ${total} steps done${step})` : '';
  const pause = stillBecause(context, agentId);
  if (pause === null) return sentence(`task ${taskId} runs at agent ${agentId}${steps}`);
  const still = run?.step ? `stands still when step ${run.step} has ended` : 'stands still';
  return sentence(
    `task ${taskId} is in the hands of agent ${agentId}${steps} and ${still}: ${pause}`,
  );
}

/** With Lazarus' own words behind it, what they made of it need not be said twice. */
function failureOf({ reason }: AgentState, trouble: Case | undefined): string {
  return trouble?.failure ?? reason ?? 'no reason was given';
}

function waiting(
  context: CellContext,
  { taskId, task, roots }: Told,
  trouble: Case | undefined,
): string {
  const phase = phaseProblem(context);
  const others = roots
    .filter((id) => id !== taskId)
    .map((id) => {
      const state = findTask(context, id);
      const why = state?.blockedReason ?? runOf(context, id)?.doubt ?? null;
      const isTold = trouble !== undefined && why?.startsWith('agent ') === true; // behind this, in Lazarus' words
      const told = isTold
        ? `agent ${state?.assignedTo ?? '?'} failed: ${trouble.failure ?? '?'}`
        : why;
      return `task ${id} is ${state?.status ?? 'unknown'}${told === null ? '' : ` (${told})`}`;
    });
  const deeper = roots.length > 0 && others.length > 0;
  const ready = readyFor(context, task);
  const because =
    task.blockedReason ?? (deeper ? 'tasks before it are not completed' : (phase ?? ready));
  return sentence(
    `task ${taskId} waits: ${because.replace(/^waits /, '')}.`,
    others.length > 0 ? `At the root of it: ${others.join('; ')}.` : null,
    trouble ? `${trouble.answer}.` : null,
    task.blockedReason !== null && phase !== null ? `Besides, ${phase}.` : null,
  );
}

function readyFor(context: CellContext, { wishedAgent }: TaskState): string {
  if (wishedAgent === null) return 'it is ready, and the next free agent that may do it takes it';
  const inHand = findAgent(context, wishedAgent)?.currentTask ?? null;
  const atWork = inHand === null ? '' : `, which is at task ${inHand}`;
  return `it is ready, and waits for its agent ${wishedAgent}${atWork}`;
}

function stepDeclares(context: CellContext, taskId: string, name: string | null): string | null {
  const step = taskFileOf(context, taskId).steps.find((known) => known.name === name);
  if (step === undefined) return null;
  return step.retry === 'never'
    ? 'Its file says retry "never", so it is not run again unless a person says that it did nothing.'
    : 'Its probe could not tell how it ended, so a person is asked.';
}

/** Why it was not tried again by itself. */
function again(context: CellContext, taskId: string): string {
  const unsafe = taskFileOf(context, taskId).steps.filter(({ retry }) => retry !== 'safe');
  const [first] = unsafe;
  return first
    ? `It is not tried again by itself: step ${first.name} is not declared retry "safe".`
    : 'Its automatic tries (max_retries) are used up, or a person ended it.';
}

function stillBecause(context: CellContext, agentId: string): string | null {
  const agent = findAgent(context, agentId);
  if (agent?.pausedByPerson) return `agent ${agentId} was paused by a person`;
  return phaseProblem(context);
}

function phaseProblem(context: CellContext): string | null {
  const { phase, reason } = context;
  if (phase === 'working' || phase === 'verifying' || phase === 'confirming') return null;
  return `the mission is ${phase}${reason === null ? '' : `: ${reason}`}`;
}

/** The tasks that it waits for in the end: not completed, and waiting for no other. A cycle ends where it closes. */
function rootsOf(context: CellContext, taskId: string): string[] {
  const roots = new Set<string>();
  const seen = new Set<string>([taskId]);
  const open = [...openDependencies(context, taskId)];
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    if (seen.has(id)) continue;
    seen.add(id);
    const more = openDependencies(context, id);
    if (more.length === 0 && findTask(context, id)) roots.add(id);
    else open.push(...more);
  }
  return [...roots].slice(0, MAX_ROOTS);
}

/** More would not help the reader. */
const MAX_ROOTS = 5;

const openDependencies = (context: CellContext, taskId: string): string[] =>
  taskFileOf(context, taskId).dependencies.filter(
    (id) => findTask(context, id)?.status !== 'completed',
  );

function factsOf(context: CellContext, taskId: string, task: TaskState): Fact[] {
  const run = runOf(context, taskId);
  const total = taskFileOf(context, taskId).steps.length;
  return [
    { name: 'status', value: task.status },
    ...(task.assignedTo === null ? [] : [{ name: 'agent', value: task.assignedTo }]),
    ...(task.status === 'in_progress' ? [{ name: 'chosen because', value: choiceOf(task) }] : []),
    ...(task.attempt === 0 ? [] : [{ name: 'attempt', value: task.attempt }]),
    ...(total === 0
      ? []
      : [{ name: 'steps', value: `${stepsDoneOf(context, taskId)} of ${total} done` }]),
    ...(run?.step ? [{ name: 'step', value: run.step }] : []),
    ...(task.blockedReason === null ? [] : [{ name: 'reason', value: task.blockedReason }]),
  ];
}

/** Nothing has failed, and yet it may be why nothing moves. */
function complaints(reader: WhyReader, cellId: string, { status, assignedTo }: TaskState): Fact[] {
  if (status !== 'in_progress') return [];
  const cell = reader.status().cells.find(({ cell_id: id }) => id === cellId);
  const complaint = cell?.agents.find(({ agent_id: id }) => id === assignedTo)?.complaint ?? null;
  return complaint === null ? [] : [{ name: 'not well', value: complaint }];
}

const choiceOf = ({ wishedAgent, assignedTo, handover }: TaskState): string =>
  handover !== null
    ? `it was handed over by ${handover.from}, which failed`
    : wishedAgent !== null && wishedAgent === assignedTo
      ? 'its file names the agent (assigned_to)'
      : 'the agent was free, and its role, capabilities and permissions allow it';

function needsOf(context: CellContext, taskId: string, task: TaskState): Need[] {
  const name = `${context.cellId}/${taskId}`;
  if (runOf(context, taskId)?.doubt)
    return [
      {
        what: `look at what the step did (artifacts/logs/${taskId}/), then say how it ended`,
        command: `lazarus doubt done|retry|fail ${name}`,
      },
    ];
  if (task.status === 'failed')
    return [{ what: 'to try it again', command: `lazarus task retry ${name}` }];
  return task.status === 'completed' ? [] : resumeNeeds(context, task.assignedTo);
}

export function resumeNeeds(context: CellContext, agentId: string | null): Need[] {
  const { cellId } = context;
  const agent = agentId === null ? undefined : findAgent(context, agentId);
  return [
    ...(context.pausedByPerson || context.phase === 'failed'
      ? [{ what: 'to let the mission go on', command: `lazarus cell resume ${cellId}` }]
      : []),
    ...(agent?.pausedByPerson
      ? [{ what: 'to let the agent go on', command: `lazarus agent resume ${cellId}/${agentId}` }]
      : []),
    ...(context.phase === 'held' && context.runtimeHold !== null
      ? [
          {
            what: 'once that is mended',
            command: `lazarus cell release ${cellAddress(cellId)}`,
          },
        ]
      : []),
  ];
}

const at = (time: string | null): string | null => (time === null ? null : `at ${time}`);

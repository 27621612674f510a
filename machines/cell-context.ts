/**
 * What a cell knows: the people's content of every file, and beside it what the runtime knows of each task and agent.
 * Plain JSON, for it is journaled and checkpointed. Ids come from people: a record is asked with `Object.hasOwn`, so that
 * an agent may be called `constructor`.
 */
import type { Handover } from './events.ts';
import type { JsonObject } from './json.ts';
import type {
  AgentFile,
  AgentStatus,
  CellFile,
  HostCapabilities,
  IsolationFile,
  PermissionsFile,
  Policies,
  RestartIntensity,
  Step,
  TaskFile,
  TaskStatus,
} from './mission.ts';
import type { FileState } from './merge.ts';
import {
  readAgent,
  readCell,
  readIsolation,
  readPermissions,
  readPolicies,
  readTask,
} from './mission-defaults.ts';

/** Where a cell is in its life; the states of the machine follow it. */
export type Phase =
  'loading' | 'held' | 'working' | 'verifying' | 'confirming' | 'paused' | 'completed' | 'failed';

export interface TaskState {
  status: TaskStatus;
  /** The agent that people want, or that took it over; null: whoever can. */
  wishedAgent: string | null;
  /** Whom it was taken over from, when it was. */
  handover: Handover | null;
  /** The agent that has it, or finished it. */
  assignedTo: string | null;
  /** Attempts begun in all; names the attempt that runs. */
  attempt: number;
  /** `attempt` when a person last asked for another try: automatic retries are counted from here. */
  attemptBase: number;
  /** When the last attempt ended; for one under way see `RunState`. */
  stepsDone: number;
  /** How many leading steps are still what they were when they were done; null: all. */
  stepsUnedited: number | null;
  /** Declared outputs, and what finished tasks said they made. */
  artifacts: string[];
  completedAt: string | null;
  blockedReason: string | null;
  result: JsonObject | null;
}

/** How far an attempt is. It stands with the agent: few agents run, so news of a step copy little. */
export interface RunState {
  /** The agent said that it began, and its right was looked at once more. */
  started: boolean;
  /** Name of the step under way; null between steps. */
  step: string | null;
  stepsDone: number;
  /** Why the runtime cannot know how the step under way ended. */
  doubt: string | null;
}

export interface AgentState {
  /** `failed` and `paused` as the agent reported them; otherwise see `agentStatus`. */
  reported: AgentStatus;
  reason: string | null;
  /** At most one task (C1). */
  currentTask: string | null;
  /** Of the current task; null without one. */
  run: RunState | null;
  checkpoint: JsonObject | null;
  pausedByPerson: boolean;
  /** What it was last told, so that it is told only on change. */
  told: 'run' | 'pause';
  spawned: boolean;
  /** Tasks completed, to share the work evenly. */
  finished: number;
}

export interface CheckResult {
  name: string;
  ok: boolean;
  detail: string;
}

export interface Note {
  at: number;
  text: string;
}

export interface CellContext {
  cellId: string;
  phase: Phase;
  /** Why it is held or failed; null otherwise. */
  reason: string | null;
  files: Record<string, FileState>;
  tasks: Record<string, TaskState>;
  agents: Record<string, AgentState>;
  host: HostCapabilities;
  /** From the daemon's configuration. */
  daemonPolicies: Partial<Policies>;
  daemonRestart: RestartIntensity | null;
  /** Absent: false. */
  hasModels?: boolean;
  pausedByPerson: boolean;
  /** Set by the runtime: another owner, a duplicate, records that are missing. */
  runtimeHold: string | null;
  /** An end that stays until somebody asks for more: completed, timed out, cancelled, criteria not met. */
  verdict: { status: 'completed' | 'failed'; reason: string | null; timedOut: boolean } | null;
  /** Results of the criteria that are checked by a command; null: to be checked. */
  checks: CheckResult[] | null;
  confirmed: Record<string, { by: string; at: number }>;
  /** Active time used up by earlier active spans, in ms. */
  usedMs: number;
  /** `up` when the present active span began; null outside. */
  activeSince: number | null;
  /** The timeout, in seconds, that the present span was armed with. */
  armedTimeout: number;
  notes: Note[];
}

export interface CellInput {
  cellId: string;
  /** What the daemon's configuration says about policies. */
  policies?: Partial<Policies>;
  restart?: RestartIntensity | null;
  models?: boolean;
}

export const CELL_PATH = 'cell.json';
export const agentPath = (agentId: string): string => `agents/${agentId}.json`;
export const taskPath = (taskId: string): string => `tasks/${taskId}.json`;

export function freshCell(input: CellInput): CellContext {
  return {
    cellId: input.cellId,
    phase: 'loading',
    reason: null,
    files: {},
    tasks: {},
    agents: {},
    host: { levels: ['none', 'level_1'], limits: [] },
    daemonPolicies: input.policies ?? {},
    daemonRestart: input.restart ?? null,
    hasModels: input.models ?? false,
    pausedByPerson: false,
    runtimeHold: null,
    verdict: null,
    checks: null,
    confirmed: {},
    usedMs: 0,
    activeSince: null,
    armedTimeout: 0,
    notes: [],
  };
}

const NOTHING: JsonObject = {};

/** Reading a context: files with their defaults, records by id. */
export function cellFileOf(context: CellContext): CellFile {
  return readCell(context.files[CELL_PATH]?.people ?? NOTHING);
}
export function agentFileOf(context: CellContext, agentId: string): AgentFile {
  return readAgent(context.files[agentPath(agentId)]?.people ?? NOTHING);
}
export function taskFileOf(context: CellContext, taskId: string): TaskFile {
  return readTask(context.files[taskPath(taskId)]?.people ?? NOTHING);
}
export function isolationOf(context: CellContext): IsolationFile {
  return readIsolation(context.files['config/isolation.json']?.people ?? NOTHING);
}
export function permissionsOf(context: CellContext): PermissionsFile {
  return readPermissions(context.files['config/permissions.json']?.people ?? NOTHING);
}
export function configPoliciesOf(context: CellContext): Partial<Policies> {
  return readPolicies(context.files['config/policies.json']?.people);
}
export function findTask(context: CellContext, taskId: string): TaskState | undefined {
  return Object.hasOwn(context.tasks, taskId) ? context.tasks[taskId] : undefined;
}
export function findAgent(context: CellContext, agentId: string): AgentState | undefined {
  return Object.hasOwn(context.agents, agentId) ? context.agents[agentId] : undefined;
}

/** How far the attempt under way is; null when the task is not in progress. */
export function runOf(context: CellContext, taskId: string): RunState | null {
  const agentId = findTask(context, taskId)?.assignedTo;
  const agent = agentId ? findAgent(context, agentId) : undefined;
  return agent?.currentTask === taskId ? agent.run : null;
}

export function stepsDoneOf(context: CellContext, taskId: string): number {
  return runOf(context, taskId)?.stepsDone ?? findTask(context, taskId)?.stepsDone ?? 0;
}

/** What an agent's file and the status show: a fault first, then a pause, then whether it has work. */
export function agentStatus(agent: AgentState): AgentStatus {
  if (agent.reported === 'failed') return 'failed';
  if (agent.reported === 'paused' || (agent.pausedByPerson && !agent.spawned)) return 'paused';
  return agent.currentTask === null ? 'idle' : 'active';
}

export const isSafe = (step: Step): boolean => step.retry === 'safe';

/**
 * What an agent knows, and the pure answers that its machine asks for: which status it has, what it tells its cell and
 * Lazarus, how an attempt ended. Everything is built from the context and the event alone.
 */
import type { Assignment, CellEvent, Failure, FailureKind, TaskResult } from './events.ts';
import type { PlainError } from './errors.ts';
import { DEFAULT_POLICIES, DEFAULT_RESTART } from './mission.ts';
import type { AgentFile, AgentStatus, IsolationLevel, Policies } from './mission.ts';
import type { RestartIntensity, Step } from './mission.ts';
import { isSafe } from './cell-context.ts';
import { queuedWords, underWayWords } from './revival-outlook.ts';
import type { StepOutput, WorkerGone } from './agent-effects.ts';

export interface AgentContext {
  cellId: string;
  agentId: string;
  level: IsolationLevel;
  agent: AgentFile | null;
  policies: Policies;
  restart: RestartIntensity;
  assignment: Assignment | null;
  /** Steps of the assignment that are done; also the index of the next one. */
  stepsDone: number;
  /** Of the last step that ran in this attempt. */
  exitCode: number | null;
  /** The context was written for this attempt, so steps may begin. */
  begun: boolean;
  /** Told to pause. The step under way finishes. */
  paused: boolean;
  /** Nobody knows how the step under way ended: the task's clock stands still until that is settled. */
  inDoubt: boolean;
  /** Paused and no step under way: the task's clock stands still. */
  resting: boolean;
  /** Why its worker is gone; null while all is well. `reason`: that, and what Lazarus does or wants at this moment. */
  lost: { failure: Failure; reason: string } | null;
  /** The revival under way, until it is verified, and how often it was tried. */
  revivalId: string | null;
  attempt: number;
  /** Why its worker is being ended; it is lost, for this reason, when the worker is gone. */
  condemned: Failure | null;
  /** sha256 of the context file as it was last written. */
  contextHash: string | null;
  /** How often it was lost and brought back, in all. */
  failures: number;
  revivals: number;
  /** Steps finished, in all; failures at the same number made no progress in between. */
  progress: number;
  /** Its worker waits its turn to start. */
  queued: boolean;
  /** Of the worker, for people to see. The effect's own handle decides, not this number. */
  pid: number | null;
  /** What the cell takes the agent's status to be. */
  told: { status: AgentStatus; reason: string | null };
  /** Active time of the attempt used by earlier spans, in ms, and `up` when the present span began. */
  usedMs: number;
  activeSince: number | null;
  /** `up` when the context was last written. */
  savedAt: number;
}

export interface AgentInput {
  cellId: string;
  agentId: string;
  level: IsolationLevel;
}

export function freshAgentContext(input: AgentInput & { up: number }): AgentContext {
  return {
    cellId: input.cellId,
    agentId: input.agentId,
    level: input.level,
    agent: null,
    policies: DEFAULT_POLICIES,
    restart: DEFAULT_RESTART,
    assignment: null,
    stepsDone: 0,
    exitCode: null,
    begun: false,
    paused: false,
    resting: false,
    inDoubt: false,
    lost: null,
    revivalId: null,
    attempt: 0,
    condemned: null,
    contextHash: null,
    failures: 0,
    revivals: 0,
    progress: 0,
    queued: false,
    pid: null,
    told: { status: 'idle', reason: null },
    usedMs: 0,
    activeSince: null,
    savedAt: input.up,
  };
}

/** Lost is said before paused: a person must see it. */
export function statusOf(context: AgentContext): AgentContext['told'] {
  if (context.lost) return { status: 'failed', reason: context.lost.reason };
  if (context.paused) return { status: 'paused', reason: null };
  return { status: context.assignment ? 'active' : 'idle', reason: null };
}

/** What people are told of its loss while it is being brought back. */
export function lostReviving(context: AgentContext): AgentContext['lost'] {
  const { lost, revivalId, attempt, queued } = context;
  if (lost === null || revivalId === null) return lost;
  const isSilent = lost.failure.reason === 'silent';
  const revival = { revivalId, attempt, isSilent };
  const words = queued ? queuedWords(revival) : underWayWords(revival);
  return { ...lost, reason: `${lost.failure.message}; ${words}` };
}

export function nextStep(context: AgentContext): Step | null {
  return context.assignment?.steps[context.stepsDone] ?? null;
}

/** When the attempt has used up its time, on the clock of active time. */
export function taskDeadline(context: AgentContext): number {
  const timeoutMs = (context.assignment?.timeout ?? 0) * 1000;
  return (context.activeSince ?? 0) + timeoutMs - context.usedMs;
}

export function progressed(context: AgentContext, step: string | null): CellEvent | null {
  const { agentId, assignment, stepsDone } = context;
  if (!assignment) return null;
  const { taskId, attempt } = assignment;
  return { type: 'task.progressed', agentId, taskId, attempt, stepsDone, step };
}

export type Ending =
  | { outcome: 'completed'; artifacts: string[] }
  | { outcome: 'failed'; error: PlainError; retryable: boolean };

export function finished(context: AgentContext, ending: Ending): CellEvent | null {
  const { agentId, assignment, stepsDone, exitCode } = context;
  if (!assignment) return null;
  const { taskId, attempt } = assignment;
  const completed = ending.outcome === 'completed';
  const result: TaskResult = { stepsDone, exitCode, artifacts: completed ? ending.artifacts : [] };
  return {
    type: 'task.finished',
    agentId,
    taskId,
    attempt,
    outcome: ending.outcome,
    result,
    error: completed ? null : ending.error,
    retryable: completed ? false : ending.retryable,
  };
}

/** A known failure is tried again only if every step says that it may run again. */
export function failed(context: AgentContext, error: PlainError): Ending {
  const isSure = error.code === 'MODEL_DECLINED'; // asked again, it says so again
  const retryable = !isSure && (context.assignment?.steps.every(isSafe) ?? false);
  return { outcome: 'failed', error, retryable };
}

export function stepFailed(context: AgentContext, output: StepOutput): Ending {
  const step = nextStep(context);
  return failed(context, {
    name: 'RuntimeError',
    code: 'STEP_FAILED',
    message: `step ${step?.name ?? '?'} ${howItEnded(output, step)}`,
  });
}

function howItEnded(output: StepOutput, step: Step | null): string {
  if (output.timedOut) return `ran longer than its timeout${seconds(step?.timeout)}`;
  return output.signal === null
    ? `exited with code ${output.exitCode ?? '?'}`
    : `was ended by ${output.signal}`;
}

export function timedOut(context: AgentContext): Ending {
  const ranLong = `the task ran longer than its timeout${seconds(context.assignment?.timeout)}`;
  const message = `${ranLong}${cutOff(context)}`;
  return failed(context, { name: 'RuntimeError', code: 'STEP_FAILED', message });
}

/** Whoever tries the task again must know of a step that may have run and may not run twice. */
function cutOff(context: AgentContext): string {
  const step = nextStep(context);
  if (step === null || isSafe(step) || !context.begun) return '';
  return `; its step ${step.name} was cut off by that and may have run`;
}

export function artifactsMissing(context: AgentContext, missing: readonly string[]): Ending {
  const message = `declared artifacts are missing: ${missing.join(', ')}`;
  return failed(context, { name: 'RuntimeError', code: 'STEP_FAILED', message });
}

function seconds(timeout: number | undefined): string {
  return timeout === undefined ? '' : ` of ${timeout} s`;
}

export interface Cause {
  reason: FailureKind;
  signature: string;
  text: string;
}

/** The story of a failure. The signature holds nothing that differs between two failures of the same kind. */
export function failureOf(context: AgentContext, { reason, ...cause }: Cause): Failure {
  const taskId = context.assignment?.taskId ?? null;
  const step = taskId === null ? null : (nextStep(context)?.name ?? null);
  const place = taskId === null ? 'idle' : `${taskId}/${step ?? 'end'}`;
  const during = taskId === null ? '' : ` during task ${taskId}${step ? `, step ${step}` : ''}`;
  return {
    reason,
    signature: `${reason}:${cause.signature}@${place}`,
    message: `${cause.text}${during}`,
    taskId,
    step,
    progress: context.progress,
  };
}

/** How a worker came to its end; one that never answered did not start. */
export function causeOfExit(
  { code, signal, cause = 'exit', detail }: WorkerGone,
  answered: boolean,
): Cause {
  const more = detail === undefined ? '' : ` (${detail})`;
  if (cause === 'hung')
    return { reason: 'worker_hung', signature: 'hung', text: `the worker was hung${more}` };
  if (cause === 'stuck')
    return { reason: 'no_progress', signature: 'stuck', text: `the worker was stuck${more}` };
  const reason = answered ? 'worker_exit' : 'worker_start';
  if (signal !== null)
    return { reason, signature: signal, text: `the worker was ended by ${signal}${more}` };
  const text = `the worker exited with code ${code ?? '?'}${more}`;
  return { reason, signature: String(code ?? 'gone'), text };
}

export function causeOfError(reason: FailureKind, error: PlainError): Cause {
  return { reason, signature: error.code ?? error.name, text: error.message };
}

/**
 * The effects that an agent asks for, as types: what each is handed and how it may end. The runtime binds them.
 *
 * `runWorker` starts the worker, tells the agent `worker.started`, and ends when the worker is surely gone.
 * `runStep` waits for a live worker, runs one step or settles one that was cut off, and ends with a known outcome only.
 * `verifyRevival` ends when the revived agent is whole, and fails when it is not. `endWorker` kills the agent's worker.
 * `writeContext` writes what the agent knows, durably; it may run again. `finishTask` looks at the declared artifacts.
 */
import type { AgentEvent, EffectDone, EffectFailed, Handover, Stamp } from './events.ts';
import type { IsolationLevel, Step } from './mission.ts';
import type { AgentContext } from './agent-context.ts';
import { nextStep } from './agent-context.ts';

export interface WorkerGone {
  code: number | null;
  signal: string | null;
  /** `hung`: it gave no sign of life and was killed. `stuck`: its step moved nothing for `progressTimeout`. Default `exit`. */
  cause?: 'exit' | 'hung' | 'stuck';
  /** For people: "no heartbeat for 3.1 s". */
  detail?: string;
}
export interface StepOutput {
  exitCode: number | null;
  signal: string | null;
  timedOut: boolean;
  /** The outcome was recorded by an earlier worker and taken over. */
  adopted: boolean;
}
export interface FinishedTask {
  /** Of the declared artifacts, those that are there and those that are not. */
  artifacts: string[];
  missing: string[];
}
export interface RunWorkerInput {
  cellId: string;
  agentId: string;
  revivalId: string | null;
  /** Seconds a step may go without output or CPU time before its worker counts as stuck; null: it is only shown. */
  progressTimeout: number | null;
}
export interface RunStepInput {
  cellId: string;
  agentId: string;
  taskId: string;
  attempt: number;
  stepIndex: number;
  step: Step;
  level: IsolationLevel;
  stdin?: string;
}
export interface FinishTaskInput {
  cellId: string;
  taskId: string;
  attempt: number;
  artifacts: string[];
}
/** What the agent knows at this moment; the effect adds the digests of what the steps put out. */
export interface WriteContextInput {
  cellId: string;
  agentId: string;
  taskId: string;
  attempt: number;
  stepsDone: number;
  step: string | null;
  /** Whom the task was taken over from, when it was. */
  handover?: Handover;
}
export interface WrittenContext {
  last_checkpoint: string;
  context_hash: string;
  artifacts: string[];
}

/** Whether an agent that answers again is whole: worker alive, context as it was written, the step cut off settled. */
export interface VerifyRevivalInput {
  cellId: string;
  agentId: string;
  revivalId: string;
  /** Null: the agent needs no worker now, or has none at its level. */
  pid: number | null;
  contextHash: string | null;
  /** What the context file should say, should it have to be written anew. Null between tasks. */
  context: WriteContextInput | null;
}
export interface VerifiedRevival {
  /** Files that had to be written anew. */
  repaired: string[];
  contextHash: string | null;
  /** Set when the context file was among them. */
  written?: WrittenContext;
}
export interface EndWorkerInput {
  cellId: string;
  agentId: string;
}

export type ContextWrite = 'beginContext' | 'pauseContext' | 'endContext' | 'periodicContext';
/** Every event as the kernel delivers it. */
export type DeliveredToAgent =
  | (AgentEvent & Stamp)
  | EffectDone<'worker', WorkerGone>
  | EffectFailed<'worker'>
  | EffectDone<'step', StepOutput>
  | EffectFailed<'step'>
  | EffectDone<'verify', VerifiedRevival>
  | EffectFailed<'verify'>
  | EffectDone<'endWorker'>
  | EffectFailed<'endWorker'>
  | EffectDone<'finish', FinishedTask>
  | EffectFailed<'finish'>
  | EffectDone<'deadline'>
  | EffectDone<'spareTime'>
  | EffectDone<'interval'>
  | EffectDone<ContextWrite, WrittenContext>
  | EffectFailed<ContextWrite>;

export function contextInput({ context }: { context: AgentContext }): WriteContextInput {
  const { cellId, agentId, assignment, stepsDone } = context;
  return {
    cellId,
    agentId,
    taskId: assignment?.taskId ?? '',
    attempt: assignment?.attempt ?? 0,
    stepsDone,
    step: nextStep(context)?.name ?? null,
    ...(assignment?.handover && { handover: assignment.handover }),
  };
}

export function stepInput({ context }: { context: AgentContext }): RunStepInput {
  const { cellId, agentId, assignment, stepsDone, level } = context;
  const stdin = assignment?.stdin;
  return {
    cellId,
    agentId,
    taskId: assignment?.taskId ?? '',
    attempt: assignment?.attempt ?? 0,
    stepIndex: stepsDone,
    step: nextStep(context) ?? { name: '', run: [], retry: 'never' },
    level,
    ...(stdin !== undefined && { stdin }),
  };
}

export function workerInput({ context }: { context: AgentContext }): RunWorkerInput {
  const { cellId, agentId, revivalId, policies } = context;
  return { cellId, agentId, revivalId, progressTimeout: policies.progress_timeout };
}

export function verifyInput({ context }: { context: AgentContext }): VerifyRevivalInput {
  const { cellId, agentId, revivalId, pid, contextHash, assignment } = context;
  const written = contextHash !== null && assignment !== null && context.begun;
  return {
    cellId,
    agentId,
    revivalId: revivalId ?? '',
    pid,
    contextHash: written ? contextHash : null,
    context: written ? contextInput({ context }) : null,
  };
}

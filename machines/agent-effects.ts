/**
 * The effects that an agent asks for, as types: what each is handed and how it may end. The runtime binds them.
 *
 * `runWorker` starts the worker, tells the agent `worker.started`, and ends when the worker is surely gone.
 * `runStep` waits for a live worker, runs one step or settles one that was cut off, and ends with a known outcome only.
 * `writeContext` writes what the agent knows, durably; it may run again. `finishTask` looks at the declared artifacts.
 */
import type { AgentEvent, EffectDone, EffectFailed, Stamp } from './events.ts';
import type { IsolationLevel, Step } from './mission.ts';
import type { AgentContext } from './agent-context.ts';
import { nextStep } from './agent-context.ts';

export interface WorkerGone {
  code: number | null;
  signal: string | null;
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
}
export interface WrittenContext {
  last_checkpoint: string;
  context_hash: string;
  artifacts: string[];
}

export type ContextWrite = 'beginContext' | 'pauseContext' | 'endContext' | 'periodicContext';
/** Every event as the kernel delivers it. */
export type DeliveredToAgent =
  | (AgentEvent & Stamp)
  | EffectDone<'worker', WorkerGone>
  | EffectFailed<'worker'>
  | EffectDone<'step', StepOutput>
  | EffectFailed<'step'>
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

/**
 * The environments of our processes, made here and never taken over: the runtime's own may hold keys and tokens. The
 * LAZARUS_ variables tell a step where it stands, and are the marks by which processes.ts finds what is left of it.
 */
import { homedir } from 'node:os';
import type { StepRequest } from './step-runner.ts';

/** PATH, HOME and LANG of this process, or what a login would give. */
export function baseEnvironment(): Record<string, string> {
  return {
    PATH: process.env['PATH'] || '/usr/local/bin:/usr/bin:/bin',
    HOME: process.env['HOME'] || homedir(),
    LANG: process.env['LANG'] || 'C.UTF-8',
  };
}

export function workerEnvironment(worker: {
  nodeId: string;
  cellId: string;
  agentId: string;
}): Record<string, string> {
  return {
    ...baseEnvironment(),
    LAZARUS_NODE: worker.nodeId,
    LAZARUS_CELL: worker.cellId,
    LAZARUS_AGENT: worker.agentId,
  };
}

export function stepEnvironment(request: StepRequest, attempt: number): Record<string, string> {
  return {
    ...workerEnvironment(request),
    LAZARUS_TASK: request.taskId,
    LAZARUS_STEP: request.name,
    LAZARUS_ATTEMPT: String(attempt),
    LAZARUS_KEY: request.key,
  };
}

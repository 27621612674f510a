/**
 * The environments of our processes, made here and never taken over: the runtime's own may hold keys and tokens. The
 * LAZARUS_ variables tell a step where it stands, and are the marks by which marks.ts finds what is left of it.
 */
import { homedir } from 'node:os';
import type { StepRequest } from './step-request.ts';

/** PATH, HOME and LANG of this process, or what a login would give. */
export function baseEnvironment(): Record<string, string> {
  return {
    PATH: process.env['PATH'] || '/usr/local/bin:/usr/bin:/bin',
    HOME: process.env['HOME'] || homedir(),
    LANG: process.env['LANG'] || 'C.UTF-8',
  };
}

/** A worker learns whose it is only later. Until execve(2) a step that it starts shows this environment: hence its own mark. */
export function workerEnvironment(nodeId: string, workerId: string): Record<string, string> {
  return { ...baseEnvironment(), LAZARUS_NODE: nodeId, LAZARUS_WORKER: workerId };
}

export function stepEnvironment(request: StepRequest, attempt: number): Record<string, string> {
  return {
    ...baseEnvironment(),
    LAZARUS_NODE: request.nodeId,
    LAZARUS_CELL: request.cellId,
    LAZARUS_AGENT: request.agentId,
    LAZARUS_TASK: request.taskId,
    LAZARUS_STEP: request.name,
    LAZARUS_ATTEMPT: String(attempt),
    LAZARUS_KEY: request.key,
  };
}

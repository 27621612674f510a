/**
 * What a host and its worker say to each other over Node's IPC (`serialization: 'advanced'`). The host treats what
 * comes from a worker as the word of its *cell*, not of trusted code: `isFromWorker` lets only the right shapes in.
 */
import { RuntimeError } from '../machines/errors.ts';
import type { ErrorCode } from '../machines/errors.ts';
import { isJsonObject } from '../machines/json.ts';
import type { StepOutcome, StepRequest } from './step-request.ts';
import type { Progress } from './worker-health.ts';

export type ToWorker =
  /** Once, before any `run`: whose steps it is to take. `lookEveryMs` is how often it measures a step's whole tree. */
  | { t: 'adopt'; cellId: string; agentId: string; lookEveryMs: number }
  | { t: 'run'; id: number; request: StepRequest }
  | { t: 'abort'; id: number }
  /** End the step in flight as an abort does, take no other, exit. */
  | { t: 'stop' };

export type FromWorker =
  /** It can be handed an agent. */
  | { t: 'ready'; pid: number }
  | { t: 'adopted' }
  | { t: 'beat'; seq: number; progress: Progress | null }
  /** The pid is also the step's process group. */
  | { t: 'started'; id: number; pid: number }
  | { t: 'outcome'; id: number; outcome: StepOutcome }
  | { t: 'failed'; id: number; error: WireError };

/** An error as it crosses the channel; `aborted` marks the answer to an abort or a stop. */
export interface WireError {
  message: string;
  code?: ErrorCode;
  retryable?: boolean;
  hint?: string;
  aborted?: true;
}

export const BEAT_INTERVAL_MS = 1000;
/** Steps a worker may have waiting. An agent works on one at a time; the rest is room for probes. */
export const MAX_QUEUED = 16;

export function toWireError(error: unknown, aborted: boolean): WireError {
  const message = (error instanceof Error ? error.message : String(error)).slice(0, 2000);
  const wire: WireError = aborted ? { message, aborted } : { message };
  if (!(error instanceof RuntimeError)) return wire;
  const hint = error.hint === undefined ? {} : { hint: error.hint };
  return { ...wire, code: error.code, retryable: error.retryable, ...hint };
}

export function fromWireError(wire: WireError, details: Record<string, unknown>): RuntimeError {
  const { message, code = 'OUTCOME_UNKNOWN', retryable = false, hint } = wire;
  return new RuntimeError(message, {
    code,
    retryable,
    details,
    ...(hint === undefined ? {} : { hint }),
  });
}

export function isFromWorker(message: unknown): message is FromWorker {
  if (!isJsonObject(message)) return false;
  const { t, id, pid, seq, progress, outcome, error } = message;
  if (t === 'ready') return isCount(pid);
  if (t === 'adopted') return true;
  if (t === 'beat') return isCount(seq) && (progress === null || isProgress(progress));
  if (!isCount(id)) return false;
  if (t === 'started') return isCount(pid) && pid > 1;
  if (t === 'outcome') return isJsonObject(outcome) && typeof outcome['key'] === 'string';
  return t === 'failed' && isJsonObject(error) && typeof error['message'] === 'string';
}

function isProgress(value: unknown): value is Progress {
  if (!isJsonObject(value)) return false;
  const { id, outputBytes, cpuTicks } = value;
  return isCount(id) && isCount(outputBytes) && (cpuTicks === null || isCount(cpuTicks));
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

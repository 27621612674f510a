/** The form in which an error leaves the process by any door, and its HTTP status. */
import { RuntimeError } from '../machines/errors.ts';
import type { ErrorCode } from '../machines/errors.ts';
import type { JsonObject } from '../machines/json.ts';

export interface WireError {
  code: string;
  message: string;
  hint: string | null;
  retryable: boolean;
  details: JsonObject;
}

/** No stack, no cause: what a caller can act on. Anything but a RuntimeError is a defect, and said to be one. */
export function toWireError(error: unknown): WireError {
  if (error instanceof RuntimeError) {
    const { code, message, hint = null, retryable, details } = error;
    return { code, message, hint, retryable, details: JSON.parse(JSON.stringify(details)) };
  }
  const message = error instanceof Error ? error.message : String(error);
  const hint = "The node's log has the time and the verb; report it with both.";
  return { code: 'INTERNAL', message: message.slice(0, 500), hint, retryable: false, details: {} };
}

/** 500 only for what is a defect, or damage, of this node; what a caller can act on is never one. */
export const httpStatusOf = (code: string): number => STATUS[code as ErrorCode] ?? 500;

const STATUS: Record<ErrorCode, number> = {
  ACTOR_HELD: 409,
  ACTOR_UNKNOWN: 404,
  AMBIGUOUS_ID: 409,
  BUSY: 503,
  CELL_DUPLICATE: 409,
  CELL_HELD: 409,
  CHECKPOINT_CORRUPT: 500,
  CONFLICT: 409,
  EVENT_NOT_PUBLIC: 403,
  EVENT_REJECTED: 409,
  FILE_INVALID: 400,
  FORBIDDEN: 403,
  INTERNAL: 500,
  INVALID_ARGUMENT: 400,
  JOURNAL_CORRUPT: 500,
  JOURNAL_HELD: 503,
  LLM_UNAVAILABLE: 503,
  MACHINE_MISMATCH: 500,
  MODEL_DECLINED: 409,
  NODE_LOCKED: 409,
  NOT_CONFIGURED: 409,
  NOT_FOUND: 404,
  NOT_RUNNING: 503,
  OUTCOME_UNKNOWN: 504,
  PATH_ESCAPES_CELL: 400,
  STEP_FAILED: 409,
  TOO_LARGE: 413,
  TOO_OLD: 409,
  UNAUTHORIZED: 401,
  UNSUPPORTED: 501,
  WORKER_LOST: 503,
};

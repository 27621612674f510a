/** The form in which an error leaves the process by any door, and its HTTP status. */
import { RuntimeError } from '../machines/errors.ts';
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

export const httpStatusOf = (code: string): number => STATUS[code] ?? 500;

const STATUS: Record<string, number> = {
  ACTOR_HELD: 409,
  ACTOR_UNKNOWN: 404,
  AMBIGUOUS_ID: 409,
  BUSY: 503,
  CELL_HELD: 409,
  CONFLICT: 409,
  EVENT_NOT_PUBLIC: 403,
  FILE_INVALID: 400,
  FORBIDDEN: 403,
  INVALID_ARGUMENT: 400,
  JOURNAL_HELD: 503,
  NOT_FOUND: 404,
  TOO_LARGE: 413,
  UNAUTHORIZED: 401,
};

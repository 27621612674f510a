/**
 * One error class for what a caller can act on. The code never changes meaning, the hint names the command that mends it.
 * Broken invariants are not errors of this kind: they are `node:assert` failures and end the process.
 */

/** Stable codes. Documented for users in docs/errors.md; a code is never given a second meaning. */
export type ErrorCode =
  | 'ACTOR_HELD' // the actor keeps its records but applies nothing until its fault is mended
  | 'ACTOR_UNKNOWN' // no actor has this address
  | 'AMBIGUOUS_ID' // a bare id stands in several cells
  | 'BUSY' // a bound was reached; try again later
  | 'CELL_DUPLICATE' // a second folder claims a cell_id that is already known
  | 'CELL_HELD' // the cell is loaded but nothing in it runs; the message says what is missing
  | 'CHECKPOINT_CORRUPT' // a checkpoint's hash or shape is wrong
  | 'CONFLICT' // the request does not fit the present state
  | 'EVENT_NOT_PUBLIC' // the event type may not come in by a door
  | 'EVENT_REJECTED' // the machine threw on this event; its state stays as before
  | 'FILE_INVALID' // a file people wrote does not fit its schema
  | 'FORBIDDEN' // this door does not let that through, whoever asks
  | 'INTERNAL' // a defect of the runtime; its log has more
  | 'INVALID_ARGUMENT' // a flag, id or value is not of the expected form
  | 'JOURNAL_CORRUPT' // a bad region in the middle of the journal
  | 'JOURNAL_HELD' // the node's journal cannot be written; reads go on
  | 'LLM_UNAVAILABLE' // no model is configured, or none gave an answer that can be used
  | 'MACHINE_MISMATCH' // a stored snapshot names a machine version this build does not have
  | 'MODEL_DECLINED' // the model says that the task cannot be done with what it was given
  | 'NODE_LOCKED' // another node runs on this missions folder
  | 'NOT_CONFIGURED' // a file of people's does not say how to do this; the message says what to write where
  | 'NOT_RUNNING' // no node runs on this missions folder
  | 'NOT_FOUND' // no such cell, agent, task, effect or file
  | 'OUTCOME_UNKNOWN' // an effect may have run; nobody can tell
  | 'PATH_ESCAPES_CELL' // a path leaves its cell by `..` or by a symbolic link
  | 'STEP_FAILED' // a step ended with a known failure
  | 'TOO_OLD' // the event is older than what duplicates are remembered for
  | 'TOO_LARGE' // the input is longer than what is taken
  | 'UNAUTHORIZED' // the caller did not show the token
  | 'UNSUPPORTED' // this host or this build cannot do what was asked
  | 'WORKER_LOST'; // the worker process is gone

export interface RuntimeErrorOptions {
  code: ErrorCode;
  /** Whether the same call may succeed later without anyone changing anything. Default false. */
  retryable?: boolean;
  details?: Record<string, unknown>;
  /** What to do, preferably a command to run. Printed after `Try:`. */
  hint?: string;
  cause?: unknown;
}

export class RuntimeError extends Error {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly details: Record<string, unknown>;
  readonly hint: string | undefined;

  constructor(message: string, options: RuntimeErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'RuntimeError';
    this.code = options.code;
    this.retryable = options.retryable ?? false;
    this.details = options.details ?? {};
    this.hint = options.hint;
  }
}

/** A request that does not fit the present state. */
export function conflict(message: string, hint?: string): RuntimeError {
  return new RuntimeError(message, { code: 'CONFLICT', ...(hint !== undefined && { hint }) });
}

/** The JSON form an error has in journals, events and replies: no stack, no cause, nothing that could carry a secret. */
export interface PlainError {
  name: string;
  message: string;
  code?: string;
}

/** Longest error message kept in a journal record, in characters. */
const MAX_MESSAGE = 2000;

export function toPlainError(thrown: unknown): PlainError {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const code = 'code' in error && typeof error.code === 'string' ? { code: error.code } : {};
  return { name: error.name, message: error.message.slice(0, MAX_MESSAGE), ...code };
}

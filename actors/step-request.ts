/** A step as whoever runs it is asked for it, and what is known of its end. */

export interface StepRequest {
  /** Idempotency key of the effect; unique to it. */
  key: string;
  cellId: string;
  agentId: string;
  taskId: string;
  stepIndex: number;
  name: string;
  /** argv. */
  run: string[];
  stdin?: string;
  timeoutMs: number | null;
  /** Absolute path. */
  cellDir: string;
  /** Names the processes of one missions folder. */
  nodeId: string;
  kind: 'step' | 'probe' | 'criterion';
}

export interface StepOutcome {
  key: string;
  argv_sha256: string;
  /** Null when a signal ended it. */
  exit_code: number | null;
  signal: string | null;
  timed_out: boolean;
  started_at: string;
  finished_at: string;
  attempt: number;
  /** When the runtime had a hand in the end: why it could not start, or which limit it passed. */
  reason?: string;
}

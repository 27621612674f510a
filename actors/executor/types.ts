/**
 * What the action actor and the drivers say to one another. The actor decides whether and when; a driver knows how: it
 * plans (and refuses what it cannot do before anything is claimed), runs once, and finds out what became of a run that was
 * cut off.
 */
import type { JsonObject } from '../../machines/json.ts';
import type { EffectSemantics, Recovery } from '../effects.ts';

/** An approved action, as its driver sees it. */
export interface Runnable {
  actionId: string;
  type: string;
  host: string;
  service: string;
  payload: JsonObject;
  content: JsonObject;
  sha256: string;
}

export interface PlannedRun {
  driver: string;
  semantics: EffectSemantics;
  via: string;
  /** For people, no secrets, one line each. */
  shown: string[];
  timeoutMs: number;
  /** Whether there is something to wait for afterwards: a service that reports healthy. */
  verifies: boolean;
}

export interface RunOutcome {
  ok: boolean;
  reason: string | null;
  exit_code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
  started_at: string;
  finished_at: string;
}

export interface Executor {
  /** Throws RuntimeError (UNSUPPORTED, NOT_CONFIGURED, INVALID_ARGUMENT) when nothing can run it. */
  plan(run: Runnable): Promise<PlannedRun>;
  run(
    run: Runnable,
    context: { key: string; signal: AbortSignal; outputFolder: string },
  ): Promise<RunOutcome>;
  recover(
    run: Runnable,
    context: { key: string; outputFolder: string; signal: AbortSignal },
  ): Promise<Recovery>;
  isHealthy(run: Runnable, signal: AbortSignal): Promise<'healthy' | 'unhealthy' | 'unknown'>;
}

/**
 * What the action actor and the drivers say to one another. The actor decides whether and when; a driver knows how: it
 * plans (and refuses what it cannot do before anything is claimed), runs once, and finds out what became of a run that was
 * cut off.
 */
import type { DriverPlan, Runnable, RunOutcome } from '../../machines/action-context.ts';
import type { Recovery } from '../effects.ts';

export interface Executor {
  /** Throws RuntimeError (UNSUPPORTED, NOT_CONFIGURED, INVALID_ARGUMENT) when nothing can run it. */
  plan(run: Runnable): Promise<DriverPlan>;
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

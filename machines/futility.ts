/**
 * When trying again is no longer worth it. A fault that comes back unchanged is not met with the same answer for ever:
 * the work goes to a substitute, or a person is asked.
 *
 * F1 `max_retries` bounds the revivals without a finished step or turn.
 * F2 The same signature more than three times without progress is futile, however many retries are allowed.
 * F3 Restart intensity bounds the revivals in any window of its period, progress or not.
 */
import type { Failure } from './events.ts';
import type { Policies, RestartIntensity } from './mission.ts';
import { recordRestart } from './restart-intensity.ts';

export interface RevivalHistory {
  /** Epoch ms of revivals within the period of the restart intensity, oldest first. */
  restarts: number[];
  /** Revivals since the last finished step. */
  withoutProgress: number;
  /** How often in a row the present signature was met without progress, this failure included. */
  sameSignature: number;
}

/** How often the same fault is met with a mere restart. */
const SAME_SIGNATURE = 3;

/** Why one more revival at `at` (epoch ms) would be futile; null when it is worth trying. */
export function futility(
  { restarts, withoutProgress, sameSignature }: RevivalHistory,
  question: {
    policies: Pick<Policies, 'max_retries'>;
    restart: RestartIntensity;
    failure: Pick<Failure, 'signature'>;
    at: number;
  },
): string | null {
  const { policies, restart, failure, at } = question;
  const inARow = `${failure.signature} came ${sameSignature} times in a row`;
  if (withoutProgress >= policies.max_retries) {
    const times = timesOf(policies.max_retries); // F1
    return sameSignature > 1 ? `${times}; ${inARow}` : times;
  }
  if (sameSignature > SAME_SIGNATURE) return `${inARow} without progress`; // F2
  if (recordRestart(restarts, at, restart).exceeded)
    return `more than ${restart.intensity} revivals within ${restart.period} s`; // F3
  return null;
}

function timesOf(maxRetries: number): string {
  if (maxRetries === 0) return 'no revival is to be tried (max_retries is 0)';
  return `${maxRetries} revivals brought no finished step (max_retries)`;
}

/**
 * Restart intensity as Erlang/OTP defines it: more than `intensity` restarts within `period` seconds is too many.
 * A pure window over timestamps: push now, drop the old, compare the length.
 */
import type { RestartIntensity } from './mission.ts';

/** Longest window kept, whatever a file asks for (P8). */
const MAX_WINDOW = 1000;

export interface RestartWindow {
  /** Epoch ms of the restarts that still count, oldest first. */
  restarts: number[];
  /** More restarts than allowed: do not restart, escalate. */
  exceeded: boolean;
}

/** The window after one more restart at `at`. The given list is not changed. */
export function recordRestart(
  restarts: readonly number[],
  at: number,
  limit: RestartIntensity,
): RestartWindow {
  const oldest = at - limit.period * 1000;
  const kept = [...restarts.filter((time) => time > oldest), at].slice(-MAX_WINDOW);
  return { restarts: kept, exceeded: kept.length > Math.min(limit.intensity, MAX_WINDOW - 1) };
}

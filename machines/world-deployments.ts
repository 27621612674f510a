/** From attempts to deploy a service to how many of the last ones failed in a row. */
import type { JsonObject } from './json.ts';
import { outcomeIn, timeIn } from './world-words.ts';

export interface Attempt {
  /** When it ended, epoch ms; null: nobody says. */
  at: number | null;
  failed: boolean;
  /** An entry may stand for several in a row. */
  times: number;
}

const ENDED = [
  'completed_at',
  'finished_at',
  'ended_at',
  'failed_at',
  'updated_at',
  'timestamp',
  'started_at',
];
const MOST = 1_000_000;

/** Undefined: it is under way, or nobody can say how it ended. */
export function readAttempt(entry: JsonObject): Attempt | undefined {
  const outcome = outcomeIn(entry);
  if (outcome === 'neither') return undefined;
  const count = entry['consecutive_failures'] ?? entry['failures'];
  const times = typeof count === 'number' && count >= 1 ? Math.floor(Math.min(count, MOST)) : 1;
  return { at: timeIn(entry, ENDED), failed: outcome === 'failed', times };
}

/** By service, those that have failed since the last that went well. */
export function deploymentsOf(
  attempts: ReadonlyMap<string, readonly Attempt[]>,
): Map<string, { failures: number; lastFailedAt: number | null }> {
  const found = new Map<string, { failures: number; lastFailedAt: number | null }>();
  for (const [service, all] of attempts) {
    const wellAt = latest(all.filter(({ failed }) => !failed));
    const since = all.filter(({ failed, at }) => failed && (at ?? -Infinity) > wellAt);
    const wentWell = all.some(({ failed }) => !failed);
    const counted = wentWell ? since : all;
    const failures = Math.min(
      MOST,
      counted.reduce((sum, { times }) => sum + times, 0),
    );
    if (failures === 0) continue;
    const lastFailedAt = latest(counted);
    found.set(service, {
      failures,
      lastFailedAt: lastFailedAt === -Infinity ? null : lastFailedAt,
    });
  }
  return found;
}

/** One without a time may be older than any. */
const latest = (attempts: readonly Attempt[]): number =>
  attempts.reduce((newest, { at }) => Math.max(newest, at ?? -Infinity), -Infinity);

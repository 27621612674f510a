/** What is known of a remote agent or a guest, and how healthy that makes it (machines/heartbeats.ts). */
import { healthOf, REMOTE_INTERVAL_MS } from '../machines/heartbeats.ts';
import type { AgentHealth, Watched } from '../machines/heartbeats.ts';
import type { JsonObject } from '../machines/json.ts';

/** What is known of one remote agent or guest. */
export interface Signs {
  /** Since when it is watched. */
  since: number;
  last: { at: number; up: number } | null;
  respondedAt: number | null;
  responseTimeMs: number | null;
  metadata: JsonObject;
  metadataBytes: number;
  /** Of its gateway, when that is polled. */
  poll: { answeredUp: number; error: string | null } | null;
  told: { what: 'silent' | 'heard'; at: number } | null;
}

/** Who listens: since when, what its clock shows, and how long an answer of a gateway stands (two polls). */
export interface Listening {
  since: number;
  now: number;
  pollIntervalMs: number;
}

export const freshSigns = (since: number): Signs => ({
  since,
  last: null,
  respondedAt: null,
  responseTimeMs: null,
  metadata: {},
  metadataBytes: 0,
  poll: null,
  told: null,
});

/**
 * While its gateway answers, an agent is as healthy as it was at the last answer: the time until the next poll is ours,
 * not a beat that it missed. And the gateway listened when this node did not yet.
 */
export function watchedOf({ since, last, poll }: Signs, listening: Listening): Watched {
  const lastBeatAt = last?.up ?? null;
  const intervalMs = REMOTE_INTERVAL_MS;
  const ours = { since: Math.max(since, listening.since), now: listening.now, intervalMs };
  const stands = poll !== null && listening.now - poll.answeredUp < 2 * listening.pollIntervalMs;
  if (!stands || lastBeatAt === null) return { lastBeatAt, ...ours };
  const now = Math.max(poll.answeredUp, lastBeatAt);
  return { lastBeatAt, since: Math.min(ours.since, lastBeatAt), now, intervalMs };
}

export function signsHealth(
  signs: Signs,
  listening: Listening,
): Omit<AgentHealth, 'agent_id' | 'cell_id' | 'kind'> {
  const { last, poll, metadata, respondedAt, responseTimeMs } = signs;
  const watched = watchedOf(signs, listening);
  const { status, misses } = healthOf(watched);
  const from = Math.max(watched.lastBeatAt ?? watched.since, watched.since);
  const missed =
    misses === 0 ? null : `no heartbeat for ${Math.round((watched.now - from) / 1000)} s`;
  return {
    status,
    last_heartbeat: last === null ? null : last.at / 1000,
    last_response: respondedAt === null ? null : respondedAt / 1000,
    consecutive_failures: misses,
    response_time: responseTimeMs === null ? null : Math.round(responseTimeMs * 1000) / 1e6,
    error_message: [missed, poll?.error].filter(Boolean).join('; ') || null,
    metadata,
  };
}

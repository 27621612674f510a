/**
 * What heartbeats mean: pure functions of when the last one came and of now. Nobody counts failures as they happen, so a
 * late timer, a restart or a lost poll cannot make a count wrong.
 *
 * T1 A miss is one full interval without a beat: 1 or 2 misses are degraded, 3 unhealthy, and a beat makes healthy.
 *    (Workers are judged by the same rule, each second: actors/worker-health.ts.)
 * T2 Who has not been heard since the watching began is unknown for one interval, and from then on counted from there: a
 *    runtime that was down, or asleep with its machine, knows nothing of beats that came meanwhile.
 * T3 Who is expected to give no sign (no worker, a mission that has ended) is unknown, not unhealthy.
 */
import type { JsonObject } from './json.ts';

export type HealthStatus = 'healthy' | 'degraded' | 'unhealthy' | 'unknown';

/** Over HTTP, and at the gateway of a remote agent. */
export const REMOTE_INTERVAL_MS = 30_000;
export const UNHEALTHY_MISSES = 3;

/** The source's fields of one agent, times as float epoch seconds, and ours: `cell_id`, `kind`. */
export interface AgentHealth {
  agent_id: string;
  /** `guest`: it is in no mission, and became known by its first beat. */
  kind: 'local' | 'remote' | 'guest';
  cell_id: string | null;
  status: HealthStatus;
  /** Null: none since this node started. */
  last_heartbeat: number | null;
  /** When it, or its gateway, last answered at all. */
  last_response: number | null;
  /** Misses in a row; at least 1 of an agent that has failed. */
  consecutive_failures: number;
  /**
   * Seconds, measured: of a polled agent how long its gateway took to answer; of a beat the time from the end of its
   * request's header until it was counted. Null for what comes over a worker's channel.
   */
  response_time: number | null;
  error_message: string | null;
  metadata: JsonObject;
}

export interface HealthView {
  timestamp: number;
  total_agents: number;
  healthy: number;
  degraded: number;
  unhealthy: number;
  unknown: number;
  /** By agent id; one that stands in several cells by `<cell_id>/<agent_id>`. */
  agents: Record<string, AgentHealth>;
}

/** All on one monotonic clock, in ms. */
export interface Watched {
  lastBeatAt: number | null;
  /** Since when somebody listens. */
  since: number;
  now: number;
  intervalMs: number;
}

/** T1, of one who is heard. */
export function statusOfMisses(misses: number): 'healthy' | 'degraded' | 'unhealthy' {
  return misses === 0 ? 'healthy' : misses < UNHEALTHY_MISSES ? 'degraded' : 'unhealthy';
}

/** T1, T2. */
export function missesOf({ lastBeatAt, since, now, intervalMs }: Watched): number {
  const from = Math.max(lastBeatAt ?? since, since);
  return Math.max(0, Math.floor((now - from) / intervalMs));
}

export function healthOf(watched: Watched): { status: HealthStatus; misses: number } {
  const misses = missesOf(watched);
  if (misses > 0) return { status: statusOfMisses(misses), misses };
  const isHeard = watched.lastBeatAt !== null && watched.lastBeatAt >= watched.since;
  return { status: isHeard ? 'healthy' : 'unknown', misses };
}

/** What a remote agent's actor should be told. All on one monotonic clock, in ms. */
export interface Supervised {
  lastBeatAt: number | null;
  since: number;
  now: number;
  timeoutMs: number;
  /** Its mission runs, so it is expected to be there. */
  isExpected: boolean;
  /** Its cell shows it as failed. */
  hasFailed: boolean;
  /** What it was last told in this life of the node, and when. */
  told: { what: 'silent' | 'heard'; at: number } | null;
}

/**
 * By state and not by edge: an agent revived while it is still silent is told again after another timeout, and one that
 * failed before a restart is told once that it is heard again.
 */
export function superviseRemote(agent: Supervised): 'silent' | 'heard' | null {
  const { lastBeatAt, since, now, timeoutMs, isExpected, hasFailed, told } = agent;
  const isHeard = lastBeatAt !== null && lastBeatAt >= since && now - lastBeatAt < timeoutMs;
  if (isHeard) return told?.what === 'silent' || (hasFailed && told === null) ? 'heard' : null;
  if (!isExpected || hasFailed || now - Math.max(lastBeatAt ?? since, since) < timeoutMs)
    return null;
  return told?.what === 'silent' && now - told.at < timeoutMs ? null : 'silent';
}

/** Counts for people and programs; the agents as they are. */
export function healthView(agents: Record<string, AgentHealth>, atMs: number): HealthView {
  const counts = { healthy: 0, degraded: 0, unhealthy: 0, unknown: 0 };
  let total = 0;
  for (const id in agents) {
    const agent = agents[id];
    if (agent === undefined) continue;
    counts[agent.status] += 1;
    total += 1;
  }
  return { timestamp: atMs / 1000, total_agents: total, ...counts, agents };
}

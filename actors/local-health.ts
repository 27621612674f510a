/** How an agent that runs here is, by its worker's own beats (worker-health.ts). */
import type { AgentHealth } from '../machines/heartbeats.ts';
import type { KnownAgent } from './agent-directory.ts';
import type { WorkerHealth } from './worker-health.ts';

/** The part of LiveWorkers (live-workers.ts) that is needed. */
export interface WorkerSource {
  get(cellId: string, agentId: string): BeatingWorker | undefined;
}

export interface BeatingWorker {
  readonly isReaped: boolean;
  health(): WorkerHealth;
}

/** A step that shows no progress for so long is worth a word; whether it is a failure, the agent's policy says. */
const WORTH_SAYING_MS = 60_000;

/**
 * Without a worker nobody beats: an agent that has nothing to do, or whose steps run in the host, is unknown
 * (machines/heartbeats.ts T3).
 */
export function localHealth(
  { cellId, agentId, hasFailed, reason }: KnownAgent,
  worker: BeatingWorker | undefined,
): AgentHealth {
  const beats = worker === undefined || worker.isReaped ? undefined : worker.health();
  const heardAt = beats?.lastBeatAt || null;
  const misses = beats?.misses ?? 0;
  return {
    agent_id: agentId,
    cell_id: cellId,
    kind: 'local',
    status: hasFailed ? 'unhealthy' : heardAt === null || !beats ? 'unknown' : beats.status,
    last_heartbeat: heardAt === null ? null : heardAt / 1000,
    last_response: heardAt === null ? null : heardAt / 1000,
    consecutive_failures: hasFailed ? Math.max(1, misses) : misses,
    response_time: null,
    error_message: hasFailed ? reason : beats ? complaintOf(beats) : null,
    metadata: {},
  };
}

function complaintOf({ misses, stuckForMs }: WorkerHealth): string | null {
  if (misses > 0) return `${misses} ${misses === 1 ? 'heartbeat' : 'heartbeats'} missed`;
  if (stuckForMs === null || stuckForMs < WORTH_SAYING_MS) return null;
  return `its step has shown no progress for ${Math.round(stuckForMs / 1000)} s`;
}

/**
 * The numbers of one node, gathered when somebody asks: nothing is counted for them alone but a few integers. docs/metrics.md
 * lists them; a test holds the two together. What other parts have to tell comes from what they show in the status
 * (part-metrics.ts) and by `OpenDoor.metrics`.
 */
import { readdir } from 'node:fs/promises';
import { hasCode } from '../cells/inside.ts';
import { byLabel, counter, gauge, histogram, Histogram } from '../machines/metrics.ts';
import type { MetricFamily } from '../machines/metrics.ts';
import type { MissionNode } from './node.ts';
import { partMetrics } from './part-metrics.ts';

export async function nodeMetrics(node: MissionNode): Promise<MetricFamily[]> {
  return [
    ...theProcess(node),
    ...journal(node),
    ...actors(node),
    ...missions(node),
    ...(await revivals(node)),
    ...partMetrics(node.parts()),
    ...node.doorMetrics(),
  ];
}

function theProcess(node: MissionNode): MetricFamily[] {
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed } = process.memoryUsage();
  const labels = {
    version: node.version,
    node_id: node.nodeId,
    epoch: String(node.kernel.system.epoch),
  };
  return [
    gauge('lazarus_info', 'What runs here.', [{ labels, value: 1 }]),
    gauge('lazarus_ready', '1: work is taken; 0: it is not.', node.trouble === undefined ? 1 : 0),
    gauge(
      'process_start_time_seconds',
      'When the node started, in epoch seconds.',
      node.startedAt.getTime() / 1000,
    ),
    counter('process_cpu_seconds_total', 'CPU time of the node itself.', (user + system) / 1e6),
    gauge('process_resident_memory_bytes', 'Memory of the node itself.', rss),
    gauge('nodejs_heap_size_used_bytes', 'JavaScript heap in use.', heapUsed),
  ];
}

function journal({ kernel }: MissionNode): MetricFamily[] {
  const syncs = kernel.syncTimes() ?? new Histogram([]);
  const { eventsCommitted, failure } = kernel.system;
  return [
    counter('lazarus_events_committed_total', 'Events that became durable.', eventsCommitted),
    counter('lazarus_commits_total', 'Group commits of the journal.', syncs.count),
    histogram('lazarus_journal_sync_seconds', 'From the write of a commit to its sync.', syncs),
    gauge('lazarus_journal_bytes', 'Bytes the journal occupies.', kernel.journalBytes()),
    gauge('lazarus_committed_lsn', 'Number of the last durable record.', kernel.committedLsn()),
    gauge('lazarus_journal_held', '1: the journal cannot be written.', failure ? 1 : 0),
  ];
}

function actors({ kernel }: MissionNode): MetricFamily[] {
  const { system } = kernel;
  const states = { resident: 0, passivated: 0, held: 0 };
  let deepest = 0;
  let backlog = 0;
  for (const actor of system.actors.values()) {
    if (actor.isGone) continue;
    states[actor.hold ? 'held' : actor.resident ? 'resident' : 'passivated'] += 1;
    deepest = Math.max(deepest, actor.resident?.uncommitted ?? 0);
    backlog += actor.backlog?.length ?? 0;
  }
  return [
    gauge('lazarus_actors', 'Actors, by where they are.', byLabel('state', states)),
    gauge('lazarus_mailbox_records', 'Records that wait for a commit.', system.pendingRecords),
    gauge('lazarus_mailbox_records_max', 'Of these, the most of one actor.', deepest),
    gauge('lazarus_held_records', 'Records kept for actors that are held.', backlog),
    gauge(
      'lazarus_effects_in_doubt',
      'Effects whose outcome nobody knows.',
      system.inDoubt().length,
    ),
  ];
}

const CELL_STATUSES = { active: 0, paused: 0, completed: 0, failed: 0, held: 0 };

function missions(node: MissionNode): MetricFamily[] {
  const { directory, heartbeats } = node.health;
  const health = { healthy: 0, degraded: 0, unhealthy: 0, unknown: 0 };
  for (const agent of heartbeats.each()) health[agent.health.status] += 1;
  const { workers, starting, standby, waiting } = node.workerCounts();
  const states = { serving: Math.max(0, workers - starting - standby), starting, standby };
  const cells = { ...CELL_STATUSES, ...Object.fromEntries(directory.statuses()) };
  return [
    gauge('lazarus_cells', 'Missions, by status.', byLabel('status', cells)),
    gauge('lazarus_agents', 'Agents, by their health.', byLabel('health', health)),
    gauge('lazarus_workers', 'Worker processes, by state.', byLabel('state', states)),
    gauge('lazarus_workers_awaited', 'Agents whose worker waits for its turn to start.', waiting),
  ];
}

const OUTCOMES = {
  revived: 0,
  recovered: 0,
  asking: 0,
  refused: 0,
  substituted: 0,
  rejected: 0,
  expired: 0,
  removed: 0,
};

async function revivals({ revivalLedger, layout }: MissionNode): Promise<MetricFamily[]> {
  const { outcomes, durations } = revivalLedger;
  const counts = { ...OUTCOMES, ...Object.fromEntries(outcomes) };
  const asked = await filesIn(layout.revivals.pending);
  return [
    counter(
      'lazarus_revivals_total',
      'Outcomes of revival requests, as the ledger has them.',
      byLabel('outcome', counts),
    ),
    histogram('lazarus_revival_seconds', 'From a failure to a verified revival.', durations),
    gauge('lazarus_revivals_pending', 'Questions about failed agents that wait for people.', asked),
  ];
}

async function filesIn(folder: string): Promise<number> {
  try {
    return (await readdir(folder)).filter((name) => name.endsWith('.json')).length;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return 0; // nobody was ever asked
    throw error;
  }
}

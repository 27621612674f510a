/**
 * The health report of each poll, with the source's fields: written whole to `<missions>/.lazarus/health.json`, logged as
 * one line when something changed, and the answer of the verb `health`. It is made from what is in memory; no cell is
 * woken and no file of a cell is read for it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { writeWhole } from '../cells/durable.ts';
import { toPlainError } from '../machines/errors.ts';
import type { HealthStatus } from '../machines/heartbeats.ts';
import type { AgentDirectory } from './agent-directory.ts';
import type { Heartbeats } from './heartbeats.ts';
import type { StatusView } from './status.ts';
import type { SystemLog } from './system.ts';

export interface ReportedAgent {
  agent_id: string;
  gateway: string | null;
  /** Nothing is known against it: false when it has failed, or missed three beats. */
  healthy: boolean;
  /** Float epoch seconds. */
  timestamp: number;
  /** Seconds; null: none was measured. */
  response_time: number | null;
  status: HealthStatus;
  cell_id: string | null;
}

export interface HealthReport {
  timestamp: number;
  total_cells: number;
  total_agents: number;
  healthy_agents: number;
  unhealthy_agents: number;
  /** By agent id; one that stands in several cells by `<cell_id>/<agent_id>`. */
  agent_health: Record<string, ReportedAgent>;
}

export function healthReport(directory: AgentDirectory, heartbeats: Heartbeats): HealthReport {
  const timestamp = heartbeats.now().at / 1000;
  const agents: HealthReport['agent_health'] = {};
  for (const { key, health, gateway } of heartbeats.each()) {
    const { agent_id, cell_id, status, response_time } = health;
    const healthy = status !== 'unhealthy';
    agents[key] = { agent_id, gateway, healthy, timestamp, response_time, status, cell_id };
  }
  return counted(timestamp, directory.cells, agents);
}

/** While no node runs: nobody beats, so all that is known is who has failed. */
export function reportAtRest({ cells }: StatusView, nowMs: number): HealthReport {
  const timestamp = nowMs / 1000;
  const times = new Map<string, number>();
  for (const { agent_id } of cells.flatMap((cell) => cell.agents))
    times.set(agent_id, (times.get(agent_id) ?? 0) + 1);
  const all: HealthReport['agent_health'] = {};
  for (const { cell_id, agents } of cells)
    for (const { agent_id, status } of agents) {
      const failed = status === 'failed';
      all[times.get(agent_id) === 1 ? agent_id : `${cell_id}/${agent_id}`] = {
        agent_id,
        gateway: null,
        healthy: !failed,
        timestamp,
        response_time: null,
        status: failed ? 'unhealthy' : 'unknown',
        cell_id,
      };
    }
  return counted(timestamp, cells.length, all);
}

function counted(
  timestamp: number,
  cells: number,
  agents: HealthReport['agent_health'],
): HealthReport {
  let total = 0;
  let healthy = 0;
  for (const key in agents) {
    total += 1;
    if (agents[key]?.healthy) healthy += 1;
  }
  return {
    timestamp,
    total_cells: cells,
    total_agents: total,
    healthy_agents: healthy,
    unhealthy_agents: total - healthy,
    agent_health: agents,
  };
}

export interface ReporterOptions {
  directory: AgentDirectory;
  heartbeats: Heartbeats;
  path: string;
  intervalMs: () => number;
  log: SystemLog & { debug?(fields: Record<string, unknown>, message: string): void };
}

const MAX_NAMED = 20;

export class HealthReporter {
  readonly #options: ReporterOptions;
  readonly #stop = new AbortController();
  #told = '';
  #going: Promise<void> = Promise.resolve();

  constructor(options: ReporterOptions) {
    this.#options = options;
  }

  begin(): void {
    this.#going = this.#onAndOn();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#going;
  }

  /** Never rejects: a report that cannot be written is logged, and the next one comes. */
  async report(): Promise<void> {
    const { directory, heartbeats, path, log } = this.#options;
    heartbeats.sweep();
    const report = healthReport(directory, heartbeats);
    this.#tell(report);
    try {
      await writeWhole(path, `${JSON.stringify(report)}\n`, { sync: false, what: 'health' });
    } catch (error) {
      log.warn({ error: toPlainError(error) }, 'health report not written');
    }
  }

  async #onAndOn(): Promise<void> {
    const { signal } = this.#stop;
    await this.#options.directory.fill();
    while (!signal.aborted) {
      await this.report();
      const options = { signal, ref: false };
      await sleep(this.#options.intervalMs(), undefined, options).catch(() => undefined); // aborted: the loop ends
    }
  }

  #tell(report: HealthReport): void {
    const { log } = this.#options;
    const { agent_health: agents, total_cells, total_agents } = report;
    const { healthy_agents, unhealthy_agents } = report;
    const counts = { total_cells, total_agents, healthy_agents, unhealthy_agents };
    const sick = Object.keys(agents).filter((key) => agents[key]?.healthy === false);
    const named = { unhealthy: sick.slice(0, MAX_NAMED) };
    const told = JSON.stringify([counts, sick]);
    const fields = { ...counts, ...named };
    if (told === this.#told) return log.debug?.(fields, 'health report: no change');
    this.#told = told;
    if (sick.length > 0) log.warn(fields, 'health report');
    else log.info(fields, 'health report');
  }
}

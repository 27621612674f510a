/**
 * The health of a node's agents in one place: who there is, when each was last heard, the supervision of those that run
 * elsewhere, and the report of each poll. A node has one from its start; a visit uses it without its loops.
 */
import type { MissionsLayout } from '../cells/layout.ts';
import { gatewayUrls } from '../machines/daemon-config.ts';
import type { DaemonConfig } from '../machines/daemon-config.ts';
import type { HealthStatus } from '../machines/heartbeats.ts';
import { AgentDirectory } from './agent-directory.ts';
import { GuestFile } from './guest-file.ts';
import { HealthReporter, healthReport } from './health-report.ts';
import type { HealthReport } from './health-report.ts';
import { Heartbeats } from './heartbeats.ts';
import type { HealthClock } from './heartbeats.ts';
import type { WorkerSource } from './local-health.ts';
import { RemoteAgents } from './remote-agents.ts';
import type { RemoteConfig } from './remote-agents.ts';
import type { ActorSystem, SystemLog } from './system.ts';

export interface NodeHealthOptions {
  system: ActorSystem;
  workers: WorkerSource;
  layout: MissionsLayout;
  log: SystemLog;
  /** What is in force now; it may change while the node runs. */
  config: () => DaemonConfig;
  clock?: HealthClock;
}

export class NodeHealth {
  readonly directory: AgentDirectory;
  readonly heartbeats: Heartbeats;
  readonly remote: RemoteAgents;
  readonly #reporter: HealthReporter;
  readonly #guests: GuestFile;
  #closed = false;

  constructor({ system, workers, layout, log, config, clock }: NodeHealthOptions) {
    const pollIntervalMs = (): number => config().poll_interval * 1000;
    this.#guests = new GuestFile(layout.guests, log);
    const directory = new AgentDirectory(system);
    const heartbeats = new Heartbeats({
      directory,
      workers,
      guests: this.#guests,
      pollIntervalMs,
      ...(clock && { clock }),
    });
    this.directory = directory;
    this.heartbeats = heartbeats;
    this.remote = new RemoteAgents({
      directory,
      heartbeats,
      system,
      log,
      config: () => remoteConfig(config()),
    });
    const path = layout.health;
    this.#reporter = new HealthReporter({
      directory,
      heartbeats,
      path,
      intervalMs: pollIntervalMs,
      log,
    });
  }

  /** `after`: what must be done first, for the first reading of all cells is less urgent. */
  async begin(after: Promise<void>): Promise<void> {
    await after;
    if (this.#closed) return;
    this.remote.begin();
    this.#reporter.begin();
  }

  /** Undefined for an agent that is not known, or not yet. */
  statusOf(cellId: string, agentId: string): HealthStatus | undefined {
    const agent = this.directory.find(cellId, agentId);
    return agent && this.heartbeats.healthOf(agent).status;
  }

  /** What is not well with an agent, in words. */
  complaintOf(cellId: string, agentId: string): string | null {
    const agent = this.directory.find(cellId, agentId);
    return agent === undefined ? null : this.heartbeats.healthOf(agent).error_message;
  }

  /** Undefined while not all cells have been read for the first time. */
  report(): HealthReport | undefined {
    if (!this.directory.isFilled) return undefined;
    return healthReport(this.directory, this.heartbeats);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.directory.close();
    await Promise.all([this.remote.close(), this.#reporter.close()]);
    await this.#guests.flush();
  }
}

const remoteConfig = (config: DaemonConfig): RemoteConfig => ({
  pollIntervalMs: config.poll_interval * 1000,
  timeoutMs: config.timeout * 1000,
  gateways: gatewayUrls(config),
});

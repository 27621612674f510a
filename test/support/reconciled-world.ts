/**
 * The real command line over an inventory and a world that somebody writes: what should be, what is, and what comes of it.
 * Whoever makes it disposes of `lab`; tests use ReconciledHomelab.
 */
import type { JsonObject } from '../../machines/json.ts';
import { eventually } from './eventually.ts';
import { HomelabFiles } from './homelab-files.ts';
import { HomelabProcess } from './homelab-process.ts';

const LONG = { timeoutMs: 40_000 };

export class ReconciledWorld extends HomelabFiles {
  readonly lab: HomelabProcess;

  /** By host, its services; all of them well. */
  constructor(hosts: Record<string, unknown[]>, environment: Record<string, string> = {}) {
    const lab = new HomelabProcess({ NATS_URL: 'off', LAZARUS_HTTP: 'off', ...environment });
    super(lab.layout, hosts);
    this.lab = lab;
  }

  async drifts(): Promise<JsonObject[]> {
    return (await this.lab.verb<{ drifts: JsonObject[] }>('drift.list')).drifts;
  }

  /** `key: status`, in the order of the list. */
  async standing(): Promise<string[]> {
    return (await this.drifts()).map(({ key, status }) => `${String(key)}: ${String(status)}`);
  }

  until(check: () => unknown): Promise<unknown> {
    return eventually(check, LONG);
  }
}

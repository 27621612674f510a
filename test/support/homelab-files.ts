/**
 * What other programs of a homelab write and read: an inventory, a world, a policy; and what the supervisor says in its files.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { RuntimeLayout } from '../../cells/runtime-layout.ts';
import type { JsonObject } from '../../machines/json.ts';

export class HomelabFiles {
  readonly layout: RuntimeLayout;
  #services: Record<string, JsonObject> = {};
  #nodes: Record<string, JsonObject> = {};

  /** By host, its services; all of them well. */
  constructor(layout: RuntimeLayout, hosts: Record<string, unknown[]>) {
    this.layout = layout;
    for (const [host, services] of Object.entries(hosts)) {
      this.desire(host, services);
      this.#nodes[host] = { status: 'online' };
      for (const service of services) {
        const name = typeof service === 'string' ? service : (service as { name: string }).name;
        this.#services[`${host}/${name}`] = { status: 'healthy' };
      }
    }
    this.observe({});
  }

  desire(host: string, services: unknown[]): void {
    this.#write(join('inventory/hosts', host, 'services.yaml'), JSON.stringify({ services }));
  }

  /** `null`: nobody sees it any more. Written as a careful observer writes. */
  observe(
    services: Record<string, JsonObject | null>,
    nodes: Record<string, JsonObject> = {},
  ): void {
    for (const [key, state] of Object.entries(services)) {
      if (state === null) delete this.#services[key];
      else this.#services[key] = state;
    }
    this.#nodes = { ...this.#nodes, ...nodes };
    this.#write('world/nodes.json', JSON.stringify(this.#nodes));
    this.#write('world/services.json', JSON.stringify(this.#services));
  }

  /** Over the old text, as a careless program does. */
  scribble(file: string, text: string): void {
    writeFileSync(join(this.layout.root, file), text);
  }

  policy(supervisor: JsonObject, more: JsonObject = {}): void {
    this.#write('config/policy.json', JSON.stringify({ ...more, supervisor }));
  }

  summary(): JsonObject {
    return JSON.parse(readFileSync(this.layout.worldSummary, 'utf8')) as JsonObject;
  }

  /** `state/supervisor-checkpoint.json` */
  checkpoint(): JsonObject {
    return JSON.parse(readFileSync(this.layout.supervisorCheckpoint, 'utf8')) as JsonObject;
  }

  /** `state/autonomy.json` */
  earned(): JsonObject {
    return JSON.parse(readFileSync(this.layout.autonomyFile, 'utf8')) as JsonObject;
  }

  /** What the log under state/ says, by type. */
  said(): string[] {
    return this.lines().map(({ type, node, service }) =>
      [type, `${String(node)}/${String(service)}`].join(' '),
    );
  }

  lines(): JsonObject[] {
    return this.#written().map((line) => JSON.parse(line) as JsonObject);
  }

  /** Without what a process that was killed left half. */
  wholeLines(): JsonObject[] {
    return this.#written().flatMap((line) => {
      try {
        return [JSON.parse(line) as JsonObject];
      } catch {
        return [];
      }
    });
  }

  #written(): string[] {
    const text = readFileSync(this.layout.agentEventsLog, 'utf8');
    return text.split('\n').filter((line) => line !== '');
  }

  #write(path: string, text: string): void {
    const file = join(this.layout.root, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
  }
}

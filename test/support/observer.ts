/** A node with an observer on a runtime folder, and a bridge and event files through which tests speak. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MissionNode, OpenDoor } from '../../actors/node.ts';
import { machineRegistry } from '../../actors/registry.ts';
import { openObserverDoor } from '../../actors/observer/observer-door.ts';
import type { ObserverDoorOptions } from '../../actors/observer/observer-door.ts';
import type { JournalIo } from '../../cells/journal-segment.ts';
import { runtimeLayout } from '../../cells/runtime-layout.ts';
import type { RuntimeLayout } from '../../cells/runtime-layout.ts';
import type { HomelabEvent } from '../../machines/homelab-events.ts';
import type { JsonObject } from '../../machines/json.ts';
import { eventually } from './eventually.ts';
import { startNode, temporaryMissions } from './node.ts';
import type { Options, TestNode } from './node.ts';
import { BRIDGE, linesTo, publish, temporaryRuntime } from './planner.ts';
import type { Line } from './planner.ts';

export type WorldFile = 'nodes' | 'services' | 'deployments' | 'incidents';

/** Short waits. */
const QUICK = { idleMs: 20, writeMs: 20, heartbeatMs: 50 };

/** For `openDoors`. */
export async function openObserver(
  node: MissionNode,
  options: Partial<ObserverDoorOptions> & Pick<ObserverDoorOptions, 'layout' | 'log'>,
): Promise<OpenDoor[]> {
  const { system } = node.kernel;
  if (!system.has(BRIDGE)) await system.spawn(BRIDGE, 'bridge', {});
  return [await openObserverDoor(node, { mode: 'auto', aliases: {}, ...QUICK, ...options })];
}

/** As a program of the homelab writes it. `at`: epoch s. */
export function writeEvent(
  { events }: Pick<RuntimeLayout, 'events'>,
  { at, type, node = 'piha', service = 'web', ...more }: JsonObject & { at: number; type: string },
): string {
  const time = new Date(at * 1000).toISOString();
  const folder = join(events, time.slice(0, 10), String(node));
  mkdirSync(folder, { recursive: true });
  const file = join(
    folder,
    `evt-${String(node)}-${Math.floor(at)}-${type}-${String(service)}.json`,
  );
  const timestamp = `${time.slice(0, 19)}Z`;
  writeFileSync(
    file,
    JSON.stringify({ timestamp, node, type, service, severity: 'error', ...more }),
  );
  return file;
}

export function readWorld({ world }: RuntimeLayout, name: WorldFile): Record<string, JsonObject> {
  const file = join(world, `${name}.json`);
  if (!existsSync(file)) throw new Error(`there is no ${name}.json`);
  return JSON.parse(readFileSync(file, 'utf8')) as Record<string, JsonObject>;
}

export class ObserverFixture {
  readonly test: TestNode;
  readonly layout: RuntimeLayout;
  readonly lines: Line[];
  readonly #options: Options;

  constructor(test: TestNode, parts: { layout: RuntimeLayout; lines: Line[]; options: Options }) {
    this.test = test;
    this.layout = parts.layout;
    this.lines = parts.lines;
    this.#options = parts.options;
  }

  async restart(meanwhile: () => void = () => {}): Promise<void> {
    await this.test.restart(this.#options, meanwhile);
  }

  publish(event: HomelabEvent): Promise<void> {
    return publish(this.test.node, event);
  }

  write(event: JsonObject & { at: number; type: string }): string {
    return writeEvent(this.layout, event);
  }

  get status(): JsonObject {
    return this.test.node.status().parts['observer'] as JsonObject;
  }

  get files(): JsonObject {
    return this.status['files'] as JsonObject;
  }

  world(name: WorldFile): Record<string, JsonObject> {
    return readWorld(this.layout, name);
  }

  /** All four, as text. */
  whole(): string {
    const names: WorldFile[] = ['nodes', 'services', 'deployments', 'incidents'];
    return names
      .map((name) => readFileSync(join(this.layout.world, `${name}.json`), 'utf8'))
      .join('\n');
  }

  async until<T>(check: () => T): Promise<T> {
    return eventually(check, { timeoutMs: 10_000 });
  }

  /** Until the service is said to be so. */
  async serviceIs(key: string, status: string): Promise<JsonObject> {
    return this.until(() => {
      const found = this.world('services')[key];
      if (found?.['status'] !== status)
        throw new Error(`${key}: ${JSON.stringify(found)} ${JSON.stringify(this.status)}`);
      return found;
    });
  }

  /** Everything that is there was read, and is on disk. */
  async isIdle(): Promise<void> {
    await this.until(() => {
      if (this.files['caught_up'] !== true || this.files['waiting'] !== 0)
        throw new Error(JSON.stringify(this.files));
    });
  }
}

export interface ObserverOptions extends Partial<ObserverDoorOptions> {
  missions?: string;
  runtime?: string;
  journalIo?: JournalIo;
  /** Before the door opens. */
  prepare?: (layout: RuntimeLayout) => void;
}

export async function startObserver(more: ObserverOptions = {}): Promise<ObserverFixture> {
  const { missions = temporaryMissions(), runtime = temporaryRuntime(), ...given } = more;
  const { prepare, journalIo, ...door } = given;
  const layout = runtimeLayout(runtime);
  const lines: Line[] = [];
  prepare?.(layout);
  const options: Options = {
    kernel: { registry: machineRegistry(), ...(journalIo && { journalIo }) },
    openDoors: (node) => openObserver(node, { layout, log: linesTo(lines), ...door }),
  };
  const test = await startNode(options, missions);
  return new ObserverFixture(test, { layout, lines, options });
}

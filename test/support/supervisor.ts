/**
 * A node that looks after actions and after drift, on a folder like a homelab's: doors opened in the order in which `lazarus up`
 * opens them, with a recording executor where the drivers would be.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { openActionsDoor } from '../../actors/actions/actions-door.ts';
import { runVerb } from '../../actors/control.ts';
import type { MissionNode, OpenDoor } from '../../actors/node.ts';
import { PolicySource } from '../../actors/planner/policy-source.ts';
import { holdSupervisor } from '../../actors/supervisor/hold.ts';
import { openSupervisorDoor } from '../../actors/supervisor/supervisor-door.ts';
import type {
  SupervisorDoor,
  SupervisorDoorOptions,
} from '../../actors/supervisor/supervisor-door.ts';
import type { CommittedRecord } from '../../actors/system.ts';
import { runtimeLayout } from '../../cells/runtime-layout.ts';
import { SUPERVISOR } from '../../machines/addresses.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import type { ActionStatus } from '../../machines/remediation.ts';
import { valuesIn } from '../../machines/shards.ts';
import type { SupervisorContext } from '../../machines/supervisor-context.ts';
import { RecordingExecutor } from './actions.ts';
import { eventually } from './eventually.ts';
import { HomelabFiles } from './homelab-files.ts';
import { startNode, temporaryMissions } from './node.ts';
import type { Options, TestNode } from './node.ts';
import { BRIDGE, linesTo } from './planner.ts';
import type { Line } from './planner.ts';
import { jsonFiles } from './runtime-files.ts';

export const DEAD: JsonObject = { status: 'unhealthy', trigger: 'containers_not_running' };
export const WELL: JsonObject = { status: 'healthy' };
export const RESTARTS = { name: 'restarts', actions: ['container_restart'], mode: 'approve' };

export interface StartOptions extends Partial<
  Pick<SupervisorDoorOptions, 'intervalMs' | 'aliases' | 'eventsLog' | 'checkpoint' | 'pollMs'>
> {
  node?: Options;
  /** Between the actions' door and the supervisor's. */
  between?: (node: MissionNode) => Promise<void>;
}

/** A look is asked for, or comes of what changed; not of time alone. */
const NEVER_MS = 3_600_000;

export class SupervisedHomelab extends HomelabFiles {
  readonly missions = temporaryMissions();
  readonly executor = new RecordingExecutor();
  readonly logged: Line[] = [];
  /** What the supervisor's actor was told, in this life and those before it. */
  readonly records: CommittedRecord[] = [];
  #at: TestNode | undefined;
  #door: SupervisorDoor | undefined;

  static make(hosts: Record<string, unknown[]>): SupervisedHomelab {
    const root = mkdtempSync(join(tmpdir(), 'lazarus-runtime-'));
    onTestFinished(() => rmSync(root, { recursive: true, force: true, maxRetries: 5 }));
    return new SupervisedHomelab(runtimeLayout(root), hosts);
  }

  async start(options: StartOptions = {}): Promise<this> {
    const { node = {} } = options;
    this.#at = await startNode(
      { ...node, openDoors: (opened) => this.#open(opened, options) },
      this.missions,
    );
    return this;
  }

  /** A clean stop and another life. `meanwhile` runs while no node does. */
  async restart(meanwhile: () => void = () => {}, options: StartOptions = {}): Promise<void> {
    await this.at.stop();
    meanwhile();
    await this.start(options);
  }

  get at(): TestNode {
    if (this.#at === undefined) throw new Error('no node runs');
    return this.#at;
  }

  get door(): SupervisorDoor {
    if (this.#door === undefined) throw new Error('no door is open');
    return this.#door;
  }

  get part(): JsonObject {
    return this.at.node.status().parts['supervisor'] as JsonObject;
  }

  get context(): SupervisorContext {
    return this.at.node.kernel.system.read(SUPERVISOR).snapshot.context as SupervisorContext;
  }

  /** `key: status`, sorted. */
  standing(): string[] {
    const { standing } = this.context;
    return valuesIn(standing)
      .map(({ drift, status }) => `${drift.key}: ${status}`)
      .toSorted();
  }

  verb(name: string, input: JsonValue = {}): Promise<JsonObject> {
    return runVerb(this.at.node, name, input) as Promise<JsonObject>;
  }

  tell(event: { type: string } & JsonObject): Promise<unknown> {
    return this.at.node.kernel.system.send(SUPERVISOR, event);
  }

  /** Ids of the files in one folder of actions. */
  ids(status: ActionStatus): string[] {
    return jsonFiles(this.layout.actions[status]).map(({ action_id: id }) => String(id));
  }

  /** How often the supervisor's actor was told this. */
  told(type: string): CommittedRecord[] {
    return this.records.filter(({ event }) => event.type === type);
  }

  until<T>(check: () => T | Promise<T>): Promise<T> {
    return eventually(check, { timeoutMs: 20_000 });
  }

  async #open(node: MissionNode, options: StartOptions): Promise<OpenDoor[]> {
    const { layout, executor } = this;
    const { system } = node.kernel;
    const log = linesTo(this.logged);
    system.on('committed', (record) => {
      if (record.address === SUPERVISOR) this.records.push(record);
    });
    if (!system.has(BRIDGE)) await system.spawn(BRIDGE, 'bridge', {});
    const policy = await PolicySource.open({ layout, log, intervalMs: 20 });
    await holdSupervisor(system);
    const actions = await openActionsDoor(node, {
      layout,
      mode: 'on',
      executor,
      loadPolicy: () => policy.current.policy,
      onPolicyChange: (listener) => policy.onChange(listener),
      log,
      rescanMs: 200,
    });
    await options.between?.(node);
    const { between: _between, node: _node, ...more } = options;
    this.#door = await openSupervisorDoor(node, {
      layout,
      inventory: join(layout.root, 'inventory'),
      aliases: {},
      nodeName: 'solaria',
      policy,
      intervalMs: NEVER_MS,
      eventsLog: null,
      checkpoint: null,
      actions,
      log,
      settleMs: 0,
      pollMs: 30,
      ...more,
    });
    const closing: OpenDoor = { nodeFile: {}, close: () => policy.close() };
    return [this.#door, actions, closing];
  }
}

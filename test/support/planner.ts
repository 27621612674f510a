/** A node with a planner on a runtime folder, a bridge that tests speak through, and a model that says what a test wants. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { MissionNode, OpenDoor } from '../../actors/node.ts';
import { MachineRegistry } from '../../actors/logic.ts';
import type { Question, RouteOptions } from '../../actors/llm/router-types.ts';
import { bridgeMachine } from '../../machines/bridge.machine.ts';
import { openPlannerDoor } from '../../actors/planner/planner-door.ts';
import type { PlannerDoorOptions } from '../../actors/planner/planner-door.ts';
import type { Router } from '../../actors/planner/incident-effects.ts';
import type { PlannerLog } from '../../actors/planner/planner-log.ts';
import { runtimeLayout } from '../../cells/runtime-layout.ts';
import type { RuntimeLayout } from '../../cells/runtime-layout.ts';
import {
  actionAddress,
  bridgeAddress,
  incidentAddress,
  PLANNER,
} from '../../machines/addresses.ts';
import type { HomelabEvent } from '../../machines/homelab-events.ts';
import { incidentMachine } from '../../machines/incident.machine.ts';
import type { IncidentContext } from '../../machines/incident-context.ts';
import { asJsonObject } from '../../machines/json.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { plannerMachine } from '../../machines/planner.machine.ts';
import { eventually } from './eventually.ts';
import { startNode, temporaryMissions } from './node.ts';
import type { Options, TestNode } from './node.ts';
import { eventFilesIn, jsonFiles } from './runtime-files.ts';
import { bindSmallAction, smallActionMachine } from './small-action.ts';

export { eventFilesIn, jsonFiles };

export const BRIDGE = bridgeAddress('test');

/** A model that answers each question with what the test put there; `waits` until the test lets go. */
export class ScriptedModel implements Router {
  readonly asked: { question: Question; options: RouteOptions }[] = [];
  answer: (nth: number, about: JsonObject) => JsonValue | Promise<JsonValue> = () => ({});
  model = 'ollama/qwen2.5:7b';

  async route(question: Question, options: RouteOptions) {
    this.asked.push({ question, options });
    const { signal, context = {} } = options;
    const answered = Promise.resolve(this.answer(this.asked.length, context));
    const aborted = new Promise<never>((_, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    });
    const content = await Promise.race([answered, aborted]);
    return { content, model: this.model, attempts: [{}] };
  }

  services(): unknown[] {
    return this.asked.map(({ options }) => options.context?.['service']);
  }
}

export interface Line {
  level: string;
  message: string;
  [field: string]: unknown;
}

export const linesTo = (lines: Line[]): PlannerLog => {
  const at =
    (level: string) =>
    (fields: Record<string, unknown>, message: string): void =>
      void lines.push({ ...fields, level, message });
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
};

export const plannerRegistry = (): MachineRegistry =>
  new MachineRegistry()
    .register({ machine: bridgeMachine })
    .register({ machine: plannerMachine })
    .register({ machine: incidentMachine })
    .register({ machine: smallActionMachine });

/** For `openDoors`. */
export async function openPlanner(
  node: MissionNode,
  options: Omit<PlannerDoorOptions, 'inventory' | 'nodeName' | 'cooldownSeconds'> &
    Partial<PlannerDoorOptions>,
): Promise<OpenDoor[]> {
  const { system } = node.kernel;
  bindSmallAction(system.effects, options.layout);
  if (!system.has(BRIDGE)) await system.spawn(BRIDGE, 'bridge', {});
  const inventory = join(options.layout.root, 'inventory');
  const defaults = { inventory, nodeName: 'solaria', cooldownSeconds: 300 };
  return [await openPlannerDoor(node, { ...defaults, ...options })];
}

/** As a bridge tells it. `id`: so that it counts once. */
export async function publish(node: MissionNode, event: HomelabEvent, id?: string): Promise<void> {
  const { host, service, channel } = event.data;
  await node.kernel.system.send(
    BRIDGE,
    {
      type: 'bridge.heard',
      channel,
      id: event.id,
      host,
      service,
      original: '',
      event: asJsonObject(event),
    },
    id === undefined ? {} : { id },
  );
}

export class PlannerFixture {
  readonly test: TestNode;
  readonly layout: RuntimeLayout;
  readonly model: ScriptedModel;
  readonly lines: Line[];
  readonly #options: Options;

  constructor(
    test: TestNode,
    parts: { layout: RuntimeLayout; model: ScriptedModel; lines: Line[]; options: Options },
  ) {
    this.test = test;
    this.layout = parts.layout;
    this.model = parts.model;
    this.lines = parts.lines;
    this.#options = parts.options;
  }

  get node(): MissionNode {
    return this.test.node;
  }

  async restart(meanwhile: () => void = () => {}): Promise<void> {
    await this.test.restart(this.#options, meanwhile);
  }

  publish(event: HomelabEvent): Promise<void> {
    return publish(this.node, event);
  }

  get status(): JsonObject {
    return this.node.status().parts['planner'] as JsonObject;
  }

  incident(host = 'piha', service = 'mosquitto'): { life: string; context: IncidentContext } {
    const { value, context } = this.node.kernel.system.read(
      incidentAddress(host, service),
    ).snapshot;
    return { life: (value as { life: string }).life, context: context as IncidentContext };
  }

  async incidentIs(life: string, host = 'piha', service = 'mosquitto'): Promise<IncidentContext> {
    return eventually(() => {
      const found = this.incident(host, service);
      if (found.life !== life) throw new Error(`${host}/${service} is ${found.life}`);
      return found.context;
    });
  }

  /** Actions in pending/, by id. */
  pending(): JsonObject[] {
    return jsonFiles(this.layout.actions.pending);
  }

  async pendingIs(count: number): Promise<JsonObject[]> {
    return eventually(() => {
      const found = this.pending();
      if (found.length !== count) throw new Error(`${found.length} actions are pending`);
      return found;
    });
  }

  eventFiles(): JsonObject[] {
    return eventFilesIn(this.layout);
  }

  async eventFilesAre(count: number): Promise<JsonObject[]> {
    return eventually(() => {
      const found = this.eventFiles();
      if (found.length !== count) throw new Error(`${found.length} event files`);
      return found;
    });
  }

  async settle(actionId: string, status: string): Promise<void> {
    await this.node.kernel.system.send(actionAddress(actionId), { type: 'small.settle', status });
  }

  of(message: string): Line[] {
    return this.lines.filter((line) => line.message === message);
  }

  async logged(message: string, count = 1): Promise<Line[]> {
    return eventually(() => {
      const found = this.of(message);
      if (found.length < count) throw new Error(`${message}: ${found.length} lines`);
      return found;
    });
  }

  /** Events that the planner has taken, benign ones too. */
  async heard(count: number): Promise<void> {
    await eventually(() => {
      const { events, benign } = this.node.kernel.system.read(PLANNER).snapshot.context as {
        events: number;
        benign: number;
      };
      if (events + benign < count) throw new Error(`${events + benign} events`);
    });
  }
}

export function temporaryRuntime(): string {
  const folder = mkdtempSync(join(tmpdir(), 'lazarus-runtime-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export interface PlannerOptions extends Partial<PlannerDoorOptions> {
  missions?: string;
  runtime?: string;
  model?: ScriptedModel;
  /** Before the door opens. */
  prepare?: (layout: RuntimeLayout) => void;
}

export async function startPlanner(more: PlannerOptions = {}): Promise<PlannerFixture> {
  const { missions = temporaryMissions(), runtime = temporaryRuntime(), prepare, ...door } = more;
  const { model = new ScriptedModel(), ...rest } = door;
  const layout = runtimeLayout(runtime);
  const lines: Line[] = [];
  prepare?.(layout);
  const options: Options = {
    kernel: { registry: plannerRegistry() },
    openDoors: (node) => openPlanner(node, { layout, router: model, log: linesTo(lines), ...rest }),
  };
  const test = await startNode(options, missions);
  return new PlannerFixture(test, { layout, model, lines, options });
}

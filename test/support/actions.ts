/**
 * A node that looks after actions, on a folder like a homelab's: files are dropped and moved as people and other programs do
 * it, and a recording executor stands where the drivers would.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { openActionsDoor } from '../../actors/actions/actions-door.ts';
import type { ActionsDoor, ActionsDoorOptions } from '../../actors/actions/actions-door.ts';
import { actionView } from '../../actors/actions/action-view.ts';
import type { ActionView } from '../../actors/actions/action-view.ts';
import { runVerb } from '../../actors/control.ts';
import type { MissionNode, OpenDoor } from '../../actors/node.ts';
import type { Executor } from '../../actors/executor/types.ts';
import type { ActionContext, DriverPlan, RunOutcome } from '../../machines/action-context.ts';
import { runtimeLayout } from '../../cells/runtime-layout.ts';
import type { RuntimeLayout } from '../../cells/runtime-layout.ts';
import { actionAddress } from '../../machines/addresses.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { JsonObject, JsonValue } from '../../machines/json.ts';
import { ACTION_STATUSES } from '../../machines/remediation.ts';
import type { ActionStatus } from '../../machines/remediation.ts';
import { proposal, WELL } from './action.ts';
import { eventually } from './eventually.ts';
import { startNode, temporaryMissions } from './node.ts';
import type { TestNode } from './node.ts';

/** Remembers what it ran; what it answers can be set. */
export class RecordingExecutor implements Executor {
  readonly ran: string[] = [];
  planned: Partial<DriverPlan> = { verifies: false };
  answer: (signal: AbortSignal) => Promise<RunOutcome> = () => Promise.resolve(WELL);
  recovered: Awaited<ReturnType<Executor['recover']>> = { kind: 'unknown' };
  health: 'healthy' | 'unhealthy' | 'unknown' = 'unknown';

  plan: Executor['plan'] = ({ type }) => {
    if (type === 'dance')
      throw new RuntimeError('no driver runs actions of type dance', { code: 'UNSUPPORTED' });
    return Promise.resolve({
      driver: 'recorder',
      semantics: 'at_most_once',
      via: 'local',
      shown: ['docker restart web'],
      timeoutMs: 60_000,
      verifies: false,
      ...this.planned,
    });
  };
  run: Executor['run'] = ({ actionId }, { signal }) => {
    this.ran.push(actionId);
    return this.answer(signal);
  };
  recover: Executor['recover'] = () => Promise.resolve(this.recovered);
  isHealthy: Executor['isHealthy'] = () => Promise.resolve(this.health);
}

/** As a driver whose command takes for ever: it is ended with the node. */
export const never = (signal: AbortSignal): Promise<RunOutcome> =>
  new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });

export function temporaryRuntime(): RuntimeLayout {
  const root = mkdtempSync(join(tmpdir(), 'lazarus-runtime-'));
  onTestFinished(() => rmSync(root, { recursive: true, force: true, maxRetries: 5 }));
  const layout = runtimeLayout(root);
  for (const folder of Object.values(layout.actions)) mkdirSync(folder, { recursive: true });
  return layout;
}

export class Homelab {
  readonly layout: RuntimeLayout;
  readonly missions: string;
  readonly executor = new RecordingExecutor();
  #at: TestNode | undefined;
  #door: ActionsDoor | undefined;

  constructor(layout = temporaryRuntime(), missions = temporaryMissions()) {
    this.layout = layout;
    this.missions = missions;
  }

  get at(): TestNode {
    if (this.#at === undefined) throw new Error('no node runs');
    return this.#at;
  }

  get door(): ActionsDoor {
    if (this.#door === undefined) throw new Error('no door is open');
    return this.#door;
  }

  /** `doors`: opened beside that of the actions. */
  async start(
    options: Partial<ActionsDoorOptions> = {},
    doors: (node: MissionNode) => Promise<OpenDoor[]> = () => Promise.resolve([]),
  ): Promise<this> {
    this.#at = await startNode(
      {
        openDoors: async (node) => {
          const door = await openActionsDoor(node, {
            layout: this.layout,
            mode: 'on',
            executor: this.executor,
            log: { info: () => undefined, warn: () => undefined },
            rescanMs: 200,
            ...options,
          });
          this.#door = door;
          return [door, ...(await doors(node))];
        },
      },
      this.missions,
    );
    return this;
  }

  async restart(options: Partial<ActionsDoorOptions> = {}): Promise<this> {
    await this.at.stop();
    return this.start(options);
  }

  path(status: ActionStatus, id: string): string {
    return join(this.layout.actions[status], `${id}.json`);
  }

  /** As the planner of the source writes it: beside, then renamed. */
  put(status: ActionStatus, id: string, content: JsonObject = proposal(id)): void {
    const temporary = join(this.layout.actions[status], `.${id}.put`);
    writeFileSync(temporary, JSON.stringify(content));
    renameSync(temporary, this.path(status, id));
  }

  move(id: string, from: ActionStatus, to: ActionStatus): void {
    renameSync(this.path(from, id), this.path(to, id));
  }

  /** The folders in which a file of this id stands. */
  folders(id: string): ActionStatus[] {
    return ACTION_STATUSES.filter((status) => existsSync(this.path(status, id)));
  }

  content(id: string): JsonObject {
    const [status] = this.folders(id);
    if (status === undefined) throw new Error(`${id} is nowhere`);
    return JSON.parse(readFileSync(this.path(status, id), 'utf8')) as JsonObject;
  }

  verb(name: string, input: JsonValue): Promise<JsonObject> {
    return runVerb(this.at.node, name, input) as Promise<JsonObject>;
  }

  knows(id: string): boolean {
    return this.at.node.kernel.system.has(actionAddress(id));
  }

  view(id: string): ActionView {
    const { snapshot } = this.at.node.kernel.system.read(actionAddress(id));
    return actionView(snapshot.context as ActionContext, snapshot.value as JsonValue);
  }

  /** Until its actor is at this; `underway.waiting` is `waiting`. */
  is(id: string, state: string): Promise<ActionView> {
    return eventually(
      () => {
        if (!this.knows(id)) throw new Error(`${id} is not known`);
        const view = this.view(id);
        if (view.state !== state && view.status !== state)
          throw new Error(`${id} is ${view.status}, at ${view.state}: ${view.story.join('\n')}`);
        return view;
      },
      { timeoutMs: 15_000 },
    );
  }

  part(name: 'actions' | 'executor'): JsonObject {
    return this.at.node.status().parts[name] as JsonObject;
  }
}

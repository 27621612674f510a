/**
 * A whole node on a temporary missions folder, as an operator would run it: real files, real processes, no fakes. Missions
 * are dropped as files; what came of them is read from the files people read, and from the status.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { MissionNode } from '../../actors/node.ts';
import type { NodeOptions } from '../../actors/node.ts';
import type {
  AgentStatusView,
  CellStatusView,
  DoubtView,
  RevivalView,
  TaskStatusView,
} from '../../actors/status.ts';
import { cellAddress, lazarusAddress } from '../../machines/addresses.ts';
import type { CellContext } from '../../machines/cell-context.ts';
import type { JsonObject } from '../../machines/json.ts';
import { put } from './cell-files.ts';
import { eventually } from './eventually.ts';
import type { AtEnd } from './shared.ts';

export type Options = Partial<Omit<NodeOptions, 'missionsDir' | 'log'>>;

/** A step in a shell. It tells its own name to `artifacts/runs` first, so that every run can be counted. */
export function step(name: string, script = 'true', more: JsonObject = {}): JsonObject {
  const told = `echo "$LAZARUS_TASK/$LAZARUS_STEP" >> artifacts/runs; ${script}`;
  return { name, run: ['sh', '-c', told], retry: 'safe', ...more };
}

export function task(id: string, steps: JsonObject[], more: JsonObject = {}): JsonObject {
  return { task_id: id, title: `Task ${id}`, steps, ...more };
}

export function agent(id: string, more: JsonObject = {}): JsonObject {
  return { agent_id: id, name: `Agent ${id}`, role: 'lead', ...more };
}

/** A mission as one file: one lead, steps in the host, revived without asking, unless `more` says otherwise. */
export function mission(id: string, tasks: JsonObject[], more: JsonObject = {}): JsonObject {
  return {
    cell_id: id,
    mission_name: `Mission ${id}`,
    isolation_level: 'none',
    policies: { auto_revive: 'yes' },
    agents: [agent('lead')],
    tasks,
    ...more,
  };
}

/** A script that goes on only when `release` was called for its name, so that a test needs no guessed times. */
export const gate = (name: string): string =>
  `touch artifacts/${name}.waiting; while [ ! -e artifacts/${name}.open ]; do sleep 0.02; done`;

export interface Warning {
  message: string;
  fields: Record<string, unknown>;
}

export class TestNode {
  readonly missions: string;
  node: MissionNode;
  readonly warnings: Warning[];
  #stopped = false;

  constructor(missions: string, node: MissionNode, warnings: Warning[]) {
    this.missions = missions;
    this.node = node;
    this.warnings = warnings;
  }

  /** Clean stop; a second call does nothing. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    await this.node.stop();
  }

  /** Clean stop, and a new life on the same folder. `meanwhile` runs while no node does. */
  async restart(options: Options = {}, meanwhile: () => void = () => {}): Promise<void> {
    await this.stop();
    meanwhile();
    this.node = await openNode(this.missions, options, this.warnings);
    this.#stopped = false;
  }

  // ---- a person with a shell -------------------------------------------------------------------------------------------

  drop(file: JsonObject): void {
    dropInto(this.missions, file);
  }

  path(cellId: string, path = ''): string {
    return join(this.missions, cellId, path);
  }

  text(cellId: string, path: string): string {
    return readFileSync(this.path(cellId, path), 'utf8');
  }

  json(cellId: string, path: string): JsonObject {
    return JSON.parse(this.text(cellId, path)) as JsonObject;
  }

  exists(cellId: string, path: string): boolean {
    return existsSync(this.path(cellId, path));
  }

  /** Writes a file as an editor does: a new one, renamed over the old. */
  write(cellId: string, path: string, content: unknown): void {
    const temporary = `${dirname(path)}/.edit~`;
    put(this.path(cellId), temporary, content);
    renameSync(this.path(cellId, temporary), this.path(cellId, path));
  }

  /** Changes fields of a file as it stands now, its `_rev` included. */
  edit(cellId: string, path: string, change: JsonObject): void {
    this.write(cellId, path, { ...this.json(cellId, path), ...change });
  }

  /** An edit that the runtime answers by changing the file, and that answer. */
  async request(cellId: string, path: string, change: JsonObject): Promise<void> {
    const before = await eventually(() => {
      // A status counts only in an edit of what the file says at present: let a projection under way arrive first.
      const { _rev } = this.json(cellId, path);
      const { context } = this.node.kernel.system.read(cellAddress(cellId)).snapshot;
      if ((context as CellContext).files[path]?.rev !== _rev) throw new Error(`${path} is behind`);
      return _rev;
    });
    this.edit(cellId, path, change);
    await eventually(() => {
      if (this.json(cellId, path)['_rev'] === before) throw new Error(`${path} is not answered`);
    });
  }

  open(cellId: string, name: string): void {
    writeFileSync(this.path(cellId, `artifacts/${name}.open`), '');
  }

  /** The steps that ran, in order. */
  runs(cellId: string): string[] {
    if (!this.exists(cellId, 'artifacts/runs')) return [];
    return this.text(cellId, 'artifacts/runs').split('\n').slice(0, -1);
  }

  /** How often each step ran. */
  counts(cellId: string): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const run of this.runs(cellId)) counts[run] = (counts[run] ?? 0) + 1;
    return counts;
  }

  // ---- what the node says ----------------------------------------------------------------------------------------------

  cell(cellId: string): CellStatusView {
    return found(
      this.node.status().cells.find((c) => c.cell_id === cellId),
      cellId,
    );
  }

  task(cellId: string, taskId: string): TaskStatusView {
    return found(
      this.cell(cellId).tasks.find((t) => t.task_id === taskId),
      taskId,
    );
  }

  agent(cellId: string, agentId = 'lead'): AgentStatusView {
    return found(
      this.cell(cellId).agents.find((a) => a.agent_id === agentId),
      agentId,
    );
  }

  revival(cellId: string, agentId = 'lead'): RevivalView {
    const { revivals } = this.node.status();
    return found(
      revivals.find((r) => r.cell_id === cellId && r.agent_id === agentId),
      `revival of ${agentId}`,
    );
  }

  doubt(cellId: string): DoubtView {
    return found(
      this.node.status().in_doubt.find((d) => d.cell_id === cellId),
      `doubt in ${cellId}`,
    );
  }

  /** Lines of the revival ledger about one cell. */
  ledger(cellId: string): JsonObject[] {
    const file = this.node.layout.revivalLedger;
    if (!existsSync(file)) return [];
    const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
    return lines.map((l) => JSON.parse(l) as JsonObject).filter((l) => l['cell_id'] === cellId);
  }

  // ---- verbs -----------------------------------------------------------------------------------------------------------

  async tell(cellId: string, event: { type: string } & JsonObject): Promise<void> {
    await this.node.kernel.system.send(cellAddress(cellId), event);
  }

  async tellLazarus(cellId: string, event: { type: string } & JsonObject): Promise<void> {
    await this.node.kernel.system.send(lazarusAddress(cellId, 'lead'), event);
  }

  async settle(cellId: string, kind: 'done' | 'not_started' | 'failed'): Promise<void> {
    const { key } = this.doubt(cellId);
    const error = { name: 'Error', message: 'settled as failed by a person' };
    const verdict = kind === 'failed' ? { kind, error } : { kind };
    await this.node.kernel.system.settle(key, verdict, 'a person');
  }

  isAwake(cellId: string): boolean {
    return this.node.kernel.system.actors.get(cellAddress(cellId))?.resident !== undefined;
  }

  /** Idle actors leave memory now, not after a while; resolves when this cell has. */
  async asleep(cellId: string): Promise<void> {
    await eventually(async () => {
      await this.node.kernel.passivateIdle();
      if (this.isAwake(cellId)) throw new Error(`${cellId} is awake`);
    });
  }

  /** Kills the worker of an agent at once; resolves with the pid it had. */
  async killWorker(cellId: string, agentId = 'lead'): Promise<number> {
    const pid = await eventually(() => found(this.agent(cellId, agentId).pid ?? undefined, 'pid'));
    process.kill(pid, 'SIGKILL');
    return pid;
  }

  // ---- waiting ---------------------------------------------------------------------------------------------------------

  /** Until the files and the status agree that the cell is so. */
  async cellIs(cellId: string, status: string): Promise<void> {
    await eventually(() => {
      const { status: said, reason } = this.cell(cellId);
      const written = this.json(cellId, 'cell.json')['status'];
      if (said !== status || (written !== status && status !== 'held'))
        throw new Error(`${cellId} is ${said}, its file says ${String(written)}; ${reason ?? ''}`);
    });
  }

  /** Until the files and the status agree that the task is so. */
  async taskIs(cellId: string, taskId: string, status: string): Promise<void> {
    await eventually(() => {
      const { status: said, blocked_reason: reason } = this.task(cellId, taskId);
      const written = this.json(cellId, `tasks/${taskId}.json`)['status'];
      if (said !== status || written !== status)
        throw new Error(
          `${cellId}/${taskId} is ${said}, its file says ${String(written)}; ${reason ?? ''}`,
        );
    });
  }

  /** Until the step that stands at this gate has begun to wait. */
  async waitsAt(cellId: string, name: string): Promise<void> {
    await eventually(() => {
      if (!this.exists(cellId, `artifacts/${name}.waiting`)) throw new Error(`nobody at ${name}`);
    });
  }

  /** Until the file holds these values. */
  async fileSays(cellId: string, path: string, values: JsonObject): Promise<JsonObject> {
    return eventually(() => {
      const file = this.json(cellId, path);
      for (const [key, value] of Object.entries(values))
        if (JSON.stringify(file[key] ?? null) !== JSON.stringify(value))
          throw new Error(`${path}: ${key} is ${JSON.stringify(file[key] ?? null)}`);
      return file;
    });
  }
}

/** A node on a new missions folder, stopped and removed when the test ends. */
export async function startNode(
  options: Options = {},
  missions?: string,
  atEnd: AtEnd = onTestFinished,
): Promise<TestNode> {
  const folder = missions ?? temporaryMissions(atEnd);
  const warnings: Warning[] = [];
  const fixture = new TestNode(folder, await openNode(folder, options, warnings), warnings);
  atEnd(() => fixture.stop());
  return fixture;
}

/** Removed after the nodes on it have stopped: `onTestFinished` runs in reverse order. */
export function temporaryMissions(atEnd: AtEnd = onTestFinished): string {
  const folder = mkdtempSync(join(tmpdir(), 'lazarus-node-'));
  atEnd(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}

async function openNode(
  missionsDir: string,
  options: Options,
  warnings: Warning[],
): Promise<MissionNode> {
  const note = (fields: object, message: string): void =>
    void warnings.push({ message, fields: { ...fields } });
  return MissionNode.start({
    missionsDir,
    version: 'test',
    drainMs: 100,
    log: { info: () => undefined, warn: note, error: note },
    ...options,
  });
}

export function dropInto(missions: string, file: JsonObject): void {
  const name = `${String(file['cell_id'] ?? 'mission')}.json`;
  put(missions, `.${name}~`, file);
  renameSync(join(missions, `.${name}~`), join(missions, name));
}

/** Their effect must not come twice. */
export const NEVER = { retry: 'never' };

/** Steps `a` and `c` must not run twice; `b` stands at the gate `g`. */
export const threeSteps = (b: JsonObject = {}): JsonObject[] => [
  task('t', [step('a', 'true', NEVER), step('b', gate('g'), b), step('c', 'true', NEVER)]),
];

/** A copy of the mission `c` as a killed node leaves it: its newest records are in that node's journal alone. */
export async function leftUnclean(): Promise<{ missions: string; path: string }> {
  const missions = temporaryMissions();
  const node = await startNodeProcess(missions);
  dropInto(missions, mission('c', threeSteps()));
  await eventually(() => {
    if (!existsSync(join(missions, 'c/artifacts/g.waiting'))) throw new Error('not there yet');
  });
  await node.crash();
  return { missions, path: join(missions, 'c') };
}

const entry = fileURLToPath(new URL('node-child.ts', import.meta.url));

/** A node in a process of its own, for tests that kill it. */
export async function startNodeProcess(missions: string): Promise<{
  child: ChildProcess;
  /** SIGKILL; resolves when it is gone. */
  crash(): Promise<void>;
}> {
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', entry, missions],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const exited = once(child, 'exit');
  const crash = async (): Promise<void> => {
    child.kill('SIGKILL');
    await exited;
  };
  onTestFinished(crash);
  await Promise.race([
    once(child.stdout, 'data'),
    exited.then(() => Promise.reject(new Error('the node did not start'))),
  ]);
  return { child, crash };
}

function found<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`no ${what}`);
  return value;
}

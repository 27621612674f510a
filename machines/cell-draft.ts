/**
 * The draft in which one event changes a cell. It copies what it touches and nothing else; when the event is done,
 * `finish` gives the new context, and `outbox` the messages to send.
 *
 * D1 The context that went in is never changed.
 * D2 A file's rev rises by one exactly when what the file should say has changed by this event.
 */
import { invariant } from './invariant.ts';
import { jsonEqual } from './json.ts';
import type { JsonObject } from './json.ts';
import type { AgentEvent, LazarusEvent, Stamp } from './events.ts';
import type { FileState } from './merge.ts';
import type { Outgoing } from './outgoing.ts';
import { agentAddress } from './addresses.ts';
import { toAgent, toLazarus, toLazarusIfAny } from './outgoing.ts';
import { projectFile } from './projection.ts';
import { agentPath, CELL_PATH, findAgent, findTask, taskPath } from './cell-context.ts';
import type { AgentState, CellContext, TaskState } from './cell-context.ts';

const MAX_NOTES = 50;
const MAX_NOTE_LENGTH = 500;

/** One event's worth of change. */
export class CellDraft {
  readonly before: CellContext;
  readonly stamp: Stamp;
  readonly outbox: Outgoing[] = [];
  #context: CellContext;
  /** Files whose projection may have changed. */
  readonly #touched = new Set<string>();

  constructor(context: CellContext, stamp: Stamp) {
    this.before = context;
    this.stamp = stamp;
    this.#context = context;
  }

  get context(): CellContext {
    return this.#context;
  }

  patch(change: Partial<CellContext>): void {
    this.#context = { ...this.#context, ...change };
  }

  setFile(path: string, file: FileState | null): void {
    if (this.#context.files === this.before.files) this.patch({ files: { ...this.before.files } });
    if (file === null) delete this.#context.files[path];
    else this.#context.files[path] = file;
    this.#touched.add(path);
  }

  /** The task must be known. */
  setTask(taskId: string, change: Partial<TaskState>): void {
    const task = findTask(this.#context, taskId);
    invariant(task, `task ${taskId} is known`);
    this.putTask(taskId, { ...task, ...change });
  }

  putTask(taskId: string, task: TaskState): void {
    if (this.#context.tasks === this.before.tasks) this.patch({ tasks: { ...this.before.tasks } });
    this.#context.tasks[taskId] = task;
    this.#touched.add(taskPath(taskId));
  }

  dropTask(taskId: string): void {
    const { [taskId]: _dropped, ...tasks } = this.#context.tasks;
    this.patch({ tasks });
  }

  /** The agent must be known. */
  setAgent(agentId: string, change: Partial<AgentState>): void {
    const agent = findAgent(this.#context, agentId);
    invariant(agent, `agent ${agentId} is known`);
    this.putAgent(agentId, { ...agent, ...change });
  }

  putAgent(agentId: string, agent: AgentState): void {
    if (this.#context.agents === this.before.agents)
      this.patch({ agents: { ...this.before.agents } });
    this.#context.agents[agentId] = agent;
    this.#touched.add(agentPath(agentId));
    // What is said of its run stands in the task's file.
    if (agent.currentTask !== null) this.#touched.add(taskPath(agent.currentTask));
  }

  dropAgent(agentId: string): void {
    const { [agentId]: _dropped, ...agents } = this.#context.agents;
    this.patch({ agents });
  }

  /** Something a person should be able to find out later. */
  note(text: string): void {
    const note = { at: this.stamp.at, text: text.slice(0, MAX_NOTE_LENGTH) };
    this.patch({ notes: [...this.#context.notes, note].slice(-MAX_NOTES) });
  }

  tell(agentId: string, event: AgentEvent): void {
    this.outbox.push(toAgent(this.#context.cellId, agentId, event));
  }

  tellLazarus(agentId: string, event: LazarusEvent): void {
    this.outbox.push(toLazarus(this.#context.cellId, agentId, event));
  }

  /** An agent that never failed has none. */
  tellLazarusIfAny(agentId: string, event: LazarusEvent): void {
    this.outbox.push(toLazarusIfAny(this.#context.cellId, agentId, event));
  }

  spawnAgent(agentId: string, input: JsonObject): void {
    const address = agentAddress(this.#context.cellId, agentId);
    this.outbox.push({ type: 'spawn', params: { address, machine: 'agent', input } });
  }

  stopAgent(agentId: string, reason: string): void {
    const address = agentAddress(this.#context.cellId, agentId);
    this.outbox.push({ type: 'stop', params: { address, reason } });
  }

  /** D2 */
  finish(): CellContext {
    const { phase, reason } = this.before;
    if (phase !== this.#context.phase || reason !== this.#context.reason)
      this.#touched.add(CELL_PATH);
    for (const path of this.#touched) {
      const file = this.#context.files[path];
      if (!file || !this.before.files[path]) continue;
      if (jsonEqual(projectFile(this.before, path), projectFile(this.#context, path))) continue;
      this.setFile(path, { ...file, rev: file.rev + 1 });
    }
    return this.#context;
  }
}

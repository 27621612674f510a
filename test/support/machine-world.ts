/**
 * Cells, agents and Lazarus together, without a runtime: what one machine sends is delivered to the other in order, what
 * it spawns is there, and every effect waits until the test says how it ends. A `restarting` world folds every actor from
 * its persisted form before each event; it must be no different from one that does not. An actor that is held keeps its
 * mail, and its effects run on; what the runtime tells Lazarus about an agent (actors/failure-reports.ts) the test tells.
 */
import { agentMachine } from '../../machines/agent.machine.ts';
import { cellMachine } from '../../machines/cell.machine.ts';
import { lazarusMachine } from '../../machines/lazarus.machine.ts';
import { agentAddress, cellAddress, lazarusAddress } from '../../machines/addresses.ts';
import { rolledBackAgent } from '../../machines/agent-rollback.ts';
import type { CellContext } from '../../machines/cell-context.ts';
import { cellFileOf } from '../../machines/cell-context.ts';
import { policiesOf } from '../../machines/cell-settle.ts';
import type { CellEvent, LazarusEvent, SendParams } from '../../machines/events.ts';
import { DEFAULT_RESTART } from '../../machines/mission.ts';
import type { FileChange, Policies, RestartIntensity } from '../../machines/mission.ts';
import { asJsonObject } from '../../machines/json.ts';
import type { JsonObject } from '../../machines/json.ts';
import { projectFile } from '../../machines/projection.ts';
import { MachineDriver } from './machine-driver.ts';
import type { Reaction } from './machine-driver.ts';

export const CELL = 'c1';
const MACHINES = { agent: agentMachine, cell: cellMachine, lazarus: lazarusMachine };
/** How many states of an agent are kept. */
const PAST = 8;
/** More than any chain of messages in these tests: beyond it, two machines answer each other for ever. */
const MAX_DELIVERIES = 20_000;

export class MachineWorld {
  readonly clock = { at: 1_700_000_000_000, up: 0 };
  readonly actors = new Map<string, MachineDriver>();
  /** Every message delivered, in order. */
  readonly log: SendParams[] = [];
  readonly #restarting: boolean;
  /** The last states of each agent, as checkpoints would hold them. */
  readonly #past = new Map<string, string[]>();
  /** Mail of those that are held. */
  readonly #held = new Map<string, SendParams[]>();
  /** Called after each event that an actor took. */
  readonly #watch: (address: string, type: string) => void;

  constructor({ restarting = false, watch = () => {}, daemon = {} }: WorldOptions = {}) {
    this.#restarting = restarting;
    this.#watch = watch;
    this.#spawn(cellAddress(CELL), 'cell', asJsonObject({ cellId: CELL, ...daemon }));
  }

  get cell(): CellContext {
    return this.actor(cellAddress(CELL)).snapshot.context;
  }

  actor(address: string): MachineDriver {
    const driver = this.actors.get(address);
    if (!driver) throw new Error(`no actor at ${address}`);
    return driver;
  }

  agent(agentId: string): MachineDriver {
    return this.actor(agentAddress(CELL, agentId));
  }

  lazarus(agentId: string): MachineDriver {
    return this.actor(lazarusAddress(CELL, agentId));
  }

  pass(ms: number): void {
    this.clock.at += ms;
    this.clock.up += ms;
  }

  files(...changes: FileChange[]): void {
    this.tell({ type: 'files.changed', changes });
  }

  /** A request to the cell, and all that follows from it. */
  tell(event: CellEvent): void {
    this.send(cellAddress(CELL), event);
  }

  send(to: string, event: { type: string }): void {
    this.#follow(this.#deliver(to, event));
  }

  done(address: string, effect: string, output: unknown = null): void {
    this.#restart(address);
    const reaction = this.actor(address).done(effect, output);
    this.#note(address, `xstate.done.actor.${effect}`);
    this.#follow(reaction);
  }

  fails(address: string, effect: string, message: string, code?: string): void {
    this.#restart(address);
    const reaction = this.actor(address).fails(effect, message, code);
    this.#note(address, `xstate.error.actor.${effect}`);
    this.#follow(reaction);
  }

  /** From now on its mail is kept. */
  hold(address: string): void {
    if (this.actors.has(address) && !this.#held.has(address)) this.#held.set(address, []);
  }

  isHeld(address: string): boolean {
    return this.#held.has(address);
  }

  /** What was kept is delivered in order, and only then what comes of it. */
  release(address: string): void {
    const kept = this.#held.get(address) ?? [];
    this.#held.delete(address);
    const reactions = kept.map(({ to, event }) => this.#deliver(to, event));
    this.#follow(...reactions);
  }

  /** What the runtime tells Lazarus of an agent that cannot report by itself. */
  report(agentId: string, type: 'agent.failed' | 'agent.faulted', message: string): void {
    const taskId = this.cell.agents[agentId]?.currentTask ?? null;
    const reason = type === 'agent.failed' ? 'actor_held' : 'event_rejected';
    const signature = `${reason}:x@${taskId ?? 'idle'}`;
    const event: LazarusEvent = {
      type,
      failure: { reason, signature, message, taskId, step: null, progress: -1 },
      policies: policiesOf(this.cell, agentId).values,
      restart: cellFileOf(this.cell).restart ?? this.cell.daemonRestart ?? DEFAULT_RESTART,
    };
    const address = lazarusAddress(CELL, agentId);
    if (!this.actors.has(address)) this.#spawn(address, 'lazarus', { cellId: CELL, agentId });
    this.send(address, event);
  }

  /** The persisted state an actor had `n` events ago; null before its first. */
  earlier(address: string, n: number): string | null {
    return this.#past.get(address)?.at(-1 - n) ?? null;
  }

  /** The agent's state is put back, as the runtime does it for Lazarus. `earlier`: what `persisted()` said of it then. */
  rollBack(agentId: string, earlier: string): void {
    const agent = this.agent(agentId);
    const back = rolledBackAgent(
      JSON.parse(earlier) as JsonObject,
      JSON.parse(agent.persisted()) as JsonObject,
      this.clock.up,
    );
    agent.wakeIn(JSON.stringify(back));
  }

  spawnAgent(agentId: string, level: string): void {
    this.#spawn(agentAddress(CELL, agentId), 'agent', { cellId: CELL, agentId, level });
  }

  /** Lets every effect of these names end well, as often as they come up. */
  run(outputs: Record<string, unknown>): void {
    for (let i = 0; i < 10_000; i += 1) {
      const next = [...this.actors].flatMap(([address, { running }]) =>
        [...running.keys()].filter((id) => id in outputs).map((id) => ({ address, id })),
      )[0];
      if (!next) return;
      this.done(next.address, next.id, outputs[next.id]);
    }
    throw new Error('effects come up for ever');
  }

  /** What a file says now. */
  file(path: string): JsonObject {
    return projectFile(this.cell, path) ?? {};
  }

  task(taskId: string): JsonObject {
    return this.file(`tasks/${taskId}.json`);
  }

  persisted(): Record<string, string> {
    return Object.fromEntries([...this.actors].map(([at, driver]) => [at, driver.persisted()]));
  }

  #deliver(to: string, event: { type: string }): Reaction {
    const kept = this.#held.get(to);
    if (kept) {
      kept.push({ to, event: asJsonObject(event) as SendParams['event'] });
      return NOTHING;
    }
    this.#restart(to);
    const reaction = this.actor(to).deliver(event);
    this.#note(to, event.type);
    return reaction;
  }

  #note(address: string, type: string): void {
    if (address.includes('/agent/')) {
      const past = this.#past.get(address) ?? [];
      this.#past.set(address, [...past, this.actor(address).persisted()].slice(-PAST));
    }
    this.#watch(address, type);
  }

  #restart(address: string): void {
    if (this.#restarting) this.actors.get(address)?.restore();
  }

  #follow(...first: Reaction[]): void {
    const queue: SendParams[] = [];
    for (const reaction of first) this.#enact(reaction, queue);
    for (let i = 0; i < queue.length; i += 1) {
      const message = queue[i];
      if (i > MAX_DELIVERIES) throw new Error('messages without end');
      if (!message || !this.actors.has(message.to)) continue;
      this.log.push(message);
      this.#enact(this.#deliver(message.to, message.event), queue);
    }
  }

  /** In the kernel, what was sent to an actor before it was stopped is delivered; here it is stopped last, to the same end. */
  #enact(reaction: Reaction, queue: SendParams[]): void {
    for (const { address, machine, input } of reaction.spawned)
      if (!this.actors.has(address)) this.#spawn(address, machine, input);
    const stopped = new Set(reaction.stopped.map(({ address }) => address));
    for (const message of reaction.sent) {
      if (stopped.has(message.to)) {
        this.log.push(message);
        this.#enact(this.#deliver(message.to, message.event), queue);
      } else queue.push(message);
    }
    for (const address of stopped) {
      this.actors.delete(address);
      this.#held.delete(address);
      this.#past.delete(address);
    }
  }

  #spawn(address: string, name: string, input: JsonObject): void {
    const machine = Object.entries(MACHINES).find(([key]) => key === name)?.[1];
    if (!machine) throw new Error(`no machine ${name}`);
    this.actors.set(address, new MachineDriver(machine, input, this.clock));
  }
}

export interface WorldOptions {
  restarting?: boolean;
  watch?: (address: string, type: string) => void;
  /** What the daemon's configuration says. */
  daemon?: { policies?: Partial<Policies>; restart?: RestartIntensity };
}

const NOTHING: Reaction = { sent: [], spawned: [], stopped: [], started: [], ended: [] };

export const SAVED = { last_checkpoint: '2026-01-01T00:00:00Z', context_hash: 'h', artifacts: [] };
export const EXIT_0 = { exitCode: 0, signal: null, timedOut: false, adopted: false };
export const EXIT_2 = { exitCode: 2, signal: null, timedOut: false, adopted: false };
/** Effects that end well without saying anything of interest. */
export const SMOOTH = {
  beginContext: SAVED,
  pauseContext: SAVED,
  endContext: SAVED,
  finish: { artifacts: [], missing: [] },
  verify: { repaired: [], contextHash: 'h' },
  endWorker: null,
  ledger: null,
  answer: null,
};
export const VERIFIED = SMOOTH.verify;
export const KILLED = { code: null, signal: 'SIGKILL' };

export function cellFile(extra: JsonObject = {}): FileChange {
  const content = {
    cell_id: CELL,
    mission_name: 'Mission',
    created_at: '2026-01-01T00:00:00Z',
    created_by: 'me',
    status: 'active',
    ...extra,
  };
  return { path: 'cell.json', kind: 'cell', id: CELL, content };
}

export function agentFile(id: string, extra: JsonObject = {}): FileChange {
  const content = { agent_id: id, name: id, role: 'lead', ...extra };
  return { path: `agents/${id}.json`, kind: 'agent', id, content };
}

export function taskFile(id: string, extra: JsonObject = {}): FileChange {
  const steps = [{ name: 'only', run: ['true'] }];
  const content = { task_id: id, title: id, steps, ...extra };
  return { path: `tasks/${id}.json`, kind: 'task', id, content };
}

export function configFile(
  id: 'isolation' | 'policies' | 'permissions',
  content: JsonObject,
): FileChange {
  return { path: `config/${id}.json`, kind: id, id, content };
}

export const gone = (change: FileChange): FileChange => ({ ...change, content: null });

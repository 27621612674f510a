/**
 * The daemon's policies on their way to the cells. Every cell keeps in its own context what it was told, so there is no
 * second record of it that could be wrong: what a cell has is compared with what holds, and only a difference is an event.
 *
 * D1 Level, not edge: a cell that missed a change (node down, cell asleep, event refused) is told when it is met again.
 * D2 A sleeping cell without an agent at work is left asleep: nothing of it decides anything until it wakes, and then it is
 *    told. So a change costs nothing for ten thousand sleeping cells. An agent at work can fail at any moment, by the
 *    policies it has: its cell is told at once, asleep or not.
 *    The first model that can be asked is told to all: a cell that waits for one may sleep.
 * D3 A cell is looked at once for each configuration, not each time one of its actors wakes.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { cellAddress, homeCell, SYSTEM_CELL_ID } from '../machines/addresses.ts';
import type { CellContext } from '../machines/cell-context.ts';
import { RuntimeError, toPlainError } from '../machines/errors.ts';
import { asJsonObject, jsonEqual } from '../machines/json.ts';
import type { Policies, RestartIntensity } from '../machines/mission.ts';
import { NO_INVOKES } from './fold.ts';
import type { Invokes } from './records.ts';
import type { ActorSystem, SystemLog } from './system.ts';

/** Cells told at a time. */
const BATCH = 256;

export interface DaemonWord {
  policies: Partial<Policies>;
  restart: RestartIntensity | null;
  /** A model is there to be asked. */
  models: boolean;
}

export class DaemonPolicies {
  readonly #log: SystemLog;
  #system: ActorSystem | undefined;
  /** Undefined: this node has no configuration to tell (a visit of the command line). */
  #word: DaemonWord | undefined;
  /** D3. */
  #met = new Set<string>();
  /** Addresses that woke and were not looked at yet. */
  readonly #awake = new Set<string>();
  #working: Promise<void> | undefined;

  constructor(log: SystemLog) {
    this.#log = log;
  }

  /** Actors that woke before are seen to now. */
  attach(system: ActorSystem): void {
    this.#system = system;
    if (this.#awake.size > 0) this.#schedule();
  }

  /** From now on this holds. */
  set(word: DaemonWord): void {
    if (this.#word && jsonEqual(asJsonObject(this.#word), asJsonObject(word))) return;
    const hasNewModels = word.models && this.#word?.models !== true;
    this.#word = word;
    this.#met = new Set();
    for (const actor of this.#system?.actors.values() ?? [])
      if (hasNewModels || actor.resident !== undefined) this.woke(actor.address);
  }

  /** An actor is about to be in memory. */
  woke(address: string): void {
    const cellId = homeCell(address);
    if (this.#word === undefined || cellId === SYSTEM_CELL_ID || this.#met.has(cellId)) return;
    this.#awake.add(address);
    this.#schedule();
  }

  /** Resolves when every cell that is to be told has been. */
  async settled(): Promise<void> {
    while (this.#working) await this.#working;
  }

  /** Tells nobody any more. */
  stop(): Promise<void> {
    this.#word = undefined;
    this.#awake.clear();
    return this.settled();
  }

  /** After the turn that wakes: what that does comes first in the journal. */
  #schedule(): void {
    if (this.#working !== undefined || this.#system === undefined) return;
    this.#working = nextTurn()
      .then(() => this.#tellAll())
      .finally(() => {
        this.#working = undefined;
        if (this.#awake.size > 0) this.#schedule();
      });
  }

  /** In batches, so that the doors stay open for others; one round at a time, for what is under way is not readable yet. */
  async #tellAll(): Promise<void> {
    const system = this.#system;
    const batch: Promise<void>[] = [];
    const round = [...this.#awake];
    this.#awake.clear();
    for (const address of round) {
      const cellId = homeCell(address);
      const invokes = system?.actors.get(address)?.resident?.state.invokes ?? NO_INVOKES;
      const decides = address === cellAddress(cellId) || isAtWork(invokes);
      if (!decides || this.#met.has(cellId)) continue; // D2, D3
      this.#met.add(cellId);
      batch.push(this.#tell(cellId));
      if (batch.length >= BATCH) await Promise.all(batch.splice(0));
    }
    await Promise.all(batch);
  }

  /** D1. */
  async #tell(cellId: string): Promise<void> {
    const [system, word, address] = [this.#system, this.#word, cellAddress(cellId)];
    if (system === undefined || word === undefined || !system.has(address)) return;
    try {
      const context = system.read(address).snapshot.context as CellContext;
      const told = {
        policies: context.daemonPolicies,
        restart: context.daemonRestart ?? null,
        models: context.hasModels ?? false,
      };
      if (jsonEqual(asJsonObject(told), asJsonObject(word))) return;
      await system.send(address, { type: 'daemon.configured', ...asJsonObject(word) });
    } catch (error) {
      this.#met.delete(cellId); // D1: the next waking tries again
      if (error instanceof RuntimeError && error.code === 'ACTOR_HELD') return;
      this.#log.warn({ cellId, error: toPlainError(error) }, 'cell not told the configuration');
    }
  }
}

/** An effect of it runs: one that only waits for a time cannot fail. */
const isAtWork = (invokes: Invokes): boolean =>
  Object.values(invokes).some(({ src }) => src !== 'waitUntil');

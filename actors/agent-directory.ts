/**
 * Which agents there are, by id: what heartbeats, the gateway's routes and the health report ask all the time. A cell's
 * committed context is the truth; the few facts that are needed of it are kept here, and read again only after the cell
 * committed something, so that neither a report nor a beat wakes a cell or folds its checkpoint.
 *
 * I1 Only committed state is read (P1), and reading it wakes nobody.
 * I2 A cell that cannot be read (held) keeps the agents it was last known to have (P6).
 * I3 Cells that commit without a pause are read again at most for a tenth of the time.
 */
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { cellAddress, SYSTEM_CELL_ID } from '../machines/addresses.ts';
import { agentFileOf, agentStatus } from '../machines/cell-context.ts';
import type { CellContext } from '../machines/cell-context.ts';
import { cellStatus } from '../machines/projection.ts';
import type { ActorSystem } from './system.ts';

export interface KnownAgent {
  cellId: string;
  agentId: string;
  isRemote: boolean;
  /** Name of its gateway, as its file has it. */
  gateway: string | null;
  /** What its cell shows of it. */
  hasFailed: boolean;
  reason: string | null;
  /** Its mission runs: it has not ended, is not paused, not held. */
  isExpected: boolean;
}

/** Cells read in one turn of the event loop. */
const SLICE = 25;
/** Between two slices of the first reading, while nobody waits for it. */
const REST_MS = 10;

const RUNNING_PHASES: readonly string[] = ['working', 'verifying', 'confirming'];

export class AgentDirectory {
  readonly #system: ActorSystem;
  readonly #cells = new Map<string, KnownAgent[]>();
  /** What people see of each cell; `held` of one that cannot be read. */
  readonly #statuses = new Map<string, string>();
  /** Most ids stand in one cell; a name that every mission uses (`lead`) stands in thousands. */
  readonly #byId = new Map<string, KnownAgent | Map<string, KnownAgent>>();
  readonly #dirty = new Set<string>();
  #filling: Promise<void> | undefined;
  #isFilled = false;
  /** Somebody waits for the first reading: no rests. */
  #isUrgent = false;
  #closed = false;
  #readAgainAt = 0;

  constructor(system: ActorSystem) {
    this.#system = system;
    system.on('committed', this.#committed);
    system.on('released', this.#released);
  }

  /** Reads every cell for the first time, in the background. */
  fill(): Promise<void> {
    return (this.#filling ??= this.#fill());
  }

  /** Resolves when all cells have been read once; until then an id that is not known may still turn up. */
  async ready(): Promise<void> {
    if (this.#isFilled) return;
    this.#isUrgent = true;
    await this.fill();
  }

  get isFilled(): boolean {
    return this.#isFilled;
  }

  get cells(): number {
    this.#refresh();
    return this.#cells.size;
  }

  /** How many cells there are of each status. */
  statuses(): Map<string, number> {
    this.#refresh();
    const counts = new Map<string, number>();
    for (const status of this.#statuses.values()) counts.set(status, (counts.get(status) ?? 0) + 1);
    return counts;
  }

  /** The agents of this id, one for each cell that has one. */
  withId(agentId: string): readonly KnownAgent[] {
    this.#refresh();
    const found = this.#byId.get(agentId);
    if (found === undefined) return [];
    return found instanceof Map ? [...found.values()] : [found];
  }

  find(cellId: string, agentId: string): KnownAgent | undefined {
    this.#refresh();
    const found = this.#byId.get(agentId);
    if (found instanceof Map) return found.get(cellId);
    return found?.cellId === cellId ? found : undefined;
  }

  /** Whether the bare id names exactly one agent. */
  isUnique(agentId: string): boolean {
    this.#refresh();
    const found = this.#byId.get(agentId);
    return found !== undefined && !(found instanceof Map);
  }

  hasCell(cellId: string): boolean {
    this.#refresh();
    return this.#cells.has(cellId);
  }

  *all(): Generator<KnownAgent> {
    this.#refresh();
    for (const agents of this.#cells.values()) yield* agents;
  }

  close(): void {
    this.#closed = true;
    this.#system.off('committed', this.#committed);
    this.#system.off('released', this.#released);
  }

  readonly #committed = ({ address }: { address: string }): void => {
    if (!address.startsWith('cell/')) return;
    const cellId = address.slice('cell/'.length);
    if (!cellId.includes('/') && cellId !== SYSTEM_CELL_ID) this.#dirty.add(cellId);
  };

  readonly #released = (address: string): void => this.#committed({ address });

  async #fill(): Promise<void> {
    const addresses = [...this.#system.actors.keys()].filter((a) => /^cell\/[^/]+$/.test(a));
    let inSlice = 0;
    for (const address of addresses) {
      if (this.#closed) return;
      const cellId = address.slice('cell/'.length);
      if (cellId === SYSTEM_CELL_ID || this.#cells.has(cellId)) continue;
      this.#read(cellId);
      inSlice += 1;
      if (inSlice % SLICE === 0) await (this.#isUrgent ? turn() : sleep(REST_MS));
    }
    this.#isFilled = true;
  }

  /** I3. */
  #refresh(): void {
    if (this.#dirty.size === 0) return;
    const now = performance.now();
    if (now < this.#readAgainAt) return;
    const dirty = [...this.#dirty];
    this.#dirty.clear();
    for (const cellId of dirty) this.#read(cellId);
    const took = performance.now() - now;
    this.#readAgainAt = now + took * 10;
  }

  #read(cellId: string): void {
    const address = cellAddress(cellId);
    if (!this.#system.has(address)) {
      this.#statuses.delete(cellId);
      return this.#replace(cellId, undefined);
    }
    try {
      const context = this.#system.read(address).snapshot.context as CellContext; // I1
      this.#statuses.set(cellId, context.phase === 'held' ? 'held' : cellStatus(context));
      this.#replace(cellId, agentsOf(cellId, context));
    } catch {
      this.#statuses.set(cellId, 'held');
      // I2. Whatever keeps it from being read, the status names it as the reason why the cell is held.
      if (!this.#cells.has(cellId)) this.#replace(cellId, []);
    }
  }

  #replace(cellId: string, agents: KnownAgent[] | undefined): void {
    for (const { agentId } of this.#cells.get(cellId) ?? []) this.#forget(cellId, agentId);
    if (agents === undefined) return void this.#cells.delete(cellId);
    this.#cells.set(cellId, agents);
    for (const agent of agents) this.#learn(agent);
  }

  #learn(agent: KnownAgent): void {
    const { cellId, agentId } = agent;
    const known = this.#byId.get(agentId);
    if (known === undefined) this.#byId.set(agentId, agent);
    else if (known instanceof Map) known.set(cellId, agent);
    else
      this.#byId.set(
        agentId,
        new Map([
          [known.cellId, known],
          [cellId, agent],
        ]),
      );
  }

  #forget(cellId: string, agentId: string): void {
    const known = this.#byId.get(agentId);
    if (!(known instanceof Map)) return void this.#byId.delete(agentId);
    known.delete(cellId);
    const [last] = known.values();
    if (known.size === 1 && last) this.#byId.set(agentId, last);
  }
}

function agentsOf(cellId: string, context: CellContext): KnownAgent[] {
  const isExpected = RUNNING_PHASES.includes(context.phase);
  return Object.entries(context.agents).map(([agentId, state]) => {
    const { runner, gateway } = agentFileOf(context, agentId);
    return {
      cellId,
      agentId,
      isRemote: runner?.kind === 'remote',
      gateway,
      hasFailed: agentStatus(state) === 'failed',
      reason: state.reason,
      isExpected,
    };
  });
}

/**
 * Every action that has an actor, in a few words each: for the status, which must not wake thousands of them, and for the
 * watch over the folders, which must know whose file it sees.
 *
 * I1 It says what is committed, and nothing else (P1).
 * I2 Of actions that have ended the newest are kept as actors; older ones are in their files and in the journal, and what they
 *    put out is removed (P8).
 */
import { actionAddress } from '../../machines/addresses.ts';
import type { ActionContext } from '../../machines/action-context.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { MachineSnapshot } from '../logic.ts';
import type { ActorSystem, CommittedRecord, SystemLog } from '../system.ts';

export const ACTIONS = actionAddress('');
/** I2. */
const KEPT_SETTLED = 1000;

export interface ActionIndexOptions {
  /** I2: no actor has this id any more. */
  onRetired?: (id: string) => void;
  /** I2. Default 1000. */
  kept?: number;
}
const MAX_DESCRIPTION = 200;

export interface ActionEntry {
  id: string;
  address: string;
  /** `underway`, `held`, ... */
  state: string;
  status: ActionContext['status'];
  /** A step of ours is under way: where its file is meanwhile says nothing. */
  isMoving: boolean;
  isOpen: boolean;
  /** Epoch ms since when its file counts; older ones of the same name are of an action before it. */
  since: number;
  settledAt: number;
  /** Why it does not go on by itself; null: it does, or has ended. */
  waits: string | null;
  until: number | null;
  description: string;
  host: string;
  service: string;
  /** Who proposed it, if it was an actor of ours. */
  origin: string | null;
}

export class ActionIndex {
  readonly #system: ActorSystem;
  readonly #log: SystemLog;
  readonly #entries = new Map<string, ActionEntry>();
  readonly #options: ActionIndexOptions;
  readonly #listen = (record: CommittedRecord): void => this.#committed(record);
  #onChange: (entry: ActionEntry) => void = () => {};
  #open = 0;

  constructor(system: ActorSystem, log: SystemLog, options: ActionIndexOptions = {}) {
    this.#system = system;
    this.#log = log;
    this.#options = options;
    for (const [address, actor] of system.actors)
      if (address.startsWith(ACTIONS) && !actor.stopped) this.#note(address);
    system.on('committed', this.#listen);
  }

  /** Called after every committed change. */
  set onChange(listener: (entry: ActionEntry) => void) {
    this.#onChange = listener;
  }

  close(): void {
    this.#system.off('committed', this.#listen);
  }

  get(id: string): ActionEntry | undefined {
    return this.#entries.get(id);
  }

  all(): Iterable<ActionEntry> {
    return this.#entries.values();
  }

  /** How many are not settled. */
  get open(): number {
    return this.#open;
  }

  #committed({ address, event }: CommittedRecord): void {
    if (!address.startsWith(ACTIONS)) return;
    if (event.type === 'actor.stopped') return this.#forget(idOf(address));
    const entry = this.#note(address);
    if (entry === undefined) return;
    this.#onChange(entry);
    if (!entry.isOpen) this.#retire();
  }

  #note(address: string): ActionEntry | undefined {
    let snapshot: MachineSnapshot;
    try {
      ({ snapshot } = this.#system.read(address));
    } catch (error) {
      if (error instanceof RuntimeError) return undefined; // held: the status says so by itself
      throw error;
    }
    const entry = entryOf(address, snapshot);
    this.#forget(entry.id);
    this.#entries.set(entry.id, entry); // last: the order is that of their last change
    if (entry.isOpen) this.#open += 1;
    return entry;
  }

  #forget(id: string): void {
    if (this.#entries.get(id)?.isOpen) this.#open -= 1;
    this.#entries.delete(id);
  }

  /** I2. */
  #retire(): void {
    const settled = this.#entries.size - this.#open;
    if (settled <= (this.#options.kept ?? KEPT_SETTLED)) return;
    for (const { id, address, isOpen } of this.#entries.values()) {
      if (isOpen) continue;
      this.#forget(id);
      void this.#stop(id, address);
      return;
    }
  }

  async #stop(id: string, address: string): Promise<void> {
    try {
      await this.#system.stop(address, 'it has ended, and many have since');
      if (!this.#system.has(address)) this.#options.onRetired?.(id); // else it has begun anew
    } catch (error) {
      this.#log.warn({ address, error: String(error) }, 'an action that has ended is kept');
    }
  }
}

function entryOf(address: string, snapshot: MachineSnapshot): ActionEntry {
  const context = snapshot.context as ActionContext;
  const { status, settledAt, proposed, facts } = context;
  const state = stateOf(snapshot.value);
  const isOpen = state !== 'settled';
  return {
    id: idOf(address),
    address,
    state,
    status,
    isMoving: snapshot.hasTag('moving'),
    isOpen,
    since: proposed?.at ?? 0,
    settledAt: settledAt ?? 0,
    waits: isOpen ? waitsFor(context, state) : null,
    until: context.gate?.until ?? null,
    description: (facts?.description ?? '').slice(0, MAX_DESCRIPTION),
    host: facts?.host ?? '',
    service: facts?.service ?? '',
    origin: context.origin,
  };
}

const stateOf = (value: unknown): string =>
  typeof value === 'string' ? value : (Object.keys(value as object)[0] ?? '');

/** In words; null: it is at work. */
export function waitsFor({ held, gate }: ActionContext, state: string): string | null {
  if (state === 'pending') return 'waits for a person to approve or reject it';
  if (state === 'held') return `held: ${held ?? '?'}`;
  if (state === 'following') return 'another executor runs it';
  return state === 'underway' ? (gate?.reason ?? null) : null;
}

/** An id as it stands in the address. */
export const idOf = (address: string): string => decodeURIComponent(address.slice(ACTIONS.length));

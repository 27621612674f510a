/**
 * What the watchers of the inspector get, and when.
 *
 * I1 While nobody watches nothing is done: the system is followed from the first watcher to the last.
 * I2 The commit path only notes what happened (two writes into memory). Reading, redacting and sending are done later, at most
 *    `SLICE_MS` of every `TICK_MS` and a bit, so that a flood or a late joiner does not hold the event loop.
 * I3 Events are sent in order. When more come than can be sent the newest are left out and counted, and watchers are told.
 * I4 A snapshot is the committed state at the time it is sent; of an actor there is at most one in `SNAPSHOT_MS` besides
 *    those of its introduction and its end, and the last change is always followed by one. Who has much to read already gets it when that is done (`waiting`).
 * I5 A newcomer is introduced to every actor, asleep or awake; one that something happens to meanwhile comes first. Nothing is
 *    sent of an actor before its introduction, and its end is always told.
 */
import type { WebSocket } from 'ws';
import type { JsonObject } from '../machines/json.ts';
import { parentOf } from './inspector-frames.ts';
import type { InspectedActor, InspectedEvent, InspectorFrames } from './inspector-frames.ts';
import { Watcher, WATCHER_LIMITS } from './inspector-watcher.ts';
import type { WatcherLimits } from './inspector-watcher.ts';

/** Committed state and records of one node. */
export interface InspectedSystem {
  readonly epoch: number;
  /** Of every actor, asleep or awake. */
  addresses(): string[];
  /** As of the last commit; undefined: none lives there. */
  look(address: string): InspectedActor | undefined;
  /** From now on, until the returned function is called. */
  follow(listener: InspectedListener): () => void;
}

export interface InspectedListener {
  /** In journal order, after the commit. An actor that stops can still be looked at during the call. */
  happened(event: InspectedEvent): void;
  /** Something about it changed without a record: it is held. */
  changed(address: string): void;
}

export interface HubOptions {
  system: InspectedSystem;
  frames: InspectorFrames;
  limits?: Partial<WatcherLimits>;
  log: { warn(fields: Record<string, unknown>, message: string): void };
}

export interface HubCounts {
  watchers: number;
  /** Watchers that were dropped, and why the last one was. */
  dropped: number;
  last_drop: string | null;
  /** Events that were shown to nobody (I3). */
  skipped_events: number;
}

const TICK_MS = 15;
const SLICE_MS = 5;
const SNAPSHOT_MS = 50;
/** Events that wait to be sent (I3). */
const MAX_EVENTS = 2048;
const BORN: ReadonlySet<string> = new Set(['actor.spawned', 'actor.brought_back']);

const NOTHING_KNOWN: InspectedActor = {
  machine: '',
  config: undefined,
  status: 'active',
  value: null,
  context: {},
  tags: [],
  output: undefined,
  error: undefined,
  effects: {},
};

type Event = { type: string } & JsonObject;

export class InspectorHub {
  readonly #system: InspectedSystem;
  readonly #frames: InspectorFrames;
  readonly #limits: WatcherLimits;
  readonly #log: HubOptions['log'];
  readonly #watchers = new Set<Watcher>();
  #events: InspectedEvent[] = [];
  #skipped = 0;
  /** Actors that changed since their last snapshot, with their last event; `#round` is being sent. */
  #changed = new Map<string, Event>();
  #round = new Map<string, Event>();
  #roundEndedAt = 0;
  /** Actors that have stopped, as they were, until that is told: behind its record, if that could be kept. */
  readonly #ended = new Map<string, { last: InspectedActor; isQueued: boolean }>();
  #unfollow: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #counts = { dropped: 0, last_drop: null as string | null, skipped_events: 0 };

  constructor({ system, frames, limits, log }: HubOptions) {
    this.#system = system;
    this.#frames = frames;
    this.#limits = { ...WATCHER_LIMITS, ...limits };
    this.#log = log;
  }

  get counts(): HubCounts {
    return { watchers: this.#watchers.size, ...this.#counts };
  }

  join(socket: WebSocket): void {
    const watcher = new Watcher(socket, {
      limits: this.#limits,
      onDrop: (reason) => this.#dropped(reason),
    });
    this.#watchers.add(watcher);
    void watcher.gone.then(() => this.#leave(watcher));
    this.#unfollow ??= this.#system.follow({
      happened: (event) => this.#happened(event),
      changed: (address) => this.#noteChange(address, { type: 'actor.changed' }),
    });
    for (const address of this.#system.addresses()) watcher.waiting.add(address);
    this.#arm();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#watchers].map((watcher) => watcher.close('the node stops')));
  }

  #dropped(reason: string): void {
    this.#counts.dropped += 1;
    this.#counts.last_drop = reason;
    this.#log.warn({ reason }, 'a watcher of the inspector was dropped');
  }

  /** I1. */
  #leave(watcher: Watcher): void {
    this.#watchers.delete(watcher);
    if (this.#watchers.size > 0) return;
    this.#unfollow?.();
    this.#unfollow = undefined;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#events = [];
    this.#skipped = 0;
    for (const map of [this.#changed, this.#round, this.#ended]) map.clear();
  }

  // ---- on the commit path (I2) ---------------------------------------------------------------------------------------

  #happened(record: InspectedEvent): void {
    const { address, event } = record;
    const isQueued = this.#events.length < MAX_EVENTS;
    if (isQueued) this.#events.push(record);
    else this.#skipped += 1;
    if (event.type === 'actor.stopped') this.#end(address, isQueued);
    else if (BORN.has(event.type)) this.#ended.delete(address);
    this.#noteChange(address, event);
  }

  #noteChange(address: string, event: Event): void {
    this.#changed.set(address, event);
    this.#arm();
  }

  #end(address: string, isQueued: boolean): void {
    const last = this.#system.look(address) ?? NOTHING_KNOWN;
    this.#ended.set(address, { last: { ...last, status: 'stopped' }, isQueued });
  }

  // ---- in slices (I2) ------------------------------------------------------------------------------------------------

  #arm(): void {
    if (this.#watchers.size > 0) this.#timer ??= setTimeout(() => this.#tick(), TICK_MS);
  }

  #tick(): void {
    this.#timer = undefined;
    const startedAt = performance.now();
    this.#sendEvents(startedAt + SLICE_MS * 0.4);
    this.#sendSnapshots(startedAt + SLICE_MS * 0.7);
    this.#introduce(startedAt + SLICE_MS);
    const isIntroducing = [...this.#watchers].some(({ waiting }) => waiting.size > 0);
    const isBusy = this.#events.length > 0 || this.#round.size > 0 || this.#changed.size > 0;
    if (isBusy || isIntroducing) this.#arm();
  }

  /** I3. At least one in each slice, as of everything else. */
  #sendEvents(until: number): void {
    for (const watcher of this.#watchers) watcher.skipped += this.#skipped;
    this.#counts.skipped_events += this.#skipped;
    this.#skipped = 0;
    let sent = 0;
    for (const record of this.#events) {
      this.#sendEvent(record);
      sent += 1;
      if (performance.now() > until) break;
    }
    if (sent > 0) this.#events.splice(0, sent);
  }

  #sendEvent(record: InspectedEvent): void {
    const { address, event } = record;
    let text: string | undefined;
    for (const watcher of this.#watchers) {
      if (BORN.has(event.type)) watcher.known.delete(address);
      if (!watcher.takesMore()) watcher.skipped += 1;
      else if (this.#present(watcher, address)) {
        if (watcher.skipped > 0) watcher.send(this.#frames.skipped(address, watcher.skipped));
        watcher.skipped = 0;
        watcher.send((text ??= this.#frames.event(record)));
      }
    }
    if (event.type === 'actor.stopped') this.#tellEnd(address, event);
  }

  #tellEnd(address: string, event: Event): void {
    const end = this.#ended.get(address);
    if (end === undefined) return; // it lives again
    this.#ended.delete(address);
    const text = this.#frames.snapshot(address, end.last, event);
    for (const watcher of this.#watchers)
      if (!watcher.takesMore()) watcher.waiting.add(address);
      else if (watcher.known.delete(address)) watcher.send(text);
  }

  /** I4. A round begins `SNAPSHOT_MS` after the one before has ended. */
  #sendSnapshots(until: number): void {
    if (this.#round.size === 0) {
      if (this.#changed.size === 0) return;
      if (performance.now() < this.#roundEndedAt + SNAPSHOT_MS) return;
      [this.#round, this.#changed] = [this.#changed, this.#round];
    }
    for (const [address, event] of this.#round) {
      this.#round.delete(address);
      this.#sendSnapshot(address, event);
      if (performance.now() > until) break;
    }
    if (this.#round.size === 0) this.#roundEndedAt = performance.now();
  }

  #sendSnapshot(address: string, event: Event): void {
    const end = this.#ended.get(address);
    if (end) return end.isQueued ? undefined : this.#tellEnd(address, event);
    const actor = this.#look(address);
    if (actor === undefined) return;
    let text: string | undefined;
    for (const watcher of this.#watchers)
      if (!watcher.takesMore()) watcher.waiting.add(address);
      else if (watcher.known.has(address))
        watcher.send((text ??= this.#frames.snapshot(address, actor, event)));
      else this.#present(watcher, address, actor); // that has a snapshot with it
  }

  /** I4, I5. Watchers take turns. */
  #introduce(until: number): void {
    let isAtWork = true;
    while (isAtWork) {
      isAtWork = false;
      for (const watcher of this.#watchers) {
        if (watcher.waiting.size === 0 || !watcher.takesMore()) continue;
        this.#bringUpToDate(watcher, watcher.nextWaiting());
        isAtWork = true;
        if (performance.now() > until) return;
      }
    }
  }

  #bringUpToDate(watcher: Watcher, address: string): void {
    if (!watcher.known.has(address)) return void this.#present(watcher, address);
    const actor = this.#look(address) ?? { ...NOTHING_KNOWN, status: 'stopped' };
    if (actor.status === 'stopped') watcher.known.delete(address);
    watcher.send(this.#frames.snapshot(address, actor, { type: `actor.${actor.status}` }));
  }

  /** Introduces an actor unless the watcher knows it; false when nobody lives there. */
  #present(watcher: Watcher, address: string, seen?: InspectedActor): boolean {
    if (watcher.known.has(address)) return true;
    const actor = seen ?? this.#look(address);
    if (actor === undefined) return false;
    const parent = parentOf(address);
    const hasParent = parent !== undefined && this.#present(watcher, parent);
    watcher.known.add(address);
    watcher.waiting.delete(address);
    watcher.send(this.#frames.actor(address, actor, hasParent));
    watcher.send(this.#frames.snapshot(address, actor, { type: 'xstate.init' }));
    return true;
  }

  #look(address: string): InspectedActor | undefined {
    return this.#ended.get(address)?.last ?? this.#system.look(address);
  }
}

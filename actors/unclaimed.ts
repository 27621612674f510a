/**
 * Events for missions that are not here, while it is not known whose they are. One of the nodes on the server has the mission,
 * or had it and does not run, or nobody has; a mission may be on its way from one to another.
 *
 * O1 One that the node with the mission has dealt with is no business of ours any more; not before, for the mission may come
 *    here first.
 * O2 It is a dead letter when every node that the server knows has answered and none has the mission; for a mission that has
 *    been on this server, only after a while: it may be under way. And before the stream drops it, whoever is silent.
 * O3 Of one mission they are dealt with in the order of the stream.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bus, BusLog, Handled, Incoming } from '../bus/bus.ts';
import { MISSIONS, OPS } from '../bus/streams.ts';
import { eventsSubject } from '../bus/subjects.ts';
import { cellAddress } from '../machines/addresses.ts';
import { RuntimeError } from '../machines/errors.ts';
import type { InjectionPlace, Waiting } from './injection-place.ts';
import type { Claims, Peers } from './peers.ts';

export interface UnclaimedOptions {
  bus: Bus;
  peers: Peers;
  place: InjectionPlace;
  isHere: (cellId: string) => boolean;
  take: (message: Incoming) => Promise<Handled | 'nobody'>;
  refuse: (message: Incoming, error: RuntimeError) => Promise<Handled>;
  log: BusLog;
}

const HOUR_MS = 3600 * 1000;
/** O2: how long a mission may be under way. */
const UNDER_WAY_MS = HOUR_MS;
/** O2: the stream keeps them for seven days. */
export const GIVEN_UP_MS = 6 * 24 * HOUR_MS;
const FIRST_PAUSE_MS = 200;
const MAX_PAUSE_MS = 15_000;
/** Between two looks at what is here, which cost nothing. */
const LOOK_MS = 200;
/** Between two looks at who is on the server. */
const NODES_MS = 5000;

type Fate = { kind: 'theirs' } | { kind: 'open' } | { kind: 'dead'; error: RuntimeError };

export class Unclaimed {
  readonly #options: UnclaimedOptions;
  /** By mission: when the others are asked again. */
  readonly #asking = new Map<string, { at: number; pauseMs: number }>();
  #nodesAt = 0;
  #isFull = false;
  readonly #closing = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(options: UnclaimedOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = this.#run();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  /** Durable when it resolves. False: too many wait already, or it cannot be written down. */
  async wait(seq: number, cellId: string): Promise<boolean> {
    const { place, log } = this.#options;
    try {
      const isNoted = await place.wait(seq, cellId);
      if (!isNoted && !this.#isFull)
        log.warn({ cellId }, 'too many events wait for nodes that do not run; no more are read');
      this.#isFull = !isNoted;
      if (!isNoted) return false;
    } catch (error) {
      log.warn({ cellId, error: String(error) }, 'an event that has to wait was not noted');
      return false;
    }
    this.#asking.delete(cellId); // at once
    return true;
  }

  async #run(): Promise<void> {
    const { bus, place, log } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await sleep(LOOK_MS, null, { ref: false, signal }).catch(() => undefined); // closed: at once
      if (signal.aborted) return;
      if (!bus.isUp || !place.isBegun) continue;
      await this.#noteNodes();
      for (const cellId of new Set(place.waiting.map((one) => one.cellId))) {
        if (signal.aborted) return;
        try {
          await this.#settle(cellId);
        } catch (error) {
          log.warn({ cellId, error: String(error) }, 'an event that waits is looked at again');
          this.#later(cellId);
        }
      }
    }
  }

  /** For the status, and for the time when the server has lost its list. */
  async #noteNodes(): Promise<void> {
    const { peers, place, log } = this.#options;
    if (performance.now() < this.#nodesAt) return;
    this.#nodesAt = performance.now() + NODES_MS;
    try {
      place.note(await peers.others());
    } catch (error) {
      log.warn({ error: String(error) }, 'the nodes on the bus are not known');
    }
  }

  async #settle(cellId: string): Promise<void> {
    const { isHere, peers } = this.#options;
    if (isHere(cellId)) return this.#takeAll(cellId);
    const { at = 0 } = this.#asking.get(cellId) ?? {};
    if (performance.now() < at) return;
    const claims = await peers.claimsTo(cellId);
    for (const one of this.#of(cellId)) {
      if (isHere(cellId)) return; // it has come meanwhile
      if (!(await this.#decide(one, claims))) return this.#later(cellId);
    }
    this.#asking.delete(cellId);
  }

  /** O3. */
  async #takeAll(cellId: string): Promise<void> {
    const { take, place } = this.#options;
    this.#asking.delete(cellId);
    for (const { seq, isOld } of this.#of(cellId)) {
      const message = await this.#message(seq);
      if (message && (await take({ ...message, isAgain: isOld })) !== 'done') return;
      await place.settled(seq);
    }
  }

  /** False: it waits on, and so do those behind it. */
  async #decide({ seq, cellId }: Waiting, claims: Claims): Promise<boolean> {
    const { place, refuse } = this.#options;
    const message = await this.#message(seq);
    const fate = message
      ? await this.#fateOf(message, cellId, claims)
      : { kind: 'theirs' as const };
    if (fate.kind === 'open') return false;
    if (message && fate.kind === 'dead' && (await refuse(message, fate.error)) === 'later')
      return false;
    await place.settled(seq);
    return true;
  }

  async #fateOf(
    { position: { seq }, at }: Incoming,
    cellId: string,
    { claims, silent }: Claims,
  ): Promise<Fate> {
    const ageMs = Date.now() - at;
    const owners = claims.filter(({ has }) => has === true);
    if (owners.some(({ from, upTo }) => from <= seq && upTo >= seq)) return { kind: 'theirs' };
    const late = owners.find(({ from }) => from > seq);
    if (late) return { kind: 'dead', error: tooEarly(cellId, late.node) }; // O1: nobody else will take it
    if (ageMs > GIVEN_UP_MS) return { kind: 'dead', error: nobodyHas(cellId, silent) };
    const isUnsure = silent.length > 0 || claims.some(({ has }) => has !== false);
    if (isUnsure) return { kind: 'open' };
    if (ageMs < UNDER_WAY_MS && (await this.#hasBeenHere(cellId))) return { kind: 'open' };
    return { kind: 'dead', error: nobodyHas(cellId, []) };
  }

  /** Whether anybody ever ran the mission on this server. */
  async #hasBeenHere(cellId: string): Promise<boolean> {
    const subject = eventsSubject(cellAddress(cellId));
    return (await this.#options.bus.newest(MISSIONS.name, subject)) !== undefined;
  }

  /** Undefined: the stream has dropped it. */
  #message(seq: number): Promise<Incoming | undefined> {
    return this.#options.bus.stored(OPS.name, seq);
  }

  #of(cellId: string): Waiting[] {
    return this.#options.place.waiting.filter((one) => one.cellId === cellId);
  }

  #later(cellId: string): void {
    const { pauseMs = FIRST_PAUSE_MS / 2 } = this.#asking.get(cellId) ?? {};
    const next = Math.min(pauseMs * 2, MAX_PAUSE_MS);
    this.#asking.set(cellId, { at: performance.now() + next, pauseMs: next });
  }
}

function nobodyHas(cellId: string, silent: readonly string[]): RuntimeError {
  const away = silent.length > 0 ? `, and these do not answer: ${silent.join(', ')}` : '';
  return new RuntimeError(`no node on this server has a mission ${cellId}${away}`, {
    code: 'ACTOR_UNKNOWN',
    hint: "List the missions of each node: nats req svc.lazarus.each.cell.list '' --replies 0",
  });
}

const tooEarly = (cellId: string, node: string): RuntimeError =>
  new RuntimeError(
    `mission ${cellId} has come to node ${node}, which has not been on this server when the event was published`,
    { code: 'CONFLICT', hint: 'Publish it again, if it still holds.' },
  );

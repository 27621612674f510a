/**
 * The actor system: every event of every actor on its way from a door, an effect, a timer or another actor, through the
 * journal, into the actor's state, and from there to the world.
 *
 * S1 A record is appended before it is applied, and nothing that came of it leaves (effect, reply, read, observer) before
 *    the commit that makes it durable (P1). `#queue` is that barrier: one entry a record, let go in order.
 * S2 What an event makes its machine send is appended as the receivers' records in the same synchronous turn, so it lands
 *    in the same batch: a cause and its consequences are durable together or not at all.
 * S3 An event that throws is followed by `rejected`; the state is as before it (fold.ts F2).
 * S4 Doors are refused when a bound is reached; internal sends never are: an actor that cannot keep up is held, with its
 *    records kept (P8).
 * S5 After a failed write the states ahead of the last commit are dropped, the node is held and answers reads from what
 *    was committed; when the journal opens again they are restored from disk.
 */
import { EventEmitter } from 'node:events';
import { RuntimeError, toPlainError } from '../machines/errors.ts';
import type { SpawnParams } from '../machines/events.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { Actor, Resident } from './actor.ts';
import type { Committed } from './actor.ts';
import type { NodeClock } from './clock.ts';
import {
  admit,
  DEFAULT_LIMITS,
  NO_ORIGIN,
  originText,
  refuseWhenBusy,
  withinRate,
} from './admission.ts';
import type { Limits, Origin, SendOptions } from './admission.ts';
import { CommitQueue } from './commit-queue.ts';
import type { CommittedRecord, Launch, Receipt } from './commit-queue.ts';
import { EffectRunner } from './effects.ts';
import type { DoubtfulEffect } from './effects.ts';
import type { ActorState } from './fold.ts';
import { applyEvent, initialState, NO_INVOKES, remember, snapshotBody } from './fold.ts';
import { FromWithin } from './from-within.ts';
import { keepForLater, release } from './holding.ts';
import type { ReleaseOptions } from './holding.ts';
import { Interventions } from './interventions.ts';
import type { Verdict } from './interventions.ts';
import type { MachineRegistry, Output } from './logic.ts';
import { Messages } from './messages.ts';
import type { Repost } from './messages.ts';
import { effectKey, encodeRecord, JUMP, toDeadline } from './records.ts';
import type { Invoke } from './records.ts';
import { TimerIndex } from './timers.ts';
import type { Appended, Turn, Waiting } from './turn.ts';

/** The part of cells/journal.ts the system uses. */
export interface JournalPort {
  append(line: string): number;
  flush(): void;
  readonly pendingRecords: number;
  /** In characters, roughly. */
  readonly pendingBytes: number;
}

interface SystemEvents {
  committed: [CommittedRecord];
  /** An actor came to be held, or the node's journal failed (address `node`). */
  held: [string, string];
  released: [string];
  /** An actor's newest checkpoint was no good, its state was had all the same, and a sound one is written. */
  mended: [address: string, how: string];
  doubt: [DoubtfulEffect];
}

export interface SystemOptions {
  registry: MachineRegistry;
  clock: NodeClock;
  epoch: number;
  limits?: Partial<Limits>;
  log: SystemLog;
  /** Brings a known actor into memory; see restorer.ts. Throws when its state cannot be restored. */
  restore: (actor: Actor) => Resident;
  /** An actor that is not known here but has a checkpoint on disk. */
  lookUp: (address: string) => Actor | undefined;
  /** The state of an actor that is not in memory, without bringing it there. */
  peek: (actor: Actor) => Committed;
}

export interface SystemLog {
  info(fields: Record<string, unknown>, message: string): void;
  warn(fields: Record<string, unknown>, message: string): void;
}

const REJECTED_DETAIL = 'the event was journaled and changed nothing';

export type { CommittedRecord, Receipt } from './commit-queue.ts';
export type { Limits, SendOptions } from './admission.ts';

/** Each door of a node listens; more would be one that forgets to stop. */
const MAX_LISTENERS = 40;

export class ActorSystem extends EventEmitter<SystemEvents> {
  readonly registry: MachineRegistry;
  readonly clock: NodeClock;
  readonly epoch: number;
  readonly limits: Limits;
  readonly effects: EffectRunner;
  readonly timers: TimerIndex;
  readonly actors = new Map<string, Actor>();
  /** Events that became durable in this life. */
  eventsCommitted = 0;
  readonly #log: SystemLog;
  readonly #restore: (actor: Actor) => Resident;
  readonly #peek: (actor: Actor) => Committed;
  readonly #lookUp: (address: string) => Actor | undefined;
  #journal: JournalPort | undefined;
  #failure: Error | undefined;
  readonly #queue = new CommitQueue();
  readonly #messages: Messages;
  /** Actors whose next record does not follow the last one that this journal has. */
  readonly #jumping = new Set<Actor>();
  #closedDoors: string | undefined;
  #flushScheduled = false;
  readonly #interventions: Interventions;

  constructor(options: SystemOptions) {
    super();
    this.setMaxListeners(MAX_LISTENERS);
    this.registry = options.registry;
    this.clock = options.clock;
    this.epoch = options.epoch;
    this.limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#log = options.log;
    this.#restore = options.restore;
    this.#peek = options.peek;
    this.#lookUp = options.lookUp;
    const turn = this.#turn();
    const within = new FromWithin(this, turn);
    this.timers = new TimerIndex(options.clock, (timer) => within.timerDue(timer));
    this.effects = new EffectRunner({
      recordStarted: (address, invoke, seq) => within.recordStarted(address, invoke, seq),
      deliver: (address, invoke, seq, outcome) => within.effectEnded(address, invoke, seq, outcome),
      emit: (address, invoke, seq, event) => within.effectEmitted(address, invoke, seq, event),
      now: () => this.clock.now().at,
      doubted: (effect) => this.emit('doubt', effect),
      log: (message, fields) => this.#log.warn(fields, message),
    });
    this.#interventions = new Interventions(turn, this.effects, this.registry);
    this.#messages = new Messages(turn, (message) => this.#log.warn(message, 'message to nobody'));
  }

  /** What the parts of a synchronous turn may do. */
  #turn(): Turn {
    return {
      append: (actor, rest) => this.#append(actor, rest),
      enqueue: (actor, resident, appended, more) => this.#enqueue(actor, resident, appended, more),
      bindToPending: (actor) => this.#bindToPending(actor),
      post: (actor, event, resolve, reject) => this.#post(actor, event, NO_ORIGIN, resolve, reject),
      postInternal: (actor, event, origin) => this.#postInternal(actor, event, origin),
      route: (actor, resident, before, outputs, seq) =>
        this.#route(actor, resident, before, outputs, seq),
      arm: (actor, invokeId, invoke) => this.#arm(actor, invokeId, invoke),
      abortAll: (actor, resident) => this.#abortAll(actor, resident),
      goLive: (actor, resident) => this.goLive(actor, resident),
      snapshot: (actor, resident, rest) => this.#snapshot(actor, resident, rest),
      init: (params, s) => this.#init(params, s),
      stop: (actor, reason) => this.#stopActor(actor, reason),
      drain: () => this.#drain(),
      wake: (actor) => this.#wake(actor),
      tryWake: (actor) => this.#tryWake(actor),
      find: (address) => this.#find(address),
      require: (address) => this.#require(address),
      settled: () => this.settled(),
    };
  }

  attachJournal(journal: JournalPort): void {
    this.#journal = journal;
  }

  /** Why the node takes no events at present; undefined while it does. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  get pendingRecords(): number {
    return this.#queue.size;
  }

  // ---- doors -------------------------------------------------------------------------------------------------------

  /**
   * Hands an event to an actor from outside. Resolves when it is durable and applied.
   * Throws RuntimeError ACTOR_UNKNOWN, ACTOR_HELD, BUSY, JOURNAL_HELD, TOO_OLD; the machine's own RuntimeError when it
   * refuses the event, EVENT_REJECTED when it throws anything else.
   */
  send(
    address: string,
    event: { type: string } & JsonObject,
    options?: SendOptions,
  ): Promise<Receipt> {
    return new Promise((resolve, reject) => {
      const actor = this.actors.get(address);
      if (actor?.stopping)
        return void this.settled().then(() => reject(unknownActor(address)), reject);
      if (actor === undefined || actor.stopped) throw unknownActor(address);
      if (actor.hold) throw actor.heldError();
      const resident = this.#wake(actor);
      this.#refuseWhenBusy(actor, resident);
      const origin = options ? admit(resident.state, options) : NO_ORIGIN;
      if (typeof origin === 'number')
        return this.#resolveWhenDurable({ seq: origin, duplicate: true }, resolve, reject);
      this.#post(actor, event, origin, resolve, reject);
      this.#drain();
    });
  }

  /** Starts an actor unless one lives at the address. Resolves when that is durable. */
  spawn(address: string, machine: string, input: JsonObject): Promise<Receipt> {
    return new Promise((resolve, reject) => {
      const known = this.#find(address);
      if (known && !known.stopped)
        return this.#resolveWhenDurable({ seq: known.seq, duplicate: true }, resolve, reject);
      this.#init({ address, machine, input }, undefined, resolve, reject);
      this.#drain();
    });
  }

  /** Ends an actor for good; its records stay. */
  stop(address: string, reason: string): Promise<Receipt> {
    return new Promise((resolve, reject) => {
      const actor = this.actors.get(address);
      if (actor?.stopping)
        return this.#resolveWhenDurable({ seq: actor.seq, duplicate: true }, resolve, reject);
      this.#stopActor(this.#require(address), reason, resolve, reject);
      this.#drain();
    });
  }

  /** The state as of the last commit (P1). Throws RuntimeError ACTOR_UNKNOWN or ACTOR_HELD. */
  read(address: string): Committed {
    const actor = this.actors.get(address);
    if (actor === undefined || actor.isGone) throw unknownActor(address);
    if (actor.frozen) return actor.frozen;
    if (!actor.isShown) throw unknownActor(address);
    if (actor.resident) return actor.resident.committed;
    if (actor.hold) throw actor.heldError();
    return this.#peek(actor);
  }

  has(address: string): boolean {
    const actor = this.actors.get(address);
    return actor !== undefined && !actor.isGone;
  }

  /** A duplicate is acknowledged no sooner than the first of its kind: that one may still be on its way to the disk. */
  #resolveWhenDurable(
    receipt: Receipt,
    resolve: (receipt: Receipt) => void,
    reject: (error: unknown) => void,
  ): void {
    if (this.pendingRecords === 0 && this.#failure === undefined) resolve(receipt);
    else this.settled().then(() => resolve(receipt), reject);
  }

  /** Resolves when everything appended so far is durable. */
  settled(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#failure) return reject(this.#failure);
      if (this.#queue.whenEmpty(resolve, reject) === 'empty') return resolve();
      this.#scheduleFlush();
    });
  }

  // ---- effects in doubt --------------------------------------------------------------------------------------------

  inDoubt(): DoubtfulEffect[] {
    return this.effects.inDoubt();
  }

  /** Settles an effect nobody knows the outcome of. `not_started` lets it run. Throws NOT_FOUND when none is in doubt. */
  settle(key: string, verdict: Verdict, by: string): Promise<Receipt> {
    return this.#interventions.settle(key, verdict, by);
  }

  /** A journaled return to an earlier state: dedupe and outcomes stay as they are (DESIGN 4). */
  rollBack(
    address: string,
    earlier: { seq: number; snapshot: JsonValue },
    reason: string,
  ): Promise<Receipt> {
    return this.#interventions.rollBack(address, earlier, reason);
  }

  /** A stopped actor lives on in this state. Its effects start when that is durable (P1). */
  bringBack(actor: Actor, state: ActorState): Promise<void> {
    return this.#interventions.bringBack(actor, state);
  }

  /** Replaces an actor's machine by its newest version, as records. Used right after it was restored. */
  migrateActor(actor: Actor, resident: Resident): void {
    this.#interventions.migrate(actor, resident);
  }

  /** Doors answer BUSY with this reason until it is undefined; what comes from within goes on (S4). */
  closeDoors(reason: string | undefined): void {
    if (reason !== undefined && this.#closedDoors === undefined) this.emit('held', 'doors', reason);
    this.#closedDoors = reason;
  }

  // ---- called by recovery and upkeep -------------------------------------------------------------------------------

  /** Arms timers and starts effects of an actor that was just restored. */
  goLive(actor: Actor, resident: Resident): void {
    const machine = resident.state.logic.name;
    for (const [invokeId, invoke] of Object.entries(resident.state.invokes)) {
      if (invoke.src === 'waitUntil') this.#arm(actor, invokeId, invoke);
      else this.effects.start(machine, actor.address, { invokeId, invoke, restarted: true });
    }
  }

  /** Makes sure the actor is in memory. Throws RuntimeError ACTOR_HELD. */
  wake(actor: Actor): Resident {
    return this.#wake(actor);
  }

  holdActor(actor: Actor, hold: NonNullable<Actor['hold']>): void {
    actor.hold = hold;
    this.#log.warn({ address: actor.address, ...hold }, 'actor held');
    this.emit('held', actor.address, hold.reason);
  }

  /**
   * Lets a held actor go on: what came meanwhile is applied in order. One whose records are damaged needs `acceptLoss`
   * unless they are mended (holding.ts, H2). Throws RuntimeError ACTOR_HELD when it cannot be restored all the same.
   */
  async release(address: string, options: ReleaseOptions = {}): Promise<void> {
    await this.settled();
    if (!release(this.#turn(), this.#require(address), options)) return;
    this.emit('released', address);
    this.#drain();
    this.effects.resume();
  }

  /** Sends that records asked for which were journaled while their actor was held and folded in only now. */
  repost(actor: Actor, reposts: readonly Repost[]): void {
    this.#messages.repost(actor, reposts);
  }

  /** Its next record says that it does not follow the last one this journal has of it: the actor comes from elsewhere. */
  expectJump(actor: Actor): void {
    this.#jumping.add(actor);
  }

  /** State of an actor as a body for a checkpoint, and when it is safe to write: after `settled()`. */
  captureBody(actor: Actor): { seq: number; text: string; resident: Resident } {
    const resident = this.#wake(actor);
    return { seq: actor.seq, text: JSON.stringify(snapshotBody(resident.state)), resident };
  }

  // ---- the journal's answers ---------------------------------------------------------------------------------------

  /** Everything up to `lastLsn` is durable: let go of what waited for it, in order (S1). */
  onCommit(lastLsn: number): void {
    this.#queue.release(lastLsn, (item) => {
      const { actor, resident, committed, outputs, record } = item;
      if (resident) {
        resident.uncommitted -= 1;
        if (committed) resident.committed = committed;
        resident.isCommitted = true;
      }
      if (outputs) this.#launch(actor, resident, outputs);
      if (record) this.eventsCommitted += 1;
      if (record && this.listenerCount('committed') > 0) this.emit('committed', record);
      if (item.error) item.reject?.(item.error);
      else item.resolve?.({ seq: committed?.seq ?? actor.seq });
    });
  }

  /** S5. Returns the actors that were ahead of the last commit: the caller restores them once the journal is open. */
  onFailure(error: Error): Actor[] {
    this.#failure = error;
    this.timers.stop();
    const lost = this.#queue.drop();
    this.#messages.clear();
    for (const { actor, resident } of lost) {
      actor.backlog = undefined;
      if (actor.stopping) Object.assign(actor, { stopping: false, stopped: false });
      if (resident === undefined || actor.resident !== resident) continue;
      actor.frozen = resident.isCommitted ? resident.committed : undefined;
      actor.resident = undefined;
      for (const [id, invoke] of Object.entries(resident.state.invokes))
        if (invoke.src === 'waitUntil') this.timers.disarm(actor.address, id);
    }
    for (const item of lost) item.reject?.(error);
    this.emit('held', 'node', error.message);
    return [...new Set(lost.map(({ actor }) => actor))];
  }

  resumeAfterFailure(): void {
    this.#failure = undefined;
    this.timers.start();
    this.effects.resume();
    this.emit('released', 'node');
  }

  // ---- from within -------------------------------------------------------------------------------------------------

  /** Sends, spawns and stops that events asked for, until none is left; then the batch may be cut (S2). */
  #drain(): void {
    if (this.#messages.drain()) this.#scheduleFlush();
  }

  #postInternal(actor: Actor, event: { type: string } & JsonObject, origin: Origin): void {
    if (actor.hold === undefined && !this.#withinRate(actor.resident))
      this.holdActor(actor, {
        code: 'BUSY',
        reason: `took more than ${this.limits.burst} events from within in a burst, the last of type ${event.type}: a loop that feeds itself`,
      });
    this.#post(actor, event, origin);
  }

  #withinRate(resident: Resident | undefined): boolean {
    return resident === undefined || withinRate(resident, this.clock.now().up, this.limits);
  }

  // ---- records -----------------------------------------------------------------------------------------------------

  #post(
    actor: Actor,
    event: { type: string } & JsonObject,
    origin: Origin,
    resolve?: (receipt: Receipt) => void,
    reject?: (error: Error) => void,
  ): void {
    const resident = this.#tryWake(actor);
    const waits = resident === undefined || actor.hold !== undefined;
    const text = originText(origin) + (waits ? ',"b":1' : '');
    const queued = this.#append(actor, `${text},"e":${JSON.stringify(event)}`);
    const { at, up, seq } = queued;
    const source = origin.s?.[0];
    if (waits) {
      const { epoch: p, limits } = this;
      const record = { a: actor.address, n: seq, p, t: at, u: up, b: 1 as const, e: event };
      keepForLater(actor, { ...record, ...origin }, limits.hardBound);
      return this.#enqueue(actor, undefined, queued, { resolve, reject, event, source });
    }
    remember(resident.state.dedupe, { n: seq, ...origin }, at);
    this.#applyNow(actor, resident, { ...queued, event, source, resolve, reject });
  }

  #applyNow(
    actor: Actor,
    resident: Resident,
    {
      lsn,
      seq,
      at,
      up,
      chars,
      event,
      source,
      resolve,
      reject,
    }: Appended & {
      event: { type: string } & JsonObject;
      source: string | undefined;
      resolve: ((receipt: Receipt) => void) | undefined;
      reject: ((error: Error) => void) | undefined;
    },
  ): void {
    const { state } = resident;
    const before = state.invokes;
    const outputs: Output[] = [];
    try {
      applyEvent(state, { seq, event, now: { at, up } }, outputs);
    } catch (thrown) {
      state.seq = seq;
      return this.#reject(actor, resident, { lsn, seq, at, up, chars }, event, thrown, reject);
    }
    state.seq = seq;
    resident.activeAt = up;
    const launches =
      outputs.length > 0 ? this.#route(actor, resident, before, outputs, seq) : undefined;
    this.#enqueue(
      actor,
      resident,
      { lsn, seq, at, up, chars },
      { resolve, reject, event, source, outputs: launches },
    );
    this.#maybeSnapshot(actor, resident);
  }

  /** S3. */
  #reject(
    actor: Actor,
    resident: Resident,
    appended: Appended,
    event: { type: string } & JsonObject,
    thrown: unknown,
    reject: ((error: Error) => void) | undefined,
  ): void {
    const plain = toPlainError(thrown);
    const error =
      thrown instanceof RuntimeError
        ? thrown
        : new RuntimeError(`${actor.address} rejected ${event.type}: ${plain.message}`, {
            code: 'EVENT_REJECTED',
            cause: thrown,
            details: { address: actor.address, seq: appended.seq },
            hint: REJECTED_DETAIL,
          });
    if (!(thrown instanceof RuntimeError))
      this.#log.warn(
        { address: actor.address, seq: appended.seq, type: event.type, error: plain },
        'event rejected',
      );
    this.#enqueue(actor, resident, appended, {});
    const note = this.#append(
      actor,
      `,"k":"rejected","of":${appended.seq},"e":${JSON.stringify(plain)}`,
    );
    resident.state.seq = note.seq;
    this.#enqueue(actor, resident, note, { reject, error, event, plain });
  }

  /** Splits outputs into what waits for the commit (returned) and what happens in this turn: timers and messages. */
  #route(
    actor: Actor,
    resident: Resident,
    before: Resident['state']['invokes'],
    outputs: readonly Output[],
    seq: number,
  ): Launch[] | undefined {
    let launches: Launch[] | undefined;
    const pending: Record<string, Invoke> = { ...before };
    let n = 0;
    for (const output of outputs) {
      switch (output.kind) {
        case 'invoke': {
          const invoke = { src: output.src, input: output.input, seq };
          pending[output.id] = invoke;
          if (output.src === 'waitUntil') this.#arm(actor, output.id, invoke);
          else
            (launches ??= []).push({
              kind: 'start',
              invokeId: output.id,
              invoke,
              machine: resident.state.logic.name,
            });
          break;
        }
        case 'abort': {
          const invoke = pending[output.id];
          if (invoke === undefined) break;
          delete pending[output.id];
          if (invoke.src === 'waitUntil') this.timers.disarm(actor.address, output.id);
          else
            (launches ??= []).push({
              kind: 'abort',
              key: effectKey(actor.address, invoke.seq, output.id),
            });
          break;
        }
        default:
          this.#messages.push(actor, seq, (n += 1), output);
      }
    }
    return launches;
  }

  #launch(actor: Actor, resident: Resident | undefined, launches: readonly Launch[]): void {
    for (const launch of launches) {
      if (launch.kind === 'abort') this.effects.abort(launch.key);
      else if (resident?.state.invokes[launch.invokeId]?.seq === launch.invoke.seq)
        this.effects.start(launch.machine, actor.address, { ...launch, restarted: false });
    }
  }

  #arm(actor: Actor, invoke: string, { input, seq }: Invoke): void {
    this.timers.arm({ address: actor.address, invoke, armSeq: seq, deadline: toDeadline(input) });
  }

  #abortAll(actor: Actor, resident: Resident): Launch[] {
    const launches: Launch[] = [];
    for (const [id, invoke] of Object.entries(resident.state.invokes)) {
      if (invoke.src === 'waitUntil') this.timers.disarm(actor.address, id);
      else launches.push({ kind: 'abort', key: effectKey(actor.address, invoke.seq, id) });
    }
    return launches;
  }

  #init(
    { address, machine, input }: SpawnParams,
    s: [string, number, number] | undefined,
    resolve?: (receipt: Receipt) => void,
    reject?: (error: Error) => void,
  ): void {
    if (!ADDRESS.test(address))
      throw new RuntimeError(`not an address: ${address}`, { code: 'INVALID_ARGUMENT' });
    const logic = this.registry.latest(machine);
    const actor = this.actors.get(address) ?? new Actor(address);
    const text = `,"k":"init","m":"${logic.id}","h":"${logic.hash}","e":${JSON.stringify(input)}`;
    const queued = this.#append(actor, text + (s ? `,"s":${JSON.stringify(s)}` : ''));
    const { at, up, seq } = queued;
    const outputs: Output[] = [];
    const state = initialState(logic, { seq, input, now: { at, up } }, outputs);
    if (s) state.dedupe.recordSend(...s);
    const resident = new Resident(state, up);
    resident.isCommitted = false;
    Object.assign(actor, { resident, machine: logic.id, hold: undefined, lost: undefined });
    Object.assign(actor, { stopped: false, stopping: false });
    this.actors.set(address, actor);
    const launches = this.#route(actor, resident, NO_INVOKES, outputs, seq);
    const event = { type: 'actor.spawned', machine: logic.id };
    const more = { resolve, reject, outputs: launches, event, source: s?.[0] };
    this.#enqueue(actor, resident, queued, more);
  }

  #stopActor(
    actor: Actor,
    reason: string,
    resolve?: (receipt: Receipt) => void,
    reject?: (error: Error) => void,
  ): void {
    const resident = this.#tryWake(actor);
    const queued = this.#append(actor, `,"k":"stopped","e":${JSON.stringify(reason)}`);
    const launches = resident ? this.#abortAll(actor, resident) : undefined;
    if (resident) resident.state.seq = queued.seq;
    Object.assign(actor, { stopped: true, stopping: true }); // readers see it until the commit (P1)
    const shown = (receipt: Receipt): void => {
      if (actor.stopping)
        Object.assign(actor, { stopping: false, hold: undefined, lost: undefined });
      resolve?.(receipt);
    };
    const event = { type: 'actor.stopped', reason };
    this.#enqueue(actor, resident, queued, { resolve: shown, reject, outputs: launches, event });
  }

  /** A snapshot of the actor among its own records, so that a restart folds little whatever its history. */
  #maybeSnapshot(actor: Actor, resident: Resident): void {
    if (resident.tailRecords < this.limits.snapshotEvery) return;
    if (resident.tailBytes < 4 * resident.snapshotBytes) return;
    this.#snapshot(actor, resident);
  }

  /** `more`: members of the record behind the snapshot's own. */
  #snapshot(actor: Actor, resident: Resident, more = ''): void {
    const { logic } = resident.state;
    const body = JSON.stringify(snapshotBody(resident.state));
    const rest = `,"k":"snapshot","m":"${logic.id}","h":"${logic.hash}","e":${body}${more}`;
    const queued = this.#append(actor, rest);
    resident.state.seq = queued.seq;
    resident.snapshotBytes = body.length;
    this.#enqueue(actor, resident, queued, {});
    resident.tailRecords = 0;
    resident.tailBytes = 0;
  }

  #append(actor: Actor, rest: string): Appended {
    if (this.#failure) throw this.#failure;
    const journal = this.#journal;
    if (journal === undefined) throw new Error('the system has no journal yet');
    const { at, up } = this.clock.now();
    const seq = actor.seq + 1;
    const isJump = this.#jumping.size > 0 && this.#jumping.has(actor) && !rest.endsWith(JUMP);
    const members = isJump ? rest + JUMP : rest;
    const line = encodeRecord(actor.prefix, { n: seq, p: this.epoch, t: at, u: up }, members);
    const lsn = journal.append(line);
    if (isJump) this.#jumping.delete(actor);
    actor.seq = seq;
    if (actor.firstDirtyLsn === 0) actor.firstDirtyLsn = lsn;
    const { resident } = actor;
    if (resident) {
      resident.tailRecords += 1;
      resident.tailBytes += line.length;
    }
    return { lsn, seq, at, up, chars: line.length };
  }

  #enqueue(
    actor: Actor,
    resident: Resident | undefined,
    { lsn, seq, at, chars }: Appended,
    more: Waiting,
  ): void {
    let committed: Committed | undefined;
    if (resident) {
      resident.uncommitted += 1;
      const { snapshot, invokes } = resident.state;
      committed = { seq, snapshot, invokes };
    }
    const { event, source, plain, outputs, resolve, reject, error } = more;
    const record = event
      ? {
          lsn,
          address: actor.address,
          seq,
          at,
          event,
          source,
          error: plain,
          chars: plain === undefined ? chars : chars + JSON.stringify(event).length, // it stands elsewhere
        }
      : undefined;
    this.#queue.push({ lsn, actor, resident, committed, outputs, record, resolve, reject, error });
  }

  #bindToPending(actor: Actor): void {
    const { resident } = actor;
    const lsn = this.#queue.lastLsn;
    if (resident === undefined || lsn === undefined) return;
    this.#enqueue(actor, resident, { lsn, seq: resident.state.seq, at: 0, up: 0, chars: 0 }, {});
  }

  #scheduleFlush(): void {
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    setImmediate(() => {
      this.#flushScheduled = false;
      this.#journal?.flush();
    });
  }

  // ---- admission ---------------------------------------------------------------------------------------------------

  /** Before an actor is made anew: one that left a checkpoint goes on from it, or at least counts on from its seq. */
  #find(address: string): Actor | undefined {
    return this.actors.get(address) ?? this.#lookUp(address);
  }

  #require(address: string): Actor {
    const actor = this.actors.get(address);
    if (actor && !actor.stopped) return actor;
    throw unknownActor(address);
  }

  #wake(actor: Actor): Resident {
    if (actor.resident) return actor.resident;
    if (actor.hold) throw actor.heldError();
    if (this.#failure) throw this.#failure;
    return this.#restore(actor);
  }

  #tryWake(actor: Actor): Resident | undefined {
    if (actor.hold) return actor.resident;
    try {
      return this.#wake(actor);
    } catch (error) {
      if (error instanceof RuntimeError && error.code === 'ACTOR_HELD') return undefined;
      throw error;
    }
  }

  #refuseWhenBusy(actor: Actor, resident: Resident): void {
    if (this.#failure) throw this.#failure;
    const { pendingRecords } = this;
    const pendingBytes = this.#journal?.pendingBytes ?? 0;
    const load = { closedDoors: this.#closedDoors, pendingRecords, pendingBytes };
    refuseWhenBusy(actor.address, resident, load, this.limits);
  }
}

function unknownActor(address: string): RuntimeError {
  return new RuntimeError(`no actor lives at ${address}`, {
    code: 'ACTOR_UNKNOWN',
    hint: 'List them with `lazarus status`.',
  });
}

const ADDRESS = /^[A-Za-z0-9_./%-]{1,300}$/;

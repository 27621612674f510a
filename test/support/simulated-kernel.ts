/**
 * A kernel in memory for many machines at once, on a clock that jumps from one thing to the next. It gives what the real one
 * gives, and no more:
 *
 * K1 What an event makes its machine send, spawn and stop is carried out before anything else happens; effects start after that.
 *    In the order it was asked for; when `shuffled`, only in that order for each receiver.
 * K2 The mail of an actor that is held waits, and is taken all at once when it is let go; a held one can still be stopped.
 * K3 A kill loses no event that was taken, and the outcome of every effect that was under way: those begin anew.
 * K4 An event that its machine throws at changes nothing.
 */
import assert from 'node:assert/strict';
import type { AnyStateMachine } from 'xstate';
import { actionMachine } from '../../machines/action.machine.ts';
import { Agenda } from '../../machines/agenda.ts';
import { driftMachine } from '../../machines/drift.machine.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { gateMachine } from '../../machines/gate.machine.ts';
import type { JsonObject } from '../../machines/json.ts';
import { observedHostMachine } from '../../machines/observed-host.machine.ts';
import { observerMachine } from '../../machines/observer.machine.ts';
import { supervisorMachine } from '../../machines/supervisor.machine.ts';
import { MachineDriver } from './machine-driver.ts';
import type { Clock, Reaction, StartedEffect } from './machine-driver.ts';
import type { Chance } from './simulated-chance.ts';

const MACHINES: Readonly<Record<string, AnyStateMachine>> = {
  action: actionMachine,
  drift: driftMachine,
  gate: gateMachine,
  observer: observerMachine,
  'observed-host': observedHostMachine,
  supervisor: supervisorMachine,
};

export type AnyEvent = { type: string } & JsonObject;

export interface Living {
  address: string;
  machine: string;
  driver: MachineDriver;
  /** Of each effect that runs, which start of it. */
  starts: Map<string, number>;
  /** K2. Null: it is not held. */
  backlog: Mail[] | null;
  born: { input: JsonObject } & Clock;
  /** Every event it took, for a replay. */
  records: ({ event: { type: string } } & Clock)[];
}

export type Mail = { to: string } & (
  | { kind: 'send'; event: { type: string }; start?: number }
  | { kind: 'spawn'; machine: string; input: JsonObject }
  | { kind: 'stop' }
);

/** An effect that was asked for. */
export interface Work {
  actor: Living;
  effect: StartedEffect;
  /** The same for all starts of it. */
  key: string;
  restarted: boolean;
}
/** What comes of it, once that time has passed; undefined: nobody knows, until somebody says. */
export interface Course {
  afterMs: number;
  end: () => { output: unknown } | { error: string } | undefined;
  /** The node dies in the middle of it. */
  cutOff?: () => void;
}

export interface Around {
  begin(work: Work): Course;
  /** After each event that was taken. */
  took(actor: Living, event: { type: string }, reaction: Reaction): void;
  /** After all that follows from what came from outside. */
  settled(): void;
}

/** More than any chain of messages has. */
const MAX_MAIL = 200_000;
const START: Clock = { at: 1_700_000_000_000, up: 5_000 };

export class SimulatedKernel {
  readonly clock: Clock = { ...START };
  readonly actors = new Map<string, Living>();
  isDown = false;
  keepsRecords = true;
  around: Around | undefined;
  readonly #agenda = new Agenda();
  readonly #shuffle: Chance | null;
  readonly #mail: Mail[] = [];
  #releasing: readonly Mail[] = [];
  #begun: Work[] = [];
  #under = new Map<number, { work: Work; course: Course }>();
  #count = 0;

  constructor(shuffle: Chance | null) {
    this.#shuffle = shuffle;
  }

  // ---- time

  /** `run` is called when that time has passed, whether the node is up or not. */
  after(ms: number, run: () => void): void {
    this.#count += 1;
    this.#agenda.push({
      at: this.clock.at + Math.max(0, Math.ceil(ms)),
      rank: this.#count,
      id: '',
      run,
    });
  }

  /** All that is due until then. */
  runUntil(at: number): void {
    for (let next = this.#agenda.nextAt(); next !== undefined && next <= at;) {
      const due = this.#agenda.pop();
      this.#advance(next);
      due?.run(next);
      next = this.#agenda.nextAt();
    }
    this.#advance(at);
  }

  #advance(at: number): void {
    const ms = Math.max(0, at - this.clock.at);
    this.clock.at += ms;
    if (!this.isDown) this.clock.up += ms;
  }

  // ---- doors

  /** Undefined: it was taken; else why not. */
  send(to: string, event: AnyEvent): RuntimeError | undefined {
    const actor = this.actors.get(to);
    if (this.isDown || actor === undefined || actor.backlog !== null)
      return new RuntimeError(`${to} takes nothing now`, { code: 'ACTOR_HELD' });
    let refusal: RuntimeError | undefined;
    this.#turn(() => (refusal = this.#deliver(actor, event)));
    return refusal;
  }

  spawn(address: string, machine: string, input: JsonObject): void {
    this.#turn(() => this.#carryOut({ kind: 'spawn', to: address, machine, input }));
  }

  /** K2. */
  hold(address: string): void {
    const actor = this.actors.get(address);
    if (actor) actor.backlog ??= [];
  }
  release(address: string): void {
    const actor = this.actors.get(address);
    if (actor?.backlog == null || this.isDown) return;
    const kept = actor.backlog;
    actor.backlog = null;
    this.#turn(() => {
      this.#releasing = kept;
      for (let next = kept.shift(); next !== undefined; next = kept.shift()) this.#carryOut(next);
    });
  }

  /** Whether it has heard all that it was told. */
  hasMail(address: string): boolean {
    const isWaiting = (this.actors.get(address)?.backlog?.length ?? 0) > 0;
    return isWaiting || [...this.#releasing, ...this.#mail].some(({ to }) => to === address);
  }

  /** K3. */
  kill(): void {
    this.isDown = true;
    for (const { course } of this.#under.values()) course.cutOff?.();
    this.#under.clear();
    for (const actor of this.actors.values()) {
      const before = actor.driver.persisted();
      actor.driver.restore();
      assert.equal(actor.driver.persisted(), before, `${actor.address} is restored as it was`);
      const kept = endsIn(actor.backlog);
      for (const [id, start] of actor.starts) if (!kept.has(start)) actor.starts.delete(id);
    }
  }
  restart(): void {
    this.isDown = false;
    for (const actor of this.actors.values())
      for (const effect of actor.driver.running.values())
        if (!actor.starts.has(effect.id)) this.#start(actor, effect, true);
    this.#turn(() => undefined);
  }

  /** From its birth and the events it took, and nothing else: where each actor would be. */
  replayed(actor: Living): string {
    const { input, at, up } = actor.born;
    const clock = { at, up };
    const driver = new MachineDriver(machineOf(actor.machine), input, clock);
    for (const { event, ...then } of actor.records) {
      Object.assign(clock, then);
      try {
        driver.deliver(event);
      } catch (error) {
        if (!(error instanceof RuntimeError)) throw error;
      }
    }
    return driver.persisted();
  }

  // ---- a turn

  /** K1. */
  #turn(first: () => void): void {
    first();
    for (let i = 0; this.#mail.length > 0; i += 1) {
      assert(i < MAX_MAIL, 'messages end');
      this.#carryOut(this.#nextMail());
    }
    const begun = this.#begun;
    this.#begun = [];
    for (const work of begun) this.#launch(work);
    this.around?.settled();
  }

  #nextMail(): Mail {
    if (this.#shuffle === null) return this.#mail.shift() as Mail;
    const receivers = [...new Set(this.#mail.map(({ to }) => to))];
    const chosen = this.#shuffle.pick(receivers);
    const place = this.#mail.findIndex(({ to }) => to === chosen);
    return this.#mail.splice(place, 1)[0] as Mail;
  }

  #carryOut(mail: Mail): void {
    const actor = this.actors.get(mail.to);
    if (mail.kind === 'spawn') {
      if (actor === undefined) this.#bear(mail);
    } else if (mail.kind === 'stop') this.actors.delete(mail.to);
    else if (actor?.backlog != null) actor.backlog.push(mail);
    else if (actor !== undefined) {
      const { event, start } = mail;
      const id = event.type.split('.')[3] ?? '';
      if (start === undefined || actor.starts.get(id) === start) this.#deliver(actor, event);
    }
  }

  #bear({ to: address, machine, input }: Extract<Mail, { kind: 'spawn' }>): void {
    const { at, up } = this.clock;
    const driver = new MachineDriver(machineOf(machine), input, this.clock);
    const born = { input, at, up };
    const starts = new Map<string, number>();
    const actor: Living = { address, machine, driver, starts, backlog: null, born, records: [] };
    this.actors.set(address, actor);
    for (const effect of driver.running.values()) this.#start(actor, effect, false);
  }

  /** K4. */
  #deliver(actor: Living, event: { type: string }): RuntimeError | undefined {
    if (this.keepsRecords) actor.records.push({ event, at: this.clock.at, up: this.clock.up });
    let reaction: Reaction;
    try {
      reaction = actor.driver.deliver(event);
    } catch (error) {
      if (error instanceof RuntimeError) return error;
      throw error;
    }
    for (const id of reaction.ended) if (!actor.driver.running.has(id)) actor.starts.delete(id);
    for (const { address: to, machine, input } of reaction.spawned)
      this.#mail.push({ kind: 'spawn', to, machine, input });
    for (const { to, event: told } of reaction.sent)
      this.#mail.push({ kind: 'send', to, event: told });
    for (const { address: to } of reaction.stopped) this.#mail.push({ kind: 'stop', to });
    for (const effect of reaction.started)
      if (actor.driver.running.get(effect.id) === effect) this.#start(actor, effect, false);
    this.around?.took(actor, event, reaction);
    return undefined;
  }

  // ---- effects

  #start(actor: Living, effect: StartedEffect, restarted: boolean): void {
    this.#count += 1;
    actor.starts.set(effect.id, this.#count);
    if (effect.src === 'waitUntil') return this.#arm(actor, effect, this.#count);
    const known = this.#keys.get(effect);
    const key = known ?? `${actor.address}#${this.#count}#${effect.id}`;
    this.#keys.set(effect, key);
    this.#begun.push({ actor, effect, key, restarted });
  }
  readonly #keys = new WeakMap<StartedEffect, string>();

  #arm(actor: Living, effect: StartedEffect, start: number): void {
    const { at, up } = effect.input as { at?: number; up?: number };
    const left = at === undefined ? (up ?? 0) - this.clock.up : at - this.clock.at;
    this.after(left, () => {
      if (actor.starts.get(effect.id) !== start || !this.#isAlive(actor)) return;
      if (this.isDown) return; // armed anew by the restart
      const isDue = at === undefined ? (up ?? 0) <= this.clock.up : at <= this.clock.at;
      if (isDue) this.#ended(actor, effect, start, { output: null });
      else this.#arm(actor, effect, start);
    });
  }

  #launch(work: Work): void {
    const { actor, effect } = work;
    const start = actor.starts.get(effect.id);
    if (start === undefined || !this.#isAlive(actor) || this.around === undefined) return;
    const course = this.around.begin(work);
    this.#under.set(start, { work, course });
    this.after(course.afterMs, () => {
      if (!this.#under.delete(start)) return; // cut off
      if (actor.starts.get(effect.id) !== start || !this.#isAlive(actor)) return;
      const outcome = course.end();
      if (outcome !== undefined) this.#ended(actor, effect, start, outcome);
    });
  }

  #isAlive(actor: Living): boolean {
    return this.actors.get(actor.address) === actor;
  }

  /** Of one that nobody knew the outcome of. */
  settle({ actor, effect }: Work, outcome: { output: unknown } | { error: string }): void {
    const start = actor.starts.get(effect.id);
    if (start === undefined || this.isDown || !this.#isAlive(actor)) return;
    if (actor.driver.running.get(effect.id) === effect) this.#ended(actor, effect, start, outcome);
  }

  #ended(
    { address }: Living,
    { id }: StartedEffect,
    start: number,
    outcome: { output: unknown } | { error: string },
  ): void {
    const event =
      'output' in outcome
        ? { type: `xstate.done.actor.${id}`, output: outcome.output }
        : { type: `xstate.error.actor.${id}`, error: { name: 'Error', message: outcome.error } };
    this.#turn(() => this.#carryOut({ kind: 'send', to: address, event, start }));
  }
}

/** Effects whose end it has been told and not taken yet. */
const endsIn = (backlog: Mail[] | null): Set<number> =>
  new Set(
    (backlog ?? []).flatMap((mail) =>
      mail.kind === 'send' && mail.start !== undefined ? [mail.start] : [],
    ),
  );

function machineOf(name: string): AnyStateMachine {
  const machine = MACHINES[name];
  if (machine === undefined) throw new Error(`no machine is called ${name}`);
  return machine;
}

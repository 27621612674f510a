/**
 * Runs a machine the way the kernel does: nothing is started, each event is folded with the pure `transition`, and what
 * the machine asks for comes back as data. Time is what the test says.
 */
import assert from 'node:assert/strict';
import { createActor } from 'xstate';
import type { AnyActorLogic, AnyActorRef, AnyMachineSnapshot, AnyStateMachine } from 'xstate';
import type { SendParams, SpawnParams, StopParams } from '../../machines/events.ts';
import type { JsonObject } from '../../machines/json.ts';

export interface StartedEffect {
  id: string;
  src: string;
  input: JsonObject;
}

export interface Reaction {
  sent: SendParams[];
  spawned: SpawnParams[];
  stopped: StopParams[];
  started: StartedEffect[];
  ended: string[];
}

export interface Clock {
  at: number;
  up: number;
}

/** Any instant will do; the two clocks differ so that a mix-up shows. */
const START: Clock = { at: 1_700_000_000_000, up: 5_000 };

export class MachineDriver {
  snapshot: AnyMachineSnapshot;
  /** Effects that run: what was started and not ended. */
  readonly running = new Map<string, StartedEffect>();
  readonly clock: Clock;
  /** Everything that was ever sent. */
  readonly sent: SendParams[] = [];
  readonly #machine: AnyStateMachine;
  readonly #scope: Parameters<AnyActorLogic['transition']>[2];
  #seq = 0;
  #actions: { type: string; params: unknown }[] = [];

  /** Several drivers may share one clock. */
  constructor(machine: AnyStateMachine, input: JsonObject, clock: Clock = { ...START }) {
    this.#machine = machine;
    this.clock = clock;
    const stamped = { ...input, ...this.clock };
    const self: AnyActorRef = createActor(machine, { input: stamped });
    this.#scope = {
      self,
      id: '',
      sessionId: '',
      logger: () => {},
      defer: () => {},
      emit: () => {},
      system: self.system,
      stopChild: () => {},
      actionExecutor: (action: { type: string; params: unknown }) => {
        this.#actions.push(action);
      },
    };
    this.snapshot = machine.getInitialSnapshot(this.#scope, stamped);
    assert.equal(this.snapshot.error, undefined); // it does not throw, it answers with this
    this.#react();
  }

  get value(): unknown {
    return this.snapshot.value;
  }

  /** Time passes on both clocks, in ms. */
  pass(ms: number): this {
    this.clock.at += ms;
    this.clock.up += ms;
    return this;
  }

  /** Throws what the machine throws, and then nothing has changed. */
  deliver(event: { type: string }): Reaction {
    this.#seq += 1;
    this.#actions = [];
    const stamped = { ...event, ...this.clock, seq: this.#seq };
    const next = this.#machine.transition(this.snapshot, stamped, this.#scope);
    if (next.status === 'error') throw next.error;
    this.snapshot = next;
    return this.#react();
  }

  /** The effect ends well. It must be running. */
  done(id: string, output: unknown = null): Reaction {
    assert(this.running.has(id), `${id} runs; running: ${[...this.running.keys()].join(', ')}`);
    return this.deliver(Object.assign({ type: `xstate.done.actor.${id}` }, { output }));
  }

  /** The effect ends badly. It must be running. */
  fails(id: string, message: string, code?: string): Reaction {
    assert(this.running.has(id), `${id} runs; running: ${[...this.running.keys()].join(', ')}`);
    const error = { name: 'Error', message, ...(code !== undefined && { code }) };
    return this.deliver(Object.assign({ type: `xstate.error.actor.${id}` }, { error }));
  }

  persisted(): string {
    return JSON.stringify(this.#machine.getPersistedSnapshot(this.snapshot));
  }

  /** As after a restart: from its persisted form and nothing else. */
  restore(): void {
    this.snapshot = this.#machine.restoreSnapshot(JSON.parse(this.persisted()), this.#scope);
  }

  /** As after a restart from an older state: what that waited for runs (again). */
  wakeIn(persisted: string): void {
    const older = JSON.parse(persisted) as {
      children?: Record<string, { src: string; snapshot: { input?: JsonObject } }>;
    };
    this.running.clear();
    for (const [id, { src, snapshot }] of Object.entries(older.children ?? {}))
      this.running.set(id, { id, src, input: snapshot.input ?? {} });
    this.snapshot = this.#machine.restoreSnapshot(
      older as unknown as AnyMachineSnapshot,
      this.#scope,
    );
  }

  #react(): Reaction {
    const reaction: Reaction = { sent: [], spawned: [], stopped: [], started: [], ended: [] };
    for (const { type, params } of this.#actions) this.#note(reaction, type, params);
    this.sent.push(...reaction.sent);
    this.#actions = [];
    return reaction;
  }

  // The params are the machine's own, as events.ts declares them.
  // oxlint-disable typescript/no-unsafe-type-assertion
  #note(reaction: Reaction, type: string, params: unknown): void {
    if (type === 'send') reaction.sent.push(params as SendParams);
    else if (type === 'spawn') reaction.spawned.push(params as SpawnParams);
    else if (type === 'stop') reaction.stopped.push(params as StopParams);
    else if (type === 'xstate.spawnChild') {
      const effect = params as StartedEffect;
      assert(!this.running.has(effect.id), `${effect.id} starts beside another one`);
      this.running.set(effect.id, effect);
      reaction.started.push(effect);
    } else if (type === 'xstate.stopChild') {
      const { id } = params as AnyActorRef;
      this.running.delete(id);
      reaction.ended.push(id);
    }
  }
  // oxlint-enable typescript/no-unsafe-type-assertion
}

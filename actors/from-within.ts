/**
 * What reaches an actor from its own timers and effects. Each answer names the seq of the record that asked for it, so that
 * one that comes late, after the actor went on, is dropped.
 */
import { RuntimeError } from '../machines/errors.ts';
import type { JsonObject } from '../machines/json.ts';
import type { Actor } from './actor.ts';
import { NO_ORIGIN } from './admission.ts';
import type { Outcome } from './effects.ts';
import type { Timer } from './timers.ts';
import type { Turn } from './turn.ts';

interface System {
  actors: ReadonlyMap<string, Actor>;
  readonly failure: Error | undefined;
}

export class FromWithin {
  readonly #system: System;
  readonly #turn: Turn;

  constructor(system: System, turn: Turn) {
    this.#system = system;
    this.#turn = turn;
  }

  timerDue({ address, invoke, armSeq }: Timer): void {
    const actor = this.#system.actors.get(address);
    if (actor === undefined || actor.stopped || this.#system.failure) return;
    const resident = this.#turn.tryWake(actor); // a held actor's timers are armed again when it is restored
    if (resident?.state.invokes[invoke]?.seq !== armSeq) return;
    this.#turn.postInternal(actor, { type: `xstate.done.actor.${invoke}` }, NO_ORIGIN);
    this.#turn.drain();
  }

  /** False: it could not be taken, and is to be delivered again. */
  effectEnded(address: string, invoke: string, seq: number, outcome: Outcome): boolean {
    if (this.#system.failure) return false;
    const actor = this.#system.actors.get(address);
    if (actor === undefined || actor.stopped) return true;
    const resident = this.#turn.tryWake(actor);
    if (resident === undefined) return false;
    if (resident.state.invokes[invoke]?.seq !== seq) return true;
    const event: { type: string } & JsonObject =
      outcome.kind === 'done'
        ? { type: `xstate.done.actor.${invoke}`, output: outcome.output }
        : { type: `xstate.error.actor.${invoke}`, error: { ...outcome.error } };
    this.#turn.postInternal(actor, event, NO_ORIGIN);
    this.#turn.drain();
    return this.#system.failure === undefined;
  }

  effectEmitted(
    address: string,
    invoke: string,
    seq: number,
    event: { type: string } & JsonObject,
  ): void {
    const actor = this.#system.actors.get(address);
    if (actor === undefined || this.#system.failure || actor.resident === undefined) return;
    if (actor.resident.state.invokes[invoke]?.seq !== seq) return;
    this.#turn.postInternal(actor, event, NO_ORIGIN);
    this.#turn.drain();
  }

  /** Resolves when it is durable that the effect may have run. */
  recordStarted(address: string, invokeId: string, seq: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const actor = this.#turn.require(address);
      const resident = this.#turn.wake(actor);
      const invoke = resident.state.invokes[invokeId];
      if (invoke === undefined || invoke.seq !== seq)
        throw new RuntimeError('the effect was withdrawn', { code: 'CONFLICT' });
      const rest = `,"k":"started","of":${seq},"v":${JSON.stringify(invokeId)}`;
      const queued = this.#turn.append(actor, rest);
      resident.state.invokes = {
        ...resident.state.invokes,
        [invokeId]: { ...invoke, started: true },
      };
      resident.state.seq = actor.seq;
      this.#turn.enqueue(actor, resident, queued, { resolve: () => resolve(), reject });
      this.#turn.drain();
    });
  }
}

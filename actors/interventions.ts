/**
 * Records that are not events: an effect in doubt settled as not started, a return to an earlier state, a stopped actor
 * brought back, a machine replaced by its next version. Each is journaled like any event and waits for the same commit.
 */
import { RuntimeError } from '../machines/errors.ts';
import type { PlainError } from '../machines/errors.ts';
import { jsonEqual } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { Resident } from './actor.ts';
import type { Actor } from './actor.ts';
import type { Receipt } from './commit-queue.ts';
import type { DoubtfulEffect, EffectRunner } from './effects.ts';
import { snapshotBody } from './fold.ts';
import type { ActorState } from './fold.ts';
import type { MachineRegistry } from './logic.ts';
import { effectKey, JUMP } from './records.ts';
import type { Invoke } from './records.ts';
import type { Turn } from './turn.ts';

export type Verdict =
  { kind: 'done' } | { kind: 'failed'; error: PlainError } | { kind: 'not_started' };

export class Interventions {
  readonly #turn: Turn;
  readonly #effects: EffectRunner;
  readonly #registry: MachineRegistry;

  constructor(turn: Turn, effects: EffectRunner, registry: MachineRegistry) {
    this.#turn = turn;
    this.#effects = effects;
    this.#registry = registry;
  }

  /** Settles an effect nobody knows the outcome of. `not_started` lets it run. */
  async settle(key: string, verdict: Verdict, by: string): Promise<Receipt> {
    const effect = this.#effects.takeDoubtful(key);
    const actor = this.#turn.require(effect.address);
    const resident = this.#turn.wake(actor);
    const invoke = resident.state.invokes[effect.invoke];
    if (invoke === undefined || effectKey(actor.address, invoke.seq, effect.invoke) !== key)
      throw new RuntimeError(`nothing waits for ${key} any more`, { code: 'NOT_FOUND' });
    if (verdict.kind === 'not_started') return this.#settleNotStarted(actor, effect, invoke, by);
    const output = this.#effects.settledOutput(resident.state.logic.name, effect);
    const event: { type: string } & JsonObject =
      verdict.kind === 'done'
        ? { type: `xstate.done.actor.${effect.invoke}`, output, settledBy: by }
        : {
            type: `xstate.error.actor.${effect.invoke}`,
            error: { ...verdict.error },
            settledBy: by,
          };
    return new Promise((resolve, reject) => {
      this.#turn.post(actor, event, resolve, reject);
      // The doubt is over unless the machine rejected the settlement and still waits.
      if (resident.state.invokes[effect.invoke]?.seq !== invoke.seq) this.#effects.abort(key);
      this.#turn.drain();
    });
  }

  #settleNotStarted(
    actor: Actor,
    effect: DoubtfulEffect,
    invoke: Invoke,
    by: string,
  ): Promise<Receipt> {
    return new Promise((resolve, reject) => {
      const resident = this.#turn.wake(actor);
      const { started: _, ...unstarted } = invoke;
      const rest = `,"k":"settled","of":${invoke.seq},"v":${JSON.stringify(effect.invoke)},"e":${JSON.stringify({ outcome: 'not_started', by })}`;
      const queued = this.#turn.append(actor, rest);
      resident.state.invokes = { ...resident.state.invokes, [effect.invoke]: unstarted };
      resident.state.seq = actor.seq;
      this.#effects.abort(effect.key);
      this.#turn.enqueue(actor, resident, queued, {
        resolve,
        reject,
        outputs: [
          {
            kind: 'start',
            invokeId: effect.invoke,
            invoke: unstarted,
            machine: resident.state.logic.name,
          },
        ],
      });
      this.#turn.drain();
    });
  }

  /**
   * A journaled return to an earlier state: dedupe and outcomes stay as they are (DESIGN 4), and an effect that both states
   * wait for goes on under its key: it may have run, and must not begin anew.
   */
  rollBack(
    address: string,
    earlier: { seq: number; snapshot: JsonValue },
    reason: string,
  ): Promise<Receipt> {
    return new Promise((resolve, reject) => {
      const actor = this.#turn.require(address);
      if (actor.hold) throw actor.heldError();
      const resident = this.#turn.wake(actor);
      const { logic } = resident.state;
      const seq = actor.seq + 1;
      const pending = Object.entries(pendingIn(earlier.snapshot));
      const kept = new Map(pending.flatMap(([id, wanted]) => goesOn(resident, id, wanted)));
      const invokes = Object.fromEntries(
        pending.map(([id, { src, input }]) => [id, kept.get(id) ?? { src, input, seq }]),
      );
      const body = { snapshot: earlier.snapshot, invokes, dedupe: resident.state.dedupe.toJSON() };
      const rest = `,"k":"rolled_back","m":"${logic.id}","h":"${logic.hash}","to":${earlier.seq},"reason":${JSON.stringify(reason)},"e":${JSON.stringify(body)}`;
      const queued = this.#turn.append(actor, rest);
      const keys = new Set([...kept].map(([id, invoke]) => effectKey(address, invoke.seq, id)));
      const launches = this.#turn
        .abortAll(actor, resident)
        .filter((launch) => launch.kind !== 'abort' || !keys.has(launch.key));
      resident.state = {
        ...resident.state,
        snapshot: logic.restore(structuredClone(earlier.snapshot)),
        invokes,
        seq,
      };
      for (const [invokeId, invoke] of Object.entries(invokes)) {
        if (invoke.src === 'waitUntil') this.#turn.arm(actor, invokeId, invoke);
        else if (!kept.has(invokeId))
          launches.push({ kind: 'start', invokeId, invoke, machine: logic.name });
      }
      this.#turn.enqueue(actor, resident, queued, { resolve, reject, outputs: launches });
      this.#turn.drain();
    });
  }

  /** A stopped actor lives on in this state. Its effects start when that is durable (P1). */
  bringBack(actor: Actor, state: ActorState): Promise<void> {
    return new Promise((resolve, reject) => {
      const { logic } = state;
      actor.seq = Math.max(actor.seq, state.seq);
      const body = JSON.stringify(snapshotBody(state));
      const rest = `,"k":"snapshot","m":"${logic.id}","h":"${logic.hash}","e":${body}${JUMP}`;
      const queued = this.#turn.append(actor, rest);
      const resident = new Resident({ ...state, seq: queued.seq }, queued.up);
      resident.isCommitted = false;
      Object.assign(actor, { resident, stopped: false, tail: undefined, machine: logic.id });
      const live = (): void => {
        if (actor.resident === resident) this.#turn.goLive(actor, resident);
        resolve();
      };
      const event = { type: 'actor.brought_back' };
      this.#turn.enqueue(actor, resident, queued, { event, resolve: live, reject });
      this.migrate(actor, resident);
      this.#turn.drain();
    });
  }

  /** Replaces an actor's machine by its next version, as a record. Used right after it was restored. */
  migrate(actor: Actor, resident: Resident): void {
    for (let next = this.#registry.upgrade(resident.state.logic); next;) {
      const persisted = JSON.parse(
        JSON.stringify(resident.state.logic.persist(resident.state.snapshot)),
      ) as JsonValue;
      const migrated = next.migrate(persisted);
      const invokes = Object.fromEntries(
        Object.entries(pendingIn(migrated)).map(([id, { src, input }]) => [
          id,
          resident.state.invokes[id] ?? { src, input, seq: actor.seq + 1 },
        ]),
      );
      const body = { snapshot: migrated, invokes, dedupe: resident.state.dedupe.toJSON() };
      const rest = `,"k":"migrated","m":"${next.logic.id}","h":"${next.logic.hash}","e":${JSON.stringify(body)}`;
      const queued = this.#turn.append(actor, rest);
      resident.state = {
        ...resident.state,
        logic: next.logic,
        snapshot: next.logic.restore(migrated),
        invokes,
        seq: actor.seq,
      };
      actor.machine = next.logic.id;
      this.#turn.enqueue(actor, resident, queued, {});
      next = this.#registry.upgrade(resident.state.logic);
    }
  }
}

/** The effect that runs under this id already, if it is the very one that is wanted. */
function goesOn(
  { state }: Resident,
  id: string,
  { src, input }: { src: string; input: JsonValue },
): [string, Invoke][] {
  const present = state.invokes[id];
  const isSame = present?.src === src && src !== 'waitUntil' && jsonEqual(present.input, input);
  return present && isSame ? [[id, present]] : [];
}

/** The effects a persisted snapshot waits for. */
function pendingIn(snapshot: JsonValue): Record<string, { src: string; input: JsonValue }> {
  const { children } = snapshot as { children?: Record<string, PersistedChild> };
  return Object.fromEntries(
    Object.entries(children ?? {}).map(([id, child]) => [
      id,
      { src: child.src, input: child.snapshot.input ?? null },
    ]),
  );
}
interface PersistedChild {
  src: string;
  snapshot: { input?: JsonValue };
}

/**
 * Durable checkpoints of actors' states: a checkpoint never runs ahead of the journal, and what comes after its capture is
 * dirty again. Until it is durable, the journal keeps what it is to cover (`oldestUnderWay`): it may yet fail. One that was
 * found damaged is written anew though nothing came after it.
 */
import { homeCell } from '../machines/addresses.ts';
import type { Actor } from './actor.ts';
import { hasEffects } from './records.ts';
import type { SnapshotBody } from './records.ts';
import type { ActorStore } from './store.ts';
import type { ActorSystem, SystemLog } from './system.ts';

export class ActorCheckpoints {
  readonly #system: ActorSystem;
  readonly #store: ActorStore;
  readonly #log: SystemLog;
  /** Lsn of the first record that the checkpoint is to cover. */
  readonly #underWay = new Map<Actor, number>();

  constructor({ system, store, log }: { system: ActorSystem; store: ActorStore; log: SystemLog }) {
    this.#system = system;
    this.#store = store;
    this.#log = log;
  }

  /** Durable checkpoint of the actor's present state. */
  async write(actor: Actor): Promise<void> {
    while (actor.checkpointing) await actor.checkpointing;
    if ((actor.firstDirtyLsn === 0 && !actor.isUnsound) || actor.hold) return;
    const { firstDirtyLsn } = actor;
    if (firstDirtyLsn > 0) this.#underWay.set(actor, firstDirtyLsn);
    const write = this.#write(actor)
      .catch((error: unknown) => {
        actor.firstDirtyLsn = firstDirtyLsn;
        throw error;
      })
      .finally(() => {
        this.#underWay.delete(actor);
        actor.checkpointing = undefined;
      });
    actor.checkpointing = write;
    return write;
  }

  oldestUnderWay(): number {
    return Math.min(Infinity, ...this.#underWay.values());
  }

  /** One that fails is told, and keeps its records in the journal. A stopped one without a folder needs none. */
  async writeOrKeep(actor: Actor): Promise<void> {
    if (!this.#store.hasCell(homeCell(actor.address))) {
      if (actor.stopped) actor.firstDirtyLsn = 0;
      return;
    }
    try {
      await this.write(actor);
    } catch (error) {
      if (this.#system.failure) throw error;
      this.#log.warn({ address: actor.address, error: String(error) }, 'checkpoint not written');
    }
  }

  /** An idle actor leaves memory once a checkpoint covers it; effects keep it awake, timers do not. */
  async passivate(actor: Actor): Promise<void> {
    const { resident } = actor;
    if (resident === undefined || actor.hold || hasEffects(resident.state.invokes)) return;
    await this.write(actor);
    if (actor.resident === resident && actor.firstDirtyLsn === 0 && resident.uncommitted === 0)
      actor.resident = undefined;
  }

  async #write(actor: Actor): Promise<void> {
    const system = this.#system;
    const store = this.#store;
    const at = system.clock.now().at;
    const stored = { format: 1 as const, address: actor.address, epoch: system.epoch, at };
    const { seq } = actor;
    if (actor.stopped) {
      actor.firstDirtyLsn = 0;
      await system.settled();
      const [machine = '', version = '1'] = actor.machine.split('@');
      const empty = { snapshot: null, invokes: {}, dedupe: EMPTY_DEDUPE };
      const logic = { machine, version: Number(version), definitionHash: '' };
      await store.writeCheckpoint({ ...stored, ...logic, ...empty, seq, stopped: true });
    } else {
      const { text, resident } = system.captureBody(actor);
      actor.firstDirtyLsn = 0;
      const { name: machine, version, hash: definitionHash } = resident.state.logic;
      await system.settled(); // a checkpoint never runs ahead of the journal
      const body = JSON.parse(text) as SnapshotBody;
      const logic = { machine, version, definitionHash };
      await store.writeCheckpoint({ ...stored, ...logic, seq, ...body });
    }
    actor.isUnsound = false;
    actor.checkpointSeq = seq;
    if (actor.resident) actor.resident.checkpointedAt = system.clock.now().up;
  }
}

const EMPTY_DEDUPE = { senders: {}, streams: {}, ids: [], forgottenUpTo: 0 };

/**
 * The system's synchronous turn (system.ts, S1-S3) as its parts see it: what interventions, messages and holds may do to
 * actors between two turns of the event loop. All of it lands in one batch.
 */
import type { PlainError } from '../machines/errors.ts';
import type { SpawnParams } from '../machines/events.ts';
import type { JsonObject } from '../machines/json.ts';
import type { Actor, Resident } from './actor.ts';
import type { Origin } from './admission.ts';
import type { Launch, Queued, Receipt } from './commit-queue.ts';
import type { Output } from './logic.ts';
import type { Invoke, Invokes } from './records.ts';

/** A record that was appended and not yet committed. */
export interface Appended {
  lsn: number;
  seq: number;
  at: number;
  up: number;
  /** Of its line. */
  chars: number;
}

/** What waits for a record's commit. */
export interface Waiting extends Partial<Pick<Queued, 'outputs' | 'resolve' | 'reject' | 'error'>> {
  event?: { type: string } & JsonObject;
  /** As in CommittedRecord. */
  source?: string | undefined;
  plain?: PlainError;
}

export interface Turn {
  /** `rest`: the record's own members as JSON text, each after a comma. */
  append(actor: Actor, rest: string): Appended;
  enqueue(actor: Actor, resident: Resident | undefined, appended: Appended, waiting: Waiting): void;
  /** The actor shares the fate of everything appended so far: when that is lost, its memory is given up with it. */
  bindToPending(actor: Actor): void;
  post(
    actor: Actor,
    event: { type: string } & JsonObject,
    resolve: (receipt: Receipt) => void,
    reject: (error: Error) => void,
  ): void;
  /** An event from within: never refused, but an actor above its rate is held. */
  postInternal(actor: Actor, event: { type: string } & JsonObject, origin: Origin): void;
  /** Returns what has to wait for the commit; timers and messages are seen to. */
  route(
    actor: Actor,
    resident: Resident,
    before: Invokes,
    outputs: readonly Output[],
    seq: number,
  ): Launch[] | undefined;
  arm(actor: Actor, invokeId: string, invoke: Invoke): void;
  abortAll(actor: Actor, resident: Resident): Launch[];
  goLive(actor: Actor, resident: Resident): void;
  /** A snapshot record of the actor's present state; `rest` as above. */
  snapshot(actor: Actor, resident: Resident, rest?: string): void;
  init(params: SpawnParams, s: [sender: string, seq: number, n: number]): void;
  stop(actor: Actor, reason: string): void;
  drain(): void;
  wake(actor: Actor): Resident;
  /** undefined when the actor is held: what comes is recorded and waits. */
  tryWake(actor: Actor): Resident | undefined;
  /** Known here, or found by the checkpoint it left. */
  find(address: string): Actor | undefined;
  require(address: string): Actor;
  settled(): Promise<void>;
}

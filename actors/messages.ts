/**
 * What events make their machines send, spawn and stop, on its way into the journal beside its cause.
 *
 * M1 All of it is appended in the synchronous turn of its cause, until nothing more is asked for (system.ts, S2).
 * M2 What a record asked for that was journaled while its actor was held is asked for when that record is folded in, in
 *    the turn that restores the actor; the actor is bound to these sends, so that a failed commit takes it back with them
 *    and the next restoring asks again.
 */
import type { SendParams, SpawnParams, StopParams } from '../machines/events.ts';
import type { Actor } from './actor.ts';
import type { Output } from './logic.ts';
import type { Turn } from './turn.ts';

type Message = { from: Actor; seq: number; n: number } & (
  | { kind: 'send'; params: SendParams }
  | { kind: 'spawn'; params: SpawnParams }
  | { kind: 'stop'; params: StopParams }
  /** Behind the last message of M2. */
  | { kind: 'bind' }
);

export interface Repost {
  seq: number;
  outputs: readonly Output[];
}

type ToNobody = { from: string; to: string; kind: string };

export class Messages {
  readonly #turn: Turn;
  readonly #toNobody: (message: ToNobody) => void;
  readonly #list: Message[] = [];
  #draining = false;

  constructor(turn: Turn, toNobody: (message: ToNobody) => void) {
    this.#turn = turn;
    this.#toNobody = toNobody;
  }

  push(from: Actor, seq: number, n: number, output: Exclude<Output, { kind: 'invoke' | 'abort' }>) {
    this.#list.push({ ...output, from, seq, n });
  }

  /** M2. */
  repost(from: Actor, reposts: readonly Repost[]): void {
    if (reposts.length === 0) return;
    for (const { seq, outputs } of reposts) {
      let n = 0;
      for (const output of outputs)
        if (output.kind !== 'invoke' && output.kind !== 'abort')
          this.push(from, seq, (n += 1), output);
    }
    this.#list.push({ kind: 'bind', from, seq: 0, n: 0 });
    if (!this.#draining) this.#turn.drain();
  }

  /** M1. False when a turn further up is at it already. */
  drain(): boolean {
    if (this.#draining) return false;
    this.#draining = true;
    try {
      for (let i = 0; i < this.#list.length; i += 1) this.#carryOut(this.#list[i] as Message);
    } finally {
      this.#list.length = 0;
      this.#draining = false;
    }
    return true;
  }

  /** The journal failed: their causes are lost with them. */
  clear(): void {
    this.#list.length = 0;
  }

  #carryOut(message: Message): void {
    const turn = this.#turn;
    if (message.kind === 'bind') return turn.bindToPending(message.from);
    const s: [string, number, number] = [message.from.address, message.seq, message.n];
    if (message.kind === 'spawn') {
      const known = turn.find(message.params.address);
      // Whoever asks has a whole history: an actor of this name that may be lost is lost to it too (losses.ts, L2).
      if (known === undefined || known.stopped || known.lost?.isUnknown)
        turn.init(message.params, s);
      return;
    }
    const address = message.kind === 'send' ? message.params.to : message.params.address;
    const actor = turn.find(address);
    if (actor === undefined || actor.stopped) {
      if (message.kind === 'send' && message.params.ifThere) return;
      return this.#toNobody({ from: s[0], to: address, kind: message.kind });
    }
    if (message.kind === 'stop') return turn.stop(actor, message.params.reason);
    if (turn.tryWake(actor)?.state.dedupe.seenSend(...s)) return;
    turn.postInternal(actor, message.params.event, { s });
  }
}

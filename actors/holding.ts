/**
 * Actors that take no events for now: what comes for them is recorded and waits, and what a release does with it.
 *
 * H1 What comes while an actor is held is journaled with `b`, and applied in order after the release, live or by folding.
 * H2 To release an actor whose records are damaged is to accept the loss: it goes on from what is left, with a snapshot
 *    record under a seq that no lost record can have had, for others may know what those sent (losses.ts).
 */
import { RuntimeError, toPlainError } from '../machines/errors.ts';
import type { Actor, Resident } from './actor.ts';
import { applyEvent, remember } from './fold.ts';
import type { Output } from './logic.ts';
import { JUMP } from './records.ts';
import type { EventRecord } from './records.ts';
import type { Appended, Turn } from './turn.ts';

/** H1. Above `bound` records they stay in the journal alone, and the actor is restored from there. */
export function keepForLater(actor: Actor, record: EventRecord, bound: number): void {
  actor.backlog ??= [];
  if (actor.resident === undefined)
    actor.tail = undefined; // it is not all any more: the journal is read instead
  else if (actor.backlog.length < bound) actor.backlog.push(record);
  else Object.assign(actor, { backlog: undefined, resident: undefined });
}

export interface ReleaseOptions {
  /** A person has said so: go on from what is left (H2). */
  acceptLoss?: boolean;
}

/** Lets a held actor go on. False when it was not held. Throws RuntimeError ACTOR_HELD when it still cannot be restored. */
export function release(turn: Turn, actor: Actor, { acceptLoss }: ReleaseOptions): boolean {
  const { hold, lost, backlog = [] } = actor;
  if (hold === undefined && lost === undefined) return false;
  Object.assign(actor, { hold: undefined, backlog: undefined });
  if (acceptLoss === true && (lost || hold?.code === 'JOURNAL_CORRUPT'))
    actor.lost = { upTo: actor.seq, reason: hold?.reason ?? '', ...lost, accepted: true };
  const resident = wakeOrForget(turn, actor, lost); // without a resident, the backlog is read from the journal with the rest
  if (resident === undefined) return true;
  if (actor.lost?.accepted) goOnBehind(turn, actor, resident, actor.lost.upTo);
  resident.allowance = Number.NaN;
  const note = turn.append(actor, ',"k":"released"');
  for (const record of backlog) applyLate(turn, actor, resident, { record, note });
  resident.state.seq = actor.seq;
  turn.enqueue(actor, resident, note, { event: { type: 'actor.released' } });
  return true;
}

/** undefined when nothing is left of it: nobody lives there any more. */
function wakeOrForget(turn: Turn, actor: Actor, lost: Actor['lost']): Resident | undefined {
  try {
    return turn.wake(actor);
  } catch (error) {
    if (actor.lost?.accepted && error instanceof RuntimeError && error.code === 'ACTOR_UNKNOWN') {
      actor.lost = undefined;
      return undefined;
    }
    actor.lost = lost;
    throw error;
  }
}

/** H2. */
function goOnBehind(turn: Turn, actor: Actor, resident: Resident, seq: number): void {
  actor.seq = Math.max(actor.seq, seq);
  actor.lost = undefined;
  turn.snapshot(actor, resident, JUMP);
}

/** Applies, after a release, what was only recorded while the actor was held. */
function applyLate(
  turn: Turn,
  actor: Actor,
  resident: Resident,
  { record, note }: { record: EventRecord; note: Appended },
): void {
  const { state } = resident;
  const { n: seq, t: at, u: up, e: event } = record;
  remember(state.dedupe, record, at);
  const before = state.invokes;
  const outputs: Output[] = [];
  try {
    applyEvent(state, { seq, event, now: { at, up } }, outputs);
  } catch (thrown) {
    const plain = toPlainError(thrown);
    const text = `,"k":"rejected","of":${seq},"e":${JSON.stringify(plain)}`;
    return turn.enqueue(actor, resident, turn.append(actor, text), { event, plain });
  }
  turn.enqueue(actor, resident, note, {
    outputs: turn.route(actor, resident, before, outputs, seq),
  });
}

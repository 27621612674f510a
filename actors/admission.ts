/**
 * What stands before a record: bounds (P8) and the memory of duplicates (P3). Pure checks; the system asks them.
 */
import { RuntimeError } from '../machines/errors.ts';
import type { Resident } from './actor.ts';
import type { ActorState } from './fold.ts';
import type { EventRecord } from './records.ts';

export interface Limits {
  /** Undurable or waiting records of one actor above which its doors answer BUSY. */
  softBound: number;
  /** ... above which a held actor stops taking internal sends into memory; they stay in the journal alone. */
  hardBound: number;
  /** Undurable records of the whole node above which every door answers BUSY. */
  nodeBound: number;
  /** Events from within (sends, effects, timers) an actor may take in a burst, and per second thereafter. */
  burst: number;
  ratePerSecond: number;
  /** Records of one actor between two snapshot records in the journal, at least. */
  snapshotEvery: number;
}

export const DEFAULT_LIMITS: Limits = {
  softBound: 1024,
  hardBound: 10_000,
  nodeBound: 65_536,
  burst: 10_000,
  ratePerSecond: 2000,
  snapshotEvery: 32,
};

export interface SendOptions {
  /** Outside id: the same one is applied once (P3). */
  id?: string;
  /** When the sender says it happened, epoch ms: only for telling too old ids. */
  datedAt?: number;
  stream?: { stream: string; created: string; seq: number };
}

/** The fields of a record that tell where its event came from. */
export type Origin = Pick<EventRecord, 'i' | 's' | 'x'> & { d?: number };
export const NO_ORIGIN: Origin = {};

/** Above this much uncommitted text every door answers BUSY; the journal itself has room for far more. */
const PENDING_BYTES = 32 << 20;

/** How full everything is that an event from a door would pass. */
export interface Load {
  /** Set while the doors are closed, with the reason. */
  closedDoors: string | undefined;
  /** Undurable records of the whole node, and their size in characters. */
  pendingRecords: number;
  pendingBytes: number;
}

/** Throws RuntimeError BUSY when a bound is reached. */
export function refuseWhenBusy(
  address: string,
  { uncommitted }: Resident,
  load: Load,
  limits: Limits,
): void {
  if (load.closedDoors !== undefined)
    throw new RuntimeError(load.closedDoors, { code: 'BUSY', retryable: true });
  if (load.pendingBytes > PENDING_BYTES)
    throw new RuntimeError('too much waits for the disk', { code: 'BUSY', retryable: true });
  if (uncommitted < limits.softBound && load.pendingRecords < limits.nodeBound) return;
  throw new RuntimeError(`${address} has ${uncommitted} events waiting`, {
    code: 'BUSY',
    retryable: true,
    hint: 'Send again when earlier events are acknowledged.',
  });
}

/** Duplicate: the seq it had. New: the fields that its record carries. Throws RuntimeError TOO_OLD. */
export function admit(
  { dedupe, seq }: ActorState,
  { id, datedAt, stream }: SendOptions,
): Origin | number {
  if (stream && dedupe.seenStream(stream)) return seq;
  if (id === undefined)
    return stream ? { x: [stream.stream, stream.created, stream.seq] } : NO_ORIGIN;
  const verdict = dedupe.checkId(id, datedAt);
  if (verdict.kind === 'duplicate') return verdict.seq;
  if (verdict.kind === 'too_old')
    throw new RuntimeError(`event ${id} is older than what duplicates are remembered for`, {
      code: 'TOO_OLD',
    });
  return {
    i: id,
    ...(datedAt === undefined ? {} : { d: datedAt }),
    ...(stream ? { x: [stream.stream, stream.created, stream.seq] } : {}),
  };
}

/** Token bucket: false when the actor took more events from within than its allowance. */
export function withinRate(resident: Resident, up: number, limits: Limits): boolean {
  if (Number.isNaN(resident.allowance)) resident.allowance = limits.burst;
  const refill = ((up - resident.allowanceAt) / 1000) * limits.ratePerSecond;
  resident.allowance = Math.min(limits.burst, resident.allowance + refill) - 1;
  resident.allowanceAt = up;
  return resident.allowance >= 0;
}

export function originText(origin: Origin): string {
  if (origin === NO_ORIGIN) return '';
  let text = '';
  if (origin.i !== undefined) text += `,"i":${JSON.stringify(origin.i)}`;
  if (origin.d !== undefined) text += `,"d":${origin.d}`;
  if (origin.s) text += `,"s":["${origin.s[0]}",${origin.s[1]},${origin.s[2]}]`;
  if (origin.x) text += `,"x":${JSON.stringify(origin.x)}`;
  return text;
}

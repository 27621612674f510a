/**
 * The only two ways in which a machine meets time: the stamp that the kernel put on the event it handles, and the text
 * form of such a stamp in files. Both are functions of the event, so a replay computes the same.
 */
import { invariant } from './invariant.ts';
import type { Stamp } from './events.ts';

/** Reads the stamp of a delivered event. Effect results carry one too, though XState's types do not say so. */
export function stampOf(event: object): Stamp {
  const { at, up, seq } = event as Partial<Stamp>;
  invariant(
    typeof at === 'number' && typeof up === 'number' && typeof seq === 'number',
    'every event is delivered with {at, up, seq}',
  );
  return { at, up, seq };
}

/** `up` at which a span of time ends with this event: one that began at another node ended when that node stopped. */
export function spanEnd(event: object): number {
  const { leftUp } = event as { leftUp?: number };
  return leftUp ?? stampOf(event).up;
}

/** ISO-8601 UTC of an epoch ms. */
export function isoFromEpoch(epochMs: number): string {
  return new Date(epochMs).toISOString();
}

export const isoOrNull = (epochMs: number | null): string | null =>
  epochMs === null ? null : isoFromEpoch(epochMs);

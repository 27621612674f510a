/**
 * What classes of actions have earned: each approved action after which the drift was gone counts, one failure takes all of it
 * back, and a person may take it back for good. The supervisor's ledger.
 *
 * L1 What a person took back stays so until a person removes the line: it is never forgotten to make room.
 * L2 Bounded: of the others the one without news for longest goes (P8).
 */
import { RuntimeError } from './errors.ts';
import { DEFAULT_EARNED_AFTER } from './supervision.ts';
import type { Earned } from './supervision.ts';

/** By `autonomyClass`, the one with the newest news last. */
export type Ledger = Readonly<Record<string, Earned>>;

export const MAX_CLASSES = 10_000;

const NOTHING: Earned = {
  successes: 0,
  lastSuccessAt: null,
  lastFailureAt: null,
  revokedBy: null,
};

export const earnedBy = (ledger: Ledger, of: string): Earned =>
  Object.hasOwn(ledger, of) ? (ledger[of] ?? NOTHING) : NOTHING;

/** Whether it may be approved without a person. */
export const hasEarned = (
  { successes, revokedBy }: Earned,
  after: number = DEFAULT_EARNED_AFTER,
): boolean => revokedBy === null && successes >= after;

export function withSuccess(ledger: Ledger, of: string, at: number): Ledger {
  const earned = earnedBy(ledger, of);
  return put(ledger, of, { ...earned, successes: earned.successes + 1, lastSuccessAt: at });
}

export function withFailure(ledger: Ledger, of: string, at: number): Ledger {
  return put(ledger, of, { ...earnedBy(ledger, of), successes: 0, lastFailureAt: at });
}

/** Also of a class that has earned nothing yet. Throws RuntimeError BUSY when all there is room for was taken back. */
export function revoked(ledger: Ledger, of: string, by: string): Ledger {
  const next = put(ledger, of, { ...earnedBy(ledger, of), successes: 0, revokedBy: by });
  if (Object.hasOwn(next, of)) return next;
  throw new RuntimeError(`${MAX_CLASSES} classes of actions are revoked: there is no room`, {
    code: 'BUSY',
    hint: 'Remove lines that are not needed any more from state/autonomy.json.',
  });
}

export function cleared(ledger: Ledger, of: string): Ledger {
  return Object.fromEntries(Object.entries(ledger).filter(([name]) => name !== of));
}

/** L1, L2. */
function put(ledger: Ledger, of: string, earned: Earned): Ledger {
  const entries = Object.entries(ledger).filter(([name]) => name !== of);
  if (entries.length >= MAX_CLASSES) {
    const oldest = entries.findIndex(([, { revokedBy }]) => revokedBy === null);
    if (oldest < 0) return ledger;
    entries.splice(oldest, 1);
  }
  return Object.fromEntries([...entries, [of, earned]]);
}

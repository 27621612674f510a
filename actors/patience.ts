/**
 * Faults of the host that pass by themselves: a full disk, no process or file to spare, a journal that is held. None of
 * them says anything about the work that met them, so the work waits and is tried again, until it can be done or nobody
 * waits for it any more: a task's timeout is the bound. Only for what is known not to have begun, or may be done twice.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { hasCode } from '../cells/inside.ts';
import { RuntimeError } from '../machines/errors.ts';

const BETWEEN_TRIES_MS = 500;

export interface PatientlyOptions {
  signal: AbortSignal;
  /** Called once, before the first wait. */
  onWait: (error: unknown) => void;
}

/** Throws what `work` throws otherwise, and the signal's reason. */
export async function patiently<T>(
  work: () => Promise<T>,
  { signal, onWait }: PatientlyOptions,
): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      if (signal.aborted || !passesByItself(error)) throw error;
      if (tries === 1) onWait(error);
    }
    await sleep(BETWEEN_TRIES_MS, null, { signal }).catch(() => signal.throwIfAborted());
  }
}

function passesByItself(error: unknown): boolean {
  if (error instanceof RuntimeError) return error.code === 'BUSY' || error.code === 'JOURNAL_HELD';
  return isFull(error);
}

/** The disk, or what this user may have of it. */
export const isFull = (error: unknown): boolean => hasCode(error, 'ENOSPC', 'EDQUOT');

/**
 * Should a failed agent be brought back, and when? Policy as data, decision as a pure function of what is known.
 *
 * V1 `no` refuses, `ask` asks, and only `yes` revives without a person.
 * V2 More restarts than the restart intensity allows, or `max_retries` revivals without a finished step, and it gives up:
 *    the same fault is not met with the same answer for ever.
 * V3 The first revival after progress comes at once: most faults are single ones, and waiting mends nothing. From the
 *    second on, full-jitter exponential backoff. Source: AWS Architecture Blog, "Exponential Backoff and Jitter".
 */
import type { Failure } from './events.ts';
import type { Policies, RestartIntensity } from './mission.ts';
import { recordRestart } from './restart-intensity.ts';

export interface RevivalHistory {
  /** Epoch ms of revivals within the period of the restart intensity, oldest first. */
  restarts: number[];
  /** Revivals since the last finished step. */
  withoutProgress: number;
  /** How often in a row the present signature was met without progress, this failure included. */
  sameSignature: number;
}

export interface RevivalQuestion {
  agentId: string;
  policies: Policies;
  restart: RestartIntensity;
  history: RevivalHistory;
  failure: Failure;
  /** Epoch ms of the failure. */
  at: number;
}

export type RevivalDecision =
  | { kind: 'revive'; delayMs: number }
  | { kind: 'ask'; reason: string }
  | { kind: 'refuse'; reason: string }
  | { kind: 'give_up'; reason: string };

const BASE_MS = 100;
const CAP_MS = 30_000;

export function decideRevival(question: RevivalQuestion): RevivalDecision {
  const { policies, restart, history, failure, at, agentId } = question;
  if (policies.auto_revive === 'no')
    // V1
    return { kind: 'refuse', reason: 'auto_revive is "no"' };
  if (policies.auto_revive === 'ask')
    return { kind: 'ask', reason: 'auto_revive is "ask": a person decides' };
  if (history.withoutProgress >= policies.max_retries)
    // V2
    return { kind: 'give_up', reason: futile(history, failure, policies.max_retries) };
  if (recordRestart(history.restarts, at, restart).exceeded)
    return {
      kind: 'give_up',
      reason: `more than ${restart.intensity} revivals within ${restart.period} s`,
    };
  return { kind: 'revive', delayMs: backoffMs(history.withoutProgress, `${agentId}@${at}`) };
}

/**
 * Delay before a revival, in ms, after `tried` revivals without progress (V3): 0 for the first, then somewhere in
 * [0, min(30 s, 100 ms * 2^tried)]. `salt` stands for chance: replay must find the same value.
 */
export function backoffMs(tried: number, salt: string): number {
  if (tried === 0) return 0;
  return Math.floor(fraction(salt) * Math.min(CAP_MS, BASE_MS * 2 ** tried));
}

function futile(history: RevivalHistory, failure: Failure, maxRetries: number): string {
  const times = `${maxRetries} revivals brought no finished step (max_retries)`;
  return history.sameSignature > 1
    ? `${times}; ${failure.signature} came ${history.sameSignature} times in a row`
    : times;
}

/** A number in [0, 1) from a text: 32-bit FNV-1a with a final mix, so that neighbours differ widely. */
function fraction(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) {
    hash ^= text.charCodeAt(i);
    hash = Math.imul(hash, 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}

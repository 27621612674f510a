/**
 * Should a failed agent be brought back, and when? Policy as data, decision as a pure function of what is known.
 *
 * V1 `no` refuses, `ask` asks, and only `yes` revives without a person.
 * V2 What futility.ts calls futile is not tried again: the task goes to a substitute, or a person is asked.
 * V3 The first revival after progress, or after a time of health, comes at once: most faults are single ones, and waiting
 *    mends nothing. From the second on, full-jitter exponential backoff. Source: AWS Architecture Blog, "Exponential Backoff
 *    and Jitter".
 */
import type { Failure } from './events.ts';
import { futility } from './futility.ts';
import type { RevivalHistory } from './futility.ts';
import type { Policies, RestartIntensity } from './mission.ts';

export type { RevivalHistory } from './futility.ts';

export interface RevivalQuestion {
  agentId: string;
  policies: Policies;
  restart: RestartIntensity;
  history: RevivalHistory;
  /** Revivals since the last progress or time of proven health: how far the backoff has grown. */
  tried: number;
  failure: Failure;
  /** Epoch ms of the failure. */
  at: number;
}

export type RevivalDecision =
  | { kind: 'revive'; delayMs: number }
  | { kind: 'ask'; reason: string }
  | { kind: 'refuse'; reason: string }
  /** `substitutes`: who may take the task over without a person; empty: a person is asked. */
  | { kind: 'futile'; reason: string; substitutes: string[] };

const BASE_MS = 100;
const CAP_MS = 30_000;

export function decideRevival(question: RevivalQuestion): RevivalDecision {
  const { policies, restart, history, failure, at, agentId, tried } = question;
  if (policies.auto_revive === 'no')
    // V1
    return { kind: 'refuse', reason: 'auto_revive is "no"' };
  if (policies.auto_revive === 'ask') return { kind: 'ask', reason: 'auto_revive is "ask"' };
  const reason = futility(history, { policies, restart, failure, at }); // V2
  if (reason !== null) return { kind: 'futile', reason, substitutes: substitutesOf(question) };
  return { kind: 'revive', delayMs: backoffMs(tried, `${agentId}@${at}`) };
}

/** An agent that tells of its failure itself has stopped. One that is held, or whose machine throws, may be at work. */
export function hasStopped({ reason }: Pick<Failure, 'reason'>): boolean {
  return reason !== 'actor_held' && reason !== 'event_rejected';
}

/** Whom a policy lets take over without a person. Only one that has stopped, with a task in hand, has one to hand over. */
export function substitutesOf({
  policies,
  failure,
}: Pick<RevivalQuestion, 'policies' | 'failure'>): string[] {
  const isAllowed =
    policies.handoff_allowed && policies.handoff_approval === 'auto' && hasStopped(failure);
  return isAllowed && failure.taskId !== null ? policies.substitute_agents : [];
}

/**
 * Delay before a revival, in ms, after `tried` revivals (V3): 0 for the first, then somewhere in
 * [0, min(30 s, 100 ms * 2^tried)]. `salt` stands for chance: replay must find the same value.
 */
export function backoffMs(tried: number, salt: string): number {
  if (tried === 0) return 0;
  return Math.floor(fraction(salt) * Math.min(CAP_MS, BASE_MS * 2 ** tried));
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

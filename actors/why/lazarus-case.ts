/** What Lazarus makes of a failed agent: what it decided and why, how far that is, and what a person can do. */
import { lazarusAddress } from '../../machines/addresses.ts';
import type { CellContext } from '../../machines/cell-context.ts';
import type { LazarusContext } from '../../machines/lazarus-context.ts';
import { choicesOf } from '../../machines/revival-choices.ts';
import type { WhyReader } from './explanation.ts';
import { isoOf } from './explanation.ts';
import type { Fact, Need, Next, PolicyFact } from './explanation.ts';
import { policyFacts } from './policies.ts';
import { waitsOf } from './waits.ts';

export interface Case {
  revivalId: string | null;
  /** A clause without a full stop: "Lazarus asks a person: auto_revive is \"ask\" (cell.json)". */
  answer: string;
  /** It is being dealt with, or waits for somebody. */
  isOpen: boolean;
  /** The agent's own actor is held: its cell cannot know that it has failed. */
  isHeld: boolean;
  /** The failure in words; null when nothing is open. */
  failure: string | null;
  facts: Fact[];
  policies: PolicyFact[];
  next: Next[];
  needs: Need[];
  story: string[];
}

const OUTCOMES: Record<string, string> = {
  revived: 'brought it back',
  recovered: 'saw it come back by itself',
  asking: 'asks a person',
  refused: 'did not bring it back',
  gave_up: 'gave up',
  substituted: 'had its task taken over by another agent',
  rejected: 'left it as it is',
  expired: 'got no answer from a person',
  removed: 'closed the case',
};
const IS_BACK: readonly string[] = ['revived', 'recovered', 'removed'];

/** By the machine's state; others are told by their names. */
const STATES: Record<string, string> = {
  backingOff: 'waits a while before it tries again',
  reviving: 'has begun to bring it back',
  answering: 'takes in the answer of a person',
  substituting: 'looks for an agent that takes its task over',
};

/** Undefined when the agent never failed, or Lazarus is held. */
export function caseOf(
  reader: WhyReader,
  cell: CellContext | undefined,
  { cellId, agentId }: { cellId: string; agentId: string },
): Case | undefined {
  const actor = reader.actor(lazarusAddress(cellId, agentId));
  if (actor === undefined || 'held' in actor) return undefined;
  const context = actor.context as LazarusContext;
  if (context.count === 0) return undefined;
  const words = because(context);
  const policies = cell ? policyFacts(cell, agentId, words) : [];
  const isBack = IS_BACK.includes(context.outcome ?? '') || context.revivalId === null;
  return {
    revivalId: context.revivalId ?? context.history.at(-1)?.revivalId ?? null,
    answer: `Lazarus ${doing(context, stateName(actor.state))}${whyWords(words, policies)}`,
    isOpen: !isBack,
    isHeld: !isBack && context.current?.failure.reason === 'actor_held',
    failure: isBack ? null : (context.current?.failure.message ?? null),
    facts: factsOf(context),
    policies,
    next: waitsOf(reader, actor),
    needs: isBack ? [] : needsOf(context),
    story: context.story,
  };
}

/** A request that is over and was followed by others: only what the history keeps of it. */
export function pastRevival(context: LazarusContext, revivalId: string): string | undefined {
  if (context.revivalId === revivalId) return undefined;
  const past = context.history.findLast((entry) => entry.revivalId === revivalId);
  if (past === undefined)
    return `Revival ${revivalId} is long over; the ledger has what came of it`;
  const how = OUTCOMES[past.outcome] ?? past.outcome.replaceAll('_', ' ');
  return `At ${isoOf(past.at)} Lazarus ${how} (failure: ${past.signature})`;
}

function doing(context: LazarusContext, state: string): string {
  const { outcome, attempts, history, revivalId } = context;
  const last = revivalId === null ? history.at(-1)?.outcome : undefined;
  const told = outcome ?? last;
  if (told !== undefined && told !== null) return OUTCOMES[told] ?? told.replaceAll('_', ' ');
  const tries = attempts > 0 ? ` (attempt ${attempts})` : '';
  return `${STATES[state] ?? `is at "${state}"`}${tries}`;
}

/** Lazarus' own words for its decision. */
function because({ outcome, reason, decision }: LazarusContext): string {
  if (outcome !== null) return reason;
  return decision !== null && 'reason' in decision ? decision.reason : '';
}

/** The words, and for the policies that they name the file that says so. */
function whyWords(words: string, policies: readonly PolicyFact[]): string {
  const origins = policies
    .filter(({ decided }) => decided)
    .map(({ name, origin }) => `${name} comes from ${origin}`);
  const from = origins.length > 0 ? ` (${origins.join(', ')})` : '';
  return words === '' ? from : `: ${words}${from}`;
}

function factsOf({ current, revivalId, attempts, history, requestedAt }: LazarusContext): Fact[] {
  const revived = history.filter(({ outcome }) => outcome === 'revived').length;
  return [
    ...(revivalId === null ? [] : [{ name: 'revival', value: revivalId }]),
    ...(revivalId === null ? [] : [{ name: 'asked for at', value: isoOf(requestedAt) }]),
    ...(current === null ? [] : [{ name: 'failure', value: current.failure.message }]),
    ...(current === null ? [] : [{ name: 'signature', value: current.failure.signature }]),
    ...(attempts === 0 ? [] : [{ name: 'attempts', value: attempts }]),
    ...(revived === 0 ? [] : [{ name: 'revived before', value: revived }]),
  ];
}

function needsOf(context: LazarusContext): Need[] {
  const { outcome, cellId, agentId } = context;
  if (outcome === 'asking')
    return choicesOf(context).map(({ means, command }) => ({ what: means, command }));
  if (outcome === null) return [];
  const what = `to bring ${agentId} back all the same`;
  return [{ what, command: `lazarus agent revive ${cellId}/${agentId}` }];
}

function stateName(state: unknown): string {
  if (typeof state === 'string') return state;
  return typeof state === 'object' && state !== null ? (Object.keys(state)[0] ?? '') : '';
}

/** What Lazarus does about an agent at this moment, what comes next and when, in words: for the status, `why` and people. */
import type { Stamp } from './events.ts';
import { reviveDeadline } from './lazarus-context.ts';
import type { LazarusContext } from './lazarus-context.ts';

export interface RevivalOutlook {
  /** `waits for a person: auto_revive is "ask"` */
  doing: string;
  /** Epoch ms at which something happens by itself, and what; null when nothing does. */
  nextAt: number | null;
  next: string | null;
  /** Nothing goes on without one. */
  needsPerson: boolean;
}

interface Revival {
  revivalId: string;
  attempt: number;
  /** The agent is a remote one: nobody but itself can bring it back. */
  isSilent: boolean;
}

/** As the agent's own file and the status say it. */
export function underWayWords({ revivalId, attempt, isSilent }: Revival): string {
  return isSilent
    ? `revival ${revivalId} waits for a heartbeat of the agent (attempt ${attempt})`
    : `revival ${revivalId} is under way (attempt ${attempt})`;
}

export function queuedWords({ revivalId, attempt }: Revival): string {
  return `revival ${revivalId} waits for its turn to start a worker (attempt ${attempt})`;
}

/** `state`: the machine's state value, as XState has it. `clock`: now; absent while no node runs. */
export function revivalOutlook(
  context: LazarusContext,
  state: unknown,
  clock?: Pick<Stamp, 'at' | 'up'>,
): RevivalOutlook {
  const { attempts, dueAt, expiresAt, reason, substitute, substitutes } = context;
  const idle = (doing: string, needsPerson = false): RevivalOutlook => ({
    doing,
    nextAt: null,
    next: null,
    needsPerson,
  });
  switch (topOf(state)) {
    case 'watching':
      return idle(
        context.history.at(-1)?.outcome === 'removed' ? 'the agent was removed' : 'watches',
      );
    case 'backingOff':
      return {
        doing: `waits before revival ${attempts + 1} (backoff)`,
        nextAt: dueAt,
        next: `revival ${attempts + 1} starts`,
        needsPerson: false,
      };
    case 'reviving':
      return reviving(context, clock);
    case 'substituting':
      return idle(`hands its task over to ${substitutes.join(' or ') || 'another agent'}`);
    case 'asking':
      return {
        doing: `waits for a person: ${reason}`,
        nextAt: expiresAt,
        next: 'the question lapses',
        needsPerson: true,
      };
    case 'substituted':
      return idle(`its task is with ${substitute?.agentId ?? 'another agent'}`);
    case 'refused':
    case 'rejected':
    case 'expired':
      return idle(`left failed: ${reason}`, true);
    case 'answering':
    case 'answered':
      return idle(`${ANSWERED[context.answer?.kind ?? 'retry']}; it is acted on next`);
    default:
      return idle('writes down what came of it');
  }
}

function reviving(context: LazarusContext, clock?: Pick<Stamp, 'at' | 'up'>): RevivalOutlook {
  const { revivalId, attempts: attempt, current, queuedSince } = context;
  const isSilent = current?.failure.reason === 'silent';
  const revival = { revivalId: revivalId ?? '', attempt, isSilent };
  if (queuedSince !== null)
    return { doing: queuedWords(revival), nextAt: null, next: null, needsPerson: false };
  return {
    doing: underWayWords(revival),
    nextAt: clock === undefined ? null : clock.at + reviveDeadline(context) - clock.up,
    next: 'it is given up as futile (revive_timeout)',
    needsPerson: false,
  };
}

const ANSWERED = {
  retry: 'approved',
  roll_back: 'approved, from the previous checkpoint',
  substitute: 'a substitute was asked for',
  give_up: 'given up',
} as const;

function topOf(state: unknown): string {
  if (typeof state === 'string') return state;
  return state !== null && typeof state === 'object' ? (Object.keys(state)[0] ?? '') : '';
}

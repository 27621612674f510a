/**
 * What an action waits for, with names: who holds the place that it wants, and which of these nobody will give back before a
 * person has spoken, because it is in doubt.
 */
import { GATE } from '../../machines/addresses.ts';
import { inTheWay, isByRadius } from '../../machines/gate-rules.ts';
import type { Asking } from '../../machines/gate-rules.ts';
import type { GateContext } from '../../machines/gate.machine.ts';
import type { DoubtView } from '../status.ts';
import type { MissionReader } from '../verbs/verb.ts';

export interface Standing {
  gate: GateContext | undefined;
  /** Ids of actions. */
  inDoubt: ReadonlySet<string>;
}

/** How the status tells that an action is in doubt. */
export const IN_DOUBT = 'action';
/** Names in one sentence. */
const MAX_NAMED = 3;
const SETTLE = '`lazarus doubt list`';

export const doubtfulIn = (doubts: readonly DoubtView[]): Set<string> =>
  new Set(doubts.flatMap(({ cell_id: kind, task_id: id }) => (kind === IN_DOUBT ? [id] : [])));

/** Asked for once for a whole list. */
export function standingOf(reader: Pick<MissionReader, 'actor' | 'inDoubt'>): Standing {
  const gate = reader.actor(GATE);
  return {
    gate: gate === undefined || 'held' in gate ? undefined : (gate.context as GateContext),
    inDoubt: doubtfulIn(reader.inDoubt()),
  };
}

/** `waits`: what the action's actor alone knows. */
export function waitsWithNames(
  { actionId, host, waits }: { actionId: string; host: string; waits: string | null },
  { gate, inDoubt }: Standing,
): string | null {
  if (inDoubt.has(actionId))
    return `in doubt: it may have run, and nobody knows; it keeps its host's place until that is settled: ${SETTLE}`;
  if (waits === null || gate === undefined || !isByRadius(waits)) return waits;
  const holders = inTheWay(gate, { actionId, host });
  const [doubtful, others] = [true, false].map((wanted) =>
    holders.filter((one) => inDoubt.has(one.actionId) === wanted),
  ) as [Asking[], Asking[]];
  const named = [
    ...doubtful.map((one) => `${one.actionId}, which is in doubt on ${one.host}: ${SETTLE}`),
    ...others.map(({ actionId: id }) => id),
  ];
  if (named.length === 0) return waits;
  const more = named.length > MAX_NAMED ? ` and ${named.length - MAX_NAMED} more` : '';
  return `${waits}; waits for ${named.slice(0, MAX_NAMED).join('; for ')}${more}`;
}

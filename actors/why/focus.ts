/** Whether a record speaks of what was asked about, and what it names as its cause. Pure. */
import { agentAddress, cellAddress, lazarusAddress } from '../../machines/addresses.ts';
import { LLM_ADDRESS } from '../../machines/addresses.ts';
import { agentPath, taskPath } from '../../machines/cell-context.ts';
import { isJsonObject } from '../../machines/json.ts';
import type { EventRecord, JournalRecord } from '../records.ts';
import type { Focus } from './explanation.ts';

/** Upkeep of an actor: true, frequent, and no part of any story. */
const NOISE = new Set([
  'agent.checkpointed',
  'xstate.done.actor.interval',
  'xstate.done.actor.periodicContext',
  'xstate.done.actor.beginContext',
  'xstate.done.actor.pauseContext',
  'xstate.done.actor.endContext',
  'xstate.done.actor.spareTime',
  'xstate.done.actor.ledger',
  'agent.progressed',
  'host.probed',
]);

/** Cheap, on the address alone: most lines of a journal are not parsed for it. */
export function isConcerned(focus: Focus, address: string): boolean {
  const { cell, addresses, records, askers } = focus;
  if (addresses.includes(address)) return true;
  if (askers.length > 0 && address === LLM_ADDRESS) return true;
  if (records.some((key) => key.startsWith(`${address}#`))) return true;
  if (cell === null) return false;
  const own = cellAddress(cell);
  return (
    address === own ||
    address.startsWith(`${own}/`) ||
    address.startsWith(`system/lazarus/${cell}/`)
  );
}

export function speaksOf(focus: Focus, record: JournalRecord): boolean {
  const { k: kind, a: address, n: seq } = record;
  const key = `${address}#${seq}`;
  if (focus.records.includes(key)) return true;
  if (kind === 'snapshot' || kind === 'migrated') return false;
  if (isOutcome(focus, record) || isConsequence(focus, record)) return true;
  if (kind === undefined && NOISE.has(record.e.type)) return false;
  if (focus.addresses.includes(address)) return true;
  if (address === LLM_ADDRESS) return isAskedBy(focus, record);
  if (focus.cell === null) return false;
  return (
    focus.tasks.some((id) => isOfTask(record, focus.cell ?? '', id)) ||
    focus.agents.some((id) => isOfAgent(record, focus.cell ?? '', id))
  );
}

/** A request to a model, begun or ended, that an effect of theirs made. */
function isAskedBy({ askers }: Focus, record: JournalRecord): boolean {
  const by = record.k === undefined ? record.e['askedBy'] : undefined;
  return typeof by === 'string' && askers.some((address) => by.startsWith(`${address}#`));
}

function isOfTask(record: JournalRecord, cellId: string, taskId: string): boolean {
  if (record.k !== undefined) return false;
  const { a: address, e: event } = record;
  if (address === cellAddress(cellId))
    return event['taskId'] === taskId || touches(record, taskPath(taskId));
  return isJsonObject(event['assignment']) && event['assignment']['taskId'] === taskId;
}

function isOfAgent(record: JournalRecord, cellId: string, agentId: string): boolean {
  const { a: address } = record;
  if (address === agentAddress(cellId, agentId) || address === lazarusAddress(cellId, agentId))
    return true;
  if (record.k !== undefined || address !== cellAddress(cellId)) return false;
  const { type } = record.e;
  if (record.e['agentId'] === agentId) return type.startsWith('agent.');
  return touches(record, agentPath(agentId));
}

function touches({ e: event }: EventRecord, path: string): boolean {
  const { changes } = event;
  return (
    Array.isArray(changes) &&
    changes.some((change) => isJsonObject(change) && change['path'] === path)
  );
}

/** That it began, how it ended, that it was settled. */
function isOutcome({ effect }: Focus, record: JournalRecord): boolean {
  if (effect === null || record.a !== effect.address || record.n < effect.seq) return false;
  if (record.k === 'started' || record.k === 'settled')
    return record.of === effect.seq && record.v === effect.invoke;
  return (
    record.k === undefined &&
    /^xstate\.(done|error)\.actor\./.test(record.e.type) &&
    record.e.type.endsWith(`.${effect.invoke}`)
  );
}

/** What a record that was asked about made its actor send. */
function isConsequence({ records }: Focus, record: JournalRecord): boolean {
  const sent = sentBy(record);
  return sent !== undefined && records.includes(sent);
}

function sentBy(record: JournalRecord): string | undefined {
  const origin = record.k === undefined || record.k === 'init' ? record.s : undefined;
  return origin === undefined ? undefined : `${origin[0]}#${origin[1]}`;
}

/** `<address>#<seq>` of the record that caused this one; undefined: it came from outside (words.ts `originOf`). */
export function causeOf(record: JournalRecord): string | undefined {
  switch (record.k) {
    case 'rejected':
    case 'started':
    case 'settled':
      return `${record.a}#${record.of}`;
    default:
      return sentBy(record);
  }
}

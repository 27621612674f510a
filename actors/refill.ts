/**
 * The state of an actor from its records alone, where its checkpoints do not give it: each is damaged or gone, or there is a
 * hole behind the one that is sound. Its records are in its cell's copy and in the shared journal.
 *
 * F1 Nothing is guessed: from a state on (the checkpoint's, or one that stands among the records) every seq is there, up to
 *    the last that this node knows the actor to have written. Where nothing tells how far it came, there is no refilling.
 * F2 What a record asked for that was kept while the actor was held was asked for before the actor's next own record
 *    (messages.ts, M2): only behind the last of those it is asked for again.
 */
import { RuntimeError } from '../machines/errors.ts';
import { foldRecord, rejectedSeqs } from './fold.ts';
import type { ActorState } from './fold.ts';
import type { MachineRegistry, Output } from './logic.ts';
import type { Repost } from './messages.ts';
import { decodeRecord } from './records.ts';
import type { JournalRecord } from './records.ts';

export interface Refilled {
  /** undefined: the actor was stopped. */
  state: ActorState | undefined;
  reposts: Repost[];
  /** The first and the last record folded in. */
  from: number;
  to: number;
}

/** `lines`: in order, each seq once; `upTo`: F1, 0 when unknown. Throws RuntimeError JOURNAL_CORRUPT, and what folding throws. */
export function refill(
  registry: MachineRegistry,
  lines: readonly string[],
  { start, upTo }: { start?: ActorState | undefined; upTo: number },
): Refilled {
  const newer = lines.map(decodeRecord).filter(({ n }) => n > (start?.seq ?? 0));
  const base = newer.findLastIndex(isBase);
  const records = newer.slice(Math.max(0, base));
  const last = records.at(-1)?.n ?? start?.seq ?? 0;
  if (upTo === 0) throw unreached('nothing here tells how far it had come');
  if (records.length === 0 && start === undefined)
    throw unreached('neither its cell nor the journal has a record of it');
  if (base < 0 && start === undefined)
    throw unreached(`its records begin at ${records[0]?.n ?? 0}, without a state`);
  if (last < upTo)
    throw unreached(
      `its folder has it up to record ${last} only, and it had come to record ${upTo}`,
    );
  const rejected = rejectedSeqs(records);
  const asked = records.findLast((record) => !isKept(record))?.n ?? 0;
  const reposts: Repost[] = [];
  let state = start;
  for (const record of records) {
    const outputs: Output[] = [];
    state = foldRecord(registry, state, record, rejected, outputs);
    if (record.n > asked && outputs.length > 0) reposts.push({ seq: record.n, outputs }); // F2
  }
  return { state, reposts, from: records[0]?.n ?? last, to: last };
}

/** A state of its own, whatever stands before it. */
export const isBase = ({ k }: JournalRecord): boolean =>
  k === 'init' || k === 'snapshot' || k === 'migrated' || k === 'rolled_back';

const isKept = (record: JournalRecord): boolean => record.k === undefined && record.b === 1;

const unreached = (why: string): RuntimeError => new RuntimeError(why, { code: 'JOURNAL_CORRUPT' });

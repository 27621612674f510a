/**
 * A damaged newest checkpoint, written anew. Its content comes from where a start would get it: an older checkpoint and the
 * records since, or, where no checkpoint is sound, the records alone when they reach from a state to the actor's end.
 */
import { snapshotBody, foldRecord, rejectedSeqs } from '../fold.ts';
import type { ActorState } from '../fold.ts';
import { decodeRecord } from '../records.ts';
import type { JournalRecord } from '../records.ts';
import type { Repair } from './finding.ts';
import { readText } from './world.ts';
import type { World } from './world.ts';

export function repairOf(
  world: World,
  address: string,
  state: ActorState | undefined,
): Repair | undefined {
  if (state === undefined) return undefined;
  return async () => {
    const { name: machine, version, hash: definitionHash } = state.logic;
    const epoch = Number(readText(world.layout.epoch)?.trim() ?? 0) || 0;
    const head = { format: 1 as const, address, machine, version, definitionHash };
    const body = structuredClone(snapshotBody(state));
    await world.store.writeCheckpoint({ ...head, seq: state.seq, epoch, at: Date.now(), ...body });
    return `written anew from the folded state at record ${state.seq}`;
  };
}

export function foldedOr(world: World, address: string): ActorState | undefined {
  try {
    return world.fold(address);
  } catch {
    return undefined; // why it cannot be folded is reported by checkActor
  }
}

/** Without any checkpoint: from the actor's first record, or a state among its records, to its last. undefined: not whole. */
export function foldRecords(world: World, address: string): ActorState | undefined {
  const actor = world.found.actors.get(address);
  if (actor === undefined || actor.stopped || actor.lost) return undefined; // nobody knows where its records should end
  try {
    const lines = new Map<number, string>();
    for (const line of [...world.store.readCopy(address, 0), ...(actor.tail ?? [])])
      lines.set(decodeRecord(line).n, line);
    const records = [...lines].toSorted(([a], [b]) => a - b).map(([, line]) => decodeRecord(line));
    const rejected = rejectedSeqs(records);
    let state: ActorState | undefined;
    for (const record of records.slice(records.findLastIndex(isBase)))
      state = foldRecord(world.registry, state, record, rejected);
    return state !== undefined && state.seq >= actor.seq ? state : undefined;
  } catch {
    return undefined; // a hole, or a machine that this build does not have: reported by checkActor
  }
}

const isBase = ({ k }: JournalRecord): boolean =>
  k === 'init' || k === 'snapshot' || k === 'migrated' || k === 'rolled_back';

/**
 * A checkpoint that is damaged or gone, written anew. Its content is the state that a start would have: from an older
 * checkpoint and the records since, or, where none is sound, from the records alone (refill.ts).
 */
import { snapshotBody } from '../fold.ts';
import type { ActorState } from '../fold.ts';
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

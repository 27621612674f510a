/**
 * P2 as a check: what lives in memory equals what the disk alone gives, by two ways that share no shortcut.
 * Checkpoint and tail are what a restart would read; the full history begins at the actor's first record, takes no
 * checkpoint and believes no snapshot record.
 */
import { readSegments } from '../../cells/journal-reader.ts';
import { Actor } from '../../actors/actor.ts';
import { foldRecord, rejectedSeqs, stateText } from '../../actors/fold.ts';
import type { ActorState } from '../../actors/fold.ts';
import type { MachineRegistry } from '../../actors/logic.ts';
import { findActors } from '../../actors/recovery.ts';
import { decodeRecord } from '../../actors/records.ts';
import { Restorer } from '../../actors/restorer.ts';
import type { ActorStore } from '../../actors/store.ts';
import type { ActorSystem } from '../../actors/system.ts';

export interface Disk {
  registry: MachineRegistry;
  store: ActorStore;
  journalFolder: string;
  indexFile: string;
}

/** Call with nothing undurable under way. Returns how many actors were compared and what differs. */
export function compareWithDisk(
  system: ActorSystem,
  disk: Disk,
): { compared: number; problems: string[] } {
  const found = findActors(disk);
  const restorer = new Restorer({ ...disk, log: () => undefined, beforeWake: () => undefined });
  const problems: string[] = [];
  let compared = 0;
  for (const actor of system.actors.values()) {
    if (actor.stopped || actor.hold) continue;
    const live = stateText(system.wake(actor).state);
    const tail = restorer.fold(found.actors.get(actor.address) ?? new Actor(actor.address));
    if (textOf(tail) !== live)
      problems.push(differ(`checkpoint and tail of ${actor.address}`, textOf(tail), live));
    const full = foldHistory(disk, historyOf(disk, actor.address));
    if (textOf(full) !== live)
      problems.push(differ(`full history of ${actor.address}`, textOf(full), live));
    compared += 1;
  }
  return { compared, problems };
}

const textOf = (state: ActorState | undefined): string =>
  state === undefined ? 'no state' : stateText(state);

/** All records of an actor that the disk has: its cell's copy, then the shared journal. */
export function historyOf({ store, journalFolder }: Disk, address: string): string[] {
  const bySeq = new Map<number, string>();
  for (const line of store.readCopy(address, 0)) bySeq.set(decodeRecord(line).n, line);
  for (const record of readSegments(journalFolder))
    if (record.address === address) bySeq.set(decodeRecord(record.line).n, record.line);
  return [...bySeq].toSorted(([a], [b]) => a - b).map(([, line]) => line);
}

function foldHistory({ registry }: Disk, lines: readonly string[]): ActorState | undefined {
  const records = lines.map(decodeRecord);
  const rejected = rejectedSeqs(records);
  let state: ActorState | undefined;
  for (const record of records)
    if (record.k === 'snapshot' && state !== undefined) state.seq = record.n;
    else state = foldRecord(registry, state, record, rejected);
  return state;
}

function differ(what: string, disk: string, live: string): string {
  let at = 0;
  while (disk[at] === live[at]) at += 1;
  const near = (text: string): string => text.slice(Math.max(0, at - 40), at + 80);
  return `${what} is not the live state: ...${near(disk)}... instead of ...${near(live)}...`;
}

/**
 * A mission leaves this node: it is brought to rest as it stands, everything of it is put into its folder, and the folder is
 * fenced here. From then on it, or a copy of it, goes on wherever it is put.
 *
 * X1 Nothing of the mission changes by it: it is not paused, and at its next place it goes on in the middle. A step in hand
 *    finishes within the drain; one that takes longer is ended as at a stop of the node, and is in doubt or runs again.
 * X2 The fence is written, and every actor stopped, in one turn in which all of them are covered by checkpoints and copies:
 *    before it the mission runs here, after it nowhere. A crash on either side leaves one of the two.
 * X3 When it cannot be done the mission goes on here, and nothing else has changed.
 */
import { existsSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, sep } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { CellStore } from '../cells/checkpoint.ts';
import { copyMission } from '../cells/copy-mission.ts';
import { hasCode } from '../cells/inside.ts';
import { readSegments } from '../cells/journal-reader.ts';
import { writeOwner } from '../cells/owner.ts';
import type { Exported, Owner } from '../cells/owner.ts';
import { cellAddress, homeCell, lazarusAddress } from '../machines/addresses.ts';
import { conflict, RuntimeError } from '../machines/errors.ts';
import type { CopyRecord } from '../machines/persisted.ts';
import type { Actor } from './actor.ts';
import type { CellDoor } from './cell-door.ts';
import type { CellPlaces } from './cell-places.ts';
import type { Kernel } from './kernel.ts';
import type { CellOwnership } from './ownership.ts';
import type { Projector } from './projector.ts';
import type { SystemLog } from './system.ts';

/** The parts of a node that a move concerns. */
export interface MovesHost {
  kernel: Kernel;
  places: CellPlaces;
  ownership: CellOwnership;
  door: CellDoor;
  projector: Projector;
  store: CellStore;
  nodeId: string;
  journalFolder: string;
  log: SystemLog;
  /** How long a step in hand may take, ms. */
  drainMs: number;
  /** Lines for people's logs that wait to be written. */
  flushLogs: () => void;
}

export interface ExportResult {
  cellId: string;
  /** The folder that was left, fenced. */
  path: string;
  /** The copy; null when none was asked for. */
  to: string | null;
  epoch: number;
  seq: number;
}

/** Rounds of writing everything down; each later one has only what came meanwhile. */
const MAX_ROUNDS = 20;

/** Throws CONFLICT, INVALID_ARGUMENT, NOT_FOUND; then the mission goes on here (X3). */
export async function exportCell(
  host: MovesHost,
  cellId: string,
  { to }: { to: string | null },
): Promise<ExportResult> {
  const { places, kernel, door } = host;
  const { effects } = kernel.system;
  const path = places.folderOf(cellId);
  const folder = places.folderName(cellId);
  if (path === undefined || folder === undefined)
    throw new RuntimeError(`cell ${cellId} has no folder`, { code: 'NOT_FOUND' });
  const target = to === null ? null : placeFor(to, { path, cellId });
  if (effects.isWithheld(cellId)) throw conflict(`cell ${cellId} is being exported already`);
  requireUnheld(host, cellId);
  effects.withhold(cellId);
  let record: Owner;
  try {
    await effects.drained('runStep', host.drainMs, cellId); // X1
    await effects.endAll(cellId);
    await writeDown(host, cellId, folder);
    record = fence(host, cellId, { at: new Date().toISOString(), to: target, node: host.nodeId });
  } catch (error) {
    effects.unwithhold(cellId);
    goOnHere(host, cellId);
    throw error;
  }
  await door
    .letGo(cellId, 'it was exported') // X2: begins in the turn of the fence
    .finally(() => effects.unwithhold(cellId));
  await endRevivals(host, cellId);
  if (target !== null) await copyOrTakeBack(host, { path, folder, target, record });
  await door.lookAt(folder);
  host.log.info({ cellId, folder, to: target }, 'cell exported');
  return { cellId, path, to: target, epoch: record.epoch, seq: record.seq };
}

/** A folder that is there takes the copy in under the cell's id; else the path names the copy itself. */
function placeFor(to: string, { path, cellId }: { path: string; cellId: string }): string {
  const isFolder = statSync(to, { throwIfNoEntry: false })?.isDirectory() === true;
  const wanted = isFolder ? join(to, cellId) : to;
  const parent = statSync(dirname(wanted), { throwIfNoEntry: false });
  if (!parent?.isDirectory())
    throw new RuntimeError(`there is no folder ${dirname(wanted)}`, {
      code: 'INVALID_ARGUMENT',
      hint: 'Make it first, or name another place with --to.',
    });
  const target = join(realpathSync(dirname(wanted)), basename(wanted));
  const source = realpathSync(path);
  if (dirname(target) === dirname(source) || target.startsWith(`${source}${sep}`))
    throw new RuntimeError(`${target} lies in the missions folder that the cell leaves`, {
      code: 'INVALID_ARGUMENT',
      hint: 'Name a place outside of it, or leave --to out and copy the folder later.',
    });
  if (existsSync(target))
    throw conflict(`something stands at ${target} already`, 'Name another place with --to.');
  return target;
}

function actorsOf({ kernel: { system } }: MovesHost, cellId: string): Actor[] {
  return [...system.actors.values()].filter(
    (actor) => homeCell(actor.address) === cellId && !actor.stopped,
  );
}

function requireUnheld(host: MovesHost, cellId: string): void {
  for (const { address, hold } of actorsOf(host, cellId))
    if (hold)
      throw conflict(
        `${address} is held, so what it knows cannot be put into its folder: ${hold.reason}`,
        `Mend that first: \`lazarus cell release ${address}\``,
      );
}

/** Until nothing came while it was written. Then, and only in that turn, is everything of the cell in its folder. */
async function writeDown(host: MovesHost, cellId: string, folder: string): Promise<void> {
  const { kernel, door, projector } = host;
  for (let round = 1; round <= MAX_ROUNDS; round += 1) {
    await door.lookAt(folder);
    await kernel.system.settled();
    await projector.project(cellId);
    for (const { address } of actorsOf(host, cellId)) await kernel.checkpoint(address);
    await copyRecords(host, cellId);
    host.flushLogs();
    requireUnheld(host, cellId);
    if (actorsOf(host, cellId).every(isCovered)) return;
  }
  throw new RuntimeError(`cell ${cellId} does not come to rest: events keep coming`, {
    code: 'BUSY',
    retryable: true,
    hint: 'Pause it first: `lazarus cell pause`.',
  });
}

const isCovered = ({ firstDirtyLsn, resident }: Actor): boolean =>
  firstDirtyLsn === 0 && (resident?.uncommitted ?? 0) === 0;

/** What of the shared journal is the cell's goes to its own copy; what is there already is left out. */
async function copyRecords(host: MovesHost, cellId: string): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      const records = await recordsOf(host, cellId);
      return await host.store.appendCopy(cellId, records);
    } catch (error) {
      if (tries >= 3 || !hasCode(error, 'ENOENT')) throw error; // upkeep dropped a segment: it was copied then
    }
  }
}

async function recordsOf(
  { kernel, journalFolder }: MovesHost,
  cellId: string,
): Promise<CopyRecord[]> {
  const upTo = kernel.committedLsn();
  const records: CopyRecord[] = [];
  let since = performance.now();
  for (const { lsn, address, line } of readSegments(journalFolder)) {
    if (lsn > upTo) break;
    if (homeCell(address) === cellId) records.push({ lsn, line });
    if (performance.now() - since < 10) continue;
    await nextTurn();
    since = performance.now();
  }
  return records;
}

/** X2. Synchronous: the caller has just seen that all is covered. */
function fence(host: MovesHost, cellId: string, exported: Exported): Owner {
  const { kernel, ownership, places } = host;
  const { system } = kernel;
  const seq = system.actors.get(cellAddress(cellId))?.seq ?? 0;
  const record = ownership.cleanRecord(cellId, { seq, up: system.clock.now().up });
  writeOwner(places.folderOf(cellId) as string, { ...record, exported });
  return record;
}

/** Nobody here brings its agents back any more; at its next place those that are lost call for help anew. */
async function endRevivals({ kernel: { system } }: MovesHost, cellId: string): Promise<void> {
  const ofCell = [...system.actors.keys()].filter(
    (address) => address.startsWith(lazarusAddress(cellId, '')) && system.has(address),
  );
  await Promise.all(ofCell.map((address) => system.send(address, { type: 'agent.removed' })));
}

/** X3: what was ended goes on as after a restart. */
function goOnHere(host: MovesHost, cellId: string): void {
  for (const actor of actorsOf(host, cellId))
    if (actor.resident && !actor.hold) host.kernel.system.goLive(actor, actor.resident);
}

/** The copy carries no fence: it goes on wherever it is found. */
async function copyOrTakeBack(
  { door, log }: MovesHost,
  { path, folder, target, record }: { path: string; folder: string; target: string; record: Owner },
): Promise<void> {
  try {
    await copyMission(path, target, { way: 'out', finish: (copy) => writeOwner(copy, record) });
  } catch (error) {
    log.warn({ folder, target, error: String(error) }, 'copy not made: the cell goes on here');
    writeOwner(path, record); // X3
    await door.lookAt(folder);
    throw error;
  }
}

/**
 * A mission comes to this node: from anywhere as a copy of its folder, or back into the folder that it left.
 *
 * I1 What is taken in is whole and complete: a folder whose newest records are elsewhere is refused, with what is known of
 *    them, until somebody accepts the loss. That is written into the folder before anything of it runs (owner.ts, O2).
 * I2 The folder it comes from is fenced at its own node first, and that node may not run meanwhile. Where that cannot be
 *    done (no right to write there, another host), the answer says so: then only people can see to it that one copy runs.
 * I3 It appears by one rename, and nothing is replaced: what this cell left here earlier is put aside under a dot-name (of
 *    these the newest are kept, cells/put-aside.ts), and where something else stands, the folder gets another name.
 */
import { existsSync, realpathSync, renameSync, statSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, sep } from 'node:path';
import { copyMission, removeUnfinishedCopies } from '../cells/copy-mission.ts';
import { hasCode, unlinkInside } from '../cells/inside.ts';
import { cellPath, missionsLayout } from '../cells/layout.ts';
import { lastInFolder, lastInJournalBeside, nodeBeside } from '../cells/left-behind.ts';
import type { LastRecord } from '../cells/left-behind.ts';
import { readCellFile } from '../cells/load.ts';
import { lockMissions } from '../cells/lock.ts';
import type { NodeLock } from '../cells/lock.ts';
import { readOwner, writeOwner } from '../cells/owner.ts';
import type { Owner } from '../cells/owner.ts';
import {
  beyondBound,
  goingAside,
  KEPT_ASIDE,
  nameForAside,
  removeAside,
  removeGoing,
  whyKept,
} from '../cells/put-aside.ts';
import { hasCellFile } from '../cells/scan-missions.ts';
import { conflict, RuntimeError, toPlainError } from '../machines/errors.ts';
import type { MovesHost } from './cell-export.ts';

export interface ImportRequest {
  acceptLoss: boolean;
  by: string;
}

export interface ImportResult {
  cellId: string;
  path: string;
  from: string;
  /** What was given up; null: nothing. */
  lost: string | null;
  /** What became of the folder it came from (I2). */
  source: 'taken back' | 'fenced' | 'never run' | 'not fenced';
  notes: string[];
}

const UNKNOWN = 'unknown';
const ELSEWHERE =
  'A copy of this mission on a host that shares no folder with this one cannot be fenced: see to it that none is run there.';

/** Throws INVALID_ARGUMENT, FILE_INVALID, PATH_ESCAPES_CELL, CELL_DUPLICATE, CONFLICT, NODE_LOCKED. */
export async function importCell(
  host: MovesHost,
  path: string,
  request: ImportRequest,
): Promise<ImportResult> {
  const source = folderAt(path);
  const cellId = cellIn(source);
  const { missionsDir } = host.places;
  const isHere = dirname(source) === realpathSync(missionsDir);
  if (`${realpathSync(missionsDir)}${sep}`.startsWith(`${source}${sep}`))
    throw new RuntimeError(`the missions folder lies in ${source}`, { code: 'INVALID_ARGUMENT' });
  const known = host.places.folderName(cellId);
  if (known !== undefined && hasCellFile(missionsDir, known)) throw runsHere(cellId, known);
  if (isHere) return takeBack(host, { source, cellId }, request);
  removeUnfinishedCopies(missionsDir);
  const guard = guardSource(source);
  try {
    return await bringIn(host, { source, cellId }, request);
  } finally {
    guard?.release();
  }
}

interface Candidate {
  /** Real path. */
  source: string;
  cellId: string;
}

function folderAt(path: string): string {
  if (!isAbsolute(path))
    throw new RuntimeError(`${path} is not an absolute path`, { code: 'INVALID_ARGUMENT' });
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true)
    throw new RuntimeError(`there is no folder ${path}`, {
      code: 'INVALID_ARGUMENT',
      hint: "Name a mission's folder: the one that holds its cell.json.",
    });
  return realpathSync(path);
}

function cellIn(source: string): string {
  const read = readCellFile(source, 'cell.json');
  if (read.outcome === 'good') return read.content['cell_id'] as string;
  const problem = read.outcome === 'bad' ? read.problems[0] : undefined;
  const why = problem ? problem.message : 'it has no cell.json';
  throw new RuntimeError(`${source} is no mission: ${why}`, {
    code: 'FILE_INVALID',
    hint: problem?.fix ?? "Name a mission's folder: the one that holds its cell.json.",
  });
}

function runsHere(cellId: string, folder: string): RuntimeError {
  return new RuntimeError(`cell ${cellId} is here already, in the folder ${folder}`, {
    code: 'CELL_DUPLICATE',
    hint: 'Export or remove that one first.',
  });
}

/** The folder lies in this missions folder: it was left here, or is held for what is missing. */
async function takeBack(
  host: MovesHost,
  { source, cellId }: Candidate,
  request: ImportRequest,
): Promise<ImportResult> {
  const owner = ownerOf(source, request);
  if (!request.acceptLoss) refuseStale(source, owner);
  const isOurs = owner?.node === host.nodeId && owner.loss === undefined;
  const missing =
    isOurs && host.door.isMissingRecords(basename(source))
      ? missingFrom(source, cellId, owner)
      : lossOf({ source, cellId }, owner, { isOurs });
  refuseLoss(missing, { source, cellId }, request);
  const record = nextRecord(owner, { missing, request });
  if (record) writeOwner(source, record);
  await host.door.lookAt(basename(source));
  const lost = missing;
  return taken(host, { source, cellId }, { lost, source: 'taken back', notes: [ELSEWHERE] });
}

async function bringIn(
  host: MovesHost,
  { source, cellId }: Candidate,
  request: ImportRequest,
): Promise<ImportResult> {
  const owner = ownerOf(source, request);
  const missing = lossOf({ source, cellId }, owner, { isOurs: false });
  refuseLoss(missing, { source, cellId }, request);
  const left = leftHere(host, cellId);
  const folder = left === null ? freeName(host.places.missionsDir, cellId) : cellId;
  const path = join(host.places.missionsDir, folder);
  const fence = fenceSource(source, owner, path); // I2: before the first byte is copied
  const record = nextRecord(owner, { missing, request });
  try {
    await copyMission(source, path, {
      way: 'in',
      finish: (copy) => {
        if (record) writeOwner(copy, record);
        if (left !== null) renameSync(path, join(host.places.missionsDir, left));
      },
    });
  } catch (error) {
    fence.undo();
    throw error;
  }
  await host.door.lookAt(folder);
  const notes = [
    ...(left === null ? [] : [`What it had left here before was put aside as ${left}.`]),
    ...(await removeOldAside(host, cellId)),
    ...(fence.why === null ? [] : [fence.why]),
    ELSEWHERE,
  ];
  return taken(host, { source, cellId }, { lost: missing, source: fence.state, notes });
}

/** Throws what holds it, when the door did not take it. */
function taken(
  host: MovesHost,
  { source, cellId }: Candidate,
  rest: Pick<ImportResult, 'lost' | 'source' | 'notes'>,
): ImportResult {
  const path = host.places.folderOf(cellId);
  if (path !== undefined) return { cellId, path, from: source, ...rest };
  const held = host.door.refused().map(({ folder, reason }) => `${folder}: ${reason}`);
  throw conflict(
    `cell ${cellId} was not taken in; ${held.join('; ') || 'its cell.json is not accepted'}`,
    '`lazarus status` shows what is held, `<file>.error` beside a file what is wrong with it.',
  );
}

/** Of a record that cannot be read nothing is known, but that there was an owner. */
function ownerOf(source: string, { acceptLoss }: ImportRequest): Owner | undefined {
  const found = readOwner(source);
  if (found.kind === 'owner') return found.owner;
  if (found.kind === 'none') return undefined;
  if (acceptLoss) return { node: UNKNOWN, epoch: 0, seq: 0, clean: false };
  throw new RuntimeError(`the owner record of ${source} cannot be read: ${found.reason}`, {
    code: 'FILE_INVALID',
    hint: 'Put back a sound copy of .lazarus/owner.json, or go on from what is in the folder: --accept-loss',
  });
}

/** A folder that was left with a copy elsewhere: that copy may have gone on. */
function refuseStale(source: string, owner: Owner | undefined): void {
  const to = owner?.exported?.to;
  if (!owner || to == null || !existsSync(to)) return;
  const found = readOwner(to);
  if (found.kind !== 'owner' || found.owner.epoch <= owner.epoch) return;
  const { node, epoch } = found.owner;
  throw conflict(
    `the copy of ${source} at ${to} has gone on: node ${node} has it, in epoch ${epoch}`,
    `Bring that one back: \`lazarus cell import ${to}\`. To go on from the older state here: --accept-loss`,
  );
}

/** Why records are missing in this folder, and how many, as far as that can be known; null: it is complete. */
function lossOf(
  { source, cellId }: Candidate,
  owner: Owner | undefined,
  { isOurs }: { isOurs: boolean },
): string | null {
  if (!owner || owner.clean || isOurs || owner.loss) return null;
  return missingFrom(source, cellId, owner);
}

function missingFrom(source: string, cellId: string, owner: Owner | undefined): string {
  const here = lastInFolder(source, cellId);
  const there = lastInJournalBeside(source, cellId);
  const has = here === undefined ? 'no state of it' : `its state up to record ${told(here)}`;
  const more =
    there !== undefined && there.seq > (here?.seq ?? 0)
      ? `; the journal in ${dirname(source)} goes up to record ${told(there)}`
      : '; what came after that, nobody can tell from here';
  return `node ${owner?.node ?? '?'} had it last and did not stop cleanly. This folder has ${has}${more}`;
}

const told = ({ seq, at }: LastRecord): string => `${seq} of ${new Date(at).toISOString()}`;

function refuseLoss(
  missing: string | null,
  { source, cellId }: Candidate,
  { acceptLoss }: ImportRequest,
): void {
  if (missing === null || acceptLoss) return;
  throw conflict(
    `cell ${cellId} is not complete: ${missing}`,
    `Start that node and stop it cleanly, or export the cell there. To go on without what is missing: \`lazarus cell import ${source} --accept-loss\``,
  );
}

/** What the folder is to say before the door looks at it; undefined: nothing, nobody has run it yet. */
function nextRecord(
  owner: Owner | undefined,
  { missing, request }: { missing: string | null; request: ImportRequest },
): Owner | undefined {
  if (!owner) return undefined;
  const { exported: _, ...record } = owner;
  if (missing === null) return record;
  const loss = { at: new Date().toISOString(), by: request.by };
  return { ...record, epoch: owner.epoch + 1, clean: false, loss };
}

/** I2. The other node's lock is held while its mission is copied; undefined when there is none, or it cannot be had. */
function guardSource(source: string): NodeLock | undefined {
  const place = missionsLayout(dirname(source));
  const found = readOwner(source);
  const isFenced =
    found.kind === 'owner' &&
    found.owner.exported !== undefined &&
    found.owner.exported.node === nodeBeside(source);
  if (isFenced || !existsSync(place.lock)) return undefined;
  try {
    return lockMissions(place.lock, place.node);
  } catch (error) {
    if (!(error instanceof RuntimeError)) return undefined; // not ours to lock: said with `not fenced`
    throw new RuntimeError(`a node runs on ${dirname(source)}, and the mission is in its hands`, {
      code: 'NODE_LOCKED',
      cause: error,
      hint: `Export it there: \`lazarus cell export <cell> --missions ${dirname(source)}\``,
    });
  }
}

interface Fence {
  state: ImportResult['source'];
  /** Why it is not fenced. */
  why: string | null;
  undo(): void;
}

/** I2. */
function fenceSource(source: string, owner: Owner | undefined, to: string): Fence {
  const last = owner?.node === UNKNOWN ? undefined : owner?.node;
  const node = nodeBeside(source) ?? last;
  const nothingToUndo = { why: null, undo: () => {} };
  if (node === undefined) return { state: 'never run', ...nothingToUndo };
  if (owner?.exported?.node === node) return { state: 'fenced', ...nothingToUndo };
  const record = owner ?? { node, epoch: 0, seq: 0, clean: true };
  try {
    writeOwner(source, { ...record, exported: { at: new Date().toISOString(), to, node } });
  } catch (error) {
    if (!hasCode(error, 'EACCES', 'EPERM', 'EROFS')) throw error;
    const why = `${source} cannot be written to, so it is not fenced: do not run it.`;
    return { ...nothingToUndo, state: 'not fenced', why };
  }
  const undo = (): void => {
    if (owner) writeOwner(source, owner);
    else unlinkInside(source, cellPath.owner);
  };
  return { state: 'fenced', why: null, undo };
}

/** I3: where to put aside the folder that this cell left here; null when there is none under its id. */
function leftHere({ places: { missionsDir }, nodeId }: MovesHost, cellId: string): string | null {
  const folder = join(missionsDir, cellId);
  if (!existsSync(folder)) return null;
  const found = readOwner(folder);
  const isLeft = found.kind === 'owner' && found.owner.exported?.node === nodeId;
  const read = readCellFile(folder, cellPath.cell);
  if (!isLeft || read.outcome !== 'good' || read.content['cell_id'] !== cellId) return null;
  return nameForAside(missionsDir, cellId);
}

/** I3. What was put aside earlier, beyond its bound; returns what is to be said of it. Never throws: the mission is here. */
async function removeOldAside({ places, log }: MovesHost, cellId: string): Promise<string[]> {
  const { missionsDir } = places;
  const home = places.folderOf(cellId);
  const removed: string[] = [];
  try {
    for (const going of goingAside(missionsDir)) await removeGoing(missionsDir, going);
    for (const aside of beyondBound(missionsDir, cellId)) {
      if (whyKept(missionsDir, aside, home) !== undefined) continue; // `lazarus fsck` says so
      await removeAside(missionsDir, aside.name);
      removed.push(aside.name);
    }
  } catch (error) {
    log.warn({ cellId, error: toPlainError(error) }, 'what was put aside earlier is not removed');
  }
  if (removed.length === 0) return [];
  log.info({ cellId, removed, kept: KEPT_ASIDE }, 'what was put aside earlier is removed');
  return [`Only the newest ${KEPT_ASIDE} of these are kept; removed: ${removed.join(', ')}.`];
}

/** I3. */
function freeName(missionsDir: string, cellId: string): string {
  for (let n = 1; ; n += 1) {
    const name = n === 1 ? cellId : `${cellId}-${n}`;
    if (!existsSync(join(missionsDir, name))) return name;
  }
}

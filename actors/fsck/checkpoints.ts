/**
 * Checkpoints: hash, shape, whose they are, whether this build knows the machine; then whether every actor's state can be
 * had from what is on disk, as a start would do it (P2).
 *
 * A damaged newest checkpoint costs nothing but time while an older one, or the records alone, give the state: a start
 * writes it anew, and so does `--repair`. One that cannot be folded is left as it is, byte for byte: it is all there is.
 */
import { hash } from 'node:crypto';
import { join } from 'node:path';
import { parseCheckpoint } from '../../cells/checkpoint.ts';
import { hasCode, listInside, readInside, statInside } from '../../cells/inside.ts';
import { checkpointFolder, checkpointPaths } from '../../cells/layout.ts';
import { agentAddress, cellAddress, homeCell, SYSTEM_CELL_ID } from '../../machines/addresses.ts';
import { RuntimeError } from '../../machines/errors.ts';
import type { Checkpoint } from '../../machines/persisted.ts';
import type { ActorState } from '../fold.ts';
import { foldedOr, repairOf } from './checkpoint-repair.ts';
import type { Finding, Findings } from './finding.ts';
import type { CellPlace, World } from './world.ts';

/** A sound checkpoint, as replay.ts compares it: by the hash of its body. */
export interface KnownCheckpoint {
  path: string;
  seq: number;
  definitionHash: string;
  body: string;
}

export type KnownCheckpoints = Map<string, KnownCheckpoint[]>;

const MAX_BYTES = 64 << 20;

export function checkCheckpoints(world: World, findings: Findings): KnownCheckpoints {
  const known: KnownCheckpoints = new Map();
  for (const cell of world.cells)
    for (const entry of listInside(cell.dir, 'checkpoints') ?? [])
      if (entry.isDirectory()) checkFolder(world, findings, { cell, name: entry.name, known });
  if (!world.isUp)
    for (const address of world.found.actors.keys()) checkActor(world, findings, address);
  return known;
}

function checkFolder(
  world: World,
  findings: Findings,
  { cell, name, known }: { cell: CellPlace; name: string; known: KnownCheckpoints },
): void {
  const folder = `checkpoints/${name}`;
  const address = ownerOf(world, cell.cellId, name);
  for (const { name: file } of listInside(cell.dir, folder) ?? []) {
    const match = /^state(?:\.(\d+))?\.json$/.exec(file);
    if (match === null) continue;
    const path = `${folder}/${file}`;
    const read = readCheckpoint(cell.dir, path, address);
    if (read === undefined) continue;
    const older = match[1] === undefined ? null : Number(match[1]);
    const where = join(cell.dir, path);
    if (typeof read === 'string') {
      damaged(world, findings, { where, address, problem: read, isOlder: older !== null });
      continue;
    }
    if (older !== null && older !== read.seq)
      damaged(world, findings, {
        where,
        address,
        problem: `its name says ${older}, it holds ${read.seq}`,
        isOlder: true,
      });
    if (older === null) checkMachine(world, findings, where, read);
    if (read.stopped) continue;
    const list = known.get(read.address) ?? [];
    known.set(read.address, list);
    list.push({
      path: where,
      seq: read.seq,
      definitionHash: read.definitionHash,
      body: bodyHash(read),
    });
  }
}

/** What a checkpoint holds of a state, as `snapshotBody` gives it, hashed. */
export function bodyHash({
  snapshot,
  invokes,
  dedupe,
}: Pick<Checkpoint, 'snapshot' | 'invokes' | 'dedupe'>): string {
  return hash('sha256', JSON.stringify({ snapshot, invokes, dedupe }));
}

/** The problem in words when it is not sound; undefined when it went meanwhile. */
function readCheckpoint(
  dir: string,
  path: string,
  address: string,
): Checkpoint | string | undefined {
  let bytes: Buffer;
  try {
    bytes = readInside(dir, path, { maxBytes: MAX_BYTES });
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    return error instanceof Error ? error.message : String(error);
  }
  const parsed = parseCheckpoint(bytes, address);
  return parsed.ok ? parsed.checkpoint : parsed.problem;
}

/** Whose folder it is: an actor the journal or the index knows, else what its name says. */
function ownerOf({ found }: World, cellId: string, name: string): string {
  if (cellId !== SYSTEM_CELL_ID)
    return name === '_cell' ? cellAddress(cellId) : agentAddress(cellId, name);
  const folder = `checkpoints/${name}`;
  for (const address of found.actors.keys())
    if (homeCell(address) === cellId && checkpointFolder(address) === folder) return address;
  return `system/${name.replaceAll('.', '/')}`;
}

function damaged(
  world: World,
  findings: Findings,
  {
    where,
    address,
    problem,
    isOlder,
  }: { where: string; address: string; problem: string; isOlder: boolean },
): void {
  const about = {
    what: `the checkpoint of ${address} is damaged: ${problem}`,
    where,
    cell_id: homeCell(address),
  };
  if (isOlder)
    return findings.add({
      ...about,
      severity: 'warning',
      code: 'checkpoint-older-damaged',
      ...(world.store.isSound(address) ? SPARE : NO_SPARE),
    });
  const state = world.isUp ? undefined : foldedOr(world, address);
  const told = world.isUp ? toldWhileUp(world, address) : toldAtRest(world, address, state);
  const repair = repairOf(world, address, state);
  findings.add({ ...about, code: 'checkpoint-damaged', ...told }, repair);
}

type Told = Pick<Finding, 'severity' | 'means' | 'todo'>;

const SPARE = {
  means: 'It is a spare. The newest one is what counts.',
  todo: 'Nothing: it is replaced as new checkpoints are written.',
};
const NO_SPARE = {
  means: 'It was a spare for the newest one, which is damaged too.',
  todo: 'See what is said of the newest one.',
};

function toldAtRest(world: World, address: string, state: ActorState | undefined): Told {
  if (state === undefined) return LOST;
  return world.store.previousCheckpoint(address) === undefined ? REFILLED : FOLDS;
}

/** A node that runs and has told what it holds is believed; of what it has not looked at yet nobody knows. */
function toldWhileUp({ held }: World, address: string): Told {
  return held?.get(address)?.code === 'CHECKPOINT_CORRUPT' ? HELD : RUNNING;
}

const REPAIR = 'Nothing: the next start writes it anew, or `lazarus fsck --repair` does so now.';
const FOLDS: Told = {
  severity: 'warning',
  means: 'An older one and the records since then give the same state.',
  todo: REPAIR,
};
const REFILLED: Told = {
  severity: 'warning',
  means:
    "No other one is sound, and the records in the cell's copy and the journal give the state.",
  todo: REPAIR,
};
const RUNNING: Told = {
  severity: 'warning',
  means:
    'An actor that is awake gets a new one. One that is asleep has its state from an older one or from its records when it wakes, or is held then.',
  todo: 'Check again after a clean stop.',
};
const HELD: Told = {
  severity: 'error',
  means: 'The running node holds the actor: neither an older one nor its records gave the state.',
  todo: 'Put back a sound copy of this file from a backup of the cell, then release the actor.',
};
const LOST: Told = {
  severity: 'error',
  means: 'Neither an older one nor the records give the state: the actor will be held.',
  todo: 'Put back a sound copy of this file from a backup of the cell.',
};

function checkMachine(
  world: World,
  findings: Findings,
  where: string,
  checkpoint: Checkpoint,
): void {
  const { address, machine, version, definitionHash, stopped } = checkpoint;
  if (stopped) return;
  const id = `${machine}@${version}`;
  const logic = world.registry.all().find((known) => known.id === id);
  if (logic?.hash === definitionHash) return;
  findings.add({
    severity: 'error',
    code: 'machine-unknown',
    what: logic
      ? `the checkpoint of ${address} was written by another definition of ${id}`
      : `the checkpoint of ${address} was written by ${id}, which this build does not have`,
    where,
    means: 'This build cannot go on from it: the actor is held.',
    todo: 'Run the build that wrote it, or a newer one that can migrate it.',
    cell_id: homeCell(address),
  });
}

/** The index against the folder, and the state against the records. */
function checkActor(world: World, findings: Findings, address: string): void {
  const actor = world.found.actors.get(address);
  if (actor === undefined || actor.stopped || !world.isChecked(address)) return;
  const cellId = homeCell(address);
  const dir = world.dirOf(cellId);
  if (dir === undefined || !world.cells.some((cell) => cell.dir === dir)) return;
  try {
    const state = world.fold(address); // which throws when the folder is behind the index, too
    if (actor.checkpointSeq > 0 && !statInside(dir, checkpointPaths(address).state))
      checkpointGone(world, findings, { dir, address, state });
  } catch (error) {
    findings.add({
      severity: 'error',
      code: 'actor-unfoldable',
      what: `the state of ${address} cannot be had: ${error instanceof Error ? error.message : String(error)}`,
      where: address,
      means: 'A start will hold it, with its records kept; the rest goes on.',
      todo:
        (error instanceof RuntimeError ? error.hint : undefined) ??
        "Put back a sound copy of the cell's folder, or of the journal; else accept the loss with `lazarus cell release`.",
      cell_id: cellId,
    });
  }
}

function checkpointGone(
  world: World,
  findings: Findings,
  { dir, address, state }: { dir: string; address: string; state: ActorState | undefined },
): void {
  const told = toldAtRest(world, address, state);
  findings.add(
    {
      ...told,
      code: 'checkpoint-gone',
      what: `the checkpoint of ${address} is gone: the index knows it`,
      where: join(dir, checkpointPaths(address).state),
      cell_id: homeCell(address),
    },
    repairOf(world, address, state),
  );
}

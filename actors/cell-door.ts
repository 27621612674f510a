/**
 * The door by which files come in: what people write in the missions folder becomes events, one cell at a time.
 *
 * F1 A file enters only when it fits its schema; a bad one changes nothing and gets an error file.
 * F2 An edit that would change nothing is not an event. Our own projections are told by their content's hash.
 * F3 A second folder with a known cell_id is refused and the known one runs on; when the known one is gone, it has moved.
 * F4 Hashes are remembered only after the commit, so that a file the journal could not take is offered again.
 * F5 Drops are taken one at a time: a scan and an event that name the same file must not both build its cell.
 * F6 A cell that comes from another node, or whose folder was away and is back, goes on from where it was: what was
 *    finished is not begun again. When its newest records are not to be had, it is held.
 */
import { basename, join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { acceptDrop, removeUnfinished } from '../cells/drop.ts';
import type { ErrorFiles } from '../cells/error-file.ts';
import { scanCell } from '../cells/load.ts';
import type { CellScan, FileProblem } from '../cells/load.ts';
import { ownerProblem, readOwner } from '../cells/owner.ts';
import type { OwnerFound } from '../cells/owner.ts';
import { hasCellFile, scanMissions } from '../cells/scan-missions.ts';
import { agentAddress, cellAddress, SYSTEM_CELL_ID } from '../machines/addresses.ts';
import { mergeChange } from '../machines/cell-files.ts';
import type { CellContext } from '../machines/cell-context.ts';
import { toPlainError } from '../machines/errors.ts';
import type { FileChange, Policies } from '../machines/mission.ts';
import { listInside } from '../cells/inside.ts';
import type { CellPlaces } from './cell-places.ts';
import type { Kernel } from './kernel.ts';
import type { CellOwnership } from './ownership.ts';
import type { SystemLog } from './system.ts';

/** Content in one `files.changed` event, roughly, in characters; more goes in several. */
const EVENT_SIZE = 1 << 20;
/** How often folders that are held are looked at again. */
const HELD_RECHECK_MS = 1000;
const RECORDS_GONE =
  'its folder was taken away while it ran, and its newest records are gone from the journal since';

export interface CellDoorOptions {
  kernel: Kernel;
  places: CellPlaces;
  errorFiles: ErrorFiles;
  ownership: CellOwnership;
  nodeId: string;
  log: SystemLog;
  policies: Partial<Policies>;
  /** A cell was found: watch its folder. */
  onCell(cellId: string, folder: string): void;
  /** What its files say and what holds may differ now. */
  onChange(cellId: string): void;
  onCellGone(cellId: string, folder: string): void;
}

export class CellDoor {
  readonly #options: CellDoorOptions;
  /** By cell: hash of each file as it was last taken in or written by us. */
  readonly #hashes = new Map<string, Map<string, string>>();
  readonly #busy = new Map<string, Promise<void>>();
  readonly #again = new Set<string>();
  /** Folders of cells that are refused, with the reason: told once. */
  readonly #refused = new Map<string, string>();
  /** Cells this life of the node has looked at. */
  readonly #seen = new Set<string>();
  /** F5: the last of the drops that wait for their turn. */
  #drops: Promise<unknown> = Promise.resolve();
  #recheck: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: CellDoorOptions) {
    this.#options = options;
  }

  /** The whole missions folder, a slice at a time; unfinished drops of an earlier life are removed first. */
  async scanAll(): Promise<void> {
    await this.#inTurn(() => removeUnfinished(this.#options.places.missionsDir));
    const seen = new Set(await this.lookAtTop(null));
    for (const cellId of this.#options.places.ids()) {
      if (this.#stopped) return;
      const folder = this.#options.places.folderName(cellId);
      if (folder !== undefined && !seen.has(folder)) await this.lookAt(folder); // gone while nobody ran
    }
  }

  /**
   * Names at the top of the missions folder that came, went or changed; null: look at all of them. Returns the folders
   * of the cells it looked at.
   */
  async lookAtTop(names: ReadonlySet<string> | null): Promise<string[]> {
    const { places, errorFiles } = this.#options;
    const root = places.missionsDir;
    const scan = names === null ? await scanMissions(root) : await scanMissions(root, names);
    if (names === null) errorFiles.update(root, scan.problems, scan.errorFiles);
    else {
      for (const problem of scan.problems) errorFiles.report(root, problem);
      const bad = new Set(scan.problems.map(({ path }) => path));
      for (const name of names)
        if (!bad.has(name) && !scan.drops.includes(name)) errorFiles.clear(root, name);
    }
    for (const name of scan.drops) await this.#takeDrop(name);
    let since = performance.now();
    for (const folder of scan.cells) {
      if (this.#stopped) return scan.cells;
      await this.lookAt(folder);
      if (performance.now() - since > 10) {
        await nextTurn();
        since = performance.now();
      }
    }
    for (const name of scan.absent) if (places.idOf(name) !== undefined) await this.lookAt(name);
    return scan.cells;
  }

  /** One folder: serialised, and looked at once more when something came meanwhile. */
  lookAt(folder: string): Promise<void> {
    if (folder === SYSTEM_CELL_ID) return Promise.resolve();
    const busy = this.#busy.get(folder);
    if (busy) {
      this.#again.add(folder);
      return busy;
    }
    const work = this.#lookUntilQuiet(folder);
    this.#busy.set(folder, work);
    return work;
  }

  /** Our own writing of a file: it will not come back as an edit. */
  written(cellId: string, path: string, hash: string): void {
    this.#hashesOf(cellId).set(path, hash);
  }

  knownHash(cellId: string, path: string): string | undefined {
    return this.#hashes.get(cellId)?.get(path);
  }

  /** Folders that are not taken as cells, with the reason. */
  refused(): { folder: string; reason: string }[] {
    return [...this.#refused].map(([folder, reason]) => ({ folder, reason }));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#recheck);
    await this.#drops.catch(() => undefined); // told where it was awaited
    await Promise.all(this.#busy.values());
  }

  async #lookUntilQuiet(folder: string): Promise<void> {
    do {
      this.#again.delete(folder);
      try {
        await this.#look(folder);
      } catch (error) {
        this.#options.log.warn({ folder, error: toPlainError(error) }, 'cell folder not taken in');
      }
    } while (this.#again.has(folder) && !this.#stopped);
    this.#busy.delete(folder); // in the same turn as the last question, so that nobody asks in vain in between
  }

  async #look(folder: string): Promise<void> {
    const { places, errorFiles } = this.#options;
    const dir = join(places.missionsDir, folder);
    const known = places.idOf(folder);
    const scan = scanCell(dir, { known: known === undefined ? new Map() : this.#hashesOf(known) });
    if (scan.gone) {
      this.#refused.delete(folder);
      return known === undefined ? undefined : this.#gone(known, folder);
    }
    const cellFile = scan.changes.find(({ kind }) => kind === 'cell')?.content;
    const claimed = cellFile?.['cell_id'] as string | undefined;
    if (known !== undefined && claimed !== undefined && claimed !== known) {
      const changed = `cell_id was changed from ${known} to ${claimed}; a running cell keeps its id`;
      refuse(scan, changed, `Put back "cell_id": "${known}".`);
    } else if (known === undefined) {
      if (claimed === undefined) return errorFiles.update(dir, scan.problems, scan.errorFiles);
      if (!(await this.#introduce(claimed, folder, scan)))
        return errorFiles.update(dir, scan.problems, scan.errorFiles);
    }
    errorFiles.update(dir, scan.problems, scan.errorFiles);
    const cellId = known ?? claimed ?? folder;
    const isFirstLook = !this.#seen.has(cellId);
    this.#seen.add(cellId);
    if (isFirstLook) this.#options.onCell(cellId, folder);
    const isNews = await this.#take(cellId, scan, isFirstLook);
    if (isNews || (isFirstLook && this.#isAwake(cellId))) this.#options.onChange(cellId);
  }

  /** Its files may be behind its state: a clean stop writes all of them, and a sleeping cell has not changed since. */
  #isAwake(cellId: string): boolean {
    const actor = this.#options.kernel.system.actors.get(cellAddress(cellId));
    return actor !== undefined && (actor.resident !== undefined || actor.tail !== undefined);
  }

  /** F3. False when the folder is not (yet) taken as a cell. */
  async #introduce(cellId: string, folder: string, scan: CellScan): Promise<boolean> {
    const { places, kernel, log, policies, ownership } = this.#options;
    const other = places.folderName(cellId);
    if (other !== undefined && other !== folder && hasCellFile(places.missionsDir, other)) {
      refuse(
        scan,
        `cell ${cellId} is already running in the folder ${other}`,
        'Give this copy a cell_id of its own, or remove it.',
      );
      return false;
    }
    if (other !== undefined && other !== folder) {
      log.info({ cellId, from: other, to: folder }, 'cell folder moved');
      this.#options.onCellGone(cellId, other);
    }
    const dir = join(places.missionsDir, folder);
    const known = kernel.system.has(cellAddress(cellId));
    const owner = readOwner(dir);
    const problem = known ? undefined : ownerProblem(owner, this.#options.nodeId);
    if (problem !== undefined) return this.#hold(cellId, folder, scan, problem);
    this.#refused.delete(folder);
    places.set(cellId, folder);
    if (folder !== cellId)
      log.warn({ cellId, folder }, 'folder name differs from cell_id; the id counts');
    ownership.take(cellId);
    if (!known && !(await this.#goOn(cellId, dir, owner))) {
      places.remove(cellId);
      ownership.forget(cellId);
      return this.#hold(cellId, folder, scan, RECORDS_GONE);
    }
    if (!kernel.system.has(cellAddress(cellId)))
      await kernel.system.spawn(cellAddress(cellId), 'cell', { cellId, policies: { ...policies } });
    this.#options.onCell(cellId, folder);
    return true;
  }

  #hold(cellId: string, folder: string, scan: CellScan, problem: string): false {
    if (this.#refused.get(folder) !== problem)
      this.#options.log.warn({ cellId, folder, problem }, 'cell held');
    this.#refused.set(folder, problem);
    this.#recheck ??= setInterval(() => this.#lookAtHeld(), HELD_RECHECK_MS).unref();
    refuse(
      scan,
      `this cell is held: ${problem}`,
      'Start it on the node that ran it and stop that cleanly, or remove .lazarus/owner.json to go on from what is here and lose what is not.',
    );
    return false;
  }

  /** What holds a folder is mended in it, where no watch sees it, or at another node. */
  #lookAtHeld(): void {
    for (const folder of this.#refused.keys()) void this.lookAt(folder);
    if (this.#refused.size > 0) return;
    clearInterval(this.#recheck);
    this.#recheck = undefined;
  }

  /** F6. False when it is known that newer records are missing. */
  async #goOn(cellId: string, dir: string, owner: OwnerFound): Promise<boolean> {
    const { kernel, nodeId } = this.#options;
    const wasStopped = kernel.system.actors.get(cellAddress(cellId))?.stopped === true;
    const back: string[] = [];
    if (owner.kind === 'owner' && wasStopped) {
      const from = owner.owner.clean ? 'folder' : 'journal';
      if (!(await this.#bringBack(cellId, from, back))) return false;
    }
    for (const { name } of listInside(dir, 'checkpoints') ?? []) {
      const address = name === '_cell' ? cellAddress(cellId) : agentAddress(cellId, name);
      if (kernel.adopt(address)) back.push(address);
    }
    if (!kernel.system.has(cellAddress(cellId))) {
      // No checkpoint of the cell itself: it begins anew, and agents that are in mid-task would not fit it.
      for (const address of back)
        if (kernel.system.has(address)) await kernel.system.stop(address, 'its cell begins anew');
      return true;
    }
    const isFromElsewhere = owner.kind === 'owner' && owner.owner.node !== nodeId;
    await this.#wakeAll(back, isFromElsewhere ? owner.owner.up : undefined);
    return true;
  }

  /** The cell and the agents it had, all of them or none; their addresses go to `back`. */
  async #bringBack(cellId: string, from: 'journal' | 'folder', back: string[]): Promise<boolean> {
    const { kernel } = this.#options;
    const { system } = kernel;
    if (!(await kernel.bringBack(cellAddress(cellId), from))) return false;
    back.push(cellAddress(cellId));
    const { agents } = system.read(cellAddress(cellId)).snapshot.context as CellContext;
    for (const [agentId, { spawned }] of Object.entries(agents)) {
      const address = agentAddress(cellId, agentId);
      if (!spawned || !system.actors.has(address)) continue;
      if (!(await kernel.bringBack(address, from))) {
        await this.#stopAll(cellId, `records of agent ${agentId} are gone`);
        return false;
      }
      back.push(address);
    }
    return true;
  }

  /** `leftUp`: what the clock of another node showed when that left the cell. */
  async #wakeAll(addresses: readonly string[], leftUp: number | undefined): Promise<void> {
    const { system } = this.#options.kernel;
    const told: Promise<unknown>[] = [];
    for (const address of addresses) {
      const actor = system.actors.get(address);
      if (!actor || actor.stopped || actor.hold) continue;
      system.wake(actor);
      if (leftUp === undefined) continue;
      // In the same turn as the waking: its timers count on a clock that this node does not have.
      told.push(system.send(address, { type: 'node.changed', leftUp }));
    }
    await Promise.all(told);
  }

  async #stopAll(cellId: string, reason: string): Promise<void> {
    const { system } = this.#options.kernel;
    for (const address of system.actors.keys())
      if (address === cellAddress(cellId) || address.startsWith(`${cellAddress(cellId)}/`))
        if (system.has(address)) await system.stop(address, reason);
  }

  /** F2, F4. Returns whether what the files say and what holds may differ now. */
  async #take(cellId: string, scan: CellScan, isFirstLook: boolean): Promise<boolean> {
    const { kernel } = this.#options;
    const hashes = this.#hashesOf(cellId);
    const context = kernel.system.read(cellAddress(cellId)).snapshot.context as CellContext;
    const found = [...scan.changes, ...removedMeanwhile(context, scan)];
    const merges = found.map((change) => ({ change, merge: mergeChange(context, change) }));
    const changes = merges.filter(({ merge }) => merge.changed).map(({ change }) => change);
    for (const part of inParts(changes))
      await kernel.system.send(cellAddress(cellId), {
        type: 'files.changed',
        changes: part as unknown as [],
      });
    for (const { path, content } of scan.changes) if (content === null) hashes.delete(path);
    const isNews = [...scan.hashes].some(([path, hash]) => hashes.get(path) !== hash);
    for (const [path, hash] of scan.hashes) hashes.set(path, hash);
    const isIgnored = merges.some(({ merge }) => merge.ignored.length > 0);
    return changes.length > 0 || isIgnored || (isNews && !isFirstLook);
  }

  async #gone(cellId: string, folder: string): Promise<void> {
    const { places, errorFiles, log, ownership } = this.#options;
    const moved = await this.#movedTo(cellId);
    if (places.folderName(cellId) !== folder) return; // found under its new name meanwhile
    if (moved !== undefined) return this.lookAt(moved);
    log.warn({ cellId, folder }, 'cell folder is gone; its actors are stopped');
    errorFiles.forget(join(places.missionsDir, folder));
    this.#options.onCellGone(cellId, folder);
    await this.#stopAll(cellId, `folder ${folder} is gone`);
    places.remove(cellId);
    ownership.forget(cellId);
    this.#seen.delete(cellId);
    this.#hashes.delete(cellId);
  }

  /** The folder that now holds this cell, when it was renamed. */
  async #movedTo(cellId: string): Promise<string | undefined> {
    const { places } = this.#options;
    const { cells } = await scanMissions(places.missionsDir);
    for (const folder of cells) {
      if (places.idOf(folder) !== undefined) continue;
      const scan = scanCell(join(places.missionsDir, folder), {});
      const content = scan.changes.find(({ kind }) => kind === 'cell')?.content;
      if (content?.['cell_id'] === cellId) return folder;
    }
    return undefined;
  }

  async #takeDrop(name: string): Promise<void> {
    const { places, errorFiles, log } = this.#options;
    const result = await this.#inTurn(async () => {
      if (this.#stopped) return { outcome: 'absent' as const };
      return acceptDrop(places.missionsDir, name, {
        knownFolder: (cellId) => places.folderName(cellId) ?? null,
      });
    });
    if (result.outcome === 'accepted') {
      errorFiles.clear(places.missionsDir, name);
      log.info({ file: name, cellId: result.cellId }, 'dropped file became a cell');
      if (!this.#stopped) await this.lookAt(basename(result.folder));
    } else if (result.outcome === 'refused')
      errorFiles.report(places.missionsDir, { path: name, problems: result.problems });
    else if (result.outcome === 'changed') await this.lookAtTop(new Set([name]));
  }

  /** F5. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#drops.then(work, work);
    this.#drops = turn;
    return turn;
  }

  #hashesOf(cellId: string): Map<string, string> {
    let hashes = this.#hashes.get(cellId);
    if (hashes === undefined) this.#hashes.set(cellId, (hashes = new Map()));
    return hashes;
  }
}

/** The cell's own file is good but may not come in: it is kept out of the changes and told why. */
function refuse(scan: CellScan, message: string, fix: string): void {
  const problem: FileProblem = {
    path: 'cell.json',
    problems: [{ pointer: '/cell_id', line: 1, message, fix }],
  };
  scan.problems.push(problem);
  scan.changes = scan.changes.filter(({ kind }) => kind !== 'cell');
  scan.hashes.delete('cell.json');
}

/** Files that an earlier life of the node took in and that are gone. One that cannot be read is not gone (P6). */
function removedMeanwhile(context: CellContext, scan: CellScan): FileChange[] {
  const unread = new Set(scan.problems.map(({ path }) => path));
  const told = new Set(scan.changes.map(({ path }) => path));
  const isThere = (path: string): boolean => {
    const folder = path.includes('/') ? path.slice(0, path.indexOf('/')) : '';
    return scan.hashes.has(path) || told.has(path) || unread.has(path) || unread.has(folder);
  };
  return Object.entries(context.files)
    .filter(([path, { removed }]) => !removed && !isThere(path))
    .map(([path, { kind, id }]) => ({ path, kind, id, content: null }));
}

function* inParts(changes: readonly FileChange[]): Generator<FileChange[]> {
  let part: FileChange[] = [];
  let size = 0;
  for (const change of changes) {
    part.push(change);
    size += JSON.stringify(change).length;
    if (size < EVENT_SIZE) continue;
    yield part;
    part = [];
    size = 0;
  }
  if (part.length > 0) yield part;
}

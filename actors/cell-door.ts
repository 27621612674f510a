/**
 * The door by which files come in: what people write in the missions folder becomes events, one cell at a time.
 *
 * F1 A file enters only when it fits its schema; a bad one changes nothing and gets an error file.
 * F2 An edit that would change nothing is not an event. Our own projections are told by their content's hash.
 * F3 A second folder with a known cell_id is refused and the known one runs on; when the known one is gone, it has moved.
 * F4 Hashes are remembered only after the commit, so that a file the journal could not take is offered again.
 * F5 Drops are taken one at a time: a scan and an event that name the same file must not both build its cell. What a killed
 *    life left of one is finished.
 * F6 A cell that comes from another node, or whose folder was away and is back, goes on from where it was (cell-return.ts).
 *    When its newest records are not to be had, it is held, until somebody accepts that.
 * F7 A known cell whose folder another node had meanwhile is not known any more: what this node remembers of it is void,
 *    and the folder is looked at as one that comes from elsewhere.
 */
import { basename, join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { acceptDrop, dropMark, finishDrop } from '../cells/drop.ts';
import type { ErrorFiles } from '../cells/error-file.ts';
import { scanCell } from '../cells/load.ts';
import type { CellScan, FileProblem } from '../cells/load.ts';
import { isOwn, ownerProblem, readOwner } from '../cells/owner.ts';
import type { OwnerFound } from '../cells/owner.ts';
import { hasCellFile, scanMissions } from '../cells/scan-missions.ts';
import { cellAddress, homeCell, SYSTEM_CELL_ID } from '../machines/addresses.ts';
import { mergeChange } from '../machines/cell-files.ts';
import type { CellContext } from '../machines/cell-context.ts';
import { toPlainError } from '../machines/errors.ts';
import { asJsonObject } from '../machines/json.ts';
import type { FileChange } from '../machines/mission.ts';
import type { CellPlaces } from './cell-places.ts';
import { goOn, stopAll } from './cell-return.ts';
import type { DaemonWord } from './daemon-policies.ts';
import { resync } from './go-on-behind.ts';
import type { Kernel } from './kernel.ts';
import type { CellOwnership } from './ownership.ts';
import type { SystemLog } from './system.ts';

/** Content in one `files.changed` event, roughly, in characters; more goes in several. */
const EVENT_SIZE = 1 << 20;
/** A scan's share of the event loop, in ms: while nobody else wants it, and while others take more than BUSY_MS between. */
const SLICE_MS = 10;
const SMALL_SLICE_MS = 2;
const BUSY_MS = 4;
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
  /** What a new cell is told of the daemon's configuration. */
  daemonWord: () => DaemonWord;
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
  /** Cells that begin anew though something of them ran before: what its steps left is looked at once its tasks are known. */
  readonly #anew = new Set<string>();
  /** F5: the last of the drops that wait for their turn. */
  #drops: Promise<unknown> = Promise.resolve();
  #recheck: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: CellDoorOptions) {
    this.#options = options;
  }

  /** The whole missions folder, a slice at a time; unfinished drops of an earlier life are removed first. */
  async scanAll(): Promise<void> {
    const seen = new Set(await this.lookAtTop(null));
    for (const cellId of this.#options.places.ids()) {
      if (this.#stopped) return;
      const folder = this.#options.places.folderName(cellId);
      if (folder !== undefined && !seen.has(folder)) await this.lookAt(folder); // gone while nobody ran
    }
    await this.#stopPlaceless();
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
    const pace = new Pace();
    for (const folder of scan.cells) {
      if (this.#stopped) return scan.cells;
      await this.lookAt(folder);
      await pace.turn();
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

  /** Whether the folder is held because this node itself has lost what is missing in it. */
  isMissingRecords(folder: string): boolean {
    return this.#refused.get(folder) === RECORDS_GONE;
  }

  /**
   * The cell leaves this node: from this turn on nothing of it wakes here and nothing is written into its folder. Resolves
   * when that is journaled.
   */
  letGo(cellId: string, reason: string): Promise<void> {
    const { places, errorFiles, ownership } = this.#options;
    const folder = places.folderName(cellId);
    ownership.disown(cellId);
    if (folder !== undefined) this.#options.onCellGone(cellId, folder);
    if (folder !== undefined) errorFiles.forget(join(places.missionsDir, folder));
    places.remove(cellId);
    this.#seen.delete(cellId);
    this.#hashes.delete(cellId);
    return stopAll(this.#options.kernel.system, cellId, reason);
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
    if (known !== undefined && this.#isEstranged(known, dir)) {
      await this.letGo(known, `another node had the folder ${folder}`);
      return this.#look(folder); // as a stranger
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
    if (isFirstLook) await this.#finishDrop(folder);
    const isNews = await this.#take(cellId, scan, isFirstLook);
    if (this.#anew.delete(cellId)) await resync(this.#options.kernel.system, { cellId, dir });
    if (isNews || (isFirstLook && this.#isAwake(cellId))) this.#options.onChange(cellId);
  }

  /** F7. Of one that is awake here this is not asked: another node would have found it in use. */
  #isEstranged(cellId: string, dir: string): boolean {
    const { ownership, nodeId } = this.#options;
    return !ownership.owns(cellId) && !isOwn(readOwner(dir), nodeId);
  }

  /** Its files may be behind its state: a clean stop writes all of them, and a sleeping cell has not changed since. */
  #isAwake(cellId: string): boolean {
    const actor = this.#options.kernel.system.actors.get(cellAddress(cellId));
    return actor !== undefined && (actor.resident !== undefined || actor.tail !== undefined);
  }

  /** F3. False when the folder is not (yet) taken as a cell. */
  async #introduce(cellId: string, folder: string, scan: CellScan): Promise<boolean> {
    const { places, kernel, log } = this.#options;
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
    if (kernel.system.has(cellAddress(cellId)) && this.#isEstranged(cellId, dir))
      await this.letGo(cellId, `another node had it and put it into the folder ${folder}`); // F7
    const known = kernel.system.has(cellAddress(cellId));
    const owner = readOwner(dir);
    const problem = known ? undefined : ownerProblem(owner, this.#options.nodeId);
    if (problem !== undefined) return this.#hold(cellId, folder, scan, problem);
    this.#refused.delete(folder);
    places.set(cellId, folder);
    if (folder !== cellId)
      log.warn({ cellId, folder }, 'folder name differs from cell_id; the id counts');
    try {
      if (!(await this.#start(cellId, { dir, owner, known }))) {
        this.#unplace(cellId);
        return this.#hold(cellId, folder, scan, RECORDS_GONE);
      }
    } catch (error) {
      // A full disk, a journal that is held: the next look begins with it as with a stranger.
      if (!kernel.system.has(cellAddress(cellId))) this.#unplace(cellId);
      throw error;
    }
    this.#options.onCell(cellId, folder);
    return true;
  }

  /** F6. False when its newest records are not to be had. */
  async #start(
    cellId: string,
    { dir, owner, known }: { dir: string; owner: OwnerFound; known: boolean },
  ): Promise<boolean> {
    const { kernel, daemonWord, ownership } = this.#options;
    ownership.takeOver(cellId);
    const start = known ? 'goes on' : await goOn(this.#options, { cellId, dir, owner });
    if (start === 'records gone') return false;
    if (start === 'begins anew, with a loss') this.#anew.add(cellId);
    const address = cellAddress(cellId);
    if (!kernel.system.has(address))
      await kernel.system.spawn(address, 'cell', { cellId, ...asJsonObject(daemonWord()) });
    return true;
  }

  #unplace(cellId: string): void {
    this.#options.places.remove(cellId);
    this.#options.ownership.forget(cellId);
  }

  #hold(cellId: string, folder: string, scan: CellScan, problem: string): false {
    if (this.#refused.get(folder) !== problem)
      this.#options.log.warn({ cellId, folder, problem }, 'cell held');
    this.#refused.set(folder, problem);
    this.#recheck ??= setInterval(() => this.#lookAtHeld(), HELD_RECHECK_MS).unref();
    const command = `lazarus cell import ${join(this.#options.places.missionsDir, folder)}`;
    const fix = problem.startsWith('it was exported')
      ? `Go on with its copy, or take it back here: \`${command}\``
      : `Start it on the node that ran it and stop that cleanly, or go on from what is here and lose what is not: \`${command} --accept-loss\``;
    refuse(scan, `this cell is held: ${problem}`, fix);
    return false;
  }

  /** What holds a folder is mended in it, where no watch sees it, or at another node. */
  #lookAtHeld(): void {
    for (const folder of this.#refused.keys()) void this.lookAt(folder);
    if (this.#refused.size > 0) return;
    clearInterval(this.#recheck);
    this.#recheck = undefined;
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
    const { places, errorFiles, log } = this.#options;
    const moved = await this.#movedTo(cellId);
    if (places.folderName(cellId) !== folder) return; // found under its new name meanwhile
    if (moved !== undefined) return this.lookAt(moved);
    log.warn({ cellId, folder }, 'cell folder is gone; its actors are stopped');
    errorFiles.forget(join(places.missionsDir, folder));
    this.#options.onCellGone(cellId, folder);
    await stopAll(this.#options.kernel.system, cellId, `folder ${folder} is gone`);
    this.#unplace(cellId);
    this.#seen.delete(cellId);
    this.#hashes.delete(cellId);
  }

  /** What the journal knows and no folder holds was removed while nobody ran. */
  async #stopPlaceless(): Promise<void> {
    const { places, kernel, log, ownership } = this.#options;
    const { system } = kernel;
    const known = [...system.actors.values()].filter(({ stopped }) => !stopped);
    const isPlaced = (cellId: string): boolean =>
      cellId === SYSTEM_CELL_ID || places.folderName(cellId) !== undefined;
    const ids = new Set(
      known.map(({ address }) => homeCell(address)).filter((id) => !isPlaced(id)),
    );
    if (ids.size === 0) return;
    const unplaced = await this.#unplaced(); // held ones, for example: they are there
    for (const cellId of ids) {
      if (this.#stopped) return;
      if (isPlaced(cellId) || unplaced.has(cellId)) continue;
      log.warn({ cellId }, 'cell folder is gone; its actors are stopped');
      await stopAll(system, cellId, 'its folder is gone');
      ownership.forget(cellId);
    }
  }

  /** The folder that now holds this cell, when it was renamed. */
  async #movedTo(cellId: string): Promise<string | undefined> {
    return (await this.#unplaced()).get(cellId);
  }

  /** Folders that are not (yet) known as the place of a cell, by what their cell.json says. */
  async #unplaced(): Promise<Map<string, string>> {
    const { places } = this.#options;
    const { cells } = await scanMissions(places.missionsDir);
    const found = new Map<string, string>();
    for (const folder of cells) {
      if (places.idOf(folder) !== undefined) continue;
      const scan = scanCell(join(places.missionsDir, folder), {});
      const claimed = scan.changes.find(({ kind }) => kind === 'cell')?.content?.['cell_id'];
      if (typeof claimed === 'string' && !found.has(claimed)) found.set(claimed, folder);
    }
    return found;
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

  /** Of an earlier life, which was killed in it. The cell itself does not depend on it. */
  async #finishDrop(folder: string): Promise<void> {
    const { places, log } = this.#options;
    const { missionsDir } = places;
    try {
      if (dropMark(missionsDir, folder) !== 'left') return;
      await this.#inTurn(() => finishDrop(missionsDir, folder)); // F5: not of one that is under way
    } catch (error) {
      log.warn({ folder, error: toPlainError(error) }, 'the mark of a dropped file is not removed');
    }
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

/** Long work in slices of the event loop: when others are at work too, it takes the smaller part. */
class Pace {
  #since = performance.now();
  #sliceMs = SLICE_MS;

  async turn(): Promise<void> {
    const leftAt = performance.now();
    if (leftAt - this.#since <= this.#sliceMs) return;
    await nextTurn();
    this.#since = performance.now();
    this.#sliceMs = this.#since - leftAt > BUSY_MS ? SMALL_SLICE_MS : SLICE_MS;
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

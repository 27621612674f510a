/**
 * The files people read: cell.json, agents/*.json and tasks/*.json, written from committed state.
 *
 * J1 Only committed state is shown (P1), whole files only (P6), at most one write per file in 50 ms.
 * J2 A projection reads before it renames: a file that is not what we last saw belongs to a person and is taken in first.
 *    In this process nothing comes between the two; another process that renames its edit in the microseconds between our
 *    last look and our rename is written over, for Node has no rename that exchanges two files, and a link taken before
 *    it would hold the file that was looked at, not the one that came.
 * J3 A folder that was removed is never made again.
 * J4 After `close` nothing is written any more: the folder may belong to another node.
 * J5 An edit may be taken in while other files are written, or this one is: what was so before it is not renamed over it.
 */
import { createHash } from 'node:crypto';
import { hasCode, readInside, writeWholeInside } from '../cells/inside.ts';
import { cellAddress } from '../machines/addresses.ts';
import type { CellContext } from '../machines/cell-context.ts';
import { toPlainError } from '../machines/errors.ts';
import type { FileState } from '../machines/merge.ts';
import { projectFile } from '../machines/projection.ts';
import type { CellDoor } from './cell-door.ts';
import type { CellPlaces } from './cell-places.ts';
import type { ActorSystem, SystemLog } from './system.ts';

const INTERVAL_MS = 50;
const MAX_BYTES = 4 << 20;
/** Somebody who edits without a pause does not hold up a stop. */
const LAST_ROUNDS = 5;

export interface ProjectorOptions {
  system: ActorSystem;
  places: CellPlaces;
  door: CellDoor;
  log: SystemLog;
}

export class Projector {
  readonly #options: ProjectorOptions;
  readonly #due = new Map<string, NodeJS.Timeout>();
  readonly #busy = new Map<string, Promise<void>>();
  /** By cell: rev and hash of each file as last written. */
  readonly #written = new Map<string, Map<string, { rev: number; hash: string }>>();
  #closed = false;

  constructor(options: ProjectorOptions) {
    this.#options = options;
  }

  /** The cell's state changed; its files follow within the interval. */
  schedule(cellId: string): void {
    if (this.#closed || this.#due.has(cellId)) return;
    const timer = setTimeout(() => {
      this.#due.delete(cellId);
      void this.project(cellId);
    }, INTERVAL_MS);
    this.#due.set(cellId, timer);
  }

  forget(cellId: string): void {
    clearTimeout(this.#due.get(cellId));
    this.#due.delete(cellId);
    this.#written.delete(cellId);
  }

  /** Writes what is due of a cell now. Never rejects: what fails is logged and tried again. */
  project(cellId: string): Promise<void> {
    const after = this.#busy.get(cellId) ?? Promise.resolve();
    const work = after
      .then(() => this.#project(cellId))
      .catch((error: unknown) => {
        this.#options.log.warn({ cellId, error: toPlainError(error) }, 'projection failed');
      })
      .finally(() => {
        if (this.#busy.get(cellId) === work) this.#busy.delete(cellId);
      });
    this.#busy.set(cellId, work);
    return work;
  }

  /** J4. Everything due, written; an edit met on the way is taken in and answered too. */
  async close(): Promise<void> {
    for (let round = 0; round < LAST_ROUNDS && this.#due.size + this.#busy.size > 0; round += 1) {
      for (const [cellId, timer] of this.#due) {
        clearTimeout(timer);
        void this.project(cellId);
      }
      this.#due.clear();
      await Promise.all(this.#busy.values());
    }
    this.#closed = true;
    for (const timer of this.#due.values()) clearTimeout(timer);
    this.#due.clear();
  }

  async #project(cellId: string): Promise<void> {
    const { system, places, door } = this.#options;
    const root = places.folderOf(cellId);
    if (root === undefined || !system.has(cellAddress(cellId))) return;
    const contextNow = contextOf(system, cellAddress(cellId));
    const written = this.#written.get(cellId) ?? new Map<string, { rev: number; hash: string }>();
    this.#written.set(cellId, written);
    let edited = false;
    for (const path of Object.keys(contextNow()?.files ?? {})) {
      const context = contextNow();
      const content = context && projectFile(context, path);
      if (!content) continue;
      const rev = content['_rev'] as number;
      const { since } = context.files[path] as FileState;
      const isNow = (): boolean => contextNow()?.files[path]?.since === since; // if not, it is due again
      const last = written.get(path);
      if (last?.rev === rev && last.hash === door.knownHash(cellId, path)) continue;
      const text = `${JSON.stringify(content, null, 2)}\n`;
      const hash = sha256(text);
      const present = readHash(root, path);
      if (present === hash) {
        door.written(cellId, path, hash);
      } else {
        if (!(await this.#replace({ cellId, root, path, isNow }, text))) {
          edited ||= isNow(); // J2
          continue;
        }
        door.written(cellId, path, hash);
      }
      written.set(path, { rev, hash });
    }
    if (edited) await this.#takeInFirst(cellId);
  }

  /** J2, J5. False, and nothing written, when somebody edited or removed the file, be it while ours was being prepared. */
  async #replace({ cellId, root, path, isNow }: Target, text: string): Promise<boolean> {
    const isOurs = (): boolean => {
      const present = readHash(root, path);
      return present !== undefined && present === this.#options.door.knownHash(cellId, path);
    };
    if (!isOurs()) return false;
    try {
      const onlyIf = (): boolean => isNow() && isOurs(); // J5
      const options = { sync: false, what: 'projection', onlyIf };
      return await writeWholeInside(root, path, text, options);
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return false; // J3
      throw error;
    }
  }

  async #takeInFirst(cellId: string): Promise<void> {
    const { places, door } = this.#options;
    const folder = places.folderName(cellId);
    if (folder === undefined) return;
    await door.lookAt(folder); // schedules this cell again when it took anything in
  }
}

interface Target {
  cellId: string;
  root: string;
  path: string;
  /** Whether the state still has what people wrote in the text. */
  isNow: () => boolean;
}

/** What the cell's state is at the moment of the call, undefined when it is gone. One that sleeps is read once. */
function contextOf(system: ActorSystem, address: string): () => CellContext | undefined {
  let known = system.read(address);
  return () => {
    const actor = system.actors.get(address);
    if (!system.has(address)) return undefined;
    if (actor?.seq !== known.seq) known = system.read(address);
    return known.snapshot.context as CellContext;
  };
}

const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');

function readHash(root: string, path: string): string | undefined {
  try {
    return sha256(readInside(root, path, { maxBytes: MAX_BYTES }));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Where each cell lies: id to folder and back. An id is the identity, the folder's name only a place. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { readCellFile } from '../cells/load.ts';
import { homeCell, SYSTEM_CELL_ID } from '../machines/addresses.ts';

export class CellPlaces {
  readonly missionsDir: string;
  /** Folders whose cell is not known yet: names seen at start. */
  #claims = new Set<string>();
  readonly #folders = new Map<string, string>();
  readonly #ids = new Map<string, string>();

  constructor(missionsDir: string) {
    this.missionsDir = missionsDir;
    this.set(SYSTEM_CELL_ID, SYSTEM_CELL_ID);
  }

  /** A cell's folder is named after its id, unless people named it otherwise. */
  claimAll(): void {
    for (const entry of readdirSync(this.missionsDir, { withFileTypes: true }))
      if (entry.isDirectory() && !entry.name.startsWith('.')) this.claim(entry.name);
  }

  /** Cells that the journal knows and whose folder has another name are found by what their cell.json says. */
  confirmAll(addresses: Iterable<string>): void {
    this.confirm(new Set([...addresses].map(homeCell)), (folder) => {
      const read = readCellFile(join(this.missionsDir, folder), 'cell.json');
      return read.outcome === 'good' ? (read.content['cell_id'] as string) : undefined;
    });
  }

  /** A folder seen before anything is known of cells. */
  claim(folder: string): void {
    this.#claims.add(folder);
  }

  /** Cells that are known to live somewhere here are placed; `idIn` reads a folder's cell.json. */
  confirm(cellIds: ReadonlySet<string>, idIn: (folder: string) => string | undefined): void {
    const unplaced = new Set(cellIds);
    const strangers: string[] = [];
    for (const folder of this.#claims) {
      if (!unplaced.delete(folder)) strangers.push(folder);
      else if (folder !== SYSTEM_CELL_ID) this.set(folder, folder);
    }
    unplaced.delete(SYSTEM_CELL_ID);
    this.#claims.clear();
    for (const folder of unplaced.size > 0 ? strangers : []) {
      const cellId = idIn(folder);
      if (cellId !== undefined && unplaced.delete(cellId)) this.set(cellId, folder);
    }
  }

  set(cellId: string, folder: string): void {
    const old = this.#folders.get(cellId);
    if (old !== undefined) this.#ids.delete(old);
    this.#folders.set(cellId, folder);
    this.#ids.set(folder, cellId);
  }

  remove(cellId: string): void {
    const folder = this.#folders.get(cellId);
    if (folder !== undefined) this.#ids.delete(folder);
    this.#folders.delete(cellId);
  }

  /** Name of the folder below the missions folder. */
  folderName(cellId: string): string | undefined {
    return this.#folders.get(cellId);
  }

  /** Absolute path. */
  folderOf(cellId: string): string | undefined {
    const folder = this.#folders.get(cellId);
    return folder === undefined ? undefined : join(this.missionsDir, folder);
  }

  idOf(folder: string): string | undefined {
    return this.#ids.get(folder);
  }

  ids(): string[] {
    return [...this.#folders.keys()].filter((id) => id !== SYSTEM_CELL_ID);
  }
}

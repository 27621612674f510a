/**
 * The inventory's files: `topology.yaml` and `hosts/<host>/services.yaml`. Which of them are there, and the content of one. What the
 * content means is for machines/desired.ts, what holds when one is no good for actors/supervisor/desired-source.ts.
 *
 * F1 A file that cannot be looked at is there (P6): only a folder that was listed without it says that it is gone.
 * F2 No link is followed below the inventory. One that stands for a host's folder is there, and reading it is refused.
 * F3 Bounded (P8): hosts beyond `MAX_HOSTS`, in the order of their names, are left out, and it is said.
 */
import { readdirSync } from 'node:fs';
import type { Dirent } from 'node:fs';
import { join } from 'node:path';
import { MAX_HOSTS, TOPOLOGY_FILE, isHostName } from '../machines/desired.ts';
import type { InventoryProblem } from '../machines/desired.ts';
import { toPlainError } from '../machines/errors.ts';
import { visibleText } from '../machines/plain-text.ts';
import { hasCode, openFolderInside } from './inside.ts';
import type { FolderInside } from './inside.ts';
import { stampOf } from './whole-file.ts';
import type { FileStamp } from './whole-file.ts';

const HOSTS = 'hosts';
const MAX_SHOWN = 100;

/** A problem with a file of the inventory, with its line. */
export interface FileProblem extends InventoryProblem {
  /** 1-based. */
  line: number;
}

export interface InventoryScan {
  topology: FileStamp | null;
  /** By host, of its `services.yaml`. In the order of their names. */
  hosts: ReadonlyMap<string, FileStamp>;
  problems: FileProblem[];
}

/** Throws when a folder of it cannot be read, or when there is none. */
export function scanInventory(root: string, maxHosts = MAX_HOSTS): InventoryScan {
  const folder = openFolderInside(root, '');
  try {
    const topology = stampIn(folder, TOPOLOGY_FILE);
    const hosts = new Map<string, FileStamp>();
    const problems: FileProblem[] = [];
    let leftOut = 0;
    eachHost(root, (hostsFolder, entry) => {
      if (entry.name.startsWith('.') || !(entry.isDirectory() || entry.isSymbolicLink())) return;
      const stamp = stampIn(hostsFolder, join(entry.name, 'services.yaml'));
      if (stamp === null) return;
      if (!isHostName(entry.name)) problems.push(oddName(entry.name));
      else if (hosts.size < maxHosts) hosts.set(entry.name, stamp);
      else leftOut += 1;
    });
    folder.recheck();
    if (leftOut > 0) problems.push(tooMany(maxHosts, leftOut)); // F3
    return { topology, hosts, problems };
  } finally {
    folder.close();
  }
}

function eachHost(root: string, tell: (folder: FolderInside, entry: Dirent) => void): void {
  let folder: FolderInside;
  try {
    folder = openFolderInside(root, HOSTS);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return;
    throw error;
  }
  try {
    const entries = readdirSync(folder.path, { withFileTypes: true });
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) tell(folder, entry);
    folder.recheck();
  } finally {
    folder.close();
  }
}

/** F1: one that cannot be looked at has a stamp all the same, made of the reason. */
function stampIn(folder: FolderInside, path: string): FileStamp | null {
  try {
    return stampOf(join(folder.path, path));
  } catch (error) {
    return { key: toPlainError(error).code ?? 'unknown', mtimeMs: 0, changedMs: 0 };
  }
}

const oddName = (name: string): FileProblem => ({
  file: `${HOSTS}/${visibleText(name, MAX_SHOWN)}`,
  pointer: '',
  line: 1,
  message:
    "the folder's name cannot be a host's: it is too long, or has characters that cannot be seen",
  fix: 'Rename the folder.',
});

const tooMany = (maxHosts: number, leftOut: number): FileProblem => ({
  file: HOSTS,
  pointer: '',
  line: 1,
  message: `there are more than ${maxHosts} hosts; ${leftOut} are left out, the last by name`,
  fix: 'Move hosts into the inventory of another runtime.',
});
